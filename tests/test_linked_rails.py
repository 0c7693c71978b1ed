"""Rules between products: a common solution always, brute force on small sets, separable bounds."""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.errors import GuardRailError
from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_parameters import GuardRailParameters
from pricing_assets.core.price_relations import ALONE, PriceRelations, price_relations
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.rail_consistency import linked_rails
from pricing_assets.core.settings import PricingSettings


def bounds_of(floor, ceiling, current=None) -> PriceBounds:
    floor, ceiling = np.asarray(floor, np.int64), np.asarray(ceiling, np.int64)
    codes = np.zeros(len(floor), np.int8)
    now = floor if current is None else np.asarray(current, np.int64)
    return PriceBounds(floor, ceiling, now, codes, codes, codes, codes, 2)


def relations_of(
    count, pairs=(), zone=None, share=0.0, cap=None, rival=None, limit=np.inf
) -> PriceRelations:
    left, right, ratio = (np.array([pair[i] for pair in pairs]) for i in range(3))
    none = np.full(count, ALONE)
    known = np.full(count, np.nan) if rival is None else np.asarray(rival, np.float64)
    return PriceRelations(
        left=left.astype(np.int64),
        right=right.astype(np.int64),
        ratio=ratio.astype(np.float64),
        kind=np.full(len(pairs), int(Rule.SIZE_PARITY), np.int8),
        zone=none if zone is None else np.asarray(zone),
        zone_share=share,
        cap=np.full(count, np.inf) if cap is None else np.asarray(cap, np.float64),
        index=none if rival is None else np.where(np.isnan(known), ALONE, 0),
        rival=known,
        index_limit=limit,
    )


def obeys(price, relations: PriceRelations) -> bool:
    """The rules as a person would write them."""
    fine = all(
        price[i] <= r * price[j] * (1 + 1e-9)
        for i, j, r in zip(relations.left, relations.right, relations.ratio, strict=True)
    )
    for zone in set(relations.zone) - {ALONE}:
        members = price[relations.zone == zone]
        fine &= members.max() <= (1 + relations.zone_share) * members.min() * (1 + 1e-9)
    inside = relations.index != ALONE
    if inside.any():
        fine &= (price[inside] / relations.rival[inside]).mean() <= relations.index_limit + 1e-9
    return bool(fine and np.all(price <= relations.cap))


@st.composite
def small_cases(draw) -> tuple[PriceRelations, PriceBounds]:
    count = draw(st.integers(2, 4))
    floor = np.array([draw(st.integers(1, 12)) for _ in range(count)])
    ceiling = floor + [draw(st.integers(0, 5)) for _ in range(count)]
    rows = st.integers(0, count - 1)
    ratio = st.sampled_from([0.5, 0.8, 1 / 1.1, 1.0, 1.25, 2.0, 7 / 3])
    pairs = [
        (i, j, r) for i, j, r in draw(st.lists(st.tuples(rows, rows, ratio), max_size=4)) if i != j
    ]
    zone = [draw(st.sampled_from([ALONE, 0, 1])) for _ in range(count)]
    share = draw(st.sampled_from([0.0, 0.1, 0.5]))
    rival = [draw(st.sampled_from([np.nan, 6.0, 10.0])) for _ in range(count)]
    limit = draw(st.sampled_from([0.8, 1.0, 1.5]))
    relations = relations_of(count, pairs, zone, share, None, rival, limit)
    return relations, bounds_of(floor, ceiling)


def solutions(relations: PriceRelations, bounds: PriceBounds) -> np.ndarray:
    ranges = [range(f, c + 1) for f, c in zip(bounds.floor, bounds.ceiling, strict=True)]
    return np.array([p for p in product(*ranges) if obeys(np.array(p), relations)])


