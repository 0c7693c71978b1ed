// The manager's page: what was sold, against rivals and against what was predicted.

import { getJson } from "./api.js";
import { Chart } from "./chart.js";
import { fact, find, h } from "./dom.js";
import { compact, day, money, number, percent, time, UNKNOWN } from "./format.js";
import { startShell } from "./shell.js";

const MONTH = 4;
const MEASURES = { units: "Units", revenue: "Revenue", profit: "Profit" };

start();

async function start() {
  startShell();
  try {
    show(await getJson("impact_report"));
  } catch (failure) {
    find("#problem").textContent = failure.message;
    find("#problem").hidden = false;
  }
}

function show(report) {
  const kind = report.simulated ? "simulated" : "real";
  find("#kind").textContent = report.simulated ? "Simulated market" : "Real data";
  find("#kind").classList.add(kind);
  find("#kind").hidden = false;
  find("#origin").textContent = `${number(report.products)} products, ${day(report.first_day)} to ${day(report.last_day)} · data version ${report.data_version}`;
  find("#claim").textContent = report.claim;
  find("#claim").classList.add(kind);
  find("#claim").hidden = false;
  find("#report").hidden = false;
  showSales(report);
  showPredicted(report);
  showTruth(report);
  showCover(report);
  showExperiments(report);
}

/* -- sales --------------------------------------------------------------------------------- */

function showSales({ weeks, currency }) {
  const covers = share(weeks);
  find("#sales-tiles").replaceChildren(
    tile("revenue", weeks.revenue, (value) => money(value, currency, { short: true })),
    tile("profit", weeks.profit, (value) => money(value, currency, { short: true })),
    tile("units", weeks.units, (value) => number(value)),
    indexTile(weeks),
  );
  if (covers !== null && covers < 0.995) find("#profit-title").textContent = `Profit a week, of the ${percent(covers)} of revenue whose cost is known`;
  const x = { label: "Week", values: weeks.week.map(seconds), format: day, time: true };
  const amount = { format: (value) => money(value, currency), short: (value) => `${compact(value)}`, fromZero: true };
  line("#revenue", "Revenue a week", x, amount, weeks.revenue, "--chart-1");
  line("#units", "Units a week", x, { format: (value) => number(value), short: compact, fromZero: true }, weeks.units, "--chart-2");
  if (anyKnown(weeks.profit)) line("#profit", "Profit a week", x, amount, weeks.profit, "--chart-3");
  else none("#profit", "No cost is known, so no profit is.");
  if (!anyKnown(weeks.price_index)) return none("#index", "No rival's price is known.");
  const band = { low: weeks.price_index_low_90, high: weeks.price_index_high_90 };
  new Chart(find("#index")).draw({
    label: "Price index against rivals",
    x,
    y: { format: (value) => number(value, 3) },
    height: 190,
    sync: "weeks",
    series: [{ label: "own over rival price", values: weeks.price_index, color: "--chart-4", ...band }],
  });
}

function tile(name, values, format) {
  const now = sum(values.slice(-MONTH));
  const before = sum(values.slice(-2 * MONTH, -MONTH));
  const moved = before > 0 && now !== null ? `${percent(now / before - 1, 1, { signed: true })} on the ${MONTH} weeks before` : null;
  return h("div", { class: "tile" }, h("b", {}, format(now)), h("span", {}, `${name}, last ${MONTH} weeks`), moved ? h("small", {}, moved) : null);
}

function indexTile(weeks) {
  const last = weeks.price_index.length - 1;
  const value = weeks.price_index[last] ?? null;
  const band = `90 %: ${number(weeks.price_index_low_90[last], 3)} to ${number(weeks.price_index_high_90[last], 3)}`;
  return h("div", { class: "tile" }, h("b", {}, number(value, 3)), h("span", {}, "price index, last week"), value === null ? null : h("small", {}, band));
}

