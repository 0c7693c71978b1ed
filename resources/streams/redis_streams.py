"""Events by Redis Streams: a consumer group that lands before it acknowledges.

An entry has one field, ``event``: a JSON object, or an array of them. A group's entries are pending
until acknowledged; a consumer that starts reads its own pending ones first, and takes over those of
a consumer that has been silent. Entries that every group has acknowledged are trimmed, and a
producer waits while a stream is full, so memory is bounded on both sides.

Belongs here: Redis's commands. What is done with an entry is ``stream_consumer``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import orjson
import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from pricing_assets.core.events import EVENT_ID, STREAM_TABLES
from resources.streams.event_source import (
    EVENT_FIELD,
    Batch,
    Entries,
    Lag,
    StreamFullError,
    StreamUnavailableError,
)

PREFIX = "pricing:events:"
ACK_CHUNK = 5_000
SEND_CHUNK = 500
TIMEOUT_SECONDS = 10.0
FULL_POLL_SECONDS = 0.02

_FIELD = EVENT_FIELD.encode()
_PENDING, _NEW = b"0", b">"

# KEYS: the stream. ARGV: its cap, then contents. Adds as many as fit, and returns how many.
_ADD = """
local room = tonumber(ARGV[1]) - redis.call('XLEN', KEYS[1])
local last = math.min(#ARGV, 1 + math.max(room, 0))
for i = 2, last do redis.call('XADD', KEYS[1], '*', 'event', ARGV[i]) end
return last - 1
"""

_log = structlog.get_logger(__name__)


def connect(url: str) -> Redis:
    """A client for streams: RESP2 and raw replies, for their speed, and no hidden retries."""
    client = Redis.from_url(
        url,
        protocol=2,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    for command in ("XREADGROUP", "XAUTOCLAIM"):
        client.set_response_callback(command, _as_it_is)
    return client


class RedisStreams:
    """An ``EventSource``: one consumer of one group."""

    def __init__(
        self,
        client: Redis,
        *,
        group: str,
        consumer: str,
        claim_seconds: float,
        tables: Sequence[str] = STREAM_TABLES,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._group = group
        self._consumer = consumer
        self._claim_seconds = claim_seconds
        self._now = now
        self._claimed_at = now()
        self._keys = {f"{PREFIX}{table}".encode(): table for table in tables}
        self._cursor: dict[bytes, bytes] = dict.fromkeys(self._keys, _PENDING)
        with _answering():
            self._make_groups()

    def read(self, limit: int, *, wait_seconds: float) -> Batch:
        """Own pending entries first, then those of silent consumers, then new ones."""
        with _answering():
            if own := self._read_pending(limit):
                return own
            if self._now() - self._claimed_at >= self._claim_seconds:
                self._claimed_at = self._now()
                if claimed := self._claim(limit):
                    return claimed
            return self._read_new(limit, wait_seconds)

    def acknowledge(self, tokens: Mapping[str, Sequence[Any]]) -> None:
        """XACK, then trim what no group needs any more."""
        names = {table: key for key, table in self._keys.items()}
        with _answering():
            for table, ids in tokens.items():
                key = names[table]
                for start in range(0, len(ids), ACK_CHUNK):
                    chunk = ids[start : start + ACK_CHUNK]
                    self._client.execute_command("XACK", key, self._group, *chunk)
                self._trim(key)

    def lag(self) -> dict[str, Lag]:
        """From XINFO GROUPS; where Redis cannot tell the lag, the stream's length stands for it."""
        with _answering():
            found = {}
            for key, table in self._keys.items():
                groups: Any = self._client.xinfo_groups(key)
                own = next(one for one in groups if one["name"] == self._group.encode())
                waiting = own.get("lag")
                pending = int(own["pending"])
                length: Any = self._client.xlen(key) if waiting is None else None
                entries = int(waiting) if waiting is not None else max(int(length) - pending, 0)
                found[table] = Lag(entries=entries, pending=pending)
            return found

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _make_groups(self) -> None:
        for key in self._keys:
            try:
                self._client.xgroup_create(key, self._group, id="0", mkstream=True)
            except ResponseError as failure:
                if "BUSYGROUP" not in str(failure):
                    raise

    def _read_pending(self, limit: int) -> Batch:
        """Entries that this consumer read before and did not acknowledge, page by page."""
        waiting = [(key, at) for key, at in self._cursor.items() if at != _NEW]
        batch: Batch = {}
        for key, cursor in waiting:
            rows = self._group_read(limit, None, {key: cursor}).get(key, [])
            if rows:
                self._cursor[key] = rows[-1][0]
                _add(batch, self._keys[key], rows)
                limit -= len(rows)
            else:
                self._cursor[key] = _NEW
            if limit <= 0:
                break
        return batch

    def _read_new(self, limit: int, wait_seconds: float) -> Batch:
        share = max(limit // len(self._keys), 1)
        wait = max(int(wait_seconds * 1000), 1)
        batch: Batch = {}
        for key, rows in self._group_read(share, wait, dict.fromkeys(self._keys, _NEW)).items():
            _add(batch, self._keys[key], rows)
        return batch

    def _claim(self, limit: int) -> Batch:
        """Entries of consumers that have been silent for ``claim_seconds``."""
        batch: Batch = {}
        idle = int(self._claim_seconds * 1000)
        for key, table in self._keys.items():
            reply: Any = self._client.execute_command(
                "XAUTOCLAIM", key, self._group, self._consumer, idle, "0", "COUNT", limit
            )
            rows = [row for row in reply[1] if row is not None]
            if rows:
                _log.warning("entries_claimed", table=table, entries=len(rows))
                _add(batch, table, rows)
        return batch

    def _group_read(
        self, count: int, wait_ms: int | None, cursors: Mapping[bytes, bytes]
    ) -> dict[bytes, list[Any]]:
        block = () if wait_ms is None else ("BLOCK", wait_ms)
        reply: Any = self._client.execute_command(
            *("XREADGROUP", "GROUP", self._group, self._consumer, "COUNT", count),
            *(*block, "STREAMS", *cursors.keys(), *cursors.values()),
        )
        return dict(reply or [])

    def _trim(self, key: bytes) -> None:
        """Remove what every group has acknowledged."""
        groups: Any = self._client.xinfo_groups(key)
        needed = min(self._first_needed(key, group) for group in groups)
        self._client.xtrim(key, minid=f"{needed[0]}-{needed[1]}", approximate=False)

    def _first_needed(self, key: bytes, group: Mapping[str, Any]) -> tuple[int, int]:
        """Id of the first entry that a group may still ask for."""
        if group["pending"]:
            summary: Any = self._client.xpending(key, group["name"])
            if summary["min"] is not None:
                return _id(summary["min"])
        ms, sequence = _id(group["last-delivered-id"])
        return ms, sequence + 1


class RedisProducer:
    """An ``EventProducer`` that waits while a stream is full.

    Args:
        client: a plain client, or one of ``connect``.
        max_entries: entries that wait in a stream, at most.
        wait_seconds: how long ``send`` waits for room before it gives up.
        events_per_entry: events that travel in one entry; one is the simplest to look at, a
            hundred cost Redis little more than one.
    """

    def __init__(
        self,
        client: Redis,
        *,
        max_entries: int,
        wait_seconds: float = 30.0,
        events_per_entry: int = 1,
    ) -> None:
        self._client = client
        self._max_entries = max_entries
        self._wait_seconds = wait_seconds
        self._per_entry = events_per_entry

    def send(self, table: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Append events, each with an ``event_id``, so that sending one again counts once."""
        contents = [orjson.dumps(part) for part in _packed(events, self._per_entry)]
        left, deadline = contents, time.monotonic() + self._wait_seconds
        while left:
            with _answering():
                added: Any = self._client.eval(
                    _ADD, 1, PREFIX + table, str(self._max_entries), *left[:SEND_CHUNK]
                )
            left = left[int(added) :]
            if not added:
                if time.monotonic() >= deadline:
                    raise StreamFullError(
                        f"stream '{table}' has held {self._max_entries} entries for "
                        f"{self._wait_seconds:g} s and {len(left)} more wait; start consumers "
                        "(pricing stream), or raise streaming.max_stream_entries"
                    )
                time.sleep(FULL_POLL_SECONDS)


def with_event_id(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The event with an id of its own where it has none."""
    return event if event.get(EVENT_ID) else {**event, EVENT_ID: uuid.uuid4().hex}


def _packed(events: Sequence[Mapping[str, Any]], size: int) -> Iterator[Any]:
    named = [with_event_id(event) for event in events]
    if size == 1:
        yield from named
        return
    for start in range(0, len(named), size):
        yield named[start : start + size]


def _add(batch: Batch, table: str, rows: list[Any]) -> None:
    """Put the rows of a reply under their table; None is an entry that was deleted meanwhile."""
    entries = batch.setdefault(table, Entries())
    for token, fields in rows:
        ms, _, sequence = token.decode().partition("-")
        entries.source_ids.append(f"{ms}-{sequence.zfill(6)}")
        entries.contents.append(_content(fields))
        entries.tokens.append(token)


def _content(fields: list[bytes] | None) -> bytes:
    """The entry's event; empty, and so a dead letter, where it has none."""
    if not fields:
        return b""
    if fields[0] == _FIELD:
        return fields[1]
    return next((fields[i + 1] for i in range(0, len(fields), 2) if fields[i] == _FIELD), b"")


def _id(value: bytes | str) -> tuple[int, int]:
    text = value.decode() if isinstance(value, bytes) else value
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


def _as_it_is(reply: Any, **_: Any) -> Any:
    return reply


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (RedisError, OSError) as failure:
        raise StreamUnavailableError(
            f"Redis does not carry the events ({type(failure).__name__}: {failure}); see that it "
            "runs and that PRICING_REDIS_URL names it"
        ) from failure
