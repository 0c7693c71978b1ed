// The health page: what is served, how fast, from where, and what needs a look. Asked every 5 s.

import { getJson } from "./api.js";
import { fact, find, h } from "./dom.js";
import { ago, duration, number, percent, size, time, UNKNOWN } from "./format.js";
import { startShell } from "./shell.js";

const EVERY_MS = 5000;
const RUNGS = {
  table: "the published price",
  live: "re-optimised for the request",
  cache: "kept from the same request before",
  rule: "a rule on cost and rival",
  current: "the current price",
  frozen: "held by the freeze",
};
const TIERS = { table: "the table in memory", worker: "the worker's cache", redis: "Redis", computed: "nowhere: computed" };

let before = null;

async function refresh() {
  try {
    const state = await getJson("health.json");
    show(state);
    find("#problem").hidden = true;
    find("#health").hidden = false;
    find("#asked").textContent = `As of ${new Date(state.now).toLocaleTimeString()}, asked every 5 s`;
    before = { at: Date.now(), latency: state.latency };
  } catch (failure) {
    find("#problem").hidden = false;
    find("#problem").textContent = `${failure.message}.`;
  }
}

function show(state) {
  find("#tiles").replaceChildren(...tiles(state));
  find("#alarms").replaceChildren(alarmList(state.alarms));
  find("#versions").replaceChildren(...versions(state.versions));
  find("#rungs").replaceChildren(shares(state.quotes, RUNGS));
  find("#cache").replaceChildren(shares(state.cache.lookups, TIERS));
  find("#redis").replaceChildren(
    fact("Redis failures", number(state.redis.failures)),
    fact("Workers not asking Redis", number(state.redis.workers_not_asking)),
  );
  find("#audit").replaceChildren(...audit(state));
  find("#check").disabled = !state.audit_log.checkable_here;
  find("#latency").replaceChildren(...latency(state.latency));
  find("#drift").replaceChildren(report(state.reports.drift, "Drift"));
  find("#gate").replaceChildren(report(state.reports.gate, "The gate", gateHead));
}

const sum = (counts) => Object.values(counts).reduce((total, count) => total + count, 0);

function tile(title, value, note, kind = "") {
  return h("div", { class: "tile" }, h("span", {}, title), h("b", { class: kind }, value), h("span", {}, note));
}

function tiles({ versions: table, freeze, quotes, cache, latency: rows, alarms }) {
  const price = rows.find((row) => row.endpoint === "get_price");
  const bad = alarms.filter((alarm) => alarm.level === "bad").length;
  const held = freeze.everything ? "all" : number(freeze.count);
  return [
    tile("Alarms", alarms.length ? number(alarms.length) : "none", bad ? `${bad} of them urgent` : "at this moment", bad ? "bad" : alarms.length ? "warn" : "good"),
    tile("Table", table ? table.table_version.split("-")[0].replace(/^0+/, "№ ") : UNKNOWN, table ? `published ${ago(table.published_at)}` : "none is published"),
    tile("Frozen products", held, freeze.products.slice(0, 3).join(", ") || (freeze.everything ? "every price is held" : "nothing is held"), freeze.everything ? "bad" : ""),
    tile("Quotes", number(sum(quotes)), "since the start, all workers"),
    tile("Found, not computed", percent(cache.hit_ratio, 1), "share of the quotes"),
    tile("get_price, p99", price ? duration(price.p99) : UNKNOWN, price ? `p50 ${duration(price.p50)}` : "not asked yet"),
  ];
}

function alarmList(alarms) {
  if (!alarms.length) return h("p", { class: "good" }, "Nothing needs a look.");
  return h("ul", { class: "alarms" }, ...alarms.map(({ level, what, action }) =>
    h("li", {}, h("span", { class: `badge ${level}` }, level === "bad" ? "urgent" : "look"), h("span", {}, h("b", {}, what), " ", h("span", { class: "muted" }, action)))));
}

function versions(table) {
  if (table === null) return [fact("Table", "none is published")];
  const code = (text) => (text ? h("code", {}, text) : null);
  const expired = Date.parse(table.valid_until) < Date.now();
  return [
    fact("Table", code(table.table_version)),
    fact("Prices", `${number(table.prices)} in ${table.currency}`),
    fact("Published", `${time(table.published_at)}, ${ago(table.published_at)}`),
    fact("Valid until", h("span", { class: expired ? "bad" : "" }, `${time(table.valid_until)}, ${ago(table.valid_until)}`)),
    fact("Replaced", code(table.previous)),
    fact("Restored from", code(table.restored_from)),
    fact("Model", table.model_version),
    fact("Data", code(table.data_version)),
    fact("Data until", time(table.data_until)),
    fact("Settings", code(table.settings_version)),
    fact("Guard rails", table.rules_version && `version ${table.rules_version}`),
    fact("MLflow run", code(table.mlflow_run_id)),
    fact("Dagster run", code(table.dagster_run_id)),
    fact("Breaker overridden", table.overridden.join("; ")),
  ].filter(Boolean);
}

