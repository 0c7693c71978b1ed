"""Off-policy evaluation: weights and sums against hand counts, coverage against the simulator."""

from __future__ import annotations

from dataclasses import replace

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from benchmarks.off_policy import Outcome, covers, far, randomised, table
from pricing_assets.assets.off_policy import off_policy_is_given_or_refused
from pricing_assets.core.evaluation.logged_prices import (
    LoggedPrices,
    Propensities,
    cost_control,
    log_of_panel,
    others_mean,
    price_spells,
    time_blocks,
)
from pricing_assets.core.evaluation.off_policy import (
    COLUMNS,
    GATE_ESTIMATOR,
    PricePolicy,
    evaluate_policy,
    price_policies,
)
from pricing_assets.core.evaluation.off_policy_draws import (
    ESTIMATORS,
    draw_totals,
    policy_sums,
)
from pricing_assets.core.evaluation.outcome_model import fit_outcome
from pricing_assets.core.evaluation.overlap import measure_overlap, spell_weights
from pricing_assets.core.evaluation.price_density import (
    estimate_density,
    importance_weights,
    kernel,
    standing_price,
)
from pricing_assets.core.evaluation.price_table_value import price_table_value
from pricing_assets.core.off_policy_parameters import OffPolicyParameters
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import UnitWorth
from tests.panels import synthetic_panel

LENIENT = OffPolicyParameters(
    draws=120, min_overlap=0.0, min_effective_spells=0.0, max_weight_share=1.0
)
HOLD, SPREAD = 0.4, 0.08


