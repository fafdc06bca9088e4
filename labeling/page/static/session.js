/**
 * What one person has answered, and the way through the images: no page and no network here.
 *
 * An image is open until this person has answered it. The trail holds the images in the order in
 * which they were looked at, so that back and forward are steps on it; at its end come the images
 * that the server has leased to this person, which nobody else is shown meanwhile.
 */

/** @typedef {import("./api.js").Item} Item */

export class Session {
  /** @type {number[]} in the split's order */
  order;
  /** @type {Map<number, string>} image -> choice, also what the server does not have yet */
  answers = new Map();
  /** @type {Map<number, number>} image -> number of its answer that the server has */
  seqs = new Map();
  /** @type {Map<number, string>} image -> who else looks at it */
  held = new Map();
  /** @type {Set<number>} images that need no answer any more */
  closed = new Set();
  /** @type {number[]} */
  leased = [];
  /** @type {{index: number, before: string | null}[]} what undo takes back, the last first */
  steps = [];
  done = 0;
  /** @type {number[]} */
  #trail = [];
  #at = -1;
  /** @type {Map<number, number>} */
  #place;

  /** @param {Item[]} items in the split's order */
  constructor(items) {
    this.order = items.map(({ index }) => index);
    this.#place = new Map(this.order.map((index, place) => [index, place]));
    const own = items.filter(({ answer }) => answer);
    own.sort((a, b) => Number(a.answer?.seq) - Number(b.answer?.seq));
    this.#trail = own.map(({ index }) => index);
    this.steps = this.#trail.map((index) => ({ index, before: null }));
  }

  /**
   * Take over what the server knows.
   * @param {{items: Item[], done: number}} read
   * @param {number} votes that an image needs
   * @param {(index: number) => boolean} isOnItsWay whether a newer answer of this page is
   */
  merge({ items, done }, votes, isOnItsWay) {
    this.done = done;
    this.held.clear();
    this.closed.clear();
    for (const item of items) {
      if (item.held_by !== null) this.held.set(item.index, item.held_by);
      if (!isOnItsWay(item.index)) this.set(item.index, item.answer);
      if (item.votes >= votes) this.closed.add(item.index);
    }
  }

  /**
   * @param {number} index
   * @param {{choice: string, seq: number} | null} answer as the server has it
   */
  set(index, answer) {
    if (answer) {
      this.answers.set(index, answer.choice);
      this.seqs.set(index, answer.seq);
    } else {
      this.answers.delete(index);
      this.seqs.delete(index);
    }
  }

  /**
   * @param {number} index
   * @param {number | null} seq of the answer that the server has now
   */
  saved(index, seq) {
    if (seq === null) this.seqs.delete(index);
    else this.seqs.set(index, seq);
  }

  /** @param {number} index */
  isOpen(index) {
    return !this.answers.has(index);
  }

  /** @returns {number[]} images that still want an answer of this person */
  get wanted() {
    return this.order.filter((index) => this.isOpen(index) && !this.closed.has(index));
  }

  /** @returns {number | null} the image that is looked at */
  get current() {
    return this.#trail[this.#at] ?? null;
  }

  /** @param {number} index */
  number(index) {
    return (this.#place.get(index) ?? 0) + 1;
  }

  /**
   * @param {number} index
   * @returns {number | null} the image before it in the split, where a claim begins that is to
   *   hold the image itself
   */
  before(index) {
    return this.order[(this.#place.get(index) ?? 0) - 1] ?? null;
  }

  /**
   * @param {number} index
   * @param {string | null} choice null = none any more
   */
  answer(index, choice) {
    this.steps.push({ index, before: this.answers.get(index) ?? null });
    this.expect(index, choice);
  }

  /** @returns {{index: number, choice: string | null} | null} what is now, null = nothing undone */
  undo() {
    const step = this.steps.pop();
    if (!step) return null;
    this.expect(step.index, step.before);
    return { index: step.index, choice: step.before };
  }

  /**
   * What the server is to have soon.
   * @param {number} index
   * @param {string | null} choice
   */
  expect(index, choice) {
    if (choice === null) this.answers.delete(index);
    else this.answers.set(index, choice);
  }

  /** @returns {number[]} leased images that come behind the current one */
  get ahead() {
    const behind = this.current === null ? 0 : this.leased.indexOf(this.current) + 1;
    return this.leased.slice(behind).filter((i) => this.isOpen(i) && i !== this.current);
  }

  /** @returns {number | null} where back leads */
  get previous() {
    return this.#trail[this.#behind - 1] ?? null;
  }

  /** @returns {number | null} where forward leads, as far as is known */
  get following() {
    return (this.current === null ? null : this.#trail[this.#at + 1]) ?? this.ahead[0] ?? null;
  }

  /** Look at an image: a step on the trail where it is one, else at its end. @param {number} index */
  visit(index) {
    if (index === this.current) return;
    if (index === this.previous) {
      this.#at = this.#behind - 1;
    } else if (this.current !== null && index === this.#trail[this.#at + 1]) {
      this.#at++;
    } else {
      this.#trail.push(index);
      this.#at = this.#trail.length - 1;
    }
  }

  /** Look at nothing: what comes next is not known yet, or there is nothing left. */
  leave() {
    this.#at = -1;
  }

  get #behind() {
    return this.#at < 0 ? this.#trail.length : this.#at;
  }
}
