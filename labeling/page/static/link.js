/** The way to the server, which may be down for a while, or come back as another one. */

import { Refusal } from "./api.js";

const WAITS = [300, 700, 1500, 3000]; // milliseconds between tries; the last repeats

export class Link {
  isReachable = true;
  /** Why the server takes nothing at all, where it says so (a lost token, say). */
  trouble = "";
  /** Whether another task is served at this address now: nothing may be sent to it. */
  isElsewhere = false;
  #failures = 0;
  /** @type {Set<() => void>} */
  #sleepers = new Set();

  /**
   * @param {() => void} changed
   * @param {(reply: any) => void} heard called with every answer of the server
   */
  constructor(changed, heard) {
    this.changed = changed;
    this.heard = heard;
  }

  /**
   * Ask once. Where another task is served by now there is no end: only a reload leads on.
   * @template T
   * @param {() => Promise<T>} ask
   * @returns {Promise<T>} rejected where the server refuses, or does not answer
   */
  async once(ask) {
    try {
      const reply = await ask();
      this.heard(reply);
      return reply;
    } catch (error) {
      if (!(error instanceof Refusal && error.isElsewhere)) throw error;
      this.isElsewhere = true;
      this.#note(true);
      this.changed();
      return new Promise(() => {});
    }
  }

  /**
   * Ask until the server answers.
   * @template T
   * @param {() => Promise<T>} ask
   * @returns {Promise<T>} rejected with a Refusal that is final
   */
  async insist(ask) {
    for (;;) {
      try {
        const answer = await this.once(ask);
        this.#note(true);
        return answer;
      } catch (error) {
        if (error instanceof Refusal && error.isFinal) {
          this.#note(true);
          throw error;
        }
        this.trouble = error instanceof Refusal ? error.message : "";
        this.#note(false);
        await this.#sleep(WAITS[Math.min(this.#failures++, WAITS.length - 1)]);
      }
    }
  }

  /** Try again now. */
  hurry() {
    for (const wake of this.#sleepers) wake();
  }

  /** @param {boolean} isReachable */
  #note(isReachable) {
    if (isReachable) this.#failures = 0;
    if (isReachable) this.trouble = "";
    if (isReachable === this.isReachable && !this.trouble) return;
    this.isReachable = isReachable;
    this.changed();
  }

  /** @param {number} milliseconds */
  async #sleep(milliseconds) {
    /** @type {() => void} */
    let wake = () => {};
    await new Promise((resolve) => {
      wake = () => resolve(undefined);
      this.#sleepers.add(wake);
      setTimeout(wake, milliseconds);
    });
    this.#sleepers.delete(wake);
  }
}