/** Counts as bars of their share, in the order of `names`, with their names in words. */
function shares(counts, names) {
  const total = sum(counts);
  if (total === 0) return h("p", { class: "muted" }, "No quote was asked for yet.");
  const known = [...Object.keys(names), ...Object.keys(counts).filter((name) => !(name in names))];
  const rows = known.filter((name) => counts[name] > 0).map((name) => {
    const meter = h("meter", { min: 0, max: 1, value: counts[name] / total, "aria-label": name });
    return h("div", { class: "share" }, h("span", {}, h("b", {}, name), h("span", { class: "muted small" }, names[name] ? ` ${names[name]}` : "")), meter,
      h("span", { class: "number" }, `${number(counts[name])} · ${percent(counts[name] / total, 1)}`));
  });
  return h("div", { class: "shares" }, ...rows);
}

function audit({ audit: counts, audit_log: log }) {
  const head = log.heads[log.heads.length - 1];
  return [
    fact("Records written", number(counts.records)),
    fact("Writes that failed", number(counts.failures)),
    fact("Requests refused for it", number(counts.refusals)),
    fact("Chains, files", `${number(log.chains)}, ${number(log.files)}`),
    fact("Size", size(log.bytes)),
    fact("Latest seal", head ? h("code", {}, head.hash) : "none yet"),
  ];
}

function latency(rows) {
  if (!rows.length) return [h("tr", {}, h("td", { colspan: 7, class: "muted" }, "Nothing was asked for yet."))];
  const seconds = before ? (Date.now() - before.at) / 1000 : null;
  return rows.map((row) => {
    const last = before?.latency.find((one) => one.endpoint === row.endpoint);
    const rate = seconds === null ? null : (row.count - (last?.count ?? 0)) / seconds;
    const cells = [number(row.count), number(rate, 1), ...["mean", "p50", "p95", "p99"].map((name) => duration(row[name]))];
    return h("tr", {}, h("td", {}, row.endpoint), ...cells.map((text) => h("td", { class: "right" }, text)));
  });
}

/** The checks that the pipeline left: drift, or the gate of promotion. */
function report(found, name, head = () => null) {
  if (found === null) return h("p", { class: "muted" }, `${name} was not measured yet: the pipeline has left no report in this home.`);
  if (found.unreadable) return h("p", { class: "bad" }, `The report is damaged: ${found.unreadable}.`);
  const checks = found.checks ?? [];
  const rows = checks.map((check) =>
    h("tr", {}, h("td", {}, outcome(check)), h("td", {}, String(check.name).replaceAll("_", " ")), h("td", { class: "right" }, number(check.value, 4)),
      h("td", { class: "right" }, check.threshold === null ? UNKNOWN : `${check.bound} ${number(check.threshold, 4)}`), h("td", { class: "wrap muted" }, check.why)));
  const heads = ["", "Check", "Value", "Must be", "Of what"].map((text, i) => h("th", { scope: "col", class: i === 2 || i === 3 ? "right" : "" }, text));
  return h("div", {}, h("p", { class: "small muted" }, head(found), `Measured ${time(found.generated_at)}, ${ago(found.generated_at)}.`),
    h("div", { class: "scroll", tabindex: "0" }, h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows))));
}

function gateHead({ model_version: version, alias }) {
  return version ? `Model ${version} became ${alias}. ` : null;
}

function outcome({ passed, value }) {
  if (value === null) return h("span", { class: "badge muted" }, passed ? "unknown" : "not measured");
  return h("span", { class: `badge ${passed ? "good" : "bad"}` }, passed ? "holds" : "fails");
}

async function checkAudit() {
  const button = find("#check");
  const said = find("#audit-check");
  button.disabled = true;
  said.replaceChildren("Reading every block …");
  try {
    const found = await getJson("audit_check");
    said.replaceChildren(
      found.intact
        ? h("p", { class: "good" }, `Whole: ${number(found.chains)} chains, ${number(found.records)} records, ${number(found.quotes)} quotes.`)
        : h("div", { class: "bad" }, "Not whole:", h("ul", { class: "reasons" }, ...found.problems.map((text) => h("li", {}, text)))),
    );
  } catch (failure) {
    said.replaceChildren(h("p", { class: "bad" }, `${failure.message}.`));
  } finally {
    button.disabled = false;
  }
}

startShell();
find("#check").addEventListener("click", checkAudit);
refresh();
setInterval(() => document.hidden || refresh(), EVERY_MS);
