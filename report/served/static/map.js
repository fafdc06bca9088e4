/** The map of the images: a canvas that is moved and zoomed by mouse, touch and keyboard. */

import { getBytes } from "./api.js";
import { Camera } from "./camera.js";
import { Card, openInGallery } from "./card.js";
import { pageColours } from "./colours.js";
import { byId, counted } from "./dom.js";
import { told } from "./filters.js";
import { Gestures } from "./gestures.js";
import { drawLegend } from "./legend.js";
import { Looks } from "./look.js";
import { Painter } from "./painter.js";
import { Points, toScreen, toWorld } from "./points.js";
import { correct, state } from "./state.js";

const CLOSE = 12; // zoom at which an image is found
const REACH = 14; // pixels around the pointer
const SETTLED = 200; // milliseconds without movement
const LOOKS = ["class", "label", "split", "colour", "within"]; // of the state, that change a look

export class ImageMap {
  /** @param {import("./api.js").About} about @param {import("./sheets.js").Sheets} sheets */
  constructor(about, sheets) {
    this.about = about;
    this.sheets = sheets;
    this.card = new Card(about, sheets);
    this.field = byId("field");
    this.marks = /** @type {HTMLCanvasElement} */ (byId("marks"));
    this.focused = -1; // place of the image that is looked at
    this.drawing = 0;
    /** @type {string | null} the view as the address has it; null = none was taken from it yet */
    this.written = null;
    this.now = state();
  }

  /** @param {import("./state.js").State} now */
  async show(now) {
    if (!this.about.map) throw new Error(this.about.no_map);
    const before = this.now;
    this.now = now;
    if (!this.painter) await (this.loading ??= this.load());
    if (!this.look || LOOKS.some((key) => now[key] !== before[key])) {
      await this.recolour();
      this.forget();
    }
    this.fit();
    if (now.image && !now.at) this.find(Number(now.image));
    else if (now.at !== this.written) {
      this.camera.read(now.at);
      this.written = now.at;
    }
    const { shown, all } = this.look;
    const kept = all ? this.about.n : shown.reduce((sum, each) => sum + each, 0);
    byId("map-count").textContent = told(now, kept);
    this.marks.setAttribute("aria-label", `Map of ${counted(this.about.n)}: ${told(now, kept)}`);
    this.draw();
  }

  async load() {
    try {
      const packed = await getBytes("/api/map");
      this.points = new Points(packed, this.about.n, this.about.thumbnail.most);
      this.looks = new Looks(this.about, this.points);
      await this.looks.load();
    } catch (error) {
      this.loading = undefined; // the next change tries again
      throw error;
    }
    const dots = /** @type {HTMLCanvasElement} */ (byId("dots"));
    this.camera = new Camera(this.points);
    this.painter = new Painter(dots, this.marks, this.looks, this.sheets, () => this.draw());
    byId("map-told").textContent = this.about.map?.told ?? "";
    new Gestures(this);
    new ResizeObserver(() => this.fit() && this.draw()).observe(this.field);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", async () => {
      await this.recolour();
      this.draw();
    });
  }

  /** What the filter, the choice of colour, and a light or dark page make of the points. */
  async recolour() {
    this.look = await this.looks.make(this.now);
    this.colours = pageColours();
    drawLegend(this.about, this.now);
  }

  /** Make the canvases as large as their frame; whether that changed them. */
  fit() {
    const { clientWidth: width, clientHeight: height } = this.field;
    const { camera } = this;
    if (!width || (camera.width === width && camera.height === height)) return false;
    Object.assign(camera, { width, height });
    this.painter.resize(width, height);
    return true;
  }

  /** Show one image close by. @param {number} index */
  find(index) {
    const place = this.points.place[index];
    if (place === undefined) return;
    const { x, y } = this.points;
    this.camera.lookAt(x[place], y[place], Math.max(this.camera.zoom, CLOSE));
    this.focus(place, true);
    this.moved();
  }

  /** Move by pixels of the page. @param {number} dx @param {number} dy */
  pan(dx, dy) {
    this.camera.pan(dx, dy);
    this.moved();
  }

  /** Zoom around a point of the canvas, its middle by default. @param {number} factor */
  zoomBy(factor, x = this.camera.width / 2, y = this.camera.height / 2) {
    this.camera.zoomBy(factor, x, y);
    this.moved();
  }

  whole() {
    this.camera.read("");
    this.moved();
  }

  /** Draw soon, and write the view into the address once it rests. */
  moved() {
    this.draw();
    clearTimeout(this.resting);
    this.resting = setTimeout(() => {
      this.written = this.camera.text;
      if (this.now.view === "map" && this.written !== state().at) correct({ at: this.written });
    }, SETTLED);
  }

  /**
   * Place of the image at a point of the canvas: of its thumbnail, else the nearest; -1 = none.
   * @param {number} x
   * @param {number} y
   * @param {number} [reach] in pixels
   */
  at(x, y, reach = REACH) {
    const { view } = this.camera;
    const found = this.painter.thumbnailAt(view, x, y);
    if (found >= 0) return found;
    const spot = toWorld(view, x, y);
    return this.points.nearest(spot.x, spot.y, reach / view.scale, this.look.shown);
  }

  /** Look at the image in the middle, as somebody does who has no pointer. */
  focusMiddle() {
    const { width, height } = this.camera;
    this.focus(this.at(width / 2, height / 2, Math.min(width, height) / 4), true);
  }

  /**
   * Look at an image, or at none where `place` is -1.
   * @param {number} place
   * @param {boolean} [read] aloud
   */
  focus(place, read = false) {
    if (place < 0) return this.forget();
    this.focused = place;
    const metric = this.now.colour.startsWith("metric:") ? this.now.colour.slice(7) : "";
    this.card.show(this.points.index[place], metric, read);
    this.draw();
  }

  forget() {
    if (this.focused < 0) return;
    this.focused = -1;
    this.card.hide();
    this.draw();
  }

  /** Open the image that is looked at. */
  open() {
    if (this.focused >= 0) openInGallery(this.points.index[this.focused]);
  }

  draw() {
    this.drawing ||= requestAnimationFrame(() => {
      this.drawing = 0;
      if (this.now.view === "map" && this.camera.width > 1 && this.look) this.drawNow();
    });
  }

  drawNow() {
    const { view } = this.camera;
    const { look, colours, focused, points } = this;
    const splits = this.looks.largestFirst.filter(
      (number) => !this.now.split || this.now.split === this.about.splits[number].name,
    );
    this.painter.draw({ view, look, colours, splits, focused });
    if (focused < 0) return;
    const { x, y } = toScreen(view, points.x[focused], points.y[focused]);
    this.card.place(x, y);
  }
}
