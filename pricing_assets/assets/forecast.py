"""Demand forecast: walk-forward test, the chosen model, and demand over the horizon.

Belongs here: the assets of the group ``demand_forecast`` and their checks. Models and measures
are ``core.forecast``.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.evaluation.accuracy_slices import accuracy_slices
from pricing_assets.core.evaluation.calibration_table import calibration_table
from pricing_assets.core.features import future_plan
from pricing_assets.core.forecast.failover import FailoverAnswer, load_failover, train_failover
from pricing_assets.core.forecast.held_out_errors import period_residuals, series_errors
from pricing_assets.core.forecast.walk_forward import walk_forward
from pricing_assets.core.panel import Panel
from resources.asset_metadata import (
    Metadata,
    bar_plot,
    check_metadata,
    line_plot,
    records_metadata,
    table_metadata,
)
from resources.checkpoints import CheckpointResource
from resources.settings import SettingsResource
from resources.tracking import TrackingResource, flat_settings
from resources.tuning_store import TuningStoreResource

GROUP = "demand_forecast"
OWNERS = ["team:data-science"]


@dg.multi_asset(
    outs={
        "forecast_backtest": dg.AssetOut(
            description="Walk-forward accuracy of every forecaster, a row a model and origin; "
            "'chosen' marks the one that is used.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"parquet", "lightgbm"},
            code_version="1",
        ),
        "forecast_total_error": dg.AssetOut(
            description="Relative error of the horizon's total demand by series, from the test.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"parquet"},
            code_version="1",
        ),
        "forecast_errors": dg.AssetOut(
            description="Held-out absolute errors and sales of every forecaster by origin and "
            "series: the noise of its accuracy.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"parquet"},
            code_version="1",
        ),
        "forecast_residuals": dg.AssetOut(
            description="Expected and sold units of all series by forecaster and held-out period.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"parquet"},
            code_version="1",
        ),
        "forecast_slices": dg.AssetOut(
            description="Held-out accuracy of every forecaster by horizon, category, price band, "
            "price move and length of history.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"parquet"},
            code_version="1",
        ),
        "forecast_calibration": dg.AssetOut(
            description="Quantiles against the shares below them, means against means, by "
            "forecaster.",
            group_name=GROUP,
            owners=OWNERS,
            kinds={"parquet"},
            code_version="1",
        ),
    }
)
def forecast_test(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    tracking: TrackingResource,
    tuning_store: TuningStoreResource,
    sales_panel: Panel,
) -> Iterator[dg.Output[pd.DataFrame]]:
    """Test every forecaster on held-out periods that it has not seen."""
    in_use = tuning_store.in_use(settings.settings())
    chosen = in_use.settings
    test = walk_forward(sales_panel, settings=chosen, progress=context.log.info)
    model = test.winner if chosen.forecast.model == "auto" else chosen.forecast.model
    metrics = test.metrics.assign(chosen=test.metrics["model"] == model)
    tracking.run().log(params=flat_settings(chosen), metrics=_tracked(metrics))
    metadata = {**_test_metadata(metrics, model, test.reason), "parameters_from": in_use.source}
    yield dg.Output(metrics, "forecast_backtest", metadata=metadata)
    error = sales_panel.series[["product_id", "store_id"]].assign(total_cv=test.total_cv)
    yield dg.Output(error, "forecast_total_error", metadata=table_metadata(error))
    errors = series_errors(sales_panel, test.tested)
    yield dg.Output(errors, "forecast_errors", metadata=table_metadata(errors))
    residuals = period_residuals(sales_panel, test.tested)
    yield dg.Output(residuals, "forecast_residuals", metadata=table_metadata(residuals))
    slices, calibration = accuracy_slices(sales_panel, test.tested), calibration_table(test.tested)
    yield dg.Output(slices, "forecast_slices", metadata=table_metadata(slices))
    yield dg.Output(calibration, "forecast_calibration", metadata=table_metadata(calibration))


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"lightgbm"}, code_version="2")
def demand_model(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    checkpoints: CheckpointResource,
    tuning_store: TuningStoreResource,
    sales_panel: Panel,
    forecast_backtest: pd.DataFrame,
) -> ModelBundle:
    """The chosen forecaster and its fallbacks trained on every period, as native files."""
    name = str(forecast_backtest.loc[forecast_backtest["chosen"], "model"].iloc[0])
    in_use = tuning_store.in_use(settings.settings())
    checkpoint = checkpoints.of("demand_model")
    failover = train_failover(
        sales_panel,
        name=name,
        settings=in_use.settings,
        checkpoints=checkpoint,
        progress=context.log.info,
    )
    checkpoint.clear()
    bundle = failover.to_bundle()
    manifest = pd.DataFrame([{"file": file, **entry} for file, entry in bundle.manifest().items()])
    order = ", ".join(rung.name for rung in failover.rungs)
    context.add_output_metadata(
        {
            "forecaster": name,
            "failover_order": order,
            "parameters_from": in_use.source,
            "files": records_metadata(manifest),
        }
    )
    return bundle


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"parquet"}, code_version="2")
def demand_forecast(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    sales_panel: Panel,
    demand_model: ModelBundle,
    planned_prices: pd.DataFrame,
    calendar: pd.DataFrame,
) -> pd.DataFrame:
    """Quantiles and mean of demand over the horizon at planned, else current, prices."""
    tables = {"planned_prices": planned_prices, "calendar": calendar}
    plan = future_plan(sales_panel, tables, settings=settings.settings())
    answer = load_failover(demand_model).answer(sales_panel, plan)
    for refusal in answer.refusals:
        context.log.warning(f"{refusal.rung} did not answer: {refusal.reason}")
    frame = answer.forecast.to_frame(sales_panel.series)
    context.add_output_metadata(
        {**table_metadata(frame), **_answer_metadata(answer), "plot": _forecast_plot(frame)}
    )
    return frame


@dg.asset_check(
    asset="forecast_backtest",
    blocking=True,
    description="The chosen forecaster was scored: its error is a number.",
)
def backtest_is_finite(forecast_backtest: pd.DataFrame) -> dg.AssetCheckResult:
    """The mean WAPE of the chosen model is finite."""
    error = float(_overall(forecast_backtest).query("chosen")["wape"].iloc[0])
    return dg.AssetCheckResult(
        passed=bool(np.isfinite(error)), metadata=check_metadata(value=error, threshold="finite")
    )


@dg.asset_check(
    asset="demand_forecast",
    blocking=True,
    description="Every forecast is finite, not below zero, and its quantiles do not cross.",
)
def forecast_is_sound(demand_forecast: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of rows that no demand can have."""
    values = demand_forecast[["q10", "q50", "q90", "mean"]].to_numpy()
    wrong = ~np.isfinite(values).all(axis=1) | (values < 0).any(axis=1)
    wrong |= (values[:, 0] > values[:, 1] + 1e-9) | (values[:, 1] > values[:, 2] + 1e-9)
    count = int(wrong.sum())
    return dg.AssetCheckResult(passed=count == 0, metadata=check_metadata(value=count, threshold=0))


