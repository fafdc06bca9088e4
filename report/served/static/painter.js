/** `Painter`: the map's two canvases, dots below and marks, thumbnails and the ring above. */

import { css } from "./colours.js";
import { drawDots, unpacked } from "./dots.js";
import {
  drawChosen,
  drawRing,
  drawThumbnail,
  markSize,
  thumbnails,
  thumbnailSide,
} from "./marks.js";
import { apart, toScreen } from "./points.js";

const [SMALLEST, LARGEST] = [1.5, 8]; // pixels of a dot
const KEPT = 300; // tiles whose thumbnails are held
const AT_ONCE = 8; // tiles that are fetched
const AGAIN = 3000; // milliseconds until what failed is fetched again

/**
 * @typedef {{view: import("./points.js").View, look: import("./dots.js").Look,
 *   colours: ReturnType<typeof import("./colours.js").pageColours>, splits: number[],
 *   focused: number}} Scene `splits`: numbers of those whose marks are drawn, in this order;
 *   `focused`: place of the image with a ring, or -1
 */

export class Painter {
  /**
   * @param {HTMLCanvasElement} dots
   * @param {HTMLCanvasElement} marks
   * @param {import("./look.js").Looks} looks
   * @param {import("./sheets.js").Sheets} sheets
   * @param {() => void} changed called when there is more to draw
   */
  constructor(dots, marks, looks, sheets, changed) {
    Object.assign(this, { dots, marks, looks, sheets, changed });
    this.points = looks.points;
    /** @type {Map<number, HTMLImageElement>} thumbnails of tiles, the oldest first */
    this.held = new Map();
    this.drawn = new Set(); // places of the images whose thumbnails are seen
  }

  /** @param {number} width of the page's pixels @param {number} height */
  resize(width, height) {
    this.ratio = Math.min(devicePixelRatio, 2);
    for (const canvas of [this.dots, this.marks]) {
      canvas.width = Math.round(width * this.ratio);
      canvas.height = Math.round(height * this.ratio);
    }
    this.under = this.dots.getContext("2d", { alpha: false });
    this.over = this.marks.getContext("2d");
    this.image = this.under.createImageData(this.dots.width, this.dots.height);
    const data = new Uint32Array(this.image.data.buffer);
    this.picture = { data, width: this.dots.width, height: this.dots.height };
  }

  /** @param {Scene} scene */
  draw(scene) {
    const { view, look } = scene;
    const { points, ratio, picture } = this;
    const size = Math.min(LARGEST, Math.max(SMALLEST, 0.55 * apart(view, points)));
    const { width, height } = picture;
    const fine = { ...view, scale: view.scale * ratio, width, height };
    drawDots(picture, fine, points, look, size * ratio);
    this.under.putImageData(this.image, 0, 0);
    this.over.setTransform(ratio, 0, 0, ratio, 0, 0);
    this.over.clearRect(0, 0, view.width, view.height);
    const side = thumbnailSide(view, points);
    this.drawn = side ? this.drawThumbnails(scene, side) : new Set();
    this.drawSplits(scene, side);
    if (scene.focused < 0) return;
    const at = toScreen(view, points.x[scene.focused], points.y[scene.focused]);
    const { mark, paper } = scene.colours;
    drawRing(this.over, at, Math.max(9, side * 0.72), css(mark), css(paper));
  }

  /**
   * Place of the image whose thumbnail is at a point of the canvas; -1 = none.
   * @param {import("./points.js").View} view
   * @param {number} x
   * @param {number} y
   */
  thumbnailAt(view, x, y) {
    const side = thumbnailSide(view, this.points);
    for (const i of this.drawn) {
      const at = toScreen(view, this.points.x[i], this.points.y[i]);
      if (Math.max(Math.abs(at.x - x), Math.abs(at.y - y)) <= side / 2) return i;
    }
    return -1;
  }

  /** @param {Scene} scene @param {number} side */
  drawSplits({ view, look, colours, splits }, side) {
    const count = splits.reduce((sum, number) => sum + this.looks.splits[number].length, 0);
    const style = {
      ink: css(colours.ink),
      r: markSize(count, view.width),
      shown: look.shown,
      drawn: this.drawn,
      side,
    };
    for (const number of splits)
      drawChosen(this.over, view, this.points, this.looks.splits[number], number, style);
  }

  /** Draw thumbnails that are here, fetch others. @param {Scene} scene @param {number} side */
  drawThumbnails({ view, look }, side) {
    const { points, sheets } = this;
    const [drawn, wanted] = [new Set(), new Set()];
    for (const i of thumbnails(view, points, look.shown, this.looks.chosen, side)) {
      const sheet = this.held.get(Math.floor(i / points.size));
      if (sheet) {
        const cell = sheets.cell(sheet, i % points.size);
        const at = toScreen(view, points.x[i], points.y[i]);
        const colour = unpacked(look.palette[look.colour[i]]);
        drawThumbnail(this.over, cell, sheets.size, at, side, colour);
        drawn.add(i);
      } else wanted.add(Math.floor(i / points.size));
    }
    if (wanted.size && !this.fetching) this.fetch([...wanted].slice(0, AT_ONCE));
    return drawn;
  }

  /** Fetch the thumbnails of tiles, then draw again. @param {number[]} tiles */
  async fetch(tiles) {
    this.fetching = true;
    const results = await Promise.allSettled(
      tiles.map(async (tile) => this.hold(tile, await this.sheets.fetch(this.points.images(tile)))),
    );
    const failed = results.some(({ status }) => status === "rejected");
    if (failed) await new Promise((resolve) => setTimeout(resolve, AGAIN));
    this.fetching = false;
    this.changed();
  }

  /** @param {number} tile @param {HTMLImageElement} sheet */
  hold(tile, sheet) {
    this.held.set(tile, sheet);
    if (this.held.size > KEPT) this.held.delete(this.held.keys().next().value);
  }
}
