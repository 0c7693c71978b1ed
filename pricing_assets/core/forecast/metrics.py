"""Accuracy of a forecast against what was sold, over the cells that say what demand was.

Only the measures belong here; which periods are tested is ``core.forecast.walk_forward``.
Arrays are (S, H); ``usable`` is (S, H) True where the product was on sale and its shelf did not
empty. A measure over no usable cell is NaN, never zero.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.interface import Forecast

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

METRICS = (
    "rmse_log",
    "rmsle",
    "mae",
    "wape",
    "rmsse",
    "pinball_q10",
    "pinball_q50",
    "pinball_q90",
    "coverage_80",
    "bias",
)
"""Columns of the metrics that :func:`forecast_metrics` gives, in order."""

_LOG_FLOOR = 0.5


def rmse_log(actual: Floats, predicted: Floats, usable: Flags) -> float:
    """Root mean square of log(max(predicted, 0.5) / max(actual, 0.5)): half a unit for none."""
    y, f = actual[usable], predicted[usable]
    gap = np.log(np.maximum(f, _LOG_FLOOR)) - np.log(np.maximum(y, _LOG_FLOOR))
    return float(np.sqrt(_mean(gap**2)))


def rmsle(actual: Floats, predicted: Floats, usable: Flags) -> float:
    """Root mean square of log(1 + predicted) - log(1 + actual)."""
    gap = np.log1p(predicted[usable]) - np.log1p(actual[usable])
    return float(np.sqrt(_mean(gap**2)))


def mae(actual: Floats, predicted: Floats, usable: Flags) -> float:
    """Mean absolute error in units a period."""
    return _mean(np.abs(predicted[usable] - actual[usable]))


def wape(actual: Floats, predicted: Floats, usable: Flags) -> float:
    """Sum of absolute errors over the sum of actual units."""
    return _ratio(np.abs(predicted[usable] - actual[usable]).sum(), actual[usable].sum())


def bias(actual: Floats, predicted: Floats, usable: Flags) -> float:
    """Sum of (predicted - actual) over the sum of actual units; above zero is too high."""
    return _ratio((predicted[usable] - actual[usable]).sum(), actual[usable].sum())


def pinball(actual: Floats, quantile: Floats, usable: Flags, *, probability: float) -> float:
    """Mean pinball loss of a quantile forecast (Koenker and Bassett 1978), units a period."""
    gap = actual[usable] - quantile[usable]
    return _mean(np.maximum(probability * gap, (probability - 1) * gap))


def coverage(actual: Floats, low: Floats, high: Floats, usable: Flags) -> float:
    """Share of actuals inside [low, high]; counts tied at zero push it above the nominal."""
    inside = (actual >= low) & (actual <= high)
    return _mean(inside[usable].astype(np.float64))


def mape(actual: Floats, predicted: Floats, usable: Flags) -> float:
    """Mean of |predicted - actual| / actual over the usable cells that sold something."""
    sold = usable & (actual > 0)
    return _mean(np.abs(predicted[sold] - actual[sold]) / actual[sold])


def naive_scale(history: Floats) -> Floats:
    """Mean squared one-step difference of each series from its first sale on, (S, T) -> (S,).

    Cells that are NaN (not on sale) are skipped together with the differences that touch them.
    """
    started = np.maximum.accumulate(np.nan_to_num(history) > 0, axis=1)
    steps = np.where(started[:, :-1], np.diff(history, axis=1), np.nan)
    known = np.isfinite(steps)
    total = (np.where(known, steps, 0.0) ** 2).sum(axis=1)
    count = known.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def rmsse(
    actual: Floats,
    predicted: Floats,
    usable: Flags,
    *,
    scale: Floats,
    weights: Floats | None = None,
) -> float:
    """Root mean squared scaled error, mean over series (Hyndman and Koehler 2006; M5).

    Args:
        scale: (S,) mean squared naive error of the history, see :func:`naive_scale`.
        weights: (S,) weights of the series; equal where None. A series without a usable cell or
            with no positive scale is left out and the others' weights are renormalised.
    """
    count = usable.sum(axis=1)
    squared = np.where(usable, np.nan_to_num(predicted - actual), 0.0) ** 2
    valid = (count > 0) & (np.nan_to_num(scale) > 0)
    ratio = squared.sum(axis=1)[valid] / count[valid] / scale[valid]
    share = np.ones(int(valid.sum())) if weights is None else weights[valid]
    return _ratio(float((share * np.sqrt(ratio)).sum()), float(share.sum()))


def forecast_metrics(
    actual: Floats, forecast: Forecast, usable: Flags, *, scale: Floats
) -> dict[str, float]:
    """Every measure of :data:`METRICS`; points are scored on the mean.

    Args:
        actual: (S, H) units.
        scale: (S,) squared naive error of each series' history.
    """
    mean = forecast.mean
    return {
        "rmse_log": rmse_log(actual, mean, usable),
        "rmsle": rmsle(actual, mean, usable),
        "mae": mae(actual, mean, usable),
        "wape": wape(actual, mean, usable),
        "rmsse": rmsse(actual, mean, usable, scale=scale),
        "pinball_q10": pinball(actual, forecast.q10, usable, probability=0.1),
        "pinball_q50": pinball(actual, forecast.q50, usable, probability=0.5),
        "pinball_q90": pinball(actual, forecast.q90, usable, probability=0.9),
        "coverage_80": coverage(actual, forecast.q10, forecast.q90, usable),
        "bias": bias(actual, mean, usable),
    }


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _ratio(numerator: float, denominator: float) -> float:
    return float(numerator / denominator) if denominator > 0 else float("nan")
