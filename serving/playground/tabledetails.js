// The parts of the price table's page that only show: a row's facts, two versions, plain tables.

import { fact, h } from "./dom.js";
import { money, number, percent, time, UNKNOWN } from "./format.js";
import { moved, narrow } from "./tablewords.js";

/** What is known of a row, for its drawer. */
export function rowFacts(row, currency) {
  const price = (value) => narrow(value, currency);
  const band = [row.profit_uplift_low_90, row.profit_uplift_high_90].map((value) => money(value, currency, { signed: true }));
  const known = row.profit_uplift_low_90 !== null && row.profit_uplift_high_90 !== null;
  return [
    fact("Store", row.store_id),
    fact("Segment", row.segment),
    fact("Category", row.category),
    fact("Current price", price(row.current_price)),
    fact("Recommended price", `${price(row.recommended_price)} (${moved(row.change)})`),
    fact("Served now", price(row.served_price)),
    row.price_before === null ? null : fact("Before", `${price(row.price_before)} (${moved(row.change_from_before)})`),
    fact("Guard rails", `${price(row.price_floor)} to ${price(row.price_ceiling)}`),
    fact(`Expected, ${row.horizon_days} days`, `${number(row.expected_units, 1)} units, ${money(row.expected_revenue, currency)} revenue`),
    fact("Expected profit", `${money(row.expected_profit, currency)}, ${money(row.expected_profit_at_current, currency)} at the current price`),
    known ? fact("Model's 90 % band of the gain", `${band[0]} to ${band[1]}`) : null,
    fact("Probability of less profit", percent(row.p_worse, 1)),
    fact("Own-price elasticity", `${number(row.own_price_elasticity, 2)} ± ${number(row.own_price_elasticity_sd, 2)}`),
    fact("Confidence", percent(row.confidence)),
  ].filter(Boolean);
}

/** A reason without its code. */
export function sentence(reason) {
  const text = reason.replace(/^[a-z_0-9]+: /, "");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The card of two versions beside each other. */
export function comparison(answer) {
  const tiles = [
    [number(answer.raised), "prices raised"],
    [number(answer.cut), "prices cut"],
    [percent(answer.mean_change, 1, { signed: true }), "mean change"],
    [`${number(answer.added)} / ${number(answer.removed)}`, "rows added / removed"],
    [money(answer.profit, answer.currency, { signed: true }), "expected profit of the changes"],
    [money(answer.revenue, answer.currency, { signed: true }), "expected revenue of the changes"],
  ];
  const head = ["Product", "Store", "Before", "Now", "Change", "Profit"];
  const rows = answer.largest.map((one) => [
    one.product_id,
    one.store_id || UNKNOWN,
    money(one.before, answer.currency),
    money(one.after, answer.currency),
    moved(one.relative_change),
    money(one.profit, answer.currency, { signed: true }),
  ]);
  return [
    h("h2", { id: "comparison-title" }, `${answer.before} → ${answer.after}`),
    h("div", { class: "tiles" }, ...tiles.map(([value, label]) => h("div", { class: "tile" }, h("b", {}, value), h("span", {}, label)))),
    h("p", { class: "muted small" }, "Expected by the newer version's demand curves over its horizon; a model's expectation, not a measured uplift."),
    h("details", {}, h("summary", {}, "Largest changes"), h("div", { class: "scroll" }, listing(head, rows))),
  ];
}

/** The latest acts, or that there are none. */
export function actsListed({ acts, count }) {
  if (count === 0) return [h("p", { class: "empty" }, "Nothing was decided yet.")];
  const head = ["When", "Who", "What", "Rows", "Products", "Note", "Table"];
  const rows = acts.map((one) => [
    time(one.time),
    one.by,
    one.action,
    number(one.rows),
    one.products.slice(0, 3).join(", ") + (one.rows > 3 ? " …" : ""),
    one.note || UNKNOWN,
    one.table_version,
  ]);
  const whole = `${number(count)} acts on record; the chain of the log is whole.`;
  return [listing(head, rows), h("p", { class: "muted small" }, whole)];
}

function listing(head, rows) {
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...head.map((one) => h("th", { scope: "col" }, one)))),
    h("tbody", {}, ...rows.map((row) => h("tr", {}, ...row.map((one) => h("td", {}, one))))),
  );
}
