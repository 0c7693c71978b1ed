"""The evaluation report as one self-contained HTML page: no script, nothing from outside.

Belongs here: layout and words. The numbers are ``core.evaluation.report``'s, the charts
``core.evaluation.report_charts``'. Every text that comes from data is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pricing_assets.core.evaluation.report_charts import bars, forest, histogram
from pricing_assets.core.evaluation.report_drivers import drivers_section

STYLE = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dee5;--page:#f5f6f8;
--card:#fff;--accent:#2563a8;--good:#1d7a4c;--bad:#b3402f;--note:#eef3fa}
@media (prefers-color-scheme:dark){:root{--ink:#e6e9ee;--soft:#9aa5b3;--line:#323a46;
--page:#12161c;--card:#1a2028;--accent:#6ea8e6;--good:#5cc28e;--bad:#e58a7a;--note:#1d2836}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
main{max-width:1180px;margin:0 auto;padding:32px 20px 64px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:0 0 12px}
p{margin:0 0 12px}.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:20px;margin:20px 0}
.claim{background:var(--note);border-left:4px solid var(--accent);padding:12px 16px;
border-radius:0 8px 8px 0;margin:20px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:0}
.tiles div{border:1px solid var(--line);border-radius:8px;padding:10px 14px}
.tiles dt{color:var(--soft);font-size:13px}.tiles dd{margin:2px 0 0;font-size:20px;font-weight:600;
font-variant-numeric:tabular-nums}
.two{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:20px}
.two section{margin:0}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:14px}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid var(--line);
vertical-align:top;white-space:nowrap}
th{color:var(--soft);font-weight:600}tr:last-child td{border-bottom:0}
th.text,td.text{text-align:left}
td.text{max-width:380px;white-space:normal;overflow-wrap:anywhere}
td.id{min-width:140px}td.why{min-width:420px;max-width:none;color:var(--soft);font-size:13px}
tr.best td{font-weight:700}
.up{color:var(--good)}.down{color:var(--bad)}
svg{width:100%;height:auto;display:block;max-width:760px;margin-bottom:16px}
h3{font-size:14px;margin:20px 0 8px}
svg text{fill:var(--ink);font-size:12px}svg .tick{fill:var(--soft)}svg .name{fill:var(--soft)}
svg .bar{fill:var(--accent)}svg .span{stroke:var(--soft);stroke-width:1.5}
svg .gain{fill:var(--good)}svg .loss{fill:var(--bad)}
svg .point{fill:var(--accent)}svg .mark{stroke:var(--bad);stroke-dasharray:4 3}
"""

REASON_TEXT = {
    "hold_best": "no other allowed price is expected to bring more",
    "hold_risk": "the better prices have too high a chance of less",
    "hold_small_gain": "the gain is below the least gain set",
    "missing_cost": "the unit cost is unknown",
    "no_demand_curve": "there is no valid demand curve",
    "invalid_current_price": "there is no valid current price",
    "invalid_cost": "the unit cost is invalid",
    "invalid_map": "the minimum advertised price is invalid",
}


def evaluation_html(numbers: Mapping[str, Any], *, title: str, subtitle: str = "") -> str:
    """The whole page.

    Args:
        numbers: from ``report.evaluation_numbers`` (or the same read back from JSON).
        title: heading, for example the run's name.
        subtitle: one line under it, for example versions and the time of the run.
    """
    sections = [
        _headline(numbers),
        _truth(numbers["truth"], numbers["settings"]["currency"]),
        _changes(numbers["prices"]),
        drivers_section(numbers.get("drivers", ())),
        _accuracy(numbers["accuracy"]),
        _elasticity(numbers["elasticity"]),
        '<div class="two">' + _guard_rails(numbers) + _held(numbers) + "</div>",
        _quarantine(numbers["quarantine"]),
        _settings(numbers["settings"]),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f'<h1>{escape(title)}</h1><p class="soft">{escape(subtitle)}</p>'
        f'<p class="claim">{escape(numbers["claim"])}</p>' + "".join(sections) + "</main></body>"
        "</html>"
    )


