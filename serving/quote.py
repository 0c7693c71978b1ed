"""One price for one request: pure, the same for HTTP, gRPC, Python and replay.

Belongs here: which kind of answer a request gets (published, live, rule, frozen), and the guard
that each passes last. Re-optimising for a context is ``live_quote``. No clock, no store, no
identifiers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.currency import currency_exponent
from pricing_assets.core.errors import GuardRailError, InputError, UnknownProductError
from pricing_assets.core.guardrails import PriceBounds, enforce, price_bounds, step_minor
from pricing_assets.core.price_endings import candidate_prices
from pricing_assets.core.price_parameters import Objective
from pricing_assets.core.price_windows import PriceWindows, request_windows
from pricing_assets.core.settings import PricingSettings
from serving.context import Context
from serving.live_demand import CurveRow

Minors = NDArray[np.int64]

RULE_CONFIDENCE = 0.1
"""Confidence of a price that no data stands behind."""
IMPLAUSIBLE_RATIO = 10.0
"""A current price this many times off the known one is another unit or currency: refused."""


@dataclass(frozen=True, slots=True)
class PricedRow:
    """One published price with the curve it came from; NaN where a number is unknown."""

    product_id: str
    store_id: str
    segment: str
    currency: str
    current_price: float
    recommended_price: float
    price_floor: float
    price_ceiling: float
    reasons: tuple[str, ...]
    expected_units: float
    confidence: float
    objective: Objective
    horizon_days: int
    curve: CurveRow | None
    rail_low: float = float("nan")
    rail_high: float = float("nan")
    reference_price_24h: float = float("nan")
    prior_price: float = float("nan")

    @property
    def has_price(self) -> bool:
        """A product without a valid current price is published without a price."""
        return math.isfinite(self.recommended_price)

    @property
    def is_sound(self) -> bool:
        """The published price lies between its floor and its ceiling, all three numbers."""
        minors = (self.price_floor, self.recommended_price, self.price_ceiling)
        floor, price, ceiling = (in_minor(value, self.exponent) for value in minors)
        return 0 < floor <= price <= ceiling

    @property
    def exponent(self) -> int:
        """Decimal places of the currency's minor unit."""
        return currency_exponent(self.currency)

    @property
    def published_minor(self) -> int:
        """The recommended price in minor units."""
        return in_minor(self.recommended_price, self.exponent)

    def meaning(self, context: Context) -> Context:
        """``context`` in its bucket, without what says the same as this row."""
        cost = self.curve.unit_cost if self.curve else float("nan")
        return context.bucketed().without_neutral(
            current_price=self.current_price, unit_cost=cost, objective=self.objective
        )


@dataclass(frozen=True, slots=True)
class Quote:
    """An answer; prices are currency units of whole minor units, None where unknown."""

    product_id: str
    recommended_price: float
    confidence: float
    currency: str
    price_floor: float
    price_ceiling: float
    expected_units: float | None
    source: str
    reasons: tuple[str, ...]


def published_quote(row: PricedRow) -> Quote:
    """The published price, exactly, checked again.

    Raises:
        GuardRailError: the row breaks its own floor or ceiling.
    """
    exponent = row.exponent
    minor, floor, ceiling = (
        in_minor(price, exponent)
        for price in (row.recommended_price, row.price_floor, row.price_ceiling)
    )
    if not floor <= minor <= ceiling or ceiling <= 0:
        raise GuardRailError(
            f"the published price of '{row.product_id}', {minor} minor units, is outside its "
            f"guard rails, {floor} to {ceiling}"
        )
    return Quote(
        product_id=row.product_id,
        recommended_price=row.recommended_price,
        confidence=finite_or(row.confidence, 0.0),
        currency=row.currency,
        price_floor=row.price_floor,
        price_ceiling=row.price_ceiling,
        expected_units=finite_or_none(row.expected_units),
        source="table",
        reasons=row.reasons,
    )


def frozen_quote(
    product_id: str, row: PricedRow | None, context: Context, *, currency: str
) -> Quote:
    """The current price, unchanged, for a frozen product; the request's own counts first.

    Raises:
        UnknownProductError: neither the table nor the request has a current price.
    """
    price = context.current_price
    if price is None and row is not None:
        price = finite_or_none(row.current_price)
    if price is None:
        raise UnknownProductError(
            f"product '{product_id}' is frozen and its current price is not known; "
            "give current_price"
        )
    return Quote(
        product_id=product_id,
        recommended_price=price,
        confidence=finite_or(row.confidence, 0.0) if row else RULE_CONFIDENCE,
        currency=currency,
        price_floor=price,
        price_ceiling=price,
        expected_units=None,
        source="frozen",
        reasons=("prices are frozen, so the current price stands",),
    )