def _overall(backtest: pd.DataFrame) -> pd.DataFrame:
    return backtest[backtest["origin"] == "all"]


def _tracked(metrics: pd.DataFrame) -> dict[str, float]:
    """Mean WAPE and coverage of each model, by MLflow's metric name."""
    overall = _overall(metrics).set_index("model")[["wape", "coverage_80"]]
    values = {
        f"{measure}.{model}": float(value)
        for model, row in overall.to_dict(orient="index").items()
        for measure, value in row.items()
    }
    return {name: value for name, value in values.items() if np.isfinite(value)}


def _test_metadata(metrics: pd.DataFrame, model: str, reason: str) -> Metadata:
    overall = _overall(metrics)
    errors: dict[str, Any] = dict(zip(overall["model"], overall["wape"], strict=True))
    return {
        **table_metadata(metrics),
        "chosen": model,
        "reason": reason,
        "overall": records_metadata(overall.drop(columns="origin")),
        "wape_by_model": bar_plot(errors, title="Walk-forward WAPE", y_label="WAPE"),
    }


def _answer_metadata(answer: FailoverAnswer) -> Metadata:
    """Which rung answered, and why each one above it did not."""
    passed_over = [asdict(refusal) for refusal in answer.refusals]
    return {"answered_by": answer.rung, "passed_over": dg.MetadataValue.json(passed_over)}


def _forecast_plot(frame: pd.DataFrame) -> dg.MetadataValue[Any]:
    total = frame.groupby("date")["mean"].sum()
    return line_plot(
        total.index.to_numpy(),
        {"expected units": total.to_numpy()},
        title="Expected units of all series at planned or current prices",
        y_label="units",
    )
