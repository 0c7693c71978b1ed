r"""Generalised least squares under a slow unseen level, by one pass of the Kalman filter.

For each series, :math:`u_t = x_t'\beta + a_t + e_t` with the level :math:`a_t` a random walk of
variance q a period and :math:`e_t` of known variance. Filtering the outcome and every regressor
with the same gains gives innovations that are uncorrelated; least squares on them is GLS, and the
filter looks at the past only, so a price that answered past demand does no harm (Rosenberg 1973;
de Jong 1991, the augmented filter).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
DIFFUSE = 1e6


@dataclass(frozen=True, slots=True)
class InnovationMoments:
    """Cross-products of the whitened innovations of S series; column 0 is the outcome.

    Attributes:
        products: (S, k+1, k+1) sums over all periods.
        early_products: (S, k+1, k+1) the same over each series' first half of observations.
        log_determinant: (S,) sum of log innovation variances.
        observations: (S,) innovations used.
    """

    products: Floats
    early_products: Floats
    log_determinant: Floats
    observations: Floats


def filter_innovations(
    *, outcome: Floats, variance: Floats, regressors: Floats, level_variance: float
) -> InnovationMoments:
    """Filter every series at once.

    Args:
        outcome: (S, T) with NaN where nothing was observed.
        variance: (S, T) noise variance of the outcome.
        regressors: (k, S, T) finite.
        level_variance: variance of the level's step from one period to the next.
    """
    seen = ~np.isnan(outcome)
    half = seen.sum(axis=1) / 2.0
    series, columns = outcome.shape[0], regressors.shape[0] + 1
    state, spread = np.zeros((series, columns)), np.full(series, DIFFUSE)
    products = np.zeros((series, columns, columns))
    early = np.zeros_like(products)
    log_determinant, used = np.zeros(series), np.zeros(series)
    for period in range(outcome.shape[1]):
        here = seen[:, period]
        total = spread + variance[:, period]
        row = np.concatenate(
            [np.where(here, outcome[:, period], 0.0)[:, None], regressors[:, :, period].T], axis=1
        )
        innovation = np.where(here[:, None], row - state, 0.0)
        counted = here & (spread < DIFFUSE / 2)
        weight = np.where(counted, 1.0 / total, 0.0)
        cross = innovation[:, :, None] * (innovation * weight[:, None])[:, None, :]
        products += cross
        early += np.where((used < half)[:, None, None], cross, 0.0)
        log_determinant += np.where(counted, np.log(total), 0.0)
        used += counted
        gain = np.where(here, spread / total, 0.0)
        state = state + gain[:, None] * innovation
        spread = np.where(spread < DIFFUSE / 2, spread * (1 - gain) + level_variance, spread)
        spread = np.where(here & ~counted, variance[:, period] + level_variance, spread)
    return InnovationMoments(products, early, log_determinant, used)
