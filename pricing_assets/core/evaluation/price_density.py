r"""How likely each price was under the policy that set the log, and the importance weights.

Retail prices stay where they are most of the time, so the behaviour is a mixture of a point mass
and a density. Of the log price :math:`a` of series i in context x,

.. math:: b_i(a \mid x) = q_i(x)\,\delta_{s_i}(a)
          + (1 - q_i(x))\,\tfrac{1}{\sigma_i} f\!\left(\frac{a - m_i - \lambda^\top x}{\sigma_i}
          \right),

with the standing price :math:`s_i` (the price point held longest), :math:`\operatorname{logit} q`
linear in x, and f the pooled distribution of the standardised residuals of all other prices.
Nothing is normal: f is kept as quantiles, so that its modes and tails stay.

Estimated weights. With the kernel K (Epanechnikov) and the bandwidth h,

.. math:: w = \frac{K((a - \pi)/h)}{E_b[K((A - \pi)/h) \mid x]} ,

which has mean one under b whatever mass lies where: it is the density ratio of the behaviour
restricted to the neighbourhood of the target price :math:`\pi`. Without a point mass and as h goes
to 0 it is :math:`K_h(a - \pi)/b(a \mid x)` of Kallus and Zhou (2018) and Colangelo and Lee (2020).

Logged weights. Where the log carries the propensity e of each price, nothing is estimated:
:math:`1/e` of the held cells where the target is to hold, :math:`K_h(a - \pi)/e` of the drawn
ones where it is another price. Which of the two measures the target has mass on decides.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from pricing_assets.core.evaluation.logged_prices import SAME_PRICE, LoggedPrices, Propensities

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_NODES = 33
_LEAST_CHANCE = 0.01
"""Chance of the neighbourhood below which a context is outside the support: its weight is 0."""
_PRIOR_CELLS = 30.0
_LEAST_SCALE = 0.01
_RIDGE = 5.0


@dataclass(frozen=True, slots=True)
class PriceDensity:
    """The estimated behaviour policy.

    Attributes:
        standing: (S,) log price of the point mass.
        hold: (S, T) probability of it.
        centre: (S, T) location of the density of all other prices.
        scale: (S,) its scale.
        nodes: (m,) equally probable standardised residuals.
    """

    standing: Floats
    hold: Floats
    centre: Floats
    scale: Floats
    nodes: Floats

    def chance(self, target: Floats, *, bandwidth: float) -> Floats:
        """E_b[K((A - target) / bandwidth) | x] by cell, (S, T); ``target`` is (S,)."""
        held = kernel((self.standing - target) / bandwidth)[:, None] * self.hold
        drawn = np.zeros_like(self.hold)
        for node in self.nodes:
            price = self.centre + self.scale[:, None] * node
            drawn += kernel((price - target[:, None]) / bandwidth)
        return np.asarray(held + (1 - self.hold) * drawn / len(self.nodes))


def kernel(distance: Floats) -> Floats:
    """Epanechnikov, integral one over (-1, 1)."""
    return np.asarray(0.75 * np.maximum(1.0 - distance**2, 0.0))


def estimate_density(log: LoggedPrices) -> PriceDensity:
    """Fit the mixture to the usable cells of the log."""
    standing = standing_price(log)
    held = log.usable & (np.abs(log.step - standing[:, None]) <= SAME_PRICE)
    other = log.usable & ~held
    centre, scale, nodes = _location_scale(log, other=other)
    return PriceDensity(standing, _hold_chance(log, held), centre, scale, nodes)


def standing_price(log: LoggedPrices) -> Floats:
    """Log price point that each series held longest, (S,); 0 for a series without a cell."""
    found = np.zeros(len(log.step))
    for row, usable in enumerate(log.usable):
        if usable.any():
            points = np.rint(log.step[row, usable] / SAME_PRICE)
            values, counts = np.unique(points, return_counts=True)
            found[row] = values[np.argmax(counts)] * SAME_PRICE
    return found


def importance_weights(
    log: LoggedPrices, target: Floats, *, bandwidth: float, density: PriceDensity | None
) -> Floats:
    """Weight of each cell for the constant log prices ``target`` (S,), (S, T).

    ``density`` None takes the propensities that the log carries.

    Raises:
        ValueError: there is neither a density nor a logged propensity.
    """
    if density is None:
        if log.logged is None:
            raise ValueError("the log carries no propensities; estimate a density")
        return _logged_weights(log, log.logged, target, bandwidth)
    near = kernel((log.step - target[:, None]) / bandwidth)
    chance = density.chance(target, bandwidth=bandwidth)
    inside = log.usable & (chance >= _LEAST_CHANCE)
    return np.asarray(np.where(inside, near / np.where(inside, chance, 1.0), 0.0))


def _logged_weights(
    log: LoggedPrices, logged: Propensities, target: Floats, bandwidth: float
) -> Floats:
    holds = np.abs(logged.held_step - target) <= SAME_PRICE
    drawn = kernel((log.step - target[:, None]) / bandwidth) / bandwidth
    mass = np.where(logged.held, holds[:, None], np.where(holds[:, None], 0.0, drawn))
    counted = log.usable & (logged.value > 0)
    return np.asarray(np.where(counted, mass / np.where(counted, logged.value, 1.0), 0.0))


def _hold_chance(log: LoggedPrices, held: Flags) -> Floats:
    """Probability of the standing price, (S, T): logit with an intercept a series, by Newton."""
    count = log.usable.sum(axis=1)
    overall = held.sum() / max(count.sum(), 1)
    share = (held.sum(axis=1) + _PRIOR_CELLS * overall) / (count + _PRIOR_CELLS)
    offset = logit(np.clip(share, 0.005, 0.995))[:, None]
    slope = np.zeros(log.context.shape[2])
    x = log.context[log.usable]
    y, base = held[log.usable].astype(float), np.broadcast_to(offset, held.shape)[log.usable]
    for _ in range(6):
        chance = expit(base + x @ slope)
        gram = (x * (chance * (1 - chance))[:, None]).T @ x + _RIDGE * np.eye(len(slope))
        slope = slope + np.linalg.solve(gram, x.T @ (y - chance) - _RIDGE * slope)
    return np.asarray(expit(offset + log.context @ slope))


def _location_scale(log: LoggedPrices, *, other: Flags) -> tuple[Floats, Floats, Floats]:
    """Location (S, T), scale (S,) and pooled residual quantiles of prices not held."""
    count = other.sum(axis=1)
    total = np.maximum(count, 1)
    mean = np.where(other, log.step, 0.0).sum(axis=1) / total
    middle = np.where(other[:, :, None], log.context, 0.0).sum(axis=1) / total[:, None]
    x = (log.context - middle[:, None, :])[other]
    y = (log.step - mean[:, None])[other]
    slope = np.linalg.solve(x.T @ x + _RIDGE * np.eye(x.shape[1]), x.T @ y)
    own_mean = (count * mean) / (count + 1.0)
    centre = own_mean[:, None] + (log.context - middle[:, None, :]) @ slope
    rest = np.where(other, log.step - centre, 0.0)
    pooled = (rest**2).sum() / max(other.sum(), 1)
    variance = ((rest**2).sum(axis=1) + _PRIOR_CELLS * pooled) / (count + _PRIOR_CELLS)
    scale = np.maximum(np.sqrt(variance), _LEAST_SCALE)
    grid = (np.arange(_NODES) + 0.5) / _NODES
    standard = (rest / scale[:, None])[other]
    return centre, scale, np.quantile(standard, grid) if standard.size else np.zeros(1)
