"""Drift and decay: exact against SciPy, quiet where nothing changed, loud where it is planted."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pytest
from panels import synthetic_panel
from scipy import stats

from pricing_assets.core.evaluation.decay import live_accuracy, promoted_forecast
from pricing_assets.core.evaluation.drift import (
    FeatureDrift,
    ks_distance,
    psi,
    residual_break,
    watched_drift,
)
from pricing_assets.core.evaluation.price_response_drift import price_response_drift
from pricing_assets.core.evaluation.watch import (
    concept_check,
    decay_check,
    drift_checks,
    relative_residuals,
    response_check,
    unpriced_share,
    watch_report,
)
from pricing_assets.core.forecast.windows import actual_plan
from pricing_assets.core.monitoring_parameters import MonitoringParameters
from pricing_assets.core.panel import Panel

PARAMETERS = MonitoringParameters()


def by_feature(panel: Panel) -> dict[str, FeatureDrift]:
    return {one.feature: one for one in watched_drift(panel, parameters=PARAMETERS)}


def test_ks_is_scipys() -> None:
    rng = np.random.default_rng(1)
    for one, two in (
        (rng.normal(size=300), rng.normal(0.3, 1.2, 200)),
        (rng.poisson(2.0, 300).astype(float), rng.poisson(3.0, 150).astype(float)),
    ):
        assert ks_distance(one, two) == pytest.approx(stats.ks_2samp(one, two).statistic, abs=1e-12)


def test_psi_is_the_sum_over_deciles_and_zero_for_the_same_sample() -> None:
    rng = np.random.default_rng(2)
    before, now = rng.normal(size=20_000), rng.normal(0.5, 1.0, 20_000)
    assert psi(before, before) == 0.0
    cuts = np.quantile(before, np.arange(1, 10) / 10)
    shares = [
        np.histogram(values, bins=[-np.inf, *cuts, np.inf])[0] / 20_000 for values in (before, now)
    ]
    expected = stats.entropy(shares[1], shares[0]) + stats.entropy(shares[0], shares[1])
    # half a value in each bin moves a share by less than 3e-5
    assert psi(before, now) == pytest.approx(expected, rel=0.01)


def test_psi_sees_a_constant_that_falls_as_one_that_rises() -> None:
    constant = np.full(100, 5.0)
    assert psi(constant, constant) == 0.0
    assert psi(constant, constant - 1) > 5
    assert psi(constant, constant + 1) > 5


def test_the_residual_test_alarms_as_often_as_it_says() -> None:
    """300 series of 84 residuals without a break, at 5 %: 2 to 9 % (three standard errors)."""
    noise = np.random.default_rng(3).normal(size=(300, 84))
    alarms = np.mean([residual_break(row).p_value <= 0.05 for row in noise])
    assert 0.02 <= alarms <= 0.09


def test_the_residual_test_bears_dependence_between_days() -> None:
    """With a correlation of 0.3 from day to day, at 5 %: at most 12 %; measured 8 % of 600."""
    noise = np.random.default_rng(5).normal(size=(200, 100))
    for period in range(1, 100):
        noise[:, period] += 0.3 * noise[:, period - 1]
    assert np.mean([residual_break(row[16:]).p_value <= 0.05 for row in noise]) <= 0.12


def test_the_residual_test_finds_a_break_and_its_place() -> None:
    rng = np.random.default_rng(4)
    residuals = rng.normal(0, 0.1, 84)
    residuals[56:] += 0.3
    found = residual_break(residuals)
    assert found.p_value < 0.01
    assert abs(found.position - 56) <= 3
    assert found.shift == pytest.approx(0.3, abs=0.08)
    assert not concept_check(found, parameters=PARAMETERS).passed


def test_too_few_residuals_are_not_judged() -> None:
    check = concept_check(residual_break(np.ones(5)), parameters=PARAMETERS)
    assert check.passed and not check.measured


def test_residuals_are_those_of_the_chosen_model_in_time_order() -> None:
    frame = pd.DataFrame(
        {
            "model": ["a", "b", "a", "a"],
            "date": pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-01", "2024-01-03"]),
            "expected": [10.0, 1.0, 10.0, 0.0],
            "sold": [5.0, 9.0, 20.0, 3.0],
        }
    )
    assert relative_residuals(frame, model="a").tolist() == [1.0, -0.5]


@pytest.mark.parametrize("weekly", [False, True])
def test_a_steady_market_does_not_alarm(weekly: bool) -> None:
    panel = synthetic_panel(30, 120 if weekly else 400, 5, weekly=weekly)
    assert all(check.passed for check in drift_checks(watched_drift(panel, parameters=PARAMETERS)))


@pytest.mark.parametrize("feature", ["log_price", "log_unit_cost", "log_units", "promo"])
def test_a_planted_shift_alarms_and_only_where_it_is(feature: str) -> None:
    panel = synthetic_panel(30, 400, 5)
    name = {"log_price": "price", "log_unit_cost": "unit_cost", "log_units": "units"}.get(
        feature, "promo"
    )
    values = getattr(panel, name).copy()
    values[:, -28:] = 1.0 if name == "promo" else values[:, -28:] * 10
    found = by_feature(replace(panel, **{name: values}))
    assert found[feature].drifted
    quiet = {"log_price_over_regular", "log_price_over_rival"} if name == "price" else set()
    assert all(not one.drifted for key, one in found.items() if key not in {feature, *quiet})


def test_a_season_that_was_seen_before_is_no_news() -> None:
    """Units swing by a factor of six within each quarter: PSI is large, and so it always was."""
    panel = synthetic_panel(30, 400, 6)
    swing = np.exp(0.9 * np.sin(2 * np.pi * np.arange(400) / 91.0))
    found = by_feature(replace(panel, units=np.round(panel.units * swing)))["log_units"]
    assert found.psi > 0.1
    assert found.limit > PARAMETERS.psi_alarm
    assert not found.drifted


def test_a_short_history_is_not_judged() -> None:
    assert all(
        not one.measured
        for one in drift_checks(watched_drift(synthetic_panel(5, 60, 1), parameters=PARAMETERS))
    )


def test_a_market_whose_buyers_turn_from_price_is_seen() -> None:
    """Demand made with an elasticity of -2 throughout, then with -4 in the last 91 days."""
    panel = synthetic_panel(30, 364, 7, noise=False)
    same = response_check(
        price_response_drift(panel, window_days=91, block_days=14), parameters=PARAMETERS
    )
    assert same.passed and same.measured
    relative = panel.price / panel.regular_price[:, :1]
    units = panel.units.copy()
    units[:, -91:] *= relative[:, -91:] ** -2.0
    turned = replace(panel, units=units, on_hand=np.full(units.shape, np.inf))
    found = price_response_drift(turned, window_days=91, block_days=14)
    assert found.change == pytest.approx(-2.0, abs=0.3)
    assert not response_check(found, parameters=PARAMETERS).passed


def kept(panel: Panel, *, origin: int, factor: float = 1.0) -> pd.DataFrame:
    """The true demand as the promoted forecast of the 28 days from ``origin``."""
    plan = actual_plan(panel, origin=origin, horizon=28)
    series = panel.series[["product_id", "store_id"]]
    span = slice(origin, origin + 28)
    forecast = pd.DataFrame(
        {
            "date": np.tile(panel.dates[span].astype("datetime64[ns]"), len(series)),
            "product_id": np.repeat(series["product_id"].to_numpy(), 28),
            "store_id": np.repeat(series["store_id"].to_numpy(), 28),
            "mean": factor * panel.units[:, span].ravel(),
        }
    )
    return promoted_forecast(
        forecast,
        plan,
        elasticity=series.assign(own_price_elasticity=-2.0),
        validated=np.array([0.2, 0.22, 0.18]),
        model_version="7",
    )


def test_live_accuracy_waits_for_sales_and_then_judges() -> None:
    truth = synthetic_panel(20, 200, 8, noise=False)
    sold = synthetic_panel(20, 200, 8)
    frame = kept(truth, origin=150)
    early = live_accuracy(frame, sold.until(153))
    assert early.days == 3
    assert not decay_check(early, parameters=PARAMETERS).measured
    later = live_accuracy(frame, sold)
    assert later.days == 28
    assert 0.1 < later.wape < 0.3
    assert decay_check(later, parameters=PARAMETERS).passed


def test_a_forecast_that_has_decayed_alarms() -> None:
    truth, sold = synthetic_panel(20, 200, 8, noise=False), synthetic_panel(20, 200, 8)
    found = live_accuracy(kept(truth, origin=150, factor=1.6), sold)
    assert found.bias > 0.4
    check = decay_check(found, parameters=PARAMETERS)
    assert not check.passed
    assert "7" not in check.name and "WAPE" in check.why


def test_a_price_that_was_changed_on_purpose_is_no_decay() -> None:
    """Prices 20 % above the plan; the units fall along the curve of elasticity -2."""
    truth = synthetic_panel(20, 200, 8, noise=False)
    frame = kept(truth, origin=150)
    price, units = truth.price.copy(), truth.units.copy()
    price[:, 150:] *= 1.2
    units[:, 150:] *= 1.2**-2.0
    dearer = replace(truth, price=price, units=units)
    assert live_accuracy(frame, dearer).wape == pytest.approx(0.0, abs=1e-9)
    blind = live_accuracy(frame, dearer, changed_price=np.inf)
    assert blind.wape > 0.4


def test_nothing_is_claimed_without_a_promoted_forecast() -> None:
    check = decay_check(None, parameters=PARAMETERS)
    assert check.passed and not check.measured


def test_the_report_is_json_with_its_alarms() -> None:
    panel = synthetic_panel(30, 400, 5)
    shifted = replace(panel, price=panel.price * np.where(np.arange(400) >= 372, 10.0, 1.0))
    features = watched_drift(shifted, parameters=PARAMETERS)
    report = watch_report(
        drift_checks(features), features, now=datetime(2024, 1, 1, tzinfo=UTC), unpriced_share=0.0
    )
    assert report["generated_at"].startswith("2024-01-01")
    assert "drift_log_price" in {one["name"] for one in report["alarms"]}
    assert set(report["checks"][0]) >= {"name", "value", "threshold", "passed", "why"}


def test_cells_without_a_price_are_counted() -> None:
    panel = synthetic_panel(4, 100, 1)
    price = panel.price.copy()
    price[:2, -28:] = np.nan
    assert unpriced_share(replace(panel, price=price), window_days=28) == 0.5
