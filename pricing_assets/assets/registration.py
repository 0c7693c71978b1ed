"""Registration: the run's evidence in MLflow, and the model as champion or challenger.

Belongs here: the asset of the group ``registration`` and the gate that stands before publication.
Conditions are ``core.promotion``, the registry ``resources.registry``.
"""

import json
import re
from typing import Any

import dagster as dg
import pandas as pd

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.evaluation.report_page import evaluation_html
from pricing_assets.core.forecast.baselines import BASELINES
from pricing_assets.core.promotion import CHALLENGER, CHAMPION, Gate, all_passed, promotion_gates
from resources.asset_metadata import Metadata, records_metadata
from resources.registry import RegisteredVersion, point_alias, register_bundle
from resources.settings import SettingsResource
from resources.stored_values import frame_to_parquet
from resources.tracking import TrackedRun, TrackingResource


@dg.asset(
    group_name="registration",
    owners=["team:data-science"],
    kinds={"mlflow"},
    code_version="1",
)
def registered_model(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    tracking: TrackingResource,
    demand_model: ModelBundle,
    forecast_backtest: pd.DataFrame,
    demand_curves: pd.DataFrame,
    price_table: pd.DataFrame,
    evaluation_report: dict[str, Any],
) -> dict[str, Any]:
    """A version of ``pricing-demand``: champion if every gate holds, else challenger."""
    gates = promotion_gates(
        backtest=forecast_backtest,
        price_table=price_table,
        baselines=tuple(BASELINES),
        parameters=settings.settings().gate,
    )
    run = tracking.run()
    run.log(params={}, metrics=metrics_of(evaluation_report))
    run.log_files(
        _evidence(evaluation_report, demand_curves, title=f"Run {context.run_id}"),
        folder="evidence",
    )
    version = register_bundle(run, demand_model, page=tracking.page)
    alias = CHAMPION if all_passed(gates) else CHALLENGER
    point_alias(run, version, alias=alias)
    context.add_output_metadata(_metadata(run, version, alias=alias, gates=gates))
    return {
        "name": version.name,
        "version": version.version,
        "alias": alias,
        "mlflow_run_id": run.run_id,
        "gates": [gate.as_json() for gate in gates],
    }


@dg.asset_check(
    asset="registered_model",
    blocking=True,
    description="Every gate of promotion holds; else nothing is published.",
)
def promotion_gate(registered_model: dict[str, Any]) -> dg.AssetCheckResult:
    """Each gate's value and threshold; the version stays challenger where one fails."""
    gates = registered_model["gates"]
    failed = [gate["name"] for gate in gates if not gate["passed"]]
    return dg.AssetCheckResult(
        passed=not failed,
        description=f"failed: {', '.join(failed)}" if failed else "every gate holds",
        metadata={"gates": records_metadata(pd.DataFrame(gates)), **_by_gate(gates)},
    )


def _by_gate(gates: list[dict[str, Any]]) -> Metadata:
    return {
        f"{gate['name']}_{part}": "unknown" if gate[part] is None else float(gate[part])
        for gate in gates
        for part in ("value", "threshold")
    }


def metrics_of(report: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Every number of a nested report under its dotted path, in MLflow's alphabet."""
    numbers: dict[str, float] = {}
    for key, value in report.items():
        name = prefix + re.sub(r"[^\w .-]", "_", key)
        if isinstance(value, dict):
            numbers |= metrics_of(value, f"{name}.")
        elif isinstance(value, int | float):
            numbers[name] = float(value)
    return numbers


def _evidence(
    report: dict[str, Any], demand_curves: pd.DataFrame, *, title: str
) -> dict[str, bytes]:
    return {
        "evaluation_report.html": evaluation_html(report, title=title).encode(),
        "evaluation_report.json": json.dumps(report, indent=1, allow_nan=False).encode(),
        "demand_curves.parquet": frame_to_parquet(demand_curves),
    }


def _metadata(
    run: TrackedRun, version: RegisteredVersion, *, alias: str, gates: tuple[Gate, ...]
) -> Metadata:
    return {
        "mlflow_run_id": run.run_id,
        "mlflow_run": dg.MetadataValue.url(run.url),
        "model_version": version.version,
        "model_page": dg.MetadataValue.url(version.url),
        "alias": alias,
        "gates": records_metadata(pd.DataFrame([gate.as_json() for gate in gates])),
    }
