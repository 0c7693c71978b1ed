"""The report's parts on the decision: goals, frontier, value from logged prices, and the gate.

Belongs here: drawing. The numbers are the price engine's, off-policy evaluation's and the gate's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pricing_assets.core.evaluation.report_parts import (
    cell,
    data_table,
    number_text,
    percent_text,
    section,
    spaced,
    tile_list,
)
from pricing_assets.core.evaluation.report_plots import Axis, lines

Rows = Sequence[Mapping[str, Any]]

_SHARES = frozenset({"min_margin_rate", "max_price_index"})


def goals_section(rows: Rows) -> str:
    """Goals of the whole catalogue, asked for and attained; "" where none is set."""
    wanted = [row for row in rows if row["wanted"] is not None]
    if not wanted:
        return ""
    cells = [
        [
            cell(spaced(row["goal"]), "text id"),
            *(cell(_goal(row["goal"], row[name])) for name in ("wanted", "attained", "at_current")),
            cell(number_text(row["multiplier"], 4)),
            cell("met" if row["met"] else f"yields to {_goal(row['goal'], row['relaxed_to'])}"),
            cell(spaced(str(row["clashes_with"] or "")), "text"),
        ]
        for row in wanted
    ]
    heads = ["goal", "wanted", "attained", "at current prices", "multiplier", "", "clashes with"]
    return section("Goals of the catalogue", data_table(heads, cells, text=(0, 6)))


def frontier_section(rows: Rows, currency: str) -> str:
    """Profit against revenue under all guard rails; "" where profit is not known."""
    known = [row for row in rows if row["profit"] is not None and row["revenue"] is not None]
    frontier = [row for row in known if row["point"] == "frontier"]
    if not frontier:
        return ""
    series = {
        "frontier": _points(frontier),
        "chosen prices": _points([row for row in known if row["point"] == "chosen"]),
        "current prices": _points([row for row in known if row["point"] == "current"]),
    }
    whole = "{:,.0f}".format
    chart = lines(
        {name: points for name, points in series.items() if points},
        x=Axis(f"expected revenue, {currency}", form=whole),
        y=Axis(f"expected profit, {currency}", form=whole),
        label="Expected profit against expected revenue over the horizon",
    )
    intro = (
        '<p class="soft">What more revenue would cost in profit, by the model, under the same '
        "guard rails.</p>"
    )
    return section("Profit against revenue", intro + chart)


def off_policy_section(rows: Rows) -> str:
    """The new prices' value by estimator from logged prices, or why none is given."""
    if not rows:
        return ""
    first = rows[0]
    intro = (
        '<p class="soft">What the new prices would have brought a period, from prices that were '
        "really charged and what was sold at them. No value is given where the log holds too few "
        "prices like the new ones.</p>"
    )
    tiles = tile_list(
        [
            ("overlap with the log", percent_text(first["overlap"])),
            ("effective sample size, price spells", number_text(first["effective_sample_size"], 0)),
            ("largest share of all weight", percent_text(first["max_weight_share"])),
        ]
    )
    if first["refused"]:
        why = f"<p>No value is given: {escape(str(first['reason']))}.</p>"
        return section("Value from logged prices", intro + tiles + why)
    return section("Value from logged prices", intro + tiles + _off_policy_table(rows))


def _off_policy_table(rows: Rows) -> str:
    cells = [
        [
            cell(spaced(str(row["estimator"])), "text id"),
            *(cell(number_text(row[name], 1)) for name in ("value", "present_value", "difference")),
            cell(
                f"{number_text(row['difference_low_90'], 1)} to "
                f"{number_text(row['difference_high_90'], 1)}"
            ),
        ]
        for row in rows
    ]
    heads = ["estimator", "new prices", "present prices", "difference", "90 % interval"]
    return data_table(heads, cells, text=(0,))


def gate_section(gates: Rows) -> str:
    """Each gate of promotion with its value and threshold; "" before the gate was asked."""
    if not gates:
        return ""
    failed = [spaced(str(gate["name"])) for gate in gates if not gate["passed"]]
    verdict = (
        f"Closed: {', '.join(failed)}. The present prices stay."
        if failed
        else "Open: every condition holds."
    )
    cells = [
        [
            cell(spaced(str(gate["name"])), "text id"),
            cell(_any(gate["value"])),
            cell(
                "–" if gate["threshold"] is None else f"{gate['bound']} {_any(gate['threshold'])}"
            ),
            cell(_outcome(gate), "text" + ("" if gate["passed"] else " down")),
            cell(str(gate.get("why") or ""), "text why"),
        ]
        for gate in gates
    ]
    heads = ["condition", "value", "must be", "", "what it is of"]
    body = f"<p>{verdict}</p>" + data_table(heads, cells, text=(0, 3, 4))
    return section("The promotion gate", body)


def _outcome(gate: Mapping[str, Any]) -> str:
    if gate["passed"]:
        return "holds" if gate["value"] is not None else "not measured"
    return "fails"


def _points(rows: Rows) -> list[tuple[float, float]]:
    return sorted((float(row["revenue"]), float(row["profit"])) for row in rows)


def _goal(goal: str, value: float | None) -> str:
    if goal in _SHARES:
        return percent_text(value, digits=1)
    return number_text(value, 0)


def _any(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.4g}" if isinstance(value, int | float) else str(value)
