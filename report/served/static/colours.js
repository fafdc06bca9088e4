/**
 * Colours and shapes that are told apart with any form of colour blindness:
 * Okabe and Ito (2008), "Color Universal Design".
 */

/** @typedef {[number, number, number]} Rgb red, green, blue, 0..255 */

const HUES = ["#d55e00", "#009e73", "#0072b2", "#e69f00", "#cc79a7", "#56b4e9", "#b8a800"];
const AGAIN = 0.5; // the hues come again so much nearer to the ink
export const DISTINCT = 2 * (HUES.length + 1); // classes; beyond, colours come again
const OUTLIER = rgb("#d55e00");
const PROTOTYPE = rgb("#0072b2");

/** Shapes of splits, so that none is known by its colour alone. */
export const SHAPES = ["circle", "square", "triangle", "diamond", "cross", "star"];
const SPLITS = ["#e69f00", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9"];

/** @param {string} text as #rrggbb @returns {Rgb} */
export function rgb(text) {
  const value = parseInt(text.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

/** @param {Rgb} from @param {Rgb} to @param {number} share @returns {Rgb} */
export function mix(from, to, share) {
  return /** @type {Rgb} */ (from.map((value, i) => Math.round(value + (to[i] - value) * share)));
}

/** @param {Rgb} colour */
export function css(colour) {
  return `rgb(${colour.join(" ")})`;
}

/**
 * Of a class, by its number; the last hue is the ink itself.
 * @param {number} label
 * @param {{ink: Rgb, middle: Rgb}} page
 */
export function classColour(label, { ink, middle }) {
  const place = label % DISTINCT;
  if (place === HUES.length) return ink;
  if (place === DISTINCT - 1) return mix(ink, middle, 0.6);
  return place < HUES.length
    ? rgb(HUES[place])
    : mix(rgb(HUES[place - HUES.length - 1]), ink, AGAIN);
}

/**
 * Of a percentile, 0..255, from outlier to prototype.
 * @param {number} level
 * @param {{middle: Rgb}} page
 */
export function levelColour(level, { middle }) {
  const share = (level / 255) * 2 - 1;
  return mix(middle, share < 0 ? OUTLIER : PROTOTYPE, Math.abs(share));
}

/** @param {number} number of a split */
export function splitColour(number) {
  // Each time the shapes come again, they have another colour.
  return SPLITS[(number + Math.floor(number / SHAPES.length)) % SPLITS.length];
}

/** @param {number} number of a split */
export function splitShape(number) {
  return SHAPES[number % SHAPES.length];
}

/** Colours of the page as it is now, light or dark. */
export function pageColours() {
  const style = getComputedStyle(document.documentElement);
  const read = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  return {
    paper: rgb(read("--field")),
    ink: rgb(read("--ink")),
    quiet: rgb(read("--quiet")), // points that the filter leaves out
    middle: rgb(read("--middle")),
    mark: rgb(read("--mark")),
  };
}

/**
 * Add a shape around (x, y) to a path.
 * @param {Path2D | CanvasRenderingContext2D} path
 * @param {string} shape
 * @param {number} x
 * @param {number} y
 * @param {number} r
 */
export function addShape(path, shape, x, y, r) {
  if (shape === "circle") {
    path.moveTo(x + r, y);
    path.arc(x, y, r, 0, 2 * Math.PI);
  } else if (shape === "square") path.rect(x - 0.88 * r, y - 0.88 * r, 1.76 * r, 1.76 * r);
  else {
    for (const [i, [dx, dy]] of CORNERS[shape].entries())
      path[i ? "lineTo" : "moveTo"](x + dx * r, y + dy * r);
    path.closePath();
  }
}

/**
 * Corners of a shape of size 1 around 0, clockwise from the top. @type {Record<string,
 *   number[][]>}
 */
const CORNERS = {
  triangle: [
    [0, -1.2],
    [1.1, 0.8],
    [-1.1, 0.8],
  ],
  diamond: [
    [0, -1.25],
    [1.1, 0],
    [0, 1.25],
    [-1.1, 0],
  ],
  cross: [
    [-0.4, -1.1],
    [0.4, -1.1],
    [0.4, -0.4],
    [1.1, -0.4],
    [1.1, 0.4],
    [0.4, 0.4],
    [0.4, 1.1],
    [-0.4, 1.1],
    [-0.4, 0.4],
    [-1.1, 0.4],
    [-1.1, -0.4],
    [-0.4, -0.4],
  ],
  star: Array.from({ length: 10 }, (_, i) => {
    const angle = (i * Math.PI) / 5;
    const r = i % 2 ? 0.55 : 1.3;
    return [r * Math.sin(angle), -r * Math.cos(angle)];
  }),
};

/** A small picture of a split's mark, for legends. @param {number} number of the split */
export function splitMark(number) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 28;
  canvas.className = "mark";
  canvas.setAttribute("aria-hidden", "true");
  const context = canvas.getContext("2d");
  if (context) {
    context.beginPath();
    addShape(context, splitShape(number), 14, 14, 9);
    context.fillStyle = splitColour(number);
    context.fill();
    context.lineWidth = 2;
    context.strokeStyle = css(pageColours().ink);
    context.stroke();
  }
  return canvas;
}
