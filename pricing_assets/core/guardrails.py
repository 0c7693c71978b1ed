"""Guard rails: the rules that every price obeys, the same code in batch and at serving.

Pure, ordered, versioned. Prices are integers in minor units of their currency, so that no
rounding happens after a check. Belongs here: bounds and the last check. Does not: the windows of
day, promotion and status (``core.price_windows``), endings and steps (``core.price_endings``),
rules between products (``core.linked_rails``), choosing among allowed prices
(``core.price_search``).

The order in which rules yield, first wins (nothing is relaxed without a reason in the result):

1. cost, least margin and MAP: no price is below them, whatever else is asked;
2. the absolute ceiling;
3. the windows: prior price of a promotion, largest change in a day, statuses that only fall;
4. the largest change against the current price, down and up;
5. rules between products: price ladder, size parity, zone parity, index against rivals;
6. the price step, then the price ending: where no such price lies between floor and ceiling, any
   price there is allowed.

Where a higher rule empties the range of a lower one, the range shrinks to the one price that
obeys the higher rule and is nearest to the current price. A product that is frozen, expired or of
invalid input is held. NumPy only: the service imports this.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.currency import currency_exponent, to_minor
from pricing_assets.core.errors import GuardRailError
from pricing_assets.core.price_parameters import GuardRailParameters
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.price_windows import (
    MAX_MINOR,
    NO_CEILING,
    PriceWindows,
    open_windows,
    round_down,
    round_up,
)
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

RULES_VERSION = "2"
"""Changes whenever a rule, its order or its rounding does."""


@dataclass(frozen=True, slots=True)
class PriceBounds:
    """Allowed prices of n products, in minor units; floor <= ceiling always.

    Attributes (each of shape (n,)):
        floor, ceiling: least and largest allowed price; both 0 where nothing may be priced.
        current: current price rounded to minor units; 0 where it is missing or invalid.
        floor_rule, ceiling_rule: the ``Rule`` that set each of them.
        conflict: FLOOR_ABOVE_CEILING, CEILING_BELOW_LARGEST_DECREASE, WINDOWS_CLASH,
            WINDOW_BEYOND_LARGEST_CHANGE or MINOR_UNIT_TOO_COARSE where rules clashed and the
            stated order decided; else NONE.
        refusal: why the price may not be changed (INVALID_..., FROZEN, EXPIRED); else NONE. The
            bounds are then the current price alone where that is valid.
        exponent: decimal places of the currency's minor unit (one int).
        step: spacing that prices keep, in minor units (one int); 1 is none.
    """

    floor: Minors
    ceiling: Minors
    current: Minors
    floor_rule: Codes
    ceiling_rule: Codes
    conflict: Codes
    refusal: Codes
    exponent: int
    step: int = 1

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
        return replace(self, **arrays)


_BOUND_ARRAYS = (
    "floor",
    "ceiling",
    "current",
    "floor_rule",
    "ceiling_rule",
    "conflict",
    "refusal",
)


def price_bounds(
    *,
    current_price: Floats,
    unit_cost: Floats,
    map_price: Floats,
    settings: PricingSettings,
    windows: PriceWindows | None = None,
) -> PriceBounds:
    """Floor and ceiling of n products under ``settings``, by the module's order of rules.

    Args:
        current_price: (n,) currency units; NaN, infinite, or below half a minor unit refuses.
        unit_cost: (n,) currency units; NaN is unknown (no cost or margin floor); infinite or
            negative refuses.
        map_price: (n,) least advertised price; NaN is none; infinite or <= 0 refuses.
        settings: gives currency, min_margin, max_price_change, the absolute ceiling and the step.
        windows: of the day, the promotion and the status; none where None.
    """
    exponent = currency_exponent(settings.currency)
    current = to_minor(current_price, exponent=exponent)
    cost = to_minor(unit_cost, exponent=exponent)
    map_minor = to_minor(map_price, exponent=exponent)
    windows = open_windows(len(current)) if windows is None else windows
    refusal = _refusals(current, cost, map_minor, held=windows.held)
    usable = refusal == Rule.NONE
    has_current = refusal != Rule.INVALID_CURRENT_PRICE
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
        windows=windows,
        exponent=exponent,
    )
    bounds = replace(bounds, step=step_minor(settings.guardrails, exponent))
    return _refuse(bounds, refusal=refusal, has_current=has_current)


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


def _refusals(current: Floats, cost: Floats, map_minor: Floats, *, held: Codes) -> Codes:
    """(n,) the first reason for which a product may not be priced."""
    bad_current = ~((np.rint(current) >= 1) & (current <= MAX_MINOR))
    bad_cost = ~np.isnan(cost) & ~((cost >= 0) & (cost <= MAX_MINOR))
    bad_map = ~np.isnan(map_minor) & ~((map_minor > 0) & (map_minor <= MAX_MINOR))
    choices = (Rule.INVALID_CURRENT_PRICE, Rule.INVALID_COST, Rule.INVALID_MAP)
    picked = np.select([bad_current, bad_cost, bad_map], [int(rule) for rule in choices], 0)
    return np.where(picked == 0, held, picked).astype(np.int8)


def _hard_floor(cost: Floats, map_minor: Floats, min_margin: float) -> tuple[Minors, Codes]:
    """Floor that no other rule moves, at least one minor unit, and the rule that set it."""
    margin_rule = Rule.MARGIN_FLOOR if min_margin > 0 else Rule.COST_FLOOR
    margin = np.where(np.isnan(cost), 0, round_up(np.nan_to_num(cost) / (1 - min_margin)))
    least = np.where(np.isnan(map_minor), 0, round_up(np.nan_to_num(map_minor)))
    floor = np.maximum(np.maximum(margin, least), 1)
    rule = np.where(least > margin, int(Rule.MAP_FLOOR), int(margin_rule))
    return floor.astype(np.int64), np.where(floor > 1, rule, int(Rule.NONE)).astype(np.int8)


def _ceiling_minor(parameters: GuardRailParameters, exponent: int) -> int:
    ceiling = parameters.absolute_ceiling
    if ceiling is None:
        return NO_CEILING
    minor = np.array([min(ceiling * 10.0**exponent, NO_CEILING)])
    return max(1, int(round_down(minor)[0]))


def step_minor(parameters: GuardRailParameters, exponent: int) -> int:
    """The price step in whole minor units, at least one."""
    step = parameters.price_step
    return 1 if step is None else max(1, round(min(step * 10.0**exponent, MAX_MINOR)))


def _combine(
    *,
    current: Floats,
    hard: Minors,
    hard_rule: Codes,
    cap: int,
    change: float,
    windows: PriceWindows,
    exponent: int,
) -> PriceBounds:
    """Apply the module's order of rules to valid inputs, all (n,) in minor units."""
    rounded = np.rint(current).astype(np.int64)
    down = np.maximum(round_up(current * (1 - change)), 1)
    up = round_down(current * (1 + change))
    coarse = down > up
    down, up = np.where(coarse, rounded, down), np.where(coarse, rounded, up)
    beyond = (down > windows.high) | (up < windows.low)
    low, high = (np.clip(edge, windows.low, windows.high) for edge in (down, up))
    low_rule = np.where(low > down, windows.low_rule, int(Rule.LARGEST_DECREASE))
    low_rule = np.where(low < down, windows.high_rule, low_rule)
    high_rule = np.where(high < up, windows.high_rule, int(Rule.LARGEST_INCREASE))
    high_rule = np.where(high > up, windows.low_rule, high_rule)
    floor, ceiling = np.maximum(hard, low), np.minimum(high, cap)
    floor_wins = hard > ceiling
    capped = (floor > ceiling) & ~floor_wins
    floor = np.where(capped, ceiling, floor)
    conflict = _conflict(
        (floor_wins, Rule.FLOOR_ABOVE_CEILING),
        (capped, Rule.CEILING_BELOW_LARGEST_DECREASE),
        (windows.clash, Rule.WINDOWS_CLASH),
        (beyond, Rule.WINDOW_BEYOND_LARGEST_CHANGE),
        (coarse, Rule.MINOR_UNIT_TOO_COARSE),
    )
    ceiling_rule = np.where(high <= cap, high_rule, int(Rule.ABSOLUTE_CEILING))
    return PriceBounds(
        floor=np.where(floor_wins, hard, floor),
        ceiling=np.where(floor_wins, hard, ceiling),
        current=rounded,
        floor_rule=np.where(hard >= low, hard_rule, low_rule).astype(np.int8),
        ceiling_rule=ceiling_rule.astype(np.int8),
        conflict=conflict,
        refusal=np.zeros(len(current), dtype=np.int8),
        exponent=exponent,
    )


def _conflict(*cases: tuple[Flags, Rule]) -> Codes:
    """(n,) the first rule whose clash is there."""
    conditions, rules = [case[0] for case in cases], [int(case[1]) for case in cases]
    return np.asarray(np.select(conditions, rules, 0).astype(np.int8))


def _refuse(bounds: PriceBounds, *, refusal: Codes, has_current: Flags) -> PriceBounds:
    """Hold refused products at their current price, and price nothing that has none."""
    refused = refusal != Rule.NONE
    held = np.where(has_current, bounds.current, 0)
    return replace(
        bounds,
        floor=np.where(refused, held, bounds.floor),
        ceiling=np.where(refused, held, bounds.ceiling),
        current=held,
        floor_rule=np.where(refused, 0, bounds.floor_rule).astype(np.int8),
        ceiling_rule=np.where(refused, 0, bounds.ceiling_rule).astype(np.int8),
        conflict=np.where(refused, 0, bounds.conflict).astype(np.int8),
        refusal=refusal,
    )
