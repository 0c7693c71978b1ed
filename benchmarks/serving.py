"""The service against FastAPI + uvicorn + redis.asyncio on the same work, in the same run.

``python -m benchmarks.serving``: each server alone on one core, the load generator and Redis on
the other; rounds alternate, medians are reported. Needs two cores, taskset, wrk and FastAPI.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from redis import Redis

from benchmarks.fastapi_peer import ROW_KEY
from benchmarks.load import CONNECTIONS, Load, drive, drive_at
from pricing_assets.core.serving_parameters import ServingParameters
from pricing_assets.core.settings import PricingSettings
from serving.home import Home
from serving.launch import serving_process
from serving.price_store import PriceStore
from serving.redis_server import redis_for
from tests.published_tables import curve_table, price_table, stamps

SERVER_CORE, LOAD_CORE = 0, 1
PRODUCTS = 10_000
BODIES = 20_000
BATCH = 1000
COPIED = (
    *("product_id", "recommended_price", "confidence", "currency"),
    *("price_floor", "price_ceiling", "expected_units"),
)
"""Columns of the published table that the peer answers too."""
OURS, PEER = "pricing", "FastAPI + redis.asyncio"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it answers and its processes."""

    url: str
    process: subprocess.Popen[bytes]

    def cpu_seconds(self) -> float:
        """CPU time of the process and all that it started."""
        root = psutil.Process(self.process.pid)
        total = 0.0
        for part in (root, *root.children(recursive=True)):
            used = part.cpu_times()
            total += used.user + used.system
        return total


@dataclass(frozen=True, slots=True)
class Measured:
    """One case on one server: medians over the rounds."""

    case: str
    server: str
    per_second: float
    p50_ms: float
    p99_ms: float
    cpu_us: float
    failed: int


