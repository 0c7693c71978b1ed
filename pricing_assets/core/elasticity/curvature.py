r"""The shape of each category's demand curve: a Box-Cox curvature, averaged over what fits.

Every candidate curvature is fitted to all series. With the categories' profile likelihoods
:math:`L_c(\lambda)` the shares :math:`\pi_\lambda` of the assortment are estimated by EM (Laird
1978), and a category's curvature is its posterior mean,

.. math:: \bar\lambda_c = \sum_\lambda w_{c\lambda}\, \lambda, \qquad
          w_{c\lambda} \propto \pi_\lambda\, L_c(\lambda):

a category that says little takes the assortment's, and none is thrown to the next candidate by a
hair. What the slope owes to the choice, :math:`\sum_\lambda w_{c\lambda} (\beta_{i\lambda} -
\bar\beta_i)^2`, is a part of its variance (Hoeting et al. 1999, model averaging).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.demand import box_cox_step
from pricing_assets.core.elasticity.local_level import InnovationMoments, filter_innovations
from pricing_assets.core.elasticity.sensitivity import Regression
from pricing_assets.core.elasticity.shared_effects import fit_shared

Floats = NDArray[np.float64]
EM_STEPS = 50
EQUAL_SHARES_WEIGHT = 1.0
"""Categories' worth of weight that equal shares of the candidates have."""


@dataclass(frozen=True, slots=True)
class Curvature:
    """Curvature of S series' categories.

    Attributes:
        value: (S,) Box-Cox lambda.
        slope_sd: (S,) sd of the own slope at the current price over the candidates' weights.
    """

    value: Floats
    slope_sd: Floats


def known_curvature(value: float, *, series: int) -> Curvature:
    """One curvature for all, taken as certain."""
    return Curvature(np.full(series, value), np.zeros(series))


def category_curvature(
    regression: Regression, *, category: NDArray[np.int64], tried: tuple[float, ...]
) -> Curvature:
    """Posterior mean curvature of each series' category, and what it leaves open.

    Args:
        regression: S series.
        category: (S,) index.
        tried: candidate curvatures.
    """
    if len(tried) == 1:
        return known_curvature(tried[0], series=len(category))
    groups = int(category.max()) + 1
    scores, slopes = [], []
    for curve in tried:
        moments = curved_moments(regression, np.full(len(category), curve))
        fit = fit_shared(moments, names=regression.names, category=category)
        scores.append(np.bincount(category, fit.log_likelihood, groups))
        slopes.append(np.nan_to_num(fit.slope))
    weight = curvature_weights(np.stack(scores, axis=1))[category]
    slope = np.stack(slopes, axis=1)
    centre = (weight * slope).sum(axis=1, keepdims=True)
    spread = np.sqrt((weight * (slope - centre) ** 2).sum(axis=1))
    return Curvature(np.asarray(weight @ np.asarray(tried)), np.asarray(spread))


def curvature_weights(log_likelihood: Floats) -> Floats:
    """Posterior weight of each of k candidates in each of C categories, (C, k) from (C, k)."""
    groups, count = log_likelihood.shape
    relative = np.exp(log_likelihood - log_likelihood.max(axis=1, keepdims=True))
    share = np.full(count, 1.0 / count)
    weight = relative * share
    for _ in range(EM_STEPS):
        weight = relative * share
        weight = weight / weight.sum(axis=1, keepdims=True)
        total = weight.sum(axis=0) + EQUAL_SHARES_WEIGHT / count
        share = total / (groups + EQUAL_SHARES_WEIGHT)
    return np.asarray(weight)


def curved_moments(regression: Regression, curvature: Floats) -> InnovationMoments:
    """Whitened cross-products, each series' log price on the scale of its curvature (S,)."""
    shape = np.broadcast_to(curvature[:, None], regression.log_price.shape)
    step = box_cox_step(np.exp(regression.log_price), shape)
    return filter_innovations(
        outcome=regression.outcome,
        variance=regression.variance,
        regressors=np.concatenate([step[None], regression.columns]),
        level_variance=regression.level_variance,
    )
