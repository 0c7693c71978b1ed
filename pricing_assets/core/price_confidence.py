"""How far a price can be trusted: one number from its posterior, its risk and its history.

NumPy only: the service may import this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

HISTORY_HALF = 28.0
"""Observations at which the history's part of the confidence is one half."""


@dataclass(frozen=True, slots=True)
class ConfidenceParts:
    """The factors of a price's confidence, each (n,) in 0..1.

    Attributes:
        elasticity: how much sharper the posterior elasticity is than its prior.
        history: how long the history is.
        safety: probability of not less than at the current price.
        support: one half outside the prices seen.
    """

    elasticity: Floats
    history: Floats
    safety: Floats
    support: Floats

    @property
    def total(self) -> Floats:
        """Their product, (n,): the confidence."""
        return np.asarray(self.elasticity * self.history * self.safety * self.support)


def confidence(
    *, elasticity_sd: Floats, p_worse: Floats, observations: Floats, inside: Flags, prior_sd: float
) -> Floats:
    r"""How far a price can be trusted, (n,) in 0..1: the product of :func:`confidence_parts`.

    .. math:: \sqrt{\frac{\tau^2}{\tau^2 + s^2}\cdot\frac{n}{n + 28}}\;(1 - p_{worse})\;
              \times \tfrac12 \text{ outside the prices seen}

    with s the posterior and tau the prior standard deviation of the elasticity and n the
    observations: 1 for a sharp elasticity, a long history and no chance of loss. A p_worse that
    is unknown counts as 1.
    """
    return confidence_parts(
        elasticity_sd=elasticity_sd,
        p_worse=p_worse,
        observations=observations,
        inside=inside,
        prior_sd=prior_sd,
    ).total


def confidence_parts(
    *, elasticity_sd: Floats, p_worse: Floats, observations: Floats, inside: Flags, prior_sd: float
) -> ConfidenceParts:
    """The factors of :func:`confidence`, from the same arguments."""
    sd = np.where(np.isnan(elasticity_sd), np.inf, elasticity_sd)
    seen = np.nan_to_num(observations)
    return ConfidenceParts(
        elasticity=np.sqrt(1 / (1 + (sd / prior_sd) ** 2)),
        history=np.sqrt(seen / (seen + HISTORY_HALF)),
        safety=1 - np.nan_to_num(p_worse, nan=1.0),
        support=np.where(inside, 1.0, 0.5),
    )
