"""Events a second by Redis Streams, beside a plain consumer, and the time to a served price.

``python -m benchmarks.streaming``: streams are filled first and then drained by the consumer of
``pricing stream``, which checks each event and lands it durably before it acknowledges; and by the
loop that tutorials show (XREADGROUP of one entry, json.loads, XACK), which lands nothing. Both in
turn, on the same server, every round; medians over rounds. Events for each second of the
consumer's and of the server's processor time stand beside them: a busy machine disturbs these
less, and on two free cores the smaller one is the bound. Then a real service is asked until a
rival's event has moved its price.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

from redis import Redis

from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.streams.event_features import RedisFeatures
from resources.streams.redis_streams import PREFIX, RedisProducer, RedisStreams, connect
from resources.streams.stream_consumer import StreamConsumer
from resources.streams.stream_store import StreamStore
from serving.redis_server import redis_for
from tests.running_service import Running, running_service

PRODUCTS = 500


@dataclass(frozen=True, slots=True)
class Rate:
    """Events a second: by the clock, of the consumer's processor time, of the server's."""

    wall: float
    consumer: float
    server: float


def main() -> None:
    """Measure and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="pricing-streaming-") as folder:
        for name, rates in throughput(Path(folder), options).items():
            wall, consumer, server = (
                statistics.median(getattr(rate, field) for rate in rates)
                for field in ("wall", "consumer", "server")
            )
            print(
                f"{name:<44}{wall:>9,.0f} events/s; for each processor second "
                f"{consumer:>9,.0f} (consumer), {server:>9,.0f} (Redis)"
            )
        waits = sorted(latencies(Path(folder) / "service", trials=options.trials))
        print(
            f"event to served price, {len(waits)} trials: median {statistics.median(waits):.2f} s, "
            f"longest {waits[-1]:.2f} s"
        )


def throughput(folder: Path, options: argparse.Namespace) -> dict[str, list[Rate]]:
    """Rates of each way of consuming, one a round."""
    found: dict[str, list[Rate]] = {}
    with redis_for(url=None, log_folder=folder, kept_in=folder / "redis") as url:
        assert url is not None
        client = connect(url)
        for number in range(options.rounds):
            for name, per_entry, count, drain in _ways(options):
                client.flushall()
                _fill(client, count, per_entry)
                rate = _timed(drain, client, folder / f"{name}-{number}", count)
                found.setdefault(name, []).append(rate)
        client.close()
    return found


def _ways(
    options: argparse.Namespace,
) -> list[tuple[str, int, int, Callable[[Redis, Path, int], None]]]:
    few = max(options.events // 10, 1)
    return [
        ("plain: read, parse, acknowledge one by one", 1, few, _drain_plainly),
        ("pricing stream, one event an entry", 1, options.events, _drain),
        ("pricing stream, 100 events an entry", 100, options.events, _drain),
    ]


def _fill(client: Redis, count: int, per_entry: int) -> None:
    now = time.time()
    events = [
        {"at": now - i % 600, "product_id": f"SKU-{i % PRODUCTS}", "units": 1 + i % 3, "price": 9.5}
        for i in range(count)
    ]
    sending = RedisProducer(client, max_entries=10**8, events_per_entry=per_entry)
    sending.send("sales", events)


def _timed(
    drain: Callable[[Redis, Path, int], None], client: Redis, folder: Path, count: int
) -> Rate:
    began, worked, served = time.perf_counter(), time.process_time(), _server_seconds(client)
    drain(client, folder, count)
    return Rate(
        wall=count / (time.perf_counter() - began),
        consumer=count / (time.process_time() - worked),
        server=count / (_server_seconds(client) - served),
    )


def _server_seconds(client: Redis) -> float:
    used: Any = client.info("cpu")
    return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def _drain(client: Redis, folder: Path, count: int) -> None:
    source = RedisStreams(client, group="pricing", consumer="a", claim_seconds=60.0)
    one = StreamConsumer(source, StreamStore(str(folder)), parameters=StreamingParameters())
    one.run(Event(), until_empty=True)
    assert one.totals.accepted == count


def _drain_plainly(client: Redis, _folder: Path, count: int) -> None:
    key, units = PREFIX + "sales", 0.0
    client.xgroup_create(key, "plain", id="0")
    for _ in range(count):
        reply: Any = client.execute_command(
            "XREADGROUP", "GROUP", "plain", "a", "COUNT", 1, "STREAMS", key, ">"
        )
        token, fields = reply[0][1][0]
        units += json.loads(fields[1])["units"]
        client.execute_command("XACK", key, "plain", token)
    assert units >= count


def latencies(folder: Path, *, trials: int) -> list[float]:
    """Seconds from sending a rival's price to the first answer of the service that weighs it."""
    with running_service(folder) as running:
        running.publish(1.0)
        running.until(lambda: running.ready_version() is not None)
        client, stop = connect(running.redis_url), Event()
        one = StreamConsumer(
            RedisStreams(client, group="pricing", consumer="a", claim_seconds=60.0),
            StreamStore(str(folder / "streams")),
            parameters=StreamingParameters(),
            features=RedisFeatures(Redis.from_url(running.redis_url), rival_max_age_seconds=3600.0),
        )
        consuming = Thread(target=one.run, args=(stop,))
        consuming.start()
        sending = RedisProducer(connect(running.redis_url), max_entries=1000)
        try:
            return [_one_latency(running, sending, trial) for trial in range(trials)]
        finally:
            stop.set()
            consuming.join()


def _one_latency(running: Running, sending: RedisProducer, trial: int) -> float:
    """A rival's price of a product's own, so that every trial changes what was known before."""
    product, price = f"SKU-{trial % 30}", round(11.0 + 0.37 * trial, 2)
    event = {"at": time.time() + 1.0, "product_id": product, "competitor": "x", "price": price}
    told = f"rival's price of {price:g}"
    began = time.perf_counter()
    sending.send("competitor_prices", [event])
    running.until(lambda: any(told in reason for reason in running.price(product)["reasons"]))
    return time.perf_counter() - began


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=20)
    return parser.parse_args()


if __name__ == "__main__":
    main()
