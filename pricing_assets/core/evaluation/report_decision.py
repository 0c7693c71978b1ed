"""The report's parts on the decision: goals, frontier, value from logged prices, and the gate.

Belongs here: drawing. The numbers are the price engine's, off-policy evaluation's and the gate's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pricing_assets.core.evaluation.report_parts import (
    cell,
    data_table,
    number_text,
    percent_text,
    section,
    spaced,
)
from pricing_assets.core.evaluation.report_plots import Axis, lines

Rows = Sequence[Mapping[str, Any]]

_SHARES = frozenset({"min_margin_rate", "max_price_index"})
_MAX_OFF_POLICY_COLUMNS = 10


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
    """Values of the policies from logged prices, as they were estimated; "" without rows."""
    if not rows:
        return ""
    columns = [str(name) for name in rows[0]][:_MAX_OFF_POLICY_COLUMNS]
    texts = tuple(
        place for place, name in enumerate(columns) if isinstance(rows[0][name], str | bool)
    )
    cells = [
        [
            cell(_any(row[name]), "text" if place in texts else "")
            for place, name in enumerate(columns)
        ]
        for row in rows
    ]
    intro = (
        '<p class="soft">What the new prices would have brought, from prices that were really '
        "charged. No value is given where the log holds too few prices like the new ones.</p>"
    )
    table = data_table([spaced(name) for name in columns], cells, text=texts)
    return section("Value from logged prices", intro + table)


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
            cell(f"{gate['bound']} {_any(gate['threshold'])}"),
            cell("holds" if gate["passed"] else "fails", "up" if gate["passed"] else "down"),
        ]
        for gate in gates
    ]
    heads = ["condition", "value", "must be", ""]
    body = f"<p>{verdict}</p>" + data_table(heads, cells, text=(0,))
    return section("The promotion gate", body)


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
