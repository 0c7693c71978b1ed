// The playground: one product, its past, its curve, and its price under whatever is tried.

import { getJson, latestOnly, postJson } from "./api.js";
import { Chart } from "./chart.js";
import { combobox } from "./combobox.js";
import { debounced, find, h } from "./dom.js";
import { showExplanation } from "./explanation.js";
import { compact, day, money, number, percent, UNKNOWN } from "./format.js";
import { addressQuery, productsLike, rememberInAddress, startShell } from "./shell.js";
import { Slider } from "./slider.js";

const DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];
const OBJECTIVES = { profit: "Profit", revenue: "Revenue", market_share: "Market share" };
const DEBOUNCE_MS = 30;

const charts = {
  units: new Chart(find("#units-chart")),
  revenue: new Chart(find("#revenue-chart")),
  profit: new Chart(find("#profit-chart")),
  sales: new Chart(find("#sales-chart")),
  price: new Chart(find("#price-chart")),
};
const lastAnswer = latestOnly();
const lastProduct = latestOnly();
const refresh = debounced(update, DEBOUNCE_MS);

const sliders = {
  price: new Slider({ label: "A price to look at", change: refresh }),
  current_stock: new Slider({ label: "Stock", unit: "units", change: refresh }),
  comp_price: new Slider({ label: "Rival's price", change: refresh }),
};
const railSliders = {
  min_margin: new Slider({ label: "Least margin", unit: "% of price", scale: 100, change: refresh }),
  max_price_change: new Slider({ label: "Largest change", unit: "%", scale: 100, change: refresh }),
};
const choices = {
  day_of_week: select("Day", { "": "not said", ...Object.fromEntries(DAYS.map((name) => [name, name])) }),
  objective: select("Objective", { "": "the table's", ...OBJECTIVES }),
};
const promotion = h("input", { type: "checkbox", onchange: refresh });

const plain = (value) => number(value, 2);

let product = null;

function select(label, options) {
  const id = `choice-${label.toLowerCase()}`;
  const texts = Object.entries(options).map(([value, text]) => h("option", { value }, text));
  const field = h("select", { id, onchange: () => refresh() }, ...texts);
  return { field, element: h("div", { class: "field" }, h("label", { for: id }, label), field) };
}

function buildControls() {
  find("#sliders").append(
    sliders.price.element,
    sliders.current_stock.element,
    sliders.comp_price.element,
    h("label", { class: "check" }, promotion, "A promotion runs"),
    h("div", { class: "pair" }, choices.day_of_week.element, choices.objective.element),
  );
  find("#rail-sliders").append(...Object.values(railSliders).map((slider) => slider.element));
  const form = find("#controls");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    askTheService();
  });
  form.addEventListener("reset", () => {
    for (const slider of Object.values({ ...sliders, ...railSliders })) slider.clear(false);
    setTimeout(refresh);
  });
}

/** Shows the problem of a failed exchange, or takes the last one away. */
function say(problem) {
  const line = find("#problem");
  line.hidden = problem === null;
  line.textContent = problem === null ? "" : `${problem}.`.replace(/\.\.$/, ".");
}

/** Loads a product: its facts, its price as it is now, and its past, all at once. */
async function open(productId, { store_id, segment } = {}) {
  if (!productId) return;
  try {
    const query = key({ product_id: productId, store_id, segment });
    const found = await lastProduct((signal) =>
      Promise.all([
        getJson("product", query, { signal }),
        postJson("what_if", query, { signal }),
        getJson("history", query, { signal }),
      ]),
    );
    if (found === undefined) return;
    say(null);
    showProduct(...found);
  } catch (failure) {
    say(failure.message);
  }
}

function showProduct(facts, answer, { history }) {
  product = facts;
  find("#product").value = facts.product_id;
  document.title = `${facts.product_id} · Playground · Price desk`;
  rememberInAddress(key(facts));
  showVariants(facts);
  setRanges(facts);
  find("#product-view").hidden = false;
  find("#served").hidden = true;
  showAnswer(answer);
  showHistory(facts, history);
}

