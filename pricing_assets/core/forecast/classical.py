r"""A model of its own for each series: exponential smoothing chosen by information criterion.

``auto_ets`` takes price and promotion out of demand, as the base of the global models does, fits
the additive models of Hyndman et al. (2008) to each series by statsforecast's AutoETS,

.. math:: y_t = \ell_{t-1} + \phi b_{t-1} + s_{t-m} + e_t,

and puts the planned prices in again. A series that is too short keeps the base forecast, SES x
weekday. The fitted state is saved (smoothing weights, level, trend and season as of the last
period), not refitted: loading and predicting run through later periods in NumPy alone, without
statsforecast, which is the optional extra ``classical``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.errors import InputError, IntegrityError
from pricing_assets.core.forecast.baselines import level_forecast
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.design import steady_base
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.levels import trace_levels
from pricing_assets.core.forecast.price_response import fit_price_response
from pricing_assets.core.forecast.windows import (
    actual_plan,
    held_out_origins,
    horizon_periods,
    usable_cells,
)
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

NAME = "auto_ets"
TENSORS_FILE = "states.safetensors"

_HOLDOUTS = 2
_HISTORY = {"day": 182, "week": 104}
"""Periods that a model is fitted to: what is older costs time and tells little."""
_LEAST_SEASONS = 4
_LEAST_PERIODS = 20
_SHARE_OF_BASE = (0.1, 5.0)


class MissingStatsforecastError(InputError):
    """``auto_ets`` is wanted and statsforecast is not installed."""


@dataclass(frozen=True, slots=True)
class SmoothingStates:
    """Additive exponential smoothing of S series as of one period, m periods a season.

    Attributes:
        weights: (S, 4) alpha, beta, gamma and phi.
        level, trend: (S,) units a period.
        season: (S, m) of the next m periods, the next one first.
        fitted: (S,) 1 where there is a model, else 0.
    """

    weights: Floats
    level: Floats
    trend: Floats
    season: Floats
    fitted: Floats

    def after(self, demand: Floats) -> SmoothingStates:
        """States after further periods of demand (S, W); an unknown period changes no weight."""
        alpha, beta, gamma, phi = self.weights.T
        level, trend, season = self.level.copy(), self.trend.copy(), self.season.copy()
        for values in demand.T:
            carried = phi * trend
            error = np.nan_to_num(values - (level + carried + season[:, 0]))
            level = level + carried + alpha * error
            trend = carried + beta * error
            latest = season[:, :1] + (gamma * error)[:, None]
            season = np.concatenate([season[:, 1:], latest], axis=1)
        return SmoothingStates(self.weights, level, trend, season, self.fitted)

    def forecast(self, horizon: int) -> Floats:
        """(S, H) expected demand."""
        steps = np.arange(1, horizon + 1)
        damped = np.cumsum(self.weights[:, 3:] ** steps, axis=1)
        season = self.season[:, (steps - 1) % self.season.shape[1]]
        return np.asarray(self.level[:, None] + self.trend[:, None] * damped + season)

    def of(self, rows: NDArray[np.int64]) -> SmoothingStates:
        """The states of the series at ``rows``; -1 is a series without a model."""
        picked = {name: getattr(self, name)[rows] for name in _STATE_ARRAYS}
        picked["fitted"] = np.where(rows >= 0, picked["fitted"], 0.0)
        return SmoothingStates(**picked)

    def arrays(self) -> dict[str, Floats]:
        """The arrays by name."""
        return {name: np.ascontiguousarray(getattr(self, name)) for name in _STATE_ARRAYS}


_STATE_ARRAYS = ("weights", "level", "trend", "season", "fitted")


@dataclass(frozen=True, slots=True)
class FittedAutoEts:
    """Fitted models of all series.

    Attributes:
        states: as of the last period of the fit.
        last: that period.
        keys: product and store of each series.
        intervals: calibration on held-out horizons.
    """

    states: SmoothingStates
    last: np.datetime64
    keys: tuple[tuple[str, str], ...]
    intervals: IntervalCalibration
    name: str = NAME

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan at its prices and promotions."""
        mean = _mean(self.states.of(_rows(self.keys, panel)), self.last, panel, plan)
        return self.intervals.forecast(dates=plan.dates, mean=mean, centre=mean, scale=mean)

    def to_files(self) -> dict[str, bytes]:
        """JSON state, and safetensors of the smoothing states."""
        state = {
            "forecaster": self.name,
            "last": str(self.last),
            "keys": [list(key) for key in self.keys],
            "intervals": self.intervals.to_json(),
        }
        return {METADATA_FILE: json_bytes(state), TENSORS_FILE: save_tensors(self.states.arrays())}


