"""Walk-forward validation: each model sees only what was known at the origin it is judged on.

Belongs here: the harness, the winner rule and the error of the horizon total. Measures are in
``metrics``, the held-out windows in ``windows``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.forecast.baselines import BASELINES
from pricing_assets.core.forecast.ensemble import NAME as ENSEMBLE
from pricing_assets.core.forecast.ensemble import FittedEnsemble
from pricing_assets.core.forecast.interface import FittedForecaster, Forecast, Forecaster
from pricing_assets.core.forecast.metrics import METRICS, forecast_metrics, naive_scale
from pricing_assets.core.forecast.training import make_forecaster
from pricing_assets.core.forecast.windows import (
    actual_plan,
    held_out_origins,
    horizon_periods,
    usable_cells,
)
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_VOLUME_CLASSES = 5
_LARGEST_ERROR = 2.0


@dataclass(frozen=True, slots=True)
class HeldOut:
    """One model on one origin: what it said, what came, and which cells count.

    Attributes:
        origin: periods known.
        forecast: arrays (S, H).
        actual: (S, H) units.
        usable: (S, H) on sale and shelf not emptied.
    """

    origin: int
    forecast: Forecast
    actual: Floats
    usable: Flags


@dataclass(frozen=True, slots=True)
class Backtest:
    """Result of walk-forward validation.

    Attributes:
        metrics: one row a model and origin, and a row 'all' (mean over origins) a model; columns
            model, origin (ISO date of the first tested period, or 'all'), then METRICS.
        winner: forecaster to use.
        reason: the winner rule's outcome in one sentence.
        total_cv: (S,) relative root-mean-square error of the horizon's total by the winner,
            pooled by volume class.
        held_out: the winner's forecasts by origin, ascending.
    """

    metrics: pd.DataFrame
    winner: str
    reason: str
    total_cv: Floats
    held_out: tuple[HeldOut, ...]
    tested: Mapping[str, tuple[HeldOut, ...]]


def walk_forward(
    panel: Panel,
    *,
    settings: PricingSettings,
    forecasters: Iterable[Forecaster] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Backtest:
    """Score the forecasters on held-out horizons and choose one.

    Args:
        forecasters: those to try; those of :func:`candidates` where None.
        progress: called with one line before each fit.

    Raises:
        TooShortHistoryError: the panel has fewer than four periods.
    """
    horizon = horizon_periods(panel, settings.horizon_days)
    count = settings.forecast.backtest_origins
    origins = held_out_origins(panel.shape[1], horizon=horizon, count=count)
    names = candidates(settings)
    tried = list(forecasters or (make_forecaster(name, settings=settings) for name in names))
    results: dict[str, list[HeldOut]] = {}
    for origin in origins:
        for forecaster in tried:
            if progress is not None:
                day = panel.dates[origin].astype(str)
                progress(f"testing {forecaster.name} on the periods from {day}")
            for name, held in score_origin(panel, forecaster, origin=origin, horizon=horizon):
                results.setdefault(name, []).append(held)
    metrics = _metrics_frame(panel, results)
    winner, reason = choose_winner(metrics)
    return Backtest(
        metrics=metrics,
        winner=winner,
        reason=reason,
        total_cv=total_error(results[winner], series=panel.shape[0]),
        held_out=tuple(results[winner]),
        tested={name: tuple(held) for name, held in results.items()},
    )


def candidates(settings: PricingSettings) -> tuple[str, ...]:
    """Names to try: the baselines, the settings' candidates, and the model that they ask for.

    The members of an ensemble that is tried are left out: they are scored with it.
    """
    forecast = settings.forecast
    asked = [] if forecast.model == "auto" else [forecast.model]
    names = dict.fromkeys([*forecast.candidates, *asked])
    members = forecast.ensemble_members if ENSEMBLE in names else []
    return (*BASELINES, *(name for name in names if name not in {*BASELINES, *members}))


def score_origin(
    panel: Panel, forecaster: Forecaster, *, origin: int, horizon: int
) -> list[tuple[str, HeldOut]]:
    """Fit on the panel as of ``origin`` (no later column) and forecast what followed."""
    known = panel.until(origin)
    plan = actual_plan(panel, origin=origin, horizon=horizon)
    fitted = forecaster.fit(known)
    models: list[FittedForecaster] = [fitted]
    if isinstance(fitted, FittedEnsemble):
        models += [member for member in fitted.members if member.name not in BASELINES]
    span = slice(origin, origin + len(plan.dates))
    usable, actual = usable_cells(panel)[:, span], panel.units[:, span]
    return [
        (model.name, HeldOut(origin, model.predict(known, plan), actual, usable))
        for model in models
    ]


def choose_winner(metrics: pd.DataFrame) -> tuple[str, str]:
    """Winner and reason: least mean WAPE, but a baseline unless it is beaten beyond noise.

    The noise is the standard error over origins of the WAPE difference (0 with one origin).
    """
    by_origin = metrics[metrics["origin"] != "all"]
    table = by_origin.pivot(index="origin", columns="model", values="wape").fillna(np.inf)
    means = table.mean().sort_values(kind="stable")
    best = str(means.index[0])
    plain = [name for name in means.index if name in BASELINES]
    if best in BASELINES or not plain:
        return best, f"{best} has the least mean WAPE, {means[best]:.4f}"
    rival = str(plain[0])
    if not np.isfinite(means[rival]):
        return rival, "nothing was sold in the tested periods, so the plain forecaster stays"
    gap = (table[rival] - table[best]).to_numpy()
    noise = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else 0.0
    verdict = f"WAPE {means[best]:.4f} against {means[rival]:.4f} of {rival}, noise {noise:.4f}"
    if float(gap.mean()) > noise:
        return best, f"{best} wins: {verdict}"
    return rival, f"{best} does not beat the baseline beyond noise: {verdict}"


def total_error(held_out: Sequence[HeldOut], *, series: int) -> Floats:
    """(S,) relative error of the horizon total, root mean square within classes of volume.

    A class is a fifth of the series-origins by predicted total; each series takes the error
    interpolated at its own mean predicted total, or the largest where it was never testable.
    """
    totals = [_totals(held) for held in held_out]
    predicted = np.stack([total[0] for total in totals])
    errors = np.stack([total[1] for total in totals])
    known = np.isfinite(errors)
    if not known.any():
        return np.full(series, 1.0)
    order = np.argsort(predicted[known], kind="stable")
    classes = np.array_split(order, min(_VOLUME_CLASSES, order.size))
    centres = np.asarray([np.log(predicted[known][part]).mean() for part in classes])
    spread = np.asarray([np.sqrt((errors[known][part] ** 2).mean()) for part in classes])
    volume = np.where(known, predicted, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    testable = volume > 0
    placed = np.interp(np.log(np.where(testable, volume, 1.0)), centres, spread)
    return np.asarray(np.where(testable, placed, spread.max()))


def _totals(held: HeldOut) -> tuple[Floats, Floats]:
    """Predicted total and relative error of each series, (S,); NaN under half usable."""
    predicted = np.where(held.usable, held.forecast.mean, 0.0).sum(axis=1)
    actual = np.where(held.usable, np.nan_to_num(held.actual), 0.0).sum(axis=1)
    enough = (held.usable.mean(axis=1) >= 0.5) & (predicted > 0)
    error = (actual - predicted) / np.where(enough, predicted, 1.0)
    return predicted, np.where(enough, np.clip(error, -_LARGEST_ERROR, _LARGEST_ERROR), np.nan)


def _metrics_frame(panel: Panel, results: dict[str, list[HeldOut]]) -> pd.DataFrame:
    rows: list[dict[str, object]] = []
    usable = usable_cells(panel)
    for name, tested in results.items():
        scored = []
        for held in tested:
            past = np.where(usable, panel.units, np.nan)[:, : held.origin]
            scale = naive_scale(past)
            scored.append(forecast_metrics(held.actual, held.forecast, held.usable, scale=scale))
            day = str(panel.dates[held.origin].astype("datetime64[D]"))
            rows.append({"model": name, "origin": day, **scored[-1]})
        mean = {key: float(np.mean([row[key] for row in scored])) for key in METRICS}
        rows.append({"model": name, "origin": "all", **mean})
    return pd.DataFrame(rows, columns=["model", "origin", *METRICS])
