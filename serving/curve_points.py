"""The demand curve of one product as points that a person can plot; pure.

Belongs here: reading the curve at prices, with 90 % bands. The curve is ``live_demand``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pricing_assets.core.errors import UnknownProductError
from pricing_assets.core.settings import PricingSettings
from serving.context import Context
from serving.live_demand import Floats, LiveDemand
from serving.live_quote import quote
from serving.quote import PricedRow, bounds_of, finite_or_none

POINTS = 25
"""Points between floor and ceiling; the current and the recommended price come on top."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Expectation and 90 % band over the horizon at one price; profit is None without a cost."""

    price: float
    units: float
    units_low_90: float
    units_high_90: float
    revenue: float
    revenue_low_90: float
    revenue_high_90: float
    profit: float | None
    profit_low_90: float | None
    profit_high_90: float | None


@dataclass(frozen=True, slots=True)
class CurveAnswer:
    """The curve between the guard rails, and where the product stands on it."""

    product_id: str
    currency: str
    horizon_days: int
    points: tuple[CurvePoint, ...]
    current: CurvePoint | None
    recommended: CurvePoint


def demand_curve(row: PricedRow, context: Context, *, settings: PricingSettings) -> CurveAnswer:
    """The curve of ``row`` in ``context``: promotion and rival shift it, terms move its ends.

    Raises:
        UnknownProductError: the product has no usable demand curve.
        InputError: the context contradicts what is known.
    """
    if row.curve is None or not row.curve.usable:
        raise UnknownProductError(f"product '{row.product_id}' has no demand curve")
    answer = quote(row, context, settings=settings)
    meaning = row.meaning(context)
    bounds = bounds_of(row, meaning, settings=settings)
    cost = meaning.unit_cost if meaning.unit_cost is not None else row.curve.unit_cost
    demand = LiveDemand.of(row.curve, meaning)
    minor = np.linspace(int(bounds.floor[0]), int(bounds.ceiling[0]), POINTS).round()
    prices = np.unique(minor) / 10.0**bounds.exponent
    given = meaning.current_price
    current = row.current_price if given is None else given
    marks = points_at(demand, np.array([current, answer.recommended_price]), cost)
    return CurveAnswer(
        product_id=row.product_id,
        currency=row.currency,
        horizon_days=row.horizon_days,
        points=points_at(demand, prices, cost),
        current=marks[0] if np.isfinite(current) else None,
        recommended=marks[1],
    )


def points_at(demand: LiveDemand, prices: Floats, unit_cost: float) -> tuple[CurvePoint, ...]:
    """What ``demand`` expects at (k,) prices; ``unit_cost`` is NaN where it is unknown."""
    units = demand.units(prices)
    low, high = (demand.units_quantile(prices, probability) for probability in (0.05, 0.95))
    columns = zip(
        *(column.tolist() for column in (prices, units, low, high, prices - unit_cost)),
        strict=True,
    )
    return tuple(_point(*values) for values in columns)


def _point(price: float, units: float, low: float, high: float, margin: float) -> CurvePoint:
    known = finite_or_none(margin)
    gains = None if known is None else sorted((known * low, known * high))
    return CurvePoint(
        price=price,
        units=units,
        units_low_90=low,
        units_high_90=high,
        revenue=price * units,
        revenue_low_90=price * low,
        revenue_high_90=price * high,
        profit=None if known is None else known * units,
        profit_low_90=None if gains is None else gains[0],
        profit_high_90=None if gains is None else gains[1],
    )
