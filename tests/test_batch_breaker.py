"""The batch breaker: each kind of accident trips, ordinary tables pass, and nothing bypasses it."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.batch_breaker import Measure, PriceMoves, breaker_measures, tripped
from pricing_assets.core.errors import BatchBreakerError
from pricing_assets.core.price_parameters import BatchBreakerParameters
from pricing_assets.core.settings import PricingSettings
from serving.price_store import PriceStore
from serving.table_gate import matching_rows, price_moves
from tests.published_tables import NOW, curve_table, price_table, stamps

LIMITS = BatchBreakerParameters()
PRICES = np.round(np.geomspace(2, 200, 60), 2)


def moves(before, after, *, rows_before=None, shared=None, currencies=("USD", "USD")) -> PriceMoves:
    before, after = np.asarray(before, np.float64), np.asarray(after, np.float64)
    rows = len(before) if rows_before is None else rows_before
    shared = min(rows, len(after)) if shared is None else shared
    return PriceMoves(before, after, rows, shared, *currencies)


def found(*arguments, parameters=LIMITS, **named) -> dict[str, Measure]:
    measures = breaker_measures(moves(*arguments, **named), parameters)
    return {one.name: one for one in measures if one.tripped}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 300))
def test_a_table_inside_ordinary_guard_rails_passes(seed, count) -> None:
    """Changes within a fifth of today's price, each on its own cent, are no accident."""
    rng = np.random.default_rng(seed)
    before = np.round(rng.uniform(1, 500, count), 2)
    after = np.round(before * rng.uniform(0.8, 1.2, count), 2)
    assert not found(before, after)


def test_the_same_table_again_passes_and_so_does_an_empty_one() -> None:
    assert not found(PRICES, PRICES)
    assert not found([], [])


def test_one_price_for_everything_is_convergence() -> None:
    """The $13,000 lens at $94: everything of a sale goes to one figure."""
    trip = found(PRICES, np.full(60, 94.48))["convergence"]
    assert trip.value == 1.0
    assert "100% of 60 different prices become the one price 94.48" in trip.sentence


def test_a_third_is_the_limit_of_convergence_and_staying_is_none() -> None:
    after = PRICES.copy()
    after[:18] = 9.99
    assert not found(PRICES, after)
    after[:20] = 9.99
    assert set(found(PRICES, after)) == {"convergence"}
    assert not found(np.full(60, 9.99), np.full(60, 9.49))


def test_stores_that_sell_at_one_price_do_not_converge() -> None:
    """One product in 100 stores moves from one price to another: a single move."""
    before = np.r_[np.full(100, 5.0), PRICES]
    after = np.r_[np.full(100, 5.5), PRICES]
    assert not found(before, after)


@pytest.mark.parametrize("factor", [10.0, 0.1, 100.0])
def test_one_price_in_another_unit_is_a_jump(factor) -> None:
    after = PRICES.copy()
    after[7] *= factor
    trip = found(PRICES, after)["jump"]
    assert trip.value == pytest.approx(max(factor, 1 / factor))
    assert "1 price(s) move by a factor of 10 or more" in trip.sentence


def test_nine_times_is_no_jump() -> None:
    after = PRICES.copy()
    after[7] *= 9
    assert not found(PRICES, after)


@pytest.mark.parametrize(
    ("factor", "trips"), [(1.34, False), (1.36, True), (0.66, False), (0.64, True)]
)
def test_the_mean_of_all_prices_may_not_shift_too_far(factor, trips) -> None:
    assert ("mean_shift" in found(PRICES, PRICES * factor)) == trips


def test_how_many_change_at_once_can_be_limited() -> None:
    after = PRICES.copy()
    after[:31] *= 1.01
    few = BatchBreakerParameters(max_changed_share=0.5)
    assert found(PRICES, after, parameters=few)["changed_share"].value == pytest.approx(31 / 60)
    assert not found(PRICES, after)


def test_a_catalogue_that_loses_most_of_its_rows_is_stopped() -> None:
    trip = found(PRICES[:20], PRICES[:20], rows_before=60)["rows_kept"]
    assert "20 rows have a price where the table before had 60" in trip.sentence
    assert not found(PRICES[:20], PRICES[:20], rows_before=60, shared=0)


