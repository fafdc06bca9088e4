/** One image, large, with all that is known of it. */

import { getJson } from "./api.js";
import { splitMark } from "./colours.js";
import { byId, make } from "./dom.js";
import { correct, link, state } from "./state.js";

/**
 * @typedef {{index: number, id: string, class: string | null,
 *   splits: {name: string, place: number, of: number, labelled?: string | null}[],
 *   predicted: Record<string, string | null>,
 *   scores: {name: string, score: number, percentile: number, within: number}[]}} Facts
 */

export class One {
  /** @param {import("./api.js").About} about @param {import("./gallery.js").Gallery} gallery */
  constructor(about, gallery) {
    this.about = about;
    this.gallery = gallery;
    this.dialog = /** @type {HTMLDialogElement} */ (byId("one"));
    this.dialog.addEventListener("close", () => this.closed());
    this.dialog.addEventListener(
      "click",
      (event) => event.target === this.dialog && this.dialog.close(),
    );
    this.dialog.addEventListener("keydown", (event) => this.key(event));
    byId("one-close").addEventListener("click", () => this.dialog.close());
    byId("one-before").addEventListener("click", () => this.step(-1));
    byId("one-after").addEventListener("click", () => this.step(1));
  }

  /** @param {import("./state.js").State} now */
  async show(now) {
    if (now.view !== "gallery" || !now.image) {
      if (this.dialog.open) this.dialog.close();
      return;
    }
    const facts = /** @type {Facts} */ (
      await getJson(`/api/images/${encodeURIComponent(now.image)}`)
    );
    if (state().image !== now.image) return;
    this.fill(facts);
    if (!this.dialog.open) this.dialog.showModal();
    this.dialog.scrollTop = 0;
  }

  /** @param {Facts} facts */
  fill(facts) {
    byId("one-title").textContent = `Image ${facts.index.toLocaleString("en")}`;
    const label = facts.class ?? "no label";
    const image = /** @type {HTMLImageElement} */ (byId("one-image"));
    image.src = `/large/${this.about.version}/${facts.index}`;
    image.alt = `image ${facts.index}, ${label}`;
    const list = make("dl", {});
    const say = (/** @type {string} */ term, /** @type {(Node | string)[]} */ ...text) =>
      list.append(make("dt", {}, term), make("dd", {}, ...text));
    if (facts.id !== String(facts.index)) say("file", facts.id);
    say(
      "class",
      label,
      make("small", {}, facts.class === null ? "" : " of the data set, an oracle"),
    );
    for (const [run, name] of Object.entries(facts.predicted))
      say(`predicted by ${run}`, name ?? "nothing");
    for (const { name, place, of, labelled } of facts.splits) {
      const mark = splitMark(this.about.splits.findIndex((each) => each.name === name));
      const people =
        labelled === undefined
          ? ""
          : labelled === null
            ? ", waits for a label"
            : `, labelled ${labelled} by people`;
      say("chosen by", mark, ` ${name}`, make("small", {}, ` number ${place} of ${of}${people}`));
    }
    byId("one-facts").replaceChildren(list, ...(facts.scores.length ? [table(facts)] : []));
    for (const [id, step] of /** @type {[string, number][]} */ ([
      ["one-before", -1],
      ["one-after", 1],
    ]))
      /** @type {HTMLButtonElement} */ (byId(id)).disabled =
        this.gallery.neighbour(facts.index, step) === undefined;
    const map = /** @type {HTMLAnchorElement} */ (byId("one-map"));
    map.hidden = !this.about.map;
    map.href = link({ view: "map", at: "" });
    map.dataset.state = "";
  }

  /** @param {number} step */
  step(step) {
    const next = this.gallery.neighbour(Number(state().image), step);
    if (next !== undefined) correct({ image: String(next) });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.key === "ArrowLeft") this.step(-1);
    else if (event.key === "ArrowRight") this.step(1);
  }

  closed() {
    const { view, image } = state();
    if (view !== "gallery" || !image) return;
    const place = this.gallery.page?.images.findIndex((tile) => tile.index === Number(image)) ?? -1;
    correct({ image: "" });
    if (place >= 0) this.gallery.focus(place);
  }
}

/** @param {Facts} facts */
function table(facts) {
  const rows = facts.scores.map(({ name, score, percentile, within }) =>
    make(
      "tr",
      {},
      make("th", { scope: "row" }, name),
      make("td", {}, String(score)),
      make("td", {}, percentile.toFixed(1)),
      make("td", {}, within.toFixed(1)),
    ),
  );
  const heads = ["metric", "score", "percentile", "of its class"].map((text) =>
    make("th", { scope: "col" }, text),
  );
  return make(
    "div",
    { class: "wide", tabindex: 0, role: "region", "aria-label": "Scores" },
    make(
      "table",
      {},
      make("caption", {}, "Higher = more prototypical; percentile 100 = the best prototype."),
      make("thead", {}, make("tr", {}, ...heads)),
      make("tbody", {}, ...rows),
    ),
  );
}
