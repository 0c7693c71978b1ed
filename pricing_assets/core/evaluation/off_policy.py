r"""What a new price table is worth, from logged prices: off-policy evaluation of a constant price.

The value of the prices :math:`\pi` is the objective a period of all products,
:math:`V(\pi) = \sum_i L_i\,\omega_i(\pi_i)\,\rho_i(\pi_i)`, with the demand level
:math:`L_i`, the known worth :math:`\omega_i` of a unit at a price, and :math:`\rho_i` the units at
that price per unit of base demand, over the logged contexts. The margin at the new price is known
and taken as it is, so that only units are weighted. With the weights w, the
direct method's :math:`\hat\mu(x, a)` and sums over the cells of a series,

=====================  ==========================================================================
inverse_propensity     :math:`\sum w u / \sum b` (Horvitz and Thompson 1952)
self_normalised        :math:`\sum w u / \sum w b` (Swaminathan and Joachims 2015)
direct_method          :math:`\sum \hat\mu(x, \pi) / \sum b`
doubly_robust          the direct method, cross-fitted over time blocks, and
                       :math:`\sum w (u - \hat\mu(x, a)) / \sum w b` (Kallus and Zhou 2018;
                       Colangelo and Lee 2020)
switch                 inverse propensity where w is at most tau, and the direct method for the
                       mass that this leaves (Wang, Agarwal and Dudik 2017)
=====================  ==========================================================================

The present prices are valued by the same estimator, and the difference is drawn as a pair.
Intervals are of a weighted bootstrap: each draw gives every cluster of category, store and time
block a weight of mean one (exponential; Rubin 1981), refits the outcome model and
values both policies again. Products are not redrawn: the assortment is what is to be priced, not a
sample. Where propensities are estimated, prices may have followed demand that no
context shows, and no estimator can see that; each draw then multiplies the units at a new price by
:math:`e^{(\zeta + \zeta_i) a_i}`, both :math:`\zeta` normal with the standard deviation
``confounding_sd`` (probabilistic bias analysis; Greenland 2005), and the level by its own forecast
error. Where the log supports neither price of a product, the two weighted estimators count it as
unchanged, and the other three trust the model; ``overlap`` says how much that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.evaluation.logged_prices import LoggedPrices
from pricing_assets.core.evaluation.off_policy_draws import (
    ESTIMATORS,
    FOLDS,
    PricePolicy,
    draw_totals,
    policy_sums,
)
from pricing_assets.core.evaluation.outcome_model import fit_outcome
from pricing_assets.core.evaluation.overlap import (
    Overlap,
    measure_overlap,
    refusal,
    supported_rows,
)
from pricing_assets.core.evaluation.price_density import estimate_density, importance_weights
from pricing_assets.core.off_policy_parameters import OffPolicyParameters
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

GATE_ESTIMATOR = "doubly_robust"
"""The estimator that a promotion gate should read."""
COLUMNS = (
    "estimator",
    "value",
    "low_90",
    "high_90",
    "present_value",
    "difference",
    "difference_low_90",
    "difference_high_90",
    "effective_sample_size",
    "overlap",
    "max_weight",
    "max_weight_share",
    "propensities",
    "refused",
    "reason",
)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with its 90 % interval, currency units a period."""

    value: float
    low_90: float
    high_90: float


