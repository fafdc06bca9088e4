/** The few things that every view does with the document. */

/**
 * @param {string} id
 * @returns {any} the element, which the page always has
 */
export const byId = (id) => document.getElementById(id);

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] of the element; `data` and `aria` hold more of them
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function make(tag, properties = {}, ...children) {
  const { data = {}, aria = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  Object.assign(element.dataset, data);
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children);
  return element;
}

/**
 * A button that leaves the focus where it is when it is pressed with a mouse or a finger, so that
 * the next key goes to the image and not to the button.
 * @param {Record<string, any>} properties
 * @param {...(Node | string)} children
 * @returns {HTMLButtonElement}
 */
export function makeButton(properties, ...children) {
  const button = make("button", { type: "button", ...properties }, ...children);
  button.addEventListener("mousedown", (/** @type {Event} */ event) => event.preventDefault());
  return button;
}

/**
 * @param {string} key
 * @returns {HTMLElement} a key cap, which a screen reader knows from aria-keyshortcuts
 */
export const makeKey = (key) => make("kbd", { aria: { hidden: true } }, key);

/**
 * Set the text, but only where it changes: a live region would say it again.
 * @param {HTMLElement} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
