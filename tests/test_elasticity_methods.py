"""Estimators beside the default: dense references, published anchors, planted truths, the rule."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from panels import ELASTICITY, synthetic_panel
from test_examples import example_settings, read_example

from pricing_assets.core.elasticity.choice import (
    data_evidence,
    informed_prior,
    price_noise_share,
)
from pricing_assets.core.elasticity.design import PriceDesign, group_index, price_design
from pricing_assets.core.elasticity.double_ml import (
    Nuisance,
    double_ml,
    product_folds,
    trailing_mean,
)
from pricing_assets.core.elasticity.estimate import estimate_elasticities
from pricing_assets.core.elasticity.fixed_effects import fixed_effects, within
from pricing_assets.core.elasticity.instrumental import (
    cost_follows_price,
    cost_instruments,
    instrumental,
    two_stage,
)
from pricing_assets.core.elasticity.methods_table import (
    METHOD_COLUMNS,
    methods_table,
)
from pricing_assets.core.elasticity.raw_estimates import RawEstimates, random_effects_mean
from pricing_assets.core.elasticity.regression_rows import (
    RegressionRows,
    priced_only_at_sales,
    regression_rows,
)
from pricing_assets.core.elasticity.segments import pool_segment, segment_elasticities
from pricing_assets.core.features import build_panel
from pricing_assets.core.market import Market, MarketParameters, simulate_market
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

SETTINGS = PricingSettings()


def with_method(method: str) -> PricingSettings:
    elasticity = SETTINGS.elasticity.model_copy(update={"method": method})
    return SETTINGS.model_copy(update={"elasticity": elasticity})


def small_rows(seed: int) -> RegressionRows:
    """9 series by 14 periods with holes, unequal weights and one control; slope -2."""
    rng = np.random.default_rng(seed)
    series, period = np.nonzero(rng.random((9, 14)) < 0.8)
    price, control = rng.normal(0, 0.3, len(series)), rng.normal(0, 1, len(series))
    outcome = -2 * price + 0.5 * control + 0.4 * series + 0.1 * period
    outcome += rng.normal(0, 0.2, len(series))
    weight = rng.uniform(0.5, 2.0, len(series))
    return RegressionRows(
        series, period, outcome, price, weight, ("promo",), control[:, None], (9, 14)
    )


def dummies(rows: RegressionRows) -> np.ndarray:
    series = np.eye(9)[rows.series]
    return np.column_stack([series, np.eye(14)[rows.period][:, 1:]])


def test_alternating_projections_equal_dense_dummies() -> None:
    rows = small_rows(1)
    root = np.sqrt(rows.weight)[:, None]
    dense = dummies(rows)
    columns = np.column_stack([rows.outcome, rows.log_price])
    fit = np.linalg.lstsq(dense * root, columns * root, rcond=None)[0]
    found = within(columns, groups=[rows.series, rows.period], weight=rows.weight)
    np.testing.assert_allclose(found, columns - dense @ fit, atol=1e-7)


def test_fixed_effects_equal_dense_least_squares_with_clustered_errors() -> None:
    rows = small_rows(2)
    x = np.column_stack([rows.log_price, rows.controls, dummies(rows)])
    gram = np.linalg.inv(x.T @ (rows.weight[:, None] * x))
    fit = gram @ x.T @ (rows.weight * rows.outcome)
    score = x * (rows.weight * (rows.outcome - x @ fit))[:, None]
    sums = np.stack([score[rows.series == s].sum(axis=0) for s in range(9)])
    error = np.sqrt((gram @ sums.T @ sums @ gram)[0, 0] * 9 / 8)
    found = fixed_effects(rows)
    assert found.common == pytest.approx(fit[0], rel=1e-6)
    assert found.common_standard_error == pytest.approx(error, rel=1e-5)
    assert found.effects["promo"] == pytest.approx(fit[1], rel=1e-5)


def test_two_stage_least_squares_equals_the_closed_form() -> None:
    """Coefficient, clustered error and first-stage F against matrices with all dummies."""
    rows = small_rows(3)
    rng = np.random.default_rng(3)
    instruments = rows.log_price[:, None] * [1.0, 0.5] + rng.normal(0, 0.3, (len(rows.series), 2))
    root = np.sqrt(rows.weight)[:, None]
    exogenous = np.column_stack([rows.controls, dummies(rows)]) * root
    z = np.column_stack([instruments * root, exogenous])
    x = np.column_stack([rows.log_price[:, None] * root, exogenous])
    y = rows.outcome * root[:, 0]
    projected = z @ np.linalg.lstsq(z, x, rcond=None)[0]
    bread = np.linalg.inv(projected.T @ projected)
    fit = bread @ projected.T @ y
    score = projected * (y - x @ fit)[:, None]
    sums = np.stack([score[rows.series == s].sum(axis=0) for s in range(9)])
    error = np.sqrt((bread @ sums.T @ sums @ bread)[0, 0] * 9 / 8)
    first = np.linalg.lstsq(z, x[:, 0], rcond=None)[0]
    z_bread = np.linalg.pinv(z.T @ z)
    z_score = z * (x[:, 0] - z @ first)[:, None]
    z_sums = np.stack([z_score[rows.series == s].sum(axis=0) for s in range(9)])
    covariance = (z_bread @ z_sums.T @ z_sums @ z_bread)[:2, :2] * 9 / 8
    strength = first[:2] @ np.linalg.inv(covariance) @ first[:2] / 2
    found = two_stage(rows, instruments=instruments)
    assert found.common == pytest.approx(fit[0], rel=1e-6)
    assert found.common_standard_error == pytest.approx(error, rel=1e-5)
    assert found.first_stage_f == pytest.approx(strength, rel=1e-5)


@pytest.mark.parametrize(
    ("effects", "controls", "elasticity"),
    [
        ((), 0, -1.51),
        (("series",), 0, -3.10),
        (("series", "period"), 0, -3.97),
        (("series", "period"), 2, -3.29),
    ],
)
def test_fixed_effects_reproduce_orange_juice(
    public_data: Path, effects: tuple[str, ...], controls: int, elasticity: float
) -> None:
    """Published to two digits; ounces and prices per ounce."""
    tables = read_example("orange_juice", public_data)
    sales = tables["sales"].accepted.merge(
        tables["products"].accepted[["product_id", "pack_size"]], on="product_id"
    )
    series = group_index(sales, "product_id", "store_id")
    period = np.asarray(pd.factorize(sales["date"])[0], dtype=np.int64)
    rows = RegressionRows(
        series=series,
        period=period,
        outcome=np.log((sales["units"] * sales["pack_size"]).to_numpy(dtype=np.float64)),
        log_price=np.log((sales["price"] / sales["pack_size"]).to_numpy(dtype=np.float64)),
        weight=np.ones(len(sales)),
        names=("promo", "feature")[:controls],
        controls=sales[["promo", "feature"]].to_numpy(dtype=np.float64)[:, :controls],
        shape=(int(series.max()) + 1, int(period.max()) + 1),
    )
    store = np.zeros(rows.shape[0], dtype=np.int64)
    store[series] = group_index(sales, "store_id")
    found = fixed_effects(rows, effects=effects, cluster=store)
    assert round(found.common, 2) == elasticity
    if controls:
        assert round(found.common_standard_error, 2) == 0.05


def confounded_panel(series: int, periods: int, seed: int) -> Panel:
    """Weekly prices that answer last month's unseen demand; cost moves prices too."""
    rng = np.random.default_rng(seed)
    panel = synthetic_panel(series, periods, seed, weekly=True)
    unseen, price = np.zeros(panel.shape), np.zeros(panel.shape)
    cost = np.cumsum(rng.normal(0, 0.02, panel.shape), axis=1)
    for week in range(1, periods):
        unseen[:, week] = 0.97 * unseen[:, week - 1] + rng.normal(0, 0.08, series)
        answer = 0.4 * unseen[:, max(week - 4, 0) : week].mean(axis=1)
        price[:, week] = answer + cost[:, week] + rng.normal(0, 0.05, series)
    units = rng.poisson(300 * np.exp(unseen + ELASTICITY * price)).astype(float)
    return replace(
        panel,
        units=units,
        price=10 * np.exp(price),
        regular_price=10 * np.exp(price),
        promo=np.zeros(panel.shape),
        unit_cost=6 * np.exp(cost),
        rival_price=np.full(panel.shape, np.nan),
        on_hand=np.full(panel.shape, np.nan),
        censored=np.zeros(panel.shape, dtype=bool),
    )


