/** Where a person works: answers go out, images come in, and both ways of looking share them. */

import { api } from "./api.js";
import { AHEAD, Leases } from "./leases.js";
import { Link } from "./link.js";
import { Outbox } from "./outbox.js";
import { Session } from "./session.js";
import { Sheet, SHEET } from "./sheet.js";

const RENEWAL = 20_000; // milliseconds; a lease lasts 60 seconds
const POLL = 2_000; // milliseconds between two looks at what others hold

/** @typedef {{index: number, mine: string | null, theirs: string | null}} Conflict */

export class Desk {
  /** @type {"loading" | "open" | "waiting" | "finished"} */
  phase = "loading";
  /** @type {"single" | "grid"} */
  mode = "single";
  sheet = new Sheet([]);
  session = new Session([]);
  /** What was said last, for the status line. */
  said = "";
  /** @type {Conflict | null} two answers of the same name to one image */
  conflict = null;
  /** Counts what the person asked for: what an older wish brings comes too late. */
  #wish = 0;

  /**
   * @param {import("./api.js").Task} task
   * @param {string} annotator
   * @param {() => void} changed called after every change of what the page shows
   */
  constructor(task, annotator, changed) {
    this.task = task;
    this.annotator = annotator;
    this.changed = changed;
    this.who = { task: task.id, annotator };
    this.link = new Link(changed, (reply) => this.#hear(reply));
    this.outbox = new Outbox(task.id, this.link, {
      saved: (letter, reply) => this.#saved(letter, reply),
      refused: (letter, refusal) => this.#refused(letter, refusal),
    });
    this.leases = new Leases(this.session, this.outbox, this.who, task.votes);
  }

  /** @param {"single" | "grid"} mode */
  async start(mode) {
    this.mode = mode;
    const { items, done } = await this.link.insist(() => api.items(this.who));
    this.session = new Session(items);
    this.session.merge({ items, done }, this.task.votes, () => false);
    this.leases.session = this.session;
    this.outbox.adopt();
    for (const { index, choice, annotator } of this.outbox.letters) {
      if (annotator === this.annotator) this.session.expect(index, choice);
    }
    setInterval(() => this.#keepUp(), RENEWAL);
    document.addEventListener("visibilitychange", () => this.#keepUp());
    await this.#next(null);
  }

  /** @returns {number | null} the image that an answer goes to */
  get current() {
    if (this.phase !== "open" || this.link.isElsewhere) return null;
    return this.mode === "grid" ? this.sheet.current : this.session.current;
  }

  /** @param {string} choice */
  answer(choice) {
    const index = this.current;
    if (index === null) return;
    this.#give(index, choice);
    if (this.mode === "single") return void this.forward();
    this.sheet.advance((i) => this.session.isOpen(i));
    this.changed();
  }

  async undo() {
    if (this.link.isElsewhere) return;
    const step = this.session.undo();
    if (!step) return this.say("There is nothing to undo");
    this.#send(step.index, step.choice);
    const wish = ++this.#wish;
    if (this.mode === "grid" && !this.sheet.tiles.includes(step.index)) {
      await this.outbox.settled();
      if (wish === this.#wish) await this.#next(this.session.before(step.index));
      return;
    }
    this.phase = "open";
    if (this.mode === "grid") this.sheet.focus(step.index);
    else this.session.visit(step.index);
    this.changed();
    await this.#renew();
  }

  async back() {
    const index = this.session.previous;
    if (index === null) this.say("This is the first image that you looked at");
    else await this.#show(index);
  }

  async forward() {
    const { current, following } = this.session;
    if (following !== null) await this.#show(following);
    else await this.#next(current);
  }

  /** @param {"single" | "grid"} mode */
  async setMode(mode) {
    const index = this.current;
    this.mode = mode;
    if (mode === "single" && index !== null) return this.#show(index);
    const isOpen = index !== null && this.session.isOpen(index);
    return this.#next(isOpen ? this.session.before(index) : index);
  }

  /** A sheet of the first images to answer. */
  openSheet() {
    return this.#next(null);
  }

  /** The next such sheet. */
  nextSheet() {
    return this.#next(this.sheet.tiles.at(-1) ?? null);
  }

  /** A sheet of this person's own answers. @param {number} first of them */
  openAnswered(first) {
    this.#wish++;
    this.mode = "grid";
    this.phase = "open";
    this.sheet = Sheet.answered(this.session, first);
    this.changed();
  }

  /** Show images that others look at as well: two answers to an image do no harm. */
  takeOver() {
    return this.#next(null, true);
  }

  /** @param {boolean} useMine */
  resolve(useMine) {
    const { conflict } = this;
    this.conflict = null;
    if (useMine && conflict?.mine) this.#give(conflict.index, conflict.mine);
    this.changed();
  }

  /** @param {string} name */
  async addClass(name) {
    this.#know((await this.link.once(() => api.addClass({ ...this.who, name }))).classes);
    this.say(`Added the class ${name}`);
  }

  /** Have the split written, once the server has every answer. */
  async finish() {
    await this.outbox.settled();
    return this.link.once(() => api.finish(this.who));
  }

  /** @param {string} text */
  say(text) {
    this.said = text;
    this.changed();
  }

  /**
   * Show an image, once it is leased if it is open.
   * @param {number} index
   */
  async #show(index) {
    const wish = ++this.#wish;
    if (this.session.isOpen(index) && !this.session.leased.includes(index)) {
      const held = await this.leases.hold(index);
      if (wish !== this.#wish) return;
      if (!held.includes(index)) return this.#next(index);
    }
    this.phase = "open";
    this.session.visit(index);
    this.changed();
    if (this.session.ahead.length < AHEAD - 1) await this.#renew();
  }

  /**
   * Show the first image behind `from`, or who holds the rest, or that none is left.
   * @param {number | null} from
   * @param {boolean} [takeOver]
   */
  async #next(from, takeOver = false) {
    const wish = ++this.#wish;
    // Nothing to look at meanwhile; an open image may still be answered.
    if (from === null || !this.session.isOpen(from)) this.#leave("loading");
    if (!takeOver && (await this.leases.areAllOthers())) {
      if (wish !== this.#wish) return;
      setTimeout(() => wish === this.#wish && this.#next(from), POLL);
      return this.#leave("waiting");
    }
    if (wish !== this.#wish) return;
    const got = await this.leases.next(from, this.mode === "grid" ? SHEET : 1 + AHEAD);
    if (wish !== this.#wish) return;
    if (!got.length) return this.#leave("finished");
    this.phase = "open";
    if (this.mode === "grid") this.sheet = new Sheet(got);
    else if (got[0] === from) this.said = "This is the last image without an answer";
    else this.session.visit(got[0]);
    this.changed();
  }

  /**
   * Learn of classes that others added.
   * @param {{n_classes?: number}} reply
   */
  async #hear({ n_classes = 0 }) {
    if (n_classes <= this.task.classes.length) return;
    const { id, classes } = await api.task().catch(() => this.task); // told again soon
    if (id === this.task.id) this.#know(classes);
    this.changed();
  }

  /** @param {string[]} classes some time ago: a later answer may have come before this one */
  #know(classes) {
    if (classes.length > this.task.classes.length) this.task.classes = classes;
  }

  /** @param {"loading" | "waiting" | "finished"} phase */
  #leave(phase) {
    this.phase = phase;
    this.session.leave();
    this.changed();
  }

  async #keepUp() {
    if (document.visibilityState === "hidden" || this.phase !== "open") return;
    await this.#renew();
    this.changed();
  }

  /** Hold on to what is on the page, and take more where it runs short. */
  async #renew() {
    if (this.leases.isBusy) return;
    if (this.mode === "grid") return this.#renewSheet();
    const index = this.session.current;
    if (index === null || !this.session.isOpen(index)) return;
    await this.leases.hold(index);
    const isShown = this.mode === "single" && index === this.current && this.session.isOpen(index);
    if (!isShown || this.session.leased.includes(index)) return;
    await this.leases.refresh();
    if (index !== this.current) return;
    this.said = `Somebody else has taken image ${this.session.number(index)}; this is the next`;
    await this.#next(index);
  }

  async #renewSheet() {
    const { session, sheet } = this;
    const open = sheet.tiles.filter((index) => session.isOpen(index));
    if (sheet.range || !open.length) return;
    const held = await this.leases.holdAll(open);
    sheet.lost = new Set(open.filter((index) => session.isOpen(index) && !held.includes(index)));
    this.changed();
  }

  /**
   * @param {number} index
   * @param {string} choice
   */
  #give(index, choice) {
    if (this.session.answers.get(index) === choice) return;
    this.session.answer(index, choice);
    this.#send(index, choice);
  }

