/** `Camera`: which part of the map is seen, and how it moves. */

import { toWorld } from "./points.js";

const MOST_ZOOM = 64;
const MARGIN = 0.92; // share of the canvas that the whole map fills

export class Camera {
  /** @param {import("./points.js").Points} points */
  constructor(points) {
    this.world = points.whole;
    this.width = this.height = 1; // of the canvas, in pixels of the page
    this.x = this.y = 0; // the middle, in the world's units
    this.zoom = 1;
    this.read("");
  }

  /** @returns {import("./points.js").View} */
  get view() {
    const { x, y, width, height, world } = this;
    const whole = MARGIN * Math.min(width / world.width, height / world.height);
    return { x, y, scale: whole * this.zoom, width, height };
  }

  /** The view as the address has it; empty = all of the map. */
  get text() {
    return this.zoom > 1 ? `${this.x.toFixed(0)},${this.y.toFixed(0)},${this.zoom.toFixed(2)}` : "";
  }

  /** Take the view from an address; what is no view shows all of the map. @param {string} text */
  read(text) {
    const { left, right, low, high } = this.world;
    const [x, y, zoom] = text.split(",").map(Number);
    if (text && [x, y, zoom].every(Number.isFinite)) this.lookAt(x, y, zoom);
    else this.lookAt((left + right) / 2, (low + high) / 2, 1);
  }

  /**
   * The middle stays on the map.
   * @param {number} x
   * @param {number} y
   * @param {number} [zoom]
   */
  lookAt(x, y, zoom = this.zoom) {
    const { left, right, low, high } = this.world;
    this.x = Math.min(right, Math.max(left, x));
    this.y = Math.min(high, Math.max(low, y));
    this.zoom = Math.min(MOST_ZOOM, Math.max(1, zoom));
  }

  /** Move by pixels of the page. @param {number} dx @param {number} dy */
  pan(dx, dy) {
    const { scale } = this.view;
    this.lookAt(this.x - dx / scale, this.y + dy / scale);
  }

  /**
   * Zoom around a point of the canvas.
   * @param {number} factor
   * @param {number} x
   * @param {number} y
   */
  zoomBy(factor, x, y) {
    const before = toWorld(this.view, x, y);
    this.lookAt(this.x, this.y, this.zoom * factor);
    const after = toWorld(this.view, x, y);
    this.lookAt(this.x + before.x - after.x, this.y + before.y - after.y);
  }
}
