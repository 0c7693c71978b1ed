"""The price table: one price for each product and store inside its guard rails.

Belongs here: the assets of the group ``price_table`` and their checks. The optimizer is
``core.price_table``, the rules ``core.guardrails`` and the modules that it names.
"""

from datetime import UTC, datetime

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.features import future_plan
from pricing_assets.core.panel import Panel
from pricing_assets.core.panel_facts import panel_facts, with_price_history
from pricing_assets.core.price_reasons import rule_counts
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.promotion import violations
from resources.asset_metadata import (
    Metadata,
    check_metadata,
    histogram,
    records_metadata,
    table_metadata,
)
from resources.price_store import PriceStoreResource
from resources.settings import SettingsResource
from serving.price_history import day_reference

_SHOWN = ["product_id", "store_id", "current_price", "recommended_price", "decision"]
_NUMBERS = ["expected_units", "expected_revenue"]


@dg.asset(group_name="price_table", owners=["team:pricing"], kinds={"parquet"}, code_version="1")
def price_facts(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    price_store: PriceStoreResource,
    sales_panel: Panel,
    planned_prices: pd.DataFrame,
    calendar: pd.DataFrame,
) -> pd.DataFrame:
    """What guard rails and optimizer know of each product now: the day's reference among it."""
    chosen, store = settings.settings(), price_store.store()
    tables = {"planned_prices": planned_prices, "calendar": calendar}
    facts = panel_facts(
        sales_panel,
        prior_price_days=chosen.guardrails.prior_price_days,
        promo_next=future_plan(sales_panel, tables, settings=chosen).promo[:, 0] > 0,
    )
    reference, freeze = day_reference(store, now=datetime.now(UTC)), store.frozen()
    frame = with_price_history(
        facts,
        reference=reference.prices.to_pandas(),
        frozen=freeze.products,
        everything_frozen=freeze.everything,
    )
    counts = {f"rows_{name}": int(frame[name].sum()) for name in ("promoted", "frozen")}
    known = {"rows_with_a_reference": int(frame["reference_price_24h"].notna().sum())}
    seen = {"reference_of_the_day": reference.note, **known, **counts}
    context.add_output_metadata({**table_metadata(frame), **seen})
    return frame


@dg.asset(
    group_name="price_table",
    owners=["team:pricing"],
    kinds={"parquet", "numpy"},
    code_version="2",
)
def price_table(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    demand_curves: pd.DataFrame,
    price_facts: pd.DataFrame,
) -> pd.DataFrame:
    """Proposed prices with expected profit, its interval, the risk and the reasons."""
    frame = build_price_table(demand_curves, panel_facts=price_facts, settings=settings.settings())
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
    rules = rule_counts(frame["reasons"])
    return {
        "rules": records_metadata(rules),
        "rules_relaxed": int(rules.loc[rules["rule"].str.endswith("_relaxed"), "rows"].sum()),
        **{f"decision_{name}": int(count) for name, count in decisions.items()},
        "expected_profit": float(frame["expected_profit"].sum()),
        "expected_profit_at_current": float(frame["expected_profit_at_current"].sum()),
        "largest_uplifts": records_metadata(largest[[*_SHOWN, "change", "profit_uplift"]]),
        "changes": histogram(change, title="Relative price change", x_label="change"),
    }
