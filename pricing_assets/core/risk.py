r"""What a price is worth to one who minds risk: the mean, a quantile, or the mean less its spread.

Belongs here: the value of a price under the setting ``risk``. The belief and its mean are
``core.expected_sales``; the search is ``core.price_search``.

Equation. With w the worth of a unit at the price, D demand under the posterior of elasticity and
level (log-normal, variance of its logarithm :math:`v = s^2 z^2 + \sigma^2`; the chance of single
sales averages out over the catalogue and is left out) and A the stock, the value is

* ``mean``: :math:`w\,E\min(D, A)`;
* ``quantile``: the q-quantile of :math:`w \min(D, A)`, which for w > 0 is
  :math:`w \min(Q_q(D), A)`, and for w < 0 takes :math:`Q_{1-q}`;
* ``mean_variance``: :math:`w\,E\min(D, A) - \gamma\,|w|\,\mathrm{sd}\min(D, A)`, aversion in
  standard deviations, so that it means the same for every product (Markowitz 1952 with the
  standard deviation in place of the variance), from the limited moments

.. math:: E\min(D, A)^2 = M^2 e^{v}\,\Phi\!\left(\frac{\log(A/M) - \tfrac32 v}{\sqrt v}\right)
          + A^2\,\Phi\!\left(-\frac{\log(A/M) + \tfrac12 v}{\sqrt v}\right).

All are closed forms; nothing is drawn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.expected_sales import expected_sales, limited_mean
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

_TINY = 1e-12


def risk_value(
    curves: DemandCurves,
    *,
    price: Floats,
    worth: UnitWorth,
    available: Floats,
    parameters: PriceTableParameters,
) -> Floats:
    """Value of each price under the setting ``risk``, (n, k), in units of the objective.

    Args:
        curves: n rows.
        price: (n, k) currency units.
        worth: of a sold unit, n rows.
        available: (n,) units that can be sold, infinite where stock does not cap sales.
        parameters: give the kind of risk with its quantile or aversion.
    """
    unit = worth.at(price)
    if parameters.risk == "quantile":
        quantile = parameters.risk_quantile
        low = np.minimum(curves.units_quantile(price, quantile), available[:, None])
        high = np.minimum(curves.units_quantile(price, 1 - quantile), available[:, None])
        return np.asarray(unit * np.where(unit < 0, high, low))
    mean = unit * expected_sales(curves, price=price, available=available)
    if parameters.risk == "mean":
        return np.asarray(mean)
    deviation = sales_deviation(curves, price=price, available=available)
    return np.asarray(mean - parameters.risk_aversion * np.abs(unit) * deviation)


def sales_deviation(curves: DemandCurves, *, price: Floats, available: Floats) -> Floats:
    """Posterior standard deviation of min(D, A), (n, k) units at prices (n, k)."""
    mean = np.maximum(curves.expected_units(price), _TINY)
    level = np.log1p(curves.reference_units_cv**2)[:, None]
    variance = (curves.step(price) * curves.elasticity_sd[:, None]) ** 2 + level
    deviation = mean * np.sqrt(np.expm1(variance))
    capped = np.isfinite(available)
    if capped.any():
        limit = available[capped, None]
        first = limited_mean(mean[capped], log_variance=variance[capped], limit=limit)
        second = limited_square(mean[capped], log_variance=variance[capped], limit=limit)
        deviation[capped] = np.sqrt(np.maximum(second - first**2, 0.0))
    return np.asarray(deviation)


def limited_square(mean: Floats, *, log_variance: Floats, limit: Floats) -> Floats:
    """E min(X, limit)^2 of a log-normal X with that mean (> 0) and variance of log X."""
    variance = np.maximum(log_variance, _TINY)
    deviation = np.sqrt(variance)
    distance = np.log(np.maximum(limit, _TINY) / mean)
    below = mean**2 * np.exp(variance) * ndtr(distance / deviation - 1.5 * deviation)
    return np.asarray(below + limit**2 * ndtr(-distance / deviation - deviation / 2))