def test_another_currency_is_stopped() -> None:
    assert set(found(PRICES, PRICES, currencies=("USD", "EUR"))) == {"currency_change"}
    assert not found(PRICES, PRICES, currencies=("", "EUR"))


def test_unknown_prices_are_left_out() -> None:
    before, after = PRICES.copy(), PRICES.copy()
    before[:5], after[5:10] = np.nan, np.nan
    assert not found(before, after)


def test_rows_are_matched_by_product_store_and_segment() -> None:
    def keyed(*keys) -> pa.Table:
        columns = list(zip(*keys, strict=True))
        names = ("product_id", "store_id", "segment")
        return pa.table(dict(zip(names, map(list, columns), strict=True)))

    before = keyed(("A", "1", ""), ("A", "2", ""), ("B", "", "x"))
    after = keyed(("B", "", "x"), ("A", "2", ""), ("A", "1", "x"), ("A1", "", ""))
    assert list(matching_rows(before, after)) == [2, 1, -1, -1]


def test_the_first_table_is_compared_with_the_current_prices() -> None:
    table = price_table(curve_table(30))
    first = price_moves(None, table)
    np.testing.assert_array_equal(first.before, table["current_price"].to_numpy())
    assert (first.rows_before, first.currency_before) == (0, "")


CURVES = curve_table(60)


def converged() -> pa.Table:
    """All prices at one figure; floor and ceiling let it pass, as a typo in a rule would."""
    table = price_table(CURVES)
    for name, value in (
        ("recommended_price", 9.99),
        ("price_floor", 0.01),
        ("price_ceiling", 900.0),
    ):
        position = table.column_names.index(name)
        table = table.set_column(position, name, pa.array(np.full(table.num_rows, value)))
    return table


def with_override(text: str) -> object:
    made_with = PricingSettings(batch_breaker=BatchBreakerParameters(override=text))
    return stamps().model_copy(update={"settings": made_with})


def test_the_publish_path_itself_refuses_and_the_old_table_stays(tmp_path: Path) -> None:
    store = PriceStore(tmp_path)
    old = store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(), now=NOW)
    with pytest.raises(BatchBreakerError, match=r"the one price 9\.99.*batch_breaker\.override"):
        store.publish(prices=converged(), curves=CURVES, stamps=stamps(), now=NOW)
    assert store.current() == old.table_version
    assert store.versions() == [old.table_version]


def test_the_first_table_cannot_be_an_accident_either(tmp_path: Path) -> None:
    with pytest.raises(BatchBreakerError, match="convergence"):
        PriceStore(tmp_path).publish(prices=converged(), curves=CURVES, stamps=stamps(), now=NOW)


def test_an_override_lets_it_through_and_is_on_record(tmp_path: Path) -> None:
    store = PriceStore(tmp_path)
    passed = store.publish(
        prices=converged(), curves=CURVES, stamps=with_override("Ann: closing sale"), now=NOW
    )
    manifest = store.manifest(passed.table_version)
    assert any("convergence" in line for line in manifest.overridden)
    assert manifest.settings is not None
    assert manifest.settings.batch_breaker.override == "Ann: closing sale"


def test_rolling_back_from_an_accident_is_never_stopped(tmp_path: Path) -> None:
    store = PriceStore(tmp_path)
    good = store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(), now=NOW)
    later = NOW + timedelta(minutes=1)
    store.publish(prices=converged(), curves=CURVES, stamps=with_override("oops"), now=later)
    back = store.rollback(now=later)
    assert back.restored_from == good.table_version
    assert back.overridden == ()


def test_every_measure_says_value_and_limit() -> None:
    measures = breaker_measures(moves(PRICES, PRICES * 2), LIMITS)
    assert [one.name for one in measures] == [
        "currency_change",
        "jump",
        "convergence",
        "mean_shift",
        "changed_share",
        "rows_kept",
    ]
    assert tripped(measures) == (
        "mean_shift: the mean of 60 prices moves by +100.0% (allowed 35%)",
    )
