"""Explanations of forecasts: they add up, name what is there, and survive saving and loading."""

from __future__ import annotations

from dataclasses import replace

import lightgbm as lgb
import numpy as np
import pytest

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.forecast.design import feature_names
from pricing_assets.core.forecast.explanation import (
    DRIVER_OF,
    DRIVERS,
    ForecastExplanation,
    explain_forecast,
    logarithmic_mean,
    tree_contributions,
)
from pricing_assets.core.forecast.global_model import feature_columns
from pricing_assets.core.forecast.interface import FittedForecaster, Forecast
from pricing_assets.core.forecast.lightgbm import MEAN_FILE, FittedLightGbm
from pricing_assets.core.forecast.training import load_forecaster, train_forecaster
from pricing_assets.core.forecast.training_rows import plan_design
from pricing_assets.core.forecast.windows import actual_plan
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings
from tests.panels import synthetic_panel

HORIZON = 14
SETTINGS = PricingSettings(
    horizon_days=HORIZON,
    forecast=ForecastParameters(
        n_estimators=30,
        training_origins=8,
        ensemble_members=["lightgbm", "elastic_net", "ses_price"],
    ),
)


@pytest.fixture(scope="module")
def panel() -> Panel:
    return synthetic_panel(12, 220, 4)


@pytest.fixture(scope="module")
def plan(panel: Panel) -> FuturePlan:
    """Current prices, and a promotion at 20 % less for the first half of the series."""
    shape = (panel.shape[0], HORIZON)
    promo = np.zeros(shape)
    promo[: shape[0] // 2] = 1.0
    price = panel.current_price()[:, None] * np.where(promo > 0, 0.8, 1.0)
    dates = panel.dates[-1] + np.arange(1, HORIZON + 1) * np.timedelta64(1, "D")
    empty = np.zeros(shape)
    rival = np.repeat(panel.rival_price[:, -1:], HORIZON, axis=1)
    return FuturePlan(
        dates=dates,
        price=price,
        promo=promo,
        display=empty,
        feature=empty,
        rival_price=rival,
        holiday=np.zeros(HORIZON),
    )


def loaded(panel: Panel, name: str) -> FittedForecaster:
    fitted = train_forecaster(panel, name=name, settings=SETTINGS)
    return load_forecaster(ModelBundle(fitted.to_files()))


@pytest.fixture(scope="module")
def trees(panel: Panel) -> FittedLightGbm:
    fitted = loaded(panel, "lightgbm")
    assert isinstance(fitted, FittedLightGbm)
    return fitted


@pytest.fixture(scope="module")
def explained(trees: FittedLightGbm, panel: Panel, plan: FuturePlan) -> ForecastExplanation:
    return explain_forecast(trees, panel, plan)


def effect(explanation: ForecastExplanation, driver: str) -> np.ndarray:
    return explanation.effects[:, :, list(DRIVERS).index(driver)]


def test_base_and_contributions_add_up_to_the_raw_prediction(
    trees: FittedLightGbm, panel: Panel, plan: FuturePlan
) -> None:
    """To 1e-6 relative: both are sums of the same leaves in another order."""
    booster = lgb.Booster(model_str=trees.texts[MEAN_FILE])
    design = plan_design(panel, plan, codes=trees.codes).design
    rows = design.features[:, :, feature_columns(trees.features)].reshape(-1, len(trees.features))
    found = tree_contributions(booster, rows)
    raw = booster.predict(rows, raw_score=True)
    np.testing.assert_allclose(found.base + found.values.sum(axis=1), raw, rtol=1e-6, atol=1e-12)
    assert np.ptp(raw) > 0.01


def test_start_and_effects_add_up_to_the_forecast(
    explained: ForecastExplanation, trees: FittedLightGbm, panel: Panel, plan: FuturePlan
) -> None:
    mean = trees.predict(panel, plan).mean
    np.testing.assert_allclose(explained.expected, mean, rtol=1e-6)
    np.testing.assert_allclose(
        explained.start + explained.effects.sum(axis=2), explained.expected, rtol=1e-6
    )
    assert "SHAP" in explained.note
    assert (effect(explained, "model_as_a_whole") == 0).all()


def test_a_promotion_and_its_price_raise_what_they_raise(explained: ForecastExplanation) -> None:
    """Demand in the panel is price^-2, so a fifth off is worth half as much again."""
    driven = (effect(explained, "promotion") + effect(explained, "own_price")).sum(axis=1)
    share = driven / explained.expected.sum(axis=1)
    assert share[:6].min() > 0.15
    assert abs(share[6:]).max() < 0.12


def test_the_weekday_shows_in_the_calendar(explained: ForecastExplanation) -> None:
    day = (explained.dates.astype("datetime64[D]").astype(int) + 3) % 7
    calendar = effect(explained, "season_calendar")
    assert (calendar[:, day == 5] > calendar[:, day == 0]).mean() > 0.9


def test_some_series_are_explained_as_among_all(
    explained: ForecastExplanation, trees: FittedLightGbm, panel: Panel, plan: FuturePlan
) -> None:
    some = explain_forecast(trees, panel, plan, series=np.array([7, 2]))
    np.testing.assert_allclose(some.effects, explained.effects[[7, 2]])
    frame = some.to_frame(panel.series)
    assert frame["product_id"].tolist() == ["P007", "P002"]
    drivers = frame[list(DRIVERS)].sum(axis=1)
    np.testing.assert_allclose(frame["start_units"] + drivers, frame["expected_units"])
    assert frame["sentence"].str.contains("units expected: the recent level gives").all()


def test_an_ensemble_adds_up_and_shows_a_model_without_trees_as_a_whole(
    panel: Panel, plan: FuturePlan
) -> None:
    fitted = loaded(panel, "ensemble")
    found = explain_forecast(fitted, panel, plan)
    np.testing.assert_allclose(found.expected, fitted.predict(panel, plan).mean, rtol=1e-6)
    np.testing.assert_allclose(found.start + found.effects.sum(axis=2), found.expected, rtol=1e-6)
    assert "lightgbm" in found.note and "no trees" in found.note
    assert np.abs(effect(found, "model_as_a_whole")).max() > 0


@pytest.mark.parametrize("name", ["ses_weekday", "seasonal_naive"])
def test_a_model_without_trees_says_so(name: str) -> None:
    known = synthetic_panel(3, 100, 6)
    fitted = loaded(known, name)
    plan = actual_plan(synthetic_panel(3, 100 + HORIZON, 6), origin=100, horizon=HORIZON)
    found = explain_forecast(fitted, known, plan)
    mean = fitted.predict(known, plan).mean
    np.testing.assert_allclose(found.expected, mean, rtol=1e-6, atol=1e-6)
    assert "no trees" in found.note
    for driver in ("own_price", "promotion", "rival"):
        assert (effect(found, driver) == 0).all()
    if name == "ses_weekday":
        np.testing.assert_allclose(effect(found, "recent_sales"), 0, atol=1e-9)


def test_a_model_that_shares_nothing_is_shown_as_a_whole() -> None:
    known = synthetic_panel(3, 100, 6)
    plan = actual_plan(synthetic_panel(3, 100 + HORIZON, 6), origin=100, horizon=HORIZON)

    class Foreign:
        name = "foreign"

        def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
            units = np.full((3, HORIZON), 7.0)
            return Forecast(plan.dates, units, units, units, units)

        def to_files(self) -> dict[str, bytes]:
            return {}

    found = explain_forecast(Foreign(), known, plan)
    np.testing.assert_allclose(found.start + found.effects.sum(axis=2), 7.0)
    assert "shown as a whole" in found.note


def test_too_little_history_for_trees_is_said(panel: Panel, plan: FuturePlan) -> None:
    short = panel.until(12)
    fitted = loaded(short, "lightgbm")
    found = explain_forecast(fitted, short, replace(plan, dates=plan.dates - 208))
    assert found.note == "too little history for trees"
    np.testing.assert_allclose(found.start + found.effects.sum(axis=2), found.expected)


def test_every_feature_named_in_a_driver_exists() -> None:
    assert set(DRIVER_OF) <= set(feature_names())
    assert set(DRIVER_OF.values()) <= set(DRIVERS)


def test_the_logarithmic_mean_is_continuous() -> None:
    near = logarithmic_mean(np.array([2.0, 2.0, 2.0]), np.array([2.0, 2.0 + 1e-9, 2.0001]))
    np.testing.assert_allclose(near, 2.0, rtol=1e-4)
    assert logarithmic_mean(np.array([4.0]), np.array([1.0]))[0] == pytest.approx(3 / np.log(4))
