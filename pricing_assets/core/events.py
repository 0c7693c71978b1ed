"""Events of a stream: JSON in, checked rows out; what is wrong becomes a dead letter.

Pure: the moment of arrival comes in as an argument. Belongs here: what an event must look like. An
event is a row of a raw table (``core.tables``) that has a moment ``at`` in place of a date, and is
parsed by the same rules (``core.parsing``), except that numbers must be JSON numbers: a micro-batch
is too short to tell a decimal comma from a grouping one. How events become a day's rows is
``core.event_merge``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pricing_assets.core.parsing import parse_column
from pricing_assets.core.tables import MAX_ID_LENGTH, RAW_TABLES, Column

STREAM_TABLES = ("sales", "inventory", "competitor_prices")
"""Raw tables that have a stream; each event is one sale, one stock reading, one rival's price."""

SOURCE_ID, EVENT_ID, AT = "source_id", "event_id", "at"
MAX_EVENTS_PER_ENTRY = 10_000
MAX_ENTRY_BYTES = 4 * 1024 * 1024
MAX_RECORD_TEXT = 1_000
"""Characters of an event kept in its dead letter."""

DEAD_LETTER_SCHEMA = pa.schema(
    [
        (SOURCE_ID, pa.string()),
        ("table", pa.string()),
        ("row_number", pa.int64()),
        ("reason", pa.string()),
        ("record", pa.string()),
        ("seen_at", pa.float64()),
    ]
)
"""The quarantine's columns, where the event came from, and when it was refused (Unix seconds)."""

_KINDS = {"number": pa.float64(), "flag": pa.float64(), "share": pa.float64()}

Reasons = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class RawEvents:
    """Entries of one stream as they were read.

    Attributes:
        table: one of ``STREAM_TABLES``.
        source_ids: (n,) where each entry stands in its stream; it never changes.
        contents: (n,) the entry's bytes: a JSON object, or an array of them.
    """

    table: str
    source_ids: Sequence[str]
    contents: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Moments, Unix seconds, outside which an event is a dead letter."""

    now: float
    oldest: float
    newest: float


@dataclass(frozen=True, slots=True)
class CheckedEvents:
    """Events of one stream after their check; accepted and dead ones are all that were read.

    Attributes:
        table: as in ``RawEvents``.
        accepted: ``event_schema(table)``, one row an event, in the order read.
        dead: ``DEAD_LETTER_SCHEMA``, one row an event that was refused.
    """

    table: str
    accepted: pa.Table
    dead: pa.Table


@dataclass(slots=True)
class _Decoded:
    source_ids: list[str]
    records: list[dict[str, Any]]
    dead: list[tuple[str, str, str]]


def event_columns(table: str) -> tuple[Column, ...]:
    """The raw table's columns that an event carries: all but the date."""
    return tuple(column for column in RAW_TABLES[table].columns if column.kind != "date")


def event_schema(table: str) -> pa.Schema:
    """Arrow schema of accepted events: source_id, event_id, at (Unix seconds), then columns."""
    own = [(column.name, _KINDS.get(column.kind, pa.string())) for column in event_columns(table)]
    return pa.schema([(SOURCE_ID, pa.string()), (EVENT_ID, pa.string()), (AT, pa.float64()), *own])


def check_events(raw: RawEvents, *, limits: TimeLimits) -> CheckedEvents:
    """Typed rows of the events that meet the contract, and dead letters of the others."""
    decoded = _decode(raw)
    columns, reasons = _typed(decoded.records, raw.table, limits)
    good = reasons == ""
    kept = np.flatnonzero(good)
    ids = np.array(decoded.source_ids, dtype=object)
    columns[SOURCE_ID] = ids
    schema = event_schema(raw.table)
    accepted = pa.table(
        [pa.array(columns[n][kept], t, from_pandas=True) for n, t in _fields(schema)], schema=schema
    )
    refused = [
        (decoded.source_ids[i], str(reasons[i]), _record(decoded.records[i]))
        for i in np.flatnonzero(~good)
    ]
    return CheckedEvents(
        raw.table, accepted, _dead_letters(raw.table, [*decoded.dead, *refused], limits.now)
    )


def ids_digest(source_ids: Iterable[str]) -> str:
    """A name for a set of entries: the same entries give the same name, read in any order."""
    joined = "\x1f".join(sorted(source_ids))
    return hashlib.sha256(joined.encode()).hexdigest()[:32]


def _fields(schema: pa.Schema) -> Iterator[tuple[str, pa.DataType]]:
    return ((field.name, field.type) for field in schema)


def _decode(raw: RawEvents) -> _Decoded:
    """Each entry's objects, with ``<entry>/<position>`` for those of an array."""
    decoded = _Decoded([], [], [])
    for source_id, content in zip(raw.source_ids, raw.contents, strict=True):
        try:
            value = orjson.loads(content) if len(content) <= MAX_ENTRY_BYTES else None
        except orjson.JSONDecodeError:
            decoded.dead.append((source_id, "unreadable_json", _text(content)))
            continue
        if type(value) is dict:
            decoded.source_ids.append(source_id)
            decoded.records.append(value)
        elif type(value) is list and len(value) <= MAX_EVENTS_PER_ENTRY:
            _spread(decoded, source_id, value)
        else:
            reason = "too_large" if len(content) > MAX_ENTRY_BYTES else "not_an_object"
            decoded.dead.append((source_id, reason, _text(content)))
    return decoded


