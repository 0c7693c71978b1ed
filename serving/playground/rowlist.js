// A list of very many rows: only those in sight are elements, and only their pages are fetched.

import { h } from "./dom.js";

const ROW_HEIGHT = 44;
const PAGE = 100;
const SPARE = 6;
const KEPT_PAGES = 40;
const MOVES = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10, Home: -Infinity, End: Infinity };

/**
 * Rows in `grid`, a scrolling element with a `.grid-head` and a `.grid-space`.
 *
 * - `fetchPage(offset, limit)` answers `{found, rows}`;
 * - `cells(row)` gives the cells of a row;
 * - `isSelected(row)`, `onToggle(row)`, `onOpen(row)`;
 * - `onFailure(error)`.
 */
export class RowList {
  #grid;
  #space;
  #head;
  #given;
  #pages = new Map();
  #asked = new Set();
  #turn = 0;
  #count = 0;
  #active = 0;
  #drawn = new Map();
  #frame = 0;

  constructor(grid, given) {
    this.#grid = grid;
    this.#given = given;
    this.#space = grid.querySelector(".grid-space");
    this.#head = grid.querySelector(".grid-head");
    grid.addEventListener("scroll", () => this.#soon(), { passive: true });
    grid.addEventListener("keydown", (event) => this.#key(event));
    this.#space.addEventListener("click", (event) => this.#click(event));
    new ResizeObserver(() => this.#soon()).observe(grid);
  }

  /** Asks anew for everything; `top` goes back to the first row. Ends when the first page is there. */
  async reload({ top = false } = {}) {
    this.#turn += 1;
    this.#pages.clear();
    this.#asked.clear();
    if (top) {
      this.#grid.scrollTop = 0;
      this.#active = 0;
    }
    const first = Math.floor(this.#range()[0] / PAGE);
    await Promise.all([...new Set([0, first])].map((page) => this.#fetch(page)));
  }

  /** Draws the rows in sight again, for what is selected now. */
  redraw() {
    for (const element of this.#drawn.values()) element.remove();
    this.#drawn.clear();
    this.#draw();
  }

  #range() {
    const first = Math.floor(this.#grid.scrollTop / ROW_HEIGHT) - SPARE;
    const rows = Math.ceil(this.#grid.clientHeight / ROW_HEIGHT) + 2 * SPARE;
    return [Math.max(0, first), Math.min(this.#count, Math.max(0, first) + rows)];
  }

  #soon() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#draw();
    });
  }

  #row(index) {
    return this.#pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  #draw() {
    const [first, end] = this.#range();
    for (const [index, element] of this.#drawn) {
      if (index >= first && index < end) continue;
      element.remove();
      this.#drawn.delete(index);
    }
    for (let index = first; index < end; index += 1) {
      const row = this.#row(index);
      if (row === undefined) this.#fetch(Math.floor(index / PAGE));
      const drawn = this.#drawn.get(index);
      if (drawn && (drawn.dataset.loaded === "1" || row === undefined)) continue;
      drawn?.remove();
      this.#place(index, row);
    }
    this.#mark();
  }

  #place(index, row) {
    const element = h(
      "div",
      {
        class: "grid-row",
        role: "row",
        id: `row-${index}`,
        "aria-rowindex": index + 2,
        "aria-selected": row ? String(this.#given.isSelected(row)) : "false",
        "data-loaded": row ? "1" : "0",
      },
      row ? this.#given.cells(row) : h("div", { class: "cell muted", role: "gridcell" }, "…"),
    );
    element.style.top = `${index * ROW_HEIGHT}px`;
    this.#space.append(element);
    this.#drawn.set(index, element);
  }

  async #fetch(page) {
    if (this.#pages.has(page) || this.#asked.has(page)) return;
    this.#asked.add(page);
    const turn = this.#turn;
    try {
      const answer = await this.#given.fetchPage(page * PAGE, PAGE);
      if (turn !== this.#turn) return;
      this.#pages.set(page, answer.rows);
      while (this.#pages.size > KEPT_PAGES) this.#pages.delete(this.#pages.keys().next().value);
      this.#setCount(answer.found);
      this.redraw();
    } catch (failure) {
      if (turn === this.#turn) this.#given.onFailure(failure);
    } finally {
      if (turn === this.#turn) this.#asked.delete(page);
    }
  }

  #setCount(count) {
    this.#count = count;
    this.#active = Math.max(0, Math.min(this.#active, count - 1));
    this.#space.style.height = `${count * ROW_HEIGHT}px`;
    this.#grid.setAttribute("aria-rowcount", count + 1);
  }

  #key(event) {
    if (event.target !== this.#grid || this.#count === 0) return;
    if (event.key in MOVES) this.#move(MOVES[event.key]);
    else if (event.key === " ") this.#with(this.#active, this.#given.onToggle);
    else if (event.key === "Enter") this.#with(this.#active, this.#given.onOpen);
    else return;
    event.preventDefault();
  }

  #with(index, action) {
    const row = this.#row(index);
    if (row !== undefined) action(row);
  }

  #move(step) {
    this.#active = Math.min(this.#count - 1, Math.max(0, this.#active + step));
    const top = this.#active * ROW_HEIGHT;
    const room = this.#grid.clientHeight - this.#head.offsetHeight;
    if (top < this.#grid.scrollTop) this.#grid.scrollTop = top;
    else if (top + ROW_HEIGHT > this.#grid.scrollTop + room) this.#grid.scrollTop = top + ROW_HEIGHT - room;
    this.#draw();
  }

  #mark() {
    for (const [index, element] of this.#drawn) element.classList.toggle("active", index === this.#active);
    if (this.#count) this.#grid.setAttribute("aria-activedescendant", `row-${this.#active}`);
    else this.#grid.removeAttribute("aria-activedescendant");
  }

  #click(event) {
    const element = event.target.closest(".grid-row");
    if (element === null) return;
    this.#active = Number(element.id.slice(4));
    this.#mark();
    this.#with(this.#active, event.target.closest(".pick") ? this.#given.onToggle : this.#given.onOpen);
  }
}
