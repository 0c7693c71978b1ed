"""Events by Redis Streams: kills, replays, several consumers, full streams, and a served price."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import pyarrow as pa
import pytest
from redis import Redis
from redis.exceptions import ConnectionError as Gone

from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.streams.event_features import RedisFeatures
from resources.streams.event_source import Lag, StreamFullError, StreamUnavailableError
from resources.streams.redis_streams import PREFIX, RedisProducer, RedisStreams, connect
from resources.streams.rival_prices import RivalPrice, rival_updates
from resources.streams.stream_consumer import StreamConsumer
from resources.streams.stream_metrics import StreamMetrics
from resources.streams.stream_store import StreamStore
from serving.redis_server import redis_for
from tests.running_service import running_service

REPOSITORY = Path(__file__).resolve().parent.parent
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
QUICK = StreamingParameters(land_seconds=0)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("redis")
    with redis_for(url=None, log_folder=folder, kept_in=folder / "kept") as url:
        assert url is not None
        yield url


@pytest.fixture
def client(redis_url: str) -> Iterator[Redis]:
    client = connect(redis_url)
    client.flushall()
    yield client
    client.close()


def sales(count: int, **changes: Any) -> list[dict[str, Any]]:
    return [
        {"at": NOON + i % 60, "product_id": f"SKU-{i % 7}", "units": 1, "price": 2.0, **changes}
        for i in range(count)
    ]


def source(client: Redis, consumer: str = "a", **changes: Any) -> RedisStreams:
    given = {"group": "pricing", "claim_seconds": 60.0, **changes}
    return RedisStreams(client, consumer=consumer, **given)


def producer(client: Redis, **changes: Any) -> RedisProducer:
    return RedisProducer(client, **{"max_entries": 100_000, **changes})


def consumer(streams: RedisStreams, store: StreamStore, **changes: Any) -> StreamConsumer:
    return StreamConsumer(
        streams, store, **{"parameters": QUICK, "now": lambda: NOON + 3600, **changes}
    )


def drain(client: Redis, store: StreamStore, **changes: Any) -> StreamConsumer:
    one = consumer(source(client), store, **changes)
    one.run(Event(), until_empty=True)
    return one


def landed(store: StreamStore, table: str = "sales") -> pa.Table:
    return store.events(table, store.days(table))


@pytest.mark.parametrize("per_entry", [1, 16])
def test_events_land_in_day_folders_and_the_stream_is_emptied(
    client: Redis, tmp_path: Path, per_entry: int
) -> None:
    store = StreamStore(str(tmp_path))
    sending = producer(client, events_per_entry=per_entry)
    sending.send("sales", sales(40) + sales(10, at=NOON - 86_400))
    sending.send("inventory", [{"at": NOON, "product_id": "SKU-1", "on_hand": 4}])
    sending.send("competitor_prices", [{"at": NOON, "product_id": "SKU-1"}])
    done = drain(client, store)
    assert store.days("sales") == ["2026-03-01", "2026-03-02"]
    assert landed(store).num_rows == 50
    assert landed(store, "inventory")["on_hand"].to_pylist() == [4.0]
    assert store.dead_letters()["reason"].to_pylist() == ["missing_value"]
    assert (done.totals.accepted, done.totals.dead) == (51, 1)
    assert source(client).lag() == dict.fromkeys(store_tables(), Lag(0, 0))
    assert client.xlen(PREFIX + "sales") == 0


def store_tables() -> tuple[str, ...]:
    return ("sales", "inventory", "competitor_prices")


def test_an_entry_without_an_event_is_a_dead_letter(client: Redis, tmp_path: Path) -> None:
    streams, store = source(client), StreamStore(str(tmp_path))
    client.xadd(PREFIX + "sales", {"other": "1"})
    client.xadd(PREFIX + "sales", {"other": "1", "event": "{}"})
    consumer(streams, store).run(Event(), until_empty=True)
    assert sorted(store.dead_letters()["reason"].to_pylist()) == [
        "missing_value",
        "unreadable_json",
    ]


def test_what_landed_and_was_not_acknowledged_lands_on_the_same_file(
    client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The consumer dies between the two; the next one of its name makes the same file again."""
    store = StreamStore(str(tmp_path))
    producer(client).send("sales", sales(30))
    streams = source(client)
    monkeypatch.setattr(streams, "acknowledge", lost_connection)
    with pytest.raises(StreamUnavailableError):
        consumer(streams, store).step()
    before = files(tmp_path)
    assert source(client).lag()["sales"].pending == 30
    drain(client, store)
    assert files(tmp_path) == before
    assert landed(store).num_rows == 30