def prepared(panel: Panel, *, transactions: bool = False) -> tuple[PriceDesign, RegressionRows]:
    design = price_design(panel)
    return design, regression_rows(design, block=2, transactions=transactions)


def test_slow_unseen_demand_misleads_fixed_effects_but_not_the_others() -> None:
    """Effects of series and period are 0.15 or more too weak; cost is right within four errors.

    The past shows slow demand only in part, so that machine learning keeps some of the bias: it
    must lose most of it.
    """
    panel = confounded_panel(60, 150, seed=4)
    design, rows = prepared(panel)
    naive = fixed_effects(rows)
    assert naive.common > ELASTICITY + 0.15
    learned = double_ml(design, rows, period_days=7)
    by_cost = instrumental(panel, rows, min_first_stage_f=20, cost_is_instrument=True)
    assert learned.refused == by_cost.refused == ""
    assert abs(learned.common - ELASTICITY) < 0.15
    assert abs(learned.common - ELASTICITY) < 0.6 * abs(naive.common - ELASTICITY)
    assert abs(by_cost.common - ELASTICITY) < 4 * by_cost.common_standard_error
    for found in (learned, by_cost):
        assert found.common_standard_error < 0.2
        assert abs(np.nanmean(found.slope) - ELASTICITY) < 0.2
    assert by_cost.first_stage_f > 20


