/** One large image, with the next ones loaded before they are asked for. */

import { imageAddress } from "./api.js";
import { byId, make, setText } from "./dom.js";

const SIDES = [256, 512, 1024]; // pixels; few sizes, so that the browser's copies fit again
const KEPT = 12; // images

export class Stage {
  #root = byId("stage");
  /** @type {Map<number, HTMLImageElement>} the latest last */
  #images = new Map();
  /** @type {number | null} */
  #shown = null;
  #failures = 0;

  /** @param {() => Promise<unknown>} reach resolved once the server answers */
  constructor(reach) {
    this.reach = reach;
  }

  /** Whether the image can be seen, and so be judged. */
  get isReady() {
    const image = this.#shown === null ? undefined : this.#images.get(this.#shown);
    return Boolean(image?.complete && image.naturalWidth);
  }

  /**
   * @param {number | null} index
   * @param {string} name what it is called, which must not tell its class
   * @param {number[]} ahead images that come next
   */
  render(index, name, ahead) {
    if (index !== this.#shown) {
      this.#shown = index;
      this.#failures = 0;
      this.#place(name);
    }
    ahead.forEach((next) => this.#load(next));
  }

  /** @param {string} name */
  #place(name) {
    const index = this.#shown;
    if (index === null) return this.#root.replaceChildren();
    const image = this.#load(index);
    image.alt = name;
    image.dataset.testid = "image";
    image.dataset.index = String(index);
    this.#root.replaceChildren(image);
    image.decode().catch(() => this.#retry(index, name));
  }

  /**
   * @param {number} index
   * @returns {HTMLImageElement}
   */
  #load(index) {
    const image = this.#images.get(index) ?? make("img", { src: imageAddress(index, this.#side) });
    this.#images.delete(index);
    this.#images.set(index, image);
    for (const old of [...this.#images.keys()].slice(0, -KEPT)) this.#images.delete(old);
    return image;
  }

  get #side() {
    const wanted = Math.min(this.#root.clientWidth, this.#root.clientHeight) * devicePixelRatio;
    return SIDES.find((side) => side >= wanted) ?? SIDES[SIDES.length - 1];
  }

  /**
   * @param {number} index
   * @param {string} name
   */
  async #retry(index, name) {
    this.#images.delete(index);
    if (index !== this.#shown) return;
    const note = make("p", {}, "This image is not here yet.");
    this.#root.replaceChildren(note);
    await this.reach();
    if (index !== this.#shown) return;
    if (this.#failures++ < 2) return this.#place(name);
    setText(note, "The server cannot show this image. Skip it, or reload the page.");
  }
}
