"""A service with its own Redis and tables, for breaking things around it.

Belongs here: starting, publishing and reading metrics. What is broken is ``faults``.
"""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from redis import Redis
from redis.exceptions import RedisError

from benchmarks.checked_load import CheckedLoad, Prices
from pricing_assets.core.serving_parameters import ServingParameters
from pricing_assets.core.settings import PricingSettings
from serving.context import WEEKDAYS
from serving.home import Home
from serving.launch import serving_process
from serving.price_store import PriceStore
from serving.redis_server import find_program
from tests.published_tables import curve_table, price_table, stamps

PRODUCTS = 200
CURVES = curve_table(PRODUCTS)
CONTEXT = {"day_of_week": "Friday", "comp_price": 21.5, "is_promo": True}
START_SECONDS = 60.0


def mixed_bodies() -> Iterator[dict[str, Any]]:
    """Half published prices, half prices in a context; one in twenty was never asked before."""
    for i in itertools.count():
        product = f"SKU-{i % PRODUCTS}"
        yield {"product_id": product}
        if i % 10:
            yield {"product_id": product, "current_stock": 50, **CONTEXT}
        else:
            new = i // 10
            day = WEEKDAYS[new // 900 % 7]
            yield {"product_id": product, "current_stock": 100 + new % 900, "day_of_week": day}


class RedisProcess:
    """A Redis that can be killed, stopped and brought back at its address."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers.

        Raises:
            RuntimeError: there is no Redis to start.
        """
        program = find_program()
        if program is None:
            raise RuntimeError("no redis-server was found")
        options = {"port": str(self.port), "bind": "127.0.0.1", "save": "", "appendonly": "no"}
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        self._process = subprocess.Popen(
            [program, *arguments], stdout=subprocess.DEVNULL, cwd=self._folder
        )
        until(self._answers, seconds=10)

    def signal(self, number: int) -> None:
        """Send a signal."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def stop(self) -> None:
        """Kill it, where it still runs."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGKILL)

    def _answers(self) -> bool:
        try:
            with Redis.from_url(self.url, socket_timeout=1) as redis:
                return bool(redis.ping())
        except RedisError:
            return False


class Stage:
    """A running service and what is known of its tables."""

    def __init__(self, home: Home, redis: RedisProcess, parameters: ServingParameters) -> None:
        self.home = home
        self.redis = redis
        self.port = parameters.port
        self.store = PriceStore(home.tables)
        self.prices: Prices = {}
        self.process: subprocess.Popen[bytes] | None = None

    def publish(self, factor: float) -> str:
        """A new table whose prices are ``factor`` times the current ones, inside the rails."""
        now = datetime.now(UTC)
        table = price_table(CURVES, factor=factor)
        made = stamps(model_version=f"{factor:g}", now=now)
        manifest = self.store.publish(prices=table, curves=CURVES, stamps=made, now=now)
        rows = table.select(["product_id", "recommended_price"]).to_pylist()
        self.prices[manifest.table_version] = {
            row["product_id"]: row["recommended_price"] for row in rows
        }
        return manifest.table_version

    def rollback(self) -> str:
        """The table before the current one, under a new version."""
        version = self.store.rollback(now=datetime.now(UTC)).table_version
        restored = self.store.manifest(version).restored_from
        assert restored is not None
        self.prices[version] = self.prices[restored]
        return version

    def load(self, *, connections: int = 16, pause_seconds: float = 0.0) -> CheckedLoad:
        """Load of mixed requests on this service."""
        return CheckedLoad(
            self.port,
            mixed_bodies(),
            connections=connections,
            prices=self.prices,
            pause_seconds=pause_seconds,
        )

    def pin(self, core: int) -> None:
        """Keep the service on one core."""
        assert self.process is not None
        root = psutil.Process(self.process.pid)
        for part in (root, *root.children(recursive=True)):
            for thread in part.threads():
                os.sched_setaffinity(thread.id, {core})

    def price(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one request, which must be a price."""
        status, answer = self.post("/get_price", json.dumps(body).encode())
        assert status == 200, answer
        return dict(answer)

    def post(
        self, path: str, body: bytes, *, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Status and JSON of a POST, as application/json unless told otherwise."""
        url = f"http://127.0.0.1:{self.port}{path}"
        given = {"Content-Type": "application/json", **(headers or {})}
        request = urllib.request.Request(url, body, given)
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return reply.status, json.load(reply)
        except urllib.error.HTTPError as failure:
            with failure:
                return failure.code, json.load(failure)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a GET."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as failure:
            failure.close()
            return failure.code, ""

    def metric(self, name: str) -> float:
        """A value of /metrics; 0 where it is not there."""
        lines = self.get("/metrics")[1].splitlines()
        values = [line.rsplit(" ", 1)[1] for line in lines if line.startswith(f"{name} ")]
        return float(values[0]) if values else 0.0

    def workers(self) -> list[int]:
        """Process ids of the workers."""
        assert self.process is not None
        started = psutil.Process(self.process.pid).children(recursive=True)
        return [one.pid for one in started if _is_worker(one)]


def _is_worker(process: psutil.Process) -> bool:
    try:
        return any("worker" in part for part in process.cmdline())
    except psutil.NoSuchProcess:  # has ended, or is about to
        return False


@contextmanager
def stage(folder: Path, **parameters: Any) -> Iterator[Stage]:
    """A service with one published table, answering; ``parameters`` are serving settings."""
    serving = ServingParameters(**{"port": free_port(), "grpc_port": free_port(), **parameters})
    folder.mkdir(exist_ok=True)
    redis = RedisProcess(folder)
    redis.start()
    built = Stage(Home.at(folder / "home"), redis, serving)
    built.publish(1.05)
    known = os.environ.get("PRICING_REDIS_URL")
    os.environ["PRICING_REDIS_URL"] = redis.url
    try:
        with serving_process(built.home, PricingSettings(serving=serving)) as process:
            built.process = process
            until(lambda: _ready(built), seconds=START_SECONDS)
            yield built
    finally:
        redis.stop()
        os.environ.pop("PRICING_REDIS_URL")
        if known is not None:
            os.environ["PRICING_REDIS_URL"] = known


def _ready(built: Stage) -> bool:
    try:
        return built.get("/readyz")[0] == 200
    except OSError:
        return False


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(holds: Callable[[], bool], *, seconds: float) -> float:
    """Wait until ``holds``; how long that took, seconds.

    Raises:
        TimeoutError: it does not within ``seconds``.
    """
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > seconds:
            raise TimeoutError(f"not there after {seconds:g} s")
        time.sleep(0.02)
    return time.monotonic() - start
