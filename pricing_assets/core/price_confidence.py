"""How far a price can be trusted: one number from its posterior, its risk and its history.

NumPy only: the service may import this module.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

HISTORY_HALF = 28.0
"""Observations at which the history's part of the confidence is one half."""


def confidence(
    *, elasticity_sd: Floats, p_worse: Floats, observations: Floats, inside: Flags, prior_sd: float
) -> Floats:
    r"""How far a price can be trusted, (n,) in 0..1.

    .. math:: \sqrt{\frac{\tau^2}{\tau^2 + s^2}\cdot\frac{n}{n + 28}}\;(1 - p_{worse})\;
              \times \tfrac12 \text{ outside the prices seen}

    with s the posterior and tau the prior standard deviation of the elasticity and n the
    observations: 1 for a sharp elasticity, a long history and no chance of loss. A p_worse that
    is unknown counts as 1.
    """
    information = 1 / (
        1 + (np.where(np.isnan(elasticity_sd), np.inf, elasticity_sd) / prior_sd) ** 2
    )
    history = np.nan_to_num(observations) / (np.nan_to_num(observations) + HISTORY_HALF)
    safety = 1 - np.nan_to_num(p_worse, nan=1.0)
    return np.asarray(np.sqrt(information * history) * safety * np.where(inside, 1.0, 0.5))
