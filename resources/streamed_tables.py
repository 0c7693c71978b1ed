"""What came by stream, beside the raw tables of the batch files.

Only closed days count: half a day of sales would read as low demand, and would change while a run
reads it. A batch row stands against the stream's of the same day and product.

Belongs here: which landed days a reading takes, and their stamp. Merging is ``core.event_merge``;
files are ``streams.stream_store``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import structlog

from pricing_assets.core.event_merge import daily_rows, merged, with_dead_letters
from pricing_assets.core.ingestion import CheckedTable
from pricing_assets.core.settings import PricingSettings
from resources.streams.stream_store import StreamStore, table_days

WEEK_DAYS = 7

_log = structlog.get_logger(__name__)


def with_streamed_rows(
    checked: dict[str, CheckedTable], *, root: str, settings: PricingSettings
) -> dict[str, CheckedTable]:
    """The checked tables with the closed days of the stream, and its dead letters.

    Weekly tables stay as they are, which the log says: a stream's rows are days.

    Args:
        checked: the tables of the batch files.
        root: folder of the landed events; empty adds nothing.
        settings: time zone, allowed lateness and grain.
    """
    if not root:
        return checked
    streaming = settings.streaming
    store = StreamStore(root, time_zone=streaming.time_zone)
    days = table_days(store, allowed_lateness=streaming.allowed_lateness_seconds)
    if not days:
        return checked
    if is_weekly(checked["sales"].accepted["date"], grain=settings.ingestion.grain):
        _log.warning("stream_not_merged", reason="the raw tables are weekly, the stream is daily")
        return checked
    tables = dict(checked)
    for table, closed in days.items():
        rows = daily_rows(store.events(table, closed), table, time_zone=store.time_zone)
        tables[table] = merged(checked.get(table), rows, table=table)
    dead = store.dead_letters().to_pandas()
    return {
        name: with_dead_letters(table, dead[dead["table"] == name])
        for name, table in tables.items()
    }


def stream_stamp(root: str, *, settings: PricingSettings) -> str:
    """Changes when a day closes, or an event comes for a closed one; empty without a root."""
    if not root:
        return ""
    streaming = settings.streaming
    store = StreamStore(root, time_zone=streaming.time_zone)
    days = table_days(store, allowed_lateness=streaming.allowed_lateness_seconds)
    stamps = [f"{table}:{store.stamp(table, closed)}" for table, closed in days.items()]
    return f"{streaming.time_zone}:{','.join(stamps)}"


def is_weekly(dates: pd.Series, *, grain: str) -> bool:
    """Whether sales dates are weeks: as the settings say, else by their median gap."""
    if grain != "auto":
        return grain == "week"
    days = np.unique(dates.to_numpy().astype("datetime64[D]"))
    return len(days) > 1 and float(np.median(np.diff(days).astype(int))) >= WEEK_DAYS
