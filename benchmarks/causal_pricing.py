"""What each part of the science is worth: the oracle's uplift won, part by part taken away.

Every variant goes from the market's raw tables to a price table and is valued by the market's own
truth, under the same guard rails. Belongs here: the variants and their table. The figures of the
whole program, with time and memory, are ``benchmarks.whole_graph``'s.

Run: ``python -m benchmarks.causal_pricing --seeds 1 2 3 4 5``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pricing_assets.core.curves import demand_curve_frame
from pricing_assets.core.elasticity.design import group_index
from pricing_assets.core.elasticity.estimate import below_zero, estimate_elasticities
from pricing_assets.core.elasticity.pooling import pool_estimates
from pricing_assets.core.evaluation.truth import TruthComparison, compare_with_truth
from pricing_assets.core.features import build_panel, future_plan
from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.forecast.training import train_forecaster
from pricing_assets.core.market import Market, MarketParameters, simulate_market
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.panel_facts import panel_facts
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.settings import PricingSettings


@dataclass(frozen=True, slots=True)
class Case:
    """One seed's market and all that the variants share."""

    market: Market
    panel: Panel
    plan: FuturePlan
    forecast: Forecast
    estimates: pd.DataFrame


Change = Callable[[Case, PricingSettings], tuple[pd.DataFrame, PricingSettings]]


def main() -> None:
    """Measure every variant on every seed and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=240)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--forecaster", default="ses_weekday")
    options = parser.parse_args()
    rows: dict[str, list[TruthComparison]] = {name: [] for name in VARIANTS}
    for seed in options.seeds:
        print(f"seed {seed} ...", flush=True)
        case = prepare(options.products, options.days, seed, options.forecaster)
        for name, change in VARIANTS.items():
            rows[name].append(valued(case, change))
    print(table(rows))


def prepare(products: int, days: int, seed: int, forecaster: str) -> Case:
    """Draw the market and do once what every variant needs."""
    settings = PricingSettings()
    market = simulate_market(MarketParameters(products=products, days=days, seed=seed))
    tables = market.raw_tables()
    panel = build_panel(tables, settings)
    plan = future_plan(panel, tables, settings=settings)
    fitted = train_forecaster(panel, name=forecaster, settings=settings)
    estimates = estimate_elasticities(panel, settings=settings).to_frame()
    return Case(market, panel, plan, fitted.predict(panel, plan), estimates)


def valued(case: Case, change: Change) -> TruthComparison:
    """Prices of one variant and their worth by the truth."""
    frame, settings = change(case, PricingSettings())
    curves = demand_curve_frame(
        case.panel, plan=case.plan, forecast=case.forecast, elasticities=frame, settings=settings
    )
    prices = build_price_table(curves, panel_facts=panel_facts(case.panel), settings=settings)
    return compare_with_truth(case.market, price_table=prices, settings=settings)


def table(rows: dict[str, list[TruthComparison]]) -> str:
    """One line a variant: mean and lowest share over the seeds, then elasticity errors."""
    lines = [
        f"{'variant':<34}{'share':>7}{'(se)':>7}{'lowest':>8}{'rmse':>7}{'bias':>7}{'in 90 %':>9}"
    ]
    for name, results in rows.items():
        share = np.array([row.share_of_oracle_uplift for row in results])
        rmse, bias, cover = (
            np.mean([getattr(row, field) for row in results])
            for field in ("elasticity_rmse", "elasticity_bias", "coverage_90")
        )
        error = share.std(ddof=1) / np.sqrt(len(share)) if len(share) > 1 else np.nan
        lines.append(
            f"{name:<34}{share.mean():>7.3f}{error:>7.3f}{share.min():>8.3f}"
            f"{rmse:>7.2f}{bias:>7.2f}{cover:>9.2f}"
        )
    return "\n".join(lines)


def full(case: Case, settings: PricingSettings) -> tuple[pd.DataFrame, PricingSettings]:
    """The defaults."""
    return case.estimates, settings


def without_control(case: Case, settings: PricingSettings) -> tuple[pd.DataFrame, PricingSettings]:
    """No correction for prices that followed demand."""
    return _estimated(case, settings, {"endogeneity_control": "none"})


def constant_curve(case: Case, settings: PricingSettings) -> tuple[pd.DataFrame, PricingSettings]:
    """One shape, constant elasticity, for all categories."""
    return _estimated(case, settings, {"curve_shape": "constant"})


def without_pooling(case: Case, settings: PricingSettings) -> tuple[pd.DataFrame, PricingSettings]:
    """Each series' own raw estimate; the prior where it has none."""
    raw = case.estimates["raw_estimate"].fillna(settings.elasticity.prior_mean)
    error = case.estimates["raw_standard_error"].fillna(settings.elasticity.prior_sd)
    mean, sd = below_zero(raw.to_numpy(), error.to_numpy())
    return case.estimates.assign(own_price_elasticity=mean, sd=sd), settings


