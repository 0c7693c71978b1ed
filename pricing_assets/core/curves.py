"""Demand curves from forecast and elasticities: one row a series, all that a price needs.

Belongs here: joining the level (forecast) with the slope (elasticity) into the columns of
``tables.DEMAND_CURVE_COLUMNS``. The equation is ``core.demand``.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves, box_cox_step
from pricing_assets.core.elasticity.design import group_index
from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.panel import FuturePlan, Panel, last_known
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS

Floats = NDArray[np.float64]
SUPPORT_DAYS = 365
"""Prices of this many last days are the supported range."""
LARGEST_ELASTICITY = -0.05
"""Demand never rises with the own price in what is served; estimates above this are flagged."""


def demand_curve_frame(
    panel: Panel,
    *,
    plan: FuturePlan,
    forecast: Forecast,
    elasticities: pd.DataFrame,
    settings: PricingSettings,
    total_cv: Floats | None = None,
) -> pd.DataFrame:
    """One demand curve for each series of the panel.

    Args:
        panel: S series.
        plan: what the forecast assumed of prices and promotions.
        forecast: (S, H) demand at the plan.
        elasticities: S rows in the panel's order, from ``estimate_elasticities``.
        settings: gives the largest diversion to substitutes, and the days until stock must be
            sold; the horizon is the forecast's.
        total_cv: (S,) relative error of the horizon's total from walk-forward; else it is taken
            from the forecast's own quantiles.

    Returns:
        Columns of ``tables.DEMAND_CURVE_COLUMNS``; units are over the days of the decision at
        the current price without promotion.
    """
    current = panel.current_price()
    mean = np.minimum(elasticities["own_price_elasticity"].to_numpy(float), LARGEST_ELASTICITY)
    curvature = elasticities["curvature"].to_numpy(float)
    lift = np.maximum(elasticities["promo_lift"].to_numpy(float), 1e-3)
    low, high = _support(panel)
    units = _units_at_reference(plan, forecast, current, mean, curvature, lift)
    units = units[:, : _periods(panel, settings)].sum(axis=1)
    cross = _cross_elasticity(panel, elasticities, low, high)
    frame = pd.DataFrame(
        {
            "product_id": panel.series["product_id"].to_numpy(),
            "store_id": panel.series["store_id"].to_numpy(),
            "category": panel.series["category"].to_numpy(),
            "reference_price": current,
            "reference_units": units,
            "reference_units_cv": _relative_error(forecast) if total_cv is None else total_cv,
            "elasticity_mean": mean,
            "elasticity_sd": elasticities["sd"].to_numpy(float),
            "curvature": curvature,
            "rival_elasticity": np.maximum(elasticities["rival_elasticity"].to_numpy(float), 0.0),
            "cross_elasticity": np.minimum(
                cross, _largest_cross(panel, units, mean, settings.elasticity.max_diversion)
            ),
            "reference_rival_price": last_known(panel.rival_price),
            "promo_lift": lift,
            "weekday_index": list(_weekday_index(panel)),
            "unit_cost": panel.current_cost(),
            "map_price": panel.series["map_price"].to_numpy(float),
            "support_low": low,
            "support_high": high,
            "observations": elasticities["observations"].to_numpy(float),
        }
    )
    return frame[list(DEMAND_CURVE_COLUMNS)]


def curves_from_columns(columns: Mapping[str, NDArray]) -> DemandCurves:
    """Curves from the columns of a curve table, each (n,)."""
    return DemandCurves(
        **{name: np.asarray(columns[name], dtype=np.float64) for name in DemandCurves.__slots__}
    )


def _units_at_reference(
    plan: FuturePlan,
    forecast: Forecast,
    current: Floats,
    mean: Floats,
    curvature: Floats,
    lift: Floats,
) -> Floats:
    """Units a period at the current price, planned prices and promotions taken out, (S, H)."""
    ratio = np.where(plan.price > 0, plan.price, np.nan) / current[:, None]
    ratio = np.nan_to_num(ratio, nan=1.0)
    step = box_cox_step(ratio, np.broadcast_to(curvature[:, None], ratio.shape))
    moved = np.exp(mean[:, None] * step) * np.where(plan.promo > 0, lift[:, None], 1.0)
    return np.asarray(forecast.mean / moved)


def _periods(panel: Panel, settings: PricingSettings) -> int:
    """Periods that sales are counted over: the whole horizon, or those until stock must be sold."""
    return max(1, -(-settings.decision_days // panel.period_days))


def _relative_error(forecast: Forecast) -> Floats:
    """Relative error of the total, with errors taken as common to all periods, (S,)."""
    width = (forecast.q90 - forecast.q10).mean(axis=1) / 2.563
    periods = forecast.mean.shape[1]
    common = 0.5 + 0.5 / np.sqrt(periods)
    return np.asarray(np.clip(common * width / np.maximum(forecast.mean.mean(axis=1), 1e-6), 0, 2))


def _support(panel: Panel) -> tuple[Floats, Floats]:
    """Lowest and highest price paid over the last year, (S,) each; the current price within."""
    periods = max(SUPPORT_DAYS // panel.period_days, 1)
    seen = np.where(panel.on_sale, panel.price, np.nan)[:, -periods:]
    current = panel.current_price()
    filled = np.concatenate([seen, current[:, None]], axis=1)
    low = np.where(np.isnan(filled), np.inf, filled).min(axis=1)
    high = np.where(np.isnan(filled), -np.inf, filled).max(axis=1)
    return np.where(np.isfinite(low), low, np.nan), np.where(np.isfinite(high), high, np.nan)


def _cross_elasticity(
    panel: Panel, elasticities: pd.DataFrame, low: Floats, high: Floats
) -> Floats:
    """Elasticity of each substitute's demand to this series' price, never below zero, (S,).

    The estimate is to the mean price of the substitutes, so one of n - 1 has its share of it.
    """
    market = group_index(panel.series, "category", "store_id")
    selling = np.isfinite(low) & np.isfinite(high) & panel.on_sale[:, -1]
    count = np.bincount(market, selling, int(market.max()) + 1)[market]
    named = panel.series["category"].to_numpy() != ""
    total = np.maximum(elasticities["cross_elasticity"].to_numpy(float), 0.0)
    return np.where(selling & named & (count > 1), total / np.maximum(count - 1, 1), 0.0)


def _largest_cross(panel: Panel, units: Floats, mean: Floats, max_diversion: float) -> Floats:
    """Cross elasticity at which substitutes win ``max_diversion`` of the units lost, (S,).

    A price rise loses |elasticity| units_i of each one percent; at cross elasticity x the others
    win x times the sum of theirs (the diversion ratio, Shapiro 1996).
    """
    market = group_index(panel.series, "category", "store_id")
    others = np.bincount(market, units)[market] - units
    return np.asarray(max_diversion * -mean * units / np.maximum(others, 1e-9))


def _weekday_index(panel: Panel) -> Floats:
    """Multiplier of each weekday by series, (S, 7), Monday first, mean one.

    A series' own mean by weekday shrunk to its category's in proportion to what it sold.
    """
    if panel.grain == "week":
        return np.ones((panel.shape[0], 7))
    weekday = (panel.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
    usable = panel.on_sale & ~panel.censored & ~np.isnan(panel.units)
    hot = np.eye(7)[weekday]
    sold = np.where(usable, panel.units, 0.0) @ hot
    days = usable.astype(float) @ hot
    category = group_index(panel.series, "category")
    groups = int(category.max()) + 1
    pooled_sold, pooled_days = np.zeros((groups, 7)), np.zeros((groups, 7))
    np.add.at(pooled_sold, category, sold)
    np.add.at(pooled_days, category, days)
    pooled = _mean_one(pooled_sold / np.maximum(pooled_days, 1.0))[category]
    own = _mean_one(sold / np.maximum(days, 1.0))
    total = sold.sum(axis=1, keepdims=True)
    weight = total / (total + 700.0)
    return np.asarray(weight * own + (1 - weight) * pooled)


def _mean_one(values: Floats) -> Floats:
    centre = values.mean(axis=1, keepdims=True)
    return np.asarray(np.where(centre > 0, values / np.where(centre > 0, centre, 1.0), 1.0))
