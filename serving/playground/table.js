// The price table: filter, sort, look into, compare, decide and export.

import { download, getJson, postJson } from "./api.js";
import { debounced, find, h, notify } from "./dom.js";
import { money, number, percent, time } from "./format.js";
import { RowList } from "./rowlist.js";
import { addressQuery, rememberInAddress, startShell } from "./shell.js";
import { actsListed, comparison, rowFacts, sentence } from "./tabledetails.js";
import { ACTS, badge, moved, narrow, NARROW, STATES } from "./tablewords.js";

const WHO_KEY = "pricing-user";
const COLUMNS = [
  { name: "product_id", label: "Product", width: "minmax(8.5rem, 1.6fr)", cell: productCell, phone: "minmax(6rem, 1fr)" },
  { name: "current_price", label: "Current", width: "6.5rem", right: true, cell: (row) => price(row.current_price) },
  { name: "recommended_price", label: "Recommended", width: "8.3rem", right: true, cell: (row) => price(row.recommended_price), phone: "5rem", brief: "New" },
  { name: "change", label: "Change", width: "5.5rem", right: true, cell: (row) => moved(row.change), phone: "4.9rem" },
  { name: "served_price", label: "Served", width: "6.5rem", right: true, cell: (row) => price(row.served_price) },
  { name: "price_before", label: "Before", width: "6.5rem", right: true, cell: (row) => price(row.price_before), compared: true },
  { name: "change_from_before", label: "Since", width: "5.5rem", right: true, cell: (row) => moved(row.change_from_before), compared: true },
  { name: "profit_gain", label: "Profit gain", width: "7rem", right: true, cell: (row) => gain(row.profit_gain) },
  { name: "p_worse", label: "Risk", width: "4.6rem", right: true, cell: (row) => percent(row.p_worse) },
  { name: "confidence", label: "Confidence", width: "6.4rem", right: true, cell: (row) => percent(row.confidence) },
  { name: "decision", label: "Decision", width: "5.6rem", cell: (row) => row.decision },
  { name: "state", label: "State", width: "7rem", cell: (row) => badge(row.state), phone: "5.8rem" },
];
const HINTS = {
  change: "Recommended against the current price",
  served_price: "What a request without context is answered with",
  profit_gain: "Expected over the horizon, against the current price",
  p_worse: "Probability of less profit than at the current price",
  price_before: "Recommended in the version compared with",
  change_from_before: "Against the version compared with",
};

const filters = find("#filters");
const selection = { rows: new Map(), all: false };
let sort = { column: "", descending: false };
let currency = "USD";
let facts = null;
let found = 0;

const list = new RowList(find("#list"), {
  fetchPage,
  cells,
  isSelected: (row) => selection.all || selection.rows.has(rowKey(row)),
  onToggle: toggle,
  onOpen: openRow,
  onFailure: tell,
});

start();

async function start() {
  startShell();
  find("#who").value = sessionStorage.getItem(WHO_KEY) ?? "";
  await loadFacets(addressQuery());
  drawHead();
  listen();
  await list.reload();
  compare();
}

function listen() {
  const typed = debounced(filtered, 180);
  filters.addEventListener("input", (event) => (event.target.type === "search" ? typed() : filtered()));
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(filtered));
  find("#export-csv").addEventListener("click", () => exported("csv"));
  find("#export-parquet").addEventListener("click", () => exported("parquet"));
  find("#select-all").addEventListener("click", () => select(true));
  find("#select-none").addEventListener("click", () => select(false));
  find("#acts").addEventListener("submit", (event) => event.preventDefault());
  find("#who").addEventListener("input", (event) => sessionStorage.setItem(WHO_KEY, event.target.value));
  for (const button of document.querySelectorAll("#acts [data-act]")) {
    button.addEventListener("click", () => decide(button.dataset.act, null));
  }
  find("#log").addEventListener("toggle", loadActs);
  NARROW.addEventListener("change", () => (drawHead(), list.redraw()));
}

/* -- what is asked for --------------------------------------------------------------------- */

