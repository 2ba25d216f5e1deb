"use strict";
(() => {
  const table = document.getElementById("ranking");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const heads = [...table.tHead.rows[0].cells];
    const find = document.getElementById("find");
    const toggles = [...document.querySelectorAll(".toggle")];
    const text = new Map(rows.map((row) => [row, row.cells[1].textContent.toLowerCase()]));

    // what a cell sorts by: data-s where the text is rounded, else the number in the text, else the text
    const value = (row, column) => {
      const cell = row.cells[column];
      const raw = cell.dataset.s ?? cell.textContent.trim().replace(/\u202f|[%+]/g, "").replace("\u2212", "-");
      if (raw === "" || raw === "\u2013") return null;
      const number = Number(raw);
      return Number.isNaN(number) ? raw.toLowerCase() : number;
    };

    const sort = (column, descending) => {
      const keyed = rows.map((row, index) => [value(row, column), index, row]);
      keyed.sort(([a, i], [b, j]) => {
        if (a === null || b === null) return (a === null) - (b === null) || i - j; // what is missing stays last
        const order = typeof a === "string" ? String(a).localeCompare(String(b)) : a - b;
        return (descending ? -order : order) || i - j;
      });
      body.append(...keyed.map(([, , row]) => row));
      heads.forEach((head, i) => {
        head.setAttribute("aria-sort", i !== column ? "none" : descending ? "descending" : "ascending");
      });
    };

    const filter = () => {
      const words = find.value.toLowerCase().trim();
      const on = new Set(toggles.filter((t) => t.getAttribute("aria-pressed") === "true").map((t) => t.dataset.verdict));
      let shown = 0;
      for (const row of rows) {
        row.hidden = !(on.has(row.dataset.v) && text.get(row).includes(words));
        shown += !row.hidden;
      }
      const grouped = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");
      const all = grouped(rows.length);
      document.getElementById("shown").textContent =
        shown === rows.length ? `${all} classes` : `${grouped(shown)} of ${all} classes`;
      table.parentElement.querySelector(".nothing").hidden = shown > 0;
    };

    heads.forEach((head, i) => head.firstElementChild.addEventListener("click", () => {
      sort(i, head.getAttribute("aria-sort") === "ascending");
    }));
    find.addEventListener("input", filter);
    toggles.forEach((toggle) => toggle.addEventListener("click", () => {
      toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true"));
      filter();
    }));
    // a link to a row that the filter hides brings it back
    addEventListener("hashchange", () => {
      const row = rows.find((r) => `#${r.id}` === location.hash);
      if (row && row.hidden) {
        find.value = "";
        toggles.forEach((t) => t.setAttribute("aria-pressed", "true"));
        filter();
        row.scrollIntoView({ block: "center" });
      }
    });
    filter(); // browsers keep form values on reload
  }

  const zoom = document.getElementById("zoom");
  document.querySelectorAll("button.zoomable").forEach((button) => button.addEventListener("click", () => {
    const copy = button.closest("figure").cloneNode(true);
    const pictures = document.createElement("div");
    pictures.className = "zoomable";
    pictures.append(...copy.querySelector(".zoomable").children);
    copy.querySelector(".zoomable").replaceWith(pictures);
    zoom.querySelector(".stage").replaceChildren(copy);
    zoom.showModal();
  }));
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
