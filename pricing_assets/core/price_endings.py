"""Price endings and steps: which whole prices between floor and ceiling may be asked.

Pure. Belongs here: the lattice of allowed prices of each product and the candidates that are
searched. Floor and ceiling are ``core.guardrails``; choosing is ``core.price_search``. NumPy only:
the service imports this module.

A lattice is spacing * i + remainder in minor units. A step and an ending that have common prices
are one lattice (the Chinese remainder theorem); where they have none, the ending yields to the
step, and where no multiple of the step lies between floor and ceiling, the step yields too.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.guardrails import PriceBounds

Minors = NDArray[np.int64]
Flags = NDArray[np.bool_]

ENDINGS: dict[str, tuple[int, int]] = {
    "none": (1, 0),
    "9": (10, 9),
    "95": (100, 95),
    "99": (100, 99),
}
"""Price ending -> (spacing, remainder) in minor units; ``round`` depends on the currency."""

AUTO_ENDINGS = ("99", "9")
"""Endings that ``auto`` tries in turn."""
AUTO_MIN_PRICES = 8
"""Prices with an ending that must lie inside the bounds before ``auto`` takes that ending."""


@dataclass(frozen=True, slots=True)
class PriceLattice:
    """The allowed prices of n products: first + spacing * (0 .. count - 1), minor units.

    Attributes (each of shape (n,)):
        first: the lowest one; 0 where nothing may be priced.
        spacing: from one to the next.
        count: how many there are, at least 1.
        ending_missed: no price with the asked ending (on the step) lies inside the bounds.
        step_missed: no multiple of the asked step lies inside the bounds.
    """

    first: Minors
    spacing: Minors
    count: Minors
    ending_missed: Flags
    step_missed: Flags


@dataclass(frozen=True, slots=True)
class CandidatePrices:
    """Allowed prices to search.

    Attributes:
        prices: (n, k) int64 minor units, padded by repetition. Column 0 is the price that
            changes least: the current price where it is allowed, else the allowed one nearest
            to it. 0 where nothing may be priced.
        ending_missed: (n,) no price with the asked ending lies inside the bounds.
        step_missed: (n,) no multiple of the asked step lies inside the bounds.
    """

    prices: Minors
    ending_missed: Flags
    step_missed: Flags


def ending_lattice(ending: str, *, exponent: int) -> tuple[int, int]:
    """Spacing and remainder of an ending in minor units; ``round`` is whole currency units."""
    return (10**exponent, 0) if ending == "round" else ENDINGS[ending]


def price_lattice(bounds: PriceBounds, *, ending: str) -> PriceLattice:
    """The allowed prices of n products between floor and ceiling.

    ``ending`` is a key of ``ENDINGS``, ``round``, or ``auto``: for each product the first of
    ``AUTO_ENDINGS`` with at least ``AUTO_MIN_PRICES`` prices inside, else the last of them.
    """
    step = bounds.step
    spacing, remainder = _preferred(bounds, ending)
    _, count = _inside(bounds, spacing, remainder)
    missed = count < 1
    spacing, remainder = np.where(missed, step, spacing), np.where(missed, 0, remainder)
    _, count = _inside(bounds, spacing, remainder)
    off_step = count < 1
    spacing = np.where(off_step, 1, spacing)
    first, count = _inside(bounds, spacing, np.where(off_step, 0, remainder))
    return PriceLattice(
        first=first,
        spacing=spacing,
        count=count,
        ending_missed=missed & bounds.priceable,
        step_missed=off_step & bounds.priceable & (step > 1),
    )


def candidate_prices(bounds: PriceBounds, *, ending: str, k: int) -> CandidatePrices:
    """At most ``k`` allowed prices a product: the least-change price, then the lattice's prices.

    Endings and steps are applied here, inside the search, never after a check. Where more than
    k - 1 prices of the lattice lie inside the bounds, evenly spaced ones are taken, the lowest
    and the highest among them. ``ending`` as in :func:`price_lattice`.
    """
    if k < 2:
        raise ValueError(f"k is {k}; at least 2 candidates are needed: one to hold, one to change")
    lattice = price_lattice(bounds, ending=ending)
    steps = np.arange(k - 1, dtype=np.int64)[None, :]
    index = (lattice.count - 1)[:, None] * steps // max(k - 2, 1)
    grid = lattice.first[:, None] + lattice.spacing[:, None] * index
    return CandidatePrices(
        prices=np.concatenate([_least_change(bounds, grid)[:, None], grid], axis=1),
        ending_missed=lattice.ending_missed,
        step_missed=lattice.step_missed,
    )


def _preferred(bounds: PriceBounds, ending: str) -> tuple[Minors, Minors]:
    """(n,) spacing and remainder of each product's price ending on its step."""
    names = AUTO_ENDINGS if ending == "auto" else (ending,)
    lattices = [
        _on_step(ending_lattice(name, exponent=bounds.exponent), step=bounds.step) for name in names
    ]
    spacing, remainder = (np.full(len(bounds), part, np.int64) for part in lattices[0])
    for other in lattices[1:]:
        few = _inside(bounds, spacing, remainder)[1] < AUTO_MIN_PRICES
        spacing, remainder = np.where(few, other[0], spacing), np.where(few, other[1], remainder)
    return spacing, remainder


def _on_step(lattice: tuple[int, int], *, step: int) -> tuple[int, int]:
    """Prices of ``lattice`` that are multiples of ``step``; where none is, a lattice of none."""
    spacing, remainder = lattice
    both = range(remainder, remainder + lcm(spacing, step), spacing)
    common = next((price for price in both if price % step == 0), None)
    return (_NOWHERE, _NOWHERE - 1) if common is None else (lcm(spacing, step), common)


_NOWHERE = 1 << 60
"""Spacing of a lattice whose only price is above every ceiling."""


def _inside(bounds: PriceBounds, spacing: Minors, remainder: Minors) -> tuple[Minors, Minors]:
    """(n,) lowest price of the lattice at or above the floor; how many up to the ceiling."""
    first = bounds.floor + (remainder - bounds.floor) % spacing
    return first, (bounds.ceiling - first) // spacing + 1


def _least_change(bounds: PriceBounds, grid: Minors) -> Minors:
    """(n,) the current price where allowed, else the price of the grid nearest to it."""
    below = bounds.current <= bounds.floor
    nearest_edge = np.where(below, grid[:, 0], grid[:, -1])
    return np.asarray(np.where(bounds.current_inside, bounds.current, nearest_edge))