@dataclass(frozen=True, slots=True)
class AutoEts:
    """An untrained AutoETS of each series."""

    settings: PricingSettings
    name: str = NAME

    def fit(self, panel: Panel) -> FittedAutoEts:
        """Fit once without the last horizons to calibrate intervals, then on everything.

        Raises:
            MissingStatsforecastError: statsforecast is not installed.
        """
        horizon = horizon_periods(panel, self.settings.horizon_days)
        tests = held_out_origins(panel.shape[1], horizon=horizon, count=_HOLDOUTS)
        early = fit_states(panel.until(tests[0]), jobs=self.settings.forecast.threads)
        last, usable, pairs = panel.dates[tests[0] - 1], usable_cells(panel), []
        for origin in tests:
            plan = actual_plan(panel, origin=origin, horizon=horizon)
            mean = _mean(early, last, panel.until(origin), plan)
            span = slice(origin, origin + len(plan.dates))
            cells = usable[:, span]
            pairs.append(np.stack([panel.units[:, span][cells], mean[cells]]))
        actual, mean = np.concatenate(pairs, axis=1)
        return FittedAutoEts(
            states=fit_states(panel, jobs=self.settings.forecast.threads),
            last=panel.dates[-1],
            keys=_keys(panel),
            intervals=IntervalCalibration.fit(actual=actual, centre=mean, scale=mean),
        )


def fit_states(panel: Panel, *, jobs: int) -> SmoothingStates:
    """Models of all series as of the panel's end, by AutoETS.

    Args:
        jobs: processes.

    Raises:
        MissingStatsforecastError: statsforecast is not installed.
    """
    origin, season = panel.shape[1], _season(panel)
    history = trace_levels(panel, [origin], response=fit_price_response(panel))
    state = history.states[origin]
    recent = slice(max(0, origin - _HISTORY[panel.grain]), origin)
    fill = level_forecast(state, panel, panel.dates[recent])
    rows = _training_frame(history.adjusted[:, recent], fill, least=_least_periods(season))
    states = _unfitted(panel.shape[0], season)
    if not rows.empty:
        for number, model in _auto_ets(rows, season=season, jobs=jobs).items():
            _place(states, number, model)
    return states


def load(bundle: ModelBundle, state: Mapping[str, Any]) -> FittedAutoEts:
    """Rebuild from a bundle; ``state`` is its parsed JSON.

    Raises:
        IntegrityError: the states are absent.
    """
    if TENSORS_FILE not in bundle.files:
        raise IntegrityError(f"the {NAME} model has no file '{TENSORS_FILE}'; train it again")
    return FittedAutoEts(
        states=SmoothingStates(**load_tensors(bundle.files[TENSORS_FILE])),
        last=np.datetime64(state["last"], "D"),
        keys=tuple((product, store) for product, store in state["keys"]),
        intervals=IntervalCalibration.from_json(state["intervals"]),
    )