function line(host, label, x, y, values, color) {
  new Chart(find(host)).draw({ label, x, y, series: [{ label, values, color }], sync: "weeks", height: 190 });
}

/* -- predicted against actual -------------------------------------------------------------- */

function showPredicted({ predicted_actual: judged, currency }) {
  const host = find("#predicted");
  const all = judged.overall;
  if (all === null) {
    host.append(
      h("p", { class: "empty" }, "No sale has come in since the data behind the first published table end."),
      h("p", { class: "muted small" }, "Once later sales are in the data, each table's prediction is compared with them here."),
    );
    return;
  }
  host.append(
    h("p", { class: "verdict" }, verdict(all)),
    ...Object.keys(MEASURES).map((name) => ratioLine(name, all[name], currency)).filter(Boolean),
    h("div", { class: "ratio" }, h("span"), h("div", { class: "ratio-scale" }, ...["50%", "100%", "150%"].map((one) => h("span", {}, one))), h("span")),
    h("p", { class: "muted small" }, basis(all)),
    dayCharts(judged.days, currency),
    tables(judged.tables),
  );
}

function verdict({ units }) {
  if (units.ratio === null) return "Nothing was predicted to sell in these days.";
  const said = `Units came to ${percent(units.ratio, 1)} of what was predicted`;
  if (units.low_90 === null) return `${said}; too little to give an interval.`;
  const band = `90 % interval ${percent(units.low_90, 1)} to ${percent(units.high_90, 1)}`;
  const inLine = units.low_90 <= 1 && units.high_90 >= 1;
  return `${said} (${band}): ${inLine ? "in line with the prediction" : units.ratio > 1 ? "more than predicted" : "less than predicted"}.`;
}

/** One measure's ratio with its interval on a scale from 50 % to 150 %. */
function ratioLine(name, one, currency) {
  if (one.ratio === null) return null;
  const place = (value) => `${Math.min(100, Math.max(0, (value - 0.5) * 100))}%`;
  const centre = h("i", { class: "ratio-one" });
  centre.style.left = "50%";
  const dot = h("i", { class: "ratio-dot" });
  dot.style.left = place(one.ratio);
  const band = h("i", { class: "ratio-band", hidden: one.low_90 === null });
  band.style.left = place(one.low_90 ?? 1);
  band.style.right = `${100 - Number.parseFloat(place(one.high_90 ?? 1))}%`;
  const worth = (value) => (name === "units" ? number(value) : money(value, currency, { short: true }));
  return h(
    "div",
    { class: "ratio" },
    h("span", {}, MEASURES[name]),
    h("div", { class: "ratio-track", role: "img", "aria-label": `${MEASURES[name]}: ${percent(one.ratio, 1)} of the prediction` }, centre, band, dot),
    h("span", { class: "small number" }, `${worth(one.actual)} of ${worth(one.predicted)}`),
  );
}

function basis(all) {
  const adopted = all.adopted === null ? "" : ` ${percent(all.adopted)} of the units were sold at the recommended price.`;
  return (
    `${number(all.periods)} periods, ${day(all.first)} to ${day(all.last)}, ${number(all.products)} products, at the prices really charged: this judges the model's demand, not what its prices brought.` +
    ` Resampled over ${all.resampled}. ${percent(all.left_out, 1)} of the product periods are left out, for an emptied shelf.${adopted}`
  );
}

function dayCharts(days, currency) {
  const grid = h("div", { class: "grid charts" });
  const x = { label: "Day", values: days.date.map(seconds), format: day, time: true };
  for (const [name, label] of [["units", "Units"], ["revenue", "Revenue"]]) {
    const host = h("div");
    grid.append(h("div", {}, h("h3", {}, label), host));
    const format = name === "units" ? (value) => number(value) : (value) => money(value, currency);
    // A chart measures its host, which is in the page only after this turn.
    setTimeout(() =>
      new Chart(host).draw({
        label: `${label}, predicted and actual`,
        x,
        y: { format, short: compact, fromZero: true },
        height: 190,
        series: [
          { label: "actual", values: days[`actual_${name}`], color: "--chart-1" },
          { label: "predicted", values: days[`predicted_${name}`], color: "--chart-2", dashed: true },
        ],
      }),
    );
  }
  return grid;
}

