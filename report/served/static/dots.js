/**
 * Drawing up to 100,000 dots within a frame: pixels are set one by one in an array, which is many
 * times quicker than as many calls of a canvas, with a graphics card or without.
 */

/** Colour as the array holds it. @param {import("./colours.js").Rgb} rgb */
export function packed([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** The same colour for CSS. @param {number} colour */
export function unpacked(colour) {
  return `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;
}

/**
 * The pixels of a dot: those of its middle, and those that it covers in part.
 * @param {number} size diameter in pixels
 * @param {number} width of the picture
 */
function stamp(size, width) {
  const [middle, edge] = [[], []];
  const reach = Math.ceil(size / 2);
  const shift = Math.round(size) % 2 ? 0 : 0.5; // even dots have their centre between pixels
  for (let y = -reach; y <= reach; y++)
    for (let x = -reach; x <= reach; x++) {
      const covered = size / 2 + 0.5 - Math.hypot(x + shift, y + shift);
      if (covered >= 0.75) middle.push(y * width + x);
      else if (covered >= 0.3) edge.push(y * width + x);
    }
  return { middle: Int32Array.from(middle), edge: Int32Array.from(edge), reach };
}

/**
 * @typedef {{data: Uint32Array, width: number, height: number}} Picture
 * @typedef {{shown: Uint8Array, all: boolean, colour: Uint8Array, palette: Uint32Array,
 *   quiet: number, paper: number}} Look `shown`: whether the filter keeps a point, `all`: whether
 *   it keeps every one; `colour`: a point's place in `palette`
 */

/** Draw all points: first those that the filter leaves out, then the others over them.
 * @param {Picture} picture @param {import("./points.js").View} view in the picture's pixels
 * @param {import("./points.js").Points} points @param {Look} look @param {number} size
 */
export function drawDots(picture, view, points, look, size) {
  picture.data.fill(look.paper);
  const tiles = Uint32Array.from(points.seen(view, size));
  if (!look.all)
    drawPass(picture, view, points, look, stamp(Math.max(1, size * 0.7), picture.width), tiles, 0);
  drawPass(picture, view, points, look, stamp(size, picture.width), tiles, 1);
}

/**
 * @param {Picture} picture
 * @param {import("./points.js").View} view
 * @param {import("./points.js").Points} points
 * @param {Look} look
 * @param {ReturnType<typeof stamp>} dot
 * @param {Uint32Array} tiles
 * @param {number} pass
 */
function drawPass(
  { data, width, height },
  view,
  points,
  { shown, colour, palette, quiet },
  dot,
  tiles,
  pass,
) {
  const { x, y, n, size } = points;
  const { middle, edge, reach } = dot;
  const { scale } = view;
  const left = width / 2 - view.x * scale;
  const top = height / 2 + view.y * scale;
  for (const tile of tiles) {
    const end = Math.min(n, (tile + 1) * size);
    for (let i = tile * size; i < end; i++) {
      if (shown[i] !== pass) continue;
      const px = (left + x[i] * scale) | 0;
      const py = (top - y[i] * scale) | 0;
      if (px < reach || py < reach || px >= width - reach || py >= height - reach) continue;
      const at = py * width + px;
      const ink = pass ? palette[colour[i]] : quiet;
      for (let k = 0; k < middle.length; k++) data[at + middle[k]] = ink;
      const half = (ink >>> 1) & 0x7f7f7f7f; // the mean of two colours, all channels at once
      for (let k = 0; k < edge.length; k++) {
        const pixel = at + edge[k];
        data[pixel] = (half + ((data[pixel] >>> 1) & 0x7f7f7f7f)) | 0xff000000;
      }
    }
  }
}
