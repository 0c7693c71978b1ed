r"""What every estimator gives back before pooling: own slopes by series, and one slope for all.

Belongs here: the interface that the estimators share, and the last step of all of them, which
turns residuals into slopes. With the outcome y, log price x and h, the part of x that identifies
(x itself, or its projection on instruments), all free of the nuisances,

.. math:: \theta = \sum w h y / \sum w h x, \qquad
          \beta_i = \theta + \sum_i w h (y - \theta x) / \sum_i w h^2.

For h = x the second is the series' own least-squares slope; for instruments it is one step from
the common slope with the common first stage, which never divides by a series' own weak one.
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
    """The common and the own slopes.

    The own errors are the textbook ones times the ratio that clustering makes of the common
    slope's, so that serial correlation widens them too.
    """
    pull = rows.weight * rows.identifying
    cross = float(pull @ rows.log_price)
    if rows.freedom <= 0 or abs(cross) < 1e-9:
        nothing = np.full(series_count, np.nan)
        return Slopes(np.nan, np.nan, nothing, nothing)
    common = float(pull @ rows.outcome) / cross
    error = rows.outcome - common * rows.log_price
    clustered = clustered_variance(pull * error, rows.cluster) / cross**2
    scale = float(rows.weight @ error**2) / rows.freedom
    information = np.bincount(rows.series, pull * rows.identifying, series_count)
    textbook = scale / float(information.sum())
    excess = max(clustered / textbook, 1.0) if textbook > 0 else 1.0
    variance = scale * excess / np.maximum(information, 1e-12)
    informative = variance < 1.0 / MIN_OWN_INFORMATION
    step = np.bincount(rows.series, pull * error, series_count) / np.maximum(information, 1e-12)
    return Slopes(
        common=common,
        common_standard_error=float(np.sqrt(clustered)),
        slope=np.where(informative, common + step, np.nan),
        standard_error=np.where(informative, np.sqrt(variance), np.nan),
    )


def clustered_variance(score: Floats, cluster: Integers) -> float:
    """Sum of squared cluster sums of ``score`` (N,), with the factor G / (G - 1)."""
    sums = np.bincount(cluster, score)
    groups = int(np.unique(cluster).size)
    return float(sums @ sums) * groups / max(groups - 1, 1)


def nothing_estimated(
    method: MethodName, *, series_count: int, refused: str, first_stage_f: float = np.nan
) -> RawEstimates:
    """An estimator that cannot be used here, and why."""
    empty = np.full(series_count, np.nan)
    return RawEstimates(
        method, "nothing", empty, empty, first_stage_f=first_stage_f, refused=refused
    )