function tables(judged) {
  const head = ["Table", "Days", "Units, of predicted", "90 % interval", "Revenue, of predicted", "At the recommended price"];
  const rows = judged.map((one) => [
    one.version,
    `${day(one.first)} – ${day(one.last)}`,
    percent(one.units.ratio, 1),
    one.units.low_90 === null ? UNKNOWN : `${percent(one.units.low_90, 1)} to ${percent(one.units.high_90, 1)}`,
    percent(one.revenue.ratio, 1),
    percent(one.adopted),
  ]);
  return h("details", {}, h("summary", {}, `By table (${judged.length})`), h("div", { class: "scroll" }, listing(head, rows)));
}

/* -- truth, cover, experiments ------------------------------------------------------------- */

function showTruth({ simulated, truth, table, currency }) {
  find("#truth").hidden = !simulated;
  if (!simulated) return;
  const gain = truth.profit_at_recommended - truth.profit_at_current;
  find("#truth-tiles").replaceChildren(
    plain(money(gain, currency, { signed: true, short: true }), `true extra profit of the run's prices, ${truth.horizon_days} days`),
    plain(percent(truth.share_of_oracle_uplift), "of the best possible gain"),
    plain(money(table.expected_gain, currency, { signed: true, short: true }), "gain that the model expects of the table in use"),
    plain(percent(truth.coverage_90), "of the 90 % elasticity intervals hold the truth"),
  );
  find("#truth-text").textContent = "The simulator values the run's prices by the demand that it was built with. This can be known of no real market.";
}

function showCover({ cover }) {
  const host = find("#cover");
  if (cover.products === 0) return none("#cover", "No stock is known.");
  host.replaceChildren(
    h(
      "dl",
      { class: "facts" },
      fact("Stock lasts", `${number(cover.days, 1)} days in all`),
      fact("Median product", `${number(cover.median, 1)} days (10 % below ${number(cover.low_10, 1)}, 10 % above ${number(cover.high_90, 1)})`),
      fact(`Less than ${number(cover.cover_days)} days`, `${percent(cover.below, 1)} of the products`),
      fact("Nothing on hand", `${percent(cover.empty, 1)} of the products`),
      fact("Known for", `${number(cover.products)} products`),
    ),
  );
}

function showExperiments({ table }) {
  const host = find("#experiments");
  const marked = table.tested
    ? `${number(table.tested)} prices of the table in use are marked to be tested; no test of them is recorded.`
    : "No price of the table in use is marked to be tested.";
  host.replaceChildren(h("p", { class: "empty" }, "None yet."), h("p", { class: "muted small" }, `${marked} Only a price test measures what a price causes.`));
  host.append(h("p", { class: "muted small" }, `Table ${table.table_version}, published ${time(table.published_at)}.`));
}

/* -- small parts --------------------------------------------------------------------------- */

function plain(value, label) {
  return h("div", { class: "tile" }, h("b", {}, value), h("span", {}, label));
}

function listing(head, rows) {
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...head.map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((one) => h("td", {}, one))))),
  );
}

function none(host, text) {
  find(host).replaceChildren(h("p", { class: "empty" }, text));
}

function sum(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((total, value) => total + value, 0) : null;
}

function share(weeks) {
  const recent = weeks.profit_covers.slice(-MONTH).filter((value) => value !== null);
  return recent.length ? sum(recent) / recent.length : null;
}

function anyKnown(values) {
  return values.some((value) => value !== null);
}

function seconds(date) {
  return Date.parse(date) / 1000;
}
