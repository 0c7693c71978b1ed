r"""What every estimator gives back before pooling: own slopes by series, and one slope for all.

Belongs here: the interface that the estimators share, and the last step of all of them, which
turns residuals into slopes. With the outcome y, log price x and h, the part of x that identifies
(x itself, or its projection on instruments), all free of the nuisances,

.. math:: \theta = \sum w h y / \sum w h x, \qquad
          \beta_i = \theta + \sum_i w h (y - \theta x) / \max(\sum_i w h x, \sum_i w h^2).

For h = x the second is the series' own least-squares slope. For instruments it is the series' own
IV slope where its first stage is as strong as the common one, and else one step from the common
slope with the common first stage, so that it never divides by a series' own weak one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MethodName = Literal["local_level_gls", "double_ml", "fixed_effects", "instrumental"]
MIN_OWN_INFORMATION = 0.25
"""1 / variance of an own slope below which a series is left to the pooling."""
SERIAL_LAGS = 7


@dataclass(frozen=True, slots=True)
class RawEstimates:
    """Result of one estimator for S series, before pooling.

    Attributes:
        method: which estimator.
        identified_by: what moved the prices that it trusts, in words.
        slope, standard_error: (S,) own-price elasticities; NaN where a series says nothing.
        common, common_standard_error: one slope for all series, its error clustered.
        first_stage_f: strength of the instruments, NaN without any.
        observations: cells used.
        effects: coefficients of the covariates by name.
        shared_standard_error: error that all own slopes have in common, which pooling cannot
            average out.
        refused: why the figures are not to be used; empty where they may be.
    """

    method: MethodName
    identified_by: str
    slope: Floats
    standard_error: Floats
    common: float = np.nan
    common_standard_error: float = np.nan
    first_stage_f: float = np.nan
    observations: int = 0
    effects: dict[str, float] = field(default_factory=dict)
    shared_standard_error: float = 0.0
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Residuals:
    """N cells free of the nuisances.

    Attributes:
        outcome, log_price: (N,).
        identifying: (N,) the part of log price that identifies.
        weight: (N,) nonnegative.
        series, cluster: (N,) index of the series and of the cluster of the errors.
        freedom: degrees of freedom left.
    """

    outcome: Floats
    log_price: Floats
    identifying: Floats
    weight: Floats
    series: Integers
    cluster: Integers
    freedom: float


@dataclass(frozen=True, slots=True)
class Slopes:
    """One slope for all with its clustered error, and (S,) own slopes with theirs."""

    common: float
    common_standard_error: float
    slope: Floats
    standard_error: Floats


def slopes(rows: Residuals, *, series_count: int) -> Slopes:
    """The common and the own slopes; the rows are ordered by series and period.

    The own errors take the noise around the own slopes, all series alike, widened by the serial
    correlation of the scores (Newey and West 1987). The common slope's clustered error is no
    measure of them: it holds the differences between series too, which pooling estimates.
    """
    pull = rows.weight * rows.identifying
    cross = float(pull @ rows.log_price)
    if rows.freedom <= series_count or abs(cross) < 1e-9:
        nothing = np.full(series_count, np.nan)
        return Slopes(np.nan, np.nan, nothing, nothing)
    common = float(pull @ rows.outcome) / cross
    error = rows.outcome - common * rows.log_price
    clustered = clustered_variance(pull * error, rows.cluster) / cross**2
    power = np.bincount(rows.series, pull * rows.identifying, series_count)
    lever = np.maximum(np.bincount(rows.series, pull * rows.log_price, series_count), power)
    lever = np.maximum(lever, 1e-12)
    step = np.bincount(rows.series, pull * error, series_count) / lever
    own_error = error - step[rows.series] * rows.identifying
    scale = float(rows.weight @ own_error**2) / (rows.freedom - series_count)
    widened = scale * _serial_factor(pull * own_error, rows.series)
    variance = widened * power / lever**2
    informative = (variance < 1.0 / MIN_OWN_INFORMATION) & (power > 1e-9)
    return Slopes(
        common=common,
        common_standard_error=float(np.sqrt(clustered)),
        slope=np.where(informative, common + step, np.nan),
        standard_error=np.where(informative, np.sqrt(variance), np.nan),
    )


def _serial_factor(score: Floats, series: Integers) -> float:
    """Variance of a series' sum of scores over that of independent ones, at least one."""
    power = float(score @ score)
    total = 1.0
    for lag in range(1, SERIAL_LAGS + 1):
        same = series[lag:] == series[:-lag]
        shared = float((score[lag:] * score[:-lag])[same].sum())
        total += 2.0 * (1.0 - lag / (SERIAL_LAGS + 1)) * shared / max(power, 1e-300)
    return max(total, 1.0)


def clustered_variance(score: Floats, cluster: Integers) -> float:
    """Sum of squared cluster sums of ``score`` (N,), with the factor G / (G - 1)."""
    sums = np.bincount(cluster, score)
    groups = int(np.unique(cluster).size)
    return float(sums @ sums) * groups / max(groups - 1, 1)


@dataclass(frozen=True, slots=True)
class RandomEffectsMean:
    """Mean of the series' true elasticities with its standard error, and their spread."""

    mean: float
    standard_error: float
    between_sd: float


def random_effects_mean(*, slope: Floats, standard_error: Floats) -> RandomEffectsMean:
    """Mean over the series of noisy slopes (S,), NaN left out (DerSimonian and Laird 1986)."""
    known = np.isfinite(slope) & np.isfinite(standard_error) & (standard_error > 0)
    if not known.any():
        return RandomEffectsMean(np.nan, np.nan, np.nan)
    value, weight = slope[known], standard_error[known] ** -2.0
    centre = float(weight @ value / weight.sum())
    excess = float(weight @ (value - centre) ** 2) - (len(value) - 1)
    scale = float(weight.sum() - (weight @ weight) / weight.sum())
    between = max(excess / scale, 0.0) if scale > 1e-9 else 0.0
    weight = 1.0 / (1.0 / weight + between)
    return RandomEffectsMean(
        mean=float(weight @ value / weight.sum()),
        standard_error=float(weight.sum() ** -0.5),
        between_sd=float(np.sqrt(between)),
    )


def nothing_estimated(
    method: MethodName, *, series_count: int, refused: str, first_stage_f: float = np.nan
) -> RawEstimates:
    """An estimator that cannot be used here, and why."""
    empty = np.full(series_count, np.nan)
    return RawEstimates(
        method, "nothing", empty, empty, first_stage_f=first_stage_f, refused=refused
    )
