"""AutoETS a series: its recursion, its states run on, and what it does without the library.

What every forecaster owes (finite, ordered, saved is loaded) is tests/test_forecast_models.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from panels import synthetic_panel
from statsforecast.models import AutoETS

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.forecast import classical
from pricing_assets.core.forecast.baselines import Baseline
from pricing_assets.core.forecast.classical import (
    AutoEts,
    FittedAutoEts,
    MissingStatsforecastError,
    SmoothingStates,
)
from pricing_assets.core.forecast.metrics import wape
from pricing_assets.core.forecast.training import load_forecaster
from pricing_assets.core.forecast.windows import actual_plan
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

SETTINGS = PricingSettings(horizon_days=14)


@cache
def _panel() -> Panel:
    return synthetic_panel(6, 170, 5)


@cache
def _fitted() -> FittedAutoEts:
    return AutoEts(SETTINGS).fit(_panel().until(149))


def _season(values: np.ndarray, *, form: str = "AZZ") -> tuple[SmoothingStates, AutoETS]:
    model = AutoETS(season_length=7, model=form).fit(values)
    states = classical._unfitted(1, 7)
    classical._place(states, 0, model.model_)
    return states, model


@pytest.mark.parametrize("form", ["ANN", "AAN", "ANA", "AAA"])
@pytest.mark.parametrize("damped", [False, True])
def test_states_forecast_and_run_on_as_the_library_does(form: str, damped: bool) -> None:
    rng = np.random.default_rng(8)
    day = np.arange(140)
    values = 20 + 0.05 * day + 4 * np.sin(2 * np.pi * day / 7) + rng.normal(0, 1, 140)
    model = AutoETS(season_length=7, model=form, damped=damped and form[1] == "A").fit(values)
    states = classical._unfitted(1, 7)
    classical._place(states, 0, model.model_)
    # With damping, statsforecast counts the first power twice from the second step on.
    steps = 1 if damped and form[1] == "A" else 21
    library = model.predict(h=21)["mean"]
    assert states.forecast(21)[0, :steps] == pytest.approx(library[:steps], rel=1e-9)
    # Run on over its own last periods, from the states that the library had before them.
    earlier = classical._unfitted(1, 7)
    before = {**model.model_, "states": model.model_["states"][: 140 - 20 + 1]}
    classical._place(earlier, 0, before)
    again = earlier.after(values[None, -20:])
    assert again.forecast(21) == pytest.approx(states.forecast(21), rel=1e-9)


def test_an_unknown_period_moves_time_but_learns_nothing() -> None:
    states, _ = _season(10 + 3 * (np.arange(60) % 7 == 5) + np.sin(np.arange(60.0)))
    missing = states.after(np.full((1, 3), np.nan))
    assert missing.forecast(7) == pytest.approx(states.forecast(10)[:, 3:])


def test_it_beats_no_season_and_takes_prices_as_planned() -> None:
    panel = _panel()
    known, plan = panel.until(149), actual_plan(panel, origin=149, horizon=14)
    forecast = _fitted().predict(known, plan)
    actual, every = panel.units[:, 149:163], np.ones((6, 14), dtype=bool)
    plain = Baseline("ses_weekday", SETTINGS).fit(known).predict(known, plan)
    assert wape(actual, forecast.mean, every) < wape(actual, plain.mean, every)
    cheaper = _fitted().predict(known, replace(plan, price=0.8 * plan.price))
    assert cheaper.mean.sum() > 1.2 * forecast.mean.sum()
    assert (_fitted().states.fitted == 1).all()


def test_saved_states_need_no_library_and_run_on_to_a_later_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    panel = _panel()
    bundle = ModelBundle(_fitted().to_files())
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    loaded = load_forecaster(bundle)
    later, plan = panel.until(156), actual_plan(panel, origin=156, horizon=14)
    mean = loaded.predict(later, plan).mean
    assert np.array_equal(mean, _fitted().predict(later, plan).mean)
    assert wape(panel.units[:, 156:170], mean, np.ones((6, 14), dtype=bool)) < 0.4
    with pytest.raises(MissingStatsforecastError, match="extra 'classical'"):
        AutoEts(SETTINGS).fit(panel.until(149))
    with pytest.raises(IntegrityError, match="no file"):
        classical.load(ModelBundle({"forecaster.json": b"{}"}), {})


def test_short_new_and_reordered_series_are_told_apart() -> None:
    panel = _panel()
    on_sale = panel.on_sale.copy()
    on_sale[0, :140] = False
    units = np.where(on_sale, panel.units, np.nan)
    short = replace(panel, units=units, on_sale=on_sale).until(149)
    fitted = AutoEts(SETTINGS).fit(short)
    assert fitted.states.fitted.tolist() == [0, 1, 1, 1, 1, 1]
    known, plan = panel.until(149), actual_plan(panel, origin=149, horizon=14)
    order = np.asarray([5, 4, 3, 2, 1, 0])
    arrays = {name: getattr(known, name)[order] for name in ("units", "price", "promo", "on_sale")}
    series = known.series.iloc[order].reset_index(drop=True)
    rows = classical._rows(_fitted().keys, replace(known, series=series, **arrays))
    assert rows.tolist() == order.tolist()
    series.loc[0, "product_id"] = "new"
    assert classical._rows(_fitted().keys, replace(known, series=series))[0] == -1
    assert _fitted().states.of(np.asarray([-1, 0])).fitted.tolist() == [0.0, 1.0]
    assert np.isfinite(_fitted().predict(known, plan).mean).all()


def test_a_history_that_does_not_hold_the_last_fitted_period_gets_the_base() -> None:
    panel = _panel()
    early, plan = panel.until(100), actual_plan(panel, origin=100, horizon=14)
    mean = _fitted().predict(early, plan).mean
    assert mean.sum() == pytest.approx(panel.units[:, 100:114].sum(), rel=0.3)
