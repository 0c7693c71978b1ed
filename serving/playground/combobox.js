// A text field that offers what fits: the ARIA combobox with a list, by keyboard and by pointer.

import { debounced, h } from "./dom.js";

const WAIT_MS = 80;

/**
 * Makes `input` offer what `search(text)` answers (a promise of texts) in `list`, and calls
 * `choose(text)` for the one that is taken.
 */
export function combobox(input, list, { search, choose }) {
  let options = [];
  let active = -1;

  const close = () => {
    list.hidden = true;
    active = -1;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
  };

  const highlight = (index) => {
    active = index;
    [...list.children].forEach((item, i) => item.setAttribute("aria-selected", i === index));
    const item = list.children[index];
    if (!item) return;
    input.setAttribute("aria-activedescendant", item.id);
    item.scrollIntoView({ block: "nearest" });
  };

  const take = (text) => {
    input.value = text;
    close();
    choose(text);
  };

  const open = async () => {
    const text = input.value;
    const found = await search(text);
    if (input.value !== text || document.activeElement !== input) return;
    options = found;
    const items = found.map((option, i) =>
      h("li", { role: "option", id: `${list.id}-${i}`, "aria-selected": "false",
        onpointerdown: (event) => { event.preventDefault(); take(option); } }, option),
    );
    list.replaceChildren(...(items.length ? items : [h("li", { class: "muted", role: "presentation" }, "Nothing fits")]));
    list.hidden = false;
    input.setAttribute("aria-expanded", "true");
    active = -1;
  };

  const keys = {
    ArrowDown: () => (list.hidden ? open() : highlight(Math.min(active + 1, options.length - 1))),
    ArrowUp: () => highlight(Math.max(active - 1, 0)),
    Escape: close,
    Enter: () => take(active >= 0 ? options[active] : input.value.trim()),
  };

  input.addEventListener("input", debounced(open, WAIT_MS));
  input.addEventListener("focus", () => input.select());
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    if (!(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });
}
