"""Break what the service stands on, under load, and say what its callers saw.

Belongs here: the faults of processes, Redis and tables. What is wrong with requests is
``request_faults``.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis

from benchmarks.checked_load import CheckedLoad, Span
from benchmarks.fault_report import Finding, Lengths, Report
from benchmarks.fault_stage import CONTEXT, PRODUCTS, Stage, stage, until
from pricing_assets.core.settings import PricingSettings
from serving.catalog import Catalog
from serving.live_quote import quote
from serving.price_cache import cache_key
from serving.price_store import Pointer
from serving.wire import price_request


def redis_killed(folder: Path, lengths: Lengths) -> Report:
    """SIGKILL under load, then a new, empty Redis at the same address."""
    name = "Redis SIGKILL"
    with stage(folder) as built, _loaded(built) as load:
        base = load.during(lambda: time.sleep(lengths.base))
        built.redis.signal(signal.SIGKILL)
        broken = load.during(lambda: time.sleep(min(lengths.outage, 10)))
        built.redis.start()
        back = until(lambda: _answers_from_redis(built), seconds=30)
        return [
            *always(name, load),
            Finding(name, "failed requests", load.all.failures, 0),
            Finding(name, "p99 against base", _ratio(broken, base), 2, timing=True),
            Finding(name, "seconds until Redis is used again", back, 5, timing=True),
        ]


def redis_stopped(folder: Path, lengths: Lengths) -> Report:
    """SIGSTOP: it takes connections and answers nothing."""
    name = f"Redis SIGSTOP {lengths.outage:g} s"
    with stage(folder) as built, _loaded(built) as load:
        base = load.during(lambda: time.sleep(lengths.base))
        built.redis.signal(signal.SIGSTOP)
        opened = until(lambda: built.metric("pricing_redis_breaker_open") > 0, seconds=30)
        stopped = load.during(lambda: time.sleep(lengths.outage))
        built.redis.signal(signal.SIGCONT)
        until(lambda: _answers_from_redis(built), seconds=30)
        return [
            *always(name, load),
            Finding(name, "failed requests", load.all.failures, 0),
            Finding(name, "p99 ms over base", stopped.p99_ms() - base.p99_ms(), 25, timing=True),
            Finding(name, "seconds until the breaker opens", opened, 1, timing=True),
        ]


def redis_poisoned(folder: Path, lengths: Lengths) -> Report:
    """Under the right keys: garbage, other products, old versions, prices outside the rails."""
    name = "Redis poisoned"
    with stage(folder) as built:
        catalog = Catalog(built.store.read_current(), settings=PricingSettings())
        honest, served = {}, 0
        with Redis.from_url(built.redis.url) as redis:
            for i in range(PRODUCTS):
                body = {"product_id": f"SKU-{i}", "current_stock": 30, **CONTEXT}
                honest[i] = _poison(redis, catalog, body, kind=i)
        for i, price in honest.items():
            answer = built.price({"product_id": f"SKU-{i}", "current_stock": 30, **CONTEXT})
            served += answer["recommended_price"] != price or answer["source"] != "live"
        return [Finding(name, f"of {PRODUCTS} poisoned values served", served, 0)]


def redis_flushed_and_full(folder: Path, lengths: Lengths) -> Report:
    """FLUSHALL again and again, then no memory left for any write."""
    name = "Redis FLUSHALL and out of memory"
    with stage(folder) as built, _loaded(built) as load:
        with Redis.from_url(built.redis.url) as redis:
            for _ in range(10):
                time.sleep(lengths.base / 10)
                redis.flushall()
            redis.config_set("maxmemory-policy", "noeviction")
            redis.config_set("maxmemory", "1")
            built.publish(1.06)  # new keys, none of which can be written
            time.sleep(lengths.base)
        return [*always(name, load), Finding(name, "failed requests", load.all.failures, 0)]


def worker_killed(folder: Path, lengths: Lengths) -> Report:
    """SIGKILL of one of two workers."""
    name = "one of two workers killed"
    with stage(folder, workers=2) as built, _loaded(built) as load:
        time.sleep(lengths.base)
        before = built.workers()
        os.kill(before[0], signal.SIGKILL)
        time.sleep(lengths.base)
        back = until(lambda: len(set(built.workers()) - {before[0]}) == 2, seconds=60)
        share = load.connections
        return [
            *always(name, load),
            Finding(name, "failed requests (its open ones at most)", load.all.failures, share),
            Finding(name, "seconds until there are two", back + lengths.base, 30, timing=True),
        ]


def frozen_without_redis(folder: Path, lengths: Lengths) -> Report:
    """``freeze`` of everything while Redis is dead, two workers under load."""
    name = "freeze with Redis down"
    with stage(folder, workers=2) as built, _loaded(built) as load:
        built.redis.signal(signal.SIGKILL)
        time.sleep(lengths.base)
        frozen_at = time.monotonic()
        built.store.freeze()
        time.sleep(4)
        after = load.between(frozen_at, time.monotonic()).seen
        moving = [one.at - frozen_at for one in after if one.source != "frozen"]
        return [
            *always(name, load),
            Finding(name, "failed requests", load.all.failures, 0),
            Finding(name, "seconds until all workers hold", max(moving, default=0), 2, timing=True),
            Finding(name, "unfrozen answers after 3 s", sum(late > 3 for late in moving), 0),
        ]


def tables_swapped(folder: Path, lengths: Lengths) -> Report:
    """Publish and roll back under load, two workers."""
    name = "publish and rollback under load"
    with stage(folder, workers=2) as built, _loaded(built) as load:
        versions = []
        for i in range(lengths.swaps):
            versions.append(built.publish(1.06 + 0.01 * i) if i % 2 == 0 else built.rollback())
            time.sleep(3)
        differ = [_overlap(load.all, version) for version in versions]
        unseen = sum(not any(one.version == v for one in load.all.seen) for v in versions)
        return [
            *always(name, load),
            Finding(name, "failed requests", load.all.failures, 0),
            Finding(name, "tables never answered from", unseen, 0),
            Finding(name, "seconds in which workers differ", max(differ), 2, timing=True),
        ]


def tables_damaged(folder: Path, lengths: Lengths) -> Report:
    """A pointer to a table with a flipped bit, cut off, without a file; a pointer of garbage."""
    name = "damaged tables"
    with stage(folder) as built, _loaded(built) as load:
        good = json.loads(built.get("/readyz")[1])["table_version"]
        taken = refused = 0
        kinds = [
            *((file, hurt) for file in _FILES for hurt in (_flip, _cut, _remove)),
            ("current.json", _cut),
        ]
        for file, hurt in kinds:
            before = _refusals(built)
            with _damaged(built, file, hurt):
                with suppress(TimeoutError):
                    until(lambda: _refusals(built) > before, seconds=5)  # noqa: B023
                refused += _refusals(built) > before
                taken += json.loads(built.get("/readyz")[1])["table_version"] != good
        return [
            *always(name, load),
            Finding(name, "failed requests", load.all.failures, 0),
            Finding(name, f"of {len(kinds)} damaged tables taken up", taken, 0),
            Finding(name, f"of {len(kinds)} refused", refused, len(kinds), at_least=True),
        ]


_FILES = ("price_table.parquet", "demand_curves.parquet", "manifest.json")


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _remove(path: Path) -> None:
    path.unlink()


@contextmanager
def _damaged(built: Stage, file: str, hurt: Callable[[Path], None]) -> Iterator[None]:
    """A version that was published elsewhere, damaged, and pointed at while the block runs."""
    root = built.store.root
    pointer = root / "current.json"
    kept = pointer.read_bytes()
    source = root / "versions" / built.store.versions()[0]
    copy = root / "versions" / f"900000-{hashlib.sha256(file.encode()).hexdigest()[:8]}"
    shutil.copytree(source, copy)
    digest = hashlib.sha256((copy / "manifest.json").read_bytes()).hexdigest()
    damaged = Pointer(table_version=copy.name, manifest_sha256=digest)
    if file == pointer.name:
        pointer.write_text(damaged.model_dump_json())
        hurt(pointer)
    else:
        hurt(copy / file)
        pointer.write_text(damaged.model_dump_json())
    try:
        yield
    finally:
        pointer.write_bytes(kept)
        shutil.rmtree(copy)
        time.sleep(1)


def _refusals(built: Stage) -> float:
    return built.metric('pricing_table_loads_total{outcome="refused"}')


def _poison(redis: Redis, catalog: Catalog, body: dict[str, object], *, kind: int) -> float:
    """Write a wrong value under the key of ``body``; the honest price."""
    request = price_request(body)
    found = catalog.find(request.product_id, None, None)
    assert found is not None
    answer = quote(found.row, request.context, settings=catalog.settings)
    key = cache_key(catalog.version, found.row, found.row.meaning(request.context))
    plain = {name: getattr(answer, name) for name in type(answer).__slots__}
    cheap = {**plain, "recommended_price": 0.01}
    values: list[bytes | str] = [
        b"\x80\x04\x95garbage",
        json.dumps({"key": key, "quote": cheap}),
        json.dumps({"key": key, "quote": {**cheap, "price_floor": 0.01}}),
        json.dumps({"key": key, "quote": {**plain, "product_id": "SKU-other"}}),
        json.dumps({"key": key.replace(catalog.version, "000000-00000000"), "quote": plain}),
        json.dumps({"key": key, "quote": {**plain, "recommended_price": 1e308}}),
        json.dumps({"key": key, "quote": {**plain, "currency": "JPY"}}),
    ]
    redis.set(key, values[kind % len(values)])
    return answer.recommended_price


def always(name: str, load: CheckedLoad) -> Report:
    """What holds whatever is broken."""
    wrong = load.wrong()
    for sentence in wrong[:3]:
        sys.stderr.write(f"{name}: {sentence}\n")
    answered = Finding(name, "prices answered", load.all.prices, 1, at_least=True)
    return [answered, Finding(name, "prices that may not be served", len(wrong), 0)]


@contextmanager
def _loaded(built: Stage) -> Iterator[CheckedLoad]:
    """Load with its first, computing round behind it."""
    with built.load().running() as load:
        until(lambda: load.all.prices > 1000, seconds=120)
        yield load


def _ratio(one: Span, base: Span) -> float:
    return one.p99_ms() / base.p99_ms()


def _answers_from_redis(built: Stage) -> bool:
    """The breaker is closed, and what is written is there."""
    if built.metric("pricing_redis_breaker_open") > 0:
        return False
    built.price({"product_id": "SKU-1", "current_stock": time.monotonic() % 1000 + 1, **CONTEXT})
    with Redis.from_url(built.redis.url) as redis:
        return bool(redis.dbsize())


def _overlap(span: Span, version: str) -> float:
    """Seconds from the first answer of ``version`` to the last answer of the one before it."""
    first = min((one.at for one in span.seen if one.version == version), default=0.0)
    late = [one for one in span.seen if one.version and one.at > first and one.version < version]
    return max((one.at for one in late), default=first) - first


FAULTS = (
    redis_killed,
    redis_stopped,
    redis_poisoned,
    redis_flushed_and_full,
    worker_killed,
    frozen_without_redis,
    tables_swapped,
    tables_damaged,
)