function wanted() {
  const { text, category, decision, reason, state, before, moved: only } = filters.elements;
  const given = { text: text.value.trim(), decision: decision.value, reason: reason.value, state: state.value };
  // "" is a category of its own, so no choice is a value that no category has.
  const query = Object.fromEntries(Object.entries(given).filter(([, value]) => value));
  if (category.value) query.category = category.value;
  if (before.value && only.checked) query.moved = "1";
  return query;
}

function wholeQuery() {
  const query = wanted();
  if (filters.elements.before.value) query.before = filters.elements.before.value;
  if (sort.column) Object.assign(query, { sort: sort.column, descending: sort.descending ? "1" : "0" });
  return query;
}

async function fetchPage(offset, limit) {
  const answer = await getJson("table_rows", { ...wholeQuery(), offset, limit });
  found = answer.found;
  showFound(answer);
  return answer;
}

function showFound({ total, sums }) {
  const part = found === total ? `${number(total)} rows` : `${number(found)} of ${number(total)} rows`;
  const more = money(sums.profit_gain, currency, { signed: true });
  find("#found").textContent = `${part} · the model expects a profit of ${money(sums.expected_profit, currency)}, ${more} against the current prices`;
  showSelected();
}

async function filtered() {
  selection.rows.clear();
  selection.all = false;
  rememberInAddress(wholeQuery());
  drawHead();
  await list.reload({ top: true });
  compare();
}

async function loadFacets(chosen) {
  try {
    facts = await getJson("table_facets", chosen.before ? { before: chosen.before } : {});
  } catch (failure) {
    if (!chosen.before) return tell(failure);
    return loadFacets({}); // the version in the address is gone
  }
  currency = facts.currency;
  const { categories, decisions, reasons, states } = facts.facets;
  const elements = filters.elements;
  options(elements.category, "any", Object.entries(categories).filter(([name]) => name), chosen.category);
  options(elements.decision, "any", Object.entries(decisions), chosen.decision);
  options(elements.reason, "any", Object.entries(reasons), chosen.reason, (name) => name.replaceAll("_", " "));
  options(elements.state, "any", Object.entries(states), chosen.state, (name) => STATES[name]);
  versionOptions(elements.before, chosen.before);
  if (chosen.text) elements.text.value = chosen.text;
  elements.moved.checked = chosen.moved === "1";
  if (chosen.sort) sort = { column: chosen.sort, descending: chosen.descending === "1" };
  showRule();
}

function options(select, none, entries, chosen, shown = (name) => name) {
  const items = entries.map(([name, count]) => h("option", { value: name }, `${shown(name)} (${number(count)})`));
  select.replaceChildren(h("option", { value: "" }, none), ...items);
  select.value = entries.some(([name]) => name === chosen) ? chosen : "";
}

function versionOptions(select, chosen) {
  const others = facts.versions.filter((one) => one.table_version !== facts.table_version);
  const items = others.map((one) => h("option", { value: one.table_version }, `${one.table_version}, ${time(one.published_at)}`));
  select.replaceChildren(h("option", { value: "" }, others.length ? "nothing" : "no other version"), ...items);
  select.value = others.some((one) => one.table_version === chosen) ? chosen : "";
  select.disabled = others.length === 0;
}

function showRule() {
  const required = facts.approval === "required";
  const above = facts.approval_threshold > 0 ? `a change above ${percent(facts.approval_threshold, 1)}` : "a changed price";
  const rule = required
    ? `${above[0].toUpperCase()}${above.slice(1)} is served once one person has proposed it and another approved it.`
    : "Approvals are off: published prices are served. Products can be frozen.";
  const damaged = "The decisions on prices cannot be read, so every current price is held; the next decision restores them from their log.";
  find("#rule").textContent = facts.decisions_damaged ? damaged : rule;
  find("#rule").classList.toggle("problem", facts.decisions_damaged);
  find("#decide").hidden = !required;
  if (facts.user_tokens) {
    find("#who-label").firstChild.textContent = "Your own token ";
    Object.assign(find("#who"), { type: "password", placeholder: "", autocomplete: "off", maxLength: 500 });
  }
}

/* -- the list ------------------------------------------------------------------------------ */

function shownColumns() {
  const compared = Boolean(filters.elements.before.value);
  return COLUMNS.filter((one) => (one.compared ? compared : true) && (NARROW.matches ? one.phone : true));
}

