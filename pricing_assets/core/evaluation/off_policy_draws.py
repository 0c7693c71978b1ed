"""The five estimators as sums over series and time blocks, and their bootstrap draws.

Belongs here: each estimator's arithmetic under given weights of the blocks, and drawing them. What
is estimated, the equations and the intervals are ``core.evaluation.off_policy``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.evaluation.logged_prices import LoggedPrices, others_mean
from pricing_assets.core.evaluation.outcome_model import OutcomeModel, block_sums, designs
from pricing_assets.core.off_policy_parameters import OffPolicyParameters

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ESTIMATORS = (
    "inverse_propensity",
    "self_normalised",
    "direct_method",
    "doubly_robust",
    "switch",
)
FOLDS = 3
"""Parts of the time blocks in cross-fitting."""
_WEIGHTED = ("inverse_propensity", "self_normalised")


@dataclass(frozen=True, slots=True)
class PricePolicy:
    """Constant prices and what a unit is worth at them, (S,) each.

    Attributes:
        step: log of the price over the present price.
        worth: of a unit at that price, currency units.
    """

    step: Floats
    worth: Floats


@dataclass(frozen=True, slots=True)
class PolicySums:
    """Sums by series and block, (S, B), of one policy; ``design`` ones are (S, B, WIDTH).

    Attributes:
        step: (S,) log of the policy's price over the present one.
        worth: (S,) worth of a unit times the demand level.
        weighted_units, weighted_base: sums of w u and w b; kept_...: where w is small enough.
        weighted_mean, weighted_design: of w times the pooled expectation at the logged price.
        target_mean, target_design: of the pooled expectation at the policy's price.
        base: of b.
    """

    step: Floats
    worth: Floats
    weighted_units: Floats
    weighted_base: Floats
    kept_units: Floats
    kept_base: Floats
    weighted_mean: Floats
    weighted_design: Floats
    target_mean: Floats
    target_design: Floats
    base: Floats


def policy_sums(
    log: LoggedPrices,
    model: OutcomeModel,
    policy: PricePolicy,
    weights: Floats,
    *,
    max_weight: float,
) -> PolicySums:
    """The sums of one policy under its importance weights (S, T)."""
    kept = np.where(weights <= max_weight, weights, 0.0)
    base = np.where(log.usable, log.base, 0.0)
    mean = weights * model.units(log, step=log.step, others=log.others)
    columns = [weights * log.units, weights * base, kept * log.units, kept * base, mean, base]
    ones = np.ones((*log.step.shape, 1))
    sums = np.moveaxis(block_sums(log, np.stack(columns, axis=2), left=ones)[:, :, 0, :], 2, 0)
    target_mean, target_design = _at_target(log, model, policy.step)
    return PolicySums(
        step=policy.step,
        worth=policy.worth * log.level,
        weighted_units=sums[0],
        weighted_base=sums[1],
        kept_units=sums[2],
        kept_base=sums[3],
        weighted_mean=sums[4],
        weighted_design=_design_sums(log, mean, step=log.step, others=log.others),
        target_mean=target_mean,
        target_design=target_design,
        base=sums[5],
    )


def _at_target(log: LoggedPrices, model: OutcomeModel, step: Floats) -> tuple[Floats, Floats]:
    """Sums (S, B) and (S, B, WIDTH) of the pooled expectation with all products at ``step``."""
    shape = log.step.shape
    near = others_mean(step, group=log.group, importance=log.importance)
    target, others = (np.broadcast_to(part[:, None], shape) for part in (step, near))
    mean = np.where(log.usable, model.units(log, step=target, others=others), 0.0)
    total = block_sums(log, mean[:, :, None], left=np.ones((*shape, 1)))[:, :, 0, 0]
    return total, _design_sums(log, mean, step=target, others=others)


def _design_sums(log: LoggedPrices, mean: Floats, *, step: Floats, others: Floats) -> Floats:
    design = designs(log, step=step, others=others)
    return block_sums(log, design, left=mean[:, :, None])[:, :, 0, :]


def draw_totals(
    log: LoggedPrices,
    model: OutcomeModel,
    arms: list[PolicySums],
    supported: Flags,
    *,
    parameters: OffPolicyParameters,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Total of each estimator, (1 + draws, estimators), of the new and the present policy.

    Row 0 is the estimate itself.
    """
    totals = np.zeros((1 + parameters.draws, len(arms), len(ESTIMATORS)))
    totals[0] = _totals(log, model, arms, supported, _Draw.none(log))
    for draw in range(1, 1 + parameters.draws):
        drawn = _Draw.next(log, model, parameters=parameters, rng=rng)
        totals[draw] = _totals(log, model, arms, supported, drawn)
    return totals[:, 0], totals[:, 1]


