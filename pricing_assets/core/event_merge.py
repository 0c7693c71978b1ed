"""Events to the rows of a day, and those beside the rows of the batch files.

Pure. Belongs here: what counts once, which day an event belongs to, when a day is over, and who is
right where a batch file and the stream both speak of a day. Checking events is ``core.events``.

A day of the stream becomes rows of the raw table:

* ``sales``: units are summed; the price is what was paid a unit, sum(units * price) / sum(units);
* ``competitor_prices``: the last reading of each rival on the day;
* ``inventory``: the last reading of a day is the stock at the *next* day's opening.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pyarrow as pa

from pricing_assets.core.events import AT, EVENT_ID, SOURCE_ID, event_columns
from pricing_assets.core.ingestion import QUARANTINE_COLUMNS, CheckedTable
from pricing_assets.core.tables import RAW_TABLES, Column

_BATCH_KEYS = {
    "sales": ("date", "product_id", "store_id"),
    "inventory": ("date", "product_id", "store_id"),
    "competitor_prices": ("date", "product_id", "store_id", "competitor"),
}
"""What a batch file must hold of a day for its word to stand against the stream's."""


def event_days(events: pa.Table, *, time_zone: str) -> pd.Series:
    """The day, (n,) as ``YYYY-MM-DD``, on which each event happened in ``time_zone``."""
    days = _local_days(events, time_zone)
    names = {day: str(day.date()) for day in days.unique()}
    return days.map(names)


def unique_events(events: pa.Table) -> pa.Table:
    """Each event once, in order of time: the same place in the stream, or the same event_id.

    Of two that claim one event_id the first in the stream's order stands. The order does not
    depend on how the events were cut into files.
    """
    frame = events.select([SOURCE_ID, EVENT_ID, AT]).to_pandas()
    frame = frame.sort_values([AT, SOURCE_ID], kind="stable")
    frame = frame[~frame[SOURCE_ID].duplicated()]
    repeated = frame[EVENT_ID].duplicated() & (frame[EVENT_ID] != "")
    return events.take(pa.array(frame.index[~repeated].to_numpy()))


def closed_before(newest: float, *, allowed_lateness: float, time_zone: str) -> date:
    """The first day that is still open, by the watermark ``newest - allowed_lateness``.

    Args:
        newest: moment of the newest event seen, Unix seconds.
        allowed_lateness: seconds that later events may come behind it.
        time_zone: whose midnight ends a day.
    """
    moment = pd.Timestamp(newest - allowed_lateness, unit="s", tz="UTC")
    return moment.tz_convert(time_zone).date()


def daily_rows(events: pa.Table, table: str, *, time_zone: str) -> pd.DataFrame:
    """Rows of the raw table, under contract headings and types, from unique events in order."""
    frame = events.to_pandas()
    frame["date"] = _local_days(events, time_zone).to_numpy()
    if table == "inventory":
        frame["date"] += pd.Timedelta(days=1)
    key = list(RAW_TABLES[table].key)
    rows = _sales_rows(frame, key) if table == "sales" else _last_rows(frame, key)
    wanted = [column.name for column in RAW_TABLES[table].columns]
    return rows.reindex(columns=wanted)


def merged(batch: CheckedTable | None, streamed: pd.DataFrame, *, table: str) -> CheckedTable:
    """The batch file's rows, and the stream's where the batch says nothing of a day's product.

    Args:
        batch: the checked file; None where there is none.
        streamed: rows of ``daily_rows``.
        table: contract name.
    """
    if batch is None:
        rows = _plain(streamed, table)
        return CheckedTable(table, rows, _no_quarantine(), rows_read=len(rows))
    news = _plain(streamed[~_is_known(batch.accepted, streamed, table)], table)
    if news.empty:
        return batch
    rows = pd.concat([batch.accepted, news], ignore_index=True)
    rows = _filled(rows, table)
    return replace(batch, accepted=rows, rows_read=batch.rows_read + len(news))


def with_dead_letters(table: CheckedTable, dead: pd.DataFrame) -> CheckedTable:
    """The table with the stream's dead letters in its quarantine; they count as read."""
    if dead.empty:
        return table
    letters = dead.assign(row_number=np.arange(1, len(dead) + 1))[list(QUARANTINE_COLUMNS)]
    quarantined = pd.concat([table.quarantined, letters], ignore_index=True)
    return replace(table, quarantined=quarantined, rows_read=table.rows_read + len(letters))


def _local_days(events: pa.Table, time_zone: str) -> pd.Series:
    """Midnight of each event's local day, without a zone, datetime64[ns]."""
    moments = pd.Series(pd.to_datetime(events[AT].to_numpy(), unit="s", utc=True))
    return moments.dt.tz_convert(time_zone).dt.tz_localize(None).dt.normalize()


def _sales_rows(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    revenue = frame["units"] * frame["price"]
    groups = frame.assign(revenue=revenue).groupby(key, sort=True)
    rows = groups.agg(
        units=("units", "sum"),
        revenue=("revenue", "sum"),
        price=("price", "last"),
        regular_price=("regular_price", "last"),
        promo=("promo", "max"),
        display=("display", "max"),
        feature=("feature", "max"),
    ).reset_index()
    sold = rows["units"] > 0
    paid = rows["revenue"] / rows["units"].where(sold)
    return rows.assign(price=paid.where(sold, rows["price"]))


def _last_rows(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    return frame.drop_duplicates(key, keep="last").sort_values(key)


def _is_known(batch: pd.DataFrame, streamed: pd.DataFrame, table: str) -> np.ndarray:
    """Which streamed rows speak of what the batch speaks of."""
    key = list(_BATCH_KEYS[table])
    have = pd.MultiIndex.from_frame(batch.reindex(columns=key).fillna({"store_id": ""}))
    return np.asarray(pd.MultiIndex.from_frame(streamed[key]).isin(have))


def _plain(rows: pd.DataFrame, table: str) -> pd.DataFrame:
    """Without the optional columns that say nothing."""
    silent = [
        column.name
        for column in event_columns(table)
        if not column.required and _says_nothing(rows[column.name], column)
    ]
    return rows.drop(columns=silent).reset_index(drop=True)


def _says_nothing(values: pd.Series, column: Column) -> bool:
    return bool((values.isna() | (values == _filler(column))).all())


def _filled(rows: pd.DataFrame, table: str) -> pd.DataFrame:
    """Each optional column that only one side has, filled as an empty value is read."""
    fillers = {
        column.name: _filler(column)
        for column in event_columns(table)
        if column.name in rows.columns and column.kind != "number"
    }
    return rows.fillna(fillers)


def _filler(column: Column) -> object:
    return {"id": "", "text": "", "number": np.nan}.get(column.kind, 0.0)


def _no_quarantine() -> pd.DataFrame:
    return pd.DataFrame({name: pd.Series(dtype="object") for name in QUARANTINE_COLUMNS})
