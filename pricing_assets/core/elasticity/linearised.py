r"""Counts made linear: the working response of a count model, with sold-out days filled in.

With fitted mean m the response is :math:`\log m + (y - m)/m`, of variance 1/m + dispersion
(McCullagh and Nelder 1989, the adjusted dependent variate). On a day that sold out, y is replaced
by the expected demand given that it reached the stock (an EM step of the censored
negative-binomial model): dropping such days would drop the good days of low prices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nbinom

from pricing_assets.core.elasticity.block_poisson import BlockPoissonFit, fit_block_poisson
from pricing_assets.core.elasticity.design import PriceDesign, time_blocks

Floats = NDArray[np.float64]
MIN_MEAN = 0.02
IMPUTATION_STEPS = 4


@dataclass(frozen=True, slots=True)
class LinearisedCounts:
    """Working response (S, T), NaN where nothing was learned, and its noise variance (S, T)."""

    outcome: Floats
    variance: Floats


def linearise_counts(design: PriceDesign, *, block: int) -> LinearisedCounts:
    """Linearise around a block-Poisson fit by category; weekday and holiday are taken out."""
    outcome = np.full(design.units.shape, np.nan)
    variance = np.ones(design.units.shape)
    row, period = np.nonzero(design.usable)
    blocks = time_blocks(design, periods=block)
    width = design.calendar.shape[1]
    for category in range(int(design.category.max()) + 1):
        here = design.category[row] == category
        if not here.any():
            continue
        r, t = row[here], period[here]
        known = np.column_stack(
            [design.calendar[t], design.log_price[r, t], design.covariates[:, r, t].T]
        )
        local = np.unique(blocks[here], return_inverse=True)[1]
        fit, counts = _fit_censored(design.units[r, t], design.sold_out[r, t], known, local)
        mean = np.maximum(fit.mean, MIN_MEAN)
        response = np.log(mean) + (counts - mean) / mean
        response -= design.calendar[t] @ fit.coefficients[:width]
        seen = fit.mean > MIN_MEAN
        outcome[r[seen], t[seen]] = response[seen]
        variance[r, t] = 1.0 / mean + fit.dispersion
    return LinearisedCounts(outcome, variance)


def expected_above(*, stock: Floats, mean: Floats, dispersion: float) -> Floats:
    """E[D | D >= stock] of a negative binomial with variance mean + dispersion mean^2, (N,).

    Uses d f(d; k) = mean f(d - 1; k + 1) for size k = 1 / dispersion at the same probability.
    """
    size = 1.0 / max(dispersion, 1e-3)
    probability = size / (size + mean)
    tail = nbinom.sf(stock - 1, size, probability)
    above = mean * nbinom.sf(stock - 2, size + 1, probability)
    expected = np.where(tail > 1e-8, above / np.maximum(tail, 1e-8), stock)
    return np.asarray(np.clip(expected, stock, 3.0 * np.maximum(stock, mean)))


def _fit_censored(
    counts: Floats, sold_out: NDArray[np.bool_], known: Floats, block: NDArray[np.int64]
) -> tuple[BlockPoissonFit, Floats]:
    """The fit and the counts (N,) with sold-out days at their expected demand."""
    filled = counts.copy()
    fit = fit_block_poisson(counts=filled, covariates=known, block=block)
    if not sold_out.any():
        return fit, filled
    for _ in range(IMPUTATION_STEPS):
        filled[sold_out] = expected_above(
            stock=counts[sold_out], mean=fit.mean[sold_out], dispersion=fit.dispersion
        )
        fit = fit_block_poisson(counts=filled, covariates=known, block=block)
    return fit, filled
