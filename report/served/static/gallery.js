/** The gallery: a page of thumbnails that a keyboard can walk through. */

import { getJson } from "./api.js";
import { splitMark } from "./colours.js";
import { byId, make, stateLink } from "./dom.js";
import { told } from "./filters.js";
import { correct, link, query, show } from "./state.js";

/**
 * @typedef {{index: number, id: string, class: string | null, percentile: number | null,
 *   splits: string[]}} Tile
 * @typedef {{total: number, page: number, pages: number, first: number, images: Tile[]}} Page
 */

export class Gallery {
  /** @param {import("./api.js").About} about @param {import("./sheets.js").Sheets} sheets */
  constructor(about, sheets) {
    this.about = about;
    this.sheets = sheets;
    this.list = byId("tiles");
    /** @type {Page | null} */
    this.page = null;
    this.asked = "";
    this.focusNext = ""; // "first" or "last": which tile to focus once the next page is here
    this.drawn = new IntersectionObserver((seen) => this.drawSeen(seen), { rootMargin: "600px" });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("click", (event) => this.open(event));
  }

  /** @param {import("./state.js").State} now */
  async show(now) {
    const words = { ...query(now), page: now.page };
    if (this.asked === JSON.stringify(words)) return this.markShown(now);
    const at = now.image && { at: now.image };
    this.asked = JSON.stringify(words);
    this.pending?.abort();
    this.pending = new AbortController();
    this.list.setAttribute("aria-busy", "true");
    try {
      this.page = await getJson("/api/images", { ...words, ...at }, this.pending.signal);
    } catch (error) {
      if (error.name === "AbortError") return;
      this.asked = "";
      throw error;
    }
    this.fill(now);
    if (String(this.page.page) !== now.page) {
      this.asked = JSON.stringify({ ...words, page: String(this.page.page) });
      correct({ page: String(this.page.page) });
    }
  }

  /** @param {import("./state.js").State} now */
  fill(now) {
    const { images, page, pages, total } = /** @type {Page} */ (this.page);
    const place = pages > 1 ? `, page ${page} of ${pages.toLocaleString("en")}` : "";
    byId("status").textContent = told(now, total) + place;
    this.drawn.disconnect();
    this.list.replaceChildren(...images.map((tile, i) => this.tile(tile, i)));
    this.list.removeAttribute("aria-busy");
    for (let i = 0; i < images.length; i += this.sheets.most)
      this.drawn.observe(this.list.children[i]);
    for (const nav of document.querySelectorAll("#gallery .pager")) pager(nav, page, pages);
    this.markShown(now);
    if (this.focusNext) this.focus(this.focusNext === "first" ? 0 : images.length - 1);
    this.focusNext = "";
  }

  /** @param {Tile} tile @param {number} place */
  tile(tile, place) {
    const name = tile.class ?? "no label";
    const share = tile.percentile === null ? "" : `${tile.percentile.toFixed(1)} %`;
    const chosen = tile.splits.length ? `chosen by ${tile.splits.join(", ")}` : "";
    const { width, height } = this.sheets.size;
    const button = make(
      "button",
      {
        type: "button",
        tabindex: place ? -1 : 0,
        "data-place": place,
        "data-index": tile.index,
        "aria-label": [`image ${tile.index}`, name, share && `percentile ${share}`, chosen]
          .filter(Boolean)
          .join(", "),
        title:
          [tile.id === String(tile.index) ? "" : tile.id, chosen].filter(Boolean).join("\n") ||
          null,
      },
      make("canvas", { width, height, "aria-hidden": true }),
      make("b", {}, String(tile.index)),
      make("span", {}, name),
    );
    if (share) button.append(make("span", {}, share));
    if (tile.splits.length) {
      const numbers = tile.splits.map((split) =>
        this.about.splits.findIndex((each) => each.name === split),
      );
      button.append(make("i", {}, ...numbers.slice(0, 4).map(splitMark)));
    }
    return make("li", {}, button);
  }

  /**
   * Draw the thumbnails of the parts that come into view.
   * @param {IntersectionObserverEntry[]} seen
   */
  drawSeen(seen) {
    for (const { isIntersecting, target } of seen) {
      if (!isIntersecting || !target.isConnected) continue; // of the page before
      this.drawn.unobserve(target);
      const start = Number(target.querySelector("button")?.dataset.place);
      this.drawPart(
        [...this.list.querySelectorAll("button")].slice(start, start + this.sheets.most),
      );
    }
  }

