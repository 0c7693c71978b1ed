"""Lineage: from which rows, features and model the prices come, on record and on every page.

Belongs here: the asset ``model_lineage`` of the group ``registration``. Hashes are
``core.lineage``; walking the record is ``pricing_assets.lineage_walk``.
"""

import hashlib
import json
from typing import Any

import dagster as dg
import pandas as pd

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.lineage import panel_version
from pricing_assets.core.panel import Panel
from resources.asset_metadata import records_metadata
from resources.price_store import PriceStoreResource
from resources.stored_values import frame_to_parquet
from resources.tracking import TrackedRun, TrackingResource
from serving.lineage_record import LineageRecord, record_name


@dg.asset(
    group_name="registration",
    owners=["team:data-engineering"],
    kinds={"json"},
    code_version="1",
)
def model_lineage(
    context: dg.AssetExecutionContext,
    tracking: TrackingResource,
    price_store: PriceStoreResource,
    data_snapshot: dict[str, Any],
    sales_panel: Panel,
    demand_model: ModelBundle,
    demand_curves: pd.DataFrame,
    registered_model: dict[str, Any],
) -> dict[str, Any]:
    """Data version, features, model files and curves of the registered version, by content."""
    run = tracking.run()
    record = LineageRecord(
        data_version=data_snapshot["data_version"],
        partitions=data_snapshot["partitions"],
        features_version=panel_version(sales_panel),
        model_name=registered_model["name"],
        model_version=registered_model["version"],
        model_alias=registered_model["alias"],
        model_sha256=_model_sha256(demand_model),
        curves_version=hashlib.sha256(frame_to_parquet(demand_curves)).hexdigest()[:16],
        mlflow_run_id=run.run_id,
        dagster_run_id=context.run_id,
    )
    path = price_store.write_report(record_name(record.model_version), _json(record))
    _tag(context, run, record)
    context.add_output_metadata(
        {
            **record.versions(),
            "record": dg.MetadataValue.path(str(path)),
            "mlflow_run": dg.MetadataValue.url(run.url),
            "report": dg.MetadataValue.path(f"{price_store.reports}/{context.run_id}.html"),
            "parts": records_metadata(_parts(record)),
        }
    )
    return dict(record.model_dump(mode="json"))


def _json(record: LineageRecord) -> bytes:
    return record.model_dump_json(indent=1).encode()


def _tag(context: dg.AssetExecutionContext, run: TrackedRun, record: LineageRecord) -> None:
    """The versions as tags of the MLflow run, of the model version and of the Dagster run."""
    versions = record.versions()
    for name, value in versions.items():
        run.client.set_tag(run.run_id, name, value)
        run.client.set_model_version_tag(record.model_name, record.model_version, name, value)
    tags = {f"pricing/{name}": value for name, value in versions.items() if "run_id" not in name}
    context.instance.add_run_tags(context.run_id, tags)


def _model_sha256(bundle: ModelBundle) -> str:
    """One hash over the manifest of the model's files."""
    return hashlib.sha256(json.dumps(bundle.manifest(), sort_keys=True).encode()).hexdigest()


def _parts(record: LineageRecord) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {"table": table, "parts": len(parts), "first": min(parts), "last": max(parts)}
            for table, parts in record.partitions.items()
        ]
    )
