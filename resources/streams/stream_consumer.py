"""The consumer: read, check, tell the feature store, land, and only then acknowledge.

Killed anywhere, nothing is lost, because what did not land is not acknowledged and comes again; and
nothing counts twice, because landing the same entries again changes nothing (``stream_store``) and
the feature store keeps the later reading. It holds ``max_batch_events`` at most, and reads no more
until they have landed: with a full disk it waits, and producers come to wait with it.

Belongs here: the order of these steps, and what happens where one fails. What carries events is an
``EventSource``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Event
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from pricing_assets.core.events import (
    AT,
    DEAD_LETTER_SCHEMA,
    CheckedEvents,
    RawEvents,
    TimeLimits,
    check_events,
    event_schema,
)
from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.streams.event_source import Batch, EventSource, StreamUnavailableError
from resources.streams.stream_metrics import StreamMetrics
from resources.streams.stream_store import StreamStore

DAY_SECONDS = 86_400.0
READ_SECONDS = 0.25
"""Longest wait for an event: how soon a stop is noticed."""
LAG_SECONDS = 5.0
RETRY_SECONDS = (0.1, 5.0)
"""First and longest wait before a step that failed is made again."""

_log = structlog.get_logger(__name__)


class EventFeatures(Protocol):
    """Takes checked events where they are news to the service; failures are its own affair."""

    def tell(self, events: CheckedEvents) -> None:
        """Put what the events say into the feature store."""


@dataclass(slots=True)
class _Gathered:
    """What was read and has not landed; ``since`` is when the first of it was read."""

    accepted: dict[str, list[pa.Table]] = field(default_factory=dict)
    dead: list[pa.Table] = field(default_factory=list)
    tokens: dict[str, list[Any]] = field(default_factory=dict)
    since: float | None = None
    events: int = 0


@dataclass(slots=True)
class Totals:
    """What a consumer has landed since it started."""

    accepted: int = 0
    dead: int = 0
    batches: int = 0


class StreamConsumer:
    """One consumer of one group.

    Args:
        source: where events come from.
        store: where they land.
        parameters: sizes and times.
        features: None where there is no feature store.
        metrics: counters to keep.
        now: Unix seconds; decides what is too late and what is in the future.
    """

    def __init__(
        self,
        source: EventSource,
        store: StreamStore,
        *,
        parameters: StreamingParameters,
        features: EventFeatures | None = None,
        metrics: StreamMetrics | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._source = source
        self._store = store
        self._parameters = parameters
        self._features = features
        self._metrics = metrics or StreamMetrics()
        self._now = now
        self._gathered = _Gathered()
        self._newest: dict[str, float] = {}
        self._lag_read = 0.0
        self.totals = Totals()

    def run(self, stop: Event, *, until_empty: bool = False) -> Totals:
        """Consume until ``stop`` is set, or until nothing waits; then land what was read."""
        delay = RETRY_SECONDS[0]
        while not stop.is_set():
            try:
                read = self.step()
                self._observe_lag()
                delay = RETRY_SECONDS[0]
            except (StreamUnavailableError, OSError) as failure:
                self._metrics.failures.labels(what=type(failure).__name__).inc()
                _log.warning("stream_step_failed", reason=str(failure), retry_seconds=delay)
                stop.wait(delay)
                delay = min(2 * delay, RETRY_SECONDS[1])
                continue
            if until_empty and not read and self._is_empty():
                break
        self.land()
        _log.info("stream_stopped", accepted=self.totals.accepted, dead=self.totals.dead)
        return self.totals

    def step(self) -> int:
        """Read once, and land where enough has gathered or waited; returns the entries read."""
        room = self._parameters.max_batch_events - self._gathered.events
        read = 0
        if room > 0:
            batch = self._source.read(room, wait_seconds=self._wait_seconds())
            read = self._gather(batch)
        if self._is_due():
            self.land()
        return read

    def land(self) -> None:
        """Write what has gathered, then acknowledge it.

        Raises:
            OSError: the files cannot be written; what has gathered is kept.
            StreamUnavailableError: it has landed and cannot be acknowledged; it comes again.
        """
        gathered = self._gathered
        if gathered.since is None:
            return
        began = time.perf_counter()
        accepted = {
            table: pa.concat_tables([event_schema(table).empty_table(), *parts])
            for table, parts in gathered.accepted.items()
        }
        dead = pa.concat_tables([DEAD_LETTER_SCHEMA.empty_table(), *gathered.dead])
        for table, events in accepted.items():
            self._store.land(table, events)
        self._store.land_dead(dead)
        self._source.acknowledge(gathered.tokens)
        self._gathered = _Gathered()
        self._count(accepted, dead, time.perf_counter() - began)

    def _gather(self, batch: Batch) -> int:
        gathered, now, read = self._gathered, self._now(), 0
        for table, entries in batch.items():
            raw = RawEvents(table, entries.source_ids, entries.contents)
            checked = check_events(raw, limits=self._limits(now))
            gathered.accepted.setdefault(table, []).append(checked.accepted)
            gathered.dead.append(checked.dead)
            gathered.tokens.setdefault(table, []).extend(entries.tokens)
            gathered.events += checked.accepted.num_rows + checked.dead.num_rows
            read += len(entries.tokens)
            self._tell(checked, now)
        if read and gathered.since is None:
            gathered.since = time.monotonic()
        return read

    def _tell(self, checked: CheckedEvents, now: float) -> None:
        """The feature store has an event before it lands: what it holds is never the truth."""
        if not checked.accepted.num_rows:
            return
        last = float(checked.accepted.column(AT)[-1].as_py())
        self._metrics.lag_seconds.labels(table=checked.table).set(max(now - last, 0.0))
        if self._features is not None:
            self._features.tell(checked)

    def _limits(self, now: float) -> TimeLimits:
        return TimeLimits(
            now=now,
            oldest=now - self._parameters.max_lateness_days * DAY_SECONDS,
            newest=now + self._parameters.max_future_seconds,
        )

    def _is_due(self) -> bool:
        since = self._gathered.since
        if since is None:
            return False
        full = self._gathered.events >= self._parameters.max_batch_events
        return full or time.monotonic() - since >= self._parameters.land_seconds

    def _wait_seconds(self) -> float:
        since = self._gathered.since
        if since is None:
            return READ_SECONDS
        left = since + self._parameters.land_seconds - time.monotonic()
        return min(max(left, 0.001), READ_SECONDS)

    def _count(self, accepted: dict[str, pa.Table], dead: pa.Table, seconds: float) -> None:
        for table, events in accepted.items():
            late = self._late(table, events)
            self.totals.accepted += events.num_rows
            self._metrics.events.labels(table=table, outcome="late").inc(late)
            self._metrics.events.labels(table=table, outcome="accepted").inc(events.num_rows - late)
        for found in pc.value_counts(dead.column("table")).to_pylist():
            self._metrics.events.labels(table=found["values"], outcome="dead").inc(found["counts"])
        self.totals.dead += dead.num_rows
        self.totals.batches += 1
        self._metrics.landing.observe(seconds)
        rows = {table: events.num_rows for table, events in accepted.items()}
        _log.info("landed", **rows, dead=dead.num_rows, seconds=round(seconds, 4))

    def _late(self, table: str, events: pa.Table) -> int:
        """Events behind the watermark of what landed before."""
        if not events.num_rows:
            return 0
        newest = self._newest.get(table)
        latest = float(pc.max(events.column(AT)).as_py())
        self._newest[table] = max(latest, newest if newest is not None else latest)
        if newest is None:
            return 0
        watermark = newest - self._parameters.allowed_lateness_seconds
        return int(pc.sum(pc.less(events.column(AT), watermark)).as_py())

    def _observe_lag(self) -> None:
        if time.monotonic() - self._lag_read < LAG_SECONDS:
            return
        self._lag_read = time.monotonic()
        for table, lag in self._source.lag().items():
            self._metrics.lag.labels(table=table).set(lag.entries)
            self._metrics.pending.labels(table=table).set(lag.pending)

    def _is_empty(self) -> bool:
        self.land()
        return all(lag.entries == 0 and lag.pending == 0 for lag in self._source.lag().values())