def _headline(numbers: Mapping[str, Any]) -> str:
    prices, currency = numbers["prices"], numbers["settings"]["currency"]
    tiles = [
        ("prices", _count(prices["rows"])),
        ("raised", _count(prices["raised"])),
        ("cut", _count(prices["cut"])),
        ("held", _count(prices["held"])),
        ("mean change, where changed", _percent(prices["mean_change_of_changed"], signed=True)),
        ("mean chance of less, where changed", _percent(prices["mean_p_worse_of_changed"])),
    ]
    if prices["with_profit"]:
        days = numbers["settings"]["horizon_days"]
        tiles += [
            (f"expected profit, {days} days", _money(prices["expected_profit"], currency)),
            ("the same at current prices", _money(prices["expected_profit_at_current"], currency)),
        ]
    return _section("The price table", _tiles(tiles))


def _truth(truth: Mapping[str, Any] | None, currency: str) -> str:
    if truth is None:
        return ""
    tiles = [
        ("share of the oracle's uplift", _percent(truth["share_of_oracle_uplift"])),
        ("regret, share of the oracle's profit", _percent(truth["regret"], digits=1)),
        ("true profit at current prices", _money(truth["profit_at_current"], currency)),
        ("at the recommended prices", _money(truth["profit_at_recommended"], currency)),
        ("at the oracle's prices", _money(truth["profit_at_oracle"], currency)),
        ("elasticity error, root mean square", _number(truth["elasticity_rmse"], 2)),
        ("elasticity bias", _number(truth["elasticity_bias"], 2)),
        ("truths inside the 90 % interval", _percent(truth["coverage_90"])),
    ]
    words = (
        '<p class="soft">The oracle knows true demand and obeys the same guard rails and price '
        "endings. Profits are true expectations over the horizon.</p>"
    )
    return _section("Against the simulated truth", words + _tiles(tiles))


def _changes(prices: Mapping[str, Any]) -> str:
    rows = [
        [
            _cell(_label(row), "text id"),
            _cell(_number(row["current_price"], 2)),
            _cell(_number(row["recommended_price"], 2)),
            _signed(row["change"], _percent(row["change"], signed=True, digits=1)),
            _signed(row["uplift"], _number(row["uplift"], 0)),
            _cell(
                f"{_number(row['profit_uplift_low_90'], 0)} to "
                f"{_number(row['profit_uplift_high_90'], 0)}"
            ),
            _cell(_percent(row["p_worse"])),
            _cell(str(row["reasons"]), "text why"),
        ]
        for row in prices["largest_changes"]
    ]
    heads = ["product", "current", "new", "change", "expected gain", "90 % interval", "P(worse)"]
    words = "" if rows else "<p>No price is changed.</p>"
    table = _table([*heads, "why"], rows, text=(0, 7)) if rows else ""
    return _section("Ten changes that matter most", words + table)


def _accuracy(accuracy: Mapping[str, Any]) -> str:
    models = accuracy["models"]
    if not models:
        return _section("Forecast accuracy", "<p>There was too little history to test on.</p>")
    metrics = [name for name in models[0] if name != "model"]
    rows = [
        [
            _cell(str(model["model"]), "text id"),
            *(_cell(_number(model[name], 3)) for name in metrics),
        ]
        for model in models
    ]
    chart = bars(
        [(str(model["model"]), float(model["wape"] or 0)) for model in models],
        label="WAPE of each model on periods it had not seen",
        form=lambda value: f"{value:.3f}",
    )
    words = (
        f'<p class="soft">Walk-forward over {len(accuracy["origins"])} origin(s): each model sees '
        "only what was known then. WAPE is the sum of absolute errors over the sum of sales.</p>"
    )
    table = _table(["model", *metrics], rows, text=(0,), best=0)
    return _section("Forecast accuracy", words + chart + table)