  /** @param {HTMLButtonElement[]} buttons whose thumbnails are in one sheet */
  async drawPart(buttons) {
    let sheet;
    try {
      sheet = await this.sheets.fetch(buttons.map((each) => Number(each.dataset.index)));
    } catch {
      return; // they stay blank; that the server is gone is said when a page is asked for
    }
    for (const [place, button] of buttons.entries())
      this.sheets.draw(
        /** @type {HTMLCanvasElement} */ (button.querySelector("canvas")),
        this.sheets.cell(sheet, place),
      );
  }

  /** Frame the image that is shown large. @param {import("./state.js").State} now */
  markShown(now) {
    for (const each of this.list.querySelectorAll("[aria-current]"))
      each.removeAttribute("aria-current");
    const found = now.image && this.list.querySelector(`[data-index="${CSS.escape(now.image)}"]`);
    if (!found) return;
    found.setAttribute("aria-current", "true");
    found.scrollIntoView({ block: "nearest" });
    this.rove(Number(found.dataset.place));
  }

  /**
   * Which index comes before or after an image on this page.
   * @param {number} index
   * @param {number} step
   */
  neighbour(index, step) {
    const images = this.page?.images ?? [];
    const place = images.findIndex((tile) => tile.index === index);
    return place < 0 ? undefined : images[place + step]?.index;
  }

  /** @param {number} place of the one tile that Tab reaches */
  rove(place) {
    for (const button of this.list.querySelectorAll("button"))
      button.tabIndex = Number(button.dataset.place) === place ? 0 : -1;
  }

  /** @param {number} place */
  focus(place) {
    this.rove(place);
    this.list.querySelectorAll("button")[place]?.focus();
  }

  /** @param {MouseEvent} event */
  open(event) {
    const button = /** @type {Element} */ (event.target).closest("button");
    if (button) show({ image: button.dataset.index ?? "" });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const button = /** @type {Element} */ (event.target).closest("button");
    if (!button || !this.page || event.ctrlKey || event.metaKey || event.altKey) return;
    const place = Number(button.dataset.place);
    const last = this.page.images.length - 1;
    const across = getComputedStyle(this.list).gridTemplateColumns.split(" ").length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
    if (event.key in steps) this.move(place + steps[event.key], last);
    else if (event.key === "Home") this.focus(0);
    else if (event.key === "End") this.focus(last);
    else if (event.key === "PageUp") this.turn(-1, "first");
    else if (event.key === "PageDown") this.turn(1, "first");
    else return;
    event.preventDefault();
  }

  /** To a tile, or over the edge of the page. @param {number} place @param {number} last */
  move(place, last) {
    if (place < 0) this.turn(-1, "last");
    else if (place > last) this.turn(1, "first");
    else this.focus(place);
  }

  /** @param {number} step in pages @param {string} then which tile gets the focus */
  turn(step, then) {
    const { page, pages } = /** @type {Page} */ (this.page);
    if (page + step < 1 || page + step > pages) return;
    this.focusNext = then;
    show({ page: String(page + step), image: "" });
  }
}

/** @param {Element} nav @param {number} page @param {number} pages */
function pager(nav, page, pages) {
  if (pages < 2) return nav.replaceChildren();
  const to = (
    /** @type {number} */ number,
    /** @type {string} */ text,
    /** @type {string} */ name,
  ) =>
    number < 1 || number > pages || number === page
      ? make("span", { class: "off", "aria-hidden": true }, text)
      : stateLink(link({ page: String(number), image: "" }), text, { "aria-label": name });
  const input = make("input", {
    type: "number",
    min: 1,
    max: pages,
    value: page,
    "aria-label": `Page, of ${pages}`,
    inputmode: "numeric",
  });
  input.addEventListener("change", () => {
    const wanted = Math.min(pages, Math.max(1, Math.round(input.valueAsNumber || page)));
    show({ page: String(wanted), image: "" });
  });
  nav.replaceChildren(
    to(1, "«", "First page"),
    to(page - 1, "‹", "Page before"),
    input,
    make("span", {}, `of ${pages.toLocaleString("en")}`),
    to(page + 1, "›", "Next page"),
    to(pages, "»", "Last page"),
  );
}
