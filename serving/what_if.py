"""What would happen: the price and its curve in a context, at another price, under other rules.

Pure. Belongs here: one question of the playground, answered by the code that serves prices. A
what-if is never served, recorded or counted, so that playing leaves no trace in the audit log
that prices are judged by; the rules of the table stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field, ValidationError

from pricing_assets.core.errors import InputError, UnknownProductError
from pricing_assets.core.settings import PricingSettings
from serving.catalog import Found
from serving.context import Context
from serving.curve_points import CurvePoint, points_at
from serving.live_demand import Floats, LiveDemand
from serving.live_quote import quote, requote
from serving.quote import PricedRow, Quote, finite_or_none, in_minor
from serving.wire import Price, PriceRequest, error_sentence

POINTS = 41
"""Points of the curve over the shown prices."""
MARGIN_SHOWN = 0.04
"""Share of the price by which the shown range goes beyond what it must hold."""


class WhatIfRequest(PriceRequest):
    """A price request, and what is tried beside it."""

    price: Price | None = Field(None, description="A price to look at, currency units.")
    min_margin: Annotated[float, Field(ge=0, le=0.95)] | None = Field(
        None, description="Least margin tried instead of the table's, a share of price."
    )
    max_price_change: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="Largest change tried instead of the table's, a share."
    )

    def rules(self, settings: PricingSettings) -> PricingSettings:
        """``settings`` with the rules that are tried; the same object where none differs."""
        tried = {
            name: value
            for name in ("min_margin", "max_price_change")
            if (value := getattr(self, name)) is not None and value != getattr(settings, name)
        }
        return settings.model_copy(update=tried) if tried else settings


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The answer to a what-if; prices in currency units, units over ``horizon_days``.

    Attributes:
        rules_tried: the guard rails differ from those of the table.
        points: the curve over the prices shown, ascending; beyond floor and ceiling too.
        current, recommended, tried: where the product stands, would be priced, and the price that
            was asked about; None where there is none.
        tried_is_allowed: that price lies inside the guard rails; None where none was asked about.
        support_low, support_high: the prices ever seen; None where unknown.
    """

    product_id: str
    store_id: str
    currency: str
    horizon_days: int
    recommended_price: float
    price_floor: float
    price_ceiling: float
    expected_units: float | None
    confidence: float
    reasons: tuple[str, ...]
    rules_tried: bool
    min_margin: float
    max_price_change: float
    points: tuple[CurvePoint, ...]
    current: CurvePoint | None
    recommended: CurvePoint
    tried: CurvePoint | None
    tried_is_allowed: bool | None
    support_low: float | None
    support_high: float | None


def what_if_request(value: Any) -> WhatIfRequest:
    """The request in a decoded body.

    Raises:
        InputError: what is wrong, in one sentence.
    """
    if not isinstance(value, Mapping):
        raise InputError('the body must be a JSON object such as {"product_id": "SKU12345"}')
    try:
        return WhatIfRequest.model_validate(value)
    except ValidationError as failure:
        raise InputError(error_sentence(failure, WhatIfRequest)) from None


def what_if(
    found: Found, request: WhatIfRequest, context: Context, *, settings: PricingSettings
) -> WhatIf:
    """What ``found`` would be priced at, and what the curve expects there and around.

    Args:
        found: the published row, with a price.
        request: the question.
        context: the request's, with what the feature store adds to it.
        settings: those that the table was made with.

    Raises:
        UnknownProductError: the product has no usable demand curve.
        InputError: the request contradicts what is known.
    """
    row, rules = found.row, request.rules(settings)
    if row.curve is None or not row.curve.usable:
        raise UnknownProductError(f"product '{row.product_id}' has no demand curve")
    priced = quote if rules is settings else requote
    answer = priced(row, context, settings=rules)
    meaning = row.meaning(context)
    demand = LiveDemand.of(row.curve, meaning)
    cost = row.curve.unit_cost if meaning.unit_cost is None else meaning.unit_cost
    current = row.current_price if meaning.current_price is None else meaning.current_price
    tried = float("nan") if request.price is None else request.price
    shown = _prices_shown(row, answer, [current, tried])
    marks = points_at(demand, np.array([current, answer.recommended_price, tried]), cost)
    return WhatIf(
        product_id=row.product_id,
        store_id=row.store_id,
        currency=row.currency,
        horizon_days=row.horizon_days,
        recommended_price=answer.recommended_price,
        price_floor=answer.price_floor,
        price_ceiling=answer.price_ceiling,
        expected_units=answer.expected_units,
        confidence=answer.confidence,
        reasons=(*answer.reasons, *([found.note] if found.note else [])),
        rules_tried=rules is not settings,
        min_margin=rules.min_margin,
        max_price_change=rules.max_price_change,
        points=points_at(demand, shown, cost),
        current=marks[0] if np.isfinite(current) else None,
        recommended=marks[1],
        tried=None if request.price is None else marks[2],
        tried_is_allowed=_is_allowed(request.price, answer, row.exponent),
        support_low=finite_or_none(row.curve.support_low),
        support_high=finite_or_none(row.curve.support_high),
    )


def _prices_shown(row: PricedRow, answer: Quote, marks: list[float]) -> Floats:
    """(k,) prices from below to above all that must be seen: both guard rails and every mark."""
    seen = [row.price_floor, row.price_ceiling, answer.price_floor, answer.price_ceiling, *marks]
    low, high = np.nanmin(seen) * (1 - MARGIN_SHOWN), np.nanmax(seen) * (1 + MARGIN_SHOWN)
    scale = 10.0**row.exponent
    return np.unique(np.linspace(max(low * scale, 1.0), high * scale, POINTS).round()) / scale


def _is_allowed(price: float | None, answer: Quote, exponent: int) -> bool | None:
    if price is None:
        return None
    ends = (in_minor(answer.price_floor, exponent), in_minor(answer.price_ceiling, exponent))
    return ends[0] <= in_minor(price, exponent) <= ends[1]
