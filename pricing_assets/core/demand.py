r"""THE demand curve: units at a price, with its posterior. Everyone asks this one.

Equation. With the reference price :math:`p_0`, the ratio :math:`r = p/p_0` and the Box-Cox
transform :math:`z_\lambda(r) = (r^\lambda - 1)/\lambda` (:math:`\log r` at :math:`\lambda = 0`),

.. math:: \log Q(p) = \log Q_0 + \varepsilon\, z_\lambda(p/p_0), \qquad
          \varepsilon \sim N(\mu, s^2).

:math:`\lambda` is the curvature: 0 is constant elasticity, 1 the semi-log curve whose elasticity
grows in proportion to price; at :math:`p_0` the elasticity is :math:`\varepsilon` whatever
:math:`\lambda` (Box and Cox 1964). The posterior mean is the log-normal moment
:math:`E\,Q(p) = Q_0 \exp(\mu z + s^2 z^2/2)`: closed form, no draws.

NumPy only: the service imports this module. Choosing a price is ``core.price_table``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]


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
        """Quantile of the expected units under the posterior of level and elasticity."""
        z = self.step(price)
        units, mean, sd, cv = _columns(
            price,
            self.reference_units,
            self.elasticity_mean,
            self.elasticity_sd,
            self.reference_units_cv,
        )
        spread = np.sqrt((sd * z) ** 2 + np.log1p(cv**2))
        return np.asarray(units * np.exp(mean * z + ndtri(probability) * spread))

    def profit_uplift_quantile(
        self, *, price: Floats, baseline: Floats, unit_cost: Floats, probability: float
    ) -> Floats:
        """Quantile of profit(price) - profit(baseline), each (n,), under the posterior.

        Both profits share the elasticity, so their difference is monotone in it over the range
        that matters and its quantile is taken at the elasticity's own quantile.
        """
        values = []
        for level in (probability, 1 - probability):
            elasticity = self.elasticity_mean + ndtri(level) * self.elasticity_sd
            gain = self._profit_at(price, unit_cost, elasticity)
            values.append(gain - self._profit_at(baseline, unit_cost, elasticity))
        low, high = np.minimum(*values), np.maximum(*values)
        return low if probability < 0.5 else high

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

    def _profit_at(self, price: Floats, unit_cost: Floats, elasticity: Floats) -> Floats:
        units = self.reference_units * np.exp(elasticity * self.step(price))
        return np.asarray((price - unit_cost) * units)


def box_cox_step(ratio: Floats, curvature: Floats) -> Floats:
    """(ratio**curvature - 1) / curvature, and log(ratio) where the curvature is near zero."""
    log_ratio = np.log(ratio)
    small = np.abs(curvature) < 1e-6
    safe = np.where(small, 1.0, curvature)
    return np.asarray(np.where(small, log_ratio, np.expm1(safe * log_ratio) / safe))


def _columns(price: Floats, *vectors: Floats) -> tuple[Floats, ...]:
    """Each (n,) vector, given a trailing axis where ``price`` is (n, k)."""
    return tuple(vector[:, None] if price.ndim == 2 else vector for vector in vectors)
