/** The page of `fmsel label`: puts the parts together and leads keys and buttons to them. */

import { api } from "./api.js";
import { Choices } from "./choices.js";
import { Desk } from "./desk.js";
import { Details } from "./details.js";
import { annotatorName, askName, prepareKeys, showFinish, showKeys } from "./dialogs.js";
import { byId, setText } from "./dom.js";
import { Grid } from "./grid.js";
import { COMMANDS, listenToKeys, shortcuts } from "./keys.js";
import { recall, remember } from "./memory.js";
import { renderNotice, renderPanel, renderStatus, showFailure } from "./messages.js";
import { Stage } from "./stage.js";

// What nobody foresaw: the page may stand still, and people must not go on without knowing.
window.addEventListener("unhandledrejection", showFailure);
window.addEventListener("error", showFailure);

const task = await api.task();
setText(byId("title"), task.title);
setText(byId("dataset"), task.dataset);
const desk = new Desk(task, await annotatorName(), () => render());
const stage = new Stage(() => desk.leases.refresh());
const grid = new Grid(desk);
const choices = new Choices(desk, give);
const details = new Details(desk);

/** Nobody can judge an image that is not there yet. @param {string} choice */
function give(choice) {
  if (desk.mode === "grid" || stage.isReady) desk.answer(choice);
}

function render() {
  const { session, mode, phase, current } = desk;
  const total = session.order.length;
  const isGrid = mode === "grid";
  document.body.dataset.mode = mode;
  document.body.dataset.phase = phase;
  document.body.dataset.shortcuts = shortcuts.areOn ? "on" : "off";
  document.title = `${session.done}/${total} ${task.title} – fmsel label`;
  byId("progress").max = Math.max(total, 1);
  byId("progress").value = session.done;
  setText(byId("count"), `${session.done} of ${total} done`);
  setText(byId("name"), desk.annotator);
  setText(byId("mode").lastChild, isGrid ? "Single" : "Grid");

  const name = current === null ? "" : `Image ${session.number(current)} of ${total}`;
  const own = current === null ? undefined : session.answers.get(current);
  setText(byId("position"), name && own ? `${name}: ${own}` : name);
  const isOver = phase === "waiting" || phase === "finished";
  byId("stage").hidden = isGrid || isOver;
  byId("sheet").hidden = !isGrid || isOver;
  if (isGrid && phase === "open") grid.render();
  stage.render(isGrid ? null : current, name, session.ahead);
  byId("back").hidden = isGrid;
  byId("forward").hidden = isGrid || isOver;
  choices.render();
  details.render();
  renderStatus(desk);
  renderNotice(desk);
  renderPanel(desk);
}

async function toggleMode() {
  const mode = desk.mode === "grid" ? "single" : "grid";
  remember("mode", mode);
  await desk.setMode(mode);
  if (mode === "grid" && document.activeElement === document.body) grid.focus();
}

/** @param {number} by tiles */
function move(by) {
  desk.sheet.move(by);
  desk.changed();
  grid.focus();
}

/** @type {Record<string, (() => unknown) | undefined>} */
const single = {
  ArrowLeft: () => desk.back(),
  Backspace: () => desk.back(),
  ArrowRight: () => desk.forward(),
};
/** @type {Record<string, (() => unknown) | undefined>} */
const inGrid = {
  ArrowLeft: () => move(-1),
  Backspace: () => move(-1),
  ArrowRight: () => move(1),
  ArrowUp: () => move(-grid.columns),
  ArrowDown: () => move(grid.columns),
  Home: () => move(-desk.sheet.cursor),
  End: () => move(desk.sheet.tiles.length),
};
/** @type {Record<string, (() => unknown) | undefined>} once a press, however long the key is held */
const always = {
  [COMMANDS.skip]: () => give("skip"),
  " ": () => give("skip"),
  [COMMANDS.unsure]: () => give("unsure"),
  [COMMANDS["none of these"]]: () => give("none of these"),
  [COMMANDS.undo]: () => desk.undo(),
  "Control+z": () => desk.undo(),
  [COMMANDS.details]: () => details.toggle(),
  [COMMANDS.mode]: toggleMode,
  "/": () => choices.focusFilter(),
  "?": showKeys,
};

listenToKeys((key, isRepeated) => {
  const moving = (desk.mode === "grid" ? inGrid : single)[key];
  const name = choices.classOf(key);
  const action = moving ?? always[key] ?? (name === undefined ? undefined : () => give(name));
  if (!action) return false;
  if (!isRepeated || moving) action();
  return true;
});

byId("back").addEventListener("click", () => desk.back());
byId("forward").addEventListener("click", () => desk.forward());
byId("undo").addEventListener("click", () => desk.undo());
byId("mode").addEventListener("click", toggleMode);
byId("keys-button").addEventListener("click", showKeys);
byId("finish-button").addEventListener("click", () => showFinish(desk));
byId("hurry").addEventListener("click", () => desk.link.hurry());
byId("name-button").addEventListener("click", async () => {
  if ((await askName(desk.annotator)) !== desk.annotator) location.reload();
});
window.addEventListener("online", () => desk.link.hurry());
window.addEventListener("beforeunload", (event) => {
  if (!desk.link.isReachable && desk.outbox.letters.length) event.preventDefault();
});

prepareKeys(render);
await desk.start(recall("mode") === "grid" ? "grid" : "single");
