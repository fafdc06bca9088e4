/** Which key does what. */

import { recall, remember } from "./memory.js";

/** Letters that move or answer without a class; classes get none of them. */
export const COMMANDS = { skip: "s", unsure: "u", "none of these": "n", undo: "z", details: "d", mode: "g" };

const DIGITS = [..."1234567890"];
const LETTERS = [..."abcdefghijklmnopqrstuvwxyz"].filter(
  (letter) => !Object.values(COMMANDS).includes(letter),
);
export const CLASS_KEYS = [...DIGITS, ...LETTERS];

/**
 * A class whose name is a key has that key; the others get the remaining keys in order.
 * @param {string[]} classes
 * @param {Map<string, string>} [known] keys that stay: a hand has learned them
 * @returns {Map<string, string>} class -> key, for as many as there are keys
 */
export function assignKeys(classes, known = new Map()) {
  const keys = new Map(known);
  const free = new Set(CLASS_KEYS);
  for (const key of known.values()) free.delete(key);
  /** @param {string} name @param {string | undefined} key */
  const give = (name, key) => {
    if (key && !keys.has(name) && free.delete(key)) keys.set(name, key);
  };
  for (const name of classes) give(name, name.toLowerCase());
  for (const name of classes) give(name, [...free][0]);
  return keys;
}

export const shortcuts = {
  get areOn() {
    return recall("shortcuts") !== "off";
  },
  set areOn(value) {
    remember("shortcuts", value ? null : "off");
  },
};

/** @param {EventTarget | null} target */
function isTyping(target) {
  return target instanceof Element && target.matches("input, textarea, select");
}

/** @param {EventTarget | null} target */
function isPressedBySpace(target) {
  return target instanceof Element && target.matches("button, summary, a");
}

/**
 * Listen to the keyboard.
 * @param {(key: string, isRepeated: boolean) => boolean} act whether the key did something
 */
export function listenToKeys(act) {
  document.addEventListener("keydown", (event) => {
    if (event.isComposing || isTyping(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const isUndo = (event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z";
    if (isUndo) {
      if (act("Control+z", event.repeat)) event.preventDefault();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && isPressedBySpace(event.target)) return;
    const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (event.key.length === 1 && !shortcuts.areOn) return;
    if (act(key, event.repeat)) event.preventDefault();
  });
}
