/** What else is known about the shown image: its nearest neighbours and its scores. */

import { api, imageAddress, reason } from "./api.js";
import { byId, make } from "./dom.js";

const SIDE = 128; // pixels

export class Details {
  #root = byId("details");
  #button = byId("details-button");
  /** @type {number | null} */
  #shown = null;

  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    this.#button.hidden = !(desk.task.has_neighbours || desk.task.has_scores);
    this.#button.addEventListener("click", () => this.toggle());
  }

  get #isOpen() {
    return !this.#root.hidden;
  }

  toggle() {
    if (this.#button.hidden) return false;
    this.#root.hidden = this.#isOpen;
    this.#button.setAttribute("aria-expanded", String(this.#isOpen));
    this.render();
    return true;
  }

  render() {
    const { current } = this.desk;
    if (!this.#isOpen || current === this.#shown) return;
    this.#shown = current;
    if (current === null) this.#root.replaceChildren();
    else void this.#load(current);
  }

  /** @param {number} index */
  async #load(index) {
    try {
      const details = await api.details(index);
      if (index === this.#shown) this.#root.replaceChildren(...this.#parts(details));
    } catch (error) {
      if (index !== this.#shown) return;
      this.#root.replaceChildren(make("p", { className: "hint" }, reason(error)));
      this.#shown = null; // asked for again at the next change
    }
  }

  /** @param {import("./api.js").Details} details */
  #parts({ scores, neighbours }) {
    const parts = [];
    if (neighbours.length) {
      const list = neighbours.map((neighbour) => this.#neighbour(neighbour));
      parts.push(make("h3", {}, "Nearest images"), make("ul", {}, ...list));
    }
    if (scores.length) {
      const rows = scores.map(({ name, percentile }) => this.#score(name, percentile));
      const note = "Percentile; high = typical";
      parts.push(make("h3", {}, "Scores"), make("p", { className: "hint" }, note));
      parts.push(make("dl", {}, ...rows.flat()));
    }
    return parts;
  }

  /** @param {{index: number, distance: number, label: string | null}} neighbour */
  #neighbour({ index, distance, label }) {
    const alt = `Image ${index} of the data set`;
    const image = make("img", { src: imageAddress(index, SIDE), alt, width: 64, height: 64 });
    const text = make("span", {}, label ?? "no label");
    if (label === null) text.className = "hint";
    return make("li", { title: `distance ${distance.toPrecision(3)}` }, image, text);
  }

  /**
   * @param {string} name
   * @param {number} percentile
   */
  #score(name, percentile) {
    const text = percentile.toFixed(0);
    const bar = make("meter", { min: 0, max: 100, value: percentile, aria: { label: name } });
    return [make("dt", {}, name), make("dd", {}, bar, make("span", {}, text))];
  }
}
