"""Explanation: what drives each price and each forecast, in numbers and in words.

Belongs here: the assets ``price_drivers`` and ``forecast_drivers`` of the group ``evaluation``.
Taking apart is ``core.evaluation.price_drivers`` and ``core.forecast.explanation``.
"""

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.evaluation.price_drivers import price_drivers as drivers_of
from pricing_assets.core.features import future_plan
from pricing_assets.core.forecast.explanation import DRIVERS, explain_forecast
from pricing_assets.core.forecast.failover import load_failover
from pricing_assets.core.forecast.interface import FittedForecaster
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.portfolio import with_multipliers
from resources.asset_metadata import Metadata, bar_plot, check_metadata, table_metadata
from resources.settings import SettingsResource

_SUM_TOLERANCE = 1e-6


@dg.asset(group_name="evaluation", owners=["team:pricing"], kinds={"parquet"}, code_version="1")
def price_drivers(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    price_table: pd.DataFrame,
    portfolio_goals: pd.DataFrame,
    demand_curves: pd.DataFrame,
    own_price_elasticity: pd.DataFrame,
    price_facts: pd.DataFrame,
) -> pd.DataFrame:
    """Why each price: its elasticity and source, gain by part, binding rail and its cost."""
    frame = drivers_of(
        price_table,
        curve_frame=demand_curves,
        panel_facts=price_facts,
        elasticities=own_price_elasticity,
        settings=with_multipliers(settings.settings(), portfolio_goals),
    )
    context.add_output_metadata({**table_metadata(frame), **_metadata(frame)})
    return frame


@dg.asset(
    group_name="evaluation",
    owners=["team:data-science"],
    kinds={"parquet", "lightgbm"},
    code_version="1",
)
def forecast_drivers(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    sales_panel: Panel,
    demand_model: ModelBundle,
    planned_prices: pd.DataFrame,
    calendar: pd.DataFrame,
    price_table: pd.DataFrame,
) -> pd.DataFrame:
    """What drives the forecast of the products whose price change matters most, in units."""
    chosen = settings.settings()
    tables = {"planned_prices": planned_prices, "calendar": calendar}
    plan = future_plan(sales_panel, tables, settings=chosen)
    series = _foremost(price_table, sales_panel, count=chosen.forecast.explained_series)
    fitted = _answering(demand_model, sales_panel, plan)
    found = explain_forecast(fitted, sales_panel, plan, series=series)
    frame = found.to_frame(sales_panel.series)
    sizes = frame[list(DRIVERS)].abs().sum()
    plot = bar_plot(
        {DRIVERS[name]: float(sizes[name]) for name in DRIVERS},
        title="Size of each driver's effect, added up over products",
        y_label="units",
    )
    context.add_output_metadata({**table_metadata(frame), "how": found.note, "plot": plot})
    return frame


@dg.asset_check(
    asset="price_drivers",
    description="The parts of every price's gain in profit add up to the price table's uplift.",
)
def drivers_add_up(price_drivers: pd.DataFrame) -> dg.AssetCheckResult:
    """Largest difference, as a share of the largest uplift; other objectives are not compared."""
    about_profit = price_drivers[price_drivers["objective"] == "profit"]
    gap = (about_profit["gain"] - about_profit["profit_change"]).abs().max()
    scale = max(float(np.nan_to_num(about_profit["profit_change"].abs().max())), 1.0)
    value = float(np.nan_to_num(gap)) / scale
    return dg.AssetCheckResult(
        passed=value <= _SUM_TOLERANCE,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=check_metadata(value=value, threshold=_SUM_TOLERANCE),
    )


def _answering(model: ModelBundle, panel: Panel, plan: FuturePlan) -> FittedForecaster:
    """The forecaster of the failover order that answers this plan."""
    failover = load_failover(model)
    answered = failover.answer(panel, plan).rung
    return next(rung for rung in failover.rungs if rung.name == answered).load()


def _foremost(price_table: pd.DataFrame, panel: Panel, *, count: int) -> np.ndarray:
    """Rows of the panel by size of the expected uplift, then of the expected revenue, (n,)."""
    uplift = (price_table["expected_profit"] - price_table["expected_profit_at_current"]).abs()
    ranked = price_table.assign(size=uplift.fillna(0.0)).sort_values(
        ["size", "expected_revenue"], ascending=False, kind="stable"
    )
    keys = list(zip(panel.series["product_id"], panel.series["store_id"], strict=True))
    place = {key: number for number, key in enumerate(keys)}
    found = zip(ranked["product_id"], ranked["store_id"], strict=True)
    return np.array([place[key] for key in found if key in place][:count], dtype=np.int64)


def _metadata(frame: pd.DataFrame) -> Metadata:
    bound = frame[frame["binding_rail"] != ""].groupby("binding_rail")["rail_cost"].sum()
    costs = {f"cost_of_{name}": float(cost) for name, cost in bound.items()}
    parts = ("gain_from_price", "gain_from_units", "gain_from_substitutes", "gain")
    return {
        **{name: float(frame[name].sum()) for name in parts},
        **costs,
        "mean_own_data_weight": float(frame["own_data_weight"].mean()),
    }
