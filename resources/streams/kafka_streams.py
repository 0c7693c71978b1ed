"""Events by Apache Kafka: a consumer group that lands before it commits (extra ``streaming``).

A message's value is what an entry of a Redis stream is. Offsets are committed after landing, so
what was read and not landed comes again, to whichever consumer has the partition then. A consumer
that lost a partition while it held its messages cannot commit them: they land twice, from two
places, and count once (``stream_store``).

Belongs here: librdkafka's calls. What is done with a message is ``stream_consumer``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import structlog

from pricing_assets.core.errors import InputError
from pricing_assets.core.events import STREAM_TABLES
from resources.streams.event_source import (
    Batch,
    Entries,
    Lag,
    StreamFullError,
    StreamUnavailableError,
)
from resources.streams.redis_streams import with_event_id

try:
    from confluent_kafka import (
        OFFSET_INVALID,
        Consumer,
        KafkaError,
        KafkaException,
        Producer,
        TopicPartition,
    )
except ImportError as missing:
    raise InputError(
        "streaming.transport is kafka and confluent-kafka is not installed; install the extra "
        "'streaming' (pip install 'pricing-assets[streaming]')"
    ) from missing

TOPIC_PREFIX = "pricing.events."
TIMEOUT_SECONDS = 10.0
QUEUE_KILOBYTES = 65_536
"""What librdkafka fetches ahead, at most."""

_log = structlog.get_logger(__name__)


class KafkaStreams:
    """An ``EventSource``: one consumer of one group."""

    def __init__(
        self,
        servers: str,
        *,
        group: str,
        tables: Sequence[str] = STREAM_TABLES,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if not servers:
            raise InputError("streaming.kafka_servers is empty; name them as host:9092,host:9092")
        self._tables = {TOPIC_PREFIX + table: table for table in tables}
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": group,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "queued.max.messages.kbytes": QUEUE_KILOBYTES,
                "allow.auto.create.topics": True,
                **(options or {}),
            }
        )
        self._consumer.subscribe(list(self._tables))

    def read(self, limit: int, *, wait_seconds: float) -> Batch:
        """Up to ``limit`` messages; each names its partition and offset."""
        try:
            messages = self._consumer.consume(limit, timeout=wait_seconds)
        except KafkaException as failure:
            raise _unavailable(failure) from failure
        batch: Batch = {}
        for message in messages:
            error, topic = message.error(), message.topic()
            if error is not None or topic is None:
                _heed(error)
                continue
            table = self._tables[topic]
            entries = batch.setdefault(table, Entries())
            partition, offset = message.partition(), message.offset()
            entries.source_ids.append(f"{partition:05d}-{offset:020d}")
            entries.contents.append(message.value() or b"")
            entries.tokens.append((partition, offset))
        return batch

    def acknowledge(self, tokens: Mapping[str, Sequence[Any]]) -> None:
        """Commit the offset after the last one of each partition."""
        reached: dict[tuple[str, int], int] = {}
        for table, places in tokens.items():
            for partition, offset in places:
                key = (TOPIC_PREFIX + table, partition)
                reached[key] = max(reached.get(key, 0), offset + 1)
        offsets = [TopicPartition(*key, offset) for key, offset in reached.items()]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as failure:
            _log.warning("not_committed", reason=str(failure), note="these events come again")

    def lag(self) -> dict[str, Lag]:
        """Of the partitions that this consumer has: end, position and committed offset."""
        try:
            mine = self._consumer.assignment()
            committed = self._consumer.committed(mine, timeout=TIMEOUT_SECONDS) if mine else []
            found = {table: [0, 0] for table in self._tables.values()}
            for place, position in zip(committed, self._consumer.position(mine), strict=True):
                low, high = self._consumer.get_watermark_offsets(place, timeout=TIMEOUT_SECONDS)
                done = low if place.offset == OFFSET_INVALID else place.offset
                at = done if position.offset == OFFSET_INVALID else position.offset
                sums = found[self._tables[place.topic]]
                sums[0] += max(high - at, 0)
                sums[1] += max(at - done, 0)
        except KafkaException as failure:
            raise _unavailable(failure) from failure
        return {table: Lag(entries=n[0], pending=n[1]) for table, n in found.items()}

    def close(self) -> None:
        """Leave the group, so that its partitions go on at once."""
        self._consumer.close()


class KafkaProducer:
    """An ``EventProducer``; the product is the key, so that its events keep their order."""

    def __init__(
        self,
        servers: str,
        *,
        wait_seconds: float = 30.0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._wait_seconds = wait_seconds
        self._failures: list[str] = []
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 5,
                "message.timeout.ms": int(wait_seconds * 1000),
                **(options or {}),
            }
        )

    def send(self, table: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Append events and wait until every broker that must have them has them."""
        deadline = time.monotonic() + self._wait_seconds
        for event in events:
            named = with_event_id(event)
            self._put(TOPIC_PREFIX + table, named, deadline)
        left = self._producer.flush(max(deadline - time.monotonic(), 0.1))
        failures, self._failures = self._failures, []
        if left or failures:
            reason = failures[0] if failures else f"{left} messages were not taken in time"
            raise StreamUnavailableError(f"Kafka has not taken all events: {reason}; send again")

    def _put(self, topic: str, event: Mapping[str, Any], deadline: float) -> None:
        key, value = str(event.get("product_id", "")).encode(), orjson.dumps(event)
        while True:
            try:
                self._producer.produce(topic, value=value, key=key, on_delivery=self._delivered)
                return
            except BufferError:
                if time.monotonic() >= deadline:
                    raise StreamFullError(
                        f"topic '{topic}' took no more for {self._wait_seconds:g} s"
                    ) from None
                self._producer.poll(0.05)

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failures.append(str(error))


def _heed(error: KafkaError | None) -> None:
    """Go on where librdkafka mends it by itself; say so where it cannot."""
    if error is None:
        return
    if error.fatal():
        raise _unavailable(KafkaException(error))
    if error.code() != KafkaError._PARTITION_EOF:
        _log.warning("kafka_error", code=error.name(), reason=error.str())


def _unavailable(failure: Exception) -> StreamUnavailableError:
    return StreamUnavailableError(
        f"Kafka does not carry the events ({failure}); see that streaming.kafka_servers answer"
    )
