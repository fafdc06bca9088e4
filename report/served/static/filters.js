/** The form that says which images are shown, in which order and colour. */

import { byId, counted, make } from "./dom.js";
import { show, state } from "./state.js";

/** @typedef {[value: string, text: string]} Option */

/** @param {import("./api.js").About} about */
export function buildFilters(about) {
  const metrics = about.metrics.map(({ name }) => /** @type {Option} */ ([`metric:${name}`, name]));
  const known = about.n - about.unknown;
  const fields = [
    field("class", "Class", [
      ["", "all classes"],
      ...about.classes.map(
        ({ name, count }) =>
          /** @type {Option} */ ([name, `${name} (${count.toLocaleString("en")})`]),
      ),
    ]),
    field("label", "Label", [
      ["", "known or not"],
      ["known", `known (${known.toLocaleString("en")})`],
      ["unknown", `unknown (${about.unknown.toLocaleString("en")})`],
    ]),
    field("split", "Chosen by", [
      ["", "any or none"],
      ...about.splits.map(
        ({ name, count }) =>
          /** @type {Option} */ ([name, `${name} (${count.toLocaleString("en")})`]),
      ),
    ]),
    field("order", "Order", [["index", "index"], ["split", "as chosen"], ...metrics], "gallery"),
    field(
      "within",
      "Percentile",
      [
        ["all", "of all images"],
        ["class", "of its class"],
      ],
      "metric",
    ),
    field(
      "first",
      "First",
      [
        ["prototypes", "prototypes"],
        ["outliers", "outliers"],
      ],
      "order-metric",
    ),
    field("colour", "Colour", [["class", "class"], ["split", "split"], ...metrics], "map"),
  ];
  const form = byId("filters");
  form.replaceChildren(...fields);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    const { name, value } = /** @type {HTMLSelectElement} */ (event.target);
    const changes = { [name]: value, page: "1", image: "" };
    if (name === "split" && state().order === "split" && !value) changes.order = "index";
    show(changes);
  });
  return (/** @type {import("./state.js").State} */ now) => update(now, about);
}

/** @param {string} name @param {string} text @param {Option[]} options @param {string} [when] */
function field(name, text, options, when = "") {
  const select = make("select", { name, id: `by-${name}` });
  for (const [value, words] of options) select.append(make("option", { value }, words));
  return make("div", { "data-when": when }, make("label", { for: select.id }, text), select);
}

/** Show the state in the form, and only the fields that matter in it. */
function update(now, about) {
  const metric = now.view === "map" ? now.colour : now.order;
  const matters = {
    "": true,
    gallery: now.view !== "map",
    map: now.view === "map",
    metric: metric.startsWith("metric:"),
    "order-metric": now.view !== "map" && now.order.startsWith("metric:"),
  };
  const empty = {
    class: !about.classes.length,
    label: !about.unknown || about.unknown === about.n,
    split: !about.splits.length,
  };
  for (const part of byId("filters").querySelectorAll("div")) {
    const select = /** @type {HTMLSelectElement} */ (part.querySelector("select"));
    part.hidden = !matters[part.dataset.when ?? ""] || Boolean(empty[select.name]);
    select.value = now[select.name];
    for (const option of select.options)
      option.hidden = option.disabled =
        option.value === "split" && !(select.name === "order" ? now.split : about.splits.length);
  }
}

/**
 * What the filter leaves, in words.
 * @param {import("./state.js").State} now
 * @param {number} total
 */
export function told(now, total) {
  const parts = [counted(total)];
  if (now.class) parts.push(`of class ${now.class}`);
  if (now.label) parts.push(`with ${now.label === "known" ? "a" : "no"} label`);
  if (now.split) parts.push(`chosen by ${now.split}`);
  if (now.view !== "map" && now.order.startsWith("metric:"))
    parts.push(`by ${now.order.slice(7)}, ${now.first} first`);
  return parts.join(" ");
}
