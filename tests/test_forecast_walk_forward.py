"""The walk-forward harness: no future reaches a forecaster, and the winner rule."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest
from panels import synthetic_panel

from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.forecast.metrics import METRICS
from pricing_assets.core.forecast.walk_forward import (
    HeldOut,
    choose_winner,
    total_error,
    walk_forward,
)
from pricing_assets.core.forecast.windows import (
    TooShortHistoryError,
    actual_plan,
    held_out_origins,
)
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

SETTINGS = PricingSettings(
    horizon_days=14, forecast=ForecastParameters(n_estimators=20, training_origins=4)
)


@dataclass(frozen=True)
class Peeker:
    """Cheats: it forecasts whatever the panel it is given holds at the plan's dates."""

    seen: list[tuple[int, np.datetime64]]
    name: str = "peeker"

    def fit(self, panel: Panel) -> Peeker:
        self.seen.append((panel.shape[1], panel.dates[-1]))
        return self

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        position = np.searchsorted(panel.dates, plan.dates)
        known = position < panel.shape[1]
        mean = np.where(known, panel.units[:, np.minimum(position, panel.shape[1] - 1)], 0.0)
        return Forecast(plan.dates, mean, mean, mean, mean)

    def to_files(self) -> dict[str, bytes]:
        return {}


def test_a_planted_leak_finds_no_future() -> None:
    panel = synthetic_panel(6, 150, 2)
    peeker = Peeker([])
    backtest = walk_forward(panel, settings=SETTINGS, forecasters=[peeker])
    assert [periods for periods, _ in peeker.seen] == [108, 122, 136]
    for (periods, last), held in zip(peeker.seen, backtest.held_out, strict=True):
        assert held.origin == periods and last < held.forecast.dates[0]
    # With the future it would be right everywhere; it gets none, and forecasts nothing.
    whole = peeker.predict(panel, actual_plan(panel, origin=136, horizon=14))
    assert np.array_equal(whole.mean, panel.units[:, 136:])
    assert backtest.metrics["wape"].tolist() == [1.0] * 4


def test_changing_the_future_changes_no_forecast() -> None:
    panel = synthetic_panel(6, 150, 2)
    units, rival = panel.units.copy(), panel.rival_price.copy()
    units[:, 136:], rival[:, 136:] = 999.0, 999.0
    changed = replace(panel, units=units, rival_price=rival)
    one = walk_forward(panel, settings=SETTINGS)
    two = walk_forward(changed, settings=SETTINGS)
    if one.winner == two.winner:
        pairs = zip(one.held_out, two.held_out, strict=True)
        assert all(np.array_equal(a.forecast.mean, b.forecast.mean) for a, b in pairs)
    early = one.metrics["origin"] != one.metrics["origin"].iloc[2]
    early &= one.metrics["origin"] != "all"
    pd.testing.assert_frame_equal(one.metrics[early], two.metrics[early])


def test_plan_carries_the_rival_price_from_the_origin() -> None:
    panel = synthetic_panel(3, 60, 2)
    plan = actual_plan(panel, origin=40, horizon=14)
    assert np.array_equal(plan.rival_price, np.repeat(panel.rival_price[:, 39:40], 14, axis=1))
    assert np.array_equal(plan.price, panel.price[:, 40:54])


def test_metrics_have_a_row_a_model_and_origin_and_all() -> None:
    learned = SETTINGS.forecast.model_copy(update={"n_estimators": 80, "training_origins": 12})
    settings = SETTINGS.model_copy(update={"forecast": learned})
    backtest = walk_forward(synthetic_panel(24, 300, 4), settings=settings)
    assert backtest.metrics.columns.tolist() == ["model", "origin", *METRICS]
    assert backtest.metrics.groupby("model").size().to_dict() == {
        "seasonal_naive": 4,
        "ses_weekday": 4,
        "ensemble": 4,
        "lightgbm": 4,
    }
    assert backtest.winner in {"ensemble", "lightgbm"}
    assert backtest.metrics[list(METRICS)].notna().all().all()
    overall = backtest.metrics[backtest.metrics["origin"] == "all"].set_index("model")
    assert overall["wape"]["lightgbm"] < 0.9 * overall["wape"]["ses_weekday"]
    assert overall["wape"]["ses_weekday"] < overall["wape"]["seasonal_naive"]
    assert 0.7 < overall["coverage_80"][backtest.winner] < 0.92
    assert abs(overall["bias"][backtest.winner]) < 0.1
    assert backtest.total_cv.shape == (24,) and (backtest.total_cv > 0).all()


def test_origins_are_spaced_by_the_horizon_from_the_end() -> None:
    assert held_out_origins(200, horizon=28, count=3) == (116, 144, 172)
    assert held_out_origins(60, horizon=28, count=3) == (32,)
    assert held_out_origins(30, horizon=28, count=3) == (20,)
    with pytest.raises(TooShortHistoryError, match="too few"):
        held_out_origins(3, horizon=28, count=3)


def _wapes(**models: list[float]) -> pd.DataFrame:
    rows = [
        {"model": model, "origin": str(number), "wape": value}
        for model, values in models.items()
        for number, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def test_the_least_wape_wins_when_beyond_noise() -> None:
    frame = _wapes(
        ses_weekday=[0.5, 0.6, 0.7], seasonal_naive=[0.6, 0.7, 0.8], lightgbm=[0.4, 0.51, 0.59]
    )
    winner, reason = choose_winner(frame)
    assert winner == "lightgbm" and "ses_weekday" in reason


def test_within_noise_the_baseline_stays() -> None:
    frame = _wapes(ses_weekday=[0.5, 0.6, 0.7], lightgbm=[0.3, 0.7, 0.75])
    assert choose_winner(frame)[0] == "ses_weekday"


def test_a_baseline_can_win() -> None:
    frame = _wapes(ses_weekday=[0.6, 0.6], seasonal_naive=[0.5, 0.5], lightgbm=[0.7, 0.7])
    assert choose_winner(frame)[0] == "seasonal_naive"


def test_no_sale_in_the_tested_periods_keeps_a_baseline() -> None:
    nothing = [float("nan")] * 2
    frame = _wapes(lightgbm=nothing, ses_weekday=nothing)
    assert choose_winner(frame)[0] == "ses_weekday"


def test_total_error_is_pooled_by_volume_class() -> None:
    rng = np.random.default_rng(0)
    predicted = (
        (np.repeat([10.0, 1000.0], 200) * rng.uniform(0.8, 1.2, 400))[:, None] / 4 * np.ones(4)
    )
    noise = np.repeat([0.4, 0.1], 200) * rng.standard_normal(400)
    actual = predicted * (1 + noise[:, None])
    forecast = Forecast(np.zeros(4, "datetime64[D]"), predicted, predicted, predicted, predicted)
    held = HeldOut(10, forecast, actual, np.ones_like(actual, dtype=bool))
    error = total_error([held], series=400)
    assert error[:200].mean() == pytest.approx(0.4, rel=0.2)
    assert error[200:].mean() == pytest.approx(0.1, rel=0.5)
