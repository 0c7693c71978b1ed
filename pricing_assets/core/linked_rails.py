r"""Rules between products: bounds that each price puts on others, always with a common solution.

Pure. Belongs here: making the relations of ``core.price_relations`` consistent with every
product's own floor and ceiling, and the bounds that follow at given prices. Floors and ceilings
themselves are ``core.guardrails``.

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
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pricing_assets.core.errors import GuardRailError
from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_endings import price_lattice
from pricing_assets.core.price_relations import ALONE, PriceRelations
from pricing_assets.core.price_rules import Rule

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Indices = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]

PATIENCE = 64
"""Sweeps after which rows that still move (relations that contradict each other in a circle) go
straight to their floor."""
MAX_TURNS = 64
"""Members of a zone that take turns; larger zones move at once, inside a common interval."""

_WHOLE = 1e-9
"""A sum of ratios is known to about this share; a room this far below a whole unit is that unit."""
_UP, _DOWN = 1e-12, 4e-12
"""Relative slack of rounding; down is wider than up, so that a price raised to meet a relation
meets it when it is read the other way."""


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
        over = price[relations.left] > _at_most(relations.ratio * price[relations.right])
        found[relations.left[over]] = True
        lowest, _ = _extremes(relations.zone, price)
        inside = relations.zone != ALONE
        found |= inside & (price > _at_most((1 + relations.zone_share) * lowest))
        return np.asarray(found | (self._slack(price) < 0)[relations.index] & self._indexed)

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
        return np.bincount(index, ratio, minlength=len(self.budget))

    def _slack(self, price: Minors) -> Floats:
        """(g,) what each mean leaves, 0 within rounding; never empty."""
        slack = self.budget - self._weighted(price)
        slack[np.abs(slack) <= _WHOLE * np.maximum(self.budget, 1)] = 0.0
        return slack if slack.size else np.zeros(1)

    def _lowered(self, price: Minors, *, snap: Callable[[Minors], Minors]) -> Minors:
        """The highest prices that obey pairs and groups, from ``price`` down, at least L."""
        for sweep in range(PATIENCE + len(price)):
            limit = np.minimum(price, _highest(self.relations, price))
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
        below, above = price[left], _at_most(ratio * price[right])
        split = np.where(moving[right], (below + above) // 2, above)
        np.minimum.at(high, left, split)
        split = np.where(moving[left], split, below)
        np.maximum.at(low, right, _at_least(split / ratio))

    def _bound_zones(self, low: Minors, high: Minors, *, price: Minors, moving: Flags) -> None:
        """Write the bounds of groups: exact for one that moves alone, else a common interval."""
        zone, factor = self.relations.zone, 1 + self.relations.zone_share
        inside = zone != ALONE
        if not inside.any():
            return
        lowest, highest = _extremes(zone, price)
        base = (_at_least(highest / factor) + lowest) // 2
        movers = np.bincount(zone[inside & moving], minlength=zone.max() + 1)
        alone = inside & moving & (movers[np.maximum(zone, 0)] == 1)
        still_low, still_high = _extremes(np.where(moving, ALONE, zone), price, like=zone)
        floor = np.where(alone, _at_least(still_high / factor), base)
        ceiling = np.where(alone, _at_most(factor * still_low), _at_most(factor * base))
        np.maximum(low, floor, out=low, where=inside)
        np.minimum(high, ceiling, out=high, where=inside)

    def _bound_means(self, high: Minors, *, price: Minors, moving: Flags) -> None:
        """Write the bounds of means: what a mean leaves is shared by the rows that move."""
        rows = np.flatnonzero(self._indexed & moving)
        index = self.relations.index[rows]
        count = np.bincount(index, minlength=len(self.budget))
        room = self._slack(price)[index] / np.maximum(count[index], 1) * self.relations.rival[rows]
        high[rows] = np.minimum(high[rows], price[rows] + _at_most(room + _WHOLE))


def linked_rails(relations: PriceRelations, bounds: PriceBounds) -> LinkedRails:
    """``relations`` made consistent with the floors and ceilings of n products.

    Args:
        relations: among n rows.
        bounds: of the same rows; never widened.
    """
    floor, ceiling = bounds.floor, bounds.ceiling
    relaxed = np.zeros(len(bounds), dtype=np.int8)
    relations, left = _without_outliers(relations, bounds)
    relaxed[left] = Rule.ZONE_PARITY_RELAXED
    capped = np.minimum(ceiling, _at_most(np.minimum(relations.cap, ceiling + 1.0)))
    relaxed[capped < floor] = Rule.KVI_INDEX_RELAXED
    high = _descend(relations, np.maximum(capped, floor), floor)
    relations = _loosened(relations, high, relaxed)
    low = np.minimum(_ascend(relations, floor, high), high)
    budget = _budgets(relations, low, relaxed)
    return LinkedRails(
        relations=relations,
        low=low,
        high=high,
        budget=budget,
        relaxed=relaxed,
        low_rule=np.where(low > floor, _rule_of(relations), 0).astype(np.int8),
        high_rule=np.where(
            high < capped, _rule_of(relations), np.where(capped < ceiling, int(Rule.KVI_INDEX), 0)
        ).astype(np.int8),
        group=_turn_groups(relations),
        exponent=bounds.exponent,
    )


def _without_outliers(
    relations: PriceRelations, bounds: PriceBounds
) -> tuple[PriceRelations, Flags]:
    """Zones without the members (n,) whose own range misses the interval about the median price.

    A zone whose floors and ceilings leave all of its members room keeps them all.
    """
    zone = relations.zone
    inside = np.flatnonzero(zone != ALONE)
    if not inside.size:
        return relations, np.zeros(len(zone), dtype=bool)
    wanted = np.clip(bounds.current, bounds.floor, bounds.ceiling)
    order = inside[np.lexsort((wanted[inside], zone[inside]))]
    first = np.flatnonzero(np.r_[True, np.diff(zone[order]) != 0])
    size = np.diff(np.r_[first, len(order)])
    median = np.full(zone.max() + 1, 1)
    median[zone[order[first]]] = wanted[order[first + (size - 1) // 2]]
    centre = median[np.maximum(zone, 0)]
    factor = 1 + relations.zone_share
    base = np.maximum(_at_least(centre / np.sqrt(factor)), 1)
    misses = (bounds.floor > _at_most(factor * base)) | (bounds.ceiling < base)
    lowest_ceiling, _ = _extremes(zone, bounds.ceiling)
    _, highest_floor = _extremes(zone, bounds.floor)
    narrow = highest_floor > _at_most(factor * lowest_ceiling)
    left = (zone != ALONE) & narrow & misses
    return replace(relations, zone=np.where(left, ALONE, zone)), left


def _descend(relations: PriceRelations, start: Minors, floor: Minors) -> Minors:
    """H: lower from ``start`` until every relation holds or its left side is at its floor."""
    high = start
    for sweep in range(PATIENCE + len(start)):
        limit = np.maximum(np.minimum(high, _highest(relations, high)), floor)
        moved = limit < high
        if not moved.any():
            break
        high = np.where(moved & (sweep >= PATIENCE), floor, limit)
    return high


def _ascend(relations: PriceRelations, floor: Minors, high: Minors) -> Minors:
    """L: raise from the floors until every relation holds, never above H."""
    low, factor = floor, 1 + relations.zone_share
    for _ in range(PATIENCE + len(floor)):
        raised = low.copy()
        np.maximum.at(raised, relations.right, _at_least(low[relations.left] / relations.ratio))
        _, highest = _extremes(relations.zone, low)
        raised = np.where(
            relations.zone != ALONE, np.maximum(raised, _at_least(highest / factor)), raised
        )
        raised = np.minimum(raised, high)
        if np.array_equal(raised, low):
            break
        low = raised
    return low


def _loosened(relations: PriceRelations, high: Minors, relaxed: Codes) -> PriceRelations:
    """Relations that hold at H; each one that did not is noted in ``relaxed``."""
    left, right, kind = relations.left, relations.right, relations.kind
    over = high[left] > _at_most(relations.ratio * high[right])
    for rule in (Rule.SIZE_PARITY, Rule.PRICE_LADDER):
        of_kind = over & (kind == rule)
        relaxed[left[of_kind]] = relaxed[right[of_kind]] = Rule[f"{rule.name}_RELAXED"]
    least = high[left] / np.maximum(high[right], 1)
    lowest, _ = _extremes(relations.zone, high)
    out = (relations.zone != ALONE) & (high > _at_most((1 + relations.zone_share) * lowest))
    relaxed[out] = Rule.ZONE_PARITY_RELAXED
    return replace(
        relations,
        ratio=np.where(over, least, relations.ratio),
        zone=np.where(out, ALONE, relations.zone),
    )


def _budgets(relations: PriceRelations, low: Minors, relaxed: Codes) -> Floats:
    """(g,) largest sum of each index group: the limit, or what even L adds up to."""
    rows = np.flatnonzero(relations.index != ALONE)
    index = relations.index[rows]
    count = int(index.max(initial=-1)) + 1
    limit = np.bincount(index, minlength=count) * relations.index_limit if count else np.zeros(0)
    least = np.bincount(index, low[rows] / relations.rival[rows], minlength=count)
    over = least[:count] > limit
    relaxed[rows[over[index]]] = Rule.KVI_MEAN_INDEX_RELAXED
    return np.maximum(limit, least[:count])


def _highest(relations: PriceRelations, price: Minors) -> Minors:
    """(n,) the highest price that pairs and groups allow each row at the others' prices."""
    limit = np.full(len(price), np.iinfo(np.int64).max)
    np.minimum.at(limit, relations.left, _at_most(relations.ratio * price[relations.right]))
    lowest, _ = _extremes(relations.zone, price)
    of_zone = _at_most((1 + relations.zone_share) * lowest)
    return np.where(relations.zone != ALONE, np.minimum(limit, of_zone), limit)


