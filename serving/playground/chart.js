// Lines with 90 % bands over a shared x axis: uPlot, dressed in the page's colours, readable by
// pointer, by keyboard and as a table.

import uPlot from "./vendor/uPlot.esm.js";
import { h } from "./dom.js";
import { UNKNOWN } from "./format.js";

const FONT = "12px system-ui, sans-serif";
const MARK_ROW = 16;
/** Ticks of days, months and years: spacing, text, and the line below where the year changes. */
const DATES = [
  [3600 * 24 * 365, "{YYYY}", null, null, null, null, null, null, 1],
  [3600 * 24 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [1, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
];
const MAX_TABLE_ROWS = 400;

/**
 * A chart in `host`. Draw it with `draw(spec)`, as often as the data change:
 *
 * - `label`: its accessible name;
 * - `x`: `{label, values, format, short, time}`; values ascend; `time` takes Unix seconds of days;
 * - `y`: `{label, format, fromZero}`; `format` also writes the axis, `short` instead where given;
 * - `series`: `[{label, values, color, low, high, stepped, dashed, bars}]`; null is a gap; `low`
 *   and `high` make a band; `color` names a CSS variable such as "--chart-1";
 * - `marks`: `[{x, label, color, dashed}]`, upright lines;
 * - `shade`: `[{from, to}]`, stretches of the x axis that are set back;
 * - `height`: pixels; `sync`: charts of one name share their cursor.
 */
export class Chart {
  #host;
  #plot = null;
  #spec = null;
  #readout = h("p", { class: "chart-readout" });
  #canvas = h("div", { class: "chart-canvas", tabindex: "0", role: "img" });
  #table = h("details", { class: "chart-table" }, h("summary", {}, "Numbers"));

  constructor(host) {
    this.#host = host;
    host.classList.add("chart");
    host.replaceChildren(this.#readout, this.#canvas, this.#table);
    this.#canvas.addEventListener("keydown", (event) => this.#step(event));
    this.#table.addEventListener("toggle", () => this.#fillTable());
    new ResizeObserver(() => this.#resize()).observe(this.#canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.#build());
  }

  /** Shows `spec`, keeping the zoom where only numbers changed. */
  draw(spec) {
    const same = this.#spec !== null && shape(this.#spec) === shape(spec);
    this.#spec = spec;
    this.#canvas.setAttribute("aria-label", `${spec.label}. Arrow keys read it point by point.`);
    if (same && this.#plot !== null) this.#plot.setData(columns(spec));
    else this.#build();
    this.#read(null);
    this.#fillTable();
  }

  #build() {
    if (this.#spec === null) return;
    this.#plot?.destroy();
    this.#plot = null;
    const width = this.#canvas.clientWidth;
    if (width === 0) return;
    this.#plot = new uPlot(this.#options(width), columns(this.#spec), this.#canvas);
  }

  #resize() {
    const width = this.#canvas.clientWidth;
    if (width === 0 || this.#spec === null) return;
    if (this.#plot === null) this.#build();
    else if (this.#plot.width !== width) this.#plot.setSize({ width, height: this.#plot.height });
  }

  #options(width) {
    const spec = this.#spec;
    const { series, bands } = seriesOptions(spec);
    return {
      width,
      height: spec.height ?? 220,
      padding: [marksHeight(spec), 16, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { size: 7 },
        drag: { x: false, y: false },
        ...(spec.sync ? { sync: { key: spec.sync } } : {}),
      },
      scales: {
        x: { time: Boolean(spec.x.time) },
        y: { range: (_, low, high) => paddedRange(low, high, spec.y.fromZero) },
      },
      axes: [
        spec.x.time ? axis({ values: DATES, size: 46 }) : axis({ values: written(spec.x), size: 32 }),
        axis({ values: written(spec.y), size: 58 }),
      ],
      series,
      bands,
      ...(spec.x.time ? { tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") } : {}),
      hooks: {
        drawClear: [(plot) => drawShade(plot, this.#spec.shade ?? [])],
        draw: [(plot) => drawMarks(plot, this.#spec.marks ?? [])],
        setCursor: [(plot) => this.#read(plot.cursor.idx ?? null)],
      },
    };
  }

  /** Writes the values at one point; at rest, the legend alone. */
  #read(index) {
    const spec = this.#spec;
    const at = index === null || index >= spec.x.values.length ? null : index;
    const alone = spec.series.length === 1;
    const items = spec.series.map((one) => {
      if (at === null) return h("span", {}, swatch(one), one.label);
      return h("span", {}, swatch(one), alone ? null : `${one.label} `, h("b", {}, valueAt(one, at, spec)));
    });
    const where = at === null ? null : h("b", {}, spec.x.format(spec.x.values[at]));
    this.#readout.replaceChildren(...[where, ...items].filter(Boolean));
  }

  #step(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
    if (!(event.key in steps) || this.#plot === null) return;
    event.preventDefault();
    const last = this.#spec.x.values.length - 1;
    const now = this.#plot.cursor.idx ?? (steps[event.key] > 0 ? -1 : last + 1);
    const next = Math.min(last, Math.max(0, now + steps[event.key]));
    const left = this.#plot.valToPos(this.#spec.x.values[next], "x");
    this.#plot.setCursor({ left, top: this.#plot.bbox.height / devicePixelRatio / 2 });
    this.#canvas.setAttribute("aria-label", `${this.#spec.label}: ${this.#readout.textContent}`);
  }

  #fillTable() {
    if (!this.#table.open || this.#spec === null) return;
    const { x, series } = this.#spec;
    const head = h("tr", {}, ...[x.label, ...series.map((one) => one.label)].map((text) => h("th", { scope: "col" }, text)));
    const first = Math.max(0, x.values.length - MAX_TABLE_ROWS);
    const rows = x.values.slice(first).map((value, i) =>
      h("tr", {}, h("td", {}, x.format(value)), ...series.map((one) => h("td", {}, valueAt(one, first + i, this.#spec)))),
    );
    this.#table.querySelector(".scroll")?.remove();
    this.#table.append(h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...rows))));
  }
}

/** What must be built anew when it changes; all else is data. */
function shape(spec) {
  const series = spec.series.map((one) => [one.label, one.color, Boolean(one.low), Boolean(one.dashed)]);
  return JSON.stringify([series, spec.x.time, spec.height, (spec.marks ?? []).length, spec.currency]);
}

function columns(spec) {
  const found = [spec.x.values];
  for (const one of spec.series) found.push(one.values, ...(one.low ? [one.high, one.low] : []));
  return found;
}

function seriesOptions(spec) {
  const series = [{}];
  const bands = [];
  for (const one of spec.series) {
    const stroke = cssColor(one.color);
    const drawn = { label: one.label, stroke, width: 2, pxAlign: 0, points: { show: false } };
    if (one.dashed) drawn.dash = [5, 4];
    if (one.stepped) drawn.paths = uPlot.paths.stepped({ align: 1 });
    if (one.bars) Object.assign(drawn, { paths: uPlot.paths.bars({ size: [0.8, 12] }), fill: faint(stroke, 0.55), width: 0 });
    series.push(drawn);
    if (!one.low) continue;
    const edge = { stroke: "transparent", width: 0, points: { show: false } };
    series.push({ ...edge }, { ...edge });
    bands.push({ series: [series.length - 2, series.length - 1], fill: faint(stroke, 0.18) });
  }
  return { series, bands };
}

/** Writes the ticks of an axis. */
function written({ short, format }) {
  return (_, ticks) => ticks.map((tick) => (tick === null ? "" : (short ?? format)(tick)));
}

function axis({ values, size }) {
  const line = cssColor("--line");
  return {
    stroke: cssColor("--muted"),
    font: FONT,
    grid: { stroke: line, width: 1 },
    ticks: { stroke: line, width: 1, size: 4 },
    size,
    values,
  };
}

function paddedRange(low, high, fromZero) {
  if (low === null || high === null) return [0, 1];
  const bottom = fromZero ? Math.min(0, low) : low;
  const room = (high - bottom || Math.abs(high) || 1) * 0.06;
  return [fromZero && low >= 0 ? 0 : bottom - room, high + room];
}

function marksHeight(spec) {
  return 8 + MARK_ROW * (spec.marks ?? []).length;
}

/** Upright lines with their labels above the plot, one row each, so that none hides another. */
function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  const placed = marks
    .map((mark, row) => ({ ...mark, at: plot.valToPos(mark.x, "x", true), top: bbox.top - (marks.length - row) * MARK_ROW * devicePixelRatio }))
    .filter(({ at }) => at >= bbox.left - 1 && at <= bbox.left + bbox.width + 1);
  ctx.save();
  ctx.font = FONT.replace("12px", `${12 * devicePixelRatio}px`);
  ctx.textBaseline = "top";
  ctx.textAlign = "left";
  for (const mark of placed) drawMarkLine(ctx, mark, bbox);
  for (const mark of placed) drawMarkLabel(ctx, mark, bbox);
  ctx.restore();
}

function drawMarkLine(ctx, { at, top, color, dashed }, bbox) {
  ctx.strokeStyle = cssColor(color);
  ctx.lineWidth = 1.5 * devicePixelRatio;
  ctx.setLineDash(dashed ? [4 * devicePixelRatio, 4 * devicePixelRatio] : []);
  ctx.beginPath();
  ctx.moveTo(at, top + 2 * devicePixelRatio);
  ctx.lineTo(at, bbox.top + bbox.height);
  ctx.stroke();
}

function drawMarkLabel(ctx, { at, top, color, label }, bbox) {
  const gap = 5 * devicePixelRatio;
  const width = ctx.measureText(label).width;
  const left = at + gap + width < bbox.left + bbox.width ? at + gap : Math.max(0, at - gap - width);
  ctx.fillStyle = cssColor("--card");
  ctx.fillRect(left - 1, top, width + 2, MARK_ROW * devicePixelRatio);
  ctx.fillStyle = cssColor(color);
  ctx.fillText(label, left, top + 1);
}

function drawShade(plot, stretches) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.fillStyle = cssColor("--shade");
  for (const { from, to } of stretches) {
    const left = Math.max(plot.valToPos(from, "x", true), bbox.left);
    const right = Math.min(plot.valToPos(to, "x", true), bbox.left + bbox.width);
    if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
  }
  ctx.restore();
}

function valueAt(one, index, spec) {
  const value = one.values[index];
  if (value === null || value === undefined) return UNKNOWN;
  const format = one.format ?? spec.y.format;
  if (!one.low) return format(value);
  return `${format(value)} (${format(one.low[index])} to ${format(one.high[index])})`;
}

function swatch(one) {
  return h("i", { class: `swatch ${one.dashed ? "dashed" : ""}`, "data-color": one.color.slice(2) });
}

/** The colour that a CSS variable has now, in this theme. */
export function cssColor(variable) {
  const probe = h("span", { hidden: true });
  probe.style.color = `var(${variable})`;
  document.body.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}

function faint(color, share) {
  const [red, green, blue] = color.match(/[\d.]+/g);
  return `rgba(${red}, ${green}, ${blue}, ${share})`;
}
