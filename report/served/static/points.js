/** The points of the map, in tiles of neighbours, and which of them a view shows. */

/**
 * What is seen: the world's point (x, y) in the middle, at `scale` pixels for each of its units.
 * @typedef {{x: number, y: number, scale: number, width: number, height: number}} View
 */

export class Points {
  /**
   * @param {ArrayBuffer} packed as `Positions.packed`
   * @param {number} n
   * @param {number} size of a tile
   */
  constructor(packed, n, size) {
    this.n = n;
    this.size = size;
    this.x = new Uint16Array(packed, 0, n);
    this.y = new Uint16Array(packed, 2 * n, n);
    this.index = new Uint32Array(packed, 4 * n, n);
    this.place = new Uint32Array(n); // of an image, by its index
    for (let i = 0; i < n; i++) this.place[this.index[i]] = i;
    this.tiles = Math.ceil(n / size);
    this.boxes = this.bounds();
    this.whole = this.around(this.boxes);
  }

  /** Left, right, low and high end of each tile. */
  bounds() {
    const boxes = new Uint16Array(4 * this.tiles);
    for (let tile = 0; tile < this.tiles; tile++) {
      const x = this.x.subarray(tile * this.size, (tile + 1) * this.size);
      const y = this.y.subarray(tile * this.size, (tile + 1) * this.size);
      boxes.set([Math.min(...x), Math.max(...x), Math.min(...y), Math.max(...y)], 4 * tile);
    }
    return boxes;
  }

  /** @param {Uint16Array} boxes */
  around(boxes) {
    let [left, right, low, high] = [65535, 0, 65535, 0];
    for (let i = 0; i < boxes.length; i += 4) {
      left = Math.min(left, boxes[i]);
      right = Math.max(right, boxes[i + 1]);
      low = Math.min(low, boxes[i + 2]);
      high = Math.max(high, boxes[i + 3]);
    }
    return { left, right, low, high, width: right - left || 1, height: high - low || 1 };
  }

  /** Indices of the images of a tile. @param {number} tile */
  images(tile) {
    return this.index.subarray(tile * this.size, (tile + 1) * this.size);
  }

  /**
   * The tiles of which some part is within a rectangle of the world.
   * @param {number} left
   * @param {number} right
   * @param {number} low
   * @param {number} high
   */
  *within(left, right, low, high) {
    const { boxes, tiles } = this;
    for (let tile = 0; tile < tiles; tile++) {
      const b = 4 * tile;
      if (boxes[b] <= right && boxes[b + 1] >= left && boxes[b + 2] <= high && boxes[b + 3] >= low)
        yield tile;
    }
  }

  /**
   * The tiles that a view shows, with a margin in pixels.
   * @param {View} view
   * @param {number} margin
   */
  seen(view, margin) {
    const dx = (view.width / 2 + margin) / view.scale;
    const dy = (view.height / 2 + margin) / view.scale;
    return this.within(view.x - dx, view.x + dx, view.y - dy, view.y + dy);
  }

  /**
   * Place of the nearest point that is shown; -1 if none is within `reach` world units.
   * @param {number} x
   * @param {number} y
   * @param {number} reach
   * @param {Uint8Array} shown
   */
  nearest(x, y, reach, shown) {
    let [best, distance] = [-1, reach * reach];
    for (const tile of this.within(x - reach, x + reach, y - reach, y + reach)) {
      const end = Math.min(this.n, (tile + 1) * this.size);
      for (let i = tile * this.size; i < end; i++) {
        const d = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
        if (d < distance && shown[i]) [best, distance] = [i, d];
      }
    }
    return best;
  }
}

/** Pixels from image to image at a view, on average. @param {View} view @param {Points} points */
export function apart(view, points) {
  return view.scale * Math.sqrt((points.whole.width * points.whole.height) / points.n);
}

/**
 * Where a point of the world is on the screen.
 * @param {View} view
 * @param {number} x
 * @param {number} y
 */
export function toScreen(view, x, y) {
  return {
    x: view.width / 2 + (x - view.x) * view.scale,
    y: view.height / 2 - (y - view.y) * view.scale,
  };
}

/**
 * Where a point of the screen is in the world.
 * @param {View} view
 * @param {number} x
 * @param {number} y
 */
export function toWorld(view, x, y) {
  return {
    x: view.x + (x - view.width / 2) / view.scale,
    y: view.y - (y - view.height / 2) / view.scale,
  };
}
