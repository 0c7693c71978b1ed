"""Registration: the run's evidence in MLflow, and the model as champion or challenger.

Belongs here: the assets of the group ``registration`` and the gates that stand before publication.
Conditions are ``core.promotion`` and ``core.promotion_evidence``, the registry
``resources.registry``.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pandas as pd

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.evaluation.fairness import personal_features
from pricing_assets.core.evaluation.off_policy import GATE_ESTIMATOR
from pricing_assets.core.evaluation.report_page import evaluation_html
from pricing_assets.core.evaluation.skill import error_over_floor, skill
from pricing_assets.core.forecast.baselines import BASELINES
from pricing_assets.core.forecast.design import feature_names
from pricing_assets.core.promotion import (
    CHALLENGER,
    CHAMPION,
    Gate,
    gate_report,
    gate_sentence,
)
from pricing_assets.core.promotion import promotion_gates as table_gates
from pricing_assets.core.promotion_evidence import (
    GATES,
    DataEvidence,
    accuracy_gates,
    data_gates,
    fairness_gates,
    known,
    off_policy_gate,
)
from pricing_assets.core.settings import GateParameters, PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS, ONLINE_FEATURES
from resources.asset_metadata import Metadata, check_metadata, records_metadata
from resources.monitoring import MonitoringResource
from resources.registry import RegisteredVersion, point_alias, register_bundle
from resources.settings import SettingsResource
from resources.stored_values import frame_to_parquet
from resources.tracking import TrackedRun, TrackingResource

OWNERS = ["team:data-science"]


@dg.asset(group_name="evaluation", owners=OWNERS, kinds={"json"}, code_version="1")
def promotion_gates(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    data_snapshot: dict[str, Any],
    drift_report: dict[str, Any],
    forecast_backtest: pd.DataFrame,
    forecast_errors: pd.DataFrame,
    price_facts: pd.DataFrame,
    price_table: pd.DataFrame,
    price_fairness: pd.DataFrame,
    off_policy_evaluation: pd.DataFrame,
) -> dict[str, Any]:
    """Every gate of promotion: what was measured, what it must be, and why."""
    chosen, now = settings.settings(), datetime.now(UTC)
    evidence = _data_evidence(
        data_snapshot,
        drift_report,
        columns=list(price_facts.columns),
        model_age_days=_model_age_days(context, now=now),
        now=now,
    )
    gates = (
        *data_gates(evidence, parameters=chosen.gate),
        *table_gates(
            backtest=forecast_backtest,
            price_table=price_table,
            baselines=tuple(BASELINES),
            parameters=chosen.gate,
        ),
        *_accuracy(forecast_backtest, forecast_errors, settings=chosen),
        *_policy_gates(price_fairness, off_policy_evaluation, parameters=chosen.gate),
    )
    listed = [gate.as_json() for gate in gates]
    context.add_output_metadata({"gates": records_metadata(pd.DataFrame(listed))})
    return {"generated_at": now.isoformat(timespec="seconds"), "checks": listed}


@dg.asset(group_name="registration", owners=OWNERS, kinds={"mlflow"}, code_version="2")
def registered_model(
    context: dg.AssetExecutionContext,
    tracking: TrackingResource,
    monitoring: MonitoringResource,
    demand_model: ModelBundle,
    model_documents: ModelBundle,
    demand_curves: pd.DataFrame,
    evaluation_report: dict[str, Any],
    promotion_gates: dict[str, Any],
) -> dict[str, Any]:
    """A version of ``pricing-demand``: champion if every gate holds, else challenger."""
    gates, run = promotion_gates["checks"], tracking.run()
    run.log(params={}, metrics=metrics_of(evaluation_report))
    run.log_files(
        _evidence(evaluation_report, demand_curves, title=f"Run {context.run_id}"),
        folder="evidence",
    )
    run.log_files({"promotion_gates.json": _json(promotion_gates)}, folder="evidence")
    version = register_bundle(run, demand_model, page=tracking.page, documents=model_documents)
    alias = CHAMPION if all(gate["passed"] for gate in gates) else CHALLENGER
    point_alias(run, version, alias=alias)
    report = gate_report(promotion_gates, version=version.version, alias=alias)
    monitoring.write_report("gate", report)
    context.add_output_metadata(_metadata(run, version, alias=alias, gates=gates))
    return {
        "name": version.name,
        "version": version.version,
        "alias": alias,
        "mlflow_run_id": run.run_id,
        "gates": gates,
    }


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(
            name,
            asset="registered_model",
            blocking=True,
            description="A gate of promotion; else nothing is published and the champion serves.",
        )
        for name in GATES
    ]
)
def promotion_gate(registered_model: dict[str, Any]) -> Iterator[dg.AssetCheckResult]:
    """Each gate's value and threshold; the version stays challenger where one fails."""
    for gate in registered_model["gates"]:
        value, threshold = (
            "unknown" if gate[part] is None else gate[part] for part in ("value", "threshold")
        )
        yield dg.AssetCheckResult(
            check_name=gate["name"],
            passed=gate["passed"],
            description=gate_sentence(gate),
            metadata={
                **check_metadata(value=value, threshold=threshold),
                "must_be": gate["bound"],
                "why": gate["why"],
            },
        )