function drawHead() {
  find("#moved-label").hidden = !filters.elements.before.value;
  const columns = shownColumns();
  const grid = find("#list");
  const widths = columns.map((one) => (NARROW.matches ? one.phone : one.width));
  grid.style.setProperty("--columns", [NARROW.matches ? "2rem" : "2.4rem", ...widths].join(" "));
  grid.style.setProperty("--least", NARROW.matches ? "0" : `${leastWidth(widths)}rem`);
  find(".grid-head", grid).replaceChildren(
    h("div", { class: "cell", role: "columnheader" }, h("span", { class: "sr-only" }, "Selected")),
    ...columns.map(headCell),
  );
}

/** The rem that the columns take at least, the one that grows with its minimum. */
function leastWidth(widths) {
  return widths.reduce((total, width) => total + Number.parseFloat(width.replace("minmax(", "")), 2.4);
}

function headCell(column) {
  const sorted = sort.column === column.name;
  const arrow = sorted ? (sort.descending ? " ↓" : " ↑") : "";
  const button = h(
    "button",
    { type: "button", "data-column": column.name, "data-sorted": sorted, title: HINTS[column.name], onclick: () => sortBy(column.name) },
    ((NARROW.matches && column.brief) || column.label) + arrow,
  );
  const direction = sorted ? (sort.descending ? "descending" : "ascending") : "none";
  return h("div", { class: `cell ${column.right ? "right" : ""}`, role: "columnheader", "aria-sort": direction }, button);
}

async function sortBy(name) {
  // Ascending, descending, then the table's own order again.
  if (sort.column !== name) sort = { column: name, descending: false };
  else if (!sort.descending) sort = { column: name, descending: true };
  else sort = { column: "", descending: false };
  rememberInAddress(wholeQuery());
  drawHead();
  find(`[data-column="${name}"]`, find("#list")).focus();
  await list.reload({ top: true });
}

function cells(row) {
  const chosen = selection.all || selection.rows.has(rowKey(row));
  const box = h("input", { type: "checkbox", tabindex: "-1", "aria-label": `Select ${row.product_id}` });
  box.checked = chosen;
  return [
    h("div", { class: "cell pick", role: "gridcell" }, box),
    ...shownColumns().map((one) => h("div", { class: `cell ${one.right ? "right" : ""}`, role: "gridcell" }, one.cell(row))),
  ];
}

function productCell(row) {
  const where = [row.category, row.store_id && `store ${row.store_id}`, row.segment].filter(Boolean).join(" · ");
  return [row.product_id, where ? h("small", {}, where) : null];
}

function price(value) {
  return narrow(value, currency);
}

function gain(value) {
  const whole = Math.abs(value ?? 0) >= 100 ? { maximumFractionDigits: 0 } : {};
  return narrow(value, currency, { signDisplay: "exceptZero", ...whole });
}

function rowKey(row) {
  return JSON.stringify([row.product_id, row.store_id ?? "", row.segment ?? ""]);
}

/* -- selecting and deciding ---------------------------------------------------------------- */

function toggle(row) {
  if (selection.all) {
    selection.all = false;
    selection.rows.clear();
  }
  const key = rowKey(row);
  if (selection.rows.has(key)) selection.rows.delete(key);
  else selection.rows.set(key, row);
  showSelected();
  list.redraw();
}

function select(all) {
  selection.all = all && found > 0;
  selection.rows.clear();
  showSelected();
  list.redraw();
}

function count() {
  return selection.all ? found : selection.rows.size;
}

function showSelected() {
  const chosen = count();
  find("#selected").textContent = chosen ? `${number(chosen)} ${chosen === 1 ? "row" : "rows"} selected.` : "No row is selected.";
  find("#select-all").textContent = `Select all ${number(found)} that fit`;
  find("#select-all").hidden = selection.all || found === 0;
  find("#select-none").hidden = chosen === 0;
  for (const button of document.querySelectorAll("#acts [data-act]")) button.disabled = chosen === 0;
}

