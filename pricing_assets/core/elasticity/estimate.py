r"""Own-price elasticity of every series with its posterior: the path from panel to estimates.

Steps: block-Poisson for weekday, holiday and the noise's size; a linearised count model whose slow
unseen demand is filtered out (``local_level``); an endogeneity control (``instruments``); shared
effects of promotion, rivals and substitutes by category; a curvature by category; empirical-Bayes
pooling (``pooling``) with instability over time added to the posterior variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from pricing_assets.core.demand import Z90
from pricing_assets.core.elasticity.choice import (
    MethodChoice,
    choose_method,
    informed_prior,
    with_choice,
)
from pricing_assets.core.elasticity.curvature import (
    Curvature,
    category_curvature,
    curved_moments,
    known_curvature,
)
from pricing_assets.core.elasticity.design import (
    PriceDesign,
    price_design,
    product_traits,
    substitutes_mean,
)
from pricing_assets.core.elasticity.instruments import (
    ControlKind,
    EndogeneityControl,
    endogeneity_control,
)
from pricing_assets.core.elasticity.linearised import LinearisedCounts, linearise_counts
from pricing_assets.core.elasticity.local_level import filter_innovations
from pricing_assets.core.elasticity.pooling import PooledEstimates, pool_estimates
from pricing_assets.core.elasticity.sensitivity import Regression
from pricing_assets.core.elasticity.shared_effects import SharedFit, fit_shared
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
CURVATURES: dict[str, tuple[float, ...]] = {
    "auto": (0.0, 0.5, 1.0, 1.5),
    "constant": (0.0,),
    "semi_log": (1.0,),
}
"""Box-Cox curvatures tried for each setting of ``curve_shape``."""
LEVEL_VARIANCES_PER_DAY = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016)


@dataclass(frozen=True, slots=True)
class ElasticityEstimates:
    """Posterior elasticities of S series at their current prices, and the evidence.

    Attributes:
        frame: S rows in the panel's order; columns product_id, store_id, category,
            own_price_elasticity, sd, low_90, high_90, method, raw_estimate, raw_standard_error,
            price_variation, observations, curvature, rival_elasticity, cross_elasticity,
            promo_lift, drift_sd, flag.
        choice: the estimator whose slopes were pooled, and why.
        assortment_mean, assortment_sd: posterior of the mean over all series.
        control: which endogeneity control the default used.
        first_stage_f: strength of the cost instrument, NaN where there is none.
        endogeneity: pooled coefficient of the control: how much the regular price followed
            unseen demand.
        level_variance: variance of the unseen level's step, a period.
    """

    frame: pd.DataFrame
    choice: MethodChoice
    assortment_mean: float
    assortment_sd: float
    control: ControlKind
    first_stage_f: float
    endogeneity: float
    level_variance: float

    def to_frame(self) -> pd.DataFrame:
        """The table of one row a series."""
        return self.frame


def estimate_elasticities(panel: Panel, *, settings: PricingSettings) -> ElasticityEstimates:
    """Estimate the own-price elasticity of every series of ``panel``.

    Returns:
        One row a series; a series without price variation has the posterior of its product or
        category and says so in ``flag``.
    """
    prepared = _prepare(panel, settings)
    design, control, regression = prepared.design, prepared.control, prepared.regression
    shapes = CURVATURES[settings.elasticity.curve_shape]
    shape = category_curvature(regression, category=design.category, tried=shapes)
    default = _fit(regression, design, shape)
    choice = choose_method(panel, design, default, settings=settings)
    if choice.raw is not None:
        shape = known_curvature(0.0 if 0.0 in shapes else shapes[0], series=len(design.category))
        default = _fit(regression, design, shape)
    fit = with_choice(default, choice)
    pooled = _pooled(panel, design, fit, choice, settings)
    sd = np.sqrt(pooled.sd**2 + fit.instability**2 + shape.slope_sd**2)
    mean, sd = below_zero(pooled.mean, sd)
    frame = _frame(panel, design, fit, choice.label(control.kind), mean, sd, shape.value)
    return ElasticityEstimates(
        frame=frame,
        choice=choice,
        assortment_mean=float(pooled.category_mean[design.category].mean()),
        assortment_sd=assortment_sd(
            pooled.category_sd,
            category=design.category,
            shared=choice.shared_standard_error,
        ),
        control=control.kind,
        first_stage_f=control.first_stage_f,
        endogeneity=fit.overall.get("endogeneity", 0.0),
        level_variance=regression.level_variance,
    )


def default_regression(panel: Panel, *, settings: PricingSettings) -> Regression:
    """What ``local_level_gls`` regresses at constant elasticity, for tests of sensitivity."""
    return _prepare(panel, settings).regression


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A panel made ready to estimate: its design, its control, and what is regressed."""

    design: PriceDesign
    control: EndogeneityControl
    regression: Regression


