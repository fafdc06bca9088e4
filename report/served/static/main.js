/** The start: what is there to see, then the view that the address asks for. */

import { getJson } from "./api.js";
import { byId } from "./dom.js";
import { buildFilters } from "./filters.js";
import { Gallery } from "./gallery.js";
import { ImageMap } from "./map.js";
import { One } from "./one.js";
import { Sheets } from "./sheets.js";
import { link, onChange, state } from "./state.js";

async function start() {
  const about = /** @type {import("./api.js").About} */ (await getJson("/api/about"));
  document.title = `${about.name}: ${about.n.toLocaleString("en")} images`;
  byId("title").textContent = document.title;
  byId("oracle").textContent =
    about.unknown < about.n
      ? "Classes shown are the labels of the data set itself, an oracle: whoever chooses images " +
        "to label does not have them."
      : "No image has a label.";
  const sheets = new Sheets(about);
  const gallery = new Gallery(about, sheets);
  const map = new ImageMap(about, sheets);
  const one = new One(about, gallery);
  const updateFilters = buildFilters(about);

  const update = async () => {
    const now = state();
    for (const view of ["gallery", "map"]) {
      byId(view).hidden = now.view !== view;
      const tab = /** @type {HTMLAnchorElement} */ (byId(`to-${view}`));
      tab.href = link({ view, image: "" });
      tab.dataset.state = "";
      tab.setAttribute("aria-current", now.view === view ? "page" : "false");
    }
    updateFilters(now);
    try {
      await (now.view === "map" ? map.show(now) : gallery.show(now));
      await one.show(now);
      complain("");
    } catch (error) {
      complain(error.message);
    }
  };
  onChange(update);
  await update();
}

/** @param {string} sentence empty = all is well */
function complain(sentence) {
  byId("problem").textContent = sentence;
  byId("problem").hidden = !sentence;
}

start().catch((error) => complain(error.message));
