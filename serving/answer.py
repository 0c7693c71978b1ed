"""A quote as it leaves: checked once more, encoded once, numbered each time.

Belongs here: the wire's fields of a quote and its quote id. What the price is, is ``quote``.
"""

from __future__ import annotations

import itertools
import math
import secrets
from dataclasses import dataclass, replace
from typing import Any

import orjson

from pricing_assets.core.currency import currency_exponent
from pricing_assets.core.errors import GuardRailError
from serving.quote import Quote, in_minor

Answer = dict[str, Any]

UNRAILED = ("frozen", "held")
"""Rungs that keep the price in force, which is no choice of ours."""

_NUMBERS = ("recommended_price", "confidence", "price_floor", "price_ceiling", "expected_units")
_BEFORE_ID, _AFTER_ID = b',"quote_id":"', b'"}'


class QuoteIds:
    """Ids that no other worker or start gives: 80 random bits of this process and a count."""

    def __init__(self) -> None:
        self._start = secrets.token_hex(10)
        self._count = itertools.count()

    def next(self) -> str:
        """The next id, 32 hexadecimal digits."""
        return f"{self._start}{next(self._count):012x}"


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """An answer ready but for its quote id, and the guard rails it is checked against.

    Attributes:
        quote: what is answered.
        minor, floor, ceiling: its price and guard rails, minor units.
        change: the price against the product's current price, as an absolute share; None where
            the product has no published price.
        head: the JSON of the answer up to the quote id.
    """

    quote: Quote
    minor: int
    floor: int
    ceiling: int
    change: float | None
    table_version: str
    model_version: str
    head: bytes

    @property
    def holds(self) -> bool:
        """Whether its price is inside its guard rails."""
        return 0 < self.floor <= self.minor <= self.ceiling

    def check(self) -> None:
        """The last look at the price before it leaves.

        Raises:
            GuardRailError: it is outside its guard rails.
        """
        if not self.holds:
            raise GuardRailError(
                f"product '{self.quote.product_id}': {self.minor} minor units are outside "
                f"{self.floor} to {self.ceiling}"
            )

    def fields(self, quote_id: str) -> Answer:
        """The answer's fields."""
        versions = (self.table_version, self.model_version)
        return {**_fields(self.quote, *versions), "quote_id": quote_id}

    def with_reason(self, reason: str) -> Prepared:
        """The same answer with one reason more, after the others."""
        quote = replace(self.quote, reasons=(*self.quote.reasons, reason))
        return replace(self, quote=quote, head=_head(quote, self.table_version, self.model_version))

    def encoded(self, quote_id: str) -> bytes:
        """The answer as JSON."""
        return self.head + quote_id.encode() + _AFTER_ID


def prepared(
    found: Quote, *, current_price: float | None, table_version: str, model_version: str
) -> Prepared:
    """``found`` made ready; ``current_price`` is the product's, where one is published.

    A price that is kept has no guard rails but itself.

    Raises:
        ValueError: a number of the answer is not finite.
    """
    change = None if current_price is None else abs(found.recommended_price / current_price - 1)
    exponent = currency_exponent(found.currency)
    frozen = found.source in UNRAILED
    minor = max(in_minor(found.recommended_price, exponent), int(frozen))
    return Prepared(
        quote=found,
        minor=minor,
        floor=minor if frozen else in_minor(found.price_floor, exponent),
        ceiling=minor if frozen else in_minor(found.price_ceiling, exponent),
        change=change,
        table_version=table_version,
        model_version=model_version,
        head=_head(found, table_version, model_version),
    )


def _head(found: Quote, table_version: str, model_version: str) -> bytes:
    fields = _fields(found, table_version, model_version)
    if not all(math.isfinite(fields[name] or 0.0) for name in _NUMBERS):
        raise ValueError(f"the quote of '{found.product_id}' holds a number that is not finite")
    return orjson.dumps(fields)[:-1] + _BEFORE_ID


def noted(found: Quote, note: str) -> Quote:
    """``found`` with a first reason more, where there is one."""
    return replace(found, reasons=(note, *found.reasons)) if note else found


def _fields(found: Quote, table_version: str, model_version: str) -> Answer:
    return {
        "product_id": found.product_id,
        "recommended_price": found.recommended_price,
        "confidence": found.confidence,
        "currency": found.currency,
        "price_floor": found.price_floor,
        "price_ceiling": found.price_ceiling,
        "expected_units": found.expected_units,
        "source": found.source,
        "reasons": list(found.reasons),
        "table_version": table_version,
        "model_version": model_version,
    }
