"""When the market has moved: a look every night, and a new training where something drifted.

Belongs here: the schedule of the look and the sensor on what it found. The asset is
``assets.monitoring``, the limits ``core.monitoring_parameters``.
"""

import dagster as dg

from pricing_assets.automation import PIPELINE, pricing_pipeline, sync_sales_months, watch_drift
from resources.raw_table_cache import CachedRawTables
from resources.settings import SettingsResource

_WATCH = dg.AssetKey("drift_watch")
BECAUSE_TAG = "pricing/because"

nightly_watch = dg.ScheduleDefinition(
    name="nightly_watch",
    job=watch_drift,
    cron_schedule="30 1 * * *",
    execution_timezone="UTC",
    description="Drift and decay every night, before the night's run.",
)


@dg.sensor(
    job=pricing_pipeline,
    minimum_interval_seconds=300,
    description="A new training where drift or decay alarmed, with a cool-down between two.",
)
def retrain_on_drift(
    context: dg.SensorEvaluationContext,
    raw_tables: dg.ResourceParam[CachedRawTables],
    settings: dg.ResourceParam[SettingsResource],
) -> dg.RunRequest | dg.SkipReason:
    """Ask for a run of the pipeline for an alarm that is newer than the last one.

    The cool-down counts from the last run of the pipeline, whoever started it and however it
    ended, so that an alarm that training does not cure trains no more often than that.
    """
    event = context.instance.get_latest_materialization_event(_WATCH)
    if event is None or event.asset_materialization is None:
        return dg.SkipReason("drift was never looked at; run the job watch_drift")
    metadata = event.asset_materialization.metadata
    if not metadata["alarms"].value:
        return dg.SkipReason("no alarm")
    last = _last_pipeline_run(context.instance)
    if last is not None and last >= event.timestamp:
        return dg.SkipReason("the pipeline has run since the alarm")
    hours = settings.settings().monitoring.cool_down_hours
    if last is not None and event.timestamp - last < hours * 3600:
        return dg.SkipReason(f"the last run was less than {hours:g} hours before the alarm")
    names = str(metadata["alarm_names"].value)
    tags = sync_sales_months(context.instance, raw_tables, settings)
    return dg.RunRequest(run_key=f"drift:{event.timestamp}", tags={**tags, BECAUSE_TAG: names[:60]})


def _last_pipeline_run(instance: dg.DagsterInstance) -> float | None:
    """Unix seconds at which the last run of the pipeline was created; None before the first."""
    records = instance.get_run_records(filters=dg.RunsFilter(job_name=PIPELINE), limit=1)
    return records[0].create_timestamp.timestamp() if records else None


SCHEDULES = [nightly_watch]
SENSORS = [retrain_on_drift]
