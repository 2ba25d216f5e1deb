"use strict";
(() => {
  const table = document.getElementById("ranking");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const find = document.getElementById("find");
    const reset = document.getElementById("reset");
    const toggles = [...document.querySelectorAll(".toggle")];
    const text = new Map(rows.map((row) => [row, `${row.cells[1].textContent} ${row.cells[1].querySelector(".name").title}`.toLowerCase()]));

    // what a cell sorts by: data-s where the text is rounded, else the number in the text, else the text
    const value = (row, column) => {
      const cell = row.cells[column];
      const raw = cell.dataset.s ?? cell.textContent.trim().replace(/\u202f|[%+]/g, "").replace("\u2212", "-");
      if (raw === "" || raw === "\u2013") return null;
      const number = Number(raw);
      return Number.isNaN(number) ? raw.toLowerCase() : number;
    };

    const MOST = 200;  // rows shown at once: a table of thousands takes a browser seconds to lay out
    const more = document.getElementById("more");
    let order = rows;
    let whole = false;  // all that match are shown, however many
    let sorted = "";  // column and direction, as the address has them; empty: by rank

    // what is shown lives in the address, so that a filtered table can be sent to somebody
    const remember = () => {
      const state = new URLSearchParams();
      const off = toggles.filter((t) => t.getAttribute("aria-pressed") === "false");
      if (off.length) state.set("verdict", toggles.filter((t) => !off.includes(t)).map((t) => t.dataset.verdict).join(" "));
      if (find.value) state.set("find", find.value);
      if (sorted) state.set("sort", sorted);
      const text = String(state);
      if (text || location.hash.startsWith("#table?")) history.replaceState(null, "", text ? `#table?${text}` : "#table");
    };

    const sort = (column, descending) => {
      const keyed = rows.map((row, index) => [value(row, column), index, row]);
      keyed.sort(([a, i], [b, j]) => {
        if (a === null || b === null) return (a === null) - (b === null) || i - j; // what is missing stays last
        const order = typeof a === "string" ? String(a).localeCompare(String(b)) : a - b;
        return (descending ? -order : order) || i - j;
      });
      order = keyed.map(([, , row]) => row);
      body.append(...order);
      heads.forEach((head, i) => {
        head.setAttribute("aria-sort", i !== column ? "none" : descending ? "descending" : "ascending");
      });
      sorted = column || descending ? `${descending ? "-" : ""}${heads[column].dataset.name}` : "";
    };

    const filter = () => {
      const words = find.value.toLowerCase().trim();
      const on = new Set(toggles.filter((t) => t.getAttribute("aria-pressed") === "true").map((t) => t.dataset.verdict));
      let matching = 0, shown = 0;
      const counts = new Map();  // per verdict, of what the search leaves
      for (const row of order) {
        const named = text.get(row).includes(words);
        const matches = on.has(row.dataset.v) && named;
        row.hidden = !(matches && (whole || matching < MOST));
        matching += matches;
        shown += !row.hidden;
        if (named) counts.set(row.dataset.v, (counts.get(row.dataset.v) ?? 0) + 1);
      }
      const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
      toggles.forEach((t) => { t.querySelector("b").textContent = grouped(counts.get(t.dataset.verdict) ?? 0); });
      const all = grouped(rows.length);
      document.getElementById("shown").textContent =
        `${shown < matching ? `first ${grouped(shown)} of ` : ""}` +
        (matching === rows.length ? `${all} classes` : `${grouped(matching)} of ${all} classes`);
      more.hidden = shown === matching;
      more.textContent = `Show the other ${grouped(matching - shown)}`;
      table.parentElement.querySelector(".nothing").hidden = shown > 0;
      reset.hidden = matching === rows.length;
    };

    const only = (verdicts, words) => {
      find.value = words;
      toggles.forEach((t) => t.setAttribute("aria-pressed", String(!verdicts || verdicts.includes(t.dataset.verdict))));
      filter();
    };

    const restore = () => {
      const state = new URLSearchParams(location.hash.slice("#table?".length));
      const name = state.get("sort") ?? "";
      const column = heads.findIndex((head) => head.dataset.name === name.replace(/^-/, ""));
      if (column >= 0) sort(column, name.startsWith("-"));
      only(state.has("verdict") ? state.get("verdict").split(" ") : null, state.get("find") ?? "");
      document.getElementById("table").scrollIntoView();
    };

    heads.forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
      sort(i, head.getAttribute("aria-sort") === "ascending");
      filter();
      remember();
    }));
    find.addEventListener("input", () => { filter(); remember(); });
    toggles.forEach((toggle) => toggle.addEventListener("click", () => {
      toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true"));
      filter();
      remember();
    }));
    more.addEventListener("click", () => { whole = true; filter(); });
    reset.addEventListener("click", () => { only(null, ""); remember(); find.focus(); });
    // a number of the first screen shows the classes that it counts
    document.querySelectorAll("[data-only]").forEach((link) => link.addEventListener("click", () => {
      only([link.dataset.only], "");
      setTimeout(remember);  // after the link has set the address
    }));
    // a link to a row that the filter hides brings it back
    addEventListener("hashchange", () => {
      if (location.hash.startsWith("#table?")) restore();
      const row = rows.find((r) => `#${r.id}` === location.hash);
      if (row && row.hidden) {
        whole = true;
        only(null, "");
        row.scrollIntoView({ block: "center" });
      }
    });
    if (location.hash.startsWith("#table?")) restore();
    else filter();  // browsers keep form values on reload
  }

  // all images of a class: sorted and filtered where they stand
  const explore = (box) => {
    const MOST_SHOTS = 200;
    const shots = [...box.querySelectorAll(".shot")];
    const kinds = [...box.querySelectorAll(".kind")];
    const [files, by, more, heat] = [".in-files", ".by", ".more", ".heat"].map((name) => box.querySelector(name));
    const text = new Map(shots.map((shot) => [shot, `${shot.dataset.file} ${shot.querySelector("em")?.textContent ?? ""}`.toLowerCase()]));
    let whole = false;
    const key = (shot, name) => {
      const raw = shot.dataset[name];
      return raw === "" ? null : name === "file" ? raw : Number(raw);
    };
    const show = () => {
      const name = by.value.replace(/^-/, ""), sign = by.value.startsWith("-") ? -1 : 1;
      const keyed = shots.map((shot, index) => [key(shot, name), index, shot]);
      keyed.sort(([a, i], [b, j]) => {
        if (a === null || b === null) return (a === null) - (b === null) || i - j;
        return sign * (name === "file" ? a.localeCompare(b, undefined, { numeric: true }) : a - b) || i - j;
      });
      const words = files.value.toLowerCase().trim();
      const on = new Set(kinds.filter((k) => k.getAttribute("aria-pressed") === "true").map((k) => k.dataset.kind));
      let matching = 0;
      for (const [, , shot] of keyed) {
        const matches = on.has(shot.dataset.kind) && text.get(shot).includes(words);
        shot.hidden = !(matches && (whole || matching < MOST_SHOTS));
        matching += matches;
      }
      box.querySelector(".shots").append(...keyed.map(([, , shot]) => shot));
      box.querySelector(".shown").textContent = matching === shots.length ? `${matching} images` : `${matching} of ${shots.length} images`;
      box.querySelector(".nothing").hidden = matching > 0;
      more.hidden = whole || matching <= MOST_SHOTS;
    };
    const press = (button) => button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    files.addEventListener("input", show);
    by.addEventListener("change", show);
    more.addEventListener("click", () => { whole = true; show(); });
    kinds.forEach((kind) => kind.addEventListener("click", () => { press(kind); show(); }));
    heat.addEventListener("click", () => { press(heat); box.querySelector(".shots").classList.toggle("hot"); });
    show();
  };
  document.querySelectorAll(".explore").forEach(explore);

  // in the one-file page the images of a class come out of their template when they are asked for
  const pick = document.getElementById("pick");
  if (pick) {
    const gallery = document.getElementById("gallery");
    const choose = (label) => {
      const template = document.getElementById(`shots-${label}`);
      gallery.replaceChildren(...(template ? [template.content.cloneNode(true)] : []));
      gallery.querySelectorAll(".explore").forEach(explore);
      pick.value = template ? label : "";
    };
    const follow = () => {
      const asked = location.hash.match(/^#images-(\d+)$/);
      if (!asked) return;
      choose(asked[1]);
      document.getElementById("images").scrollIntoView();
    };
    pick.addEventListener("change", () => {
      choose(pick.value);
      history.replaceState(null, "", pick.value ? `#images-${pick.value}` : "#images");
    });
    addEventListener("hashchange", follow);
    if (location.hash) follow(); else pick.value = "";
  }

  // #class-N, from a review: its card, or where it has none its row; again once pictures have their sizes
  const toClass = () => {
    const label = location.hash.match(/^#class-(\d+)$/)?.[1];
    const card = label && document.getElementById(`card-${label}`);
    // not scrollIntoView, which moves the page around a frame as well
    if (card) scrollTo({ top: scrollY + card.getBoundingClientRect().top - 64, behavior: "instant" });
    else if (label) location.replace(`#row-${label}`);
  };
  addEventListener("hashchange", toClass);
  addEventListener("load", toClass);

  // a phone shows the verdict, the first classes and the table; the rest comes out of its fold
  if (matchMedia("(max-width: 560px)").matches) {
    const open = (section, whether) => {
      section.classList.toggle("folded", !whether);
      section.querySelector(".fold").setAttribute("aria-expanded", String(whether));
    };
    document.querySelectorAll("section.deep").forEach((section) => {
      const heading = section.querySelector("h2");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "fold";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => open(section, section.classList.contains("folded")));
      open(section, false);
    });
    const rest = document.querySelector(".others");
    if (rest) {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "reset more";
      button.textContent = `Show ${rest.dataset.n} more in pictures`;
      button.addEventListener("click", () => { rest.hidden = false; button.remove(); });
      rest.before(button);
      rest.hidden = true;
    }
    // a link into a fold opens it
    const reach = () => {
      const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1).replace(/^class-/, "card-"));
      if (!target) return;
      const section = target.closest(".folded");
      if (section) open(section, true);
      if (target.closest(".others[hidden]")) document.querySelector("#classes > .more").click();
      if (section || target.closest(".others")) target.scrollIntoView();
    };
    addEventListener("hashchange", reach);
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[href^='#']");
      if (link && link.hash === location.hash) reach();  // the same link once more changes no address
    });
    reach();
  }

  const zoom = document.getElementById("zoom");
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.zoomable");
    if (!button) return;
    const copy = button.closest("figure").cloneNode(true);
    const pictures = document.createElement("div");
    pictures.className = "zoomable";
    pictures.append(...copy.querySelector(".zoomable").children);
    copy.querySelector(".zoomable").replaceWith(pictures);
    if (pictures.querySelector(".layer") && pictures.querySelector(".photo")) {  // photograph and map side by side
      const photo = pictures.firstElementChild.cloneNode(true);
      photo.querySelector(".layer").remove();
      photo.classList.add("bare");
      pictures.prepend(photo);
    }
    zoom.querySelector(".stage").replaceChildren(copy);
    zoom.showModal();
  });
  zoom.addEventListener("click", (event) => { if (event.target === zoom) zoom.close(); });

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      const link = links.get(entry.target.id);
      if (link) entry.isIntersecting ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
    }
  }, { rootMargin: "-20% 0px -75% 0px" });
  document.querySelectorAll("main > section").forEach((section) => seen.observe(section));
})();