@settings(max_examples=150, deadline=None)
@given(case=small_cases(), seed=st.integers(0, 10**6))
def test_a_feasible_set_is_kept_whole_and_an_infeasible_one_is_reported(case, seed) -> None:
    """Against all price vectors: L and H bound every solution, and are solutions themselves."""
    relations, bounds = case
    rails = linked_rails(relations, bounds)
    found = solutions(relations, bounds)
    assert np.all(bounds.floor <= rails.low) and np.all(rails.low <= rails.high)
    assert np.all(rails.high <= bounds.ceiling)
    if len(found):
        assert not rails.relaxed.any()
        np.testing.assert_array_equal(rails.low, found.min(axis=0))
        assert np.all(found.max(axis=0) <= rails.high)
        assert obeys(rails.low, relations)
    else:
        assert rails.relaxed.any()
    wanted = np.random.default_rng(seed).integers(1, 20, len(bounds))
    start = rails.feasible_start(wanted, bounds, ending="none")
    rails.require(start, bounds)
    assert np.all((rails.low <= start) & (start <= rails.high))
    assert np.all(start <= np.maximum(wanted, rails.low))
    if len(found):
        assert obeys(start, relations)


@settings(max_examples=150, deadline=None)
@given(case=small_cases(), seed=st.integers(0, 10**6))
def test_any_combination_inside_the_separable_bounds_obeys_every_rule(case, seed) -> None:
    relations, bounds = case
    rails, rng = linked_rails(relations, bounds), np.random.default_rng(seed)
    price = rails.feasible_start(rng.integers(1, 20, len(bounds)), bounds, ending="none")
    for _ in range(8):
        rows = np.flatnonzero(rng.random(len(bounds)) < 0.7)
        low, high = rails.bounds_for(rows, price)
        assert np.all((low <= price[rows]) & (price[rows] <= high))
        price = price.copy()
        price[rows] = rng.integers(low, high + 1)
        rails.require(price, bounds)


@settings(max_examples=100, deadline=None)
@given(case=small_cases(), seed=st.integers(0, 10**6))
def test_one_row_alone_gets_every_price_that_the_others_leave_it(case, seed) -> None:
    relations, bounds = case
    rails, rng = linked_rails(relations, bounds), np.random.default_rng(seed)
    price = rails.feasible_start(rng.integers(1, 20, len(bounds)), bounds, ending="none")
    row = int(rng.integers(len(bounds)))
    low, high = rails.bounds_for(np.array([row]), price)
    for value in range(int(rails.low[row]), int(rails.high[row]) + 1):
        moved = price.copy()
        moved[row] = value
        assert bool(low[0] <= value <= high[0]) == (not rails.broken(moved).any())


def test_a_rule_that_floors_forbid_is_loosened_only_as_far_as_they_ask() -> None:
    """The large pack's floor of 900 is above twice the small pack's ceiling of 400."""
    bounds = bounds_of([900, 300], [1200, 400])
    rails = linked_rails(relations_of(2, [(0, 1, 2.0)]), bounds)
    assert list(rails.relaxed) == [Rule.SIZE_PARITY_RELAXED] * 2
    assert (rails.low[0], rails.high[0]) == (900, 900)
    assert (rails.low[1], rails.high[1]) == (400, 400)


def test_ladders_that_contradict_each_other_end_and_are_reported() -> None:
    pairs = [(0, 1, 1 / 1.001), (1, 0, 1 / 1.001)]
    bounds = bounds_of([10_000, 10_000], [5_000_000, 5_000_000])
    rails = linked_rails(relations_of(2, pairs), bounds)
    assert (rails.relaxed == Rule.SIZE_PARITY_RELAXED).any()
    rails.require(rails.feasible_start(np.array([70_000, 80_000]), bounds, ending="99"), bounds)


def test_a_store_that_cannot_join_its_zone_leaves_it_and_the_rest_stay_together() -> None:
    bounds = bounds_of([900, 900, 1500], [1100, 1100, 1600], current=[1000, 1010, 1550])
    rails = linked_rails(relations_of(3, zone=[0, 0, 0], share=0.0), bounds)
    assert list(rails.relaxed) == [0, 0, Rule.ZONE_PARITY_RELAXED]
    start = rails.feasible_start(bounds.current, bounds, ending="none")
    assert list(start) == [1000, 1000, 1550]