def _prepare(panel: Panel, settings: PricingSettings) -> _Prepared:
    parameters, design = settings.elasticity, price_design(panel)
    control = endogeneity_control(
        panel,
        design,
        parameters=parameters,
        cost_is_instrument=not settings.ingestion.cost_is_derived_from_price,
    )
    linear = linearise_counts(design, block=max(parameters.block_days // panel.period_days, 2))
    names, columns = _shared_columns(design, control)
    regression = Regression(
        outcome=linear.outcome,
        variance=linear.variance,
        log_price=design.log_price,
        names=names,
        columns=columns,
        level_variance=_level_variance(design, linear, columns, panel.period_days),
        period_days=panel.period_days,
    )
    return _Prepared(design, control, regression)


def _pooled(
    panel: Panel,
    design: PriceDesign,
    fit: SharedFit,
    choice: MethodChoice,
    settings: PricingSettings,
) -> PooledEstimates:
    parameters = settings.elasticity
    prior_mean, prior_sd = informed_prior(
        choice, prior_mean=parameters.prior_mean, prior_sd=parameters.prior_sd
    )
    return pool_estimates(
        estimate=fit.slope,
        standard_error=fit.standard_error,
        product=design.product,
        category=design.category,
        traits=product_traits(panel, design),
        prior_mean=prior_mean,
        prior_sd=prior_sd,
    )


def assortment_sd(category_sd: Floats, *, category: NDArray[np.int64], shared: float) -> float:
    """Sd of the mean over series whose categories' means have sd ``category_sd`` (C,)."""
    share = np.bincount(category, minlength=len(category_sd)) / len(category)
    return float(np.sqrt(share**2 @ category_sd**2 + shared**2))


def below_zero(mean: Floats, sd: Floats) -> tuple[Floats, Floats]:
    """Mean and sd, (S,) each, of normal posteriors given that demand falls with price.

    Moments of a normal truncated above at zero (Johnson, Kotz and Balakrishnan 1994, 13.10);
    an estimate well below zero is unchanged.
    """
    bound = np.clip(-mean / sd, -6.0, 12.0)
    hazard = norm.pdf(bound) / norm.cdf(bound)
    variance = np.maximum(1 - bound * hazard - hazard**2, 0.02)
    return np.minimum(mean - sd * hazard, -0.02), sd * np.sqrt(variance)


def _shared_columns(
    design: PriceDesign, control: EndogeneityControl
) -> tuple[tuple[str, ...], Floats]:
    """Names and (k, S, T) of the effects that a category shares."""
    names, columns = list(design.names), [*design.covariates]
    if control.kind != "none":
        names.append("endogeneity")
        columns.append(control.values)
        if "substitutes" in names:
            names.append("substitutes_endogeneity")
            columns.append(substitutes_mean(control.values, design.usable, design.market))
    empty = np.zeros((0, *design.log_price.shape))
    return tuple(names), np.stack(columns) if columns else empty


def _level_variance(
    design: PriceDesign, linear: LinearisedCounts, columns: Floats, period_days: int
) -> float:
    """The candidate with the highest profile likelihood at constant elasticity."""
    regressors = np.concatenate([design.log_price[None], columns])
    scores = []
    for candidate in LEVEL_VARIANCES_PER_DAY:
        moments = filter_innovations(
            outcome=linear.outcome,
            variance=linear.variance,
            regressors=regressors,
            level_variance=candidate * period_days,
        )
        shared = fit_shared(moments, names=(), category=design.category)
        scores.append(shared.log_likelihood.sum())
    return float(LEVEL_VARIANCES_PER_DAY[int(np.argmax(scores))] * period_days)


def _fit(regression: Regression, design: PriceDesign, curvature: Curvature) -> SharedFit:
    return fit_shared(
        curved_moments(regression, curvature.value),
        names=regression.names,
        category=design.category,
    )


def _frame(
    panel: Panel,
    design: PriceDesign,
    fit: SharedFit,
    method: str,
    mean: Floats,
    sd: Floats,
    curvature: Floats,
) -> pd.DataFrame:
    frame = panel.series[["product_id", "store_id", "category"]].reset_index(drop=True)
    variation = _price_variation(design)
    return frame.assign(
        own_price_elasticity=mean,
        sd=sd,
        low_90=mean - Z90 * sd,
        high_90=np.minimum(mean + Z90 * sd, 0.0),
        method=method,
        raw_estimate=fit.slope,
        raw_standard_error=fit.standard_error,
        price_variation=variation,
        observations=design.usable.sum(axis=1),
        curvature=curvature,
        rival_elasticity=fit.effect("rival"),
        cross_elasticity=fit.effect("substitutes"),
        promo_lift=np.exp(fit.effect("promo")),
        drift_sd=fit.instability,
        flag=_flags(fit, variation),
    )


def _price_variation(design: PriceDesign) -> Floats:
    """Standard deviation of log price over the usable cells, (S,)."""
    count = np.maximum(design.usable.sum(axis=1), 1)
    values = np.where(design.usable, design.log_price, 0.0)
    centre = values.sum(axis=1) / count
    spread = np.where(design.usable, (design.log_price - centre[:, None]) ** 2, 0.0)
    return np.asarray(np.sqrt(spread.sum(axis=1) / count))


def _flags(fit: SharedFit, variation: Floats) -> list[str]:
    """Plain words on what is unusual about each estimate; empty where nothing is."""
    nothing = ~np.isfinite(fit.slope) | (variation < 1e-4)
    wrong = np.isfinite(fit.slope) & (fit.slope - Z90 * fit.standard_error > 0)
    extreme = np.isfinite(fit.slope) & (fit.slope + Z90 * fit.standard_error < -6)
    words = np.select(
        [nothing, wrong, extreme],
        ["no_price_variation", "raw_wrong_sign", "raw_extreme"],
        default="",
    )
    return [str(word) for word in words]
