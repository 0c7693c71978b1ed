"""Every forecaster: no NaN leaves, saved is loaded, seeded is repeatable, price matters."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from panels import synthetic_panel

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.errors import IntegrityError, InvalidSettingError
from pricing_assets.core.forecast.baselines import naive_forecast
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.ensemble import simplex_weights
from pricing_assets.core.forecast.interface import FittedForecaster, Forecast
from pricing_assets.core.forecast.levels import trace_levels
from pricing_assets.core.forecast.training import FORECASTERS, load_forecaster, train_forecaster
from pricing_assets.core.forecast.training_rows import training_origins
from pricing_assets.core.forecast.windows import actual_plan
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

SETTINGS = PricingSettings(
    horizon_days=14,
    forecast=ForecastParameters(n_estimators=40, training_origins=12, max_rows=20_000),
)


@cache
def _panel() -> Panel:
    return synthetic_panel(16, 220, 11, censored_share=0.05)


@cache
def _fitted(name: str) -> FittedForecaster:
    return train_forecaster(_panel().until(206), name=name, settings=SETTINGS)


def _plan(panel: Panel, origin: int = 206) -> FuturePlan:
    return actual_plan(panel, origin=origin, horizon=14)


def _assert_sound(forecast: Forecast, shape: tuple[int, int]) -> None:
    for values in (forecast.q10, forecast.q50, forecast.q90, forecast.mean):
        assert values.shape == shape
        assert np.isfinite(values).all() and (values >= 0).all()
    assert (forecast.q10 <= forecast.q50).all() and (forecast.q50 <= forecast.q90).all()


@pytest.mark.parametrize("name", FORECASTERS)
def test_forecast_is_finite_ordered_and_of_the_plan(name: str) -> None:
    panel = _panel()
    forecast = _fitted(name).predict(panel.until(206), _plan(panel))
    _assert_sound(forecast, (16, 14))
    frame = forecast.to_frame(panel.series)
    columns = ["date", "product_id", "store_id", "q10", "q50", "q90", "mean"]
    assert frame.columns.tolist() == columns
    assert len(frame) == 16 * 14
    assert frame["mean"].to_numpy() == pytest.approx(forecast.mean.ravel())


@pytest.mark.parametrize("name", FORECASTERS)
def test_loaded_forecaster_predicts_exactly_the_same(name: str) -> None:
    panel, plan = _panel().until(206), _plan(_panel())
    bundle = ModelBundle(_fitted(name).to_files())
    loaded = load_forecaster(bundle)
    assert loaded.name == name
    before, after = _fitted(name).predict(panel, plan), loaded.predict(panel, plan)
    for field in ("q10", "q50", "q90", "mean"):
        assert np.array_equal(getattr(before, field), getattr(after, field))
    assert ModelBundle(loaded.to_files()).manifest() == bundle.manifest()


def test_same_seed_gives_the_same_bytes() -> None:
    again = train_forecaster(_panel().until(206), name="ensemble", settings=SETTINGS)
    assert ModelBundle(again.to_files()).manifest() == (
        ModelBundle(_fitted("ensemble").to_files()).manifest()
    )


def test_a_lower_planned_price_raises_the_forecast() -> None:
    panel = _panel()
    plan = _plan(panel)
    known = panel.until(206)
    promoted = replace(plan, price=0.8 * panel.regular_price[:, 206:], promo=0 * plan.promo + 1)
    plain = replace(plan, price=panel.regular_price[:, 206:], promo=0 * plan.promo)
    model = _fitted("lightgbm")
    lift = model.predict(known, promoted).mean.sum() / model.predict(known, plain).mean.sum()
    # The truth is 0.8 ** -2 = 1.56.
    assert 1.25 < lift < 1.8


@pytest.mark.parametrize("name", FORECASTERS)
def test_new_empty_and_off_sale_series_get_a_finite_forecast(name: str) -> None:
    panel = _panel()
    units, price, on_sale = panel.units.copy(), panel.price.copy(), panel.on_sale.copy()
    on_sale[0, :200] = False  # new: a few days
    on_sale[1] = False  # never offered
    units[~on_sale], price[~on_sale] = np.nan, np.nan
    units[2] = 0.0  # offered and never sold
    on_sale[3, 100:] = False  # delisted
    units[3, 100:] = np.nan
    nothing = np.full_like(panel.units, np.nan)
    sparse = replace(
        panel, units=units, price=price, on_sale=on_sale, rival_price=nothing, unit_cost=nothing
    )
    known = sparse.until(206)
    forecast = train_forecaster(known, name=name, settings=SETTINGS).predict(known, _plan(sparse))
    _assert_sound(forecast, (16, 14))
    likes = forecast.mean[4::2].mean()
    assert 0.05 * likes < forecast.mean[0].mean() < 5 * likes


@pytest.mark.parametrize("name", FORECASTERS)
@pytest.mark.parametrize("periods", [4, 9, 30])
def test_a_short_history_still_gives_a_forecast(name: str, periods: int) -> None:
    panel = synthetic_panel(2, periods + 14, 1)
    known = panel.until(periods)
    forecast = train_forecaster(known, name=name, settings=SETTINGS).predict(
        known, _plan(panel, periods)
    )
    _assert_sound(forecast, (2, 14))


@pytest.mark.parametrize("name", FORECASTERS)
def test_weekly_panels_are_forecast_in_weeks(name: str) -> None:
    panel = synthetic_panel(8, 110, 3, weekly=True)
    known = panel.until(106)
    plan = actual_plan(panel, origin=106, horizon=4)
    settings = SETTINGS.model_copy(update={"horizon_days": 28})
    forecast = train_forecaster(known, name=name, settings=settings).predict(known, plan)
    _assert_sound(forecast, (8, 4))
    assert forecast.mean.sum() == pytest.approx(panel.units[:, 106:].sum(), rel=0.3)


def test_seasonal_naive_repeats_the_last_usable_week() -> None:
    panel = _panel()
    units = panel.units.copy()
    censored = np.zeros_like(panel.censored)
    censored[0, 203] = True
    panel = replace(panel, units=units, censored=censored).until(206)
    state = trace_levels(panel, [206]).states[206]
    dates = panel.dates[-1] + np.arange(1, 15)
    mean = naive_forecast(panel, state, dates)
    assert np.array_equal(mean[1, :7], units[1, 199:206])
    assert np.array_equal(mean[1, 7:], units[1, 199:206])
    assert mean[0, 4] == units[0, 196]  # the censored day's value comes from a week earlier


def test_intervals_cover_what_they_claim() -> None:
    rng = np.random.default_rng(0)
    mean = np.exp(rng.normal(1, 1, 20_000))
    actual = rng.negative_binomial(3, 3 / (3 + mean)).astype(float)
    intervals = IntervalCalibration.fit(actual=actual[::2], centre=mean[::2], scale=mean[::2])
    large = (mean > 5) & (np.arange(mean.size) % 2 == 1)
    value = mean[None, large]
    forecast = intervals.forecast(
        dates=np.zeros(value.shape[1], "datetime64[D]"), mean=value, centre=value, scale=value
    )
    inside = (actual[large] >= forecast.q10) & (actual[large] <= forecast.q90)
    # 3,800 cells: standard error 0.0065; ties of whole units add a little.
    assert 0.77 < inside.mean() < 0.85


def test_ensemble_weights_are_the_least_squares_ones_shrunk_to_equal() -> None:
    rng = np.random.default_rng(1)
    first, second = rng.uniform(5, 10, 5000), rng.uniform(5, 10, 5000)
    flat = np.ones(5000)
    weights = simplex_weights(0.7 * first + 0.3 * second, forecasts=[first, second], precision=flat)
    # Equal weights leave the error variance 0.04 d^2, which is half the penalty's scale.
    assert weights == pytest.approx([0.7, 0.3], abs=0.01)
    assert simplex_weights(first, forecasts=[first, first], precision=flat) == pytest.approx(0.5)


def test_ensemble_weights_stay_non_negative_and_add_up_to_one() -> None:
    rng = np.random.default_rng(2)
    truth = rng.uniform(5, 10, 400)
    members = [truth + rng.normal(0, 1, 400), truth + rng.normal(0, 4, 400), 3 * truth]
    weights = simplex_weights(truth, forecasts=members, precision=np.ones(400))
    assert (weights >= 0).all() and weights.sum() == pytest.approx(1.0)
    # Least squares alone would give the first 16 times the second's weight; shrinking, twice.
    assert weights[0] > 1.5 * weights[1] > 0.3
    assert weights[2] < 0.1


def test_ensemble_weights_of_no_held_out_cell_are_equal() -> None:
    nothing = np.empty(0)
    assert (
        simplex_weights(nothing, forecasts=[nothing] * 4, precision=nothing).tolist() == [0.25] * 4
    )


def test_training_origins_lie_before_the_end_with_room_for_their_targets() -> None:
    origins = training_origins(800, horizon=28, parameters=SETTINGS.forecast)
    assert origins == tuple(range(772 - 11 * 28, 773, 28))
    assert all(
        origin < 10 for origin in training_origins(10, horizon=28, parameters=ForecastParameters())
    )


def test_unknown_and_damaged_models_are_named() -> None:
    with pytest.raises(InvalidSettingError, match="did you mean 'lightgbm'"):
        train_forecaster(_panel(), name="lightgmb", settings=SETTINGS)
    with pytest.raises(IntegrityError, match="known: "):
        load_forecaster(ModelBundle({"forecaster.json": json_bytes({"forecaster": "oracle"})}))
    files = _fitted("lightgbm").to_files()
    del files["mean.lgb.txt"]
    with pytest.raises(IntegrityError, match="no file"):
        load_forecaster(ModelBundle(files))
