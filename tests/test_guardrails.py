"""Guard rails: properties over random products, and the stated order on hand-made clashes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.currency import currency_exponent, to_major
from pricing_assets.core.errors import GuardRailError
from pricing_assets.core.guardrails import PriceBounds, enforce, price_bounds
from pricing_assets.core.price_endings import ENDINGS, CandidatePrices, candidate_prices
from pricing_assets.core.price_parameters import GuardRailParameters
from pricing_assets.core.price_rules import REFUSALS, Rule, sentence
from pricing_assets.core.price_windows import PriceWindows, price_windows
from pricing_assets.core.settings import PricingSettings

TINY = 1e-9
"""Relative slack of checks made in floating point on prices that are exact in minor units."""


def bounds_of(current, cost=np.nan, map_price=np.nan, **changes) -> PriceBounds:
    windows = changes.pop("windows", None)
    rails = {key: changes.pop(key) for key in GuardRailParameters.model_fields if key in changes}
    parameters = PricingSettings(guardrails=GuardRailParameters(**rails), **changes)
    arrays = np.broadcast_arrays(
        *(np.atleast_1d(np.float64(v)) for v in (current, cost, map_price))
    )
    return price_bounds(
        current_price=arrays[0],
        unit_cost=arrays[1],
        map_price=arrays[2],
        settings=parameters,
        windows=windows,
    )


def windows_of(
    current, *, reference=np.nan, prior=np.nan, status="", frozen=False, **changes
) -> PriceWindows:
    """The windows of one product, of a batch where ``current`` is an array."""
    rails = {key: changes.pop(key) for key in GuardRailParameters.model_fields if key in changes}
    count = len(np.atleast_1d(current))

    def spread(value) -> np.ndarray:
        return np.broadcast_to(np.float64(value), count).copy()

    return price_windows(
        current_price=spread(current),
        reference_price=spread(reference),
        prior_price=spread(prior),
        status=np.full(count, status, dtype=object),
        frozen=np.full(count, frozen),
        settings=PricingSettings(guardrails=GuardRailParameters(**rails), **changes),
    )


def edges(bounds: PriceBounds) -> tuple[int, int]:
    return int(bounds.floor[0]), int(bounds.ceiling[0])


def searched(bounds: PriceBounds, ending: str = "none", k: int = 16) -> CandidatePrices:
    return candidate_prices(bounds, ending=ending, k=k)


prices = st.floats(0.02, 50_000, allow_nan=False)
strange = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e300, 5e-324, 0.0049])
maybe_missing = st.one_of(st.just(np.nan), prices)


@settings(max_examples=300, deadline=None)
@given(
    current=prices,
    cost=maybe_missing,
    map_price=maybe_missing,
    ceiling=st.one_of(st.none(), prices),
    margin=st.floats(0, 0.9),
    change=st.floats(0.001, 1),
    currency=st.sampled_from(["USD", "JPY", "KWD"]),
    ending=st.sampled_from([*ENDINGS, "auto"]),
    k=st.integers(2, 40),
)
def test_every_candidate_obeys_every_rule_in_the_stated_order(
    current, cost, map_price, ceiling, margin, change, currency, ending, k
) -> None:
    bounds = bounds_of(
        current,
        cost,
        map_price,
        absolute_ceiling=ceiling,
        min_margin=margin,
        max_price_change=change,
        currency=currency,
    )
    found = searched(bounds, ending, k)
    if not bounds.priceable[0]:
        assert bounds.refusal[0] == Rule.INVALID_CURRENT_PRICE
        return
    unit = 10.0 ** -currency_exponent(currency)
    for minor in np.unique(found.prices):
        enforce(np.array([minor]), bounds)
        price = minor * unit
        assert np.isnan(cost) or (price - cost) / price >= margin - TINY
        assert np.isnan(map_price) or price >= map_price * (1 - TINY)
        if bounds.conflict[0] == Rule.NONE:
            assert abs(price / current - 1) <= change + TINY
            assert ceiling is None or price <= max(ceiling, unit) * (1 + TINY)
    if bounds.conflict[0] != Rule.NONE:
        assert bounds.floor[0] == bounds.ceiling[0]
    if ending in ENDINGS and not found.ending_missed[0]:
        spacing, remainder = ENDINGS[ending]
        assert np.all(found.prices[:, 1:] % spacing == remainder)


@settings(max_examples=200, deadline=None)
@given(
    current=st.one_of(prices, strange),
    cost=st.one_of(prices, strange),
    map_price=st.one_of(prices, strange),
)
def test_nothing_strange_passes_and_a_refused_product_keeps_its_price(
    current, cost, map_price
) -> None:
    bounds = bounds_of(current, cost, map_price)
    found = searched(bounds)
    assert found.prices.dtype == np.int64
    if not (np.isfinite(current) and np.rint(current * 100) >= 1 and current < 1e10):
        assert bounds.refusal[0] == Rule.INVALID_CURRENT_PRICE
        assert not bounds.priceable[0]
        with pytest.raises(GuardRailError):
            enforce(found.prices[:, 0], bounds)
    elif bounds.refusal[0] != Rule.NONE:
        assert np.all(found.prices == round(current * 100))
    else:
        assert np.isnan(cost) or 0 <= cost < 1e10


@settings(max_examples=200, deadline=None)
@given(
    floor=st.integers(1, 3000),
    width=st.integers(0, 1500),
    ending=st.sampled_from(list(ENDINGS)),
)
def test_with_room_for_all_every_price_with_the_ending_is_searched(floor, width, ending) -> None:
    """Brute force: the candidates are exactly the prices of the range that have the ending."""
    zeros = np.zeros(1, np.int8)
    edge = np.array([floor], np.int64)
    bounds = PriceBounds(edge, edge + width, edge * 0, zeros, zeros, zeros, zeros, 2)
    spacing, remainder = ENDINGS[ending]
    inside = [p for p in range(floor, floor + width + 1) if p % spacing == remainder]
    found = searched(bounds, ending, k=1503)
    assert set(found.prices[0].tolist()) == set(inside or range(floor, floor + width + 1))
    assert bool(found.ending_missed[0]) == (not inside)


def test_default_window_is_a_fifth_of_the_current_price_and_margin_fifteen_percent() -> None:
    assert edges(bounds_of(10.0, 5.0)) == (800, 1200)
    bounds = bounds_of(10.0, 8.5)
    assert edges(bounds) == (1000, 1200)
    assert bounds.floor_rule[0] == Rule.MARGIN_FLOOR
    assert bounds.ceiling_rule[0] == Rule.LARGEST_INCREASE


def test_a_current_price_between_minor_units_keeps_the_change_inside_its_limit() -> None:
    bounds = bounds_of(2.994999)
    assert edges(bounds) == (240, 359)
    assert bounds.current[0] == 299
    assert searched(bounds).prices[0, 0] == 299


def test_the_floor_wins_over_the_largest_change_and_says_so() -> None:
    bounds = bounds_of(10.0, 11.0)
    assert edges(bounds) == (1295, 1295)
    assert bounds.conflict[0] == Rule.FLOOR_ABOVE_CEILING
    found = searched(bounds, "99")
    assert np.all(found.prices == 1295) and found.ending_missed[0]
    assert "the floor wins" in sentence(Rule.FLOOR_ABOVE_CEILING, settings=PricingSettings())


def test_the_floor_wins_over_the_absolute_ceiling() -> None:
    bounds = bounds_of(10.0, 9.0, absolute_ceiling=9.5)
    assert edges(bounds) == (1059, 1059)
    assert bounds.conflict[0] == Rule.FLOOR_ABOVE_CEILING
    assert bounds.ceiling_rule[0] == Rule.ABSOLUTE_CEILING


def test_the_absolute_ceiling_wins_over_the_largest_decrease() -> None:
    bounds = bounds_of(100.0, 10.0, absolute_ceiling=50.0)
    assert edges(bounds) == (5000, 5000)
    assert bounds.conflict[0] == Rule.CEILING_BELOW_LARGEST_DECREASE


def test_map_is_a_floor_above_the_margin() -> None:
    bounds = bounds_of(10.0, 5.0, 9.49)
    assert edges(bounds) == (949, 1200)
    assert bounds.floor_rule[0] == Rule.MAP_FLOOR


def test_a_price_too_small_for_its_minor_unit_stays_at_the_nearest_one() -> None:
    bounds = bounds_of(1.4, currency="JPY")
    assert edges(bounds) == (1, 1)
    assert bounds.conflict[0] == Rule.MINOR_UNIT_TOO_COARSE


def test_minor_units_follow_the_currency() -> None:
    assert edges(bounds_of(1000.0, currency="JPY")) == (800, 1200)
    assert edges(bounds_of(1.0, currency="KWD")) == (800, 1200)
    np.testing.assert_allclose(to_major(np.array([1234]), exponent=3), [1.234])


def test_holding_is_always_possible_when_the_current_price_is_allowed() -> None:
    assert searched(bounds_of(10.37, 5.0), "99").prices[0, 0] == 1037


def test_a_current_price_below_the_floor_moves_to_the_nearest_allowed_ending() -> None:
    bounds = bounds_of(10.0, 8.6)
    assert not bounds.current_inside[0]
    assert searched(bounds, "99").prices[0, 0] == 1099


def test_auto_takes_the_coarsest_ending_that_leaves_a_choice() -> None:
    dear, cheap, tiny = (searched(bounds_of(p), "auto", 400) for p in (100.0, 5.0, 0.05))
    assert np.all(dear.prices[0, 1:] % 100 == 99)
    assert np.all(cheap.prices[0, 1:] % 10 == 9) and not cheap.ending_missed[0]
    assert tiny.ending_missed[0] and set(tiny.prices[0].tolist()) == {4, 5, 6}


def test_a_wide_range_is_searched_evenly_with_both_ends() -> None:
    found = searched(bounds_of(5000.0), "99", 64)
    assert found.prices.shape == (1, 64)
    grid = found.prices[0, 1:]
    assert (grid[0], grid[-1]) == (400_099, 599_999)
    assert np.diff(grid).max() - np.diff(grid).min() <= 100


def test_enforce_refuses_what_is_outside_and_what_is_no_integer() -> None:
    bounds = bounds_of(10.0, 5.0)
    np.testing.assert_array_equal(enforce(np.array([800]), bounds), [800])
    with pytest.raises(GuardRailError, match="799 minor units, allowed 800 to 1200"):
        enforce(np.array([799]), bounds)
    with pytest.raises(GuardRailError, match="integers"):
        enforce(np.array([np.nan]), bounds)


def test_inputs_are_not_changed_and_results_are_the_same_alone_or_in_a_batch() -> None:
    generator = np.random.default_rng(1)
    current, cost = generator.uniform(1, 100, 50), generator.uniform(0.5, 90, 50)
    kept = current.copy()
    batch = bounds_of(current, cost)
    np.testing.assert_array_equal(current, kept)
    for row in range(50):
        assert edges(bounds_of(current[row], cost[row])) == edges(batch.rows(slice(row, row + 1)))


def test_every_rule_has_a_code_and_a_sentence() -> None:
    parameters = PricingSettings()
    assert all(sentence(rule, settings=parameters) for rule in Rule if rule != Rule.NONE)
    assert len({rule.code for rule in Rule}) == len(Rule)


def test_one_candidate_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        searched(bounds_of(1.0), k=1)


def test_a_day_of_small_steps_cannot_compound() -> None:
    """Hourly raises of a fifth against the last price: 1.2 to the 24th is a factor of 79."""
    price = 10.0
    for _ in range(24):
        bounds = bounds_of(price, windows=windows_of(price, reference=10.0))
        price = float(bounds.ceiling[0]) / 100
    assert price == 12.0
    assert bounds.ceiling_rule[0] == Rule.DAY_INCREASE


def test_the_next_day_counts_from_the_price_of_the_day_before() -> None:
    bounds = bounds_of(12.0, windows=windows_of(12.0, reference=12.0))
    assert edges(bounds) == (960, 1440)


@settings(max_examples=300, deadline=None)
@given(
    current=prices,
    reference=st.one_of(st.just(np.nan), prices, strange),
    prior=st.one_of(st.just(np.nan), prices),
    cost=maybe_missing,
    daily=st.one_of(st.none(), st.floats(0.01, 2)),
    change=st.floats(0.01, 1),
    status=st.sampled_from(["", "active", "Clearance", "markdown"]),
    ceiling=st.one_of(st.none(), prices),
)
def test_windows_hold_in_the_stated_order(
    current, reference, prior, cost, daily, change, status, ceiling
) -> None:
    """Floor and ceiling first, then prior price, day and status, then the step."""
    named = {
        "prior_price_rule": True,
        "max_daily_change": daily,
        "absolute_ceiling": ceiling,
        "max_price_change": change,
    }
    windows = windows_of(current, reference=reference, prior=prior, status=status, **named)
    bounds = bounds_of(current, cost, windows=windows, **named)
    assert np.all(windows.low <= windows.high)
    low, high = (edge / 100 for edge in edges(bounds))
    if bounds.conflict[0] == Rule.FLOOR_ABOVE_CEILING:
        return
    assert np.isnan(cost) or (low - cost) / low >= 0.15 - TINY
    if not np.isnan(prior) and prior >= 0.02:
        assert high < prior or windows.clash[0]
    usable = np.isfinite(reference) and np.rint(reference * 100) >= 1 and reference < 1e10
    if usable and not windows.clash[0] and bounds.floor_rule[0] != Rule.MARGIN_FLOOR:
        allowed = change if daily is None else daily
        assert high <= reference * (1 + allowed) * (1 + TINY) or high * 100 == np.rint(
            reference * 100
        )
    if status in ("Clearance", "markdown") and not windows.clash[0]:
        assert round(high * 100) <= max(round(current * 100), edges(bounds)[0])


def test_a_promotion_stays_below_its_prior_price_and_the_prior_price_beats_the_day() -> None:
    named = {"prior_price_rule": True}
    bounds = bounds_of(10.0, windows=windows_of(10.0, prior=9.0, **named))
    assert edges(bounds) == (800, 899)
    assert bounds.ceiling_rule[0] == Rule.PRIOR_PRICE
    windows = windows_of(10.0, prior=7.0, reference=10.0, **named)
    bounds = bounds_of(10.0, windows=windows)
    assert edges(bounds) == (699, 699)
    assert bounds.conflict[0] == Rule.WINDOWS_CLASH
    assert edges(bounds_of(10.0, windows=windows_of(10.0, prior=9.0))) == (800, 1200)


def test_cost_beats_the_prior_price() -> None:
    windows = windows_of(10.0, prior=8.0, prior_price_rule=True)
    bounds = bounds_of(10.0, 8.5, windows=windows)
    assert edges(bounds) == (1000, 1000)
    assert bounds.conflict[0] == Rule.FLOOR_ABOVE_CEILING


def test_a_stale_current_price_yields_to_the_durable_reference() -> None:
    """A feed that says 30 where 10 was in force yesterday moves the price to 12, not to 24."""
    bounds = bounds_of(30.0, windows=windows_of(30.0, reference=10.0))
    assert edges(bounds) == (1200, 1200)
    assert bounds.conflict[0] == Rule.WINDOW_BEYOND_LARGEST_CHANGE


@pytest.mark.parametrize(
    ("named", "rule"),
    [({"frozen": True}, Rule.FROZEN), ({"status": "Recalled"}, Rule.EXPIRED)],
)
def test_a_frozen_or_expired_product_keeps_its_price(named, rule) -> None:
    bounds = bounds_of(10.0, 9.9, windows=windows_of(10.0, **named))
    assert edges(bounds) == (1000, 1000)
    assert bounds.refusal[0] == rule
    assert rule in REFUSALS


def test_a_clearance_price_only_falls() -> None:
    bounds = bounds_of(10.0, windows=windows_of(10.0, status="clearance"))
    assert edges(bounds) == (800, 1000)
    assert bounds.ceiling_rule[0] == Rule.ONLY_DOWN


@settings(max_examples=200, deadline=None)
@given(
    floor=st.integers(1, 2000),
    width=st.integers(0, 800),
    ending=st.sampled_from([*ENDINGS, "round"]),
    step=st.sampled_from([1, 2, 5, 10, 25, 50, 100]),
    exponent=st.sampled_from([0, 2, 3]),
)
def test_steps_and_endings_are_searched_together(floor, width, ending, step, exponent) -> None:
    """Brute force: ending on the step, else the step alone, else any price."""
    zeros, edge = np.zeros(1, np.int8), np.array([floor], np.int64)
    bounds = PriceBounds(edge, edge + width, edge * 0, zeros, zeros, zeros, zeros, exponent, step)
    spacing, remainder = (10**exponent, 0) if ending == "round" else ENDINGS[ending]
    inside = range(floor, floor + width + 1)
    both = [p for p in inside if p % spacing == remainder and p % step == 0]
    stepped = [p for p in inside if p % step == 0]
    found = searched(bounds, ending, k=803)
    assert set(found.prices[0].tolist()) == set(both or stepped or inside)
    assert bool(found.ending_missed[0]) == (not both)
    assert bool(found.step_missed[0]) == (not stepped and step > 1)


def test_a_step_of_five_cents_in_three_currencies() -> None:
    for currency, whole in (("USD", 5), ("KWD", 50)):
        bounds = bounds_of(3.0, price_step=0.05, currency=currency)
        assert bounds.step == whole
        assert np.all(searched(bounds).prices[:, 1:] % whole == 0)
    assert bounds_of(300.0, price_step=0.05, currency="JPY").step == 1


def test_round_is_whole_units_of_the_currency() -> None:
    assert np.all(searched(bounds_of(20.0), "round").prices[0, 1:] % 100 == 0)
    assert np.all(searched(bounds_of(20.0, currency="KWD"), "round").prices[0, 1:] % 1000 == 0)
    assert 301 in searched(bounds_of(300.0, currency="JPY"), "round", k=200).prices


def test_an_ending_that_no_step_has_yields_to_the_step() -> None:
    found = searched(bounds_of(10.0, price_step=0.05), "99")
    assert found.ending_missed[0] and not found.step_missed[0]
    assert np.all(found.prices[0, 1:] % 5 == 0)