def without_cross(case: Case, settings: PricingSettings) -> tuple[pd.DataFrame, PricingSettings]:
    """Every product priced alone."""
    return case.estimates.assign(cross_elasticity=0.0), settings


def without_uncertainty(
    case: Case, settings: PricingSettings
) -> tuple[pd.DataFrame, PricingSettings]:
    """The mean elasticity taken as certain, and no hold for risk."""
    risk = settings.price_table.model_copy(update={"hold_above_p_worse": 1.0})
    certain = case.estimates.assign(sd=1e-3)
    return certain, settings.model_copy(update={"price_table": risk})


def least_squares(case: Case, settings: PricingSettings) -> tuple[pd.DataFrame, PricingSettings]:
    """What a toy does: log units on log price, days without a sale dropped, each product alone."""
    slope, error = _least_squares(case.panel)
    pooled = pool_estimates(
        estimate=slope,
        standard_error=error,
        product=group_index(case.panel.series, "product_id"),
        category=group_index(case.panel.series, "category"),
        traits=np.zeros((len(slope), 0)),
        prior_mean=settings.elasticity.prior_mean,
        prior_sd=settings.elasticity.prior_sd,
    )
    mean, sd = below_zero(pooled.mean, pooled.sd)
    naive = case.estimates.assign(
        own_price_elasticity=mean, sd=sd, curvature=0.0, cross_elasticity=0.0
    )
    return naive, settings


def true_elasticities(
    case: Case, settings: PricingSettings
) -> tuple[pd.DataFrame, PricingSettings]:
    """Own elasticities known; level, shape and cross price estimated."""
    truth = case.market.own_price_elasticity()
    return case.estimates.assign(own_price_elasticity=truth, sd=1e-3), settings


def true_elasticities_alone(
    case: Case, settings: PricingSettings
) -> tuple[pd.DataFrame, PricingSettings]:
    """Own elasticities known, constant, each product alone: the textbook markup rule."""
    truth = case.market.own_price_elasticity()
    known = case.estimates.assign(
        own_price_elasticity=truth, sd=1e-3, curvature=0.0, cross_elasticity=0.0
    )
    return known, settings


VARIANTS: dict[str, Change] = {
    "all parts (default)": full,
    "no endogeneity control": without_control,
    "no pooling": without_pooling,
    "no cross price": without_cross,
    "constant elasticity only": constant_curve,
    "no uncertainty": without_uncertainty,
    "least squares, products alone": least_squares,
    "true elasticities, textbook rule": true_elasticities_alone,
    "true elasticities, all else ours": true_elasticities,
}


def _estimated(
    case: Case, settings: PricingSettings, update: dict[str, object]
) -> tuple[pd.DataFrame, PricingSettings]:
    changed = settings.elasticity.model_copy(update=update)
    settings = settings.model_copy(update={"elasticity": changed})
    return estimate_elasticities(case.panel, settings=settings).to_frame(), settings


def _least_squares(panel: Panel) -> tuple[np.ndarray, np.ndarray]:
    """Slope and its textbook error by series, (S,) each; NaN without price variation."""
    known = panel.on_sale & np.isfinite(panel.price) & (np.nan_to_num(panel.units) > 0)
    x = np.where(known, np.log(np.where(known, panel.price, 1.0)), 0.0)
    y = np.where(known, np.log(np.where(known, panel.units, 1.0)), 0.0)
    count = np.maximum(known.sum(axis=1), 1)
    dx = np.where(known, x - (x.sum(axis=1) / count)[:, None], 0.0)
    dy = np.where(known, y - (y.sum(axis=1) / count)[:, None], 0.0)
    spread = (dx**2).sum(axis=1)
    varied = spread > 1e-6
    slope = np.where(varied, (dx * dy).sum(axis=1) / np.where(varied, spread, 1.0), np.nan)
    rest = ((dy - np.nan_to_num(slope)[:, None] * dx) ** 2).sum(axis=1) / count
    return slope, np.where(varied, np.sqrt(rest / np.where(varied, spread, 1.0)), np.nan)


if __name__ == "__main__":
    main()
