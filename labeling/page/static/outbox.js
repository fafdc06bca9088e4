/** Answers on their way to the server, in order, kept by the browser until the server has them. */

import { api, Refusal } from "./api.js";
import { recallAll, remember } from "./memory.js";

/**
 * @typedef {{key: string, task: string, at: number, annotator: string, index: number,
 *   choice: string | null, replaces: number | null}} Letter
 */

export class Outbox {
  /** @type {Letter[]} */
  letters = [];
  /** Grows with everything put in or taken out: what was read before is out of date. */
  version = 0;
  #isSending = false;
  /** @type {(() => void)[]} */
  #waiting = [];

  /**
   * @param {string} task
   * @param {import("./link.js").Link} link
   * @param {{saved: (letter: Letter, reply: {seq: number, done: number}) => void,
   *   refused: (letter: Letter, refusal: Refusal) => void}} on
   */
  constructor(task, link, on) {
    this.task = task;
    this.link = link;
    this.on = on;
  }

  /** Take up what an earlier page could not send; answers of other tasks lie untouched. */
  adopt() {
    /** @type {Letter[]} */
    const kept = recallAll("outbox.").map((text) => JSON.parse(text));
    const mine = kept.filter((letter) => letter.task === this.task);
    this.letters = mine.sort((a, b) => a.at - b.at);
    void this.#send();
  }

  /** @param {{annotator: string, index: number, choice: string | null, replaces: number | null}} a */
  put(a) {
    const at = Math.max(Date.now(), (this.letters.at(-1)?.at ?? 0) + 1);
    const letter = { ...a, key: randomKey(), task: this.task, at };
    this.letters.push(letter);
    keep(letter);
    this.version++;
    void this.#send();
  }

  /** @param {number} index */
  holds(index) {
    return this.letters.some((letter) => letter.index === index);
  }

  /** @returns {Promise<void>} once nothing is on its way */
  settled() {
    if (!this.letters.length) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async #send() {
    if (this.#isSending) return;
    this.#isSending = true;
    while (this.letters.length) {
      const letter = this.letters[0];
      try {
        this.#delivered(letter, await this.link.insist(() => api.answer(envelope(letter))));
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
        this.#refused(letter, error);
      }
    }
    this.#isSending = false;
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /**
   * @param {Letter} letter
   * @param {{seq: number, done: number}} reply
   */
  #delivered(letter, reply) {
    this.#remove(letter);
    for (const later of this.letters.filter(({ index }) => index === letter.index)) {
      later.replaces = letter.choice === null ? null : reply.seq;
      keep(later);
    }
    this.on.saved(letter, reply);
  }

  /**
   * @param {Letter} letter
   * @param {Refusal} refusal
   */
  #refused(letter, refusal) {
    // Later answers to the same image were given on top of this one.
    const fallen = this.letters.filter(({ index }) => index === letter.index);
    fallen.forEach((other) => this.#remove(other));
    this.on.refused(fallen.at(-1) ?? letter, refusal);
  }

  /** @param {Letter} letter */
  #remove(letter) {
    this.letters = this.letters.filter(({ key }) => key !== letter.key);
    remember(`outbox.${letter.key}`, null);
    this.version++;
  }
}

/** @param {Letter} letter */
function keep(letter) {
  remember(`outbox.${letter.key}`, JSON.stringify(letter));
}

/** @param {Letter} letter */
function envelope({ at, ...answer }) {
  return answer;
}

/** As crypto.randomUUID, which pages of another machine lack without HTTPS. */
function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
