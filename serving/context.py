"""What a request says of now: stock, day, rival, promotion, terms; and its buckets.

Pure. Buckets keep the order of their values, so that what is monotone in a bucket is monotone in
the request, and a cached answer is the answer that would be computed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import cast, get_args

from pricing_assets.core.price_parameters import Objective

WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

STOCK_DIGITS = 3
"""Significant digits kept of a stock, rounded down: the cautious side."""
RIVAL_DIGITS = 4
"""Significant digits kept of a rival's price."""

_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class Context:
    """Everything that can move a price at request time; None where the request is silent.

    Attributes:
        current_stock: units on hand.
        day_of_week: 0 Monday to 6 Sunday.
        comp_price: the rival's price, currency units.
        is_promo: a promotion runs.
        current_price: price that changes are counted from, currency units.
        unit_cost: currency units.
        objective: what to maximise.
    """

    current_stock: float | None = None
    day_of_week: int | None = None
    comp_price: float | None = None
    is_promo: bool | None = None
    current_price: float | None = None
    unit_cost: float | None = None
    objective: Objective | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing is said."""
        return self == EMPTY

    @property
    def changed_terms(self) -> tuple[str, ...]:
        """Names of the terms that make the published price another problem's answer."""
        names = {
            "current price": self.current_price,
            "unit cost": self.unit_cost,
            "objective": self.objective,
        }
        return tuple(name for name, value in names.items() if value is not None)

    def bucketed(self) -> Context:
        """The context rounded to its bucket; bucketing twice changes nothing."""
        stock, rival = self.current_stock, self.comp_price
        return replace(
            self,
            current_stock=None if stock is None else _significant(stock, STOCK_DIGITS, down=True),
            comp_price=None if rival is None else _significant(rival, RIVAL_DIGITS, down=False),
        )

    def without_neutral(
        self, *, current_price: float, unit_cost: float, objective: Objective
    ) -> Context:
        """The context without what says the same as the published row, or nothing."""
        return replace(
            self,
            is_promo=self.is_promo or None,
            current_price=None if self.current_price == current_price else self.current_price,
            unit_cost=None if self.unit_cost == unit_cost else self.unit_cost,
            objective=None if self.objective == objective else self.objective,
        )

    def key(self) -> str:
        """Text that differs wherever the context differs."""
        values = (
            self.current_stock,
            self.day_of_week,
            self.comp_price,
            self.is_promo,
            self.current_price,
            self.unit_cost,
            self.objective,
        )
        return "|".join("" if value is None else str(value) for value in values)

    @classmethod
    def of_key(cls, key: str) -> Context:
        """The context whose ``key()`` this is.

        Raises:
            ValueError: it is no such key.
        """
        stock, day, rival, promo, current, cost, objective = key.split("|")
        if objective and objective not in get_args(Objective):
            raise ValueError(f"'{objective}' is no objective")
        return cls(
            current_stock=float(stock) if stock else None,
            day_of_week=int(day) if day else None,
            comp_price=float(rival) if rival else None,
            is_promo=promo == "True" if promo else None,
            current_price=float(current) if current else None,
            unit_cost=float(cost) if cost else None,
            objective=cast("Objective", objective) if objective else None,
        )


EMPTY = Context()


def _significant(value: float, digits: int, *, down: bool) -> float:
    if value < _NOTHING:
        return 0.0
    # A decimal power written as text: 10.0 ** -3 times an integer is not the nearest float.
    exponent = math.floor(math.log10(value)) - digits + 1
    scaled = value / 10.0**exponent if exponent >= 0 else value * 10.0**-exponent
    nearest = round(scaled)
    whole = nearest if not down or abs(scaled - nearest) < 1e-9 * scaled else math.floor(scaled)
    return float(f"{whole}e{exponent}")
