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
from pricing_assets.core.portfolio import portfolio_plan, with_multipliers
from pricing_assets.core.price_frontier import price_frontier as frontier
from pricing_assets.core.price_reasons import rule_counts
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.promotion import violations
from resources.asset_metadata import (
    Metadata,
    check_metadata,
    curve_plot,
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
    code_version="3",
)
def price_table(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    demand_curves: pd.DataFrame,
    price_facts: pd.DataFrame,
    portfolio_goals: pd.DataFrame,
) -> pd.DataFrame:
    """Proposed prices with expected profit, its interval, the risk and the reasons."""
    chosen = with_multipliers(settings.settings(), portfolio_goals)
    frame = build_price_table(demand_curves, panel_facts=price_facts, settings=chosen)
    goals = {"goals": records_metadata(portfolio_goals)}
    context.add_output_metadata({**table_metadata(frame), **_metadata(frame), **goals})
    return frame


@dg.asset(group_name="price_table", owners=["team:pricing"], kinds={"parquet"}, code_version="1")
def portfolio_goals(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    demand_curves: pd.DataFrame,
    price_facts: pd.DataFrame,
) -> pd.DataFrame:
    """Goals of the whole catalogue: asked for, attained, their multipliers, and what must yield."""
    plan = portfolio_plan(demand_curves, panel_facts=price_facts, settings=settings.settings())
    frame = plan.frame()
    context.add_output_metadata(
        {
            "goals": records_metadata(frame),
            "goals_set": len(plan.outcomes),
            "objective": plan.objective,
            "bound": plan.bound,
            "duality_gap": plan.gap,
            "searches": plan.evaluations,
        }
    )
    return frame


@dg.asset(group_name="price_table", owners=["team:pricing"], kinds={"parquet"}, code_version="1")
def price_frontier(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    demand_curves: pd.DataFrame,
    price_facts: pd.DataFrame,
    portfolio_goals: pd.DataFrame,
) -> pd.DataFrame:
    """Profit against revenue: what more of one costs in the other, under all guard rails."""
    chosen = with_multipliers(settings.settings(), portfolio_goals)
    frame = frontier(demand_curves, panel_facts=price_facts, settings=chosen)
    context.add_output_metadata({**_frontier_metadata(frame), "points": records_metadata(frame)})
    return frame


@dg.asset_check(
    asset="portfolio_goals",
    description="Every goal of the settings is met; one that had to yield is named with its clash.",
)
def goals_are_met(portfolio_goals: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of goals that the prices do not meet."""
    missed = portfolio_goals[~portfolio_goals["met"].astype(bool)]
    return dg.AssetCheckResult(
        passed=missed.empty,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            **check_metadata(value=len(missed), threshold=0),
            "missed": records_metadata(missed),
        },
    )


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


def _frontier_metadata(frame: pd.DataFrame) -> Metadata:
    points = frame.set_index("point")[["revenue", "profit"]]
    line = points[points.index == "frontier"]
    if line.empty or points.isna().any(axis=None):
        return {}
    marks = {name: tuple(points.loc[name].to_numpy(float)) for name in ("current", "chosen")}
    plot = curve_plot(
        line["revenue"].to_numpy(float),
        line["profit"].to_numpy(float),
        marks=marks,
        title="Profit against revenue over the horizon",
        x_label="revenue",
        y_label="profit",
    )
    return {"frontier": plot}


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
