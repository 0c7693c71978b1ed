"""Guard rails: the rules that every price obeys, the same code in batch and at serving.

Pure, ordered, versioned. Prices are integers in minor units of their currency, so that no
rounding happens after a check. Belongs here: bounds, the prices allowed inside them, the last
check. Does not: choosing among allowed prices (``core.price_table``).

The order in which rules yield, first wins (nothing is relaxed without a reason in the result):

1. cost, least margin and MAP: no price is below them, whatever else is asked;
2. the absolute ceiling;
3. the largest change against the current price, down and up;
4. the price ending: where no price with the ending lies between floor and ceiling, any price
   there is allowed.

Where a higher rule empties the range of a lower one, the range shrinks to the one price that
obeys the higher rule and is nearest to the current price. NumPy only: the service imports this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.currency import currency_exponent, to_minor
from pricing_assets.core.errors import GuardRailError
from pricing_assets.core.price_parameters import GuardRailParameters
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

RULES_VERSION = "1"
"""Changes whenever a rule, its order or its rounding does."""

MAX_MINOR = 10**12
"""Prices and costs above this many minor units are refused as wrong input."""

ENDINGS: dict[str, tuple[int, int]] = {
    "none": (1, 0),
    "9": (10, 9),
    "95": (100, 95),
    "99": (100, 99),
}
"""Price ending -> (spacing, remainder) in minor units."""

AUTO_ENDINGS = ("99", "9")
"""Endings that ``auto`` tries in turn."""
AUTO_MIN_PRICES = 8
"""Prices with an ending that must lie inside the bounds before ``auto`` takes that ending."""

_ROUNDING = 1e-12
"""Relative slack of rounding to minor units: a few times the error of one float division."""


class Rule(IntEnum):
    """Every rule that can shape a price; ``code`` is its stable name in reasons."""

    NONE = 0
    COST_FLOOR = 1
    MARGIN_FLOOR = 2
    MAP_FLOOR = 3
    LARGEST_DECREASE = 4
    LARGEST_INCREASE = 5
    ABSOLUTE_CEILING = 6
    FLOOR_ABOVE_CEILING = 7
    CEILING_BELOW_LARGEST_DECREASE = 8
    MINOR_UNIT_TOO_COARSE = 9
    NO_PRICE_WITH_ENDING = 10
    CURRENT_PRICE_OUTSIDE = 11
    INVALID_CURRENT_PRICE = 12
    INVALID_COST = 13
    INVALID_MAP = 14

    @property
    def code(self) -> str:
        """Stable lower-case name."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class PriceBounds:
    """Allowed prices of n products, in minor units; floor <= ceiling always.

    Attributes (each of shape (n,)):
        floor, ceiling: least and largest allowed price; both 0 where nothing may be priced.
        current: current price rounded to minor units; 0 where it is missing or invalid.
        floor_rule, ceiling_rule: the ``Rule`` that set each of them.
        conflict: FLOOR_ABOVE_CEILING, CEILING_BELOW_LARGEST_DECREASE or MINOR_UNIT_TOO_COARSE
            where rules clashed and the stated order decided; else NONE.
        refusal: why the price may not be changed (INVALID_...); else NONE. The bounds are then
            the current price alone where that is valid.
        exponent: decimal places of the currency's minor unit (one int).
    """

    floor: Minors
    ceiling: Minors
    current: Minors
    floor_rule: Codes
    ceiling_rule: Codes
    conflict: Codes
    refusal: Codes
    exponent: int

    def __len__(self) -> int:
        return int(self.floor.shape[0])

    @property
    def priceable(self) -> Flags:
        """(n,) there is at least one allowed price."""
        return np.asarray(self.ceiling > 0)

    @property
    def current_inside(self) -> Flags:
        """(n,) the current price is itself allowed, so that it can be held."""
        inside = (self.floor <= self.current) & (self.current <= self.ceiling)
        return np.asarray(inside & (self.current > 0))

    def rows(self, selection: slice | NDArray) -> PriceBounds:
        """The bounds of some rows."""
        arrays = {name: getattr(self, name)[selection] for name in _BOUND_ARRAYS}
        return PriceBounds(**arrays, exponent=self.exponent)


