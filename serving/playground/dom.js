// Elements from plain calls. Text goes in as text, so nothing that a table holds can become markup.

/**
 * An element.
 * @param {string} tag
 * @param {Object} attributes `class`, `onclick` and the like; true sets an empty attribute, false,
 *   null and undefined leave it out.
 * @param {...(Node|string|number|null|undefined|Array)} children
 * @returns {HTMLElement}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(3).filter((child) => child !== null && child !== undefined));
  return element;
}

/** The one element that a selector names; an error where the page lacks it. */
export function find(selector, within = document) {
  const element = within.querySelector(selector);
  if (element === null) throw new Error(`the page has no ${selector}`);
  return element;
}

/** `action`, once `milliseconds` have passed without another call. */
export function debounced(action, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
}

/** A term and its value for a `dl.facts`; null where the value is not known. */
export function fact(term, value) {
  if (value === null || value === undefined || value === "") return null;
  return h("div", {}, h("dt", {}, term), h("dd", {}, value));
}

/** A short-lived message at the corner of the page; `kind` is "problem" or "done". */
export function notify(text, kind = "done") {
  const notice = h("p", { class: `notice ${kind}` }, text);
  find("#notices").append(notice);
  setTimeout(() => notice.remove(), kind === "problem" ? 10000 : 4000);
}
