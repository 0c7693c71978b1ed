"""Load that reads every answer: what was answered when, and whether it may have been answered.

Belongs here: asking over many connections from a thread of its own, and the rules that hold for
every price whatever is broken around the service. The faults are ``faults``.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

SOURCES = frozenset({"table", "live", "cache", "rule", "frozen", "current"})
"""Rungs that an answer may name."""
_TOLERANCE = 1e-9

Prices = dict[str, dict[str, float]]
"""Published price by table version and product."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One answer: ``status`` 0 is a connection that broke while it was waited for."""

    at: float
    ms: float
    status: int
    source: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """The answers of some time."""

    seen: list[Seen]

    @property
    def prices(self) -> int:
        """Requests answered with a price."""
        return sum(one.status == 200 for one in self.seen)

    @property
    def failures(self) -> int:
        """Requests answered with neither a price nor 429."""
        return sum(one.status not in (200, 429) for one in self.seen)

    def p99_ms(self, status: int = 200) -> float:
        """The 99th percentile of the time to an answer of ``status``; NaN without any."""
        times = sorted(one.ms for one in self.seen if one.status == status)
        return times[int(0.99 * (len(times) - 1))] if times else float("nan")


class CheckedLoad:
    """Connections that ask ``bodies`` without end; ``prices`` may grow while they do."""

    def __init__(
        self,
        port: int,
        bodies: Iterator[dict[str, Any]],
        *,
        connections: int,
        prices: Prices,
        pause_seconds: float = 0.0,
    ) -> None:
        self._wrong: list[str] = []
        self._from_table: set[tuple[str, str, float]] = set()
        self._port = port
        self._bodies = bodies
        self.connections = connections
        self._pause = pause_seconds
        self._prices = prices
        self._seen: list[Seen] = []
        self._ended = threading.Event()

    @contextmanager
    def running(self) -> Iterator[CheckedLoad]:
        """Ask until the block ends."""
        thread = threading.Thread(target=lambda: asyncio.run(self._ask_all()))
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join()

    def during(self, action: Callable[[], None]) -> Span:
        """The answers that came while ``action`` ran."""
        start = time.monotonic()
        action()
        return self.between(start, time.monotonic())

    def between(self, start: float, end: float) -> Span:
        """The answers of that time."""
        return Span([one for one in list(self._seen) if start <= one.at <= end])

    @property
    def all(self) -> Span:
        """Every answer."""
        return Span(list(self._seen))

    def wrong(self) -> list[str]:
        """What no answer may ever say: prices outside their rails, untagged, of half a table."""
        mixed = [
            f"{product}: {price} is not the price of table {version}"
            for version, product, price in self._from_table
            if self._prices.get(version, {}).get(product) != price
        ]
        return self._wrong + mixed

    async def _ask_all(self) -> None:
        await asyncio.gather(*(self._connection() for _ in range(self.connections)))

    async def _connection(self) -> None:
        while not self._ended.is_set():
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(0.05)
                continue
            try:
                await self._ask_over(reader, writer)
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()

    async def _ask_over(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._ended.is_set():
            body = next(self._bodies)
            started = time.monotonic()
            try:
                writer.write(_request(body))
                status, answer = await _response(reader)
            except (OSError, asyncio.IncompleteReadError):
                self._seen.append(_seen(started, 0))
                return
            if status == 200:
                self._check(body, answer)
                self._seen.append(
                    _seen(started, 200, source=answer["source"], version=answer["table_version"])
                )
            else:
                self._seen.append(_seen(started, status))
            if self._pause or status != 200:
                await asyncio.sleep(max(self._pause, 0.01))

    def _check(self, body: dict[str, Any], answer: dict[str, Any]) -> None:
        price, version = answer["recommended_price"], answer["table_version"]
        floor, ceiling = answer["price_floor"], answer["price_ceiling"]
        product, source = answer["product_id"], answer["source"]
        if not floor - _TOLERANCE <= price <= ceiling + _TOLERANCE and source != "frozen":
            self._wrong.append(f"{product}: {price} is outside {floor} to {ceiling}")
        if product != body["product_id"] or source not in SOURCES:
            self._wrong.append(f"{product} from {source!r} answers {body}")
        if source == "table":
            self._from_table.add((version, product, price))


def _seen(started: float, status: int, *, source: str = "", version: str = "") -> Seen:
    now = time.monotonic()
    return Seen(now, 1000 * (now - started), status, source, version)


def _request(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = "POST /get_price HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def _response(reader: asyncio.StreamReader) -> tuple[int, dict[str, Any]]:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n", 1)[0])
    answer: dict[str, Any] = json.loads(await reader.readexactly(length))
    return status, answer