_BOUND_ARRAYS = (
    "floor",
    "ceiling",
    "current",
    "floor_rule",
    "ceiling_rule",
    "conflict",
    "refusal",
)


@dataclass(frozen=True, slots=True)
class CandidatePrices:
    """Allowed prices to search.

    Attributes:
        prices: (n, k) int64 minor units, padded by repetition. Column 0 is the price that
            changes least: the current price where it is allowed, else the allowed one nearest
            to it. 0 where nothing may be priced.
        ending_missed: (n,) no price with the asked ending lies inside the bounds.
    """

    prices: Minors
    ending_missed: Flags


def price_bounds(
    *, current_price: Floats, unit_cost: Floats, map_price: Floats, settings: PricingSettings
) -> PriceBounds:
    """Floor and ceiling of n products under ``settings``, by the module's order of rules.

    Args:
        current_price: (n,) currency units; NaN, infinite, or below half a minor unit refuses.
        unit_cost: (n,) currency units; NaN is unknown (no cost or margin floor); infinite or
            negative refuses.
        map_price: (n,) least advertised price; NaN is none; infinite or <= 0 refuses.
        settings: gives currency, min_margin, max_price_change and the absolute ceiling.
    """
    exponent = currency_exponent(settings.currency)
    current = to_minor(current_price, exponent=exponent)
    cost = to_minor(unit_cost, exponent=exponent)
    map_minor = to_minor(map_price, exponent=exponent)
    refusal = _refusals(current, cost, map_minor)
    usable = refusal == Rule.NONE
    has_current = usable | (refusal == Rule.INVALID_COST) | (refusal == Rule.INVALID_MAP)
    safe = np.where(has_current, current, 1.0)
    hard, hard_rule = _hard_floor(
        np.where(usable, cost, np.nan), np.where(usable, map_minor, np.nan), settings.min_margin
    )
    bounds = _combine(
        current=safe,
        hard=hard,
        hard_rule=hard_rule,
        cap=_ceiling_minor(settings.guardrails, exponent),
        change=settings.max_price_change,
        exponent=exponent,
    )
    return _refuse(bounds, refusal=refusal, has_current=has_current)


def candidate_prices(bounds: PriceBounds, *, ending: str, k: int) -> CandidatePrices:
    """At most ``k`` allowed prices a product: the least-change price, then the ending's prices.

    Endings are applied here, inside the search, never after a check. Where more than k - 1
    prices with the ending lie inside the bounds, evenly spaced ones are taken, the lowest and
    the highest among them. ``ending`` is a key of ``ENDINGS``, or ``auto``: for each product the
    first of ``AUTO_ENDINGS`` with at least ``AUTO_MIN_PRICES`` prices inside, else the last of
    them.
    """
    if k < 2:
        raise ValueError(f"k is {k}; at least 2 candidates are needed: one to hold, one to change")
    spacing, remainder = _ending_of(bounds, ending)
    first, count = _inside(bounds, spacing, remainder)
    missed = (count < 1) & bounds.priceable
    first = np.where(count < 1, bounds.floor, first)
    spacing = np.where(count < 1, 1, spacing)
    count = np.where(count < 1, bounds.ceiling - bounds.floor + 1, count)
    steps = np.arange(k - 1, dtype=np.int64)[None, :]
    index = (count - 1)[:, None] * steps // max(k - 2, 1)
    grid = first[:, None] + spacing[:, None] * index
    return CandidatePrices(
        prices=np.concatenate([_least_change(bounds, grid)[:, None], grid], axis=1),
        ending_missed=missed,
    )


def enforce(price_minor: Minors, bounds: PriceBounds) -> Minors:
    """The last check before prices leave the system: returns them, or raises.

    Raises:
        GuardRailError: a price is not an integer of minor units, or outside its bounds, or
            belongs to a product that may not be priced.
    """
    if not np.issubdtype(np.asarray(price_minor).dtype, np.integer):
        raise GuardRailError(
            f"prices must be integers in minor units, got {np.asarray(price_minor).dtype}"
        )
    outside = ~bounds.priceable | (price_minor < bounds.floor) | (price_minor > bounds.ceiling)
    if outside.any():
        row = int(np.argmax(outside))
        raise GuardRailError(
            f"{int(outside.sum())} price(s) outside their guard rails; the first, at row {row}: "
            f"{int(price_minor[row])} minor units, allowed {int(bounds.floor[row])} to "
            f"{int(bounds.ceiling[row])}"
        )
    return price_minor


