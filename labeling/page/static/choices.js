/** The buttons that answer: classes, and the answers without one. */

import { reason } from "./api.js";
import { byId, make, makeButton, makeKey, setText } from "./dom.js";
import { assignKeys, CLASS_KEYS, COMMANDS, shortcuts } from "./keys.js";

/** @param {string} choice */
const capitalised = (choice) => choice.charAt(0).toUpperCase() + choice.slice(1);

/** @param {string} name */
const isShort = (name) => name.length <= 2;

export class Choices {
  #filter = byId("filter");
  #add = byId("add");
  /** @type {Map<string, string>} */
  #keys = new Map();
  /** What the buttons were made from, to make them again only when it changes. */
  #made = "";
  /** Why the latest new class was not added. */
  #refusal = "";

  /**
   * @param {import("./desk.js").Desk} desk
   * @param {(choice: string) => void} give
   */
  constructor(desk, give) {
    this.desk = desk;
    this.give = give;
    byId("others").append(
      ...["skip", ...desk.task.no_class].map((choice) =>
        this.#button(choice, capitalised(choice), /** @type {any} */ (COMMANDS)[choice]),
      ),
    );
    this.#filter.addEventListener("input", () => this.render());
    this.#filter.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => this.#leave(e));
    this.#add.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => this.#leave(e));
    byId("filter-form").addEventListener("submit", (/** @type {Event} */ e) => this.#chooseFound(e));
    byId("add-form").addEventListener("submit", (/** @type {Event} */ e) => this.#addClass(e));
  }

  render() {
    const { task, session, current, phase } = this.desk;
    const isOver = phase === "waiting" || phase === "finished";
    byId("filter-form").hidden = isOver || task.classes.length <= CLASS_KEYS.length;
    byId("add-form").hidden = isOver || !task.may_add_classes;
    byId("classes").hidden = byId("others").hidden = isOver;
    const found = this.#found;
    const made = JSON.stringify([found, task.classes.length]);
    if (made !== this.#made) this.#build(found);
    this.#made = made;
    const chosen = current === null ? undefined : session.answers.get(current);
    for (const button of document.querySelectorAll("button[data-choice]")) {
      const { choice, key } = /** @type {HTMLElement} */ (button).dataset;
      button.setAttribute("aria-pressed", String(choice === chosen));
      button.setAttribute("aria-disabled", String(current === null));
      if (key && shortcuts.areOn) button.setAttribute("aria-keyshortcuts", key);
      else button.removeAttribute("aria-keyshortcuts");
    }
    const hint = task.classes.length ? "" : "There are no classes yet.";
    setText(byId("add-hint"), this.#refusal || hint);
  }

  /** @param {string} key @returns {string | undefined} the class that the key stands for */
  classOf(key) {
    return [...this.#keys].find(([, own]) => own === key)?.[0];
  }

  focusFilter() {
    const isThere = !byId("filter-form").hidden;
    if (isThere) this.#filter.focus();
    return isThere;
  }

  get #found() {
    const wanted = this.#filter.value.trim().toLowerCase();
    const { classes } = this.desk.task;
    if (!wanted) return classes;
    const found = classes.filter((name) => name.toLowerCase().includes(wanted));
    const isFirst = (/** @type {string} */ name) => !name.toLowerCase().startsWith(wanted);
    return found.sort((a, b) => Number(isFirst(a)) - Number(isFirst(b)));
  }

  /** @param {string[]} found */
  #build(found) {
    this.#keys = assignKeys(this.desk.task.classes, this.#keys);
    const { choice } = /** @type {HTMLElement} */ (document.activeElement).dataset;
    byId("classes").replaceChildren(
      ...found.map((name) => this.#button(name, name, this.#keys.get(name))),
    );
    const again = [...byId("classes").children].find((button) => button.dataset.choice === choice);
    if (choice !== undefined) again?.focus(); // the old button had it
    byId("classes").classList.toggle("short", this.desk.task.classes.every(isShort));
    const hint = found.length ? `Enter chooses ${found[0]}` : "No class has this in its name";
    setText(byId("filter-hint"), this.#filter.value.trim() ? hint : "");
  }

  /**
   * @param {string} choice
   * @param {string} text
   * @param {string} [key]
   */
  #button(choice, text, key) {
    const parts = [make("span", {}, text), make("i", { aria: { hidden: true } }, "✓")];
    const cap = makeKey(key ?? "");
    cap.hidden = !key;
    const button = makeButton({ data: { choice, ...(key && { key }) } }, cap, ...parts);
    button.addEventListener("click", () => this.give(choice));
    return button;
  }

  /** Escape leads from a field back to the image. @param {KeyboardEvent} event */
  #leave(event) {
    if (event.key !== "Escape") return;
    /** @type {HTMLInputElement} */ (event.target).value = "";
    /** @type {HTMLInputElement} */ (event.target).blur();
    this.render();
  }

  /** @param {Event} event */
  #chooseFound(event) {
    event.preventDefault();
    const [first] = this.#filter.value.trim() ? this.#found : [];
    if (first === undefined) return;
    this.#filter.value = "";
    this.give(first);
    this.render();
  }

  /** @param {Event} event */
  async #addClass(event) {
    event.preventDefault();
    const name = this.#add.value.trim();
    if (!name) return;
    this.#add.value = "";
    this.#refusal = "";
    try {
      await this.desk.addClass(name);
    } catch (error) {
      this.#refusal = reason(error);
      this.#add.value ||= name; // unless the next one is being typed
      this.render();
    }
  }
}
