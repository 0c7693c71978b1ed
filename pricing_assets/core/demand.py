r"""THE demand curve: units at a price, with its posterior. Everyone asks this one.

Equation. With the reference price :math:`p_0`, the ratio :math:`r = p/p_0` and the Box-Cox
transform :math:`z_\lambda(r) = (r^\lambda - 1)/\lambda` (:math:`\log r` at :math:`\lambda = 0`),

.. math:: \log Q(p) = \log Q_0 + \varepsilon\, z_\lambda(p/p_0), \qquad
          \varepsilon \sim N(\mu, s^2), \quad
          \log Q_0 \sim N(\log \bar Q_0 - \sigma^2/2,\ \sigma^2), \quad
          \sigma^2 = \log(1 + cv^2).

:math:`\lambda` is the curvature: 0 is constant elasticity, 1 the semi-log curve whose elasticity
grows in proportion to price; at :math:`p_0` the elasticity is :math:`\varepsilon` whatever
:math:`\lambda` (Box and Cox 1964). The posterior mean is the log-normal moment
:math:`E\,Q(p) = \bar Q_0 \exp(\mu z + s^2 z^2/2)`: closed form; :meth:`DemandCurves.draws` is for
what has none.

NumPy only: the service imports this module. Choosing a price is ``core.price_table``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]

Z90 = float(ndtri(0.95))
"""Half the width of a 90 % interval in standard deviations."""
Flags = NDArray[np.bool_]

_EDGE = 1e-9
"""Relative slack at the edges of the support: a price seen is inside whatever its rounding."""


@dataclass(frozen=True, slots=True)
class DemandCurves:
    """Demand curves of n product-store rows over one horizon.

    Attributes (each of shape (n,)):
        reference_price: price p0 at which reference_units holds, currency units.
        reference_units: expected units over the whole horizon at p0.
        reference_units_cv: coefficient of variation of that expectation (forecast error).
        elasticity_mean: posterior mean of the own-price elasticity at p0 (below zero).
        elasticity_sd: its posterior standard deviation.
        curvature: Box-Cox lambda; 0 constant elasticity, 1 semi-log.
    """

    reference_price: Floats
    reference_units: Floats
    reference_units_cv: Floats
    elasticity_mean: Floats
    elasticity_sd: Floats
    curvature: Floats

    def __len__(self) -> int:
        return int(self.reference_price.shape[0])

    def step(self, price: Floats) -> Floats:
        """Box-Cox step z of ``price``, shape (n,) or (n, k), from the reference price."""
        reference, curvature = _columns(price, self.reference_price, self.curvature)
        return box_cox_step(price / reference, curvature)

    def expected_units(self, price: Floats) -> Floats:
        """Posterior mean of units over the horizon at ``price``, shape (n,) or (n, k)."""
        z = self.step(price)
        units, mean, sd = _columns(
            price, self.reference_units, self.elasticity_mean, self.elasticity_sd
        )
        return np.asarray(units * np.exp(mean * z + 0.5 * (sd * z) ** 2))

    def units_quantile(self, price: Floats, probability: float) -> Floats:
        """Quantile of the expected units under the posterior of level and elasticity.

        The log level is normal with variance log(1 + cv^2) around minus half of it, so that the
        mean is :meth:`expected_units`. Shape (n,) or (n, k).
        """
        z = self.step(price)
        units, mean, sd, cv = _columns(
            price,
            self.reference_units,
            self.elasticity_mean,
            self.elasticity_sd,
            self.reference_units_cv,
        )
        level = np.log1p(cv**2)
        spread = np.sqrt((sd * z) ** 2 + level)
        return np.asarray(units * np.exp(mean * z - 0.5 * level + ndtri(probability) * spread))

    def draws(self, price: Floats, *, count: int, rng: np.random.Generator) -> Floats:
        """Posterior draws of the expected units, shape (n, count), or (n, k, count).

        One draw is one curve: the same elasticity and level at all k prices of a row, so that a
        difference between prices has its own posterior. Rows are independent. Their mean is
        :meth:`expected_units`, their quantiles :meth:`units_quantile`.

        Args:
            price: (n,) or (n, k) currency units.
            count: draws.
            rng: where the randomness comes from.
        """
        normal = rng.standard_normal((2, len(self), count))
        elasticity = self.elasticity_mean[:, None] + self.elasticity_sd[:, None] * normal[0]
        variance = np.log1p(self.reference_units_cv**2)[:, None]
        level = np.exp(np.sqrt(variance) * normal[1] - variance / 2) * self.reference_units[:, None]
        z = self.step(price)
        if price.ndim == 1:
            return np.asarray(level * np.exp(elasticity * z[:, None]))
        return np.asarray(level[:, None, :] * np.exp(elasticity[:, None, :] * z[:, :, None]))

    def probability_worse(self, *, price: Floats, baseline: Floats, unit_cost: Floats) -> Floats:
        """Posterior probability that profit at ``price`` is below profit at ``baseline``.

        Shape (n,), or (n, k) where all three are (n, k) or (n, 1).

        profit(p) < profit(b) iff eps (z_p - z_b) < log((b - c) / (p - c)): a normal tail.
        Where the two prices are equal it is 0; where only the baseline's margin is positive, or
        neither is and the price is the lower one, 1; where only the price's is positive, 0.
        """
        return self.probability_less(
            price=price,
            baseline=baseline,
            margin=price - unit_cost,
            base_margin=baseline - unit_cost,
        )

    def probability_less(
        self, *, price: Floats, baseline: Floats, margin: Floats, base_margin: Floats
    ) -> Floats:
        """P(margin * Q(price) < base_margin * Q(baseline)), for any worth of a unit at each."""
        shift = self.step(price) - self.step(baseline)
        mean, deviation = _columns(price, self.elasticity_mean, self.elasticity_sd)
        valid = (margin > 0) & (base_margin > 0) & (np.abs(shift) > 1e-12)
        ratio = np.where(valid, base_margin, 1.0) / np.where(valid, margin, 1.0)
        sd = np.maximum(np.abs(shift) * deviation, 1e-12)
        tail = ndtr((np.log(ratio) - mean * shift) / sd)
        fallback = np.where((margin < base_margin) & (margin <= 0), 1.0, 0.0)
        return np.asarray(np.where(valid, tail, fallback))


def is_extrapolation(price: Floats, *, support_low: Floats, support_high: Floats) -> Flags:
    """Whether each price, (n,) or (n, k), lies outside the prices seen.

    Those reach from ``support_low`` to ``support_high``, (n,) each; where one of them is unknown
    (NaN) any price lies outside.
    """
    low, high = _columns(price, support_low, support_high)
    inside = (price >= low * (1 - _EDGE)) & (price <= high * (1 + _EDGE))
    return np.asarray(~inside)


def box_cox_step(ratio: Floats, curvature: Floats) -> Floats:
    """(ratio**curvature - 1) / curvature, and log(ratio) where the curvature is near zero."""
    log_ratio = np.log(ratio)
    small = np.abs(curvature) < 1e-6
    safe = np.where(small, 1.0, curvature)
    return np.asarray(np.where(small, log_ratio, np.expm1(safe * log_ratio) / safe))


def _columns(price: Floats, *vectors: Floats) -> tuple[Floats, ...]:
    """Each (n,) vector, given a trailing axis where ``price`` is (n, k)."""
    return tuple(vector[:, None] if price.ndim == 2 else vector for vector in vectors)