def sentence(rule: Rule, *, settings: PricingSettings) -> str:
    """One sentence that tells a person what the rule did, for ``reasons``."""
    margin, change = f"{settings.min_margin:.0%}", f"{settings.max_price_change:.0%}"
    return {
        Rule.NONE: "",
        Rule.COST_FLOOR: "the floor is the unit cost",
        Rule.MARGIN_FLOOR: f"the floor keeps a margin of {margin} of price",
        Rule.MAP_FLOOR: "the floor is the minimum advertised price",
        Rule.LARGEST_DECREASE: f"the floor is the largest decrease of {change}",
        Rule.LARGEST_INCREASE: f"the ceiling is the largest increase of {change}",
        Rule.ABSOLUTE_CEILING: "the ceiling is the absolute ceiling",
        Rule.FLOOR_ABOVE_CEILING: "the floor is above the allowed ceiling, and the floor wins",
        Rule.CEILING_BELOW_LARGEST_DECREASE: (
            f"the absolute ceiling is further than {change} below the current price, and it wins"
        ),
        Rule.MINOR_UNIT_TOO_COARSE: (
            f"no whole minor unit lies within {change} of the current price, so the nearest is used"
        ),
        Rule.NO_PRICE_WITH_ENDING: (
            f"no price with the ending {settings.guardrails.price_ending} lies between floor "
            "and ceiling, so any price there is allowed"
        ),
        Rule.CURRENT_PRICE_OUTSIDE: "the current price is itself outside the guard rails",
        Rule.INVALID_CURRENT_PRICE: "there is no valid current price, so no price is set",
        Rule.INVALID_COST: "the unit cost is negative, infinite or absurd, so no price is changed",
        Rule.INVALID_MAP: "the minimum advertised price is invalid, so no price is changed",
    }[rule]


def _refusals(current: Floats, cost: Floats, map_minor: Floats) -> Codes:
    """(n,) the first reason for which a product may not be priced."""
    bad_current = ~((np.rint(current) >= 1) & (current <= MAX_MINOR))
    bad_cost = ~np.isnan(cost) & ~((cost >= 0) & (cost <= MAX_MINOR))
    bad_map = ~np.isnan(map_minor) & ~((map_minor > 0) & (map_minor <= MAX_MINOR))
    choices = (Rule.INVALID_CURRENT_PRICE, Rule.INVALID_COST, Rule.INVALID_MAP)
    picked = np.select([bad_current, bad_cost, bad_map], [int(rule) for rule in choices], 0)
    return picked.astype(np.int8)


def _hard_floor(cost: Floats, map_minor: Floats, min_margin: float) -> tuple[Minors, Codes]:
    """Floor that no other rule moves, at least one minor unit, and the rule that set it."""
    margin_rule = Rule.MARGIN_FLOOR if min_margin > 0 else Rule.COST_FLOOR
    margin = np.where(np.isnan(cost), 0, _round_up(np.nan_to_num(cost) / (1 - min_margin)))
    least = np.where(np.isnan(map_minor), 0, _round_up(np.nan_to_num(map_minor)))
    floor = np.maximum(np.maximum(margin, least), 1)
    rule = np.where(least > margin, int(Rule.MAP_FLOOR), int(margin_rule))
    return floor.astype(np.int64), np.where(floor > 1, rule, int(Rule.NONE)).astype(np.int8)


def _ceiling_minor(parameters: GuardRailParameters, exponent: int) -> int:
    ceiling = parameters.absolute_ceiling
    if ceiling is None:
        return 2 * MAX_MINOR
    return max(1, int(min(np.floor(ceiling * 10.0**exponent * (1 + _ROUNDING)), 2 * MAX_MINOR)))


