"""Prices that no demand curve stands behind: by rule, and the current price as the last resort.

Pure. Belongs here: the cold start, and the rungs below the published price. The prices above them
are ``quote`` and ``live_quote``.
"""

from __future__ import annotations

from pricing_assets.core.errors import InputError, UnknownProductError
from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_rules import Rule, sentence
from pricing_assets.core.settings import PricingSettings
from serving.context import Context
from serving.quote import (
    RULE_CONFIDENCE,
    PricedRow,
    Quote,
    allowed_prices,
    bounds_at,
    durable_windows,
    finite_or_none,
    guarded,
    in_minor,
    nearest_price,
)


def rule_quote(
    product_id: str,
    context: Context,
    *,
    settings: PricingSettings,
    row: PricedRow | None = None,
    markup: float | None = None,
    why: str = "no data on this product",
) -> Quote:
    """The price by rule: a markup on cost, or the current price; at most the rival's.

    Args:
        product_id: the product.
        context: what the request says; its terms come before the row's.
        settings: guard rails, and the markup where none is given.
        row: the published row, where there is one; its price is not used.
        markup: learned from the product's category; None where there is none.
        why: what is said of the rungs above.

    Raises:
        UnknownProductError: neither the request nor the row gives a current price or a cost.
        InputError: what is given is no price.
    """
    cost, current = _known_terms(context, row)
    markup = settings.serving.markup_cold_start if markup is None else markup
    target = current if cost is None else cost * (1 + markup)
    if target is None:
        raise UnknownProductError(
            f"product '{product_id}' has no published price; give current_price or unit_cost "
            "for a rule-based price"
        )
    base = target if current is None else current
    bounds = _rule_bounds(product_id, base, cost, row=row, context=context, settings=settings)
    rival = context.comp_price
    wanted = target if rival is None else min(target, rival)
    minor = nearest_price(allowed_prices(bounds, settings=settings), wanted * 10.0**bounds.exponent)
    basis = "the current price stands" if cost is None else f"cost plus a markup of {markup:.0%}"
    clamp = ("the rival's price is lower and clamps it",) if wanted < target else ()
    reasons = (f"{why}: {basis}", *clamp)
    return guarded(
        _unfounded(product_id, row, source="rule", reasons=reasons, settings=settings),
        minor=minor,
        bounds=bounds,
    )


def current_quote(row: PricedRow, context: Context, *, settings: PricingSettings) -> Quote:
    """The last rung: the current price, moved only where a guard rail does not allow it.

    Raises:
        UnknownProductError: no current price is known.
        InputError: what is given is no price.
    """
    cost, current = _known_terms(context, row)
    if current is None:
        raise UnknownProductError(f"product '{row.product_id}' has no price; give current_price")
    bounds = _rule_bounds(
        row.product_id, current, cost, row=row, context=context, settings=settings
    )
    wanted = in_minor(current, bounds.exponent)
    minor = min(max(wanted, int(bounds.floor[0])), int(bounds.ceiling[0]))
    stands = "stands" if minor == wanted else "is moved to the nearest price that is allowed"
    reasons = (f"no price of the table can be used, so the current price {stands}",)
    return guarded(
        _unfounded(row.product_id, row, source="current", reasons=reasons, settings=settings),
        minor=minor,
        bounds=bounds,
    )


def has_rule(context: Context, row: PricedRow) -> bool:
    """Whether a rule says more of ``row`` than that its current price stands."""
    cost, _ = _known_terms(context, row)
    return cost is not None or context.comp_price is not None


def _known_terms(context: Context, row: PricedRow | None) -> tuple[float | None, float | None]:
    """Unit cost and current price: the request's, else the row's, else None."""
    curve = row.curve if row else None
    cost = finite_or_none(curve.unit_cost) if curve else None
    current = finite_or_none(row.current_price) if row else None
    return (
        cost if context.unit_cost is None else context.unit_cost,
        current if context.current_price is None else context.current_price,
    )


def _rule_bounds(
    product_id: str,
    current: float,
    cost: float | None,
    *,
    row: PricedRow | None,
    context: Context,
    settings: PricingSettings,
) -> PriceBounds:
    curve = row.curve if row else None
    bounds = bounds_at(
        current_price=current,
        unit_cost=cost,
        map_price=curve.map_price if curve else None,
        settings=settings,
        windows=durable_windows(row, context, settings=settings) if row else None,
    )
    refusal = Rule(int(bounds.refusal[0]))
    if refusal is not Rule.NONE:
        raise InputError(f"product '{product_id}': {sentence(refusal, settings=settings)}")
    return bounds


def _unfounded(
    product_id: str,
    row: PricedRow | None,
    *,
    source: str,
    reasons: tuple[str, ...],
    settings: PricingSettings,
) -> Quote:
    """A quote that no demand curve stands behind, before it has its price."""
    return Quote(
        product_id=product_id,
        recommended_price=0.0,
        confidence=RULE_CONFIDENCE,
        currency=row.currency if row else settings.currency,
        price_floor=0.0,
        price_ceiling=0.0,
        expected_units=None,
        source=source,
        reasons=reasons,
    )