/** Does `action` on the selected rows, or on one row, once it is confirmed. */
async function decide(action, row) {
  if (find("#who").value.trim() === "") {
    find("#row-dialog").close();
    find("#who").focus();
    notify("Say who you are first.", "problem");
    return;
  }
  const rows = row ? [row] : [...selection.rows.values()];
  const many = row ? 1 : count();
  const note = await confirmed(action, many, rows);
  if (note === null) return;
  const body = { action, table_version: facts.table_version, expected_rows: many, note };
  if (!row && selection.all) Object.assign(body, { filter: wantedBody(), before: filters.elements.before.value });
  else body.rows = rows.map((one) => [one.product_id, one.store_id ?? "", one.segment ?? ""]);
  await send(action, body);
}

function wantedBody() {
  const query = wanted();
  return { ...query, ...(query.moved ? { moved: true } : {}) };
}

async function send(action, body) {
  try {
    const header = facts.user_tokens ? "x-pricing-user-token" : facts.user_header;
    const outcome = await postJson("table_act", body, { headers: { [header]: find("#who").value.trim() } });
    find("#row-dialog").close();
    report(action, outcome);
    selection.rows.clear();
    selection.all = false;
  } catch (failure) {
    tell(failure);
    if (failure.status !== 409) return;
  }
  await loadFacets(Object.fromEntries(Object.entries(wholeQuery())));
  await list.reload();
  showSelected();
  if (find("#log").open) loadActs();
}

function report(action, { changed, skipped }) {
  const left = Object.entries(skipped).map(([why, many]) => `${number(many)} left: ${why}`);
  const done = changed ? `${ACTS[action][0]}: ${number(changed)} done.` : `${ACTS[action][0]}: nothing changed.`;
  notify([done, ...left].join(" "), changed ? "done" : "problem");
}

function confirmed(action, many, rows) {
  const dialog = find("#confirm");
  const form = find("form", dialog);
  const [name, meaning] = ACTS[action];
  find("#confirm-title").textContent = many === 1 && rows.length ? `${name} ${rows[0].product_id}?` : `${name} ${number(many)} rows?`;
  find("#confirm-text").textContent = meaning;
  form.elements.note.value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes" ? form.elements.note.value.trim() : null), { once: true });
  });
}

/* -- one row ------------------------------------------------------------------------------- */

function openRow(row) {
  const dialog = find("#row-dialog");
  const close = h("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const required = facts.approval === "required";
  const names = [...(required ? ["propose", "approve", "reject"] : []), row.state === "frozen" ? "unfreeze" : "freeze"];
  const query = new URLSearchParams({ product_id: row.product_id, ...(row.store_id ? { store_id: row.store_id } : {}) });
  dialog.replaceChildren(
    h("div", { class: "drawer-head" }, h("h2", { id: "row-title" }, row.product_id, " ", badge(row.state)), close),
    h("dl", { class: "facts" }, ...rowFacts(row, currency)),
    h("h3", {}, "Why this price"),
    h("ul", { class: "reasons" }, ...(row.reasons ?? "").split("; ").filter(Boolean).map((one) => h("li", {}, sentence(one)))),
    h("p", {}, h("a", { href: `./?${query}` }, "Open in the playground")),
    h("div", { class: "row" }, ...names.map((name) => actButton(name, row))),
  );
  dialog.showModal();
}

function actButton(name, row) {
  const kind = { approve: "primary", reject: "danger" }[name];
  return h("button", { type: "button", class: kind, onclick: () => decide(name, row) }, ACTS[name][0]);
}

/* -- versions, log, export ----------------------------------------------------------------- */

async function compare() {
  const box = find("#comparison");
  const before = filters.elements.before.value;
  box.hidden = !before;
  if (!before || box.dataset.version === before) return;
  try {
    const answer = await getJson("table_compare", { before });
    if (filters.elements.before.value !== before) return;
    box.dataset.version = before;
    box.replaceChildren(...comparison(answer));
  } catch (failure) {
    tell(failure);
  }
}

async function loadActs() {
  if (!find("#log").open) return;
  const host = find("#log .scroll");
  try {
    host.replaceChildren(...actsListed(await getJson("table_acts")));
  } catch (failure) {
    host.replaceChildren(h("p", { class: "problem" }, failure.message));
  }
}

async function exported(kind) {
  try {
    await download(`table.${kind}?${new URLSearchParams(wholeQuery())}`, `prices-${facts.table_version}.${kind}`);
  } catch (failure) {
    tell(failure);
  }
}

function tell(failure) {
  notify(failure.message, "problem");
}
