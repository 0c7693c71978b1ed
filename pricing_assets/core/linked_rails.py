r"""Rules between products: bounds that each price puts on others, always with a common solution.

Pure. Belongs here: the bounds that follow from relations at given prices. Reading the relations
off a catalogue is ``core.price_relations``, making them consistent ``core.rail_consistency``,
floors and ceilings themselves ``core.guardrails``.

Relations are :math:`p_i \le r_{ij} p_j`, groups with :math:`\max p \le (1+s) \min p`, caps, and
means :math:`\sum p_i / \rho_i \le \mu m`. Without the means, the prices that obey them are closed
under elementwise minimum and maximum (a distributive lattice), so there is a highest and a lowest
such vector, H and L, found by lowering from the ceilings and raising from the floors until nothing
moves. All of a rule's solutions lie in [L, H].

Order. Every product's own floor and ceiling come first. A relation that they leave no room for is
loosened to the least ratio that leaves room, never further; a member of a group whose own range
misses the group's leaves it; a mean that even L exceeds becomes L's. Each is named in ``relaxed``.

Separable bounds. ``bounds_for`` gives rows that may all move at once bounds such that *every*
combination inside them obeys the relations: a relation between two moving rows is split at the
middle t of :math:`[p_i, r p_j]`: :math:`p_i \le t` and :math:`p_j \ge t / r`. So a published floor
and ceiling of each product alone keep the relations at serving, whatever the others do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.errors import GuardRailError
from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_endings import price_lattice
from pricing_assets.core.price_relations import (
    ALONE,
    PATIENCE,
    PriceRelations,
    at_least,
    at_most,
    extremes,
    highest_allowed,
)
from pricing_assets.core.price_rules import Rule

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Indices = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]


_WHOLE = 1e-9
"""A sum of ratios is known to about this share; a room this far below a whole unit is that unit."""


@dataclass(frozen=True, slots=True)
class LinkedRails:
    """Relations among n rows that have a common solution.

    Attributes:
        relations: with ratios and groups loosened where floors and ceilings leave no room.
        low, high: (n,) L and H, minor units.
        budget: (g,) largest sum of price over rival's price of each index group.
        relaxed: (n,) the ``..._RELAXED`` rule of a row that a loosened relation names; else NONE.
        low_rule, high_rule: (n,) the relation that set L or H; NONE where the row's own bound did.
        group: (n,) rows that bound each other and should take turns; alone, a number of its own.
        exponent: decimal places of the minor unit.
    """

    relations: PriceRelations
    low: Minors
    high: Minors
    budget: Floats
    relaxed: Codes
    low_rule: Codes
    high_rule: Codes
    group: Indices
    exponent: int

    @property
    def tied(self) -> Flags:
        """(n,) some relation names the row."""
        found = (self.relations.zone != ALONE) | self._indexed | np.isfinite(self.relations.cap)
        found[self.relations.left] = found[self.relations.right] = True
        return np.asarray(found)

    def tightened(self, bounds: PriceBounds) -> PriceBounds:
        """``bounds`` without the prices that no solution of the relations has."""
        return replace(
            bounds,
            floor=self.low,
            ceiling=self.high,
            floor_rule=np.where(self.low_rule > 0, self.low_rule, bounds.floor_rule),
            ceiling_rule=np.where(self.high_rule > 0, self.high_rule, bounds.ceiling_rule),
        )

    def feasible_start(self, price_minor: Minors, bounds: PriceBounds, *, ending: str) -> Minors:
        """(n,) prices that obey every relation: ``price_minor`` lowered where it must be.

        The highest such prices that are not above ``price_minor`` brought into [L, H]; a price
        that must move goes to one with the ending where there is one.
        """
        lattice = price_lattice(self.tightened(bounds), ending=ending)

        def snap(limit: Minors) -> Minors:
            down = limit - (limit - lattice.first) % lattice.spacing
            return np.where(down >= self.low, down, np.maximum(limit, self.low))

        price = self._lowered(np.clip(price_minor, self.low, self.high), snap=snap)
        return self._lowered(self._within_budget(price), snap=snap)

    def bounds_for(self, rows: Indices, price_minor: Minors) -> tuple[Minors, Minors]:
        """Lowest and highest price of ``rows`` (m,) at everyone's present, feasible price (n,).

        The other rows stay; the given rows may move at once, in any combination.
        """
        moving = np.zeros(len(price_minor), dtype=bool)
        moving[rows] = True
        low, high = self.low.copy(), self.high.copy()
        self._bound_pairs(low, high, price=price_minor, moving=moving)
        self._bound_zones(low, high, price=price_minor, moving=moving)
        self._bound_means(high, price=price_minor, moving=moving)
        return low[rows], high[rows]

    def broken(self, price_minor: Minors) -> Flags:
        """(n,) rows whose price breaks a relation (as loosened), L or H."""
        relations, price = self.relations, price_minor
        found = (price < self.low) | (price > self.high)
        over = price[relations.left] > at_most(relations.ratio * price[relations.right])
        found[relations.left[over]] = True
        lowest, _ = extremes(relations.zone, price)
        inside = relations.zone != ALONE
        found |= inside & (price > at_most((1 + relations.zone_share) * lowest))
        return np.asarray(found | (self._slack(price) < 0)[relations.index] & self._indexed)

    def tight(self, price_minor: Minors, *, spacing: Minors) -> Codes:
        """(n,) the relation that keeps a row from its next price (``spacing`` on); else NONE."""
        relations, price = self.relations, price_minor
        rule = np.zeros(len(price), dtype=np.int8)
        lowest, highest = extremes(relations.zone, price)
        factor = 1 + relations.zone_share
        up = price + spacing > at_most(factor * lowest)
        down = at_most(factor * (price - spacing)) < highest
        rule[(relations.zone != ALONE) & (up | down)] = Rule.ZONE_PARITY
        full = self._slack(price)[relations.index] * np.nan_to_num(relations.rival) < spacing
        rule[self._indexed & full] = Rule.KVI_MEAN_INDEX
        left, right, ratio = relations.left, relations.right, relations.ratio
        held = price[left] + spacing[left] > at_most(ratio * price[right])
        rule[left[held]] = relations.kind[held]
        lifted = price[left] > at_most(ratio * (price[right] - spacing[right]))
        rule[right[lifted]] = relations.kind[lifted]
        return rule

    def require(self, price_minor: Minors, bounds: PriceBounds) -> None:
        """Prove that every relation holds.

        Raises:
            GuardRailError: a priced row breaks one.
        """
        broken = self.broken(price_minor) & bounds.priceable
        if broken.any():
            raise GuardRailError(
                f"{int(broken.sum())} price(s) break a rule between products; the first is at row "
                f"{int(np.argmax(broken))}"
            )

    @property
    def _indexed(self) -> Flags:
        return self.relations.index != ALONE

    def _weighted(self, price: Minors) -> Floats:
        """(g,) sum of price over rival's price of each index group."""
        index = self.relations.index[self._indexed]
        ratio = price[self._indexed] / self.relations.rival[self._indexed]
        return np.asarray(np.bincount(index, ratio, minlength=len(self.budget)), dtype=np.float64)

    def _slack(self, price: Minors) -> Floats:
        """(g,) what each mean leaves, 0 within rounding; never empty."""
        slack = self.budget - self._weighted(price)
        slack[np.abs(slack) <= _WHOLE * np.maximum(self.budget, 1)] = 0.0
        return slack if slack.size else np.zeros(1)

    def _lowered(self, price: Minors, *, snap: Callable[[Minors], Minors]) -> Minors:
        """The highest prices that obey pairs and groups, from ``price`` down, at least L."""
        for sweep in range(PATIENCE + len(price)):
            limit = np.minimum(price, highest_allowed(self.relations, price))
            moved = limit < price
            if not moved.any():
                break
            lower = snap(limit) if sweep < PATIENCE else self.low
            price = np.where(moved, np.maximum(lower, self.low), price)
        return price

    def _within_budget(self, price: Minors) -> Minors:
        """``price`` brought towards L in the groups whose mean is too high, by bisection."""
        over = (self._slack(price) < 0)[self.relations.index] & self._indexed
        if not over.any():
            return price
        low, high = np.zeros(len(self.budget)), np.ones(len(self.budget))
        for _ in range(50):
            share = (low + high) / 2
            fits = self._slack(self._towards_low(price, share, over)) >= 0
            low, high = np.where(fits, share, low), np.where(fits, high, share)
        return self._towards_low(price, low, over)

    def _towards_low(self, price: Minors, share: Floats, over: Flags) -> Minors:
        part = self.low + np.floor((price - self.low) * share[self.relations.index])
        return np.where(over, part.astype(np.int64), price)

    def _bound_pairs(self, low: Minors, high: Minors, *, price: Minors, moving: Flags) -> None:
        """Write the bounds of relations between two rows into ``low`` and ``high``."""
        left, right, ratio = self.relations.left, self.relations.right, self.relations.ratio
        below, above = price[left], at_most(ratio * price[right])
        split = np.where(moving[right], (below + above) // 2, above)
        np.minimum.at(high, left, split)
        split = np.where(moving[left], split, below)
        np.maximum.at(low, right, at_least(split / ratio))

    def _bound_zones(self, low: Minors, high: Minors, *, price: Minors, moving: Flags) -> None:
        """Write the bounds of groups: exact for one that moves alone, else a common interval."""
        zone, factor = self.relations.zone, 1 + self.relations.zone_share
        inside = zone != ALONE
        if not inside.any():
            return
        lowest, highest = extremes(zone, price)
        base = (at_least(highest / factor) + lowest) // 2
        movers = np.bincount(zone[inside & moving], minlength=zone.max() + 1)
        alone = inside & moving & (movers[np.maximum(zone, 0)] == 1)
        still_low, still_high = extremes(np.where(moving, ALONE, zone), price, like=zone)
        floor = np.where(alone, at_least(still_high / factor), base)
        ceiling = np.where(alone, at_most(factor * still_low), at_most(factor * base))
        np.maximum(low, floor, out=low, where=inside)
        np.minimum(high, ceiling, out=high, where=inside)

    def _bound_means(self, high: Minors, *, price: Minors, moving: Flags) -> None:
        """Write the bounds of means: what a mean leaves is shared by the rows that move."""
        rows = np.flatnonzero(self._indexed & moving)
        index = self.relations.index[rows]
        count = np.bincount(index, minlength=len(self.budget))
        room = self._slack(price)[index] / np.maximum(count[index], 1) * self.relations.rival[rows]
        high[rows] = np.minimum(high[rows], price[rows] + at_most(room + _WHOLE))
