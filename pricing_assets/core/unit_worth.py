r"""What one sold unit is worth to the objective; every objective is linear in the price.

Belongs here: turning the objective of the settings, and the multipliers of the portfolio's goals,
into numbers for each product. Choosing prices by them is ``core.price_search``; multipliers are
found by ``core.portfolio``.

Equation. A unit of product i sold at price p is worth

.. math:: w_i(p) = a_i\, p - b_i ,

with the slope a and the intercept b of

=============  =====================================  =======================================
objective      slope                                  intercept
=============  =====================================  =======================================
profit         1                                      unit cost c
revenue        1                                      0
market_share   0                                      -1 (a unit counts one)
weighted       w_profit + w_revenue                   w_profit c - w_units
sell_through   1                                      salvage value s of a unit left over
=============  =====================================  =======================================

Under ``sell_through`` the cost of the stock A is sunk: :math:`p\,S + s\,(A - S) = (p - s)\,S + sA`
for sales S, and sA does not depend on the price (Gallego and van Ryzin 1994, section 5).

A goal j of the whole catalogue, :math:`\sum_i (a_{ji} p_i - b_{ji}) S_i \ge B_j`, adds
:math:`\lambda_j (a_{ji} p - b_{ji})` at its multiplier :math:`\lambda_j` (Everett 1963), so that
any product can be priced alone by the goals of all; with r the rivals' price,

===================  ==================  ==============================
goal                 slope               intercept
===================  ==================  ==============================
min_revenue          1                   0
min_margin_rate m    1 - m               c
min_units            0                   -1
max_price_index I    -1                  -I r
max_profit_given_up  1                   c
===================  ==================  ==============================

and nothing where c or r is needed and unknown.
NumPy only: the service imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.portfolio_parameters import GOALS
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class UnitWorth:
    """Worth of one sold unit of n products: ``slope * price - intercept``.

    Attributes:
        slope: (n,) objective for each currency unit of price; 0 where only units count.
        intercept: (n,) taken off for each unit; NaN where the objective needs an unknown cost.
    """

    slope: Floats
    intercept: Floats

    def at(self, price: Floats) -> Floats:
        """Worth of a unit at ``price``, (n,) or (n, k) currency units; the shape of ``price``."""
        if price.ndim == 2:
            return np.asarray(self.slope[:, None] * price - self.intercept[:, None])
        return np.asarray(self.slope * price - self.intercept)

    def rows(self, selection: slice | NDArray) -> UnitWorth:
        """The worth of some products."""
        return UnitWorth(self.slope[selection], self.intercept[selection])

    def plus(self, other: UnitWorth, *, times: float) -> UnitWorth:
        """This worth and ``times`` the other, (n,) both."""
        return UnitWorth(self.slope + times * other.slope, self.intercept + times * other.intercept)


def needs_cost(settings: PricingSettings) -> bool:
    """Whether the objective of the settings cannot be weighed without a unit cost."""
    weighs_profit = settings.objective == "weighted" and settings.objective_weights.profit > 0
    return settings.objective == "profit" or weighs_profit


def unit_worth(
    *,
    unit_cost: Floats,
    current_price: Floats,
    settings: PricingSettings,
    rival_price: Floats | None = None,
) -> UnitWorth:
    """The worth of a unit under the objective and the multipliers of the settings.

    Args:
        unit_cost: (n,) currency units, NaN unknown; read only where the objective needs it.
        current_price: (n,) currency units; salvage values are a share of it.
        settings: the objective, the multipliers and levels of goals.
        rival_price: (n,) currency units, NaN unknown; None is unknown for all.
    """
    worth = objective_worth(unit_cost=unit_cost, current_price=current_price, settings=settings)
    rival = np.full_like(unit_cost, np.nan) if rival_price is None else rival_price
    for goal in GOALS:
        times = float(getattr(settings.multipliers, goal))
        if times > 0:
            added = goal_worth(goal, unit_cost=unit_cost, rival_price=rival, settings=settings)
            worth = worth.plus(added, times=times)
    return worth


def goal_worth(
    goal: str, *, unit_cost: Floats, rival_price: Floats, settings: PricingSettings
) -> UnitWorth:
    """What a sold unit adds to one of ``GOALS``, (n,); 0 where what it needs is unknown."""
    one, zero = np.ones_like(unit_cost), np.zeros_like(unit_cost)
    costed, rivalled = np.isfinite(unit_cost), np.isfinite(rival_price)
    cost = np.where(costed, unit_cost, 0.0)
    if goal == "min_revenue":
        return UnitWorth(one, zero)
    if goal == "min_units":
        return UnitWorth(zero, -one)
    if goal == "max_price_index":
        level = settings.portfolio.max_price_index or 1.0
        return UnitWorth(np.where(rivalled, -1.0, 0.0), np.where(rivalled, -level * rival_price, 0))
    margin = settings.portfolio.min_margin_rate or 0.0 if goal == "min_margin_rate" else 0.0
    return UnitWorth(np.where(costed, 1 - margin, 0.0), cost)


def objective_worth(
    *, unit_cost: Floats, current_price: Floats, settings: PricingSettings
) -> UnitWorth:
    """The worth of a unit under the objective alone, without multipliers of goals.

    Args:
        unit_cost: (n,) currency units, NaN unknown; read only where the objective needs it.
        current_price: (n,) currency units; salvage values are a share of it.
        settings: the objective with its weights or its salvage value.
    """
    slope, intercept = _slope_and_intercept(unit_cost, current_price, settings)
    shape = np.shape(unit_cost)
    return UnitWorth(
        slope=np.broadcast_to(np.asarray(slope, dtype=np.float64), shape).copy(),
        intercept=np.broadcast_to(np.asarray(intercept, dtype=np.float64), shape).copy(),
    )


def _slope_and_intercept(
    unit_cost: Floats, current_price: Floats, settings: PricingSettings
) -> tuple[float, Floats | float]:
    if settings.objective == "profit":
        return 1.0, unit_cost
    if settings.objective == "revenue":
        return 1.0, 0.0
    if settings.objective == "sell_through":
        return 1.0, settings.sell_through.salvage_share * current_price
    if settings.objective == "weighted":
        weights = settings.objective_weights
        cost = weights.profit * unit_cost if weights.profit > 0 else 0.0
        return weights.profit + weights.revenue, cost - weights.units
    return 0.0, -1.0