def _extremes(
    group: Indices, price: Minors, *, like: Indices | None = None
) -> tuple[Minors, Minors]:
    """(n,) lowest and highest price of each row's group; of ``like``'s group where given."""
    asked = group if like is None else like
    count = int(max(asked.max(initial=ALONE), ALONE)) + 2
    lowest, highest = np.full(count, np.iinfo(np.int64).max >> 8), np.zeros(count, dtype=np.int64)
    rows = np.flatnonzero(group != ALONE)
    np.minimum.at(lowest, group[rows], price[rows])
    np.maximum.at(highest, group[rows], price[rows])
    return lowest[asked], highest[asked]


def _rule_of(relations: PriceRelations) -> Codes:
    """(n,) a relation that names each row; pairs before zones."""
    rule = np.where(relations.zone != ALONE, int(Rule.ZONE_PARITY), int(Rule.NONE))
    rule[relations.left], rule[relations.right] = relations.kind, relations.kind
    return rule.astype(np.int8)


def _turn_groups(relations: PriceRelations) -> Indices:
    """(n,) connected rows of pairs and of zones small enough to take turns."""
    count = len(relations.zone)
    inside = np.flatnonzero(relations.zone != ALONE)
    order = inside[np.argsort(relations.zone[inside], kind="stable")]
    sizes = np.bincount(relations.zone[order]) if order.size else np.zeros(1, dtype=np.int64)
    order = order[sizes[relations.zone[order]] <= MAX_TURNS]
    same = relations.zone[order[1:]] == relations.zone[order[:-1]]
    start = np.concatenate([relations.left, order[:-1][same]])
    end = np.concatenate([relations.right, order[1:][same]])
    edges = coo_array((np.ones(len(start), dtype=np.int8), (start, end)), shape=(count, count))
    return np.asarray(connected_components(edges, directed=False)[1], dtype=np.int64)


def _at_most(minor: Floats) -> Minors:
    """Largest whole minor unit not above ``minor``."""
    return np.asarray(np.floor(minor * (1 + _DOWN)).astype(np.int64))


def _at_least(minor: Floats) -> Minors:
    """Smallest whole minor unit not below ``minor``."""
    return np.asarray(np.ceil(minor * (1 - _UP)).astype(np.int64))
