/** Which points of the map are shown and in which colour, from the filter and the data. */

import { getBytes } from "./api.js";
import { classColour, DISTINCT, levelColour, mix, pageColours } from "./colours.js";
import { packed } from "./dots.js";

const UNKNOWN = 255; // place in the palette of an image without a label, or without a colour

export class Looks {
  /** @param {import("./api.js").About} about @param {import("./points.js").Points} points */
  constructor(about, points) {
    this.about = about;
    this.points = points;
    /** @type {Uint32Array[]} places of the images of each split */
    this.splits = [];
    this.chosen = new Uint8Array(points.n); // whether any split has it
    /** @type {Map<string, Uint8Array>} */
    this.levels = new Map();
  }

  /** Fetch what every look needs. */
  async load() {
    const { points } = this;
    const labels = new Int32Array(await getBytes("/api/labels"));
    this.labels = Int32Array.from(points.index, (index) => labels[index]);
    for (const { name } of this.about.splits) {
      const indices = new Uint32Array(await getBytes("/api/places", { split: name }));
      this.splits.push(indices.map((index) => points.place[index]));
    }
    // A split of a few images is not to disappear under one of many.
    this.largestFirst = [...this.splits.keys()].sort(
      (a, b) => this.splits[b].length - this.splits[a].length,
    );
    for (const places of this.splits) for (const i of places) this.chosen[i] = 1;
  }

  /** @param {import("./state.js").State} now @returns {Promise<import("./dots.js").Look>} */
  async make(now) {
    const shown = this.shown(now);
    const page = pageColours();
    const palette = new Uint32Array(256).fill(packed(page.middle));
    let colour = new Uint8Array(this.points.n).fill(UNKNOWN);
    if (now.colour === "class") {
      colour = Uint8Array.from(this.labels, (label) => (label < 0 ? UNKNOWN : label % DISTINCT));
      for (let label = 0; label < DISTINCT; label++)
        palette[label] = packed(classColour(label, page));
    } else if (now.colour.startsWith("metric:")) {
      colour = await this.metric(now.colour.slice(7), now.within);
      for (let level = 0; level < 256; level++) palette[level] = packed(levelColour(level, page));
    } else palette[UNKNOWN] = packed(mix(page.paper, page.middle, 0.7));
    const [quiet, paper] = [packed(page.quiet), packed(page.paper)];
    return { shown, all: !shown.includes(0), colour, palette, quiet, paper };
  }

  /** @param {string} metric @param {string} within */
  async metric(metric, within) {
    const key = `${within}:${metric}`;
    if (!this.levels.has(key)) {
      const levels = new Uint8Array(await getBytes("/api/percentiles", { metric, within }));
      this.levels.set(
        key,
        Uint8Array.from(this.points.index, (index) => levels[index]),
      );
    }
    return /** @type {Uint8Array} */ (this.levels.get(key));
  }

  /** What the filter keeps; the same as `query.py`. @param {import("./state.js").State} now */
  shown(now) {
    const label = this.about.classes.findIndex(({ name }) => name === now.class);
    const shown = new Uint8Array(this.points.n);
    if (now.split) for (const i of this.places(now.split)) shown[i] = 1;
    else shown.fill(1);
    if (now.class) this.labels.forEach((each, i) => (shown[i] &= each === label ? 1 : 0));
    if (now.label)
      this.labels.forEach((each, i) => (shown[i] &= each >= 0 === (now.label === "known") ? 1 : 0));
    return shown;
  }

  /** @param {string} split */
  places(split) {
    const number = this.about.splits.findIndex(({ name }) => name === split);
    if (number < 0) throw new Error(`There is no split “${split}” here.`);
    return this.splits[number];
  }
}
