r"""The direct method's demand model, kept as sums by series and time block.

Units of series i in period t, with base :math:`b_{it}` forecast from the past alone,

.. math:: E\,u_{it} = b_{it} \exp(\alpha_i + \beta^\top z_{it})
          (1 + \delta_i^\top (1, a_{it})), \qquad
          z = (a, a^2/2, \text{level}, \text{rival}, v, \bar a_{-i}),

by Poisson pseudo-likelihood (Gourieroux, Monfort and Trognon 1984), which needs the mean alone to
be right and takes zeros as they are. :math:`v` is what of the price
the cost does not explain: prices that follow unseen demand would hide their own effect without
it. :math:`\bar a_{-i}` is the substitutes' mean log price, so
that a table that moves a whole category is valued at the others' new prices too. The deviations
:math:`\delta_i` of a series are one penalised Newton step from the pooled fit. As that step is
linear, a refit under any weights of the blocks needs only the blocks' sums: every bootstrap draw
and every cross-fitting fold is an exact refit for the price of S small solves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.evaluation.logged_prices import LoggedPrices

Floats = NDArray[np.float64]

OWN = 2
"""Coefficients of a series' own deviation: intercept and log price."""
POOLED = 6
WIDTH = OWN + POOLED
_PRIOR_SD = np.asarray([3.0, 2.0, 0.5, 0.3, 0.5, 0.3])
_OWN_SD = np.asarray([0.5, 0.7])
_NEWTON_STEPS = 15
_OVERDISPERSION = 0.1


@dataclass(frozen=True, slots=True)
class OutcomeModel:
    """The pooled fit and the sums from which deviations are solved.

    Attributes:
        intercept: (S,) alpha.
        slope: (POOLED,) beta.
        gram: (S, B, WIDTH, WIDTH) and score (S, B, WIDTH): sums of the weighted Newton step.
        penalty: (WIDTH,) diagonal of the prior, in the units of ``gram``.
        dispersion: variance of the score over that of a Poisson.
    """

    intercept: Floats
    slope: Floats
    gram: Floats
    score: Floats
    penalty: Floats
    dispersion: float

    def units(self, log: LoggedPrices, *, step: Floats, others: Floats) -> Floats:
        """Pooled expectation of each cell at log prices ``step`` and ``others``, (S, T)."""
        rate = self.intercept[:, None] + _features(log, step=step, others=others) @ self.slope
        return np.asarray(log.base * np.exp(np.clip(rate, -5, 5)))

    def deviations(self, weights: Floats, *, noise: Floats | None = None) -> Floats:
        """Coefficients of the deviation, (S, WIDTH), with blocks weighted by (S, B).

        ``noise`` (S, OWN) perturbs the series' prior as one more observation of it would.
        """
        gram = np.einsum("sb,sbij->sij", weights, self.gram)
        score = np.einsum("sb,sbi->si", weights, self.score)
        own = gram[:, :OWN, :OWN] + np.diag(self.penalty[:OWN])
        first = score[:, :OWN] + (0.0 if noise is None else noise)
        cross = gram[:, :OWN, OWN:]
        shrunk = np.linalg.solve(own, np.concatenate([cross, first[:, :, None]], axis=2))
        rest = gram[:, OWN:, OWN:].sum(axis=0) + np.diag(self.penalty[OWN:])
        rest = rest - np.einsum("sik,sil->kl", cross, shrunk[:, :, :-1])
        second = score[:, OWN:].sum(axis=0) - self.penalty[OWN:] * self.slope
        second = second - np.einsum("sik,si->k", cross, shrunk[:, :, -1])
        pooled = np.linalg.solve(rest, second)
        own_part = shrunk[:, :, -1] - shrunk[:, :, :-1] @ pooled
        return np.concatenate([own_part, np.broadcast_to(pooled, (len(own), POOLED))], axis=1)

    def prior_noise(self, rng: np.random.Generator) -> Floats:
        """One draw of the series' prior as an observation, (S, OWN), for ``deviations``."""
        sd = np.sqrt(self.dispersion * self.penalty[:OWN])
        return np.asarray(rng.standard_normal((len(self.intercept), OWN)) * sd)


def fit_outcome(log: LoggedPrices) -> OutcomeModel:
    """Fit the pooled model and gather the sums of its Newton step."""
    weight = log.usable / (1.0 + _OVERDISPERSION * log.base)
    features = _features(log, step=log.step, others=log.others)
    intercept, slope = _pooled_fit(log, features, weight)
    mean = log.base * np.exp(np.clip(intercept[:, None] + features @ slope, -5, 5))
    rest = np.where(log.usable, log.units - mean, 0.0)
    dispersion = float((weight**2 * rest**2).sum() / max((weight * mean).sum(), 1e-9))
    prior = np.concatenate([_OWN_SD, _PRIOR_SD])
    design = designs(log, step=log.step, others=log.others)
    return OutcomeModel(
        intercept=intercept,
        slope=slope,
        gram=block_sums(log, design, left=design * (weight * mean)[:, :, None]),
        score=block_sums(log, design, left=(weight * rest)[:, :, None])[:, :, 0, :],
        penalty=max(dispersion, 1e-6) / prior**2,
        dispersion=dispersion,
    )


def designs(log: LoggedPrices, *, step: Floats, others: Floats) -> Floats:
    """Inputs of a deviation, (S, T, WIDTH): (1, a) of the series, then z of all."""
    pooled = _features(log, step=step, others=others)
    return np.concatenate([np.ones((*step.shape, 1)), step[:, :, None], pooled], axis=2)


def block_sums(log: LoggedPrices, right: Floats, *, left: Floats) -> Floats:
    """Sums over each block of ``left`` (S, T, i) times ``right`` (S, T, j), (S, B, i, j)."""
    parts = [
        np.matmul(left[:, here].transpose(0, 2, 1), right[:, here])
        for here in (log.block == block for block in range(log.blocks))
    ]
    return np.stack(parts, axis=1)


def _features(log: LoggedPrices, *, step: Floats, others: Floats) -> Floats:
    """z of each cell, (S, T, POOLED)."""
    own = np.stack([step, step**2 / 2], axis=2)
    return np.concatenate([own, log.context, log.control[:, :, None], others[:, :, None]], axis=2)


def _pooled_fit(log: LoggedPrices, features: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Intercepts (S,) and slopes (POOLED,): Newton with the intercepts concentrated out."""
    slope, penalty = np.zeros(POOLED), 1 / _PRIOR_SD**2
    sold = (weight * log.units).sum(axis=1)
    level = np.ones(len(sold))
    for _ in range(_NEWTON_STEPS):
        rate = weight * log.base * np.exp(np.clip(features @ slope, -5, 5))
        level = (sold + 1.0) / (rate.sum(axis=1) + 1.0)
        mean = rate * level[:, None]
        total = np.maximum(mean.sum(axis=1), 1e-9)
        centre = np.einsum("st,stk->sk", mean, features) / total[:, None]
        apart = features - centre[:, None, :]
        gram = np.einsum("stk,stl->kl", apart * mean[:, :, None], apart, optimize=True)
        gradient = np.einsum("stk,st->k", apart, weight * log.units - mean)
        move = np.linalg.solve(gram + np.diag(penalty), gradient - penalty * slope)
        slope = slope + move / max(1.0, float(np.abs(move).max()) / 2.0)
        if np.abs(move).max() < 1e-8:
            break
    return np.log(level), slope
