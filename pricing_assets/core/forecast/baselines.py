"""Plain forecasters that the rest must beat: seasonal naive, and SES times a weekday index.

Their intervals come from their own errors over the last held-out horizons.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.bundle import json_bytes
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.levels import LevelState, trace_levels, weekday
from pricing_assets.core.forecast.windows import held_out_origins, horizon_periods, usable_cells
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

_CALIBRATION_ORIGINS = 4
_WEEKS_BACK = 8


@dataclass(frozen=True, slots=True)
class FittedBaseline:
    """A baseline: its name and the calibration of its intervals."""

    name: str
    intervals: IntervalCalibration

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan's periods from the panel's history; prices play no part."""
        origin = panel.shape[1]
        state = trace_levels(panel, [origin]).states[origin]
        scale = level_forecast(state, panel, plan.dates)
        mean = _POINT[self.name](panel, state, plan.dates)
        return self.intervals.forecast(dates=plan.dates, mean=mean, centre=mean, scale=scale)

    def to_files(self) -> dict[str, bytes]:
        """One JSON file."""
        state = {"forecaster": self.name, "intervals": self.intervals.to_json()}
        return {METADATA_FILE: json_bytes(state)}


@dataclass(frozen=True, slots=True)
class Baseline:
    """An unfitted baseline, 'seasonal_naive' or 'ses_weekday'."""

    name: str
    settings: PricingSettings

    def fit(self, panel: Panel) -> FittedBaseline:
        """Calibrate the intervals on the last held-out horizons of the panel."""
        horizon = horizon_periods(panel, self.settings.horizon_days)
        origins = held_out_origins(panel.shape[1], horizon=horizon, count=_CALIBRATION_ORIGINS)
        states = trace_levels(panel, origins).states
        usable, pairs = usable_cells(panel), []
        for origin in origins:
            dates = panel.dates[origin : origin + horizon]
            mean = _POINT[self.name](panel.until(origin), states[origin], dates)
            scale = level_forecast(states[origin], panel, dates)
            actual, cells = (
                panel.units[:, origin : origin + horizon],
                usable[:, origin:][:, : len(dates)],
            )
            pairs.append(np.stack([actual[cells], mean[cells], scale[cells]]))
        actual, mean, scale = np.concatenate(pairs, axis=1)
        intervals = IntervalCalibration.fit(actual=actual, centre=mean, scale=scale)
        return FittedBaseline(name=self.name, intervals=intervals)


def level_forecast(state: LevelState, panel: Panel, dates: NDArray[np.datetime64]) -> Floats:
    """Level times weekday index, (S, H), units a period: the forecast of SES x weekday."""
    if panel.grain == "week":
        return np.repeat(state.level[:, None], len(dates), axis=1)
    return np.asarray(state.level[:, None] * state.weekday_index[:, weekday(dates)])


def naive_forecast(panel: Panel, state: LevelState, dates: NDArray[np.datetime64]) -> Floats:
    """Last usable value of the same weekday within eight weeks, else SES x weekday, (S, H)."""
    cycle = 7 if panel.grain == "day" else 1
    fallback = level_forecast(state, panel, dates)
    units = np.where(usable_cells(panel), panel.units, np.nan)
    series, periods = units.shape
    season = np.full((series, cycle), np.nan)
    for week in range(_WEEKS_BACK):
        last = periods - cycle * week
        if last < cycle:
            break
        season = np.where(np.isnan(season), units[:, last - cycle : last], season)
    repeated = np.tile(season, (1, -(-len(dates) // cycle)))[:, : len(dates)]
    return np.asarray(np.where(np.isnan(repeated), fallback, repeated))


def _ses_forecast(panel: Panel, state: LevelState, dates: NDArray[np.datetime64]) -> Floats:
    return level_forecast(state, panel, dates)


_POINT: dict[str, Callable[[Panel, LevelState, NDArray[np.datetime64]], Floats]] = {
    "seasonal_naive": naive_forecast,
    "ses_weekday": _ses_forecast,
}
BASELINES = tuple(_POINT)
"""Names of the baselines."""