@dataclass(frozen=True, slots=True)
class _Draw:
    """One bootstrap draw.

    Attributes:
        weights: (S, B) of the blocks.
        noise: (S, 2) of the outcome model's prior; None is none.
        level: (S,) factor on the demand level.
        confounding: (S,) what unseen demand added to the elasticity.
    """

    weights: Floats
    noise: Floats | None
    level: Floats
    confounding: Floats

    @classmethod
    def none(cls, log: LoggedPrices) -> _Draw:
        """The estimate itself."""
        series = len(log.level)
        return cls(np.ones((series, log.blocks)), None, np.ones(series), np.zeros(series))

    @classmethod
    def next(
        cls,
        log: LoggedPrices,
        model: OutcomeModel,
        *,
        parameters: OffPolicyParameters,
        rng: np.random.Generator,
    ) -> _Draw:
        series, groups = len(log.level), int(log.group.max()) + 1
        variance = np.log1p(log.level_cv**2)
        unseen = rng.standard_normal() + rng.standard_normal(series)
        return cls(
            weights=rng.exponential(size=(groups, log.blocks))[log.group],
            noise=model.prior_noise(rng),
            level=np.exp(np.sqrt(variance) * rng.standard_normal(series) - variance / 2),
            confounding=unseen * (parameters.confounding_sd if log.logged is None else 0.0),
        )


def _totals(
    log: LoggedPrices, model: OutcomeModel, arms: list[PolicySums], supported: Flags, draw: _Draw
) -> list[list[float]]:
    """Sum over the series of each estimator, for each policy."""
    fold = np.arange(log.blocks) % FOLDS
    whole = model.deviations(draw.weights, noise=draw.noise)
    without = [
        model.deviations(draw.weights * (fold != out), noise=draw.noise) for out in range(FOLDS)
    ]
    by_block = np.stack([without[number] for number in fold], axis=1)
    values = [_values(arm, draw.weights, whole, by_block, supported) for arm in arms]
    values = _unsupported_unchanged(values, supported)
    factors = [draw.level * np.exp(draw.confounding * arm.step) for arm in arms]
    return [
        [float((factor * arm[name]).sum()) for name in ESTIMATORS]
        for factor, arm in zip(factors, values, strict=True)
    ]


def _values(
    arm: PolicySums, weights: Floats, whole: Floats, by_block: Floats, supported: Flags
) -> dict[str, Floats]:
    """What each series brings a period by each estimator, (S,) currency units.

    Args:
        weights: (S, B) of the blocks in this draw.
        whole, by_block: deviations of the model, (S, WIDTH) and, fitted without the block's
            fold, (S, B, WIDTH).
        supported: (S,) series whose prices the log supports.
    """
    base = np.maximum((weights * arm.base).sum(axis=1), 1e-9)
    near = np.where(supported, arm.weighted_base.sum(axis=1), np.inf)
    direct = arm.target_mean + np.einsum("sbw,sw->sb", arm.target_design, whole)
    crossed = arm.target_mean + np.einsum("sbw,sbw->sb", arm.target_design, by_block)
    expected = arm.weighted_mean + np.einsum("sbw,sbw->sb", arm.weighted_design, by_block)
    rest = arm.weighted_units - expected
    kept = (weights * arm.kept_base).sum(axis=1) / base
    model_rate = (weights * direct).sum(axis=1) / base
    observed = arm.weighted_units.sum(axis=1) / near
    rates = {
        "inverse_propensity": (weights * arm.weighted_units).sum(axis=1) / base,
        "self_normalised": observed + ((weights - 1) * rest).sum(axis=1) / near,
        "direct_method": model_rate,
        "doubly_robust": (weights * crossed).sum(axis=1) / base
        + (weights * rest).sum(axis=1) / near,
        "switch": (weights * arm.kept_units).sum(axis=1) / base + model_rate * (1 - kept),
    }
    return {name: arm.worth * rate for name, rate in rates.items()}


def _unsupported_unchanged(
    values: list[dict[str, Floats]], supported: Flags
) -> list[dict[str, Floats]]:
    """The weighted estimators with unsupported series at the present policy's modelled value."""
    present = values[-1]["direct_method"]
    return [
        arm | {name: np.where(supported, arm[name], present) for name in _WEIGHTED}
        for arm in values
    ]
