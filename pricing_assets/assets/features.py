"""The panel: every product-store series by every period, built once and read by all stages.

Belongs here: the assets of the group ``features`` and their checks. Building is ``core.features``.
"""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.features import build_panel
from pricing_assets.core.panel import Panel
from pricing_assets.core.price_inputs import require_costs
from resources.asset_metadata import Metadata, check_metadata, line_plot, records_metadata
from resources.settings import SettingsResource


@dg.asset(
    group_name="features",
    owners=["team:data-engineering"],
    kinds={"parquet", "numpy"},
    code_version="1",
    deps=["quarantine"],
)
def sales_panel(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    sales: pd.DataFrame,
    products: pd.DataFrame,
    costs: pd.DataFrame,
    inventory: pd.DataFrame,
    competitor_prices: pd.DataFrame,
    calendar: pd.DataFrame,
    planned_prices: pd.DataFrame,
    stores: pd.DataFrame,
) -> Panel:
    """Dense panel of units, prices, promotions, costs, rivals and stock, censoring marked."""
    tables = {
        "sales": sales,
        "products": products,
        "costs": costs,
        "inventory": inventory,
        "competitor_prices": competitor_prices,
        "calendar": calendar,
        "planned_prices": planned_prices,
        "stores": stores,
    }
    chosen = settings.settings()
    panel = build_panel(tables, chosen)
    require_costs(panel.unit_cost, settings=chosen)
    context.add_output_metadata(_metadata(panel))
    return panel


@dg.asset_check(asset="sales_panel", blocking=True, description="There are series and sales.")
def panel_has_sales(sales_panel: Panel) -> dg.AssetCheckResult:
    """At least one series sold something in at least one period."""
    selling = int((np.nansum(sales_panel.units, axis=1) > 0).sum())
    return dg.AssetCheckResult(
        passed=selling > 0, metadata=check_metadata(value=selling, threshold=1)
    )


@dg.asset_check(
    asset="sales_panel", blocking=True, description="No price in the panel is zero or below."
)
def panel_prices_are_positive(sales_panel: Panel) -> dg.AssetCheckResult:
    """Every known price is finite and above zero."""
    known = sales_panel.price[~np.isnan(sales_panel.price)]
    wrong = int((~np.isfinite(known) | (known <= 0)).sum())
    return dg.AssetCheckResult(passed=wrong == 0, metadata=check_metadata(value=wrong, threshold=0))


def _metadata(panel: Panel) -> Metadata:
    series, periods = panel.shape
    shares: dict[str, Any] = {
        "on_sale_share": float(panel.on_sale.mean()),
        "censored_share": float(panel.censored.mean()),
        "promotion_share": float(panel.promo.mean()),
        "cost_known_share": float(np.isfinite(panel.unit_cost).mean()),
        "rival_known_share": float(np.isfinite(panel.rival_price).mean()),
    }
    return {
        "dagster/row_count": series * periods,
        "series": series,
        "periods": periods,
        "grain": panel.grain,
        **shares,
        "series_preview": records_metadata(panel.series.head(10)),
        "units_by_period": line_plot(
            panel.dates.astype("datetime64[D]").astype(object),
            {"units": np.nansum(panel.units, axis=0)},
            title="Units of all series",
            y_label="units",
        ),
    }