def lost_connection(*_: object) -> None:
    raise StreamUnavailableError("gone")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*.parquet"))


def test_another_cut_of_the_same_entries_counts_each_once(client: Redis, tmp_path: Path) -> None:
    """Restarted with smaller batches, as after a change of settings."""
    store = StreamStore(str(tmp_path))
    producer(client).send("sales", sales(30))
    streams = source(client)
    first = consumer(streams, store)
    first._source.acknowledge = lost_connection  # type: ignore[method-assign]
    with pytest.raises(StreamUnavailableError):
        first.step()
    drain(client, store, parameters=StreamingParameters(land_seconds=0, max_batch_events=7))
    assert len(files(tmp_path)) == 6
    assert landed(store).num_rows == 30
    compacted = store.compact("sales", "2026-03-02")
    assert (compacted.rows, compacted.repeated, compacted.files) == (30, 30, 6)
    assert [name[:4] for name in files(tmp_path)] == ["day-"]
    assert landed(store).num_rows == 30


def test_an_event_sent_twice_counts_once(client: Redis, tmp_path: Path) -> None:
    """A producer that got no answer sends again under the same event_id."""
    store = StreamStore(str(tmp_path))
    events = [{**event, "event_id": f"e{i}"} for i, event in enumerate(sales(20))]
    producer(client).send("sales", events)
    producer(client, events_per_entry=3).send("sales", events[5:])
    drain(client, store)
    assert landed(store).num_rows == 20


def test_a_silent_consumers_entries_go_to_another(client: Redis, tmp_path: Path) -> None:
    store = StreamStore(str(tmp_path))
    producer(client).send("sales", sales(12))
    assert sum(len(e.tokens) for e in source(client, "dead").read(5, wait_seconds=0.1).values())
    time.sleep(1.05)
    clock = iter(range(0, 1000, 2))
    alive = source(client, "alive", claim_seconds=1.0, now=lambda: next(clock))
    consumer(alive, store).run(Event(), until_empty=True)
    assert landed(store).num_rows == 12
    assert client.xlen(PREFIX + "sales") == 0


def test_consumers_of_one_group_share_and_of_two_groups_each_have_all(
    client: Redis, tmp_path: Path
) -> None:
    other = source(client, group="other")
    ours = [source(client, name) for name in "ab"]
    store, theirs = StreamStore(str(tmp_path / "ours")), StreamStore(str(tmp_path / "theirs"))
    producer(client).send("sales", sales(60))
    small = StreamingParameters(land_seconds=0, max_batch_events=9)
    both = [consumer(one, store, parameters=small) for one in ours]
    while sum(one.step() for one in both):
        pass
    assert all(one.totals.accepted for one in both)
    assert landed(store).num_rows == 60
    assert client.xlen(PREFIX + "sales") == 60  # the other group has not seen them
    consumer(other, theirs).run(Event(), until_empty=True)
    assert landed(theirs).num_rows == 60
    assert client.xlen(PREFIX + "sales") == 0


def test_a_producer_waits_while_the_stream_is_full(client: Redis, tmp_path: Path) -> None:
    store = StreamStore(str(tmp_path))
    with pytest.raises(StreamFullError, match="start consumers"):
        producer(client, max_entries=10, wait_seconds=0.05).send("sales", sales(15))
    assert client.xlen(PREFIX + "sales") == 10
    client.flushall()
    streams = source(client)
    sending = Thread(
        target=producer(client, max_entries=10).send, args=("sales", sales(95)), daemon=True
    )
    sending.start()
    one, most = consumer(streams, store), 0
    while one.totals.accepted < 95:
        most = max(most, client.xlen(PREFIX + "sales"))
        one.step()
    sending.join()
    assert most <= 10
    assert landed(store).num_rows == 95


