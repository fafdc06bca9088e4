/** The images that lie side by side in the grid, and the one that an answer goes to. */

export const SHEET = 24; // images on a sheet

export class Sheet {
  /** @type {number[]} */
  tiles;
  cursor = 0;
  /** @type {Set<number>} tiles that somebody else has taken meanwhile */
  lost = new Set();

  /**
   * @param {number[]} tiles
   * @param {{first: number, total: number}} [range] where the tiles lie among all answers of the
   *   person, on a sheet of answered images
   */
  constructor(tiles, range) {
    this.tiles = tiles;
    this.range = range;
  }

  /**
   * A sheet of what was answered, in the split's order.
   * @param {import("./session.js").Session} session
   * @param {number} first of the answers; brought into the range that there is
   */
  static answered(session, first) {
    const own = session.order.filter((index) => !session.isOpen(index));
    const last = Math.floor(Math.max(own.length - 1, 0) / SHEET) * SHEET;
    const start = Math.min(Math.max(first, 0), last);
    const range = { first: start, total: own.length };
    return new Sheet(own.slice(start, start + SHEET), range);
  }

  /** @returns {number | null} */
  get current() {
    return this.tiles[this.cursor] ?? null;
  }

  /** @param {number} index */
  focus(index) {
    this.cursor = Math.max(0, this.tiles.indexOf(index));
  }

  /** @param {number} by tiles forward; stays on the sheet */
  move(by) {
    const last = this.tiles.length - 1;
    // Down from the last full row leads to the last tile, as in a text.
    if (this.cursor + by > last) this.cursor = by > 1 ? last : this.cursor;
    else if (this.cursor + by >= 0) this.cursor += by;
  }

  /**
   * On to the next tile that wants an answer, or beyond the last where none does.
   * @param {(index: number) => boolean} isOpen
   */
  advance(isOpen) {
    if (this.range) return this.move(1);
    const after = this.tiles.map((_, i) => (this.cursor + 1 + i) % this.tiles.length);
    const goal = after.find((i) => isOpen(this.tiles[i]) && !this.lost.has(this.tiles[i]));
    this.cursor = goal ?? this.tiles.length;
  }
}
