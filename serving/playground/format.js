// Numbers and moments as people read them. What is not known is a dash, never a zero.

export const UNKNOWN = "–";

const unknown = (value) => value === null || value === undefined || !Number.isFinite(value);

const cached = new Map();

function formatter(options) {
  const key = JSON.stringify(options);
  if (!cached.has(key)) cached.set(key, new Intl.NumberFormat(undefined, options));
  return cached.get(key);
}

/** A price or a sum: whole minor units below 10,000, whole units above; `signed` shows a plus. */
export function money(value, currency, { signed = false, short = false } = {}) {
  if (unknown(value)) return UNKNOWN;
  const options = { style: "currency", currency };
  if (signed) options.signDisplay = "exceptZero";
  if (short || Math.abs(value) >= 10000) options.maximumFractionDigits = 0;
  return formatter(options).format(value);
}

/** A count or a measure with at most `digits` decimals. */
export function number(value, digits = 0, { signed = false } = {}) {
  if (unknown(value)) return UNKNOWN;
  const options = { maximumFractionDigits: digits };
  if (signed) options.signDisplay = "exceptZero";
  return formatter(options).format(value);
}

/** A large number in short: 12.3K. */
export function compact(value) {
  return unknown(value)
    ? UNKNOWN
    : formatter({ notation: "compact", maximumFractionDigits: 1 }).format(value);
}

/** A share as per cent: 0.123 is 12 %. */
export function percent(value, digits = 0, { signed = false } = {}) {
  if (unknown(value)) return UNKNOWN;
  const options = { style: "percent", maximumFractionDigits: digits };
  if (signed) options.signDisplay = "exceptZero";
  return formatter(options).format(value);
}

/** Bytes in KiB, MiB or GiB. */
export function size(bytes) {
  if (unknown(bytes)) return UNKNOWN;
  if (bytes < 2 ** 20) return `${number(bytes / 2 ** 10, 1)} KiB`;
  if (bytes < 2 ** 30) return `${number(bytes / 2 ** 20, 1)} MiB`;
  return `${number(bytes / 2 ** 30, 1)} GiB`;
}

/** Seconds as milliseconds, seconds, minutes, hours or days, whichever reads best. */
export function duration(seconds) {
  if (unknown(seconds)) return UNKNOWN;
  const size = Math.abs(seconds);
  if (size < 1) return `${number(seconds * 1000, size < 0.01 ? 2 : 0)} ms`;
  if (size < 120) return `${number(seconds, 1)} s`;
  if (size < 7200) return `${number(seconds / 60)} min`;
  if (size < 172800) return `${number(seconds / 3600)} h`;
  return `${number(seconds / 86400)} days`;
}

/** A day as the data name it, from an ISO date or Unix seconds; days have no time zone. */
export function day(value) {
  const date = moment(value);
  if (date === null) return UNKNOWN;
  return date.toLocaleDateString(undefined, { dateStyle: "medium", timeZone: "UTC" });
}

/** A day and its time, in the reader's time zone. */
export function time(value) {
  const date = moment(value);
  if (date === null) return UNKNOWN;
  return date.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** How long ago, or in how long: "3 h ago", "in 2 days". */
export function ago(value, now = Date.now()) {
  const date = moment(value);
  if (date === null) return UNKNOWN;
  const seconds = (now - date.getTime()) / 1000;
  return seconds >= 0 ? `${duration(seconds)} ago` : `in ${duration(-seconds)}`;
}

function moment(value) {
  if (value === null || value === undefined || value === "") return null;
  const date = new Date(typeof value === "number" ? value * 1000 : value);
  return Number.isNaN(date.getTime()) ? null : date;
}
