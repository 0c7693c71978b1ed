"""Own-price elasticity and the demand curves that every price is chosen from.

Belongs here: the assets of the group ``elasticity`` and their checks. The estimator is
``core.elasticity``, the curve ``core.curves``.
"""

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.curves import demand_curve_frame
from pricing_assets.core.elasticity.estimate import estimate_elasticities
from pricing_assets.core.features import future_plan
from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.panel import Panel
from resources.asset_metadata import (
    check_metadata,
    histogram,
    records_metadata,
    table_metadata,
)
from resources.settings import SettingsResource

GROUP = "elasticity"
OWNERS = ["team:data-science"]


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"parquet", "numpy"}, code_version="1")
def own_price_elasticity(
    context: dg.AssetExecutionContext, settings: SettingsResource, sales_panel: Panel
) -> pd.DataFrame:
    """Posterior of each series' own-price elasticity, pooled by category."""
    frame = estimate_elasticities(sales_panel, settings=settings.settings()).to_frame()
    values = frame["own_price_elasticity"]
    context.add_output_metadata(
        {
            **table_metadata(frame),
            "mean": float(values.mean()),
            "mean_sd": float(frame["sd"].mean()),
            "by_method": records_metadata(_by_method(frame)),
            "distribution": histogram(
                values.to_numpy(), title="Own-price elasticity", x_label="elasticity"
            ),
        }
    )
    return frame


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"parquet", "numpy"}, code_version="1")
def demand_curves(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    sales_panel: Panel,
    demand_forecast: pd.DataFrame,
    forecast_total_error: pd.DataFrame,
    own_price_elasticity: pd.DataFrame,
    planned_prices: pd.DataFrame,
    calendar: pd.DataFrame,
) -> pd.DataFrame:
    """One demand curve a series: all that a price needs, in batch and live."""
    chosen = settings.settings()
    tables = {"planned_prices": planned_prices, "calendar": calendar}
    frame = demand_curve_frame(
        sales_panel,
        plan=future_plan(sales_panel, tables, settings=chosen),
        forecast=Forecast.from_frame(demand_forecast, series=len(sales_panel.series)),
        elasticities=own_price_elasticity,
        settings=chosen,
        total_cv=forecast_total_error["total_cv"].to_numpy(),
    )
    context.add_output_metadata(table_metadata(frame))
    return frame


@dg.asset_check(
    asset="own_price_elasticity",
    blocking=True,
    description="Every elasticity is finite and below zero, with a standard deviation above zero.",
)
def elasticities_are_sound(own_price_elasticity: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of series whose demand would rise with price, or whose posterior is no number."""
    mean = own_price_elasticity["own_price_elasticity"].to_numpy()
    sd = own_price_elasticity["sd"].to_numpy()
    wrong = int((~np.isfinite(mean) | ~np.isfinite(sd) | (mean >= 0) | (sd <= 0)).sum())
    return dg.AssetCheckResult(passed=wrong == 0, metadata=check_metadata(value=wrong, threshold=0))


@dg.asset_check(
    asset="demand_curves",
    blocking=True,
    description="Every curve has a positive reference price and finite expected units.",
)
def curves_are_sound(demand_curves: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of curves that no price can be read from."""
    price = demand_curves["reference_price"].to_numpy()
    units = demand_curves["reference_units"].to_numpy()
    wrong = int((~np.isfinite(price) | (price <= 0) | ~np.isfinite(units) | (units < 0)).sum())
    return dg.AssetCheckResult(passed=wrong == 0, metadata=check_metadata(value=wrong, threshold=0))


def _by_method(frame: pd.DataFrame) -> pd.DataFrame:
    groups = frame.groupby("method")["own_price_elasticity"]
    return groups.agg(series="size", mean="mean", lowest="min", highest="max").reset_index()
