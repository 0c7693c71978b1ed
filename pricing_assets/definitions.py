"""The stages in flow order, and what they are connected to: the one object that Dagster loads.

raw_tables → features → demand_forecast → elasticity → price_table → evaluation → registration →
publication. Belongs here: wiring. The environment is read when ``build_definitions`` is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg

from pricing_assets import automation, drift_automation, shard_automation, stream_automation
from pricing_assets.assets import (
    elasticity,
    evaluation,
    explanation,
    features,
    forecast,
    history,
    impact,
    lineage,
    model_documents,
    monitoring,
    off_policy,
    online_features,
    price_shards,
    price_table,
    publication,
    raw,
    registration,
    streaming,
    tuning,
)
from pricing_assets.core.scale_parameters import OrchestrationParameters
from pricing_assets.progress import PROGRESS, progress_logger
from resources.checkpoints import CheckpointResource
from resources.feature_store import FeatureStoreResource
from resources.monitoring import MonitoringResource
from resources.parquet_io import ParquetIOManager
from resources.price_shards import PriceShardsResource
from resources.price_store import PriceStoreResource
from resources.raw_table_cache import CachedRawTables
from resources.settings import SettingsResource
from resources.streams.landed_events import LandedEventsResource
from resources.tracking import TrackingResource
from resources.tuning_store import TuningStoreResource
from serving.home import Home, load_settings, read_environment

STAGES = (
    raw,
    features,
    online_features,
    streaming,
    tuning,
    forecast,
    elasticity,
    price_table,
    price_shards,
    explanation,
    evaluation,
    impact,
    monitoring,
    off_policy,
    model_documents,
    registration,
    lineage,
    history,
    publication,
)
DEFAULT_DATA = "data"


def build_definitions(*, resource_overrides: Mapping[str, object] | None = None) -> dg.Definitions:
    """The definitions of the home that the environment names now.

    Args:
        resource_overrides: resources by name, put in place of the home's own (in tests, or to
            keep assets and tracking elsewhere).

    Raises:
        InputError: the configuration file that PRICING_CONFIG names is wrong.
    """
    settings = load_settings()
    assets = dg.load_assets_from_modules(list(STAGES))
    checks = dg.load_asset_checks_from_modules(list(STAGES))
    return dg.Definitions(
        assets=assets,
        asset_checks=checks,
        resources={**_resources(), **(resource_overrides or {})},
        executor=_executor(settings.orchestration),
        jobs=[*automation.JOBS, *stream_automation.JOBS],
        schedules=[*automation.SCHEDULES, *drift_automation.SCHEDULES],
        sensors=[
            *automation.SENSORS,
            *drift_automation.SENSORS,
            *shard_automation.SENSORS,
            *stream_automation.SENSORS,
        ],
        loggers={"console": dg.colored_console_logger, PROGRESS: progress_logger},
    )


def _resources() -> dict[str, Any]:
    environment, home, settings = read_environment(), Home.at(), load_settings()
    return {
        "settings": SettingsResource.of(settings),
        "raw_tables": CachedRawTables(
            root=environment.data or DEFAULT_DATA,
            streams=settings.streaming.folder or str(home.streams / "events"),
        ),
        "landed_events": LandedEventsResource.of(
            settings.streaming,
            folder=str(home.streams / "events"),
            redis_url=environment.redis_url or "",
        ),
        "io_manager": ParquetIOManager(base=str(home.assets)),
        "tracking": TrackingResource(
            tracking_uri=f"sqlite:///{home.mlflow_database}",
            artifact_location=home.mlflow_artifacts.as_uri(),
        ),
        "checkpoints": CheckpointResource(root=str(home.checkpoints)),
        "tuning_store": TuningStoreResource(root=str(home.tuning)),
        "price_shards": PriceShardsResource(root=settings.orchestration.shards or str(home.shards)),
        "feature_store": FeatureStoreResource(url=environment.redis_url or ""),
        "monitoring": MonitoringResource(
            assets=str(home.assets), reports=str(home.reports), audit=str(home.audit)
        ),
        "price_store": PriceStoreResource(root=str(home.tables), reports=str(home.reports)),
    }


def _executor(orchestration: OrchestrationParameters) -> dg.ExecutorDefinition:
    if orchestration.executor == "in_process":
        return dg.in_process_executor
    if orchestration.executor == "celery":
        from resources import celery_steps

        return celery_steps.executor(orchestration)
    return dg.multiprocess_executor.configured({"max_concurrent": orchestration.max_concurrent})


defs = build_definitions()
