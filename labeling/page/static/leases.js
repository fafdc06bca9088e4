/** Which images the server holds for this person, so that nobody else is shown them. */

import { api } from "./api.js";

export const AHEAD = 3; // images leased behind the shown one; more would keep them from others
const SCARCE = 400; // images left, below which it is looked up who holds them

export class Leases {
  isBusy = false;

  /**
   * @param {import("./session.js").Session} session
   * @param {import("./outbox.js").Outbox} outbox
   * @param {{task: string, annotator: string}} who
   * @param {number} votes that an image needs
   */
  constructor(session, outbox, who, votes) {
    this.session = session;
    this.outbox = outbox;
    this.who = who;
    this.votes = votes;
  }

  /**
   * The next open images behind `from`; leases of before lapse.
   * @param {number | null} from
   * @param {number} count
   */
  next(from, count) {
    const { order } = this.session;
    return this.#claim(from, count, order.filter((i) => this.outbox.holds(i) && !this.#isOpen(i)));
  }

  /**
   * An open image, and the next ones behind it.
   * @param {number} index
   */
  async hold(index) {
    // An answer that was just taken back must be known to be so, or the image counts as answered.
    if (this.outbox.holds(index)) await this.outbox.settled();
    return this.next(this.session.before(index), 1 + AHEAD);
  }

  /**
   * These images and no others, as far as nobody else has taken them.
   * @param {number[]} indices in the order of the split, which may wrap round
   */
  async holdAll(indices) {
    if (indices.some((index) => this.outbox.holds(index))) await this.outbox.settled();
    const { order, closed } = this.session;
    const start = order.indexOf(indices[0]);
    const turn = [...order.slice(start), ...order.slice(0, start)];
    const wanted = new Set(indices);
    const reach = turn.indexOf(/** @type {number} */ (indices.at(-1)));
    const isOther = (/** @type {number} */ i) => !wanted.has(i) && !closed.has(i) && this.#isOpen(i);
    const others = turn.slice(0, reach).filter(isOther);
    return this.#claim(this.session.before(indices[0]), indices.length, others);
  }

  /** Whether whatever is left is looked at by others just now. */
  async areAllOthers() {
    if (this.session.wanted.length > SCARCE) return false;
    await this.outbox.settled();
    while (!(await this.refresh()));
    const { wanted, held } = this.session;
    return wanted.length > 0 && wanted.every((index) => held.has(index));
  }

  /**
   * Learn what others did meanwhile.
   * @returns {Promise<boolean>} false = answers went out in between, so it may be out of date
   */
  async refresh() {
    const { version } = this.outbox;
    const read = await this.outbox.link.insist(() => api.items(this.who));
    if (version !== this.outbox.version) return false;
    this.session.merge(read, this.votes, (index) => this.outbox.holds(index));
    return true;
  }

  /**
   * @param {number | null} from
   * @param {number} count
   * @param {number[]} skip
   */
  async #claim(from, count, skip) {
    this.isBusy = true;
    try {
      const wish = { ...this.who, from, count, skip };
      const { indices, done } = await this.outbox.link.insist(() => api.claim(wish));
      this.session.done = done;
      this.session.leased = indices.filter((index) => this.#isOpen(index));
      return this.session.leased;
    } finally {
      this.isBusy = false;
    }
  }

  /** @param {number} index */
  #isOpen(index) {
    return this.session.isOpen(index);
  }
}
