r"""Poisson regression with a fixed effect for every series-by-time block.

Pseudo-maximum likelihood: consistent for the conditional mean whatever the noise, and zeros need
no log (Gourieroux, Monfort and Trognon 1984; Santos Silva and Tenreyro 2006). The block effects
are concentrated out exactly: within a block the counts are multinomial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class BlockPoissonFit:
    """Result for N rows and k covariates.

    Attributes:
        coefficients: (k,).
        covariance: (k, k), clustered by block.
        mean: (N,) fitted mean of the counts.
        dispersion: negative-binomial excess a of variance = mean + a mean^2, at least zero.
    """

    coefficients: Floats
    covariance: Floats
    mean: Floats
    dispersion: float


def fit_block_poisson(
    *, counts: Floats, covariates: Floats, block: Integers, iterations: int = 25
) -> BlockPoissonFit:
    """Fit log E[count] = block effect + covariates @ coefficients by Newton's method.

    Args:
        counts: (N,) nonnegative.
        covariates: (N, k) finite; a column without variation inside blocks gets coefficient 0.
        block: (N,) block numbers 0..B-1.
        iterations: Newton steps at most.
    """
    coefficients = np.zeros(covariates.shape[1])
    for _ in range(iterations):
        mean = _block_mean(counts, covariates @ coefficients, block)
        centred = _centre(covariates, mean, block)
        information = _information(centred, mean)
        step = np.linalg.solve(information, centred.T @ (counts - mean))
        coefficients = coefficients + np.clip(step, -2.0, 2.0)
        if np.abs(step).max(initial=0.0) < 1e-8:
            break
    mean = _block_mean(counts, covariates @ coefficients, block)
    centred = _centre(covariates, mean, block)
    bread = np.linalg.inv(_information(centred, mean))
    score = _block_sums(centred * (counts - mean)[:, None], block)
    excess = float(((counts - mean) ** 2 - mean).sum() / max(float((mean**2).sum()), 1e-12))
    return BlockPoissonFit(
        coefficients=coefficients,
        covariance=bread @ (score.T @ score) @ bread,
        mean=mean,
        dispersion=max(excess, 0.0),
    )


def _block_mean(counts: Floats, linear: Floats, block: Integers) -> Floats:
    relative = np.exp(linear - linear.max(initial=0.0))
    total, base = np.bincount(block, counts), np.bincount(block, relative)
    return np.asarray(relative * (total / np.maximum(base, 1e-300))[block])


def _centre(covariates: Floats, weight: Floats, block: Integers) -> Floats:
    total = np.maximum(np.bincount(block, weight), 1e-12)
    centre = _block_sums(covariates * weight[:, None], block) / total[:, None]
    return np.asarray(covariates - centre[block])


def _block_sums(values: Floats, block: Integers) -> Floats:
    return np.stack([np.bincount(block, column) for column in values.T], axis=1)


def _information(centred: Floats, mean: Floats) -> Floats:
    information = centred.T @ (mean[:, None] * centred)
    return np.asarray(information + 1e-6 * np.eye(len(information)))
