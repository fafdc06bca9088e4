/** What is drawn over the dots: thumbnails when zoomed in, chosen images, the one looked at. */

import { addShape, splitColour, splitShape } from "./colours.js";
import { apart, toScreen } from "./points.js";

const FROM = 16; // pixels from image to image, from which on thumbnails are shown
const [SMALLEST, LARGEST] = [24, 96]; // pixels of a thumbnail
const FRAME = 1.5; // pixels
const MOST_POINTS = 6000; // in view, for thumbnails to be shown

/**
 * Pixels that a thumbnail has at a view; 0 = too far away.
 * @param {import("./points.js").View} view
 * @param {import("./points.js").Points} points
 */
export function thumbnailSide(view, points) {
  const distance = apart(view, points);
  return distance < FROM ? 0 : Math.min(LARGEST, Math.max(SMALLEST, 1.1 * distance));
}

/**
 * Places of the images whose thumbnails are drawn, chosen ones first: of those that would overlap
 * only one, nearly always the same wherever the view is moved.
 * @param {import("./points.js").View} view @param {import("./points.js").Points} points
 * @param {Uint8Array} shown @param {Uint8Array} chosen @param {number} side
 */
export function thumbnails(view, points, shown, chosen, side) {
  const seen = [];
  for (const tile of points.seen(view, side)) {
    const end = Math.min(points.n, (tile + 1) * points.size);
    for (let i = tile * points.size; i < end; i++) if (shown[i]) seen.push(i);
    if (seen.length > MOST_POINTS) return [];
  }
  seen.sort((a, b) => rank(a, chosen) - rank(b, chosen));
  return withoutOverlap(seen, points, side / view.scale);
}

/**
 * A fixed random order: neighbours rarely follow each other, so what enters on one side of the
 * view changes little elsewhere.
 * @param {number} place
 * @param {Uint8Array} chosen
 */
function rank(place, chosen) {
  return (Math.imul(place, 0x9e3779b1) >>> 0) - (chosen[place] ? 2 ** 32 : 0);
}

/**
 * Keep a place if no kept one is nearer than `side`, in the world's units.
 * @param {number[]} places
 * @param {import("./points.js").Points} points
 * @param {number} side
 */
function withoutOverlap(places, { x, y }, side) {
  /** @type {Map<number, number[]>} kept places by the square that they lie in */
  const squares = new Map();
  const square = (/** @type {number} */ column, /** @type {number} */ row) => column * 65536 + row;
  return places.filter((i) => {
    const [column, row] = [Math.floor(x[i] / side) + 1, Math.floor(y[i] / side) + 1];
    for (let dx = -1; dx <= 1; dx++)
      for (let dy = -1; dy <= 1; dy++)
        for (const j of squares.get(square(column + dx, row + dy)) ?? [])
          if (Math.abs(x[i] - x[j]) < side && Math.abs(y[i] - y[j]) < side) return false;
    const here = square(column, row);
    squares.set(here, [...(squares.get(here) ?? []), i]);
    return true;
  });
}

/** A thumbnail in a frame of its point's colour.
 * @param {CanvasRenderingContext2D} context @param {import("./sheets.js").Cell} cell
 * @param {{height: number, width: number}} size @param {{x: number, y: number}} at
 * @param {number} side with the frame @param {string} colour
 */
export function drawThumbnail(context, cell, size, at, side, colour) {
  const scale = (side - 2 * FRAME) / Math.max(size.width, size.height);
  const [width, height] = [size.width * scale, size.height * scale];
  context.fillStyle = colour;
  context.fillRect(
    at.x - width / 2 - FRAME,
    at.y - height / 2 - FRAME,
    width + 2 * FRAME,
    height + 2 * FRAME,
  );
  context.imageSmoothingEnabled = scale < 1;
  context.drawImage(
    cell.sheet,
    cell.x,
    cell.y,
    size.width,
    size.height,
    at.x - width / 2,
    at.y - height / 2,
    width,
    height,
  );
}

/**
 * Radius of a mark, in pixels: the more there are, the smaller.
 * @param {number} count of all marks
 * @param {number} width of the map
 */
export function markSize(count, width) {
  const r = 7 - Math.log10(Math.max(10, count)); // 6 for ten of them, 3 for ten thousand
  return width < 600 ? 0.75 * r : r;
}

/**
 * Shapes of those images of one split that are shown, at the corner of those with a thumbnail.
 * @param {CanvasRenderingContext2D} context
 * @param {import("./points.js").View} view
 * @param {import("./points.js").Points} points
 * @param {Uint32Array} places
 * @param {number} number of the split
 * @param {{ink: string, r: number, shown: Uint8Array, drawn: Set<number>, side: number}} style
 *   `drawn`: places with a thumbnail of `side` pixels
 */
export function drawChosen(context, view, points, places, number, style) {
  const { ink, r, shown, drawn, side } = style;
  const margin = side / 2 + r;
  const path = new Path2D();
  for (const i of places) {
    if (!shown[i]) continue;
    const { x, y } = toScreen(view, points.x[i], points.y[i]);
    const aside = drawn.has(i) ? side / 2 : 0;
    if (x > -margin && y > -margin && x < view.width + margin && y < view.height + margin)
      addShape(path, splitShape(number), x + aside, y - aside, aside ? 7 : r);
  }
  context.fillStyle = splitColour(number);
  context.fill(path);
  context.lineWidth = r > 4 ? 1.25 : 0.9;
  context.strokeStyle = ink;
  context.stroke(path);
}

/**
 * A ring around the image that is looked at.
 * @param {CanvasRenderingContext2D} context
 * @param {{x: number, y: number}} at
 * @param {number} r
 * @param {string} colour
 * @param {string} around
 */
export function drawRing(context, at, r, colour, around) {
  for (const [width, style] of /** @type {[number, string][]} */ ([
    [5, around],
    [2.5, colour],
  ])) {
    context.beginPath();
    context.arc(at.x, at.y, r, 0, 2 * Math.PI);
    context.lineWidth = width;
    context.strokeStyle = style;
    context.stroke();
  }
}
