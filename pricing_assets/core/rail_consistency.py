"""Relations between products made consistent with every product's own floor and ceiling.

Pure. Belongs here: finding the lowest and the highest prices that obey all relations, and
loosening those that leave no room. What follows at given prices is ``core.linked_rails``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.linked_rails import LinkedRails
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

MAX_TURNS = 64
"""Members of a zone that take turns; larger zones move at once, inside a common interval."""


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
    capped = np.minimum(ceiling, at_most(np.minimum(relations.cap, ceiling + 1.0)))
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
    base = np.maximum(at_least(centre / np.sqrt(factor)), 1)
    misses = (bounds.floor > at_most(factor * base)) | (bounds.ceiling < base)
    lowest_ceiling, _ = extremes(zone, bounds.ceiling)
    _, highest_floor = extremes(zone, bounds.floor)
    narrow = highest_floor > at_most(factor * lowest_ceiling)
    left = (zone != ALONE) & narrow & misses
    return replace(relations, zone=np.where(left, ALONE, zone)), left


def _descend(relations: PriceRelations, start: Minors, floor: Minors) -> Minors:
    """H: lower from ``start`` until every relation holds or its left side is at its floor."""
    high = start
    for sweep in range(PATIENCE + len(start)):
        limit = np.maximum(np.minimum(high, highest_allowed(relations, high)), floor)
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
        np.maximum.at(raised, relations.right, at_least(low[relations.left] / relations.ratio))
        _, highest = extremes(relations.zone, low)
        raised = np.where(
            relations.zone != ALONE, np.maximum(raised, at_least(highest / factor)), raised
        )
        raised = np.minimum(raised, high)
        if np.array_equal(raised, low):
            break
        low = raised
    return low


def _loosened(relations: PriceRelations, high: Minors, relaxed: Codes) -> PriceRelations:
    """Relations that hold at H; each one that did not is noted in ``relaxed``."""
    left, right, kind = relations.left, relations.right, relations.kind
    over = high[left] > at_most(relations.ratio * high[right])
    for rule in (Rule.SIZE_PARITY, Rule.PRICE_LADDER):
        of_kind = over & (kind == rule)
        relaxed[left[of_kind]] = relaxed[right[of_kind]] = Rule[f"{rule.name}_RELAXED"]
    least = high[left] / np.maximum(high[right], 1)
    lowest, _ = extremes(relations.zone, high)
    out = (relations.zone != ALONE) & (high > at_most((1 + relations.zone_share) * lowest))
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
