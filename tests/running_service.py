"""A real service for tests: its processes, its home, and a client that asks it as a stranger."""

from __future__ import annotations

import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from pricing_assets.core.serving_parameters import ServingParameters
from pricing_assets.core.settings import PricingSettings
from serving.home import Home
from serving.launch import serving_process
from serving.price_store import PriceStore
from serving.redis_server import redis_for
from tests.published_tables import curve_table, price_table, stamps

CURVES = curve_table(30)


class Running:
    """A service under test with its home."""

    def __init__(self, home: Home, parameters: ServingParameters, redis_url: str) -> None:
        self.home = home
        self.store = PriceStore(home.tables)
        self.redis_url = redis_url
        self.grpc_address = f"127.0.0.1:{parameters.grpc_port}"
        self.base_url = f"http://127.0.0.1:{parameters.port}"
        self.client = httpx.Client(base_url=self.base_url, timeout=30, trust_env=False)

    def publish(self, factor: float, model_version: str = "1") -> str:
        now = datetime.now(UTC)
        made = stamps(model_version=model_version, now=now)
        prices = price_table(CURVES, factor=factor)
        return self.store.publish(prices=prices, curves=CURVES, stamps=made, now=now).table_version

    def ask(self, **request: object) -> httpx.Response:
        return self.client.post("/get_price", json=request)

    def price(self, product_id: str, **context: object) -> dict:
        response = self.ask(product_id=product_id, **context)
        assert response.status_code == 200, response.text
        return response.json()

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not holds():
            assert time.monotonic() < deadline, "the service did not get there in 20 s"
            time.sleep(0.05)

    def ready_version(self) -> str | None:
        return self.client.get("/readyz").json()["table_version"]

    def metric(self, name: str) -> float:
        text = self.client.get("/metrics").text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0


@contextmanager
def running_service(folder: Path, **parameters: object) -> Iterator[Running]:
    """A service with a Redis on free ports; nothing is published yet."""
    home = Home.at(folder)
    serving = ServingParameters(
        **{"port": free_port(), "grpc_port": free_port(), "redis_timeout_ms": 500, **parameters}
    )
    with pytest.MonkeyPatch.context() as patch, redis_for(url=None, log_folder=home.logs) as redis:
        assert redis is not None
        patch.setenv("PRICING_REDIS_URL", redis)
        with serving_process(home, PricingSettings(serving=serving)) as process:
            running = Running(home, serving, redis)
            try:
                wait_until_alive(running.client, process)
                yield running
            finally:
                running.client.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_alive(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, "the service ended"
        try:
            if client.get("/livez").status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise AssertionError("the service did not start in 60 s")