def main() -> None:
    """Measure, print, and write JSON where asked."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="pricing-serving-") as folder:
        rows = _measure(Path(folder), rounds=options.rounds, seconds=options.seconds)
    print(_table(rows))
    if options.out:
        report = [{name: getattr(row, name) for name in Measured.__slots__} for row in rows]
        options.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4, help="of each measurement")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    return parser.parse_args()


def _measure(folder: Path, *, rounds: int, seconds: int) -> list[Measured]:
    bodies = _write_bodies(folder)
    with ExitStack() as stack:
        redis = stack.enter_context(redis_for(url=None, log_folder=folder / "logs"))
        assert redis is not None
        pin_redis(redis)
        home = publish_for_both(folder / "home", redis)
        servers = {
            OURS: stack.enter_context(pricing_service(home, redis)),
            PEER: stack.enter_context(_peer(redis)),
        }
        bench = _Bench(servers, bodies, rounds=rounds, seconds=seconds)
        return [*bench.peaks(), *bench.paced(), *bench.batches()]


class _Bench:
    """The cases."""

    def __init__(
        self, servers: dict[str, Server], bodies: dict[str, Path], *, rounds: int, seconds: int
    ) -> None:
        self._servers = servers
        self._bodies = bodies
        self._rounds = rounds
        self._seconds = seconds
        self._peak: dict[str, float] = {}

    def peaks(self) -> list[Measured]:
        """As fast as 64 connections ask."""
        plain = self._driver("plain")
        for server in self._servers.values():
            plain(server)  # warms up
        rows = self._compare("get_price, table", plain, servers=(OURS, PEER))
        self._peak = {row.server: row.per_second for row in rows}
        context = self._driver("context")
        context(self._servers[OURS])  # computes each live price once
        return rows + self._compare("get_price, context", context, servers=(OURS,))

    def paced(self) -> list[Measured]:
        """At the peer's half peak, and at each server's own."""
        same = self._paced(self._peak[PEER] / 2)
        rows = self._compare("half of the peer's peak", same, servers=(OURS, PEER))
        own = self._paced(self._peak[OURS] / 2)
        return rows + self._compare("half of own peak", own, servers=(OURS,))

    def batches(self) -> list[Measured]:
        """1,000 products a request; the rate is of prices."""
        driver = self._driver("batch", path="/get_prices")
        return self._compare(f"get_prices, {BATCH}", driver, servers=(OURS, PEER), each=BATCH)

    def _driver(self, name: str, path: str = "/get_price") -> Callable[[Server], Load]:
        def run(server: Server) -> Load:
            return drive(
                server.url,
                path=path,
                bodies=self._bodies[name],
                seconds=self._seconds,
                core=LOAD_CORE,
                connections=4 if name == "batch" else CONNECTIONS,
            )

        return run

    def _paced(self, per_second: float) -> Callable[[Server], Load]:
        def run(server: Server) -> Load:
            return drive_at(
                server.url,
                path="/get_price",
                bodies=self._bodies["plain"],
                seconds=self._seconds,
                core=LOAD_CORE,
                per_second=per_second,
            )

        return run

    def _compare(
        self,
        case: str,
        driver: Callable[[Server], Load],
        *,
        servers: tuple[str, ...],
        each: int = 1,
    ) -> list[Measured]:
        seen: dict[str, list[tuple[Load, float]]] = {name: [] for name in servers}
        for _ in range(self._rounds):
            for name in servers:
                before = self._servers[name].cpu_seconds()
                load = driver(self._servers[name])
                seen[name].append((load, self._servers[name].cpu_seconds() - before))
        return [_median(case, name, loads, each=each) for name, loads in seen.items()]


def _median(case: str, server: str, seen: list[tuple[Load, float]], *, each: int) -> Measured:
    loads = [load for load, _ in seen]
    return Measured(
        case=case,
        server=server,
        per_second=each * statistics.median(load.per_second for load in loads),
        p50_ms=statistics.median(load.p50_ms for load in loads),
        p99_ms=statistics.median(load.p99_ms for load in loads),
        cpu_us=statistics.median(1e6 * cpu / max(load.requests, 1) / each for load, cpu in seen),
        failed=sum(load.failed for load in loads),
    )


def _table(rows: list[Measured]) -> str:
    lines = [
        f"{'case':<26} {'server':<24} {'a second':>10} {'p50 ms':>8} {'p99 ms':>8} "
        f"{'CPU us each':>12} {'failed':>7}"
    ]
    for row in rows:
        lines.append(
            f"{row.case:<26} {row.server:<24} {row.per_second:>10,.0f} {row.p50_ms:>8.2f} "
            f"{row.p99_ms:>8.2f} {row.cpu_us:>12.1f} {row.failed:>7}"
        )
    return "\n".join(lines)


def _write_bodies(folder: Path) -> dict[str, Path]:
    rng = random.Random(1)

    def product() -> str:
        return f"SKU-{rng.randrange(PRODUCTS)}"

    context = {"day_of_week": "Friday", "comp_price": 21.5, "is_promo": True}
    contents: dict[str, list[dict[str, Any]]] = {
        "plain": [{"product_id": product()} for _ in range(BODIES)],
        "context": [
            {"product_id": f"SKU-{i}", "current_stock": 150, **context} for i in range(2000)
        ],
        "batch": [{"items": [{"product_id": product()} for _ in range(BATCH)]} for _ in range(20)],
    }
    paths = {}
    for name, values in contents.items():
        paths[name] = folder / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps(value) + "\n" for value in values))
    return paths


def publish_for_both(root: Path, redis_url: str) -> Home:
    """One table for both: published for the service, rows in Redis for the peer."""
    home, now = Home.at(root), datetime.now(UTC)
    curves = curve_table(PRODUCTS)
    prices, made = price_table(curves), stamps(now=now)
    manifest = PriceStore(home.tables).publish(prices=prices, curves=curves, stamps=made, now=now)
    versions = {"table_version": manifest.table_version, "model_version": made.model_version}
    with Redis.from_url(redis_url) as redis:
        pipe = redis.pipeline(transaction=False)
        for row in prices.to_pylist():
            known = {
                **{name: row[name] for name in COPIED},
                "reasons": [row["reasons"]],
                **versions,
            }
            pipe.set(ROW_KEY + row["product_id"], json.dumps(known))
        pipe.execute()
    return home


def pin_redis(url: str) -> None:
    """Keep the Redis at ``url`` on the core of the load."""
    with Redis.from_url(url) as redis:
        os.sched_setaffinity(int(redis.info("server")["process_id"]), {LOAD_CORE})


@contextmanager
def pricing_service(home: Home, redis_url: str) -> Iterator[Server]:
    """The service on its core, ready."""
    settings = PricingSettings(serving=ServingParameters(port=8791, grpc_port=50791))
    before, known = os.sched_getaffinity(0), os.environ.get("PRICING_REDIS_URL")
    os.environ["PRICING_REDIS_URL"] = redis_url
    os.sched_setaffinity(0, {SERVER_CORE})
    with ExitStack() as stack:
        process = stack.enter_context(serving_process(home, settings))
        os.sched_setaffinity(0, before)
        os.environ["PRICING_REDIS_URL"] = known or ""
        yield _ready(Server("http://127.0.0.1:8791", process), "/readyz")


@contextmanager
def _peer(redis_url: str) -> Iterator[Server]:
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "uvicorn"]
    options = ["benchmarks.fastapi_peer:app", "--port", "8792", "--no-access-log"]
    quiet = ["--log-level", "warning", "--loop", "uvloop", "--http", "httptools"]
    process = subprocess.Popen(
        [*command, *options, *quiet], env={**os.environ, "PEER_REDIS_URL": redis_url}
    )
    try:
        yield _ready(Server("http://127.0.0.1:8792", process), "/docs")
    finally:
        process.terminate()
        process.wait()


def _ready(server: Server, path: str) -> Server:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(server.url + path, timeout=5):
                return server
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{server.url} did not get ready in 60 s")


if __name__ == "__main__":
    main()
