"""The evaluation report as one self-contained HTML page: no script, nothing from outside.

Belongs here: layout and words. The numbers are ``core.evaluation.report``'s, the charts
``core.evaluation.report_charts``'. Every text that comes from data is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pricing_assets.core.evaluation.report_accuracy import accuracy_section
from pricing_assets.core.evaluation.report_charts import bars
from pricing_assets.core.evaluation.report_decision import (
    frontier_section,
    gate_section,
    goals_section,
    off_policy_section,
)
from pricing_assets.core.evaluation.report_drivers import drivers_section
from pricing_assets.core.evaluation.report_parts import (
    cell,
    count_text,
    data_table,
    money_text,
    number_text,
    percent_text,
    row_label,
    section,
    signed,
    spaced,
    tile_list,
)
from pricing_assets.core.evaluation.report_robustness import (
    elasticity_section,
    methods_section,
    sensitivity_section,
)

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
p{margin:0 0 12px}.tiles+p,.tiles+.wide{margin-top:14px}.soft{color:var(--soft)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;
padding:20px;margin:20px 0}
.claim{background:var(--note);border-left:4px solid var(--accent);padding:12px 16px;
border-radius:0 8px 8px 0;margin:20px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(200px,1fr));gap:12px;margin:0}
.tiles div{overflow-wrap:anywhere;border:1px solid var(--line);border-radius:8px;padding:10px 14px}
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
td.least{font-weight:700}svg .grid{stroke:var(--line)}svg .line{fill:none;stroke-width:2}
.c0{--c:#2563a8}.c1{--c:#c2560c}.c2{--c:#1d7a4c}.c3{--c:#8a3fa0}.c4{--c:#a8701a}.c5{--c:#b3402f}
.c6{--c:#3d7c86}.c7{--c:#6b6f78}svg .line{stroke:var(--c)}svg .dot{fill:var(--c)}
@media (prefers-color-scheme:dark){.c0{--c:#6ea8e6}.c1{--c:#f0a067}.c2{--c:#5cc28e}.c3{--c:#cf93e0}
.c4{--c:#e0b863}.c5{--c:#e58a7a}.c6{--c:#79c4cf}.c7{--c:#a5abb6}}
svg.plot{overflow:visible}
@media (max-width:640px){section{overflow-x:auto}svg{min-width:520px}}
@media print{section{break-inside:avoid;border:0;padding:0}body{background:#fff}}
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
    currency = numbers["settings"]["currency"]
    sections = [
        _headline(numbers),
        _truth(numbers["truth"], currency),
        _changes(numbers["prices"]),
        drivers_section(numbers.get("drivers", ())),
        '<div class="two">' + _guard_rails(numbers) + _held(numbers) + "</div>",
        goals_section(numbers["goals"]),
        frontier_section(numbers["frontier"], currency),
        off_policy_section(numbers["off_policy"]),
        gate_section(numbers["gates"]),
        accuracy_section(numbers),
        elasticity_section(numbers["elasticity"]),
        methods_section(numbers["methods"]),
        sensitivity_section(numbers["sensitivity"]),
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
        ("prices", count_text(prices["rows"])),
        ("raised", count_text(prices["raised"])),
        ("cut", count_text(prices["cut"])),
        ("held", count_text(prices["held"])),
        ("mean change, where changed", percent_text(prices["mean_change_of_changed"], signed=True)),
        ("mean chance of less, where changed", percent_text(prices["mean_p_worse_of_changed"])),
    ]
    if prices["with_profit"]:
        days = numbers["settings"]["horizon_days"]
        tiles += [
            (f"expected profit, {days} days", money_text(prices["expected_profit"], currency)),
            (
                "the same at current prices",
                money_text(prices["expected_profit_at_current"], currency),
            ),
        ]
    return section("The price table", tile_list(tiles))


def _truth(truth: Mapping[str, Any] | None, currency: str) -> str:
    if truth is None:
        return ""
    tiles = [
        ("share of the oracle's uplift", percent_text(truth["share_of_oracle_uplift"])),
        ("regret, share of the oracle's profit", percent_text(truth["regret"], digits=1)),
        ("true profit at current prices", money_text(truth["profit_at_current"], currency)),
        ("at the recommended prices", money_text(truth["profit_at_recommended"], currency)),
        ("at the oracle's prices", money_text(truth["profit_at_oracle"], currency)),
        ("elasticity error, root mean square", number_text(truth["elasticity_rmse"], 2)),
        ("elasticity bias", number_text(truth["elasticity_bias"], 2)),
        ("truths inside the 90 % interval", percent_text(truth["coverage_90"])),
    ]
    intro = (
        '<p class="soft">The oracle knows true demand and obeys the same guard rails and price '
        "endings. Profits are true expectations over the horizon.</p>"
    )
    return section("Against the simulated truth", intro + tile_list(tiles))


def _changes(prices: Mapping[str, Any]) -> str:
    rows = [
        [
            cell(row_label(row), "text id"),
            cell(number_text(row["current_price"], 2)),
            cell(number_text(row["recommended_price"], 2)),
            signed(row["change"], percent_text(row["change"], signed=True, digits=1)),
            signed(row["uplift"], number_text(row["uplift"], 0)),
            cell(
                f"{number_text(row['profit_uplift_low_90'], 0)} to "
                f"{number_text(row['profit_uplift_high_90'], 0)}"
            ),
            cell(percent_text(row["p_worse"])),
            cell(str(row["reasons"]), "text why"),
        ]
        for row in prices["largest_changes"]
    ]
    heads = ["product", "current", "new", "change", "expected gain", "90 % interval", "P(worse)"]
    intro = "" if rows else "<p>No price is changed.</p>"
    table = data_table([*heads, "why"], rows, text=(0, 7)) if rows else ""
    return section("Ten changes that matter most", intro + table)


def _guard_rails(numbers: Mapping[str, Any]) -> str:
    rows = [(spaced(code), float(count)) for code, count in numbers["guard_rails"].items()]
    body = bars(rows, label="Prices that each guard rail shaped", form=count_text)
    return section("Guard rails that shaped prices", body if rows else "<p>None.</p>")


def _held(numbers: Mapping[str, Any]) -> str:
    rows = [
        [cell(REASON_TEXT.get(code, spaced(code)), "text"), cell(count_text(count))]
        for code, count in numbers["held"].items()
    ]
    body = data_table(["why", "products"], rows, text=(0,)) if rows else "<p>None.</p>"
    return section("Prices held, and why", body)


def _quarantine(rows: Sequence[Mapping[str, Any]]) -> str:
    cells = [
        [
            cell(str(row["table"]), "text"),
            cell(str(row["reason"]), "text"),
            cell(count_text(row["count"])),
        ]
        for row in rows
    ]
    body = data_table(["table", "reason", "rows"], cells, text=(0, 1))
    return section("Rows set aside", body if rows else "<p>No raw row was set aside.</p>")


def _settings(settings: Mapping[str, Any]) -> str:
    cells = [
        [cell(spaced(name), "text"), cell(str(value), "text")] for name, value in settings.items()
    ]
    return section("Settings", data_table(["setting", "value"], cells, text=(0, 1)))