  /**
   * @param {number} index
   * @param {string | null} choice
   */
  #send(index, choice) {
    const { annotator, session } = this;
    this.outbox.put({ annotator, index, choice, replaces: session.seqs.get(index) ?? null });
  }

  /**
   * @param {import("./outbox.js").Letter} letter
   * @param {{seq: number, done: number}} reply
   */
  #saved({ index, choice, annotator }, { seq, done }) {
    const { session } = this;
    session.done = done;
    if (annotator === this.annotator) session.saved(index, choice === null ? null : seq);
    const what = choice === null ? "answer taken back" : `saved as ${choice}`;
    this.say(`Image ${session.number(index)} of ${session.order.length}: ${what}`);
  }

  /**
   * @param {import("./outbox.js").Letter} letter
   * @param {import("./api.js").Refusal} refusal
   */
  #refused({ index, choice, annotator }, refusal) {
    const number = this.session.number(index);
    if (refusal.status !== 409 || annotator !== this.annotator) {
      void this.leases.refresh();
      return this.say(`Image ${number}: not saved, ${refusal.message}`);
    }
    const current = refusal.body.current ?? null;
    this.session.set(index, current);
    const theirs = current?.choice ?? null;
    if (theirs !== choice) this.conflict = { index, mine: choice, theirs };
    this.changed();
  }
}