function key({ product_id, store_id, segment }) {
  return { product_id, ...(store_id ? { store_id } : {}), ...(segment ? { segment } : {}) };
}

function showVariants({ others, store_id, segment }) {
  find("#variant-label").hidden = others.length < 2;
  const text = (one) => [one.store_id || "all stores", one.segment || null].filter(Boolean).join(", ");
  find("#variant").replaceChildren(
    ...others.map((one, i) => h("option", { value: i, selected: one.store_id === store_id && one.segment === segment }, text(one))),
  );
}

function setRanges(found) {
  const step = (size) => Math.max(found.minor_unit, niceStep(size / 200, found.minor_unit));
  const price = found.current_price ?? found.recommended_price;
  const low = Math.min(found.price_floor, price) * 0.9;
  const high = Math.max(found.price_ceiling, price) * 1.1;
  const whole = (value) => Math.round(value / found.minor_unit) * found.minor_unit;
  sliders.price.range({ low: whole(low), high: whole(high), step: step(high - low), rest: found.recommended_price });
  const units = Math.max(20, Math.ceil((found.expected_units ?? 100) * 1.5));
  sliders.current_stock.range({ low: 0, high: units, step: 1, rest: units });
  const rival = found.reference_rival_price ?? price;
  sliders.comp_price.range({ low: whole(rival * 0.5), high: whole(rival * 1.5), step: step(rival), rest: whole(rival) });
  railSliders.min_margin.range({ low: 0, high: 0.7, step: 0.01, rest: found.min_margin });
  railSliders.max_price_change.range({ low: 0.01, high: 0.6, step: 0.01, rest: found.max_price_change });
  promotion.checked = false;
  for (const { field } of Object.values(choices)) field.value = "";
}

/** The largest of 1, 2 and 5 times a power of ten that is not above `size`. */
function niceStep(size, least) {
  const power = 10 ** Math.floor(Math.log10(Math.max(size, least)));
  const found = [5, 2, 1].find((factor) => factor * power <= size) ?? 1;
  return Number((found * power).toPrecision(3));
}

/** What is said of now, as the service takes it. */
function context() {
  const body = key(product);
  for (const name of ["current_stock", "comp_price"]) {
    if (sliders[name].value !== null) body[name] = sliders[name].value;
  }
  for (const [name, { field }] of Object.entries(choices)) if (field.value) body[name] = field.value;
  if (promotion.checked) body.is_promo = true;
  return body;
}

function question() {
  const body = context();
  if (sliders.price.value !== null) body.price = sliders.price.value;
  for (const [name, slider] of Object.entries(railSliders)) if (slider.value !== null) body[name] = slider.value;
  return body;
}

/** Asks what would happen, and shows it. */
async function update() {
  if (product === null) return;
  try {
    const answer = await lastAnswer((signal) => postJson("what_if", question(), { signal }));
    const isOther = answer?.product_id !== product.product_id || answer.store_id !== product.store_id;
    if (answer === undefined || isOther) return;
    say(null);
    if (answer.table_version !== product.table_version) await takeUp();
    showAnswer(answer);
  } catch (failure) {
    say(failure.message);
  }
}

/** A new table was published while the page was open: its facts, with the sliders as they are. */
async function takeUp() {
  product = await getJson("product", key(product));
  showHistory(product, (await getJson("history", key(product))).history);
}

function showAnswer(answer) {
  showTiles(answer);
  showReasons(answer);
  showTried(answer);
  showCurves(answer);
}

function tile(title, value, ...notes) {
  return h("div", { class: "tile" }, h("span", {}, title), h("b", {}, value), h("span", {}, ...notes));
}

