// What every page has: the navigation's present place, and the state of the table in use.

import { getJson } from "./api.js";
import { find } from "./dom.js";
import { number } from "./format.js";

const REFRESH_MS = 5000;

/** Starts the frame of a page; call it once, first. */
export function startShell() {
  const page = document.body.dataset.page;
  for (const link of document.querySelectorAll(".bar nav a")) {
    if (link.dataset.for === page) link.setAttribute("aria-current", "page");
  }
  refresh();
  setInterval(() => document.hidden || refresh(), REFRESH_MS);
}

async function refresh() {
  const status = find("#table-status");
  const [text, kind] = await state();
  if (status.textContent !== text) status.textContent = text;
  status.className = kind;
}

/** The sentence of the bar and its kind: good, warn or bad. */
async function state() {
  let table;
  try {
    // Not ready is status 503 and still says why, so this looks at the body alone.
    table = await (await fetch("readyz")).json();
  } catch {
    return ["The service does not answer", "bad"];
  }
  if (!table.ready) return ["No table is published yet", "warn"];
  const what = `Table ${table.table_version} · ${number(table.products)} prices`;
  return table.expired ? [`${what} · expired`, "warn"] : [what, "good"];
}

/** The query of the address as an object. */
export function addressQuery() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** Writes the query of the address without loading the page; empty values are left out. */
export function rememberInAddress(query) {
  const given = Object.entries(query).filter(([, value]) => value);
  const text = new URLSearchParams(given).toString();
  history.replaceState(null, "", text ? `?${text}` : location.pathname);
}

/** Product ids that contain `text`. */
export async function productsLike(text) {
  return (await getJson("products", { q: text })).products;
}
