r"""What one sold unit is worth to the objective; every objective is linear in the price.

Belongs here: turning the objective of the settings into numbers for each product. Choosing prices
by them is ``core.price_search``; multipliers of portfolio goals are added by ``core.portfolio``.

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
NumPy only: the service imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def needs_cost(settings: PricingSettings) -> bool:
    """Whether the objective of the settings cannot be weighed without a unit cost."""
    weighs_profit = settings.objective == "weighted" and settings.objective_weights.profit > 0
    return settings.objective == "profit" or weighs_profit


def unit_worth(*, unit_cost: Floats, current_price: Floats, settings: PricingSettings) -> UnitWorth:
    """The worth of a unit under the objective of the settings.

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