function showTiles(answer) {
  const price = (value, options) => money(value, answer.currency, options);
  const { current, recommended } = answer;
  const change = current ? recommended.price / current.price - 1 : null;
  const short = (value) => price(value, { short: Math.abs(value) >= 1000 });
  const band = (name) => `${short(recommended[`${name}_low_90`])} to ${short(recommended[`${name}_high_90`])}`;
  const days = `over ${answer.horizon_days} days`;
  find("#tiles").replaceChildren(
    tile("Recommended", price(recommended.price), change === null ? "" : `${percent(change, 1, { signed: true })} against ${price(current.price)}`),
    tile("Allowed", `${price(answer.price_floor)} to ${price(answer.price_ceiling)}`, answer.rules_tried ? "under the rules tried" : "floor and ceiling"),
    tile("Units", number(recommended.units), `${days}, 90 %: ${number(recommended.units_low_90)} to ${number(recommended.units_high_90)}`),
    tile("Revenue", short(recommended.revenue), `90 %: ${band("revenue")}`),
    tile("Profit", recommended.profit === null ? UNKNOWN : short(recommended.profit), recommended.profit === null ? "no unit cost is known" : `90 %: ${band("profit")}`),
    tile("Confidence", percent(answer.confidence), elasticity()),
  );
}

function elasticity() {
  if (product.elasticity_mean === null) return "no demand curve";
  return `elasticity ${number(product.elasticity_mean, 2)} ± ${number(product.elasticity_sd, 2)}`;
}

function showReasons(answer) {
  find("#reasons").replaceChildren(...answer.reasons.map((reason) => h("li", {}, reason)));
  const badge = (text, kind) => h("span", { class: `badge ${kind}` }, text);
  find("#badges").replaceChildren(
    ...[
      answer.frozen ? badge("frozen: the current price is served", "warn") : null,
      answer.held ? badge("not approved: the price that stands is served", "warn") : null,
      answer.rules_tried ? badge("what if: not the served rules", "warn") : null,
    ].filter(Boolean),
  );
}

function showTried({ tried, tried_is_allowed: allowed, recommended, currency, support_low, support_high }) {
  const line = find("#tried");
  line.hidden = tried === null;
  if (tried === null) return;
  const price = (value, options) => money(value, currency, options);
  const seen = support_low === null || (tried.price >= support_low && tried.price <= support_high);
  const gain = tried.profit === null ? null : tried.profit - recommended.profit;
  line.replaceChildren(
    h("b", {}, `At ${price(tried.price)}: `),
    `${number(tried.units)} units, revenue ${price(tried.revenue)}`,
    gain === null ? "" : `, profit ${price(tried.profit)} (${price(gain, { signed: true })} against the recommended price)`,
    ". ",
    h("span", { class: allowed ? "good" : "bad" }, allowed ? "Inside the guard rails. " : "Outside the guard rails: it would not be served. "),
    seen ? "" : h("span", { class: "warn" }, `Outside the prices ever seen, ${price(support_low)} to ${price(support_high)}: an extrapolation.`),
  );
}

function showCurves(answer) {
  const { points, currency } = answer;
  const price = (value) => money(value, currency);
  const marks = [
    answer.current && { x: answer.current.price, label: `current ${price(answer.current.price)}`, color: "--muted", dashed: true },
    { x: answer.recommended.price, label: `recommended ${price(answer.recommended.price)}`, color: "--accent" },
    answer.tried && { x: answer.tried.price, label: `looked at ${price(answer.tried.price)}`, color: "--chart-3" },
  ].filter(Boolean);
  const x = { label: "Price", values: points.map((point) => point.price), format: price, short: plain };
  const first = x.values[0];
  const last = x.values[x.values.length - 1];
  const shade = [{ from: first, to: answer.price_floor }, { from: answer.price_ceiling, to: last }];
  const draw = (name, label, color, y) =>
    charts[name].draw({
      label: `${label} by price over ${answer.horizon_days} days`,
      x,
      y,
      series: [{
        label: `${label}, 90 % band`,
        color,
        values: points.map((point) => point[name]),
        low: points.map((point) => point[`${name}_low_90`]),
        high: points.map((point) => point[`${name}_high_90`]),
      }],
      marks,
      shade,
      height: 250,
      sync: "curve",
      currency,
    });
  draw("units", "Units", "--chart-1", { format: (value) => number(value), short: compact, fromZero: true });
  const whole = (value) => money(value, currency, { short: Math.abs(value) >= 1000 });
  const sum = { format: whole, short: compact };
  draw("revenue", "Revenue", "--chart-2", sum);
  const known = points.every((point) => point.profit !== null);
  find("#no-cost").hidden = known;
  find("#profit-chart").hidden = !known;
  if (known) draw("profit", "Profit", "--chart-4", sum);
  find("#curve-note").textContent =
    `Over ${answer.horizon_days} days, in this context. Shaded: outside the guard rails.` +
    (answer.support_low === null ? "" : ` Prices ever seen: ${price(answer.support_low)} to ${price(answer.support_high)}; beyond them the curve is an extrapolation.`) +
    (sliders.current_stock.value === null ? "" : " This is demand: the stock raises the price, and does not cut the curve off.");
}

