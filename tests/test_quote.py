"""One price for one request: the published one exactly, live ones monotone and guarded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.errors import GuardRailError, InputError, UnknownProductError
from pricing_assets.core.price_parameters import GuardRailParameters
from pricing_assets.core.settings import PricingSettings
from serving.context import EMPTY, WEEKDAYS, Context
from serving.live_demand import CurveRow
from serving.live_quote import quote
from serving.quote import PricedRow, bounds_at, frozen_quote
from serving.rule_quote import rule_quote

SETTINGS = PricingSettings()
WEEK = (0.8, 0.8, 0.9, 1.0, 1.2, 1.3, 1.0)


def row(
    *,
    reference: float = 20.0,
    current: float | None = None,
    elasticity: float = -2.0,
    sd: float = 0.3,
    curvature: float = 1.0,
    rival_elasticity: float = 0.8,
    cost: float = 9.0,
    units: float = 280.0,
    share: float = 0.5,
    using: PricingSettings = SETTINGS,
) -> PricedRow:
    """A published row whose price lies at ``share`` of the way from floor to ceiling."""
    current = reference if current is None else current
    bounds = bounds_at(current_price=current, unit_cost=cost, settings=using)
    floor, ceiling = int(bounds.floor[0]), int(bounds.ceiling[0])
    curve = CurveRow(
        reference_price=reference,
        reference_units=units,
        reference_units_cv=0.2,
        elasticity_mean=elasticity,
        elasticity_sd=sd,
        curvature=curvature,
        rival_elasticity=rival_elasticity,
        reference_rival_price=reference,
        promo_lift=1.4,
        weekday_index=WEEK,
        unit_cost=cost,
        map_price=float("nan"),
        support_low=reference * 0.8,
        support_high=reference * 1.2,
    )
    return PricedRow(
        product_id="SKU-1",
        store_id="",
        segment="",
        currency="USD",
        current_price=current,
        recommended_price=round(floor + share * (ceiling - floor)) / 100,
        price_floor=floor / 100,
        price_ceiling=ceiling / 100,
        reasons=("a reason",),
        expected_units=units,
        confidence=0.7,
        objective="profit",
        horizon_days=28,
        curve=curve,
    )


ROWS = st.builds(
    row,
    reference=st.floats(0.5, 500),
    elasticity=st.floats(-6, -0.3),
    sd=st.floats(0, 1),
    curvature=st.sampled_from([0.0, 0.5, 1.0]),
    rival_elasticity=st.floats(-1, 3) | st.just(float("nan")),
    cost=st.floats(0.01, 600) | st.just(float("nan")),
    units=st.floats(0, 5000),
    share=st.floats(0, 1),
)
CONTEXTS = st.builds(
    Context,
    current_stock=st.none() | st.floats(0, 1e5),
    day_of_week=st.none() | st.integers(0, 6),
    comp_price=st.none() | st.floats(0.01, 2000),
    is_promo=st.none() | st.booleans(),
    objective=st.sampled_from([None, "profit", "revenue", "market_share"]),
)


@given(ROWS)
def test_without_context_the_answer_is_the_published_price_exactly(published: PricedRow) -> None:
    answer = quote(published, EMPTY, settings=SETTINGS)
    assert answer.recommended_price == published.recommended_price
    assert answer.expected_units == published.expected_units
    assert answer.source == "table"


def test_what_says_the_same_as_the_table_is_no_context() -> None:
    published = row()
    same = Context(
        is_promo=False,
        current_price=published.current_price,
        objective="profit",
        unit_cost=9.0,
    )
    assert quote(published, same, settings=SETTINGS).source == "table"


@settings(max_examples=300, deadline=None)
@given(ROWS, CONTEXTS, st.floats(0.2, 5))
def test_every_price_is_inside_its_guard_rails(
    published: PricedRow, context: Context, ratio: float
) -> None:
    context = replace(context, current_price=published.current_price * ratio)
    answer = quote(published, context, settings=SETTINGS)
    assert answer.price_floor <= answer.recommended_price <= answer.price_ceiling
    assert answer.recommended_price == round(answer.recommended_price, 2)
    assert 0 <= answer.confidence <= 1
    assert answer.expected_units is None or np.isfinite(answer.expected_units)


@settings(max_examples=400, deadline=None)
@given(ROWS, CONTEXTS, st.floats(0, 1e5), st.floats(0, 1e5))
def test_less_stock_never_lowers_the_price(
    published: PricedRow, context: Context, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    scarce = quote(published, replace(context, current_stock=less), settings=SETTINGS)
    plenty = quote(published, replace(context, current_stock=more), settings=SETTINGS)
    silent = quote(published, replace(context, current_stock=None), settings=SETTINGS)
    assert scarce.recommended_price >= plenty.recommended_price >= silent.recommended_price


@settings(max_examples=400, deadline=None)
@given(ROWS, CONTEXTS, st.floats(0.01, 2000), st.floats(0.01, 2000))
def test_a_dearer_rival_never_lowers_the_price(
    published: PricedRow, context: Context, one: float, other: float
) -> None:
    cheap, dear = sorted((one, other))
    low = quote(published, replace(context, comp_price=cheap), settings=SETTINGS)
    high = quote(published, replace(context, comp_price=dear), settings=SETTINGS)
    assert high.recommended_price >= low.recommended_price


@settings(max_examples=60, deadline=None)
@given(ROWS, CONTEXTS)
def test_close_rivals_are_monotone_too(published: PricedRow, context: Context) -> None:
    around = published.curve.reference_rival_price * np.linspace(0.6, 1.6, 21)  # type: ignore[union-attr]
    prices = [
        quote(published, replace(context, comp_price=float(r)), settings=SETTINGS).recommended_price
        for r in around
    ]
    assert prices == sorted(prices)


def test_context_does_move_the_price() -> None:
    published = row(share=0.5)
    base = published.recommended_price
    few = quote(published, Context(current_stock=20), settings=SETTINGS)
    assert few.recommended_price > base
    assert any("must last 7 days" in reason for reason in few.reasons)
    busy = Context(current_stock=70, day_of_week=5, is_promo=True)
    calm = Context(current_stock=70, day_of_week=0)
    assert (
        quote(published, busy, settings=SETTINGS).recommended_price
        > quote(published, calm, settings=SETTINGS).recommended_price
    )
    dear = quote(published, Context(comp_price=26.0), settings=SETTINGS)
    cheap = quote(published, Context(comp_price=15.0), settings=SETTINGS)
    assert cheap.recommended_price < base < dear.recommended_price
    assert any("+30%" in reason for reason in dear.reasons)


def test_at_the_known_rival_price_nothing_moves() -> None:
    published = row()
    answer = quote(published, Context(comp_price=20.0), settings=SETTINGS)
    assert answer.recommended_price == published.recommended_price


def test_the_stock_price_is_the_lowest_at_which_the_stock_lasts() -> None:
    plain = PricingSettings(guardrails=GuardRailParameters(price_ending="none"))
    published = row(share=0.0, using=plain)
    curve = published.curve
    assert curve is not None
    answer = quote(published, Context(current_stock=60.0), settings=plain)
    cents = np.arange(round(published.price_floor * 100), round(published.price_ceiling * 100) + 1)
    ratio = cents / 100 / curve.reference_price
    units = curve.reference_units * np.exp(-2.0 * (ratio - 1) + 0.5 * (0.3 * (ratio - 1)) ** 2)
    exact = cents[np.argmax(units / 4 <= 60.0)] / 100
    spacing = (published.price_ceiling - published.price_floor) / (plain.price_table.candidates - 2)
    assert exact <= answer.recommended_price <= exact + spacing + 0.01


def test_an_empty_shelf_takes_the_highest_allowed_price() -> None:
    answer = quote(row(), Context(current_stock=0), settings=SETTINGS)
    assert answer.recommended_price <= answer.price_ceiling
    assert any("0 " in reason for reason in answer.reasons)


def test_another_current_price_brings_its_own_guard_rails() -> None:
    answer = quote(row(), Context(current_price=30.0), settings=SETTINGS)
    assert answer.price_floor == 24.0
    assert answer.price_ceiling == 36.0
    assert answer.source == "live"


def test_on_other_terms_the_published_price_moves_with_the_best_one() -> None:
    best = row(elasticity=-2.5, sd=0.0, curvature=0.0, cost=13.0, share=1.0)
    assert best.recommended_price == 24.0  # 13 * 2.5 / 1.5 = 21.7 is best; the table went beyond
    cheaper = quote(best, Context(unit_cost=11.0), settings=SETTINGS)
    assert cheaper.recommended_price == pytest.approx(24.0 * 11 / 13, abs=1.0)
    units = quote(best, Context(objective="market_share"), settings=SETTINGS)
    assert units.recommended_price < cheaper.recommended_price


def test_a_current_price_a_cent_off_changes_nothing_much() -> None:
    published = row(share=0.9, elasticity=-2.0)
    plain = PricingSettings(guardrails=GuardRailParameters(price_ending="none"))
    for near in (19.99, 20.01):
        answer = quote(published, Context(current_price=near), settings=plain)
        assert answer.recommended_price == published.recommended_price


def test_a_held_price_stays_held_at_the_request_s_current_price() -> None:
    held = replace(row(), recommended_price=20.0, current_price=20.0)
    answer = quote(held, Context(current_price=22.5), settings=SETTINGS)
    assert answer.recommended_price == 22.5


def test_bounds_that_held_the_table_back_move_with_the_current_price() -> None:
    capped = row(elasticity=-1.1, curvature=0.0, share=1.0, cost=16.0)
    raised = quote(capped, Context(current_price=24.0), settings=SETTINGS)
    assert raised.recommended_price > capped.recommended_price


@pytest.mark.parametrize("given_price", [0.19, 2.0, 200.0, 1e6])
def test_a_current_price_of_another_unit_is_refused(given_price: float) -> None:
    with pytest.raises(InputError, match="unit and currency"):
        quote(row(), Context(current_price=given_price), settings=SETTINGS)


def test_without_a_curve_the_published_price_stands() -> None:
    published = replace(row(), curve=None)
    answer = quote(published, Context(current_stock=1), settings=SETTINGS)
    assert answer.recommended_price == published.recommended_price
    assert answer.source == "table"
    assert any("no usable demand curve" in reason for reason in answer.reasons)
    moved = quote(published, Context(current_price=30.0), settings=SETTINGS)
    assert 24.0 <= moved.recommended_price <= 36.0


def test_a_row_outside_its_own_guard_rails_is_never_served() -> None:
    for wrong in (0.01, 1000.0):
        with pytest.raises(GuardRailError):
            quote(replace(row(), recommended_price=wrong), EMPTY, settings=SETTINGS)


def test_cold_start_marks_up_cost_and_clamps_to_the_rival() -> None:
    plain = rule_quote("NEW", Context(unit_cost=10.0), settings=SETTINGS)
    assert plain.recommended_price == pytest.approx(15.0, abs=0.5)
    assert plain.source == "rule"
    assert plain.confidence <= 0.1
    clamped = rule_quote("NEW", Context(unit_cost=10.0, comp_price=13.0), settings=SETTINGS)
    assert clamped.recommended_price == pytest.approx(13.0, abs=0.5)
    floor = rule_quote("NEW", Context(unit_cost=10.0, comp_price=2.0), settings=SETTINGS)
    assert floor.recommended_price >= 10.0 / 0.85
    held = rule_quote("NEW", Context(current_price=12.34), settings=SETTINGS)
    assert held.recommended_price == 12.34


def test_cold_start_with_nothing_to_go_by_is_unknown() -> None:
    for context in (EMPTY, Context(comp_price=5.0), Context(current_stock=3)):
        with pytest.raises(UnknownProductError, match="current_price or unit_cost"):
            rule_quote("NEW", context, settings=SETTINGS)


@settings(max_examples=300, deadline=None)
@given(
    st.none() | st.floats(0.01, 1e6),
    st.floats(0.01, 1e6),
    st.floats(0.01, 1e6),
    st.floats(0.01, 1e6),
)
def test_cold_start_is_monotone_in_the_rival_and_guarded(
    cost: float | None, current: float, one: float, other: float
) -> None:
    answers = [
        rule_quote(
            "NEW",
            Context(unit_cost=cost, current_price=current, comp_price=rival),
            settings=SETTINGS,
        )
        for rival in sorted((one, other))
    ]
    assert answers[0].recommended_price <= answers[1].recommended_price
    for answer in answers:
        assert answer.price_floor <= answer.recommended_price <= answer.price_ceiling


def test_a_frozen_product_keeps_its_current_price() -> None:
    published = row()
    answer = frozen_quote("SKU-1", published, EMPTY, currency="USD")
    assert answer.recommended_price == published.current_price
    assert answer.source == "frozen"
    told = frozen_quote("SKU-1", published, Context(current_price=17.0), currency="USD")
    assert told.recommended_price == 17.0
    with pytest.raises(UnknownProductError, match="frozen"):
        frozen_quote("NEW", None, EMPTY, currency="USD")


@given(CONTEXTS)
def test_buckets_are_stable_and_cautious(context: Context) -> None:
    once = context.bucketed()
    assert once.bucketed() == once
    if context.current_stock is not None:
        assert once.current_stock is not None
        assert once.current_stock <= context.current_stock * (1 + 1e-8)


@given(CONTEXTS, CONTEXTS)
def test_keys_differ_where_contexts_do(one: Context, other: Context) -> None:
    assert (one.key() == other.key()) == (one == other)


def test_seven_weekdays() -> None:
    assert len(WEEKDAYS) == 7
