r"""The frontier of profit against revenue: what one costs in the other.

Belongs here: points of the frontier under the same guard rails, risk and substitutes as the price
table. The search is ``core.portfolio.Catalogue``.

Equation. Each weight t of revenue, :math:`(1 - t)\,(p - c) + t\,p = p - (1 - t)\,c`, gives the
prices of one point on the upper hull of what can be reached (weighted sums, Zadeh 1963); the
multiplier :math:`t / (1 - t)` is the profit given up for a currency unit of revenue there.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.portfolio import Catalogue
from pricing_assets.core.portfolio_goals import catalogue_totals
from pricing_assets.core.price_inputs import curves_with_facts, search_inputs
from pricing_assets.core.price_search import RowChooser
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

COLUMNS = ("point", "revenue_weight", "multiplier", "profit", "revenue", "units", "margin_rate")


def price_frontier(
    curve_frame: pd.DataFrame,
    *,
    panel_facts: pd.DataFrame,
    settings: PricingSettings,
    chooser: RowChooser | None = None,
) -> pd.DataFrame:
    """Profit against revenue over the horizon, one row a point.

    The current prices, the prices of the settings' objective, and ``portfolio.frontier_points``
    weights from profit alone to revenue alone. Goals are left out, multipliers are in force where
    the settings hold them.

    Args:
        curve_frame, panel_facts, chooser: as for ``build_price_table``.
        settings: objective, guard rails, risk, and how many points.

    Returns:
        ``COLUMNS``: point (frontier, current, chosen), revenue_weight (NaN off the frontier),
        multiplier (profit given up for a unit of revenue; infinite at weight 1), profit and
        revenue (currency units), units, margin_rate.

    Raises:
        MissingCostError: the objective weighs profit and no product has a unit cost.
    """
    inputs = search_inputs(curves_with_facts(curve_frame, panel_facts), settings=settings)
    catalogue = Catalogue(inputs=inputs, settings=settings, chooser=chooser)
    rows = [
        _row("current", catalogue, inputs.current_price),
        _row("chosen", catalogue, catalogue.prices(inputs.facts.worth)),
    ]
    for weight in np.linspace(0.0, 1.0, settings.portfolio.frontier_points):
        worth = _weighted(inputs.facts.unit_cost, weight=float(weight))
        rows.append(_row("frontier", catalogue, catalogue.prices(worth), weight=float(weight)))
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _weighted(unit_cost: Floats, *, weight: float) -> UnitWorth:
    """Profit and revenue, the latter at ``weight``; products without a cost hold their price."""
    return UnitWorth(slope=np.ones_like(unit_cost), intercept=(1.0 - weight) * unit_cost)


def _row(
    point: str, catalogue: Catalogue, price: Floats, *, weight: float = float("nan")
) -> dict[str, object]:
    totals = catalogue_totals(catalogue.inputs, price)
    multiplier = weight / (1 - weight) if weight < 1 else float("inf")
    return {
        "point": point,
        "revenue_weight": weight,
        "multiplier": float("nan") if np.isnan(weight) else multiplier,
        "profit": totals.profit,
        "revenue": totals.revenue,
        "units": totals.units,
        "margin_rate": totals.margin_rate,
    }
