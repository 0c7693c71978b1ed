"""Own-price elasticity and the demand curves that every price is chosen from.

Belongs here: the assets of the group ``elasticity`` and their checks. The estimator is
``core.elasticity``, the curve ``core.curves``.
"""

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.curves import demand_curve_frame
from pricing_assets.core.elasticity.estimate import default_regression, estimate_elasticities
from pricing_assets.core.elasticity.methods_table import methods_table
from pricing_assets.core.elasticity.segments import segment_elasticities
from pricing_assets.core.elasticity.sensitivity import sensitivity_table
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
    estimates = estimate_elasticities(sales_panel, settings=settings.settings())
    frame = estimates.to_frame()
    values = frame["own_price_elasticity"]
    context.add_output_metadata(
        {
            **table_metadata(frame),
            "method": estimates.choice.method,
            "method_chosen_because": estimates.choice.reason,
            "assortment_mean": estimates.assortment_mean,
            "assortment_sd": estimates.assortment_sd,
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
def elasticity_methods(
    context: dg.AssetExecutionContext, settings: SettingsResource, sales_panel: Panel
) -> pd.DataFrame:
    """All estimators side by side: pooled mean, error, first-stage F, and why one was chosen."""
    frame = methods_table(sales_panel, settings=settings.settings())
    context.add_output_metadata({**table_metadata(frame), "methods": records_metadata(frame)})
    return frame


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"parquet", "numpy"}, code_version="1")
def elasticity_sensitivity(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    sales_panel: Panel,
    own_price_elasticity: pd.DataFrame,
) -> pd.DataFrame:
    """Placebo by future prices, robustness to an unseen confounder, stability over time."""
    regression = default_regression(sales_panel, settings=settings.settings())
    frame = sensitivity_table(regression, drift=float(own_price_elasticity["drift_sd"].mean()))
    context.add_output_metadata({**table_metadata(frame), "tests": records_metadata(frame)})
    return frame


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"parquet", "numpy"}, code_version="1")
def segment_elasticity(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    sales_panel: Panel,
    sales: pd.DataFrame,
    stores: pd.DataFrame,
    own_price_elasticity: pd.DataFrame,
) -> pd.DataFrame:
    """Posterior by segment of customers or of stores, pooled towards the whole; may be empty."""
    frame = segment_elasticities(
        sales_panel,
        sales=sales,
        stores=stores,
        elasticities=own_price_elasticity,
        settings=settings.settings(),
    )
    context.add_output_metadata(table_metadata(frame))
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
    asset="elasticity_sensitivity",
    description="Future prices move no demand, the slope is stable, and a weak unseen cause "
    "could not undo it.",
)
def elasticities_are_robust(elasticity_sensitivity: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of sensitivity tests that call for caution; it warns and stops nothing."""
    failed = elasticity_sensitivity.loc[~elasticity_sensitivity["passed"].astype(bool), "test"]
    return dg.AssetCheckResult(
        passed=failed.empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            **check_metadata(value=len(failed), threshold=0),
            "failed": ", ".join(failed) or "nothing",
        },
    )


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
