/** Mouse, touch and keyboard on the map. */

const STEP = 60; // pixels that an arrow key moves
const FACTOR = 1.5; // that a key or button zooms by
const STILL = 6; // pixels that a pointer may move and still click

export class Gestures {
  /** @param {import("./map.js").ImageMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Map<number, {x: number, y: number}>} where each finger, or the mouse, is down */
    this.down = new Map();
    this.travelled = 0;
    const canvas = map.marks;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.release(event));
    canvas.addEventListener("pointercancel", (event) => this.down.delete(event.pointerId));
    canvas.addEventListener(
      "pointerleave",
      (event) => event.pointerType === "mouse" && map.forget(),
    );
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener(
      "blur",
      (event) => map.card.element.contains(event.relatedTarget) || map.forget(),
    );
    for (const button of map.field.querySelectorAll("[data-zoom]"))
      button.addEventListener("click", () => this.zoom(button.dataset.zoom));
  }

  /** @param {MouseEvent} event */
  where(event) {
    const { left, top } = this.map.marks.getBoundingClientRect();
    return { x: event.clientX - left, y: event.clientY - top };
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button) return;
    this.map.marks.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, this.where(event));
    if (this.down.size === 1) this.travelled = 0;
  }

  /** @param {PointerEvent} event */
  move(event) {
    const to = this.where(event);
    const from = this.down.get(event.pointerId);
    if (!from) return this.map.focus(this.map.at(to.x, to.y));
    const others = [...this.down].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.travelled += Math.hypot(to.x - from.x, to.y - from.y);
    if (this.travelled > STILL || others.length) {
      this.map.card.hide();
      if (others.length) this.pinch(from, to, others[0]);
      else this.map.pan(to.x - from.x, to.y - from.y);
      this.down.set(event.pointerId, to);
    }
  }

  /**
   * Two fingers: what was under each stays there.
   * @typedef {{x: number, y: number}} Spot
   * @param {Spot} from
   * @param {Spot} to
   * @param {Spot} other
   */
  pinch(from, to, other) {
    const apart = (/** @type {Spot} */ spot) =>
      Math.max(1, Math.hypot(spot.x - other.x, spot.y - other.y));
    this.map.pan((to.x - from.x) / 2, (to.y - from.y) / 2);
    this.map.zoomBy(apart(to) / apart(from), (to.x + other.x) / 2, (to.y + other.y) / 2);
  }

  /** @param {PointerEvent} event */
  release(event) {
    const alone = this.down.delete(event.pointerId) && !this.down.size;
    if (!alone || this.travelled > STILL) return;
    const { x, y } = this.where(event);
    const mouse = event.pointerType === "mouse";
    this.map.focus(this.map.at(x, y, mouse ? undefined : 24), !mouse);
    if (mouse) this.map.open(); // a finger sees the card first, and its button
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    event.preventDefault();
    const { x, y } = this.where(event);
    const lines = event.deltaMode ? 16 : 1;
    this.map.zoomBy(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.002)), x, y);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { map } = this;
    const steps = {
      ArrowLeft: [STEP, 0],
      ArrowRight: [-STEP, 0],
      ArrowUp: [0, STEP],
      ArrowDown: [0, -STEP],
    };
    if (event.key in steps) map.pan(...steps[event.key]);
    else if (event.key === "+" || event.key === "=") map.zoomBy(FACTOR);
    else if (event.key === "-") map.zoomBy(1 / FACTOR);
    else if (event.key === "0") map.whole();
    else if (event.key === "Enter") map.open();
    else if (event.key === "Escape") map.forget();
    else return;
    event.preventDefault();
    if (event.key !== "Enter" && event.key !== "Escape") map.focusMiddle();
  }

  /** @param {string} how */
  zoom(how) {
    if (how === "whole") this.map.whole();
    else this.map.zoomBy(how === "in" ? FACTOR : 1 / FACTOR);
  }
}
