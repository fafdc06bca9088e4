/** What is shown, held in the address alone: it can be shared, reloaded, and gone back from. */

/** Words of the address and what they are where it leaves them out. */
const DEFAULTS = {
  view: "gallery", // or map
  class: "", // the only class
  label: "", // known, unknown
  split: "", // the only split
  order: "index", // split, or metric:NAME
  within: "all", // or class: among which images a percentile is
  first: "prototypes", // or outliers
  page: "1",
  image: "", // the one that is shown large
  colour: "class", // of the map: class, split, or metric:NAME
  at: "", // the map's middle and zoom: x,y,zoom
};

/** The words that say which images, in which order; the server knows the same. */
export const QUERY = ["class", "label", "split", "order", "within", "first"];

/** @typedef {typeof DEFAULTS} State */

/** @returns {State} */
export function state() {
  const given = new URLSearchParams(location.search);
  const read = { ...DEFAULTS };
  for (const key of Object.keys(DEFAULTS)) if (given.get(key)) read[key] = given.get(key);
  return read;
}

/** The address of the present state with some changes. @param {Partial<State>} changes */
export function link(changes) {
  const query = new URLSearchParams();
  for (const [key, value] of Object.entries({ ...state(), ...changes }))
    if (value !== DEFAULTS[key]) query.set(key, value);
  return query.size ? `/?${query}` : "/";
}

/** @type {((now: State, before: State) => void)[]} */
const listeners = [];
let last = state();

function tell() {
  const before = last;
  last = state();
  for (const listener of listeners) listener(last, before);
}

/** @param {(now: State, before: State) => void} listener is told of every change */
export function onChange(listener) {
  listeners.push(listener);
}

/** Change what is shown; the browser's Back undoes it. @param {Partial<State>} changes */
export function show(changes) {
  history.pushState(null, "", link(changes));
  tell();
}

/** The same without a step of its own for Back. @param {Partial<State>} changes */
export function correct(changes) {
  history.replaceState(null, "", link(changes));
  tell();
}

addEventListener("popstate", tell);
addEventListener("click", (event) => {
  const anchor = event.target instanceof Element ? event.target.closest("a[data-state]") : null;
  if (!anchor || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
  event.preventDefault();
  history.pushState(null, "", anchor.getAttribute("href"));
  tell();
});

/** The words for the server: which images, in which order. @param {State} now */
export function query(now) {
  return Object.fromEntries(QUERY.map((key) => [key, now[key]]));
}
