/** What the browser keeps for this page. One that keeps nothing forgets, and that is all. */

const PREFIX = "fmsel-label.";

/**
 * @param {string} name
 * @returns {string | null}
 */
export function recall(name) {
  try {
    return localStorage.getItem(PREFIX + name);
  } catch {
    return null;
  }
}

/**
 * @param {string} name
 * @param {string | null} value null = forget it
 */
export function remember(name, value) {
  try {
    if (value === null) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, value);
  } catch {
    // Private windows and full disks: the page works on, from what it holds itself.
  }
}

/**
 * @param {string} start
 * @returns {string[]} what is kept under names that begin so
 */
export function recallAll(start) {
  try {
    const names = Object.keys(localStorage).filter((name) => name.startsWith(PREFIX + start));
    return names.map((name) => localStorage.getItem(name) ?? "");
  } catch {
    return [];
  }
}
