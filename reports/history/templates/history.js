"use strict";
(() => {
  const find = document.getElementById("find");
  const toggles = [...document.querySelectorAll(".toggle")];
  const courses = [...document.querySelectorAll(".course")];
  const shown = document.getElementById("shown");
  const filter = () => {
    const words = find.value.toLowerCase().trim();
    const on = new Set(toggles.filter((t) => t.getAttribute("aria-pressed") === "true").map((t) => t.dataset.verdict));
    let n = 0;
    for (const course of courses) {
      const verdict = course.dataset.v;
      course.hidden = !((verdict === "" || on.has(verdict)) && course.dataset.name.includes(words));
      n += !course.hidden;
    }
    const quiet = document.querySelector("details");
    if (quiet && words) quiet.open = true; // what is looked for may be in there
    shown.textContent = `${n === courses.length ? n : `${n} of ${courses.length}`} ${shown.dataset.of}`;
  };
  find.addEventListener("input", filter);
  toggles.forEach((toggle) => toggle.addEventListener("click", () => {
    toggle.setAttribute("aria-pressed", String(toggle.getAttribute("aria-pressed") !== "true"));
    filter();
  }));
  filter();
})();
