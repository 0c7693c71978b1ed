"""Goals of a whole catalogue as sums over products, and how far prices meet them.

Belongs here: what each goal of the settings means in numbers. Finding multipliers is
``core.lagrangian``; what a unit adds to a goal is ``core.unit_worth``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.expected_sales import expected_sales, scaled
from pricing_assets.core.portfolio_parameters import GOALS
from pricing_assets.core.price_inputs import SearchInputs
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import UnitWorth, goal_worth

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal: the sum over products of ``worth`` times sales is at least ``bound``."""

    name: str
    worth: UnitWorth
    bound: float


@dataclass(frozen=True, slots=True)
class CatalogueTotals:
    """What a catalogue brings over the horizon at given prices.

    Attributes:
        revenue, profit: currency units; profit over products with a known cost.
        units: sold.
        margin_rate: profit over the revenue of products with a known cost; NaN without any.
        price_index: own over rivals' prices weighted by units; NaN without rivals' prices.
    """

    revenue: float
    profit: float
    units: float
    margin_rate: float
    price_index: float

    def of(self, goal: str, *, highest_profit: float) -> float:
        """The total that a goal is about, in the goal's own unit."""
        return {
            "min_revenue": self.revenue,
            "min_margin_rate": self.margin_rate,
            "min_units": self.units,
            "max_price_index": self.price_index,
            "max_profit_given_up": highest_profit - self.profit,
        }[goal]


def goals_of(
    inputs: SearchInputs, *, settings: PricingSettings, highest_profit: float
) -> tuple[Goal, ...]:
    """The goals that are set, in the order in which they are kept.

    Args:
        inputs: n products.
        settings: the goals' levels.
        highest_profit: of the catalogue, against which the budget counts, currency units.
    """
    bounds = {
        "min_revenue": settings.portfolio.min_revenue,
        "min_margin_rate": 0.0,
        "min_units": settings.portfolio.min_units,
        "max_price_index": 0.0,
        "max_profit_given_up": highest_profit - (settings.portfolio.max_profit_given_up or 0.0),
    }
    rival = rival_prices(inputs)
    return tuple(
        Goal(
            name=name,
            worth=goal_worth(
                name, unit_cost=inputs.facts.unit_cost, rival_price=rival, settings=settings
            ),
            bound=float(bounds[name] or 0.0),
        )
        for name in GOALS
        if getattr(settings.portfolio, name) is not None
    )


def rival_prices(inputs: SearchInputs) -> Floats:
    """(n,) rivals' prices, NaN unknown."""
    prices: Floats = inputs.frame["reference_rival_price"].to_numpy(np.float64, na_value=np.nan)
    return prices


def sales_at(inputs: SearchInputs, price: Floats) -> Floats:
    """Units that each product sells at everyone's prices (n,); 0 where no curve says."""
    ratio = np.log(price / inputs.curves.reference_price)
    curves = scaled(inputs.curves, inputs.facts.substitutes.demand_factor(ratio))
    sales = expected_sales(curves, price=price[:, None], available=inputs.facts.available)[:, 0]
    return np.where(inputs.known, sales, 0.0)


def worth_of(worth: UnitWorth, *, price: Floats, sales: Floats) -> float:
    """Sum of ``worth`` times ``sales``; products of unknown worth do not count."""
    return float(np.nansum(worth.at(price) * sales))


def catalogue_totals(inputs: SearchInputs, price: Floats) -> CatalogueTotals:
    """What the catalogue brings at the prices (n,), currency units."""
    sales, cost, rival = sales_at(inputs, price), inputs.facts.unit_cost, rival_prices(inputs)
    revenue, costed = price * sales, np.isfinite(cost)
    profit = float(((price - cost) * sales)[costed].sum())
    counted = np.isfinite(rival)
    return CatalogueTotals(
        revenue=float(revenue.sum()),
        profit=profit,
        units=float(sales.sum()),
        margin_rate=_ratio(profit, float(revenue[costed].sum())),
        price_index=_ratio(float(revenue[counted].sum()), float((rival * sales)[counted].sum())),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else float("nan")
