"""Micro-batches as Parquet files that appear whole, one folder a table and day.

    <root>/sales/date=2026-11-22/batch-<digest>.parquet     as it landed
    <root>/sales/date=2026-11-22/day-<digest>.parquet       a closed day's batches in one file
    <root>/dead_letters/date=2026-11-22/batch-<digest>.parquet

A file's name is the digest of where its events stand in the stream: landing the same entries again
replaces the file by an equal one. Entries that came again in another cut are in two files, and
reading counts each event once. A file goes only after one that holds its rows has been written. So
a writer may be killed anywhere, and any number of writers and compactions may run at once.

Belongs here: writing, listing, reading and compacting. What counts once is ``core.event_merge``.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pa_parquet
from upath import UPath

from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.event_merge import closed_before, event_days, unique_events
from pricing_assets.core.events import (
    AT,
    DEAD_LETTER_SCHEMA,
    EVENT_ID,
    SOURCE_ID,
    STREAM_TABLES,
    event_schema,
    ids_digest,
)
from resources.object_storage import storage_path, write_whole

DEAD_LETTERS = "dead_letters"
_DAY, _BATCH = "day-", "batch-"
_ATTEMPTS = 5
"""Readings of a folder in which a compaction removes files meanwhile."""


@dataclass(frozen=True, slots=True)
class CompactedDay:
    """One table's day after its compaction.

    Attributes:
        rows: events of the day, each once.
        repeated: rows that were there more than once: delivered or sent again.
        files: files before.
    """

    rows: int
    repeated: int
    files: int


class StreamStore:
    """The landed events under a folder or an fsspec address."""

    def __init__(self, root: str, *, time_zone: str = "UTC") -> None:
        self.root = storage_path(root)
        self.time_zone = time_zone

    def land(self, table: str, events: pa.Table) -> int:
        """Write checked events, one file a day; returns the files written."""
        if events.num_rows == 0:
            return 0
        days = pa.array(event_days(events, time_zone=self.time_zone))
        for day in pc.unique(days).to_pylist():
            part = events.filter(pc.equal(days, day))
            self._write(self._folder(table, day), _BATCH, part)
        return len(pc.unique(days))

    def land_dead(self, dead: pa.Table) -> None:
        """Write dead letters under the day on which they were refused."""
        if dead.num_rows:
            day = event_days(dead.rename_columns({"seen_at": AT}), time_zone=self.time_zone)
            self._write(self._folder(DEAD_LETTERS, day.iloc[0]), _BATCH, dead)

    def days(self, table: str) -> list[str]:
        """Days of which the table has events, ``YYYY-MM-DD``, in order."""
        folder = self.root / table
        if not folder.is_dir():
            return []
        names = [path.name for path in folder.iterdir()]
        return sorted(name.removeprefix("date=") for name in names if name.startswith("date="))

    def closed_days(self, table: str, *, allowed_lateness: float) -> list[str]:
        """Days that are over: an event that much later than their end has been seen."""
        days = self.days(table)
        if not days:
            return []
        newest = float(pc.max(self._read(table, days[-1]).column(AT)).as_py())
        first_open: date = closed_before(
            newest, allowed_lateness=allowed_lateness, time_zone=self.time_zone
        )
        return [day for day in days if day < first_open.isoformat()]

    def stamp(self, table: str, days: Sequence[str]) -> str:
        """Hash of the names of the files of some days; it changes when an event comes."""
        digest = hashlib.sha256()
        for day in days:
            for path in self._files(table, day):
                digest.update(f"{day}/{path.name}\x1f".encode())
        return digest.hexdigest()[:16]

    def events(self, table: str, days: Sequence[str]) -> pa.Table:
        """Events of some days, each once, in order of time within a day."""
        empty = event_schema(table).empty_table()
        return pa.concat_tables([empty, *(unique_events(self._read(table, day)) for day in days)])

    def dead_letters(self) -> pa.Table:
        """Every dead letter, once."""
        parts = [self._read(DEAD_LETTERS, day) for day in self.days(DEAD_LETTERS)]
        letters = pa.concat_tables([DEAD_LETTER_SCHEMA.empty_table(), *parts])
        keyed = letters.to_pandas().drop_duplicates(["table", SOURCE_ID])
        return letters.take(pa.array(keyed.index.to_numpy()))

    def is_scattered(self, table: str, day: str) -> bool:
        """Whether a day's events are in anything but one file of a compaction."""
        paths = self._files(table, day)
        return len(paths) > 1 or any(not path.name.startswith(_DAY) for path in paths)

    def compact(self, table: str, day: str) -> CompactedDay:
        """One file of a day's events, each once; a day that is one file stays as it is."""
        paths = self._files(table, day)
        everything = self._read(table, day)
        once = unique_events(everything)
        if self.is_scattered(table, day):
            kept = self._write(self._folder(table, day), _DAY, once)
            for path in paths:
                if path.name != kept.name:
                    path.unlink(missing_ok=True)
        return CompactedDay(once.num_rows, everything.num_rows - once.num_rows, len(paths))

    def _folder(self, table: str, day: str) -> UPath:
        return self.root / table / f"date={day}"

    def _files(self, table: str, day: str) -> list[UPath]:
        folder = self._folder(table, day)
        if not folder.is_dir():
            return []
        found = [path for path in folder.iterdir() if path.suffix == ".parquet"]
        return sorted((path for path in found if not path.name.startswith(".")), key=str)

    def _read(self, table: str, day: str) -> pa.Table:
        """Every row of a day, repeated ones among them."""
        schema = DEAD_LETTER_SCHEMA if table == DEAD_LETTERS else event_schema(table)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                parts = [_read_file(path) for path in self._files(table, day)]
                return pa.concat_tables([schema.empty_table(), *parts])
            except FileNotFoundError:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("the loop returns or raises")

    def _write(self, folder: UPath, prefix: str, rows: pa.Table) -> UPath:
        ids = rows.column(SOURCE_ID).to_pylist()
        path = folder / f"{prefix}{ids_digest(ids)}.parquet"
        write_whole(path, _parquet_bytes(rows))
        return path


def _parquet_bytes(rows: pa.Table) -> bytes:
    target = io.BytesIO()
    texts = [name for name in rows.column_names if name not in (SOURCE_ID, EVENT_ID)]
    pa_parquet.write_table(
        rows, target, compression="zstd", use_dictionary=texts, write_page_checksum=True
    )
    return target.getvalue()


def _read_file(path: UPath) -> pa.Table:
    """One file, its page checksums verified."""
    content = path.read_bytes()
    try:
        return pa_parquet.read_table(io.BytesIO(content), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as failure:
        raise IntegrityError(
            f"{path} is damaged ({failure}); restore it, or remove it and lose its events"
        ) from None


def table_days(store: StreamStore, *, allowed_lateness: float) -> dict[str, list[str]]:
    """Closed days by table, of the tables that have any."""
    days = {
        table: store.closed_days(table, allowed_lateness=allowed_lateness)
        for table in STREAM_TABLES
    }
    return {table: found for table, found in days.items() if found}
