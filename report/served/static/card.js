/** The small card beside the image that is looked at on the map. */

import { getJson } from "./api.js";
import { splitMark } from "./colours.js";
import { byId, make } from "./dom.js";
import { show } from "./state.js";

const GAP = 18; // pixels between the image and its card

export class Card {
  /** @param {import("./api.js").About} about @param {import("./sheets.js").Sheets} sheets */
  constructor(about, sheets) {
    this.about = about;
    this.sheets = sheets;
    this.element = byId("card");
    this.index = -1;
  }

  hide() {
    this.index = -1;
    this.element.hidden = true;
  }

  /**
   * Show an image's card.
   * @param {number} index
   * @param {string} metric that colours the map
   * @param {boolean} read whether a screen reader is to hear of it
   */
  async show(index, metric, read) {
    if (index === this.index) return;
    this.index = index;
    this.pending?.abort();
    this.pending = new AbortController();
    const canvas = make("canvas", { "aria-hidden": true });
    try {
      const [facts] = await Promise.all([
        getJson(`/api/images/${index}`, {}, this.pending.signal),
        this.sheets.drawOne(canvas, index),
      ]);
      if (index !== this.index) return;
      this.fill(canvas, facts, metric, read);
    } catch {
      if (index === this.index) this.hide(); // asked for again by the next movement
    }
  }

  /**
   * @param {HTMLCanvasElement} canvas
   * @param {import("./one.js").Facts} facts
   * @param {string} metric
   * @param {boolean} read
   */
  fill(canvas, facts, metric, read) {
    const label = facts.class ?? "no label";
    const score = facts.scores.find((each) => each.name === metric);
    const lines = [make("b", {}, `image ${facts.index}`), make("span", {}, label)];
    if (score)
      lines.push(
        make(
          "span",
          {},
          `${metric}: ${score.percentile.toFixed(1)} %, ${score.within.toFixed(1)} % of its class`,
        ),
      );
    for (const { name, place, of } of facts.splits) {
      const number = this.about.splits.findIndex((each) => each.name === name);
      lines.push(
        make(
          "span",
          {},
          splitMark(number),
          ` ${name}`,
          make("small", {}, ` number ${place} of ${of}`),
        ),
      );
    }
    const open = make("button", { type: "button" }, "Open in the gallery");
    open.addEventListener("click", () => openInGallery(facts.index));
    this.element.replaceChildren(canvas, make("div", {}, ...lines, open));
    this.element.hidden = false;
    if (this.at) this.place(this.at.x, this.at.y);
    if (read)
      byId("map-live").textContent = `image ${facts.index}, ${lines
        .slice(1)
        .map((each) => each.textContent)
        .join(", ")}`;
  }

  /** Put the card beside a point of the map, within the map. @param {number} x @param {number} y */
  place(x, y) {
    this.at = { x, y };
    const { offsetWidth, offsetHeight, style } = this.element;
    const { clientWidth, clientHeight } = /** @type {HTMLElement} */ (this.element.parentElement);
    const left = x + GAP + offsetWidth < clientWidth ? x + GAP : Math.max(4, x - GAP - offsetWidth);
    const top = Math.min(Math.max(4, y - offsetHeight / 2), clientHeight - offsetHeight - 4);
    style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }
}

/** @param {number} index */
export function openInGallery(index) {
  show({ view: "gallery", image: String(index), page: "1" });
}