def _mean(states: SmoothingStates, last: np.datetime64, panel: Panel, plan: FuturePlan) -> Floats:
    """(S, H) expected demand: the models run on from ``last``, else the base."""
    origin = panel.shape[1]
    response = fit_price_response(panel)
    history = trace_levels(panel, [origin], response=response)
    base = steady_base(history.states[origin], panel, plan)
    known = int(np.searchsorted(panel.dates, last)) + 1
    if known > origin or panel.dates[known - 1] != last:
        smooth = base
    else:
        ahead = states.after(history.adjusted[:, known:]).forecast(len(plan.dates))
        low, high = (share * base for share in _SHARE_OF_BASE)
        smooth = np.where(states.fitted[:, None] > 0, np.clip(ahead, low, high), base)
    return np.asarray(smooth * np.exp(response.log_effect(plan)))


def _training_frame(adjusted: Floats, fill: Floats, *, least: int) -> pd.DataFrame:
    """Long rows unique_id, ds, y of the series that are long enough, from their first cell on."""
    parts = []
    for number, (values, instead) in enumerate(zip(adjusted, fill, strict=True)):
        known = np.isfinite(values)
        if known.sum() < least or not known.any():
            continue
        start = int(np.argmax(known))
        filled = np.where(known, values, instead)[start:]
        ds = np.arange(start, len(values))
        parts.append(pd.DataFrame({"unique_id": number, "ds": ds, "y": filled}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _auto_ets(rows: pd.DataFrame, *, season: int, jobs: int) -> dict[int, Mapping[str, Any]]:
    """Series number -> statsforecast's fitted model; none where no form could be fitted."""
    try:
        from statsforecast import StatsForecast
        from statsforecast.models import AutoETS, Naive
    except ImportError as failure:
        raise MissingStatsforecastError(
            f"the forecaster '{NAME}' needs statsforecast ({failure}): install the extra "
            "'classical', or take another forecast.model"
        ) from None
    # Additive forms only: a ratio of small counts has no stable multiplicative season.
    library = StatsForecast(
        models=[AutoETS(season_length=season, model="AZZ" if season > 1 else "AZN")],
        freq=1,
        n_jobs=jobs,
        fallback_model=Naive(),
    ).fit(rows)
    numbers = rows["unique_id"].unique().tolist()
    fitted = {
        number: getattr(found, "model_", {})
        for number, found in zip(numbers, library.fitted_[:, 0], strict=True)
    }
    return {number: model for number, model in fitted.items() if "components" in model}


def _place(states: SmoothingStates, number: int, model: Mapping[str, Any]) -> None:
    """Write one fitted model into row ``number`` of the arrays."""
    trend, season, damped = model["components"][1:4]
    weights = np.nan_to_num(np.asarray(model["par"][:4], np.float64))
    weights[3] = weights[3] if damped == "D" else 1.0
    last = np.asarray(model["states"][-1], np.float64)
    states.weights[number] = weights
    states.level[number] = last[0]
    states.trend[number] = last[1] if trend != "N" else 0.0
    if season != "N":
        # statsforecast keeps the latest season first; the next period's is the oldest.
        states.season[number] = last[-states.season.shape[1] :][::-1]
    states.fitted[number] = float(np.isfinite(last).all())


def _unfitted(series: int, season: int) -> SmoothingStates:
    zero = np.zeros(series)
    return SmoothingStates(
        weights=np.tile([0.0, 0.0, 0.0, 1.0], (series, 1)),
        level=zero.copy(),
        trend=zero.copy(),
        season=np.zeros((series, season)),
        fitted=zero.copy(),
    )


def _rows(keys: tuple[tuple[str, str], ...], panel: Panel) -> NDArray[np.int64]:
    """Row of each of the panel's series among ``keys``, -1 where it is new, (S,)."""
    position = {key: number for number, key in enumerate(keys)}
    return np.asarray([position.get(key, -1) for key in _keys(panel)], np.int64)


def _keys(panel: Panel) -> tuple[tuple[str, str], ...]:
    columns = (panel.series[name].astype(str) for name in ("product_id", "store_id"))
    return tuple(zip(*columns, strict=True))


def _season(panel: Panel) -> int:
    return 7 if panel.grain == "day" else 1


def _least_periods(season: int) -> int:
    return max(_LEAST_PERIODS, _LEAST_SEASONS * season)
