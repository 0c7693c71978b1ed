"""The guard rails of the rows of a frame: windows, bounds and rules between them, in one place.

Pure. Belongs here: reading the rails' inputs off the columns that facts and curves give. The rules
are ``core.price_windows``, ``core.guardrails`` and ``core.linked_rails``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.currency import to_major
from pricing_assets.core.guardrails import PriceBounds, price_bounds
from pricing_assets.core.linked_rails import LinkedRails
from pricing_assets.core.price_endings import CandidatePrices, candidate_prices, price_lattice
from pricing_assets.core.price_relations import price_relations
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.price_windows import NO_CEILING, PriceWindows, price_windows
from pricing_assets.core.rail_consistency import linked_rails
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

OPTIONAL_FACTS = (
    "status",
    "brand",
    "pack_size",
    "zone",
    "kvi",
    "reference_price_24h",
    "prior_price",
    "promoted",
    "frozen",
)
"""Columns of facts that only guard rails read; a frame without one has none of its rules."""


@dataclass(frozen=True, slots=True)
class RowRails:
    """Guard rails of n rows.

    Attributes:
        bounds: floors and ceilings, those that rules between products imply among them.
        found: allowed prices to search, minor units; column 0 obeys every rule together.
        linked: the rules between products; None where there are none.
        own_ceiling: (n,) ceiling of statuses that only fall and of held products, minor units;
            ``NO_CEILING`` where there is none.
    """

    bounds: PriceBounds
    found: CandidatePrices
    linked: LinkedRails | None
    own_ceiling: Minors

    def published(self, price_minor: Minors) -> PublishedRails:
        """What the table says of the rails once its prices (n,) are chosen.

        Raises:
            GuardRailError: a price breaks a rule between products.
        """
        bounds, count = self.bounds, len(price_minor)
        low, high = np.zeros(count, dtype=np.int64), np.full(count, NO_CEILING)
        tight = relaxed = np.zeros(count, dtype=np.int8)
        if self.linked is not None:
            self.linked.require(price_minor, bounds)
            low, high = self.linked.bounds_for(np.arange(count), price_minor)
            tied = self.linked.tied
            low, high = np.where(tied, low, 0), np.where(tied, high, NO_CEILING)
            lattice = price_lattice(bounds, ending="none")
            tight = self.linked.tight(price_minor, spacing=lattice.spacing)
            relaxed = self.linked.relaxed
        held = np.isin(bounds.refusal, (Rule.FROZEN, Rule.EXPIRED)) & bounds.priceable
        low = np.where(held, bounds.current, low)
        return PublishedRails(
            low=low,
            high=np.minimum(high, self.own_ceiling),
            tight=tight,
            relaxed=relaxed,
            exponent=bounds.exponent,
        )


@dataclass(frozen=True, slots=True)
class PublishedRails:
    """Rails that hold for every request, whatever it says; arrays (n,), minor units.

    Attributes:
        low, high: 0 and ``NO_CEILING`` where there are none.
        tight: the rule between products that keeps a price from its next one; else NONE.
        relaxed: the rule between products that floors and ceilings forbid; else NONE.
        exponent: decimal places of the minor unit.
    """

    low: Minors
    high: Minors
    tight: Codes
    relaxed: Codes
    exponent: int

    def narrowed(self, bounds: PriceBounds) -> PriceBounds:
        """``bounds`` inside these rails: what the table publishes as floor and ceiling."""
        floor = np.where(bounds.priceable, np.maximum(bounds.floor, self.low), bounds.floor)
        return replace(bounds, floor=floor, ceiling=np.minimum(bounds.ceiling, self.high))

    @property
    def columns(self) -> dict[str, Floats]:
        """``rail_low`` and ``rail_high`` in currency units, NaN for none."""
        low, high = (to_major(edge, exponent=self.exponent) for edge in (self.low, self.high))
        return {
            "rail_low": np.where(self.low > 0, low, np.nan),
            "rail_high": np.where(self.high < NO_CEILING, high, np.nan),
        }


def row_rails(
    frame: pd.DataFrame, *, settings: PricingSettings, candidates: int | None = None
) -> RowRails:
    """The rails of n rows; ``frame`` as ``price_inputs.curves_with_facts`` gives it.

    ``candidates`` allowed prices are listed for each row, by default as the settings say.
    """
    windows = row_windows(frame, settings=settings)
    bounds = row_bounds(frame, windows=windows, settings=settings)
    ending, k = settings.guardrails.price_ending, candidates or settings.price_table.candidates
    relations = price_relations(frame, priceable=bounds.priceable, settings=settings)
    linked = linked_rails(relations, bounds) if relations.any else None
    if linked is not None:
        bounds = linked.tightened(bounds)
    found = candidate_prices(bounds, ending=ending, k=k)
    if linked is not None:
        start = linked.feasible_start(found.prices[:, 0], bounds, ending=ending)
        prices = np.concatenate([start[:, None], found.prices[:, 1:]], axis=1)
        found = replace(found, prices=prices)
    held = np.isin(bounds.refusal, (Rule.FROZEN, Rule.EXPIRED)) & bounds.priceable
    falling = windows.high_rule == Rule.ONLY_DOWN
    return RowRails(
        bounds=bounds,
        found=found,
        linked=linked,
        own_ceiling=np.where(held, bounds.current, np.where(falling, windows.high, NO_CEILING)),
    )


def row_bounds(
    frame: pd.DataFrame, *, windows: PriceWindows, settings: PricingSettings
) -> PriceBounds:
    """Each row's own floor and ceiling, before any rule between products."""
    return price_bounds(
        current_price=numbers(frame, "current_price"),
        unit_cost=numbers(frame, "unit_cost"),
        map_price=numbers(frame, "map_price"),
        settings=settings,
        windows=windows,
    )


def row_windows(frame: pd.DataFrame, *, settings: PricingSettings) -> PriceWindows:
    """The windows of day, promotion and status; none for the facts that the frame lacks."""
    promoted = numbers(frame, "promoted") > 0
    return price_windows(
        current_price=numbers(frame, "current_price"),
        reference_price=numbers(frame, "reference_price_24h"),
        prior_price=np.where(promoted, numbers(frame, "prior_price"), np.nan),
        status=_texts(frame, "status"),
        frozen=numbers(frame, "frozen") > 0,
        settings=settings,
    )


def numbers(frame: pd.DataFrame, column: str) -> Floats:
    """(n,) a column as float64; NaN where it or a value is missing."""
    if column not in frame:
        return np.full(len(frame), np.nan)
    values = frame[column].astype("float64").to_numpy(na_value=np.nan)
    return np.asarray(values, dtype=np.float64)


def _texts(frame: pd.DataFrame, column: str) -> NDArray[np.object_]:
    if column not in frame:
        return np.full(len(frame), "", dtype=object)
    return np.asarray(frame[column].fillna("").astype(str).to_numpy(), dtype=object)