def test_a_ridge_nuisance_serves_as_well() -> None:
    panel = confounded_panel(20, 120, seed=5)
    design, rows = prepared(panel)
    found = double_ml(design, rows, period_days=7, nuisance=Nuisance("ridge", seed=1))
    assert abs(found.common - ELASTICITY) < 4 * found.common_standard_error


def test_double_machine_learning_repeats_to_the_last_digit() -> None:
    panel = confounded_panel(20, 80, seed=6)
    design, rows = prepared(panel)
    first, second = (double_ml(design, rows, period_days=7) for _ in range(2))
    assert first.common == second.common


def test_weak_derived_and_absent_costs_are_refused() -> None:
    panel = confounded_panel(20, 80, seed=7)
    _, rows = prepared(panel)
    rng = np.random.default_rng(7)
    weak = replace(panel, unit_cost=6 * np.exp(rng.normal(0, 0.02, panel.shape)))
    derived = replace(panel, unit_cost=0.6 * panel.price)
    absent = replace(panel, unit_cost=np.full(panel.shape, np.nan))
    for other, words in (
        (weak, "first-stage F"),
        (derived, "derived"),
        (absent, "no cost"),
    ):
        found = instrumental(other, rows, min_first_stage_f=20, cost_is_instrument=True)
        assert words in found.refused
        assert np.isnan(found.slope).all()
    told = instrumental(panel, rows, min_first_stage_f=20, cost_is_instrument=False)
    assert "settings" in told.refused
    assert cost_follows_price(derived)
    assert not cost_follows_price(panel)
    assert cost_instruments(panel).shape == (4, *panel.shape)


def test_folds_keep_products_whole_or_leave_gaps_in_time() -> None:
    design, rows = prepared(confounded_panel(20, 80, seed=8))
    kept = np.arange(len(rows.series))
    folds = product_folds(design, rows, kept, period_days=7, seed=0)
    for fold in range(5):
        tested = set(rows.series[folds.test == fold])
        assert tested
        assert tested.isdisjoint(rows.series[folds.train[fold]])
    design, rows = prepared(confounded_panel(3, 80, seed=8))
    kept = np.arange(len(rows.series))
    folds = product_folds(design, rows, kept, period_days=7, seed=0)
    for fold in range(5):
        tested, trained = rows.period[folds.test == fold], rows.period[folds.train[fold]]
        assert np.abs(tested[:, None] - trained[None, :]).min() > 4


