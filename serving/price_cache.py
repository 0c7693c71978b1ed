"""Live quotes kept for a while in Redis, for all workers. Never the truth.

Belongs here: keys, time to live, the batching of lookups, and the circuit breaker. A value names
the key it was written for, and is read as text into a strict model: whoever takes one out still
guards its price. Redis being slow, full, wrong or gone costs a recomputation, nothing else. What
one worker remembers is ``worker_cache``.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, TypeVar

import structlog
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from serving.context import Context
from serving.metrics import BREAKER_OPEN, REDIS_FAILURES
from serving.quote import PricedRow, Quote

Value = TypeVar("Value")

MAX_BATCH = 256
"""Keys in one exchange: small enough for the timeout."""
MAX_PENDING = 4096
"""Writes kept for the next exchange; beyond, a quote is simply not cached."""
FAILURES_TO_OPEN = 3
STUCK = 10
"""An exchange that takes this many timeouts opens the breaker by itself."""
GRACE_TURNS = 5
"""Turns of the event loop in which an answer that has come may still be read."""
PROBE_SECONDS = 0.5
"""Pause between two looks at a Redis that failed."""

_log = structlog.get_logger(__name__)


class _Entry(BaseModel):
    """A value in Redis: the quote and the key it belongs to."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    key: str
    quote: Quote


_ENTRY = TypeAdapter(_Entry)


def cache_key(version: str, row: PricedRow, context: Context) -> str:
    """The key of a quote: table version, product, store, segment and bucketed context.

    Identifiers hold no control characters, so the separator cannot be part of one.
    """
    parts = (version, row.product_id, row.store_id, row.segment, context.key())
    return "pricing:quote:1:" + "\x1f".join(parts)


@dataclass(slots=True)
class Breaker:
    """Stops asking after FAILURES_TO_OPEN failures in a row, until an exchange succeeds."""

    failures: int = 0

    @property
    def allows(self) -> bool:
        """Whether Redis may be asked for an answer."""
        return self.failures < FAILURES_TO_OPEN

    def succeeded(self) -> None:
        """Close."""
        if not self.allows:
            _log.info("redis_back")
            BREAKER_OPEN.set(0)
        self.failures = 0

    def failed(self, count: int = 1) -> None:
        """Count a failure (or one as bad as ``count``); open at too many in a row."""
        REDIS_FAILURES.inc()
        was_closed, self.failures = self.allows, self.failures + count
        if was_closed and not self.allows:
            _log.warning("redis_breaker_open", probe_seconds=PROBE_SECONDS)
            BREAKER_OPEN.set(1)


