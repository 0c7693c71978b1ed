"""Unary gRPC against grpc.aio + redis.asyncio on the same messages, in the same run.

``python -m benchmarks.grpc_serving``: each server alone on one core, the client and Redis on the
other. A Python client is slower than either server, so that the CPU time of a call is what tells.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc

from benchmarks.serving import (
    LOAD_CORE,
    OURS,
    PRODUCTS,
    SERVER_CORE,
    Server,
    pin_redis,
    pricing_service,
    publish_for_both,
)
from serving.protocol import pricing_pb2, pricing_pb2_grpc
from serving.redis_server import redis_for

CALLERS = 64
ROUNDS = 3
SECONDS = 4.0
PEER = "grpc.aio + redis.asyncio"
CONSTANT = "grpc.aio, constant answer"
ADDRESSES = {OURS: 50791, PEER: 50792, CONSTANT: 50793}


@dataclass(frozen=True, slots=True)
class Calls:
    """What the client saw, and the server's CPU time of a call."""

    per_second: float
    p99_ms: float
    cpu_us: float


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="pricing-grpc-") as name, ExitStack() as stack:
        folder = Path(name)
        redis = stack.enter_context(redis_for(url=None, log_folder=folder / "logs"))
        assert redis is not None
        pin_redis(redis)
        home = publish_for_both(folder / "home", redis)
        servers = {
            OURS: stack.enter_context(pricing_service(home, redis)),
            PEER: stack.enter_context(_peer(PEER, redis)),
            CONSTANT: stack.enter_context(_peer(CONSTANT, "")),
        }
        os.sched_setaffinity(0, {LOAD_CORE})
        seen: dict[str, list[Calls]] = {server: [] for server in servers}
        for _ in range(ROUNDS + 1):
            for server, running in servers.items():
                seen[server].append(_measured(running, ADDRESSES[server]))
    print(f"{'server':<26} {'a second':>10} {'p99 ms':>8} {'CPU us each':>12}")
    for server, calls in seen.items():
        kept = calls[1:]  # the first warms up
        values = [
            statistics.median(getattr(one, field) for one in kept) for field in Calls.__slots__
        ]
        print(f"{server:<26} {values[0]:>10,.0f} {values[1]:>8.2f} {values[2]:>12.1f}")


def _measured(server: Server, port: int) -> Calls:
    before = server.cpu_seconds()
    times = asyncio.run(_call(port))
    used = server.cpu_seconds() - before
    times.sort()
    return Calls(
        per_second=len(times) / SECONDS,
        p99_ms=1000 * times[int(0.99 * (len(times) - 1))],
        cpu_us=1e6 * used / len(times),
    )


async def _call(port: int) -> list[float]:
    times: list[float] = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pricing_pb2_grpc.PricingServiceStub(channel)
        await channel.channel_ready()
        end = time.perf_counter() + SECONDS

        async def caller(first: int) -> None:
            product = first
            while time.perf_counter() < end:
                product = (product + CALLERS) % PRODUCTS
                started = time.perf_counter()
                await stub.GetPrice(pricing_pb2.PriceRequest(product_id=f"SKU-{product}"))
                times.append(time.perf_counter() - started)

        await asyncio.gather(*(caller(i) for i in range(CALLERS)))
    return times


@contextmanager
def _peer(name: str, redis_url: str) -> Iterator[Server]:
    port = ADDRESSES[name]
    command = ["taskset", "-c", str(SERVER_CORE), sys.executable, "-m", "benchmarks.grpc_peer"]
    process = subprocess.Popen(
        [*command, str(port)], env={**os.environ, "PEER_REDIS_URL": redis_url}
    )
    try:
        yield Server(f"127.0.0.1:{port}", process)
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
