"""Own slopes by series with effects shared by category, from whitened cross-products.

Every series' own slope is eliminated first; the shared effects are then solved over all series,
and again by category with the overall figure as their prior (a ridge towards it).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.local_level import InnovationMoments

Floats = NDArray[np.float64]
MIN_INFORMATION = 0.02
"""Information (1/variance) on its own slope below which a series says nothing of it."""
SHARED_SD = {"rival": 0.15, "substitutes": 0.15, "substitutes_endogeneity": 0.15}
DEFAULT_SHARED_SD = 0.05
"""Prior sd of a category's effect around the assortment's."""


@dataclass(frozen=True, slots=True)
class SharedFit:
    """Estimates for S series.

    Attributes:
        names: the k shared effects.
        slope, standard_error: (S,) own slope; NaN where the series says nothing.
        shared: (S, k) shared effects of the series' category.
        overall: the assortment's shared effects by name.
        log_likelihood: (S,) profile log-likelihood.
        instability: (S,) sd of the slope's drift over time, from its two halves.
        observations: (S,).
    """

    names: tuple[str, ...]
    slope: Floats
    standard_error: Floats
    shared: Floats
    overall: dict[str, float]
    log_likelihood: Floats
    instability: Floats
    observations: Floats

    def effect(self, name: str) -> Floats:
        """One shared effect by series, (S,); zero where it was not estimated."""
        if name not in self.names:
            return np.zeros(len(self.slope))
        return self.shared[:, self.names.index(name)]


def fit_shared(
    moments: InnovationMoments, *, names: tuple[str, ...], category: NDArray[np.int64]
) -> SharedFit:
    """Solve for own slopes and shared effects (column order: outcome, own price, shared...)."""
    products = moments.products
    own = products[:, 1, 1]
    informative = own > MIN_INFORMATION
    safe = np.where(informative, own, 1.0)
    coupling = np.where(informative[:, None], products[:, 1, 2:], 0.0)
    # A series whose own slope cannot be told from its shared effects has no say in them.
    told = informative[:, None, None].astype(float)
    gram = products[:, 2:, 2:] - coupling[:, :, None] * coupling[:, None, :] / safe[:, None, None]
    target = (products[:, 2:, 0] - coupling * (products[:, 0, 1] / safe)[:, None]) * told[:, 0]
    gram = gram * told
    overall = _solve(gram.sum(axis=0), target.sum(axis=0))
    precision = np.array([SHARED_SD.get(name, DEFAULT_SHARED_SD) ** -2.0 for name in names])
    precision = precision if len(names) else np.full(gram.shape[1], 0.0)
    shared, spread = _by_category(gram, target, overall, precision, category)
    slope = (products[:, 0, 1] - (products[:, 1, 2:] * shared).sum(axis=1)) / safe
    lever = coupling / safe[:, None]
    extra = np.einsum("sj,sjk,sk->s", lever, spread, lever)
    residual = _residual_sum(products, slope, shared, informative)
    scale = np.maximum(residual.sum() / max(float(moments.observations.sum()), 1.0), 1.0)
    error = np.sqrt(scale / safe + extra * scale)
    return SharedFit(
        names=names,
        slope=np.where(informative, slope, np.nan),
        standard_error=np.where(informative, error, np.nan),
        shared=shared,
        overall=dict(zip(names, overall.tolist(), strict=False)),
        log_likelihood=-0.5 * (moments.log_determinant + residual),
        instability=_instability(moments, shared, scale),
        observations=moments.observations,
    )


def _by_category(
    gram: Floats,
    target: Floats,
    overall: Floats,
    precision: Floats,
    category: NDArray[np.int64],
) -> tuple[Floats, Floats]:
    """Shared effects (S, k) and their covariance (S, k, k), with the overall as prior."""
    groups, size = int(category.max()) + 1, gram.shape[1]
    total, aim = np.zeros((groups, size, size)), np.zeros((groups, size))
    np.add.at(total, category, gram)
    np.add.at(aim, category, target)
    total = total + np.diag(precision + 1e-6)
    aim = aim + (precision + 1e-6) * overall
    effects = np.linalg.solve(total, aim[:, :, None])[:, :, 0].astype(np.float64)
    return effects[category], np.linalg.inv(total).astype(np.float64)[category]


def _solve(gram: Floats, target: Floats) -> Floats:
    return np.asarray(np.linalg.solve(gram + 1e-6 * np.eye(len(gram)), target))


def _residual_sum(
    products: Floats, slope: Floats, shared: Floats, informative: NDArray[np.bool_]
) -> Floats:
    own = np.where(informative, slope, 0.0)
    effects = np.concatenate([-np.ones((len(own), 1)), own[:, None], shared], axis=1)
    return np.maximum(np.einsum("sj,sjk,sk->s", effects, products, effects), 0.0)


def _instability(moments: InnovationMoments, shared: Floats, scale: float) -> Floats:
    """Sd of a random-walk drift of the slopes, pooled, from the gap between two halves.

    For a random walk the variance of (late mean - early mean) equals that of (last value -
    overall mean), a third of the whole drift's, so the excess of the squared gap over its noise
    is the variance to add to a posterior that is used at the end of the data.
    """
    halves = (moments.early_products, moments.products - moments.early_products)
    slopes, variances, known = [], [], np.ones(len(shared), dtype=bool)
    for half in halves:
        information = half[:, 1, 1]
        known &= information > 4 * MIN_INFORMATION
        safe = np.maximum(information, 1e-9)
        slopes.append((half[:, 0, 1] - (half[:, 1, 2:] * shared).sum(axis=1)) / safe)
        variances.append(scale / safe)
    if known.sum() < 10:
        return np.zeros(len(shared))
    noise = (variances[0] + variances[1])[known]
    gap = (slopes[1] - slopes[0])[known] ** 2
    weight = noise**-2.0
    excess = float((weight * (gap - noise)).sum() / weight.sum())
    return np.full(len(shared), np.sqrt(max(excess, 0.0)))
