r"""Empirical-Bayes pooling of noisy estimates along a tree: series, product, category, assortment.

Each level is Gaussian: a child is its parent plus a deviation whose variance is estimated by
moments (DerSimonian and Laird 1986) and shrunk to the whole assortment's; the assortment's mean
has the stated prior. On a tree the posterior is exact: information is passed up, then down.

Product traits (log markup, log price, log volume) shift the prior within a category by
coefficients learned from the estimates themselves (a random-effects meta-regression), shrunk
towards zero: shops price their elastic products closer to cost, so a markup says something of an
elasticity that the product's own history cannot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
VARIANCE_PRIOR_WEIGHT = 8.0
"""Children's worth of weight that the assortment's variance has in a group's own."""

TRAIT_SD = 0.2
"""Prior sd of the effect of one standard deviation of a trait on an elasticity."""
MIN_TRAIT_ROWS = 30
"""Estimates below which traits are not used."""


@dataclass(frozen=True, slots=True)
class PooledEstimates:
    """Posterior of S series.

    Attributes:
        mean, sd: (S,) posterior of each series.
        category_mean, category_sd: (C,) posterior of each category's mean.
        between_sd: sd of products around their category, pooled over categories.
    """

    mean: Floats
    sd: Floats
    category_mean: Floats
    category_sd: Floats
    between_sd: float


def pool_estimates(
    *,
    estimate: Floats,
    standard_error: Floats,
    product: Integers,
    category: Integers,
    traits: Floats,
    prior_mean: float,
    prior_sd: float,
) -> PooledEstimates:
    """Pool raw estimates; NaN ones carry no information and get their parent's posterior.

    Args:
        estimate, standard_error: (S,) raw figures, NaN where there is none.
        product: (S,) product index 0..P-1 (a product may have several series: its stores).
        category: (S,) category index 0..C-1, one for each product.
        traits: (S, k) standardised traits, mean zero within each category; k may be 0.
        prior_mean, prior_sd: prior of the assortment's mean.
    """
    products = int(product.max()) + 1
    product_category = np.zeros(products, dtype=np.int64)
    product_category[product] = category
    information = np.where(np.isfinite(standard_error), standard_error**-2.0, 0.0)
    shift = _trait_shift(estimate, information, category, traits)
    value = np.where(information > 0, estimate - shift, 0.0)
    store_variance = _between_variance(value, information, product, floor=0.05**2)
    up_value, up_information = _gather(value, information, product, products, store_variance)
    item_variance = _between_variance(up_value, up_information, product_category, floor=0.15**2)
    categories = int(category.max()) + 1
    whole = np.zeros(categories, dtype=np.int64)
    top_value, top_information = _gather(
        up_value, up_information, product_category, categories, item_variance
    )
    top_variance = _between_variance(top_value, top_information, whole, floor=0.2**2)
    root = _combine(
        *_gather(top_value, top_information, whole, 1, top_variance), prior_mean, prior_sd**-2.0
    )
    group = _pass_down(root, top_value, top_information, whole, top_variance)
    item = _pass_down(group, up_value, up_information, product_category, item_variance)
    leaf = _pass_down(item, value, information, product, store_variance)
    return PooledEstimates(
        mean=leaf[0] + shift,
        sd=np.sqrt(leaf[1]),
        category_mean=group[0],
        category_sd=np.sqrt(group[1]),
        between_sd=float(np.sqrt(np.mean(item_variance))),
    )


def _trait_shift(
    estimate: Floats, information: Floats, category: Integers, traits: Floats
) -> Floats:
    """What the traits say of each estimate, (S,): random-effects regression within categories."""
    known = information > 0
    if traits.shape[1] == 0 or known.sum() < MIN_TRAIT_ROWS:
        return np.zeros(len(estimate))
    value = np.where(known, estimate, 0.0)
    between = _between_variance(value, information, category, floor=0.15**2)[category]
    weight = np.where(known, 1.0 / (1.0 / np.maximum(information, 1e-12) + between), 0.0)
    total = np.maximum(np.bincount(category, weight), 1e-12)

    def centred(column: Floats) -> Floats:
        return np.asarray(column - (np.bincount(category, weight * column) / total)[category])

    x = np.stack([centred(column) for column in traits.T], axis=1)
    gram = x.T @ (weight[:, None] * x) + np.eye(x.shape[1]) * TRAIT_SD**-2.0
    coefficients = np.linalg.solve(gram, x.T @ (weight * centred(value)))
    return np.asarray(traits @ coefficients)


def _between_variance(
    value: Floats, information: Floats, group: Integers, *, floor: float
) -> Floats:
    """Variance of children around their parent, (groups,), each shrunk to the pooled one."""
    groups = int(group.max()) + 1
    weight = np.bincount(group, information, groups)
    centre = np.bincount(group, information * value, groups) / np.maximum(weight, 1e-12)
    children = np.bincount(group, information > 0, groups)
    excess = np.bincount(group, information * (value - centre[group]) ** 2, groups)
    excess = excess - np.maximum(children - 1, 0)
    scale = weight - np.bincount(group, information**2, groups) / np.maximum(weight, 1e-12)
    pooled = max(float(excess.sum() / max(float(scale.sum()), 1e-12)), floor)
    own = np.where(scale > 1e-9, excess / np.maximum(scale, 1e-9), pooled)
    freedom = np.maximum(children - 1, 0)
    mixed = (freedom * own + VARIANCE_PRIOR_WEIGHT * pooled) / (freedom + VARIANCE_PRIOR_WEIGHT)
    return np.maximum(mixed, floor)


def _gather(
    value: Floats, information: Floats, group: Integers, groups: int, variance: Floats
) -> tuple[Floats, Floats]:
    """What the children say of their parent: value and information, each (groups,)."""
    passed = np.where(
        information > 0, 1.0 / (1.0 / np.maximum(information, 1e-12) + variance[group]), 0.0
    )
    total = np.bincount(group, passed, groups).astype(np.float64)
    mean = np.bincount(group, passed * value, groups) / np.maximum(total, 1e-12)
    return mean, np.asarray(total, dtype=np.float64)


def _pass_down(
    parent: tuple[Floats, Floats],
    value: Floats,
    information: Floats,
    group: Integers,
    variance: Floats,
) -> tuple[Floats, Floats]:
    """Posterior mean and variance of the children from their parent's and their own data.

    The parent's posterior holds the child's own message; it is taken out before it is used.
    """
    own = np.where(
        information > 0, 1.0 / (1.0 / np.maximum(information, 1e-12) + variance[group]), 0.0
    )
    rest_information = np.maximum(1.0 / parent[1][group] - own, 1e-9)
    rest_value = (parent[0][group] / parent[1][group] - own * value) / rest_information
    prior_information = 1.0 / (1.0 / rest_information + variance[group])
    return _combine(value, information, rest_value, prior_information)


def _combine(
    value: Floats, information: Floats, other: Floats | float, other_information: Floats | float
) -> tuple[Floats, Floats]:
    total = information + other_information
    mean = (information * value + other_information * other) / total
    return np.asarray(mean, dtype=np.float64), np.asarray(1.0 / total, dtype=np.float64)
