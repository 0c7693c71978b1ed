"""When the stream's days are made: the job that compacts a day, and the sensor of closed days.

Belongs here: what starts such a run. The asset is ``assets.streaming``; the consumer itself is a
process of its own (``pricing stream``), never a Dagster run.
"""

import hashlib

import dagster as dg

from pricing_assets.assets.streaming import STREAM_DAYS
from resources.streams.landed_events import LandedEventsResource

COMPACT_STREAMS = "stream_days"

stream_days = dg.define_asset_job(
    COMPACT_STREAMS,
    selection=dg.AssetSelection.assets("stream_day"),
    description="A closed day of the streams in one file a table, each event once.",
)


@dg.sensor(
    job=stream_days,
    minimum_interval_seconds=60,
    description="A run for each day of the streams that has closed, or that an event came late to.",
)
def closed_stream_days(
    context: dg.SensorEvaluationContext,
    landed_events: dg.ResourceParam[LandedEventsResource],
) -> dg.SensorResult | dg.SkipReason:
    """Make the partitions the closed days, and ask for those that are in several files.

    The cursor is the days as they were seen last; a run key holds a day's files, so that Dagster
    starts no second run for the same ones even where the cursor is reset.
    """
    days = landed_events.closed_days()
    seen = hashlib.sha256(repr(sorted(days.items())).encode()).hexdigest()
    if not days or seen == context.cursor:
        return dg.SkipReason("no day of the streams has closed or changed")
    assert STREAM_DAYS.name is not None
    known = set(context.instance.get_dynamic_partitions(STREAM_DAYS.name))
    added = [day for day in days if day not in known]
    requests = [
        dg.RunRequest(run_key=f"{day}:{stamp}", partition_key=day)
        for day, stamp in days.items()
        if landed_events.needs_compaction(day)
    ]
    return dg.SensorResult(
        run_requests=requests,
        cursor=seen,
        dynamic_partitions_requests=[STREAM_DAYS.build_add_request(added)] if added else [],
    )


JOBS = [stream_days]
SENSORS = [closed_stream_days]
