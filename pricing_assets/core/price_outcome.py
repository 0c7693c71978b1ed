"""What chosen prices bring against their baselines: expected sales, risk, interval of the gain.

The NumPy reference. Belongs here: one price and one baseline a product. The equations are
``core.expected_sales``; ``core.price_outcome_cpu`` is the same compiled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.expected_sales import (
    expected_sales,
    probability_worse,
    select,
    uplift_interval,
)
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

INTERVAL_ROWS = 4096
"""Products whose intervals are taken at once; bounds memory whatever the catalogue's size."""


@dataclass(frozen=True, slots=True)
class PriceOutcome:
    """What n prices bring against their baselines; each array of shape (n,).

    Attributes:
        units, baseline_units: expected sales at the price and at the baseline.
        p_worse: probability that the price brings less of the objective.
        low, high: 5 % and 95 % quantiles of the gain in profit; 0 where the price is the baseline
            or the unit cost is unknown.
    """

    units: Floats
    baseline_units: Floats
    p_worse: Floats
    low: Floats
    high: Floats


class OutcomeFunction(Protocol):
    """One for NumPy, one compiled."""

    def __call__(
        self,
        curves: DemandCurves,
        *,
        price: Floats,
        baseline: Floats,
        worth: UnitWorth,
        unit_cost: Floats,
        available: Floats,
    ) -> PriceOutcome:
        """Outcome of n prices, all (n,), prices and costs in currency units."""
        ...


def price_outcome(
    curves: DemandCurves,
    *,
    price: Floats,
    baseline: Floats,
    worth: UnitWorth,
    unit_cost: Floats,
    available: Floats,
    spillover: Floats | None = None,
) -> PriceOutcome:
    """Outcome of n prices, all (n,), prices and costs in currency units.

    ``worth`` is of a sold unit to the objective; ``spillover`` is what substitutes gain of it when
    the price leaves the baseline, none where None.
    """
    sales = expected_sales(curves, price=np.stack([price, baseline], axis=1), available=available)
    worse = probability_worse(
        curves,
        price=price[:, None],
        baseline=baseline,
        worth=worth,
        available=available,
        spillover=None if spillover is None else spillover[:, None],
    )[:, 0]
    low, high = np.zeros(len(curves)), np.zeros(len(curves))
    changed = np.flatnonzero((price != baseline) & ~np.isnan(unit_cost))
    profit = UnitWorth(slope=np.ones_like(unit_cost), intercept=unit_cost)
    for start in range(0, len(changed), INTERVAL_ROWS):
        part = changed[start : start + INTERVAL_ROWS]
        low[part], high[part] = uplift_interval(
            select(curves, part),
            price=price[part],
            baseline=baseline[part],
            worth=profit.rows(part),
            available=available[part],
        )
    return PriceOutcome(sales[:, 0], sales[:, 1], worse, low, high)
