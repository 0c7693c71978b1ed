// A slider with its number beside it, for a value that may also be left out.

import { h } from "./dom.js";

let count = 0;

/**
 * A labelled slider. `value` is null while nothing is said; `change()` is called as it moves.
 *
 * - `range({low, high, step, rest})` sets its ends and where the thumb rests unsaid;
 * - `scale`: what the shown number is multiplied by (100 shows a share as per cent).
 */
export class Slider {
  #said = false;
  #rest = 0;
  #change;
  #scale;
  #slide;
  #number;
  #clear;

  constructor({ label, unit = "", scale = 1, optional = true, change }) {
    this.#change = change;
    this.#scale = scale;
    const id = `slider-${(count += 1)}`;
    const shared = { step: "any", "aria-label": unit ? `${label} (${unit})` : label };
    this.#slide = h("input", { type: "range", ...shared, oninput: () => this.#say(this.#slide.valueAsNumber) });
    this.#number = h("input", { type: "number", id, ...shared, oninput: () => this.#typed() });
    this.#clear = h("button", { type: "button", class: "link small", onclick: () => this.clear(true), "aria-label": `Leave out ${label}` }, "leave out");
    this.element = h(
      "div",
      { class: "slider" },
      h("label", { for: id }, label, unit ? h("span", { class: "muted" }, ` ${unit}`) : null),
      optional ? this.#clear : null,
      this.#slide,
      this.#number,
    );
    this.#show();
  }

  /** The value that is said, in its own unit; null while none is. */
  get value() {
    return this.#said ? this.#slide.valueAsNumber / this.#scale : null;
  }

  range({ low, high, step, rest }) {
    for (const field of [this.#slide, this.#number]) {
      field.min = round(low * this.#scale);
      field.step = round(step * this.#scale);
    }
    this.#slide.max = round(high * this.#scale);
    this.#rest = round(rest * this.#scale);
    this.clear(false);
  }

  /** Says nothing any more. */
  clear(tell) {
    this.#said = false;
    this.#slide.value = this.#rest;
    this.#show();
    if (tell) this.#change();
  }

  #say(value) {
    this.#said = true;
    this.#number.value = round(value);
    this.#show();
    this.#change();
  }

  #typed() {
    const value = this.#number.valueAsNumber;
    if (Number.isNaN(value)) return this.clear(true);
    if (value > Number(this.#slide.max)) this.#slide.max = value;
    this.#slide.value = value;
    this.#said = true;
    this.#show(false);
    return this.#change();
  }

  #show(number = true) {
    if (number) this.#number.value = this.#said ? round(this.#slide.valueAsNumber) : "";
    this.#number.placeholder = this.#rest;
    this.#clear.hidden = !this.#said;
    this.element.classList.toggle("unsaid", !this.#said);
  }
}

function round(value) {
  return Number(Number(value).toPrecision(9));
}
