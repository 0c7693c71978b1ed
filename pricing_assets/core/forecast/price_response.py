r"""How demand moved with price, promotion, display and feature: a pooled log-linear response.

Within blocks of a series' time, so that slow demand drops out,

.. math:: \log\frac{y_t + c}{\bar y + c} = \beta^\top z_t + e_t, \qquad
          z = (\log p, \mathrm{promo}, \mathrm{display}, \mathrm{feature}),

with ridge shrinkage of a series to its product, a product to its category and a category to zero
(hierarchical normal prior; Blattberg and George 1991). It serves the forecast only, by taking
promotions out of the level and putting planned ones in; what prices are set by is
``core.elasticity``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.panel import FuturePlan, Panel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_BLOCK_WEEKS = 13
_OFFSET = 0.3
_PRIOR_SD = np.asarray([1.0, 0.3, 0.3, 0.3])
_DISPERSION = 0.25
_PRICE_BOUND = 6.0
_FLAG_BOUND = 1.5
_EFFECT_BOUND = 2.5


@dataclass(frozen=True, slots=True)
class PriceResponse:
    """Log-linear response of S series.

    Attributes:
        coefficients: (S, 4) of log price, promo, display, feature; that of price at most 0.
        log_reference: (S,) log price at which the effect is one; NaN without any price.
    """

    coefficients: Floats
    log_reference: Floats

    def log_effect(self, plan: FuturePlan | Panel) -> Floats:
        """Log of demand against that at the reference price without promotion, (S, H)."""
        beta = self.coefficients
        with_price = np.where(plan.price > 0, plan.price, np.nan)
        price = np.nan_to_num(np.log(with_price) - self.log_reference[:, None])
        effect = beta[:, :1] * price
        for number, name in enumerate(("promo", "display", "feature"), start=1):
            effect = effect + beta[:, number : number + 1] * getattr(plan, name)
        return np.asarray(np.clip(effect, -_EFFECT_BOUND, _EFFECT_BOUND))


def fit_price_response(panel: Panel) -> PriceResponse:
    """Estimate the response from the uncensored cells of the panel."""
    price = np.where(panel.price > 0, panel.price, np.nan)
    reference = _row_median(np.log(price))
    usable = panel.on_sale & ~panel.censored & np.isfinite(panel.units) & np.isfinite(price)
    gram, moment = _normal_equations(panel, np.log(price) - reference[:, None], usable)
    category = _codes(panel, "category")
    product = _codes(panel, "product_id")
    prior = np.diag(_PRIOR_SD**-2)
    zero = np.zeros((panel.shape[0], 4))
    by_category = _pooled(gram, moment, category, prior=prior, centre=zero)
    by_product = _pooled(gram, moment, product, prior=4 * prior, centre=by_category)
    own = np.arange(panel.shape[0])
    by_series = _pooled(gram, moment, own, prior=16 * prior, centre=by_product)
    low = np.asarray([-_PRICE_BOUND, *[-_FLAG_BOUND] * 3])
    high = np.asarray([0.0, *[_FLAG_BOUND] * 3])
    return PriceResponse(coefficients=np.clip(by_series, low, high), log_reference=reference)


def _normal_equations(
    panel: Panel, log_price: Floats, usable: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """(S, 4, 4) and (S, 4) sums over blocks of weighted, block-demeaned inputs and response."""
    series, periods = panel.shape
    width = max(1, _BLOCK_WEEKS * 7 // panel.period_days)
    gram, moment = np.zeros((series, 4, 4)), np.zeros((series, 4))
    cycle = 7 if panel.grain == "day" else 1
    for end in range(periods, 0, -width):
        span = slice(max(0, end - width), end)
        seen = usable[:, span].astype(np.float64)
        units = np.where(seen > 0, panel.units[:, span], 0.0)
        normal = _weekday_mean(units, seen, cycle)
        target = np.log((units + _OFFSET) / (normal + _OFFSET))
        mean = units.sum(axis=1) / np.maximum(seen.sum(axis=1), 1.0)
        weight = seen * (mean / (1.0 + _DISPERSION * mean))[:, None]
        flags = [getattr(panel, name)[:, span] for name in ("promo", "display", "feature")]
        inputs = np.stack([np.nan_to_num(log_price[:, span]), *flags], axis=2)
        inputs = _demeaned(inputs, weight[:, :, None])
        target = _demeaned(target, weight)
        scaled = inputs * weight[:, :, None]
        gram += np.matmul(scaled.transpose(0, 2, 1), inputs)
        moment += np.einsum("stk,st->sk", scaled, target)
    return gram, moment


def _weekday_mean(units: Floats, seen: Floats, cycle: int) -> Floats:
    """Mean of the cell's weekday in the block, (S, W), pulled to the block's mean."""
    phase = np.arange(units.shape[1]) % cycle
    choose = np.eye(cycle)[phase]
    total, count = units @ choose, seen @ choose
    overall = total.sum(axis=1, keepdims=True) / np.maximum(count.sum(axis=1, keepdims=True), 1.0)
    return np.asarray(((total + 3.0 * overall) / (count + 3.0))[:, phase])


def _demeaned(values: Floats, weight: Floats) -> Floats:
    mass = weight.sum(axis=1, keepdims=True)
    mean = (values * weight).sum(axis=1, keepdims=True) / np.where(mass > 0, mass, 1.0)
    return np.asarray(values - mean)


def _pooled(
    gram: Floats, moment: Floats, group: Integers, *, prior: Floats, centre: Floats
) -> Floats:
    """Ridge coefficients of each series' group, (S, 4), shrunk to the group's mean ``centre``."""
    size = int(group.max()) + 1
    grams, moments = np.zeros((size, 4, 4)), np.zeros((size, 4))
    np.add.at(grams, group, gram)
    np.add.at(moments, group, moment)
    members = np.bincount(group, minlength=size)[:, None]
    middle = np.zeros((size, 4))
    np.add.at(middle, group, centre)
    middle = middle / np.maximum(members, 1)
    solved = np.linalg.solve(grams + prior, (moments + middle @ prior)[:, :, None])[:, :, 0]
    return np.asarray(solved[group])


def _codes(panel: Panel, column: str) -> Integers:
    values = panel.series[column].astype(str).to_numpy(dtype=object)
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64)


def _row_median(values: Floats) -> Floats:
    """Median of the known values of each row; NaN for a row without any."""
    known = np.isfinite(values)
    ordered = np.sort(np.where(known, values, np.inf), axis=1)
    middle = np.maximum(known.sum(axis=1) - 1, 0) // 2
    picked = ordered[np.arange(len(values)), middle]
    return np.asarray(np.where(known.any(axis=1), picked, np.nan))