def _combine(
    *,
    current: Floats,
    hard: Minors,
    hard_rule: Codes,
    cap: int,
    change: float,
    exponent: int,
) -> PriceBounds:
    """Apply the module's order of rules to valid inputs, all (n,) in minor units."""
    rounded = np.rint(current).astype(np.int64)
    down = np.maximum(_round_up(current * (1 - change)), 1)
    up = np.floor(current * (1 + change) * (1 + _ROUNDING)).astype(np.int64)
    coarse = down > up
    down, up = np.where(coarse, rounded, down), np.where(coarse, rounded, up)
    floor, ceiling = np.maximum(hard, down), np.minimum(up, cap)
    floor_wins = hard > ceiling
    capped = (floor > ceiling) & ~floor_wins
    floor = np.where(capped, ceiling, floor)
    ceiling = np.where(floor_wins, hard, ceiling)
    conflict = np.select(
        [floor_wins, capped, coarse],
        [
            int(Rule.FLOOR_ABOVE_CEILING),
            int(Rule.CEILING_BELOW_LARGEST_DECREASE),
            int(Rule.MINOR_UNIT_TOO_COARSE),
        ],
        0,
    )
    ceiling_rule = np.where(up <= cap, int(Rule.LARGEST_INCREASE), int(Rule.ABSOLUTE_CEILING))
    return PriceBounds(
        floor=np.where(floor_wins, hard, floor),
        ceiling=ceiling,
        current=rounded,
        floor_rule=np.where(hard >= down, hard_rule, int(Rule.LARGEST_DECREASE)).astype(np.int8),
        ceiling_rule=ceiling_rule.astype(np.int8),
        conflict=conflict.astype(np.int8),
        refusal=np.zeros(len(current), dtype=np.int8),
        exponent=exponent,
    )


def _refuse(bounds: PriceBounds, *, refusal: Codes, has_current: Flags) -> PriceBounds:
    """Hold refused products at their current price, and price nothing that has none."""
    refused = refusal != Rule.NONE
    held = np.where(has_current, bounds.current, 0)
    return PriceBounds(
        floor=np.where(refused, held, bounds.floor),
        ceiling=np.where(refused, held, bounds.ceiling),
        current=held,
        floor_rule=np.where(refused, 0, bounds.floor_rule).astype(np.int8),
        ceiling_rule=np.where(refused, 0, bounds.ceiling_rule).astype(np.int8),
        conflict=np.where(refused, 0, bounds.conflict).astype(np.int8),
        refusal=refusal,
        exponent=bounds.exponent,
    )


def _round_up(minor: Floats) -> Minors:
    """Smallest whole minor unit not below ``minor``, but for a float's own rounding error."""
    return np.asarray(np.ceil(minor * (1 - _ROUNDING)).astype(np.int64))


def _ending_of(bounds: PriceBounds, ending: str) -> tuple[Minors, Minors]:
    """(n,) spacing and remainder of each product's price ending."""
    names = AUTO_ENDINGS if ending == "auto" else (ending,)
    spacing, remainder = (np.full(len(bounds), part, np.int64) for part in ENDINGS[names[0]])
    for name in names[1:]:
        few = _inside(bounds, spacing, remainder)[1] < AUTO_MIN_PRICES
        spacing = np.where(few, ENDINGS[name][0], spacing)
        remainder = np.where(few, ENDINGS[name][1], remainder)
    return spacing, remainder


def _inside(bounds: PriceBounds, spacing: Minors, remainder: Minors) -> tuple[Minors, Minors]:
    """(n,) lowest price with the ending at or above the floor; how many up to the ceiling."""
    first = bounds.floor + (remainder - bounds.floor) % spacing
    return first, (bounds.ceiling - first) // spacing + 1


def _least_change(bounds: PriceBounds, grid: Minors) -> Minors:
    """(n,) the current price where allowed, else the price of the grid nearest to it."""
    below = bounds.current <= bounds.floor
    nearest_edge = np.where(below, grid[:, 0], grid[:, -1])
    return np.asarray(np.where(bounds.current_inside, bounds.current, nearest_edge))
