/** The three dialogs: who labels, which keys there are, and the end. */

import { reason } from "./api.js";
import { byId, make, makeKey, setText } from "./dom.js";
import { shortcuts } from "./keys.js";
import { recall, remember } from "./memory.js";

for (const button of document.querySelectorAll("[data-close]")) {
  button.addEventListener("click", () => button.closest("dialog")?.close());
}

/** @returns {Promise<string>} the annotator's name, asked for once */
export async function annotatorName() {
  const known = recall("name");
  if (known) return known;
  return askName("");
}

/**
 * @param {string} known the name so far; without one there is no way round the question
 * @returns {Promise<string>} the new name, or the one so far
 */
export function askName(known) {
  const dialog = byId("name-dialog");
  const field = byId("name-field");
  field.value = known;
  byId("name-cancel").hidden = !known;
  byId("name-cancel").onclick = () => dialog.close();
  dialog.oncancel = (/** @type {Event} */ event) => !known && event.preventDefault();
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    byId("name-dialog").querySelector("form").onsubmit = (/** @type {Event} */ event) => {
      const name = field.value.replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, " ").trim();
      if (!name) return event.preventDefault();
      remember("name", name);
      resolve(name);
    };
    dialog.onclose = () => resolve(recall("name") ?? known);
  });
}

/** @type {[string[], string][]} */
const KEYS = [
  [["1", "…"], "the class with this key"],
  [["s", "Space"], "skip"],
  [["u"], "unsure"],
  [["n"], "none of these"],
  [["←", "Backspace"], "back; arrows move in the grid"],
  [["→"], "forward, no answer"],
  [["z", "Ctrl+Z"], "undo"],
  [["d"], "neighbours and scores"],
  [["g"], "one image, or a grid"],
  [["/"], "find a class among many"],
  [["?"], "this list"],
];

/** @param {() => void} changed called when single keys are switched on or off */
export function prepareKeys(changed) {
  const rows = KEYS.map(([keys, what]) => {
    const caps = keys.map((key) => (key === "…" ? key : makeKey(key)));
    caps.forEach((cap) => cap instanceof Element && cap.removeAttribute("aria-hidden"));
    return make("tr", {}, make("th", { scope: "row" }, ...caps), make("td", {}, what));
  });
  byId("keys-dialog").querySelector("tbody").replaceChildren(...rows);
  const box = byId("shortcuts");
  box.checked = shortcuts.areOn;
  box.addEventListener("change", () => {
    shortcuts.areOn = box.checked;
    changed();
  });
}

export function showKeys() {
  byId("keys-dialog").showModal();
}

/** @param {import("./desk.js").Desk} desk */
export function showFinish(desk) {
  const text = byId("finish-text");
  const write = byId("write");
  const { done, order } = desk.session;
  text.replaceChildren(
    make("p", {}, `${done} of ${order.length} images are done.`),
    make("p", {}, "The split is written from all answers so far. You can go on afterwards."),
    make("p", {}, make("code", {}, desk.task.out)),
  );
  write.hidden = false;
  write.onclick = async () => {
    write.hidden = true;
    byId("finish-dialog").querySelector("[data-close]").focus();
    setText(text, "Writing…");
    text.replaceChildren(...(await written(desk)));
  };
  byId("finish-dialog").showModal();
}

/** @param {import("./desk.js").Desk} desk */
async function written(desk) {
  try {
    const { wrote, labelled, awaited } = await desk.finish();
    const file = make("p", {}, "Wrote ", make("code", {}, wrote));
    const count = `${labelled} labelled, ${awaited} still waiting for a label.`;
    const next = make("p", {}, "Next: ", make("code", {}, `fmsel train --split ${wrote}`));
    const stop = "Answer those, or stop the server: it then says how to leave them out.";
    return [file, make("p", {}, count), awaited ? make("p", {}, stop) : next];
  } catch (error) {
    return [make("p", {}, reason(error))];
  }
}