function showHistory(found, history) {
  const none = history === null || history.date.length === 0;
  find("#no-history").hidden = !none;
  find("#history").hidden = none;
  if (none) return;
  const seconds = history.date.map((text) => Date.parse(text) / 1000);
  const x = { label: "Day", values: seconds, time: true, format: day };
  const shade = promotions(seconds, history.promo);
  const price = (value) => money(value, found.currency);
  const shared = { x, shade, height: 190, sync: "history", currency: found.currency };
  const legend = shade.length ? ", shaded: promotions" : "";
  charts.sales.draw({ ...shared, label: "Units sold by day", y: { format: (value) => number(value, 1), short: compact, fromZero: true },
    series: [{ label: `Units${legend}`, values: history.units, color: "--chart-1", bars: true }] });
  const rival = history.rival_price.some((value) => value !== null);
  charts.price.draw({ ...shared, label: "Price by day", y: { format: price, short: plain },
    series: [
      { label: "Price paid", values: history.price, color: "--chart-2", stepped: true },
      ...(rival ? [{ label: "Rivals, mean", values: history.rival_price, color: "--chart-3", stepped: true, dashed: true }] : []),
    ] });
}

/** Runs of promoted periods as stretches of the time axis. */
function promotions(seconds, promo) {
  const found = [];
  const length = seconds.length > 1 ? seconds[1] - seconds[0] : 86400;
  seconds.forEach((from, i) => {
    if (!(promo[i] > 0)) return;
    const last = found[found.length - 1];
    if (last && last.to >= from) last.to = from + length;
    else found.push({ from, to: from + length });
  });
  return found;
}

/** Asks for a quote that counts, and offers its explanation. */
async function askTheService() {
  const button = find("#ask");
  button.disabled = true;
  try {
    const quote = await postJson("get_price", context());
    const line = find("#served");
    line.hidden = false;
    line.replaceChildren(
      h("b", {}, `The service answered ${money(quote.recommended_price, quote.currency)} `),
      `from its rung “${quote.source}”, quote `,
      h("code", {}, quote.quote_id),
      ". ",
      h("button", { type: "button", class: "link", onclick: () => showExplanation(quote.quote_id) }, "Explain it"),
    );
    line.querySelector("button").focus();
  } catch (failure) {
    say(failure.message);
  } finally {
    button.disabled = false;
  }
}

async function start() {
  startShell();
  buildControls();
  combobox(find("#product"), find("#product-list"), {
    search: async (text) => {
      try {
        return await productsLike(text);
      } catch (failure) {
        say(failure.message);
        return [];
      }
    },
    choose: (productId) => open(productId),
  });
  find("#variant").addEventListener("change", (event) => open(product.product_id, product.others[event.target.value]));
  try {
    const asked = addressQuery();
    await open(asked.product_id ?? (await productsLike(""))[0], asked);
  } catch (failure) {
    say(failure.message);
  }
}

start();
