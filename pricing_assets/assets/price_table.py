"""The price table: one price for each product and store inside its guard rails.

Belongs here: the asset of the group ``price_table`` and its checks. The optimizer is
``core.price_table``, the rules ``core.guardrails``.
"""

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.panel import Panel
from pricing_assets.core.panel_facts import panel_facts
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.promotion import violations
from resources.asset_metadata import (
    Metadata,
    check_metadata,
    histogram,
    records_metadata,
    table_metadata,
)
from resources.settings import SettingsResource

_SHOWN = ["product_id", "store_id", "current_price", "recommended_price", "decision"]
_NUMBERS = ["expected_units", "expected_revenue"]


@dg.asset(
    group_name="price_table",
    owners=["team:pricing"],
    kinds={"parquet", "numpy"},
    code_version="1",
)
def price_table(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    demand_curves: pd.DataFrame,
    sales_panel: Panel,
) -> pd.DataFrame:
    """Proposed prices with expected profit, its interval, the risk and the reasons."""
    facts = panel_facts(sales_panel)
    frame = build_price_table(demand_curves, panel_facts=facts, settings=settings.settings())
    context.add_output_metadata({**table_metadata(frame), **_metadata(frame)})
    return frame


@dg.asset_check(
    asset="price_table",
    blocking=True,
    description="Every recommended price is inside its floor and ceiling.",
)
def prices_obey_guard_rails(price_table: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of prices outside their guard rails."""
    count = violations(price_table)
    return dg.AssetCheckResult(passed=count == 0, metadata=check_metadata(value=count, threshold=0))


@dg.asset_check(
    asset="price_table",
    blocking=True,
    description="Every product that has a current price has a finite price and expectation.",
)
def price_table_is_complete(price_table: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of rows with a price where a number that must be there is missing."""
    priced = price_table[price_table["recommended_price"].notna()]
    values = priced[["recommended_price", "price_floor", *_NUMBERS]].to_numpy(dtype=np.float64)
    broken = int((~np.isfinite(values)).any(axis=1).sum())
    passed = broken == 0 and len(priced) > 0
    return dg.AssetCheckResult(
        passed=passed,
        metadata={**check_metadata(value=broken, threshold=0), "priced_rows": len(priced)},
    )


def _metadata(frame: pd.DataFrame) -> Metadata:
    change = (frame["recommended_price"] / frame["current_price"] - 1).to_numpy(dtype=np.float64)
    uplift = frame["expected_profit"] - frame["expected_profit_at_current"]
    largest = frame.assign(change=change, profit_uplift=uplift).nlargest(10, "profit_uplift")
    decisions = frame["decision"].value_counts()
    return {
        **{f"decision_{name}": int(count) for name, count in decisions.items()},
        "expected_profit": float(frame["expected_profit"].sum()),
        "expected_profit_at_current": float(frame["expected_profit_at_current"].sum()),
        "largest_uplifts": records_metadata(largest[[*_SHOWN, "change", "profit_uplift"]]),
        "changes": histogram(change, title="Relative price change", x_label="change"),
    }
