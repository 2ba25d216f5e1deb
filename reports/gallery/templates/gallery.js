"use strict";
const panels = [...document.querySelectorAll(".panel")];
const dialog = document.querySelector("dialog");
const large = dialog.querySelector("img");
const text = dialog.querySelector("figcaption");
let shown = 0;
function show(index) {
  shown = (index + panels.length) % panels.length;
  const image = panels[shown].querySelector("img");
  large.src = image.src;
  large.alt = image.alt;
  text.textContent = panels[shown].dataset.about;
  if (!dialog.open) dialog.showModal();
}
panels.forEach((panel, index) => panel.addEventListener("click", () => show(index)));
dialog.querySelector(".close").addEventListener("click", () => dialog.close());
dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
dialog.addEventListener("keydown", (event) => {
  const width = document.querySelectorAll("tbody tr:first-child .panel").length;
  const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: width, ArrowUp: -width }[event.key];
  if (step) { event.preventDefault(); show(shown + step); }
});
dialog.addEventListener("close", () => panels[shown].focus());
