/** Many small images; the one with the focus gets the answer. */

import { imageAddress } from "./api.js";
import { byId, make, setText } from "./dom.js";
import { SHEET } from "./sheet.js";

const SIDE = 256; // pixels

export class Grid {
  #root = byId("grid");
  /** @type {import("./sheet.js").Sheet | null} */
  #sheet = null;
  #cursor = -1;
  /** @type {HTMLElement[]} */
  #tiles = [];

  /** @param {import("./desk.js").Desk} desk */
  constructor(desk) {
    this.desk = desk;
    byId("next-sheet").addEventListener("click", () => this.#turn(1));
    byId("previous-sheet").addEventListener("click", () => this.#turn(-1));
    byId("kind").addEventListener("click", () => {
      if (desk.sheet.range) void desk.openSheet();
      else desk.openAnswered(0);
    });
  }

  render() {
    const { sheet } = this.desk;
    const hadFocus = this.hasFocus || document.activeElement === byId("next-sheet");
    const isNew = sheet !== this.#sheet;
    if (isNew) this.#build(sheet);
    this.#tiles.forEach((tile, i) => this.#label(tile, sheet.tiles[i]));
    const hasMoved = sheet.cursor !== this.#cursor;
    this.#cursor = sheet.cursor;
    this.#tiles.forEach((tile, i) => {
      const isCurrent = i === sheet.cursor;
      tile.tabIndex = isCurrent || (sheet.current === null && i === 0) ? 0 : -1;
      tile.setAttribute("aria-selected", String(isCurrent));
    });
    this.#renderPages();
    if (hadFocus && (isNew || hasMoved)) this.focus();
  }

  get hasFocus() {
    return this.#root.contains(document.activeElement);
  }

  /** To the current tile; where all of the sheet is answered, to what leads on. */
  focus() {
    (this.#tiles[this.desk.sheet.cursor] ?? byId("next-sheet")).focus();
  }

  /** @returns {number} tiles in a row, as the browser has laid them out */
  get columns() {
    const [first, ...rest] = this.#tiles.map((tile) => tile.offsetTop);
    const second = rest.findIndex((top) => top !== first);
    return second < 0 ? this.#tiles.length : second + 1;
  }

  /** @param {import("./sheet.js").Sheet} sheet */
  #build(sheet) {
    this.#sheet = sheet;
    this.#cursor = -1;
    this.#tiles = sheet.tiles.map((index) => {
      const image = make("img", { src: imageAddress(index, SIDE), alt: "", draggable: false });
      const tile = make("div", { role: "option", data: { index } }, image, make("span"));
      tile.addEventListener("click", () => {
        sheet.focus(index);
        this.desk.changed();
        this.focus();
      });
      return tile;
    });
    this.#root.replaceChildren(...this.#tiles);
  }

  /**
   * @param {HTMLElement} tile
   * @param {number} index
   */
  #label(tile, index) {
    const { session, sheet } = this.desk;
    const answer = session.answers.get(index);
    const state = answer ?? (sheet.lost.has(index) ? "with somebody else" : "");
    setText(/** @type {HTMLElement} */ (tile.lastChild), state);
    tile.classList.toggle("answered", answer !== undefined);
    tile.classList.toggle("lost", answer === undefined && sheet.lost.has(index));
    const name = `Image ${session.number(index)} of ${session.order.length}`;
    tile.setAttribute("aria-label", state ? `${name}, ${state}` : name);
  }

  #renderPages() {
    const { range } = this.desk.sheet;
    const isReview = range !== undefined;
    const own = this.desk.session.answers.size;
    byId("previous-sheet").hidden = !isReview || range.first === 0;
    byId("next-sheet").hidden = isReview && range.first + this.#tiles.length >= range.total;
    setText(byId("next-sheet"), isReview ? "Later answers" : "Next images");
    byId("kind").hidden = !isReview && !own;
    setText(byId("kind"), isReview ? "Images to answer" : `My answers (${own})`);
  }

  /** @param {number} by sheets */
  #turn(by) {
    const { range } = this.desk.sheet;
    if (range) this.desk.openAnswered(range.first + by * SHEET);
    else void this.desk.nextSheet();
  }
}