def drawn_log(series: int, periods: int, seed: int, *, elasticity: float = -2.0) -> LoggedPrices:
    """Prices held with probability HOLD, else normal in the log; noise-free demand of level 10."""
    rng = np.random.default_rng(seed)
    held = rng.random((series, periods)) < HOLD
    draw = rng.normal(0, SPREAD, (series, periods))
    step = np.where(held, 0.0, draw)
    density = np.exp(-0.5 * (draw / SPREAD) ** 2) / (SPREAD * np.sqrt(2 * np.pi))
    everywhere = np.ones((series, periods), dtype=bool)
    level = np.full(series, 10.0)
    return LoggedPrices(
        units=10.0 * np.exp(elasticity * step),
        base=np.full((series, periods), 10.0),
        step=step,
        usable=everywhere,
        context=np.zeros((series, periods, 2)),
        control=np.zeros((series, periods)),
        others=np.zeros((series, periods)),
        group=np.arange(series),
        importance=level,
        spell=price_spells(step, everywhere),
        block=time_blocks(periods, length=max(periods // 12, 1)),
        level=level,
        level_cv=np.zeros(series),
        logged=Propensities(np.where(held, HOLD, (1 - HOLD) * density), held, np.zeros(series)),
    )


def test_logged_weights_have_mean_one_for_a_price_and_for_the_point_mass() -> None:
    log = drawn_log(40, 400, 1)
    for target in (0.0, 0.05, -0.06):
        at = np.full(40, target)
        weights = importance_weights(log, at, bandwidth=0.05, density=None)
        # 16,000 cells, of which a third to a half count: about 0.02 of sampling error
        assert weights.mean() == pytest.approx(1.0, abs=0.06), target
    holding = importance_weights(log, np.zeros(40), bandwidth=0.05, density=None)
    assert log.logged is not None
    assert (holding[log.logged.held] == pytest.approx(1 / HOLD)) and not holding[
        ~log.logged.held
    ].any()


def test_estimated_weights_have_mean_one_near_and_far_from_the_point_mass() -> None:
    log = replace(drawn_log(40, 400, 2), logged=None)
    density = estimate_density(log)
    assert density.standing == pytest.approx(np.zeros(40), abs=1e-9)
    assert density.hold.mean() == pytest.approx(HOLD, abs=0.02)
    for target in (0.0, 0.03, -0.07):
        weights = importance_weights(log, np.full(40, target), bandwidth=0.05, density=density)
        # both the chance and the share of the neighbourhood are estimated from these cells
        assert weights.mean() == pytest.approx(1.0, abs=0.05), target


def test_weights_want_propensities_from_somewhere() -> None:
    log = replace(drawn_log(2, 30, 2), logged=None)
    with pytest.raises(ValueError, match="estimate a density"):
        importance_weights(log, np.zeros(2), bandwidth=0.05, density=None)


def test_a_context_without_support_has_no_weight() -> None:
    log = replace(drawn_log(3, 60, 3), logged=None)
    density = estimate_density(log)
    assert not importance_weights(log, np.full(3, 2.0), bandwidth=0.05, density=density).any()


def test_the_kernel_is_a_density() -> None:
    grid = np.linspace(-1.5, 1.5, 30_001)
    assert np.trapezoid(kernel(grid), grid) == pytest.approx(1.0, abs=1e-6)


def test_the_weighted_estimators_are_their_formulas() -> None:
    log = drawn_log(5, 60, 4)
    policy = PricePolicy(np.full(5, 0.04), np.full(5, 3.0))
    present = PricePolicy(np.zeros(5), np.full(5, 2.5))
    weights = importance_weights(log, policy.step, bandwidth=0.05, density=None)
    ones = importance_weights(log, present.step, bandwidth=0.05, density=None)
    model = fit_outcome(log)
    arms = [
        policy_sums(log, model, policy, weights, max_weight=3.0),
        policy_sums(log, model, present, ones, max_weight=3.0),
    ]
    rng = np.random.default_rng(0)
    drawn = draw_totals(log, model, arms, np.ones(5, bool), parameters=LENIENT, rng=rng)
    value = dict(zip(ESTIMATORS, drawn[0][0], strict=True))
    worth = 3.0 * log.level
    plain = (weights * log.units).sum(axis=1) / log.base.sum(axis=1)
    own = (weights * log.units).sum(axis=1) / (weights * log.base).sum(axis=1)
    assert value["inverse_propensity"] == pytest.approx((worth * plain).sum())
    assert value["self_normalised"] == pytest.approx((worth * own).sum())
    kept = np.where(weights <= 3.0, weights, 0.0)
    left = 1 - (kept * log.base).sum(axis=1) / log.base.sum(axis=1)
    direct = value["direct_method"] / worth.sum()
    switch = worth * (kept * log.units).sum(axis=1) / log.base.sum(axis=1) + worth * left * direct
    # the model's rate differs a little between series, so that their mean is only close
    assert value["switch"] == pytest.approx(switch.sum(), rel=0.01)


def test_noise_free_demand_is_found_by_the_model_and_corrected_by_the_weights() -> None:
    log = drawn_log(20, 200, 5)
    step = np.full(20, 0.06)
    new, now = PricePolicy(step, np.full(20, 3.0)), PricePolicy(np.zeros(20), np.full(20, 2.5))
    rng = np.random.default_rng(0)
    said = evaluate_policy(log, new=new, present=now, parameters=LENIENT, rng=rng)
    truth = 20 * 10 * (3.0 * np.exp(-2.0 * 0.06) - 2.5)
    assert not said.refused
    # shrinkage of the slopes is all that is left without noise
    assert said.difference["direct_method"].value == pytest.approx(truth, rel=0.05)
    assert said.difference["doubly_robust"].value == pytest.approx(truth, rel=0.05)


def test_a_wrong_model_is_mended_by_the_weights() -> None:
    """Demand jumps at a price that no log-linear model can follow."""
    log = drawn_log(30, 300, 6)
    cliff = np.where(np.abs(log.step - 0.08) < 0.06, 4.0, 10.0)
    log = replace(log, units=cliff)
    step = np.full(30, 0.08)
    new, now = PricePolicy(step, np.ones(30)), PricePolicy(np.zeros(30), np.ones(30))
    rng = np.random.default_rng(0)
    said = evaluate_policy(log, new=new, present=now, parameters=LENIENT, rng=rng)
    truth = 30 * (4.0 - 10.0)
    wrong = abs(said.difference["direct_method"].value - truth)
    assert abs(said.difference["doubly_robust"].value - truth) < 0.2 * wrong


def test_prices_that_do_not_move_differ_by_nothing() -> None:
    log = drawn_log(6, 60, 7)
    now = PricePolicy(np.zeros(6), np.full(6, 2.0))
    rng = np.random.default_rng(0)
    said = evaluate_policy(log, new=now, present=now, parameters=OffPolicyParameters(), rng=rng)
    assert not said.refused
    for name in ESTIMATORS:
        gain = said.difference[name]
        assert (gain.low_90, gain.value, gain.high_90) == (0.0, 0.0, 0.0), name


def test_a_product_without_cost_counts_nothing() -> None:
    worth = UnitWorth(np.ones(3), np.array([1.0, np.nan, 1.0]))
    price = np.full(3, 2.0)
    new, now = price_policies(present_price=price, new_price=price * 1.1, worth=worth)
    assert new.step.tolist() == pytest.approx([np.log(1.1), 0.0, np.log(1.1)])
    assert now.worth.tolist() == [1.0, 0.0, 1.0]


@pytest.fixture(scope="module")
def experiments() -> list[Outcome]:
    lenient = LENIENT.model_copy(update={"draws": 150})
    return [randomised(seed, products=24, weeks=16, parameters=lenient) for seed in range(201, 211)]


def test_intervals_cover_the_simulated_truth(experiments: list[Outcome]) -> None:
    """Ten runs: an interval that covers in 85 % holds the truth in 6 or more with chance 0.99.

    The whole table, over 100 runs, is ``python -m benchmarks.off_policy``.
    """
    for name in ("self_normalised", "doubly_robust"):
        held = np.array([covers(outcome, name) for outcome in experiments])
        assert (held.sum(axis=0) >= 6).all(), name
    width = np.array(
        [
            row.said.difference[GATE_ESTIMATOR].high_90 - row.said.difference[GATE_ESTIMATOR].low_90
            for row in experiments
        ]
    )
    profit = np.array([row.value for row in experiments])
    assert (width < 0.4 * profit).all(), "an interval that covers by saying nothing"


def test_the_benchmark_prints_every_estimator(experiments: list[Outcome]) -> None:
    text = table(experiments)
    assert all(name in text for name in ESTIMATORS)
    assert "refused 0 of 10" in text


@pytest.fixture(scope="module")
def far_away() -> Outcome:
    return far(5, products=6, days=250)


def test_prices_far_from_the_log_are_refused_with_the_figures(far_away: Outcome) -> None:
    outcome = far_away
    frame = outcome.said.frame()
    assert outcome.said.refused
    assert tuple(frame.columns) == COLUMNS
    assert frame["estimator"].tolist() == list(ESTIMATORS)
    assert frame["refused"].all()
    assert frame["reason"].str.contains("is below").all()
    assert frame[["value", "difference_low_90"]].isna().all(axis=None)


def test_a_short_log_is_refused() -> None:
    log = drawn_log(4, 4, 8)
    policy = PricePolicy(np.full(4, 0.03), np.ones(4))
    rng = np.random.default_rng(0)
    said = evaluate_policy(log, new=policy, present=policy, parameters=LENIENT, rng=rng)
    assert "time blocks" in said.reason


def test_days_of_one_spell_count_once() -> None:
    log = drawn_log(1, 12, 9)
    step = np.repeat([[0.0, 0.05, 0.0, 0.05]], 3, axis=1).reshape(1, 12)
    log = replace(log, step=step, spell=price_spells(step, log.usable))
    assert log.spell[0].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    weights = np.where(step > 0, 2.0, 0.0)
    assert spell_weights(log, weights)[0].tolist() == [0.0, 60.0, 0.0, 60.0]
    found = measure_overlap(
        log,
        target=np.array([0.05]),
        stake=np.array([7.0]),
        weights=weights,
        supported=np.array([True]),
    )
    assert found.effective_sample_size == pytest.approx(2.0)
    assert found.max_weight_share == pytest.approx(0.5)
    assert found.overlap == 1.0


def test_overlap_is_by_what_the_products_bring() -> None:
    log = drawn_log(3, 30, 10)
    found = measure_overlap(
        log,
        target=np.array([0.05, 0.05, 0.0]),
        stake=np.array([30.0, 10.0, 500.0]),
        weights=np.ones((3, 30)),
        supported=np.array([True, False, True]),
    )
    assert (found.moved, found.supported) == (2, 1)
    assert found.overlap == pytest.approx(0.75)


def test_the_standing_price_is_the_one_held_longest() -> None:
    log = drawn_log(1, 6, 11)
    step = np.array([[0.1, 0.1, 0.1, -0.2, -0.2, 0.0]])
    assert standing_price(replace(log, step=step))[0] == pytest.approx(0.1)
    unseen = np.array([[False, False, True, True, True, True]])
    assert standing_price(replace(log, step=step, usable=unseen))[0] == pytest.approx(-0.2)


def test_the_others_are_of_the_same_group() -> None:
    step = np.array([0.1, 0.3, 0.7])
    mean = others_mean(step, group=np.array([0, 0, 1]), importance=np.ones(3))
    assert mean.tolist() == pytest.approx([0.3, 0.1, 0.0])


def test_cost_splits_a_price_and_a_weak_cost_does_not() -> None:
    rng = np.random.default_rng(1)
    cost = np.cumsum(rng.normal(0, 0.02, (30, 200)), axis=1)
    other = rng.normal(0, 0.02, (30, 200))
    seen = np.ones((30, 200), dtype=bool)
    rest = cost_control(0.8 * cost + other, cost, seen, min_first_stage_f=20.0)
    assert np.corrcoef(rest.ravel(), other.ravel())[0, 1] > 0.95
    assert not cost_control(other, cost, seen, min_first_stage_f=20.0).any()
    unknown = np.full((30, 200), np.nan)
    assert not cost_control(other, unknown, seen, min_first_stage_f=20.0).any()


def test_a_log_knows_nothing_of_its_future() -> None:
    panel = synthetic_panel(6, 300, 4)
    later = panel.units.copy()
    later[:, 250:] *= 3
    logs = [
        log_of_panel(each, history_days=150, block_days=28, min_first_stage_f=20.0)
        for each in (panel, replace(panel, units=later))
    ]
    before = slice(None, 250 - (300 - 150))
    assert np.array_equal(logs[0].base[:, before], logs[1].base[:, before])
    assert not np.array_equal(logs[0].base, logs[1].base)


def test_promoted_and_censored_cells_are_no_part_of_the_log() -> None:
    panel = synthetic_panel(6, 200, 4, censored_share=0.1)
    log = log_of_panel(panel, history_days=100, block_days=28, min_first_stage_f=20.0)
    dropped = (panel.promo > 0)[:, 100:] | panel.censored[:, 100:]
    assert dropped.any()
    assert not log.usable[dropped].any()


def test_a_price_table_is_valued_from_a_panel() -> None:
    panel = synthetic_panel(8, 400, 5)
    prices = pd.DataFrame(
        {
            "product_id": panel.series["product_id"],
            "store_id": "",
            "recommended_price": panel.current_price() * 1.03,
        }
    ).iloc[::-1]
    settings = PricingSettings(off_policy=LENIENT)
    said = price_table_value(panel, price_table=prices, settings=settings)
    again = price_table_value(panel, price_table=prices.iloc[1:], settings=settings)
    frame = said.frame()
    assert said.overlap.moved == 8
    assert again.overlap.moved == 7
    assert not frame["refused"].any()
    assert (frame["propensities"] == "estimated").all()
    assert (frame["low_90"] < frame["high_90"]).all()


def check_of(frame: pd.DataFrame) -> dg.AssetCheckResult:
    found = off_policy_is_given_or_refused(frame)
    assert isinstance(found, dg.AssetCheckResult)
    return found


def test_the_check_tells_a_missing_number_from_a_refusal(far_away: Outcome) -> None:
    refused = far_away.said.frame()
    assert check_of(refused).passed
    assert not check_of(refused.assign(refused=False, reason="")).passed
    assert not check_of(refused.assign(reason="")).passed
