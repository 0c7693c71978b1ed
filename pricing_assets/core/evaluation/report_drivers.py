"""The report's part on what drives the price changes that matter most.

Belongs here: choosing the records, and drawing them. The numbers are ``price_drivers``' and those
of the forecast's explanation.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd

from pricing_assets.core.evaluation.report_charts import diverging

KEY = ["product_id", "store_id"]
PARTS = {
    "gain_from_price": "price on each unit sold",
    "gain_from_units": "units gained or lost",
    "gain_from_substitutes": "similar products",
    "gain": "together",
}
"""Part of the gain -> its name in the chart."""
OBJECTIVE_WORDS = {
    "profit": "profit",
    "revenue": "revenue",
    "market_share": "units",
    "weighted": "weighted value",
    "sell_through": "revenue with salvage",
}


def largest_drivers(
    changes: Sequence[Mapping[Hashable, Any]],
    *,
    price_drivers: pd.DataFrame | None,
    forecast_drivers: pd.DataFrame | None,
) -> list[dict[Hashable, Any]]:
    """Drivers of the products in ``changes``, in its order; none without ``price_drivers``."""
    if price_drivers is None or not changes:
        return []
    shown = [*KEY, "objective", *PARTS, "rail_cost", "sentence"]
    rows = pd.DataFrame(changes)[KEY].merge(price_drivers[shown], on=KEY, how="left")
    if forecast_drivers is not None:
        told = forecast_drivers[[*KEY, "sentence"]].rename(columns={"sentence": "forecast"})
        rows = rows.merge(told, on=KEY, how="left")
        rows["forecast"] = rows["forecast"].fillna("")
    return rows.to_dict("records")


def drivers_section(drivers: Sequence[Mapping[str, Any]]) -> str:
    """One figure and two sentences a product; nothing where there is no product."""
    if not drivers:
        return ""
    words = (
        '<p class="soft">What the change is expected to add to the objective over the horizon, '
        "taken apart: the new price on each unit that is sold, the units that are gained or lost "
        "at the current price's worth, and what similar products gain.</p>"
    )
    figures = "".join(_figure(row) for row in drivers)
    return f"<section><h2>What drives them</h2>{words}{figures}</section>"


def _figure(row: Mapping[str, Any]) -> str:
    name = str(row["product_id"]) + (f" · {row['store_id']}" if row["store_id"] else "")
    values = [(text, row[part]) for part, text in PARTS.items() if row[part] is not None]
    label = f"Parts of the gain in {OBJECTIVE_WORDS.get(row['objective'], 'the objective')}: {name}"
    chart = diverging(values, label=label, form=lambda value: f"{value:+,.0f}") if values else ""
    forecast = row.get("forecast")
    extra = f'<p class="soft">Forecast: {escape(forecast)}.</p>' if forecast else ""
    return f"<h3>{escape(name)}</h3><p>{escape(str(row['sentence']))}</p>{extra}{chart}"