def _elasticity(elasticity: Mapping[str, Any]) -> str:
    if not elasticity["known"]:
        return _section("Own-price elasticity", "<p>No elasticity could be estimated.</p>")
    tiles = [
        ("products with an estimate", _count(elasticity["known"])),
        ("median", _number(elasticity["median"], 2)),
        ("90 % of products", f"{elasticity['low']:.2f} to {elasticity['high']:.2f}"),
        ("median posterior deviation", _number(elasticity["median_sd"], 2)),
        ("inelastic (above −1)", _percent(elasticity["inelastic_share"])),
        *((f"by {name}", _count(count)) for name, count in elasticity["methods"].items()),
    ]
    charts = (
        '<h3 class="soft">All estimates</h3>'
        + histogram(elasticity["histogram"], label="Histogram of own-price elasticities")
        + '<h3 class="soft">Products evenly spaced through the range, with 90 % intervals</h3>'
        + forest(elasticity["forest"], label="Own-price elasticities with 90 % intervals")
    )
    return _section("Own-price elasticity", _tiles(tiles) + charts)


def _guard_rails(numbers: Mapping[str, Any]) -> str:
    rows = [(_words(code), float(count)) for code, count in numbers["guard_rails"].items()]
    body = bars(rows, label="Prices that each guard rail shaped", form=_count)
    return _section("Guard rails that shaped prices", body if rows else "<p>None.</p>")


def _held(numbers: Mapping[str, Any]) -> str:
    rows = [
        [_cell(REASON_TEXT.get(code, _words(code)), "text"), _cell(_count(count))]
        for code, count in numbers["held"].items()
    ]
    body = _table(["why", "products"], rows, text=(0,)) if rows else "<p>None.</p>"
    return _section("Prices held, and why", body)


def _quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            _cell(str(row["table"]), "text"),
            _cell(str(row["reason"]), "text"),
            _cell(_count(row["count"])),
        ]
        for row in rows
    ]
    body = _table(["table", "reason", "rows"], cells, text=(0, 1))
    return _section("Rows set aside", body if rows else "<p>No raw row was set aside.</p>")


def _settings(settings: Mapping[str, Any]) -> str:
    cells = [
        [_cell(_words(name), "text"), _cell(str(value), "text")] for name, value in settings.items()
    ]
    return _section("Settings", _table(["setting", "value"], cells, text=(0, 1)))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{body}</section>"


def _tiles(tiles: Sequence[tuple[str, str]]) -> str:
    inner = "".join(
        f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in tiles
    )
    return f'<dl class="tiles">{inner}</dl>'


def _table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: tuple[int, ...],
    best: int | None = None,
) -> str:
    """A table from ready cells; ``text`` names the columns set left, ``best`` a bold row."""
    kinds = [' class="text"' if place in text else "" for place in range(len(heads))]
    head = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>'
        for name, kind in zip(heads, kinds, strict=True)
    )
    opens = ['<tr class="best">' if place == best else "<tr>" for place in range(len(rows))]
    body = "".join(f"{start}{''.join(row)}</tr>" for start, row in zip(opens, rows, strict=True))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>'


def _cell(value: str, kind: str = "") -> str:
    return f'<td class="{kind}">{escape(value)}</td>' if kind else f"<td>{escape(value)}</td>"


def _signed(value: float | None, text: str) -> str:
    return _cell(text, "" if not value else "up" if value > 0 else "down")


def _label(row: Mapping[str, Any]) -> str:
    return str(row["product_id"]) + (f" · {row['store_id']}" if row["store_id"] else "")


def _words(code: str) -> str:
    return code.replace("_", " ")


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _percent(value: float | None, *, signed: bool = False, digits: int = 0) -> str:
    if value is None:
        return "–"
    return f"{value:+.{digits}%}" if signed else f"{value:.{digits}%}"


def _money(value: float | None, currency: str) -> str:
    return "–" if value is None else f"{value:,.0f} {currency}"
