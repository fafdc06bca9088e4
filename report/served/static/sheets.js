/** Thumbnails, fetched many at a time in one picture and kept by the browser. */

import { address } from "./api.js";

const KEPT = 400; // sheets in memory, some 80 MB at 32 pixels

/** Where a thumbnail is. @typedef {{sheet: HTMLImageElement, x: number, y: number}} Cell */

export class Sheets {
  /** @param {import("./api.js").About} about */
  constructor(about) {
    this.size = about.thumbnail;
    this.path = `/sheets/${about.version}`;
    /** @type {Map<string, Promise<HTMLImageElement>>} the least recently used first */
    this.kept = new Map();
  }

  /** How many thumbnails a sheet holds at most. */
  get most() {
    return this.size.most;
  }

  /** @param {ArrayLike<number>} indices @returns {Promise<HTMLImageElement>} */
  fetch(indices) {
    const key = Array.from(indices).join(",");
    const found = this.kept.get(key) ?? this.load(key);
    this.kept.delete(key);
    this.kept.set(key, found);
    if (this.kept.size > KEPT) this.kept.delete(this.kept.keys().next().value);
    return found;
  }

  /** @param {string} key */
  load(key) {
    const image = new Image();
    image.src = address(this.path, { indices: key });
    const loaded = image.decode().then(() => image);
    loaded.catch(() => this.kept.delete(key)); // asked for again later
    return loaded;
  }

  /**
   * The thumbnail at a place of a sheet.
   * @param {HTMLImageElement} sheet
   * @param {number} place
   * @returns {Cell}
   */
  cell(sheet, place) {
    const { width, height, columns } = this.size;
    return { sheet, x: (place % columns) * width, y: Math.floor(place / columns) * height };
  }

  /**
   * Draw one image's thumbnail, as large as it is.
   * @param {HTMLCanvasElement} canvas
   * @param {Cell} cell
   */
  draw(canvas, cell) {
    const { width, height } = this.size;
    canvas.width = width;
    canvas.height = height;
    canvas
      .getContext("2d")
      ?.drawImage(cell.sheet, cell.x, cell.y, width, height, 0, 0, width, height);
  }

  /**
   * Fill a canvas with one image's thumbnail.
   * @param {HTMLCanvasElement} canvas
   * @param {number} index
   */
  async drawOne(canvas, index) {
    this.draw(canvas, this.cell(await this.fetch([index]), 0));
  }
}