class PriceCache:
    """The quotes in Redis.

    One exchange with Redis is under way at a time; what is asked for meanwhile goes together into
    the next one. A request waits no longer than the timeout, and then is answered without. A worker
    too busy to read in time is no fault of Redis: only an exchange that stays stuck opens the
    breaker. While it is open no request waits: a task of its own looks whether Redis is back.
    """

    def __init__(self, client: Redis | None, *, ttl_seconds: int, timeout_seconds: float) -> None:
        self.breaker = Breaker()
        self._client = client
        self._ttl = ttl_seconds
        self._timeout = timeout_seconds
        self._asked: dict[str, list[asyncio.Future[bytes | None]]] = {}
        self._pending: dict[str, bytes] = {}
        self._exchange_task: asyncio.Task[None] | None = None
        self._probe_task: asyncio.Task[None] | None = None

    @classmethod
    def at(cls, url: str | None, *, ttl_seconds: int, timeout_ms: int) -> PriceCache:
        """The cache in the Redis at ``url``; for None nothing is ever found."""
        seconds = timeout_ms / 1000
        client = None
        if url is not None:
            client = Redis.from_url(
                url,
                socket_timeout=2 * STUCK * seconds,  # later than the timer here
                socket_connect_timeout=2 * STUCK * seconds,
                retry=Retry(NoBackoff(), 0),
                max_connections=2,
            )
        return cls(client, ttl_seconds=ttl_seconds, timeout_seconds=seconds)

    async def find(self, key: str) -> Quote | None:
        """The quote in Redis, if it is whole and was written for this key; never raises."""
        if self._client is None or not self.breaker.allows:
            return None
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._asked.setdefault(key, []).append(future)
        self._wake()
        timer = loop.call_later(self._timeout, _give_up, future, GRACE_TURNS)
        content = await future
        timer.cancel()
        return _decoded(content, key) if content is not None else None

    def keep(self, key: str, answer: Quote) -> None:
        """Write a quote with the next exchange; where there is no room, it is not cached."""
        room = len(self._pending) < MAX_PENDING
        if room and self._client is not None and self.breaker.allows:
            self._pending[key] = _ENTRY.dump_json(_Entry(key=key, quote=answer))
            self._wake()

    async def close(self) -> None:
        """End the exchange under way, the probe and the connections."""
        if self._exchange_task is not None:
            await self._exchange_task
        if self._probe_task is not None:
            self._probe_task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._probe_task
        if self._client is not None:
            await self._client.aclose()

    def _wake(self) -> None:
        if self._exchange_task is None or self._exchange_task.done():
            self._exchange_task = asyncio.create_task(self._exchange_all())

    async def _exchange_all(self) -> None:
        while self._asked or self._pending:
            asked = _take(self._asked, MAX_BATCH)
            pending = _take(self._pending, MAX_BATCH)
            found = await self._exchange(list(asked), pending)
            for futures, content in zip(asked.values(), found, strict=True):
                for future in futures:
                    if not future.done():
                        future.set_result(content)

    async def _exchange(self, keys: list[str], writes: dict[str, bytes]) -> list[bytes | None]:
        """One round trip: all lookups and all writes; Nones where it failed."""
        nothing: list[bytes | None] = [None] * len(keys)
        if not self.breaker.allows:
            return nothing
        try:
            async with asyncio.timeout(STUCK * self._timeout):
                results = await self._ask(keys, writes)
        except TimeoutError:
            await self._failed(FAILURES_TO_OPEN)
            return nothing
        except (RedisError, OSError):
            await self._failed()
            return nothing
        if any(isinstance(result, Exception) for result in results):
            self._count_failure()
            return nothing
        self.breaker.succeeded()
        return list(results[0]) if keys else []

    async def _ask(self, keys: list[str], writes: dict[str, bytes]) -> list[Any]:
        assert self._client is not None
        if not writes:
            return [await self._client.mget(keys)]
        pipe = self._client.pipeline(transaction=False)
        if keys:
            pipe.mget(keys)
        for key, content in writes.items():
            pipe.set(key, content, ex=self._ttl)
        return list(await pipe.execute(raise_on_error=False))

    async def _failed(self, count: int = 1) -> None:
        """Count it, and drop a connection that may still owe an answer."""
        assert self._client is not None
        self._count_failure(count)
        await self._client.connection_pool.disconnect()

    def _count_failure(self, count: int = 1) -> None:
        self.breaker.failed(count)
        if not self.breaker.allows and (self._probe_task is None or self._probe_task.done()):
            self._pending.clear()
            self._probe_task = asyncio.create_task(self._probe())

    async def _probe(self) -> None:
        """Look whether Redis is back, until it is."""
        assert self._client is not None
        while not self.breaker.allows:
            await asyncio.sleep(PROBE_SECONDS)
            try:
                async with asyncio.timeout(STUCK * self._timeout):
                    await self._client.ping()
            except (RedisError, OSError, TimeoutError):
                await self._failed()
            else:
                self.breaker.succeeded()


def _give_up(future: asyncio.Future[bytes | None], turns: int) -> None:
    """Answer a lookup with nothing, unless it is answered within ``turns``."""
    if future.done():
        return
    if turns:
        asyncio.get_running_loop().call_soon(_give_up, future, turns - 1)
    else:
        future.set_result(None)


def _take(store: dict[str, Value], count: int) -> dict[str, Value]:
    """Remove and return the oldest ``count`` entries."""
    return {key: store.pop(key) for key in list(store)[:count]}


def _decoded(content: bytes, key: str) -> Quote | None:
    try:
        entry = _ENTRY.validate_json(content)
    except ValidationError:
        return None
    return entry.quote if entry.key == key else None