def test_moved_prices_keep_the_ending_and_others_stay_where_they_are() -> None:
    bounds = bounds_of([500, 500, 500], [2000, 2000, 2000], current=[1600, 700, 1234])
    rails = linked_rails(relations_of(3, [(0, 1, 2.0)]), bounds)
    assert list(rails.feasible_start(bounds.current, bounds, ending="9")) == [1399, 700, 1234]


def test_a_price_that_breaks_a_rule_does_not_leave() -> None:
    bounds = bounds_of([100, 100], [900, 900])
    rails = linked_rails(relations_of(2, [(0, 1, 1.0)]), bounds)
    rails.require(np.array([300, 300]), bounds)
    with pytest.raises(GuardRailError, match="rule between products; the first is at row 0"):
        rails.require(np.array([301, 300]), bounds)


def catalogue() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "product_id": ["S", "M", "L", "OWN", "NAT", "S", "X"],
            "store_id": ["1", "1", "1", "1", "1", "2", "1"],
            "brand": ["b", "b", "b", "o", "n", "b", ""],
            "category": ["c"] * 7,
            "pack_size": [1.0, 2.0, 6.0, np.nan, 1.0, 1.0, 3.0],
            "zone": ["north"] * 7,
            "kvi": [1, 0, 0, 0, 1, 1, 0],
            "reference_rival_price": [2.0, np.nan, 9.0, np.nan, np.nan, 4.0, 1.0],
        }
    )


def relations_under(**rails) -> PriceRelations:
    parameters = PricingSettings(guardrails=GuardRailParameters(**rails))
    return price_relations(catalogue(), priceable=np.ones(7, bool), settings=parameters)


def test_no_rule_is_on_by_default() -> None:
    assert not relations_under().any


def test_sizes_bind_the_next_larger_pack_of_one_brand_category_and_store() -> None:
    found = relations_under(size_parity=True)
    pairs = {
        (int(i), int(j)): float(r)
        for i, j, r in zip(found.left, found.right, found.ratio, strict=True)
    }
    assert pairs == {(1, 0): 2.0, (2, 1): 3.0}


def test_a_ladder_is_read_from_the_cheapest_up_and_kept_in_each_store() -> None:
    found = relations_under(ladders=["OWN < NAT < X"], ladder_min_gap=0.25)
    assert sorted(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(3, 4), (4, 6)]
    np.testing.assert_allclose(found.ratio, 0.8)
    with pytest.raises(ValueError, match="no ladder"):
        relations_under(ladders=["OWN"])


def test_zones_hold_the_stores_of_one_product_and_an_index_the_key_value_items() -> None:
    zone = relations_under(zone_parity=0.05).zone
    assert zone[0] == zone[5] != ALONE and np.all(np.delete(zone, [0, 5]) == ALONE)
    found = relations_under(kvi_max_index=1.05, kvi_max_mean_index=1.0)
    np.testing.assert_allclose(found.cap[[0, 5]], [210, 420])
    assert np.isinf(np.delete(found.cap, [0, 5])).all()
    assert list(found.index != ALONE) == [True, False, False, False, False, True, False]


def test_rows_without_a_price_are_in_no_relation() -> None:
    parameters = PricingSettings(guardrails=GuardRailParameters(size_parity=True))
    priceable = np.array([True, False, True, True, True, True, True])
    found = price_relations(catalogue(), priceable=priceable, settings=parameters)
    assert list(zip(found.left.tolist(), found.right.tolist(), strict=True)) == [(2, 0)]


def test_a_mean_above_its_limit_is_lowered_towards_the_floors() -> None:
    bounds = bounds_of([500, 500], [1500, 1500])
    relations = relations_of(2, rival=[1000.0, 1000.0], limit=1.0)
    rails = linked_rails(relations, bounds)
    start = rails.feasible_start(np.array([1400, 1000]), bounds, ending="none")
    assert start.mean() <= 1000 and start.mean() > 990
    _, high = rails.bounds_for(np.array([0, 1]), start)
    assert high.sum() <= 2000
