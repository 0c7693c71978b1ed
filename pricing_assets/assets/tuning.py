"""Forecast parameters: a search now and then, whose outcome later runs of the home take.

Belongs here: the asset and its check. Search, confirmation and importances are
``core.forecast.tuning``; the study and the verdict lie with ``resources.tuning_store``.
"""

import dagster as dg
import pandas as pd

from pricing_assets.core.forecast.tuned import TunedForecast
from pricing_assets.core.forecast.tuning import (
    TrialResult,
    Verdict,
    importances,
    judge,
    tuning_problem,
)
from pricing_assets.core.panel import Panel
from resources.asset_metadata import check_metadata, png_metadata, table_metadata
from resources.settings import SettingsResource
from resources.tracking import TrackedRun, TrackingResource
from resources.tuning_plots import history_plot, importance_plot
from resources.tuning_store import FinishedSearch, TuningStoreResource


@dg.asset(
    group_name="demand_forecast",
    owners=["team:data-science"],
    kinds={"optuna", "parquet"},
    code_version="1",
)
def tuned_forecast_parameters(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    tracking: TrackingResource,
    tuning_store: TuningStoreResource,
    sales_panel: Panel,
) -> pd.DataFrame:
    """Every trial of the search; later runs use the best if it beats the defaults beyond noise."""
    problem = tuning_problem(sales_panel, settings=settings.settings())
    search = tuning_store.search(problem, progress=context.log.info)
    verdict = judge(problem, search.results)
    tuning_store.save(
        TunedForecast.of(
            verdict, study=search.study, tuner=search.tuner, trials=len(search.results)
        )
    )
    plots = {
        "optimization_history.png": history_plot(search.results),
        "parameter_importances.png": importance_plot(importances(search.results)),
    }
    _track(tracking.run(), search, verdict, plots)
    frame = _trials_frame(search.results)
    context.add_output_metadata(
        {
            **table_metadata(frame),
            "accepted": verdict.accepted,
            "reason": verdict.reason,
            "best": dg.MetadataValue.json(verdict.parameters),
            **{name.removesuffix(".png"): png_metadata(png) for name, png in plots.items()},
        }
    )
    return frame


@dg.asset_check(
    asset="tuned_forecast_parameters",
    blocking=True,
    description="At least one trial reached its last origin.",
)
def search_has_finished_trials(tuned_forecast_parameters: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of the trials that were not stopped early."""
    count = int((~tuned_forecast_parameters["pruned"]).sum())
    return dg.AssetCheckResult(passed=count > 0, metadata=check_metadata(value=count, threshold=1))


def _trials_frame(results: tuple[TrialResult, ...]) -> pd.DataFrame:
    """One row a trial: its number, loss, whether it was stopped early, and its parameters."""
    return pd.DataFrame(
        [
            {"trial": number, "wape": result.loss, "pruned": result.pruned, **result.parameters}
            for number, result in enumerate(results, start=1)
        ]
    )


def _track(
    run: TrackedRun, search: FinishedSearch, verdict: Verdict, plots: dict[str, bytes]
) -> None:
    """Best parameters, losses and plots, in MLflow."""
    losses = {"default": verdict.default_losses, "best": verdict.best_losses}
    run.log(
        params={
            "tuning.study": search.study,
            "tuning.tuner": search.tuner,
            "tuning.accepted": verdict.accepted,
            **{f"tuning.best.{name}": value for name, value in verdict.parameters.items()},
        },
        metrics={
            f"tuning.wape.{name}": sum(values) / len(values)
            for name, values in losses.items()
            if values
        },
    )
    run.log_files(plots, folder="tuning")
