"""Events by Apache Kafka, over librdkafka's mock cluster: the real protocol, no broker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from threading import Event
from typing import Any

import pytest

pytest.importorskip("confluent_kafka", reason="needs: the extra 'streaming' (confluent-kafka)")

from confluent_kafka import Producer

from pricing_assets.core.errors import InputError
from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.streams.event_source import StreamFullError, StreamUnavailableError
from resources.streams.kafka_streams import TOPIC_PREFIX, KafkaProducer, KafkaStreams
from resources.streams.stream_consumer import StreamConsumer
from resources.streams.stream_store import StreamStore

REPOSITORY = Path(__file__).resolve().parent.parent
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
QUICK = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500, "fetch.wait.max.ms": 50}
TABLES = ("sales", "inventory", "competitor_prices")


@pytest.fixture
def servers() -> Iterator[str]:
    """A cluster of two brokers inside this process, four partitions a topic."""
    cluster = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 2})
    brokers = cluster.list_topics(timeout=10).brokers.values()
    address = ",".join(f"{broker.host}:{broker.port}" for broker in brokers)
    for table in TABLES:
        cluster.list_topics(TOPIC_PREFIX + table, timeout=10)  # asking makes the topic
    yield address
    cluster.flush(1)


def sales(count: int) -> list[dict[str, Any]]:
    return [
        {"at": NOON + i % 60, "product_id": f"SKU-{i % 40}", "units": i + 1, "price": 2.0}
        for i in range(count)
    ]


def consume(servers: str, store: StreamStore, count: int, **changes: Any) -> StreamConsumer:
    """A consumer that runs until it has landed ``count`` events."""
    source = KafkaStreams(servers, group="pricing", options=QUICK)
    parameters = StreamingParameters(land_seconds=0.05, **changes)
    one = StreamConsumer(source, store, parameters=parameters, now=lambda: NOON + 3600)
    while one.totals.accepted + one.totals.dead < count:
        one.step()
    one.run(Event(), until_empty=True)
    source.close()
    return one


def units(store: StreamStore) -> list[float]:
    return sorted(store.events("sales", store.days("sales"))["units"].to_pylist())


def test_events_land_and_are_committed(servers: str, tmp_path: Path) -> None:
    store = StreamStore(str(tmp_path))
    sending = KafkaProducer(servers)
    sending.send("sales", [*sales(50), {"at": NOON}])
    sending.send("inventory", [{"at": NOON, "product_id": "SKU-1", "on_hand": 4}])
    done = consume(servers, store, 52)
    assert (done.totals.accepted, done.totals.dead) == (51, 1)
    assert units(store) == [float(i + 1) for i in range(50)]
    assert store.dead_letters()["reason"].to_pylist() == ["missing_value"]
    sending.send("sales", sales(3))
    again = consume(servers, store, 3)
    assert again.totals.accepted == 3  # and not what was committed before


def test_what_was_not_committed_comes_again_and_counts_once(servers: str, tmp_path: Path) -> None:
    store = StreamStore(str(tmp_path))
    KafkaProducer(servers).send("sales", sales(40))
    source = KafkaStreams(servers, group="pricing", options=QUICK)
    source.acknowledge = lost  # type: ignore[method-assign]
    one = StreamConsumer(
        source, store, parameters=StreamingParameters(land_seconds=0), now=lambda: NOON + 3600
    )
    with pytest.raises(StreamUnavailableError):
        step_for_ever(one)
    source.close()
    consume(servers, store, 40, max_batch_events=7)
    assert units(store) == [float(i + 1) for i in range(40)]


def step_for_ever(one: StreamConsumer) -> None:
    while True:
        one.step()


def lost(*_: object) -> None:
    raise StreamUnavailableError("gone")


KILLED = """
import sys
from threading import Event
from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.streams.kafka_streams import KafkaStreams
from resources.streams.stream_consumer import StreamConsumer
from resources.streams.stream_store import StreamStore
options = {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
source = KafkaStreams(sys.argv[1], group="pricing", options=options)
parameters = StreamingParameters(land_seconds=0, max_batch_events=20)
now = float(sys.argv[3])
one = StreamConsumer(source, StreamStore(sys.argv[2]), parameters=parameters, now=lambda: now)
while True:
    one.step()
    print(one.totals.accepted, flush=True)
"""


def test_no_row_is_lost_or_doubled_where_the_consumer_is_killed(
    servers: str, tmp_path: Path
) -> None:
    """kill -9 in the middle of the stream; another takes over when the group has noticed."""
    store = StreamStore(str(tmp_path))
    KafkaProducer(servers).send("sales", sales(400))
    arguments = [servers, str(tmp_path), str(NOON + 3600)]
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while not any(line.strip().isdigit() and int(line) for line in process.stdout):
            pass
        os.kill(process.pid, signal.SIGKILL)
    before = len(units(store))
    assert 0 < before < 400
    source = KafkaStreams(servers, group="pricing", options=QUICK)
    one = StreamConsumer(
        source, store, parameters=StreamingParameters(land_seconds=0), now=lambda: NOON + 3600
    )
    while len(units(store)) < 400:
        one.step()
    source.close()
    assert units(store) == [float(i + 1) for i in range(400)]


def test_lag_is_what_waits(servers: str) -> None:
    KafkaProducer(servers).send("sales", sales(30))
    source = KafkaStreams(servers, group="pricing", options=QUICK)
    read = source.read(10, wait_seconds=10.0)
    while not read:
        read = source.read(10, wait_seconds=1.0)
    count = len(read["sales"].tokens)
    lag = source.lag()["sales"]
    assert (lag.entries + lag.pending, lag.pending) == (30, count)
    source.acknowledge({"sales": read["sales"].tokens})
    assert source.lag()["sales"].pending == 0
    source.close()


def test_a_cluster_that_takes_nothing_is_said() -> None:
    nowhere = KafkaProducer("127.0.0.1:1", wait_seconds=0.3, options={"log_level": 0})
    with pytest.raises(StreamUnavailableError, match="has not taken all events"):
        nowhere.send("sales", sales(3))
    full = KafkaProducer(
        "127.0.0.1:1",
        wait_seconds=0.3,
        options={"log_level": 0, "queue.buffering.max.messages": 2},
    )
    with pytest.raises(StreamFullError, match="took no more"):
        full.send("sales", sales(9))


def test_servers_must_be_named() -> None:
    with pytest.raises(InputError, match="kafka_servers is empty"):
        KafkaStreams("", group="pricing")
