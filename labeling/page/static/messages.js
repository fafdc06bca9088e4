/** What the page says in words: the status line, notices, and what stands where no image does. */

import { showFinish } from "./dialogs.js";
import { byId, makeButton, setText } from "./dom.js";

/** @typedef {import("./desk.js").Desk} Desk */

/**
 * @param {number} n
 * @param {string} what
 */
const count = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;

/** @param {Desk} desk */
export function renderStatus({ link, outbox, said }) {
  const status = byId("status");
  const isLate = !link.isReachable;
  status.classList.toggle("late", isLate);
  byId("hurry").hidden = !isLate;
  if (!isLate) return setText(status, said);
  const waiting = outbox.letters.length;
  const what = waiting ? `${count(waiting, "answer")} not saved yet` : "No connection";
  const why = link.trouble || `is fmsel label running at port ${location.port}?`;
  setText(status, `${what}, trying again; ${why}`);
}

let hasFailed = false;

/** Say that the page itself is broken, from now on. */
export function showFailure() {
  hasFailed = true;
  const text = "This page has failed. What it told you as saved is saved.";
  show(text, [["Load it again", () => location.reload()]]);
}

/** @param {Desk} desk */
export function renderNotice(desk) {
  if (hasFailed) return;
  const { link, outbox, conflict, session, task } = desk;
  if (link.isElsewhere) {
    const left = count(outbox.letters.length, "answer");
    const kept = outbox.letters.length
      ? ` Not saved yet: ${left} about ${task.title}, kept in this browser until that is served here again.`
      : "";
    return show(`Another split is served here now.${kept}`, [["Load it", () => location.reload()]]);
  }
  if (!conflict) return show("", []);
  const { mine, theirs, index } = conflict;
  const other = theirs === null ? "taken back" : `answered as ${theirs}`;
  const text =
    `Image ${session.number(index)} was ${other} in another window, or by somebody with your ` +
    `name. Your answer${mine === null ? "" : ` ${mine}`} was not saved.`;
  show(text, [
    ...(mine === null ? [] : [button(`Use ${mine}`, () => desk.resolve(true))]),
    button(theirs === null ? "Leave it open" : `Keep ${theirs}`, () => desk.resolve(false)),
  ]);
}

/** @typedef {[string, () => unknown]} Offer a button's text, and what it does */

/**
 * @param {string} text
 * @param {() => unknown} act
 * @returns {Offer}
 */
const button = (text, act) => [text, act];

/**
 * @param {string} text
 * @param {Offer[]} offers
 */
function show(text, offers) {
  const notice = byId("notice");
  if (notice.dataset.text === text) return;
  notice.dataset.text = text;
  notice.replaceChildren(text, ...buttons(offers));
}

/** @param {Offer[]} offers */
function buttons(offers) {
  return offers.map(([text, act]) => {
    const made = makeButton({}, text);
    made.addEventListener("click", () => act());
    return made;
  });
}

/** @param {Desk} desk */
export function renderPanel(desk) {
  const panel = byId("panel");
  const isShown = desk.phase === "waiting" || desk.phase === "finished";
  panel.hidden = !isShown;
  if (!isShown) return;
  const [title, text, offers] = desk.phase === "waiting" ? waiting(desk) : finished(desk);
  setText(panel.querySelector("h2"), title);
  setText(panel.querySelector("p"), text);
  const row = panel.querySelector(".row");
  if (row.dataset.phase !== desk.phase) row.replaceChildren(...buttons(offers));
  row.dataset.phase = desk.phase;
}

/**
 * @param {Desk} desk
 * @returns {[string, string, Offer[]]}
 */
function waiting(desk) {
  const { held, wanted } = desk.session;
  const who = [...new Set(wanted.map((index) => held.get(index)))].join(" and ");
  return [
    `${count(wanted.length, "image")} left`,
    `Just now with ${who}. This page goes on by itself when one becomes free.`,
    [button("Show them to me too", () => desk.takeOver())],
  ];
}

/**
 * @param {Desk} desk
 * @returns {[string, string, Offer[]]}
 */
function finished(desk) {
  const { answers, done, order } = desk.session;
  const skipped = [...answers.values()].filter((choice) => choice === "skip").length;
  const own = `You answered ${count(answers.size - skipped, "image")} and skipped ${skipped}`;
  return [
    "Nothing left for you to answer",
    `${own}. ${done} of ${order.length} images are done.`,
    [
      button("Write the split", () => showFinish(desk)),
      button("Look at my answers", () => desk.openAnswered(0)),
    ],
  ];
}
