"""The cache is never the truth: a Redis that is wrong, slow or gone costs a recomputation."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from redis import Redis

from serving.context import EMPTY, Context
from serving.price_cache import FAILURES_TO_OPEN, Breaker, PriceCache, cache_key
from serving.quote import Quote, published_quote
from serving.redis_server import find_program, redis_for
from serving.worker_cache import WorkerCache
from tests.test_quote import row

ROW = row()
QUOTE = replace(published_quote(ROW), source="live", reasons=('naïve ☃ " reason',))
KEY = cache_key("000001-00000000", ROW, Context(current_stock=5.0))


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_for(url=None, log_folder=tmp_path_factory.mktemp("logs")) as url:
        assert url is not None
        yield url


@pytest.fixture
async def cache(redis_url: str) -> AsyncIterator[PriceCache]:
    opened = PriceCache.at(redis_url, ttl_seconds=60, timeout_ms=200)
    yield opened
    await opened.close()


@pytest.fixture
def raw(redis_url: str) -> Iterator[Redis]:
    client = Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


async def settled(cache: PriceCache) -> None:
    """Wait for the writes under way."""
    if cache._exchange_task is not None:
        await cache._exchange_task


async def test_a_kept_quote_is_found_by_another_worker(cache: PriceCache, redis_url: str) -> None:
    cache.keep(KEY, QUOTE)
    await settled(cache)
    other = PriceCache.at(redis_url, ttl_seconds=60, timeout_ms=200)
    assert await other.find(KEY) == QUOTE
    await other.close()


async def test_lookups_of_one_turn_share_one_exchange(cache: PriceCache, raw: Redis) -> None:
    keys = [f"{KEY}-{i}" for i in range(100)]
    for key in keys:
        cache.keep(key, QUOTE)
    await settled(cache)
    before = raw.info("commandstats")["cmdstat_mget"]["calls"] if raw.exists(keys[0]) else 0
    found = await asyncio.gather(*(cache.find(key) for key in keys))
    assert found == [QUOTE] * 100
    assert raw.info("commandstats")["cmdstat_mget"]["calls"] - before <= 2


async def test_values_expire(raw: Redis, cache: PriceCache) -> None:
    cache.keep(KEY, QUOTE)
    await settled(cache)
    assert 0 < raw.ttl(KEY) <= 60


@pytest.mark.parametrize(
    "poison",
    [
        b"",
        b"\x80\x04\x95pickle",
        b"null",
        b"{}",
        b'{"key": "another", "quote": {}}',
        b'{"key": NaN}',
    ],
)
async def test_garbage_is_a_miss(cache: PriceCache, raw: Redis, poison: bytes) -> None:
    raw.set(KEY, poison)
    assert await cache.find(KEY) is None


async def test_a_value_under_a_foreign_key_is_a_miss(cache: PriceCache, raw: Redis) -> None:
    cache.keep(KEY, QUOTE)
    await settled(cache)
    other = cache_key("000001-00000000", replace(ROW, product_id="SKU-2"), EMPTY)
    raw.set(other, raw.get(KEY))  # type: ignore[arg-type]
    assert await cache.find(other) is None


async def test_another_type_of_value_is_a_miss(cache: PriceCache, raw: Redis) -> None:
    raw.lpush(KEY, "a", "b")
    assert await cache.find(KEY) is None


async def test_a_flushed_redis_is_a_miss_and_heals(cache: PriceCache, raw: Redis) -> None:
    cache.keep(KEY, QUOTE)
    await settled(cache)
    raw.flushall()
    assert await cache.find(KEY) is None
    cache.keep(KEY, QUOTE)
    await settled(cache)
    assert await cache.find(KEY) == QUOTE


async def test_without_a_redis_nothing_is_found() -> None:
    cache = PriceCache(None, ttl_seconds=10, timeout_seconds=0.02)
    cache.keep(KEY, QUOTE)
    assert await cache.find(KEY) is None
    await cache.close()


def test_the_worker_tier_forgets_in_time_and_keeps_the_latest_used() -> None:
    now = [0.0]
    cache: WorkerCache[str] = WorkerCache(ttl_seconds=10, max_entries=2, clock=lambda: now[0])
    cache.keep("a", "A")
    now[0] = 9.0
    assert cache.get("a") == "A"
    now[0] = 11.0
    assert cache.get("a") is None
    for key in ("a", "b"):
        cache.keep(key, key.upper())
    assert cache.get("a") == "A"
    cache.keep("c", "C")
    assert [cache.get(key) for key in ("a", "b", "c")] == ["A", None, "C"]
    assert len(cache) == 2
    cache.forget()
    assert cache.get("a") is None


async def test_a_redis_that_is_gone_costs_little_and_opens_the_breaker(tmp_path: Path) -> None:
    cache = PriceCache.at(f"unix://{tmp_path}/nothing.sock", ttl_seconds=60, timeout_ms=20)
    for _ in range(FAILURES_TO_OPEN):
        assert cache.breaker.allows
        assert await cache.find(KEY) is None
    assert not cache.breaker.allows
    assert await cache.find(KEY) is None
    await cache.close()


async def test_a_stopped_redis_opens_the_breaker_and_heals(tmp_path: Path) -> None:
    with redis_for(url=None, log_folder=tmp_path) as url:
        assert url is not None
        pid = int(Redis.from_url(url).info("server")["process_id"])
        cache = PriceCache.at(url, ttl_seconds=60, timeout_ms=20)
        cache.keep(KEY, QUOTE)
        await settled(cache)
        os.kill(pid, signal.SIGSTOP)
        try:
            answers = [await cache.find(KEY) for _ in range(20)]
        finally:
            os.kill(pid, signal.SIGCONT)
        assert answers == [None] * 20
        assert not cache.breaker.allows
        assert await _eventually(cache) == QUOTE
        assert cache.breaker.failures == 0
        await cache.close()


async def _eventually(cache: PriceCache) -> Quote | None:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = await cache.find(KEY)
        if found is not None:
            return found
        await asyncio.sleep(0.05)
    return None


def test_the_breaker_opens_after_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_TO_OPEN - 1):
        breaker.failed()
    breaker.succeeded()
    for _ in range(FAILURES_TO_OPEN):
        assert breaker.allows
        breaker.failed()
    assert not breaker.allows
    breaker.failed()
    assert not breaker.allows
    breaker.succeeded()
    assert breaker.allows
    assert breaker.failures == 0


def test_keys_hold_version_product_store_segment_and_context() -> None:
    keys = {
        cache_key("000001-00000000", ROW, EMPTY),
        cache_key("000002-00000000", ROW, EMPTY),
        cache_key("000001-00000000", replace(ROW, product_id="SKU-2"), EMPTY),
        cache_key("000001-00000000", replace(ROW, store_id="1"), EMPTY),
        cache_key("000001-00000000", replace(ROW, segment="1"), EMPTY),
        cache_key("000001-00000000", ROW, Context(comp_price=1.0)),
    }
    assert len(keys) == 6


def test_a_named_redis_is_used_as_it_is(tmp_path: Path) -> None:
    with redis_for(url="redis://elsewhere:6379", log_folder=tmp_path) as url:
        assert url == "redis://elsewhere:6379"
    assert list(tmp_path.iterdir()) == []


def test_without_any_server_the_service_does_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.redis_server.find_program", lambda: None)
    with redis_for(url=None, log_folder=tmp_path) as url:
        assert url is None


def test_a_server_is_found_here() -> None:
    program = find_program()
    assert program is not None and Path(program).exists()