def test_a_consumer_that_cannot_land_reads_no_more(
    client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = StreamStore(str(tmp_path))
    producer(client).send("sales", sales(100))
    monkeypatch.setattr(store, "land", full_disk)
    one = consumer(
        source(client), store, parameters=StreamingParameters(land_seconds=0, max_batch_events=30)
    )
    for _ in range(4):
        with pytest.raises(OSError, match="No space"):
            one.step()
    lag = source(client).lag()["sales"]
    assert 0 < lag.pending <= 30
    assert lag.entries + lag.pending == 100
    monkeypatch.undo()
    one.run(Event(), until_empty=True)
    assert landed(store).num_rows == 100


def full_disk(*_: object) -> int:
    raise OSError(28, "No space left on device")


def test_late_and_refused_events_are_counted(client: Redis, tmp_path: Path) -> None:
    store, metrics = StreamStore(str(tmp_path)), StreamMetrics()
    one = consumer(source(client), store, metrics=metrics)
    producer(client).send("sales", sales(3))
    one.step()
    producer(client).send("sales", sales(4, at=NOON - 7200) + sales(2, at=NOON + 9e6))
    one.run(Event(), until_empty=True)
    outcomes = {
        name: metrics.registry.get_sample_value(
            "pricing_stream_events_total", {"table": "sales", "outcome": name}
        )
        for name in ("accepted", "late", "dead")
    }
    assert outcomes == {"accepted": 3.0, "late": 4.0, "dead": 2.0}
    assert landed(store).num_rows == 7


def test_a_redis_that_is_gone_is_waited_for(
    client: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, metrics = StreamStore(str(tmp_path)), StreamMetrics()
    streams = source(client)
    producer(client).send("sales", sales(5))
    plain, failures = client.execute_command, [1, 1]

    def flaky(*arguments: Any, **options: Any) -> Any:
        if failures:
            failures.pop()
            raise Gone("refused")
        return plain(*arguments, **options)

    monkeypatch.setattr(client, "execute_command", flaky)
    consumer(streams, store, metrics=metrics).run(Event(), until_empty=True)
    assert landed(store).num_rows == 5
    name, labels = "pricing_stream_failures_total", {"what": "StreamUnavailableError"}
    assert metrics.registry.get_sample_value(name, labels) == 2.0


KILLED = """
import os, sys
from threading import Event
from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.streams.redis_streams import RedisStreams, connect
from resources.streams.stream_consumer import StreamConsumer
from resources.streams.stream_store import StreamStore

def consume(size):
    streams = RedisStreams(connect(sys.argv[1]), group="pricing", consumer="a", claim_seconds=60)
    parameters = StreamingParameters(land_seconds=0.02, max_batch_events=size)
    now = float(sys.argv[3])
    one = StreamConsumer(streams, StreamStore(sys.argv[2]), parameters=parameters, now=lambda: now)
    one.run(Event(), until_empty=True)

print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        os.dup2(2, 1)
        consume(int(line))
        os._exit(0)
    print(child, flush=True)
    print(os.waitpid(child, 0)[1], flush=True)
"""
"""Starts consumers, each in a process of its own, from one that has imported everything."""


@contextmanager
def consumers(*arguments: str) -> Iterator[Callable[[int, float], bool]]:
    """Runs a consumer with a batch size, killed after some seconds; True where it had ended."""
    command = [sys.executable, "-c", KILLED, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"

        def run(size: int, seconds: float) -> bool:
            print(size, file=process.stdin, flush=True)
            timer = Timer(seconds, os.kill, (int(process.stdout.readline()), signal.SIGKILL))
            timer.start()
            status = int(process.stdout.readline())
            timer.cancel()
            timer.join()
            assert status in (0, signal.SIGKILL)
            return status == 0

        yield run


def test_no_row_is_lost_or_doubled_where_the_consumer_is_killed(
    client: Redis, redis_url: str, tmp_path: Path
) -> None:
    """kill -9 at random moments of reading, landing and acknowledging, in changing batch sizes."""
    rng, store = random.Random(5), StreamStore(str(tmp_path))
    sent = [{**event, "units": i + 1} for i, event in enumerate(sales(6000))]
    producer(client).send("sales", sent)
    kills = 0
    with consumers(redis_url, str(tmp_path), str(NOON + 3600)) as run:
        while not run(rng.choice([100, 170, 400]), rng.uniform(0.05, 0.3) if kills < 12 else 60.0):
            kills += 1
    assert kills >= 3
    units = landed(store)["units"].to_pylist()
    assert sorted(units) == [event["units"] for event in sent]
    assert store.compact("sales", "2026-03-02").rows == 6000
    assert source(client).lag()["sales"] == Lag(0, 0)


def test_a_compaction_beside_a_writer_loses_nothing(tmp_path: Path, client: Redis) -> None:
    store, stop = StreamStore(str(tmp_path)), Event()
    producer(client).send("sales", sales(2000))
    streams = source(client)

    def compact_for_ever() -> None:
        while not stop.is_set():
            for day in store.days("sales"):
                store.compact("sales", day)

    compacting = Thread(target=compact_for_ever)
    compacting.start()
    small = StreamingParameters(land_seconds=0, max_batch_events=100)
    consumer(streams, store, parameters=small).run(Event(), until_empty=True)
    stop.set()
    compacting.join()
    assert landed(store).num_rows == 2000


def test_the_rivals_mean_is_over_rivals_that_were_seen_lately(client: Redis) -> None:
    def seen(competitor: str, price: float, at: float) -> float:
        found = rival_updates(
            client, [RivalPrice("tea", "", competitor, price, at)], max_age_seconds=100.0
        )
        (update,) = found
        return update.values["rival_price"]

    assert seen("x", 10.0, NOON) == 10.0
    assert seen("y", 20.0, NOON + 1) == 15.0
    assert seen("x", 99.0, NOON - 50) == 15.0  # an older reading of x
    assert seen("y", 30.0, NOON + 60) == 20.0
    assert seen("y", 30.0, NOON + 101) == 30.0  # x was last seen too long ago
    assert rival_updates(client, [RivalPrice("tea", "", "x", 2e9, NOON)], max_age_seconds=1) == []


def test_a_rivals_price_reaches_a_served_price(tmp_path: Path) -> None:
    """From the stream to the answer of a real service, with nothing trained or published anew."""
    with running_service(tmp_path / "home") as running:
        running.publish(1.0)
        running.until(lambda: running.ready_version() is not None)
        client = connect(running.redis_url)
        store, stop = StreamStore(str(tmp_path / "streams")), Event()
        features = RedisFeatures(Redis.from_url(running.redis_url), rival_max_age_seconds=3600.0)
        one = StreamConsumer(
            source(client), store, parameters=StreamingParameters(), features=features
        )
        consuming = Thread(target=one.run, args=(stop,))
        consuming.start()
        before = running.price("SKU-3")
        rival, stock = 2 * before["recommended_price"], 15.0
        now = time.time() + 1.0  # after the data behind the table end
        told = running.price("SKU-3", comp_price=rival, current_stock=stock)
        assert told["recommended_price"] != before["recommended_price"]
        sending = producer(connect(running.redis_url))
        sending.send(
            "competitor_prices",
            [{"at": now, "product_id": "SKU-3", "competitor": "x", "price": rival}],
        )
        sending.send("inventory", [{"at": now, "product_id": "SKU-3", "on_hand": stock}])
        running.until(lambda: same_price(running.price("SKU-3"), told))
        stop.set()
        consuming.join()
        assert landed(store, "competitor_prices").num_rows == 1  # a stop lands what was read


def same_price(answer: dict[str, Any], told: dict[str, Any]) -> bool:
    return bool(answer["recommended_price"] == told["recommended_price"])