def test_features_of_the_past_do_not_know_the_present() -> None:
    rng = np.random.default_rng(9)
    values = rng.normal(0, 1, (3, 20))
    values[1, 4:9] = np.nan
    changed = values.copy()
    changed[:, 10:] += 5.0
    before, after = (trailing_mean(v, periods=4) for v in (values, changed))
    np.testing.assert_allclose(before[:, :11], after[:, :11])
    assert before[0, 10] == pytest.approx(values[0, 6:10].mean())
    assert np.isnan(before[1, 8])


def transaction_panel(seed: int, *, noise: float) -> Panel:
    """Weekly invoices: the asked price moves at times, what is paid is noisy, zeros are many."""
    rng = np.random.default_rng(seed)
    panel = synthetic_panel(120, 80, seed, weekly=True)
    steps = rng.normal(0, 0.3, panel.shape) * (rng.random(panel.shape) < 0.06)
    asked = np.cumsum(steps, axis=1)
    units = rng.poisson(1.2 * np.exp(ELASTICITY * (asked - asked.mean(axis=1, keepdims=True))))
    paid = 10 * np.exp(asked + rng.normal(0, noise, panel.shape))
    for week in range(1, 80):
        paid[:, week] = np.where(units[:, week] > 0, paid[:, week], paid[:, week - 1])
    unknown = np.full(panel.shape, np.nan)
    return replace(
        panel,
        units=units.astype(float),
        price=paid,
        regular_price=paid,
        promo=np.zeros(panel.shape),
        unit_cost=unknown,
        rival_price=unknown,
        on_hand=unknown,
        censored=np.zeros(panel.shape, dtype=bool),
    )


def test_noisy_invoice_prices_are_corrected_and_chosen_by_the_rule() -> None:
    """Truth -2 within four errors, where sales above zero alone say -0.5 and all cells -1.1."""
    noisy = transaction_panel(10, noise=0.25)
    design, sold = prepared(noisy, transactions=True)
    assert priced_only_at_sales(design)
    assert price_noise_share(design, transactions=True) > 0.5
    assert fixed_effects(sold).common > -1.0
    _, rows = prepared(noisy)
    assert fixed_effects(rows).common > -1.4
    found = double_ml(design, rows, period_days=7, identification="lasting_prices")
    assert abs(found.common - ELASTICITY) < 4 * found.common_standard_error
    assert found.common_standard_error < 0.25
    assert found.shared_standard_error == found.common_standard_error
    estimates = estimate_elasticities(noisy, settings=SETTINGS)
    assert estimates.choice.method == "double_ml"
    assert (estimates.frame["method"] == "double_ml+empirical_bayes").all()
    assert abs(estimates.assortment_mean - ELASTICITY) < 4 * estimates.assortment_sd
    assert (estimates.frame["curvature"] == 0).all()


def test_exact_invoice_prices_stay_with_the_default() -> None:
    estimates = estimate_elasticities(transaction_panel(11, noise=0.0), settings=SETTINGS)
    assert estimates.choice.method == "local_level_gls"


def test_recorded_shelf_prices_are_no_transaction_data() -> None:
    """Slow sellers with many zero days, whose prices are recorded every day."""
    panel = synthetic_panel(20, 200, seed=12)
    rng = np.random.default_rng(12)
    slow = replace(panel, units=rng.poisson(panel.units * 0.02).astype(float))
    assert not priced_only_at_sales(price_design(slow))


@pytest.mark.parametrize("method", ["local_level_gls", "double_ml", "fixed_effects"])
def test_a_named_method_is_used(method: str) -> None:
    panel = confounded_panel(20, 100, seed=13)
    estimates = estimate_elasticities(panel, settings=with_method(method))
    assert estimates.choice.method == method
    assert estimates.frame["method"].str.startswith(method).all()
    assert np.isfinite(estimates.frame[["own_price_elasticity", "sd"]]).all().all()
    assert (estimates.frame["own_price_elasticity"] < 0).all()


