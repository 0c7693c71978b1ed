"""When things run: jobs, schedules and sensors.

Belongs here: what starts a run and with which partitions. The stages are ``assets``.
"""

import dagster as dg

from pricing_assets.assets.raw import SALES_MONTHS, month_of
from resources.raw_table_cache import CachedRawTables, fingerprint
from resources.settings import SettingsResource

_RANGE_START = "dagster/asset_partition_range_start"
_RANGE_END = "dagster/asset_partition_range_end"

PIPELINE = "pricing_pipeline"
PRICE_UPDATE = "price_update"
TUNE_FORECAST = "tune_forecast"
WATCH_DRIFT = "watch_drift"

PRICE_SHARDS = "price_shards"

_TUNED = dg.AssetSelection.assets("tuned_forecast_parameters")
_SHARDED = dg.AssetSelection.groups("price_shards")
_WATCHED = dg.AssetSelection.assets("drift_watch")
_STREAMED = dg.AssetSelection.assets("stream_day")

ONE_AT_A_TIME = {"pricing/one_at_a_time": "home"}
"""Tag of runs that write the home's assets; where many runs go at once, these go one by one."""

pricing_pipeline = dg.define_asset_job(
    PIPELINE,
    tags=ONE_AT_A_TIME,
    selection=dg.AssetSelection.all() - _TUNED - _SHARDED - _WATCHED - _STREAMED,
    description="From raw tables to the published price table, in one run.",
)
price_update = dg.define_asset_job(
    PRICE_UPDATE,
    tags=ONE_AT_A_TIME,
    selection=dg.AssetSelection.assets(
        "price_facts",
        "portfolio_goals",
        "price_table",
        "price_frontier",
        "price_drivers",
        "published_price_table",
    ),
    description="Prices again from the demand curves as they are: new rules, no new model.",
)
tune_forecast = dg.define_asset_job(
    TUNE_FORECAST,
    tags=ONE_AT_A_TIME,
    selection=_TUNED.upstream().required_multi_asset_neighbors(),
    description="From raw tables to forecast parameters that beat the defaults, for later runs.",
)
watch_drift = dg.define_asset_job(
    WATCH_DRIFT,
    selection=_WATCHED,
    description="Drift and decay on the raw tables as they are now; no price is made.",
)
price_shards = dg.define_asset_job(
    PRICE_SHARDS,
    selection=_SHARDED,
    description="Prices of a catalogue too large for one step, shard by shard.",
)


def sync_sales_months(
    instance: dg.DagsterInstance, raw_tables: CachedRawTables, settings: SettingsResource
) -> dict[str, str]:
    """Make the partitions of ``sales`` exactly the months of the data, and name them all.

    A range of dynamic partitions runs in the order in which they were added, so months that
    come before known ones make the list be written anew. The tags make one run materialize the
    whole range beside the assets that have no partitions.

    Returns:
        The tags of a run over every month.

    Raises:
        InputError: the raw tables are absent or wrong.
    """
    rows = raw_tables.read(settings.settings())["sales"].accepted
    months = sorted(month_of(rows).unique().tolist())
    name = SALES_MONTHS.name
    assert name is not None
    known = list(instance.get_dynamic_partitions(name))
    if known != months:
        for month in known:
            instance.delete_dynamic_partition(name, month)
        instance.add_dynamic_partitions(name, months)
    return {_RANGE_START: months[0], _RANGE_END: months[-1]}


@dg.schedule(
    job=pricing_pipeline,
    cron_schedule="0 3 * * *",
    execution_timezone="UTC",
    description="The whole graph every night.",
)
def nightly(
    context: dg.ScheduleEvaluationContext,
    raw_tables: dg.ResourceParam[CachedRawTables],
    settings: dg.ResourceParam[SettingsResource],
) -> dg.RunRequest:
    """A run over every month of the data as it is tonight."""
    return dg.RunRequest(tags=sync_sales_months(context.instance, raw_tables, settings))


@dg.schedule(
    job=tune_forecast,
    cron_schedule="0 5 * * 0",
    execution_timezone="UTC",
    description="A search for forecast parameters every Sunday.",
)
def weekly_tuning(
    context: dg.ScheduleEvaluationContext,
    raw_tables: dg.ResourceParam[CachedRawTables],
    settings: dg.ResourceParam[SettingsResource],
) -> dg.RunRequest:
    """A search on every month of the data as it is now."""
    return dg.RunRequest(tags=sync_sales_months(context.instance, raw_tables, settings))


hourly_price_update = dg.ScheduleDefinition(
    name="hourly_price_update",
    job=price_update,
    cron_schedule="15 * * * *",
    execution_timezone="UTC",
    description="Prices again every hour from the demand curves as they are.",
)


@dg.sensor(
    job=pricing_pipeline,
    minimum_interval_seconds=60,
    description="A run when a raw table has been written: names, sizes and times of the files.",
)
def new_raw_data(
    context: dg.SensorEvaluationContext,
    raw_tables: dg.ResourceParam[CachedRawTables],
    settings: dg.ResourceParam[SettingsResource],
) -> dg.RunRequest | dg.SkipReason:
    """Compare the folder with the cursor; a folder seen before starts nothing."""
    seen = fingerprint(raw_tables.root)
    if seen == context.cursor:
        return dg.SkipReason("no raw table has changed")
    tags = sync_sales_months(context.instance, raw_tables, settings)
    context.update_cursor(seen)
    return dg.RunRequest(run_key=seen, tags=tags)


@dg.run_failure_sensor(
    description="Write each failed run with its cause to the daemon's log.",
    default_status=dg.DefaultSensorStatus.RUNNING,
)
def log_failed_run(context: dg.RunFailureSensorContext) -> None:
    """One line a failed run; the published table stays as it was."""
    context.log.error(
        f"{context.dagster_run.job_name} {context.dagster_run.run_id} failed: "
        f"{context.failure_event.message}. The published price table is unchanged."
    )


JOBS = [pricing_pipeline, price_update, tune_forecast, watch_drift, price_shards]
SCHEDULES = [nightly, hourly_price_update, weekly_tuning]
SENSORS = [new_raw_data, log_failed_run]