@dataclass(frozen=True, slots=True)
class OffPolicyEvaluation:
    """What the log says of a policy.

    Attributes:
        overlap: the diagnostics.
        propensities: "logged" or "estimated".
        reason: why no value is given; empty where there is one.
        value, present, difference: by estimator; empty where refused.
    """

    overlap: Overlap
    propensities: str
    reason: str
    value: Mapping[str, Interval]
    present: Mapping[str, Interval]
    difference: Mapping[str, Interval]

    @property
    def refused(self) -> bool:
        """No value is given."""
        return bool(self.reason)

    def frame(self) -> pd.DataFrame:
        """One row an estimator, columns :data:`COLUMNS`; NaN for the values where refused."""
        shared = {
            "effective_sample_size": self.overlap.effective_sample_size,
            "overlap": self.overlap.overlap,
            "max_weight": self.overlap.max_weight,
            "max_weight_share": self.overlap.max_weight_share,
            "propensities": self.propensities,
            "refused": self.refused,
            "reason": self.reason,
        }
        rows = [{"estimator": name, **self._numbers(name), **shared} for name in ESTIMATORS]
        return pd.DataFrame(rows)[list(COLUMNS)]

    def _numbers(self, name: str) -> dict[str, float]:
        none = Interval(np.nan, np.nan, np.nan)
        value, gain = self.value.get(name, none), self.difference.get(name, none)
        return {
            "value": value.value,
            "low_90": value.low_90,
            "high_90": value.high_90,
            "present_value": self.present.get(name, none).value,
            "difference": gain.value,
            "difference_low_90": gain.low_90,
            "difference_high_90": gain.high_90,
        }


def price_policies(
    *, present_price: Floats, new_price: Floats, worth: UnitWorth
) -> tuple[PricePolicy, PricePolicy]:
    """The new and the present policy of S products, prices in currency units.

    A product whose worth or price is unknown (NaN) keeps its price and counts nothing.
    """
    known = np.isfinite(worth.at(new_price)) & np.isfinite(worth.at(present_price))
    known &= (present_price > 0) & (new_price > 0)
    ratio = np.where(known, new_price, 1.0) / np.where(known, present_price, 1.0)
    new = PricePolicy(np.log(ratio), np.where(known, worth.at(new_price), 0.0))
    present = PricePolicy(np.zeros(len(ratio)), np.where(known, worth.at(present_price), 0.0))
    return new, present


def evaluate_policy(
    log: LoggedPrices,
    *,
    new: PricePolicy,
    present: PricePolicy,
    parameters: OffPolicyParameters,
    rng: np.random.Generator,
) -> OffPolicyEvaluation:
    """Value the new policy and its difference to the present one, or say why not.

    Args:
        log: S series; its propensities are used where it carries them.
        new, present: of the same S series.
        parameters: smoothing, draws, and thresholds of the refusal.
        rng: of the bootstrap.
    """
    source = "estimated" if log.logged is None else "logged"
    if log.blocks < 2 * FOLDS or not log.usable.any():
        reason = f"the log has {log.blocks} time blocks, {2 * FOLDS} are needed"
        return _refused(Overlap(0.0, 0.0, 0.0, 1.0, 0, 0), source, reason)
    density = estimate_density(log) if log.logged is None else None
    both = [
        importance_weights(log, arm.step, bandwidth=parameters.bandwidth, density=density)
        for arm in (new, present)
    ]
    supported = np.logical_and.reduce([supported_rows(log, weights) for weights in both])
    stake = np.abs(log.level * present.worth)
    found = measure_overlap(log, target=new.step, stake=stake, weights=both[0], supported=supported)
    reason = refusal(found, parameters)
    if reason:
        return _refused(found, source, reason)
    model = fit_outcome(log)
    arms = [
        policy_sums(log, model, policy, weights, max_weight=parameters.max_weight)
        for policy, weights in zip((new, present), both, strict=True)
    ]
    value, base = draw_totals(log, model, arms, supported, parameters=parameters, rng=rng)
    return OffPolicyEvaluation(
        overlap=found,
        propensities=source,
        reason="",
        value=_intervals(value),
        present=_intervals(base),
        difference=_intervals(value - base),
    )


def _refused(found: Overlap, source: str, reason: str) -> OffPolicyEvaluation:
    return OffPolicyEvaluation(found, source, reason, {}, {}, {})


def _intervals(totals: Floats) -> dict[str, Interval]:
    """Estimate and the 5 % and 95 % quantiles of the draws about it."""
    low, high = np.quantile(totals[1:], [0.05, 0.95], axis=0)
    return {
        name: Interval(float(totals[0, at]), float(low[at]), float(high[at]))
        for at, name in enumerate(ESTIMATORS)
    }
