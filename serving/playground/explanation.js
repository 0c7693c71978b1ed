// The drawer that says why a served price is what it is, from the record of its quote.

import { getJson, ServiceError } from "./api.js";
import { fact, find, h } from "./dom.js";
import { money, number, time } from "./format.js";

const TRIES = 12;
const WAIT_MS = 150;

/** Opens the drawer with the explanation of one quote. */
export async function showExplanation(quoteId) {
  const drawer = find("#explanation");
  drawer.replaceChildren(heading(drawer), h("p", { class: "muted" }, "Reading the record …"));
  drawer.showModal();
  try {
    const found = await onceRecorded(quoteId);
    drawer.replaceChildren(heading(drawer), ...content(found));
  } catch (failure) {
    drawer.replaceChildren(heading(drawer), h("p", { class: "problem" }, failure.message));
  }
}

/** A quote is written to the log a moment after it is served. */
async function onceRecorded(quoteId) {
  for (let left = TRIES; ; left -= 1) {
    try {
      return await getJson(`explain/${encodeURIComponent(quoteId)}`);
    } catch (failure) {
      if (!(failure instanceof ServiceError) || failure.status !== 404 || left === 0) throw failure;
      await new Promise((resolve) => setTimeout(resolve, WAIT_MS));
    }
  }
}

function heading(drawer) {
  return h(
    "div",
    { class: "row spread" },
    h("h2", { id: "explanation-title" }, "Why this price was served"),
    h("button", { type: "button", onclick: () => drawer.close(), autofocus: true }, "Close"),
  );
}

function content(found) {
  const { served } = found;
  const price = (value, options) => money(value, served.currency, options);
  return [
    h("p", { class: "headline number" }, price(served.recommended_price)),
    h("p", {}, `${found.product_id}, ${time(found.quoted_at)}: ${found.how ?? served.source}.`),
    reproduction(found, price),
    found.drivers ? section("The way to this price", steps(found.drivers, price)) : null,
    found.expected ? section(`Expected over ${found.expected.horizon_days} days`, expected(found.expected, price)) : null,
    found.guard_rails ? section("Guard rails", rails(found.guard_rails, price)) : null,
    found.lineage ? section("Where it comes from", lineage(found)) : null,
    section("As it was asked", h("pre", {}, JSON.stringify(found.request, null, 2))),
  ].filter(Boolean);
}

function section(title, ...parts) {
  return h("section", { class: "part" }, h("h3", {}, title), ...parts);
}

function reproduction(found, price) {
  if (found.reproduced) {
    return h("p", { class: "good" }, `Recomputed from its record: ${price(found.recomputed_price)}, the same to the last bit.`);
  }
  return h("div", { class: "bad" }, h("p", {}, "Recomputing it gave something else:"), h("ul", { class: "reasons" }, ...found.differences.map((line) => h("li", {}, line))));
}

function steps(drivers, price) {
  const rows = drivers.map((step) =>
    h("tr", {}, h("td", { class: "wrap" }, h("b", {}, step.step), h("br"), h("span", { class: "muted small" }, step.because)),
      h("td", { class: "right" }, price(step.price)), h("td", { class: "right" }, step.move === null ? "" : price(step.move, { signed: true }))),
  );
  return table(["Step", "Price", "Move"], rows);
}

function expected(found, price) {
  const at = [found.at_current_price, found.at_served_price];
  const row = (name, values) => h("tr", {}, h("td", {}, name), ...values.map((value) => h("td", { class: "right" }, value)));
  return table(
    ["", "At the current price", "At this price"],
    [
      row("Price", at.map((one) => price(one.price))),
      row("Units", at.map((one) => number(one.units, 1))),
      row("Revenue", at.map((one) => price(one.revenue))),
      row("Profit", at.map((one) => price(one.profit))),
    ],
  );
}

function rails(found, price) {
  const end = (value, rule) => (rule ? `${price(value)} (${rule.replaceAll("_", " ")})` : price(value));
  const hit = found.hit.map((one) => h("li", {}, one.sentence));
  return h("div", {},
    h("dl", { class: "facts" }, fact("Floor", end(found.floor, found.floor_rule)), fact("Ceiling", end(found.ceiling, found.ceiling_rule))),
    hit.length ? h("ul", { class: "reasons" }, ...hit) : h("p", { class: "muted small" }, "The price leans on none of them."));
}

function lineage(found) {
  const { lineage: from } = found;
  const code = (text) => (text ? h("code", {}, text) : null);
  return h("dl", { class: "facts" },
    fact("Quote", code(found.quote_id)),
    fact("Table", code(from.table_version)),
    fact("Published", time(from.published_at)),
    fact("Model", from.model_version),
    fact("MLflow run", code(from.mlflow_run_id)),
    fact("Dagster run", code(from.dagster_run_id)),
    fact("Data", code(from.data_version)),
    fact("Settings", code(from.settings_version)),
    fact("Record", found.audit.block_intact ? "sealed, and its block is intact" : "not sealed yet, or its block was changed"));
}

function table(heads, rows) {
  const head = heads.map((text, i) => h("th", { scope: "col", class: i ? "right" : "" }, text));
  return h("div", { class: "scroll" }, h("table", {}, h("thead", {}, h("tr", {}, ...head)), h("tbody", {}, ...rows)));
}
