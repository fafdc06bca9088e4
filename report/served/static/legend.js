/** What the colours and shapes of the map mean; a click shows one class or split alone. */

import { classColour, css, DISTINCT, levelColour, pageColours, splitMark } from "./colours.js";
import { byId, make } from "./dom.js";
import { show } from "./state.js";

/** @param {import("./api.js").About} about @param {import("./state.js").State} now */
export function drawLegend(about, now) {
  const parts = [];
  if (now.colour.startsWith("metric:")) parts.push(ramp(about, now));
  else if (now.colour === "class" && about.classes.length) parts.push(classes(about, now));
  if (about.splits.length) parts.push(splits(about, now));
  const legend = byId("legend");
  const held =
    document.activeElement instanceof HTMLElement && legend.contains(document.activeElement)
      ? document.activeElement.dataset
      : null;
  legend.replaceChildren(...parts);
  if (held)
    // the same button, made anew
    for (const button of legend.querySelectorAll("button"))
      if (button.dataset.word === held.word && button.dataset.value === held.value) button.focus();
}

/** @param {import("./api.js").About} about @param {import("./state.js").State} now */
function classes(about, now) {
  const page = pageColours();
  const rows = about.classes.map(({ name }, label) => {
    const swatch = make("i", { class: "swatch" });
    swatch.style.background = css(classColour(label, page));
    return row("class", name, now.class === name, swatch);
  });
  const note =
    about.classes.length > DISTINCT ? `Colours come again after ${DISTINCT} classes.` : "";
  return part("Class (oracle)", rows, note);
}

/** @param {import("./api.js").About} about @param {import("./state.js").State} now */
function splits(about, now) {
  const rows = about.splits.map(({ name, oracle }, number) =>
    row("split", name, now.split === name, splitMark(number), oracle ? " oracle" : ""),
  );
  return part("Chosen by", rows);
}

/** @param {import("./api.js").About} about @param {import("./state.js").State} now */
function ramp(about, now) {
  const name = now.colour.slice(7);
  const canvas = make("canvas", { class: "ramp", width: 256, height: 1, "aria-hidden": true });
  const context = canvas.getContext("2d");
  const page = pageColours();
  for (let level = 0; context && level < 256; level++) {
    context.fillStyle = css(levelColour(level, page));
    context.fillRect(level, 0, 1, 1);
  }
  const reads = about.metrics.find((each) => each.name === name)?.reads ?? "";
  const ends = make(
    "p",
    { class: "ends" },
    make("span", {}, "outliers"),
    make("span", {}, "prototypes"),
  );
  const among = now.within === "class" ? "percentile within the class" : "percentile of all images";
  return make(
    "section",
    {},
    make("h2", {}, name),
    canvas,
    ends,
    make("p", { class: "note" }, `${among}; ${reads}`),
  );
}

/**
 * @param {"class" | "split"} word
 * @param {string} value
 * @param {boolean} pressed
 * @param {HTMLElement} mark
 * @param {string} [after]
 */
function row(word, value, pressed, mark, after = "") {
  const button = make(
    "button",
    { type: "button", "aria-pressed": String(pressed) },
    mark,
    make("span", {}, value, make("small", {}, after)),
  );
  button.addEventListener("click", () => show({ [word]: pressed ? "" : value }));
  button.dataset.word = word;
  button.dataset.value = value;
  return make("li", {}, button);
}

/** @param {string} title @param {HTMLElement[]} rows @param {string} [note] */
function part(title, rows, note = "") {
  const parts = [make("h2", {}, title), make("ul", {}, ...rows)];
  if (note) parts.push(make("p", { class: "note" }, note));
  return make("section", {}, ...parts);
}