def test_a_named_but_refused_method_gives_way_and_says_so() -> None:
    panel = replace(confounded_panel(20, 80, seed=14), unit_cost=np.full((20, 80), np.nan))
    choice = estimate_elasticities(panel, settings=with_method("instrumental")).choice
    assert choice.method == "local_level_gls"
    assert "instrumental is named in the settings but refused: no cost is known" in choice.reason


def test_very_slow_sellers_are_read_together() -> None:
    """No series has an own slope, the common one moves the prior towards the truth of -2."""
    rng = np.random.default_rng(15)
    panel = synthetic_panel(300, 120, seed=15, weekly=True)
    move = 0.1 * rng.standard_normal(panel.shape)
    units = rng.poisson(0.25 * np.exp(ELASTICITY * move)).astype(float)
    still = np.zeros(panel.shape)
    slow = replace(
        panel,
        units=units,
        price=10 * np.exp(move),
        regular_price=np.full(panel.shape, 10.0),
        promo=still,
        unit_cost=still + np.nan,
        rival_price=still + np.nan,
        on_hand=still + np.nan,
        censored=still > 0,
    )
    design = price_design(slow)
    default = estimate_elasticities(slow, settings=SETTINGS)
    assert np.isfinite(default.assortment_mean)
    evidence = data_evidence(slow, design, settings=SETTINGS)
    assert not evidence.transactions
    nothing = np.full(300, np.nan)
    raw = RawEstimates("fixed_effects", "all", nothing, nothing, -2.0, 0.5)
    choice = replace(default.choice, method="fixed_effects", raw=raw)
    mean, sd = informed_prior(choice, prior_mean=-1.0, prior_sd=0.5)
    assert mean == pytest.approx(-1.5)
    assert sd == pytest.approx(0.5 / np.sqrt(2))


def test_nothing_at_all_leaves_the_prior() -> None:
    panel = synthetic_panel(5, 60, seed=16)
    flat = np.full(panel.shape, 5.0)
    still = replace(panel, price=flat, regular_price=flat, promo=0 * flat)
    choice = estimate_elasticities(still, settings=SETTINGS).choice
    assert choice.method == "local_level_gls"
    assert "the prior stands" in choice.reason


def test_the_table_shows_every_method_and_marks_the_chosen_one() -> None:
    panel = confounded_panel(20, 100, seed=17)
    table = methods_table(panel, settings=SETTINGS)
    assert tuple(table.columns) == METHOD_COLUMNS
    assert list(table["method"]) == [
        "local_level_gls",
        "double_ml",
        "fixed_effects",
        "instrumental",
    ]
    assert table["chosen"].sum() == 1
    assert table["chosen"].iloc[0]
    assert (table["reason"].str.len() > 0).all()
    by_cost = table.set_index("method").loc["instrumental"]
    assert by_cost["first_stage_f"] > 20
    assert by_cost["low_90"] < by_cost["pooled_mean"] < by_cost["high_90"]


def test_random_effects_mean_finds_mean_and_spread() -> None:
    rng = np.random.default_rng(18)
    error = rng.uniform(0.1, 0.6, 2000)
    slope = rng.normal(-2.0, 0.5, 2000) + error * rng.standard_normal(2000)
    slope[0], error[1] = np.nan, np.nan
    found = random_effects_mean(slope=slope, standard_error=error)
    assert abs(found.mean + 2.0) < 4 * found.standard_error
    assert found.between_sd == pytest.approx(0.5, abs=0.05)


def test_uci_pooled_elasticity_is_in_the_published_range(public_data: Path) -> None:
    """Double machine learning by others: -1.82 to -1.88; the bar is -1.6 to -2.1."""
    tables = read_example("uci_online_retail", public_data)
    settings = example_settings("uci_online_retail")
    accepted = {name: table.accepted for name, table in tables.items()}
    estimates = estimate_elasticities(build_panel(accepted, settings), settings=settings)
    assert estimates.choice.method == "double_ml"
    low, high = (estimates.assortment_mean + z * estimates.assortment_sd for z in (-1.645, 1.645))
    assert -2.1 < low < high < -1.6