@dg.asset_check(
    asset="price_table",
    blocking=True,
    description="The demand model behind the prices is not too old; train it anew where it is.",
)
def model_is_fresh(
    context: dg.AssetCheckExecutionContext, price_table: pd.DataFrame, settings: SettingsResource
) -> dg.AssetCheckResult:
    """Days since the demand model was trained; prices are made again hourly, models are not."""
    age = _model_age_days(context, now=datetime.now(UTC))
    limit = settings.settings().gate.max_model_age_days
    return dg.AssetCheckResult(
        passed=age <= limit,
        metadata={**check_metadata(value=age, threshold=limit), "rows": len(price_table)},
    )


def _model_age_days(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, *, now: datetime
) -> float:
    """Days since the demand model was stored; 0 where the instance does not know it."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey("demand_model"))
    return 0.0 if event is None else max(now.timestamp() - event.timestamp, 0.0) / 86_400


def _data_evidence(
    snapshot: dict[str, Any],
    drift: dict[str, Any],
    *,
    columns: list[str],
    model_age_days: float,
    now: datetime,
) -> DataEvidence:
    until = datetime.fromisoformat(snapshot["data_until"])
    features = (*feature_names(), *DEMAND_CURVE_COLUMNS, *ONLINE_FEATURES, *columns)
    names = tuple(dict.fromkeys(features))
    return DataEvidence(
        quarantined={name: table["share"] for name, table in snapshot["tables"].items()},
        unpriced=drift["unpriced_share"],
        level_shifts={one["feature"]: known(one["level_shift"]) for one in drift["features"]},
        leaks={name: known(value) for name, value in drift["leaks"].items()},
        features=names,
        personal=personal_features(names),
        model_age_days=model_age_days,
        data_age_days=(now - until).total_seconds() / 86_400,
    )


def _policy_gates(
    fairness: pd.DataFrame, off_policy: pd.DataFrame, *, parameters: GateParameters
) -> tuple[Gate, ...]:
    """The gates of what the new prices do to buyers, and bring by the logged prices."""
    logged = off_policy_gate(off_policy, estimator=GATE_ESTIMATOR, parameters=parameters)
    return (*fairness_gates(fairness, parameters=parameters), logged)


def _accuracy(
    backtest: pd.DataFrame, errors: pd.DataFrame, *, settings: PricingSettings
) -> tuple[Gate, ...]:
    """The gates of the chosen model's held-out errors by series."""
    model = str(backtest.loc[backtest["chosen"], "model"].iloc[0])
    found = skill(errors, model=model, baselines=tuple(BASELINES), seed=settings.seed)
    return accuracy_gates(
        found,
        error_over_floor=error_over_floor(errors, model=model, baseline=found.baseline),
        model_is_baseline=model in BASELINES,
        parameters=settings.gate,
    )


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, indent=1, allow_nan=False).encode()


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
    run: TrackedRun, version: RegisteredVersion, *, alias: str, gates: list[dict[str, Any]]
) -> Metadata:
    return {
        "mlflow_run_id": run.run_id,
        "mlflow_run": dg.MetadataValue.url(run.url),
        "model_version": version.version,
        "model_page": dg.MetadataValue.url(version.url),
        "alias": alias,
        "gates": records_metadata(pd.DataFrame(gates)),
    }
