r"""Empirical-Bayes pooling of noisy estimates along a tree: series within product within category.

Each level is Gaussian: a child is its parent plus a deviation whose variance is estimated by
moments (DerSimonian and Laird 1986) and shrunk to the whole assortment's; the root category has
the stated prior. On a tree the posterior is exact: information is passed up, then down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
VARIANCE_PRIOR_WEIGHT = 8.0
"""Children's worth of weight that the assortment's variance has in a group's own."""


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
    prior_mean: float,
    prior_sd: float,
) -> PooledEstimates:
    """Pool raw estimates; NaN ones carry no information and get their parent's posterior.

    Args:
        estimate, standard_error: (S,) raw figures, NaN where there is none.
        product: (S,) product index 0..P-1 (a product may have several series: its stores).
        category: (S,) category index 0..C-1, one for each product.
        prior_mean, prior_sd: prior of a category's mean.
    """
    products = int(product.max()) + 1
    product_category = np.zeros(products, dtype=np.int64)
    product_category[product] = category
    information = np.where(np.isfinite(standard_error), standard_error**-2.0, 0.0)
    value = np.where(information > 0, estimate, 0.0)
    store_variance = _between_variance(value, information, product, floor=0.05**2)
    up_value, up_information = _gather(value, information, product, products, store_variance)
    item_variance = _between_variance(up_value, up_information, product_category, floor=0.15**2)
    root_value, root_information = _gather(
        up_value, up_information, product_category, int(category.max()) + 1, item_variance
    )
    root = _combine(root_value, root_information, prior_mean, prior_sd**-2.0)
    item = _pass_down(root, up_value, up_information, product_category, item_variance)
    leaf = _pass_down(item, value, information, product, store_variance)
    return PooledEstimates(
        mean=leaf[0],
        sd=np.sqrt(leaf[1]),
        category_mean=root[0],
        category_sd=np.sqrt(root[1]),
        between_sd=float(np.sqrt(np.mean(item_variance))),
    )


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
