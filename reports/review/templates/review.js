"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const SVG = "http://www.w3.org/2000/svg";
  let classes = [];
  let current = null; // the class that is shown
  let images = [];
  let at = 0; // the image that is shown
  let inRow = Promise.resolve(); // boxes are saved one after another

  const ask = async (path, method = "GET", body = undefined) => {
    const answer = await fetch(path, {
      method,
      body: body && JSON.stringify(body),
      headers: body ? { "content-type": "application/json" } : {},
      credentials: "same-origin",
    });
    const text = await answer.text();
    let content;
    try { content = JSON.parse(text); } catch { content = { fault: text }; }
    return { status: answer.status, content };
  };

  const closed = (text) => {
    $("closed").textContent = text;
    $("closed").hidden = false;
    $("decide").hidden = $("draw").hidden = true;
  };

  // ---- classes

  const words = (decision) => decision.replaceAll("_", " ");
  const listed = () => classes.filter((c) => !c.row.hidden);

  const line = (c) => {
    c.small.textContent = "";
    if (c.entry) {
      const b = document.createElement("b");
      b.textContent = words(c.entry.decision);
      c.small.append(b, c.entry.until ? `, until ${c.entry.until}` : "", `, ${c.entry.owner}`);
    } else {
      c.small.textContent = `${c.verdict}, not decided yet`;
    }
  };

  const count = () => {
    const decided = classes.filter((c) => c.entry).length;
    $("count").textContent = `${decided} of ${classes.length} classes decided`;
  };

  const filter = () => {
    const text = $("find").value.toLowerCase().trim();
    for (const c of classes) {
      c.row.hidden = !c.text.includes(text) || ($("open-only").checked && c.entry !== null && c !== current);
    }
  };

  const say = (id, text, bad = false) => {
    $(id).textContent = text;
    $(id).classList.toggle("bad", bad);
  };

  const fill = (c) => {
    for (const radio of $("form").elements.decision) radio.checked = c.entry?.decision === radio.value;
    $("reason").value = c.entry?.reason ?? "";
    $("tags").value = (c.entry?.tags ?? []).join(", ");
    $("owner").value = c.entry?.owner ?? $("owner").value;
    $("until").value = c.entry?.until ?? "";
    $("take-back").disabled = !c.entry;
  };

  const show = (c) => {
    if (current) current.button.removeAttribute("aria-current");
    current = c;
    c.button.setAttribute("aria-current", "true");
    c.button.scrollIntoView({ block: "nearest" });
    $("name").textContent = c.name;
    $("verdict").textContent = c.verdict;
    $("verdict").className = `chip ${c.verdict}`;
    $("numbers").textContent = c.id === c.name ? c.numbers : `${c.id}: ${c.numbers}`;
    $("others").replaceChildren(...c.others.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    fill(c);
    say("said", "");
    const place = `/report#class-${c.label}`;
    $("see").href = place;
    if (getComputedStyle($("report")).display !== "none") $("report").src = place;
  };

  const took = (c, entry) => {
    c.entry = entry;
    line(c);
    count();
  };

  const send = async (c, decision) => {
    const body = { label: c.label, decision, seen: c.entry?.stamp ?? "" };
    if (decision) {
      Object.assign(body, { reason: $("reason").value, owner: $("owner").value, until: $("until").value || null });
      body.tags = $("tags").value.split(",").map((tag) => tag.trim()).filter(Boolean);
    }
    const { status, content } = await ask("/api/decision", "PUT", body);
    if (status === 200) {
      took(c, content.entry);
      return true;
    }
    if (status === 409) { // another reviewer was faster: show what he decided
      took(c, content.entry);
      if (c === current) fill(c);
      say("said", "Somebody else decided about this class meanwhile: this is what he wrote. Save again to replace it.", true);
    } else {
      say("said", content.fault, true);
    }
    return false;
  };

  $("form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const c = current;
    const decision = $("form").elements.decision.value;
    if (!decision) return say("said", "Choose one of the four first.", true);
    const order = listed();
    const next = order[order.indexOf(c) + 1];
    if (!(await send(c, decision))) return;
    if (next) show(next);
    filter();
    const dated = decision !== "legitimate_context" || c.entry.until ? "" : " Without a date it waives nothing.";
    say("said", `Saved: ${c.name} is ${words(decision)}.${dated}`);
    $("name").focus();
  });
  $("form").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("form").requestSubmit();
  });
  $("take-back").addEventListener("click", async () => {
    if (!(await send(current, null))) return;
    fill(current);
    say("said", "Taken back.");
  });
  $("find").addEventListener("input", filter);
  $("open-only").addEventListener("change", filter);
  $("classes").addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    const order = listed();
    const next = order[order.findIndex((c) => c.button === document.activeElement) + step];
    if (next) next.button.focus();
    event.preventDefault();
  });

  const add = (c) => {
    c.row = document.createElement("li");
    c.button = Object.assign(document.createElement("button"), { type: "button", className: c.verdict });
    const name = Object.assign(document.createElement("bdi"), { textContent: c.name });
    c.small = document.createElement("small");
    c.text = `${c.name} ${c.id}`.toLowerCase();
    c.button.append(name, c.small);
    c.button.addEventListener("click", () => show(c));
    c.row.append(c.button);
    line(c);
    return c.row;
  };

  // ---- boxes

  const cross = { x: 0.5, y: 0.5, from: null };
  let drag = null;
  const element = (name, attributes) => {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const between = (a, b) => [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)];
  const rectangles = ([x0, y0, x1, y1]) => ["under", ""].map((kind) => element("rect", {
    class: kind, x: 1000 * x0, y: 1000 * y0, width: 1000 * (x1 - x0), height: 1000 * (y1 - y0),
  }));

  const paint = () => {
    const image = images[at];
    const parts = image.boxes.flatMap(rectangles);
    if (drag) parts.push(...rectangles(between(drag, drag.to)));
    if (document.activeElement === $("canvas")) {
      if (cross.from) parts.push(...rectangles(between(cross.from, cross)));
      parts.push(element("path", { class: "cross", d: `M${1000 * cross.x} 0V1000M0 ${1000 * cross.y}H1000` }));
    }
    $("canvas").replaceChildren(...parts);
    const done = images.filter((i) => i.boxes.length).length;
    $("count").textContent = `boxes on ${done} of ${images.length} images`;
    $("remove").disabled = !image.boxes.length;
  };

  const save = (image) => {
    const boxes = image.boxes.map((box) => [...box]);
    inRow = inRow.then(async () => {
      const { status, content } = await ask("/api/boxes", "PUT", { image: image.image, boxes, seen: image.stamp });
      if (status === 200) image.stamp = content.stamp;
      say("drawn", status === 200 ? `Saved: ${boxes.length} ${boxes.length === 1 ? "box" : "boxes"}.` : `${content.fault}. Load the page again.`, status !== 200);
    });
  };

  const showImage = (k) => {
    at = Math.min(Math.max(k, 0), images.length - 1);
    const image = images[at];
    const c = classes.find((other) => other.label === image.label);
    $("image-class").textContent = c ? c.name : "";
    $("image-name").textContent = `${at + 1} of ${images.length}: ${image.image}`;
    $("picture").src = `/api/picture?image=${encodeURIComponent(image.image)}`;
    $("picture").alt = image.image;
    $("before").disabled = at === 0;
    $("next").disabled = at === images.length - 1;
    Object.assign(cross, { x: 0.5, y: 0.5, from: null });
    drag = null;
    say("drawn", "");
    paint();
    if (at + 1 < images.length) new Image().src = `/api/picture?image=${encodeURIComponent(images[at + 1].image)}`;
  };

  const finish = (box) => {
    const [x0, y0, x1, y1] = box;
    if (x1 - x0 < 0.01 || y1 - y0 < 0.01) return paint(); // a click, not a box
    images[at].boxes.push(box);
    save(images[at]);
    paint();
  };
  const removeLast = () => {
    if (!images[at].boxes.pop()) return;
    save(images[at]);
    paint();
  };
  const point = (event) => {
    const area = $("canvas").getBoundingClientRect();
    const share = (value) => Math.min(Math.max(value, 0), 1);
    return { x: share((event.clientX - area.left) / area.width), y: share((event.clientY - area.top) / area.height) };
  };

  $("canvas").addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || drag) return;
    $("canvas").setPointerCapture(event.pointerId);
    drag = { ...point(event), id: event.pointerId, to: point(event) };
    paint();
  });
  $("canvas").addEventListener("pointermove", (event) => {
    if (!drag || drag.id !== event.pointerId) return;
    drag.to = point(event);
    paint();
  });
  $("canvas").addEventListener("pointerup", (event) => {
    if (!drag || drag.id !== event.pointerId) return;
    const box = between(drag, point(event));
    drag = null;
    finish(box);
  });
  $("canvas").addEventListener("pointercancel", () => { drag = null; paint(); });
  $("canvas").addEventListener("focus", paint);
  $("canvas").addEventListener("blur", paint);
  $("canvas").addEventListener("keydown", (event) => {
    const step = event.shiftKey ? 0.1 : 0.02;
    const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (move) {
      cross.x = Math.min(Math.max(cross.x + step * move[0], 0), 1);
      cross.y = Math.min(Math.max(cross.y + step * move[1], 0), 1);
    } else if (event.key === " " || event.key === "Enter") {
      const from = cross.from;
      cross.from = from ? null : { x: cross.x, y: cross.y };
      if (from) finish(between(from, cross));
    } else if (event.key === "Escape") {
      cross.from = null;
    } else {
      return;
    }
    event.preventDefault();
    paint();
  });
  document.addEventListener("keydown", (event) => {
    if ($("draw").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const act = { n: () => showImage(at + 1), p: () => showImage(at - 1), Delete: removeLast, Backspace: removeLast }[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  $("next").addEventListener("click", () => showImage(at + 1));
  $("before").addEventListener("click", () => showImage(at - 1));
  $("remove").addEventListener("click", removeLast);

  const turn = (boxes) => {
    $("decide").hidden = boxes;
    $("draw").hidden = !boxes;
    $("to-boxes").setAttribute("aria-pressed", String(boxes));
    $("to-classes").setAttribute("aria-pressed", String(!boxes));
    if (boxes) showImage(at); else count();
  };
  $("to-boxes").addEventListener("click", () => turn(true));
  $("to-classes").addEventListener("click", () => turn(false));

  // ---- begin

  const begin = async () => {
    const token = location.hash.slice(1);
    if (token) {
      history.replaceState(null, "", "/"); // it stays in no history and no bookmark
      const { status, content } = await ask("/api/session", "POST", { token });
      if (status !== 200) return closed(content.fault);
    }
    const { status, content } = await ask("/api/state");
    if (status !== 200) return closed(content.fault);
    classes = content.classes;
    images = content.images;
    $("run").textContent = content.run;
    document.title = `Review of ${content.run}`;
    $("owner").value = content.reviewer;
    $("boxes-file").textContent = content.boxes;
    $("tabs").hidden = !images.length;
    $("decide").hidden = false;
    $("classes").append(...classes.map(add));
    if (classes.length) show(classes[0]);
    count();
  };
  begin().catch((error) => closed(`The server does not answer (${error.message}). Was it ended?`));
})();
