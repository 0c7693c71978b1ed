// The price table's words: states, acts, and amounts as the list shows them.

import { h } from "./dom.js";
import { percent, UNKNOWN } from "./format.js";

export const NARROW = matchMedia("(max-width: 40rem)");

/** What each state is called. */
export const STATES = {
  published: "published",
  within: "served",
  waiting: "waiting",
  proposed: "proposed",
  approved: "approved",
  rejected: "rejected",
  frozen: "frozen",
  unpriced: "no price",
};

/** What each act is called, and what it means. */
export const ACTS = {
  propose: ["Propose", "Somebody else must approve before these prices are served."],
  approve: ["Approve", "These prices are served from now on."],
  reject: ["Reject", "The prices that stand are kept."],
  freeze: ["Freeze", "The current prices are kept, whatever is published."],
  unfreeze: ["Unfreeze", "The products follow the table again."],
};

/** A state as a badge. */
export function badge(state) {
  return h("span", { class: `badge ${state}` }, STATES[state] ?? state);
}

/** An amount with its short sign; the currency's own name stands above the list. */
export function narrow(value, currency, options = {}) {
  if (value === null || value === undefined) return UNKNOWN;
  const how = { style: "currency", currency, currencyDisplay: "narrowSymbol", ...options };
  return new Intl.NumberFormat(undefined, how).format(value);
}

/** A relative change with its direction. */
export function moved(share) {
  if (share === null || share === undefined) return UNKNOWN;
  if (Math.abs(share) < 5e-5) return percent(0);
  return `${share > 0 ? "▲" : "▼"} ${percent(Math.abs(share), NARROW.matches ? 0 : 1)}`;
}