def check_plausible(row: PricedRow, context: Context) -> None:
    """Refuse a current price so far from the known one that its unit must be another.

    Raises:
        InputError: it is IMPLAUSIBLE_RATIO times off, or more.
    """
    given, known = context.current_price, row.current_price
    if given is None or not np.isfinite(known):
        return
    if not known / IMPLAUSIBLE_RATIO < given < known * IMPLAUSIBLE_RATIO:
        raise InputError(
            f"current_price {given:g} is {IMPLAUSIBLE_RATIO:g} times off the known "
            f"{known:g} {row.currency} of product '{row.product_id}'; check its unit and currency"
        )


def published_bounds(row: PricedRow, *, settings: PricingSettings | None = None) -> PriceBounds:
    """The published floor and ceiling of ``row``, and the price step of ``settings``."""
    none = np.zeros(1, dtype=np.int8)
    return PriceBounds(
        floor=np.array([in_minor(row.price_floor, row.exponent)]),
        ceiling=np.array([in_minor(row.price_ceiling, row.exponent)]),
        current=np.array([in_minor(row.current_price, row.exponent)]),
        floor_rule=none,
        ceiling_rule=none,
        conflict=none,
        refusal=none,
        exponent=row.exponent,
        step=1 if settings is None else step_minor(settings.guardrails, row.exponent),
    )


def durable_windows(row: PricedRow, context: Context, *, settings: PricingSettings) -> PriceWindows:
    """The windows of one row that no request moves: promotion, day, and the published rails."""
    return request_windows(
        prior_price=np.array([row.prior_price if context.is_promo else np.nan]),
        reference_price=np.array([row.reference_price_24h]),
        rail_low=np.array([row.rail_low]),
        rail_high=np.array([row.rail_high]),
        settings=settings,
    )


def bounds_of(row: PricedRow, context: Context, *, settings: PricingSettings) -> PriceBounds:
    """The guard rails of ``row``: the published ones, or its rules for the request's own terms."""
    capped = context.is_promo and settings.guardrails.prior_price_rule
    if context.current_price is None and context.unit_cost is None and not capped:
        return published_bounds(row, settings=settings)
    known_cost = row.curve.unit_cost if row.curve else float("nan")
    return bounds_at(
        current_price=row.current_price if context.current_price is None else context.current_price,
        unit_cost=known_cost if context.unit_cost is None else context.unit_cost,
        map_price=row.curve.map_price if row.curve else None,
        settings=settings,
        windows=durable_windows(row, context, settings=settings),
    )


def bounds_at(
    *,
    current_price: float,
    unit_cost: float | None,
    settings: PricingSettings,
    map_price: float | None = None,
    windows: PriceWindows | None = None,
) -> PriceBounds:
    """``guardrails.price_bounds`` of one product; None is unknown."""
    return price_bounds(
        current_price=np.array([current_price]),
        unit_cost=np.array([np.nan if unit_cost is None else unit_cost]),
        map_price=np.array([np.nan if map_price is None else map_price]),
        settings=settings,
        windows=windows,
    )


def allowed_prices(bounds: PriceBounds, *, settings: PricingSettings) -> Minors:
    """(k,) allowed prices of one product, ascending, minor units."""
    found = candidate_prices(
        bounds, ending=settings.guardrails.price_ending, k=settings.price_table.candidates
    )
    return np.unique(found.prices[0])


def nearest_price(prices: Minors, wanted: float) -> int:
    """The price of ``prices`` (ascending) nearest to ``wanted``; the lower of two as near."""
    return int(prices[np.argmin(np.abs(prices - wanted))])


def guarded(draft: Quote, *, minor: int, bounds: PriceBounds) -> Quote:
    """``draft`` at ``minor``, which must be inside ``bounds``.

    Raises:
        GuardRailError: it is not.
    """
    enforce(np.array([minor]), bounds)
    scale = 10.0**bounds.exponent
    return replace(
        draft,
        recommended_price=minor / scale,
        price_floor=int(bounds.floor[0]) / scale,
        price_ceiling=int(bounds.ceiling[0]) / scale,
    )


def in_minor(price: float, exponent: int) -> int:
    """``price`` rounded to whole minor units; 0 where it is not finite."""
    scaled = price * 10.0**exponent
    return round(scaled) if math.isfinite(scaled) else 0


def finite_or_none(value: float) -> float | None:
    """``value``, or None where it is NaN or infinite: JSON has neither."""
    return float(value) if np.isfinite(value) else None


def finite_or(value: float, other: float) -> float:
    """``value``, or ``other`` where it is NaN or infinite."""
    return float(value) if np.isfinite(value) else other
