"""Windows that time, law and status put on a price, whatever the current price is.

Pure. Belongs here: the day's window around a durable reference, the prior price of a promotion,
statuses that only fall, and products that are held. They come after cost, MAP and the absolute
ceiling and before the largest change for each step (``core.guardrails``), and among themselves in
this order, first wins:

1. prior price: while promoted, below the lowest price of the days before the promotion;
2. day: within ``max_daily_change`` of the price in force 24 hours before. That price is read from
   the published tables and not from the last quote, so that n small steps in a day cannot
   multiply to :math:`(1 + d)^n`;
3. status: a product of ``only_down_statuses`` does not rise above its current price;
4. what the published table already holds to (at serving).

NumPy only: the service imports this module.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.currency import currency_exponent, to_minor
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]
Texts = NDArray[np.object_]

MAX_MINOR = 10**12
"""Prices and costs above this many minor units are refused as wrong input."""
NO_CEILING = 2 * MAX_MINOR
"""A ceiling that binds nothing."""

_ROUNDING = 1e-12
"""Relative slack of rounding to minor units: a few times the error of one float division."""


@dataclass(frozen=True, slots=True)
class PriceWindows:
    """Windows of n products in minor units, each array of shape (n,); low <= high always.

    Attributes:
        low, high: 0 and ``NO_CEILING`` where there is no window.
        low_rule, high_rule: the ``Rule`` that set each of them.
        clash: two windows left no common price, and the stated order decided.
        held: FROZEN or EXPIRED where the price may not change at all; else NONE.
    """

    low: Minors
    high: Minors
    low_rule: Codes
    high_rule: Codes
    clash: Flags
    held: Codes

    def narrowed(
        self, *, low: Minors, high: Minors, low_rule: Rule, high_rule: Rule
    ) -> PriceWindows:
        """These windows and a later one: where they share no price, the nearest price of these."""
        new_low = np.clip(low, self.low, self.high)
        new_high = np.clip(high, new_low, self.high)
        return replace(
            self,
            low=new_low,
            high=new_high,
            low_rule=np.where(new_low > self.low, int(low_rule), self.low_rule).astype(np.int8),
            high_rule=np.where(new_high < self.high, int(high_rule), self.high_rule).astype(
                np.int8
            ),
            clash=self.clash | (low > self.high) | (high < self.low),
        )


def open_windows(count: int) -> PriceWindows:
    """No window for any of ``count`` products."""
    codes = np.zeros(count, dtype=np.int8)
    return PriceWindows(
        low=np.zeros(count, dtype=np.int64),
        high=np.full(count, NO_CEILING, dtype=np.int64),
        low_rule=codes,
        high_rule=codes,
        clash=np.zeros(count, dtype=bool),
        held=codes,
    )


def price_windows(
    *,
    current_price: Floats,
    reference_price: Floats,
    prior_price: Floats,
    status: Texts,
    frozen: Flags,
    settings: PricingSettings,
) -> PriceWindows:
    """The windows of n products for a price table.

    Args:
        current_price: (n,) currency units; NaN unknown.
        reference_price: (n,) price in force 24 hours before; NaN unknown, which sets no window.
        prior_price: (n,) lowest price of the days before the promotion; NaN where not promoted.
        status: (n,) text of ``products.status``.
        frozen: (n,) the product's price may not change now.
        settings: gives the rules.
    """
    rails, exponent = settings.guardrails, currency_exponent(settings.currency)
    windows = open_windows(len(current_price))
    if rails.prior_price_rule:
        windows = below_prior_price(windows, prior_price, exponent=exponent)
    change = rails.daily_change(settings.max_price_change)
    windows = within_day(windows, reference_price, change=change, exponent=exponent)
    falling = _is_one_of(status, rails.only_down_statuses)
    windows = _only_down(windows, np.where(falling, current_price, np.nan), exponent=exponent)
    expired = _is_one_of(status, rails.held_statuses)
    held = np.select([frozen, expired], [int(Rule.FROZEN), int(Rule.EXPIRED)], 0)
    return replace(windows, held=held.astype(np.int8))


def _only_down(windows: PriceWindows, current_price: Floats, *, exponent: int) -> PriceWindows:
    """``windows`` not above the current price (n,); NaN: none."""
    current = to_minor(current_price, exponent=exponent)
    known = _usable(current)
    if not known.any():
        return windows
    return windows.narrowed(
        low=np.zeros(len(current), dtype=np.int64),
        high=np.where(known, np.rint(_safe(current)), NO_CEILING).astype(np.int64),
        low_rule=Rule.NONE,
        high_rule=Rule.ONLY_DOWN,
    )


def _is_one_of(status: Texts, names: list[str]) -> Flags:
    """(n,) the status is one of ``names``, whatever its case and outer spaces."""
    wanted = {name.strip().lower() for name in names}
    texts = status.tolist()
    found = {text for text in set(texts) if str(text).strip().lower() in wanted}
    if not found:
        return np.zeros(len(texts), dtype=bool)
    return np.fromiter((text in found for text in texts), dtype=bool, count=len(texts))


def request_windows(
    *,
    prior_price: Floats,
    reference_price: Floats,
    rail_low: Floats,
    rail_high: Floats,
    settings: PricingSettings,
) -> PriceWindows:
    """The windows of n published rows for a request, which it cannot move.

    Args:
        prior_price: (n,) currency units; NaN where the request is no promotion.
        reference_price, rail_low, rail_high: (n,) as the table publishes them; NaN none.
        settings: gives the rules.
    """
    rails, exponent = settings.guardrails, currency_exponent(settings.currency)
    windows = open_windows(len(prior_price))
    if rails.prior_price_rule:
        windows = below_prior_price(windows, prior_price, exponent=exponent)
    change = rails.daily_change(settings.max_price_change)
    windows = within_day(windows, reference_price, change=change, exponent=exponent)
    return within_published(windows, rail_low=rail_low, rail_high=rail_high, exponent=exponent)


def below_prior_price(windows: PriceWindows, prior_price: Floats, *, exponent: int) -> PriceWindows:
    """``windows`` with every promoted price strictly below its prior price, (n,); NaN: none.

    Directive 98/6/EC, Article 6a: an announced reduction states the lowest price of the (at
    least) 30 days before it, so a price that is not below it is no reduction.
    """
    prior = to_minor(prior_price, exponent=exponent)
    high = np.where(_usable(prior), np.maximum(round_up(_safe(prior)) - 1, 1), NO_CEILING)
    return windows.narrowed(
        low=np.zeros_like(high), high=high, low_rule=Rule.NONE, high_rule=Rule.PRIOR_PRICE
    )


def within_day(
    windows: PriceWindows, reference_price: Floats, *, change: float, exponent: int
) -> PriceWindows:
    """``windows`` within ``change`` of the durable reference (n,); NaN or absurd: none."""
    reference = to_minor(reference_price, exponent=exponent)
    known = _usable(reference)
    if not known.any():
        return windows
    whole = np.rint(_safe(reference)).astype(np.int64)
    low = np.maximum(round_up(_safe(reference) * max(1 - change, 0.0)), 1)
    high = round_down(_safe(reference) * (1 + change))
    coarse = low > high
    low, high = np.where(coarse, whole, low), np.where(coarse, whole, high)
    return windows.narrowed(
        low=np.where(known, low, 0),
        high=np.where(known, high, NO_CEILING),
        low_rule=Rule.DAY_DECREASE,
        high_rule=Rule.DAY_INCREASE,
    )


def within_published(
    windows: PriceWindows, *, rail_low: Floats, rail_high: Floats, exponent: int
) -> PriceWindows:
    """``windows`` inside the rails of the published table, (n,) currency units; NaN: none."""
    low, high = to_minor(rail_low, exponent=exponent), to_minor(rail_high, exponent=exponent)
    return windows.narrowed(
        low=np.where(_usable(low), np.rint(_safe(low)), 0).astype(np.int64),
        high=np.where(_usable(high), np.rint(_safe(high)), NO_CEILING).astype(np.int64),
        low_rule=Rule.PUBLISHED_RAIL,
        high_rule=Rule.PUBLISHED_RAIL,
    )


def round_up(minor: Floats) -> Minors:
    """Smallest whole minor unit not below ``minor``, but for a float's own rounding error."""
    return np.asarray(np.ceil(minor * (1 - _ROUNDING)).astype(np.int64))


def round_down(minor: Floats) -> Minors:
    """Largest whole minor unit not above ``minor``, but for a float's own rounding error."""
    return np.asarray(np.floor(minor * (1 + _ROUNDING)).astype(np.int64))


def _usable(minor: Floats) -> Flags:
    return np.asarray((np.rint(minor) >= 1) & (minor <= MAX_MINOR))


def _safe(minor: Floats) -> Floats:
    return np.asarray(np.where(_usable(minor), minor, 1.0))