def _spread(decoded: _Decoded, source_id: str, values: list[Any]) -> None:
    for position, value in enumerate(values):
        name = f"{source_id}/{position:04d}"
        if type(value) is dict:
            decoded.source_ids.append(name)
            decoded.records.append(value)
        else:
            decoded.dead.append((name, "not_an_object", _text(orjson.dumps(value))))


def _typed(
    records: list[dict[str, Any]], table: str, limits: TimeLimits
) -> tuple[dict[str, NDArray[Any]], Reasons]:
    """Columns of all records, and each record's first reason ("" where it has none)."""
    reasons = np.full(len(records), "", dtype=object)
    given: set[str] = set().union(*records)
    moments, faults = _moments(_column(records, AT, given), limits)
    _mark(reasons, faults)
    names, faults = _event_ids(_column(records, EVENT_ID, given))
    _mark(reasons, faults)
    columns: dict[str, NDArray[Any]] = {AT: moments, EVENT_ID: names}
    for column in event_columns(table):
        values, faults = _json_values(_column(records, column.name, given), column)
        parsed = parse_column(pd.Series(values, dtype=_dtype(column)), column)
        columns[column.name] = parsed.values
        _mark(reasons, [*faults, *parsed.faults])
    return columns, reasons


def _column(records: list[dict[str, Any]], name: str, given: set[str]) -> list[Any]:
    return [record.get(name) for record in records] if name in given else [None] * len(records)


def _event_ids(
    values: list[Any],
) -> tuple[NDArray[np.object_], list[tuple[str, NDArray[np.bool_]]]]:
    """Texts of MAX_ID_LENGTH at most; "" where there is none. Hardly one comes twice."""
    names = np.array([value if type(value) is str else "" for value in values], dtype=object)
    wrong = [value is not None and type(value) is not str for value in values]
    long = [len(name) > MAX_ID_LENGTH for name in names]
    return names, [("not_a_text", np.array(wrong, bool)), ("id_too_long", np.array(long, bool))]


def _dtype(column: Column) -> str:
    return "float64" if column.kind == "number" else "object"


def _mark(reasons: Reasons, faults: Iterable[tuple[str, NDArray[np.bool_]]]) -> None:
    for reason, mask in faults:
        if mask.any():
            reasons[mask & (reasons == "")] = reason


def _moments(
    values: list[Any], limits: TimeLimits
) -> tuple[NDArray[np.float64], list[tuple[str, NDArray[np.bool_]]]]:
    """Unix seconds of numbers and of ISO 8601 texts that name their zone."""
    if {type(value) for value in values} <= {int, float}:
        moments = np.array([_float(value) for value in values], dtype=np.float64)
    else:
        moments = np.array([_moment(value) for value in values], dtype=np.float64)
    missing = np.array([value is None for value in values], dtype=bool)
    return moments, [
        ("missing_value", missing),
        ("unreadable_time", ~np.isfinite(moments) & ~missing),
        ("in_the_future", moments > limits.newest),
        ("too_late", moments < limits.oldest),
    ]


def _moment(value: object) -> float:
    """NaN for what is no moment; a time without a zone is none."""
    if type(value) in (int, float):
        return _float(value)
    if not isinstance(value, str) or len(value) > 40:
        return float("nan")
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        return float("nan")
    return read.timestamp() if read.tzinfo is not None else float("nan")


def _float(value: Any) -> float:
    """A JSON number; an integer beyond floating point is infinite."""
    try:
        return float(value)
    except OverflowError:
        return float("inf")


def _json_values(
    values: list[Any], column: Column
) -> tuple[list[Any], list[tuple[str, NDArray[np.bool_]]]]:
    """Values that ``parse_column`` may see, and those of a JSON type that the column has not."""
    allowed: set[type] = {int, float, type(None)} | (
        {str} if column.kind in ("id", "text") else set()
    )
    if column.kind in ("flag", "share"):
        allowed.add(bool)
    if {type(value) for value in values} <= allowed:
        return values, []
    wrong = np.array([type(value) not in allowed for value in values], dtype=bool)
    reason = "not_a_number" if column.kind in ("number", "flag", "share") else "not_a_text"
    kept = [None if bad else value for value, bad in zip(values, wrong, strict=True)]
    return kept, [(reason, wrong)]


def _record(record: dict[str, Any]) -> str:
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS).decode()[:MAX_RECORD_TEXT]


def _text(content: bytes) -> str:
    return content[:MAX_RECORD_TEXT].decode("utf-8", errors="replace")


def _dead_letters(table: str, letters: list[tuple[str, str, str]], now: float) -> pa.Table:
    ids, reasons, texts = zip(*letters, strict=True) if letters else ((), (), ())
    count = len(letters)
    columns: list[Any] = [ids, [table] * count, [0] * count, reasons, texts, [now] * count]
    return pa.table(
        [
            pa.array(values, field.type)
            for values, field in zip(columns, DEAD_LETTER_SCHEMA, strict=True)
        ],
        schema=DEAD_LETTER_SCHEMA,
    )
