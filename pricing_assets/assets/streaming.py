"""The streams' days: each closed day of events in one file a table, and what rivals ask now.

Belongs here: the assets of the group ``streams``, their partitions and check. Files are
``resources.streams.stream_store``; what counts once is ``core.event_merge``.

A day's compaction may be stopped anywhere and run again, and runs beside a consumer that writes.
"""

from datetime import UTC
from typing import Any

import dagster as dg
import pandas as pd

from pricing_assets.core.events import STREAM_TABLES
from resources.asset_metadata import check_metadata
from resources.streams.landed_events import LandedEventsResource

STREAM_DAYS = dg.DynamicPartitionsDefinition(name="stream_days")


@dg.asset(
    group_name="streams",
    owners=["team:data-engineering"],
    kinds={"parquet"},
    code_version="1",
    partitions_def=STREAM_DAYS,
    check_specs=[
        dg.AssetCheckSpec(
            "stream_day_is_whole",
            asset="stream_day",
            blocking=True,
            description="Every event that was there before the compaction is there after it.",
        )
    ],
    retry_policy=dg.RetryPolicy(max_retries=2, delay=1.0, backoff=dg.Backoff.EXPONENTIAL),
)
def stream_day(
    context: dg.AssetExecutionContext, landed_events: LandedEventsResource
) -> dg.MaterializeResult:
    """One closed day of every stream: its micro-batches in one file a table, each event once."""
    store, day = landed_events.store(), context.partition_key
    before = {table: store.events(table, [day]).num_rows for table in STREAM_TABLES}
    days = {table: store.compact(table, day) for table, rows in before.items() if rows}
    rows = {table: store.events(table, [day]).num_rows for table in days}
    missing = sum(max(before[table] - count, 0) for table, count in rows.items())
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": sum(rows.values()),
            **{f"{table}_events": count for table, count in rows.items()},
            "repeated": sum(done.repeated for done in days.values()),
            "files_before": sum(done.files for done in days.values()),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=missing == 0, metadata=check_metadata(value=missing, threshold=0)
            )
        ],
        data_version=dg.DataVersion(landed_events.stamp(day)),
    )


@dg.asset(
    group_name="streams",
    owners=["team:data-engineering"],
    kinds={"redis"},
    code_version="1",
)
def known_rival_prices(
    context: dg.AssetExecutionContext,
    competitor_prices: pd.DataFrame,
    landed_events: LandedEventsResource,
) -> None:
    """Each rival's last price, put in Redis: a rival's event moves the mean over all of them."""
    last = competitor_prices.sort_values("date", kind="stable")
    key = [name for name in ("product_id", "store_id", "competitor") if name in last]
    last = last.drop_duplicates(key, keep="last")
    rows: list[dict[Any, Any]] = last.assign(
        at=[moment.replace(tzinfo=UTC).timestamp() for moment in last["date"]]
    ).to_dict("records")
    outcome = landed_events.remember_rivals(rows)
    context.add_output_metadata({"rival_prices": len(rows), "feature_store": outcome})