@pytest.fixture(scope="module")
def segmented() -> tuple[Market, Panel, pd.DataFrame]:
    market = simulate_market(MarketParameters(products=96, days=540, seed=3, segments=2))
    tables = market.raw_tables()
    panel = build_panel(tables, SETTINGS)
    whole = estimate_elasticities(panel, settings=SETTINGS).frame
    found = segment_elasticities(
        panel, sales=tables["sales"], stores=None, elasticities=whole, settings=SETTINGS
    )
    return market, panel, found


def segment_truth(market: Market, segment: int, step: float = 1e-4) -> np.ndarray:
    """True own-price elasticity in one segment at the current prices, (n,)."""
    structure, history = market.structure, market.history
    starts = np.searchsorted(structure.block, structure.block)
    position = np.arange(len(market.rows)) - starts
    values = np.zeros(len(market.rows))
    for slot in range(int(position.max()) + 1):
        here = position == slot
        logs = [
            np.log(
                structure.segment_response(
                    price=np.where(here, market.current_price * np.exp(d), market.current_price),
                    rival=history.rival_level[:, -1],
                    drift=history.drift[:, -1],
                )[segment]
            )
            for d in (step, -step)
        ]
        values[here] = ((logs[0] - logs[1]) / (2 * step))[here]
    return values


def test_segments_of_customers_are_told_apart(
    segmented: tuple[Market, Panel, pd.DataFrame],
) -> None:
    """Sensitivities of 0.75 and 1.35 times the common one; intervals cover 80 to 100 %."""
    market, panel, found = segmented
    assert len(found) == 2 * panel.shape[0]
    factors = []
    for number, (name, rows) in enumerate(found.groupby("segment")):
        truth = segment_truth(market, number)
        error = rows["own_price_elasticity"].to_numpy() - truth
        assert name == f"SEGMENT-{number + 1}"
        assert abs(error.mean()) < 0.3
        assert np.mean(np.abs(error) < 1.645 * rows["sd"]) > 0.8
        factors.append(rows["relative_sensitivity"].iloc[0])
    assert factors[0] < 0.9 < 1.1 < factors[1]


def test_segments_of_stores_are_their_stores_together() -> None:
    whole = pd.DataFrame(
        {
            "product_id": ["A", "A", "A", "B"],
            "store_id": ["1", "2", "3", "1"],
            "category": "x",
            "own_price_elasticity": [-1.0, -3.0, -2.0, -1.5],
            "sd": [0.5, 0.5, 0.5, 0.2],
        }
    )
    stores = pd.DataFrame({"store_id": ["1", "2", "3"], "segment": ["city", "city", "rural"]})
    sales = pd.DataFrame({"product_id": ["A"]})
    panel = synthetic_panel(2, 20, seed=19)
    found = segment_elasticities(
        panel, sales=sales, stores=stores, elasticities=whole, settings=SETTINGS
    ).set_index(["product_id", "segment"])
    assert found.loc[("A", "city"), "own_price_elasticity"] == pytest.approx(-2.0)
    assert found.loc[("A", "rural"), "own_price_elasticity"] == pytest.approx(-2.0)
    assert found.loc[("B", "city"), "sd"] == pytest.approx(0.2)
    none = segment_elasticities(
        panel, sales=sales, stores=None, elasticities=whole, settings=SETTINGS
    )
    assert none.empty
    assert "segment" in none.columns


def test_a_silent_segment_takes_the_whole() -> None:
    nothing = np.full(4, np.nan)
    found = pool_segment(
        estimate=nothing,
        standard_error=nothing,
        whole_mean=np.full(4, -2.0),
        whole_sd=np.full(4, 0.1),
        product=np.arange(4),
        category=np.zeros(4, dtype=np.int64),
    )
    np.testing.assert_allclose(found.mean, -2.0, atol=0.05)
    assert (found.sd > 0.3).all()
    assert found.relative_sensitivity == 1.0
