"""The online features: the last known state of products, in Redis, read in one round trip.

One hash a product and store; each feature is its value and the moment it was seen, so that the
pipeline and the stream may write in any order: a script lets the later reading win. A hash names
its own product, and is read into checked numbers: what is wrong counts as unknown. Like all of
Redis here, never the truth: gone, prices are made without.

Belongs here: keys, writing and reading. What a feature does to a price is ``online_context``; what
the features are is ``core.online_features``.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from pricing_assets.core.errors import InputError
from pricing_assets.core.tables import ONLINE_FEATURES
from serving.metrics import REDIS_FAILURES

PRICING_FEATURES = frozenset({"stock", "rival_price"})
"""Features that can move a price: a newer one of these makes requests look here."""
KEEP_SECONDS = 35 * 24 * 3600
"""A product that nobody writes of is forgotten after this long."""
WRITE_BATCH = 500
LOOK_TIMEOUT_SECONDS = 0.3
"""Longest wait for ``newest``: no request waits for it, and a busy machine's first connection may
take longer than a request should."""
SECONDS_A_KEY = 1e-5
"""What a product more may add to the time of one reading."""
MAX_VALUE = 1e9

Key = tuple[str, str]

_PREFIX = "pricing:features:1:"
_NEWEST = "pricing:features:newest"

# KEYS: newest, then one a product. ARGV: life in seconds, the moment of the newest price-moving
# reading in this batch, then for each product: its name, a count, and name, moment, value each.
_WRITE = """
local at = 3
for i = 2, #KEYS do
  local name, count = ARGV[at], tonumber(ARGV[at + 1])
  at = at + 2
  redis.call('HSET', KEYS[i], 'id', name)
  for _ = 1, count do
    local field, moment, value = ARGV[at], ARGV[at + 1], ARGV[at + 2]
    at = at + 3
    local old = redis.call('HGET', KEYS[i], field)
    local seen = old and tonumber(string.match(old, '@(.*)$'))
    if not seen or seen <= tonumber(moment) then
      redis.call('HSET', KEYS[i], field, value .. '@' .. moment)
    end
  end
  redis.call('EXPIRE', KEYS[i], ARGV[1])
end
local newest = tonumber(redis.call('GET', KEYS[1]) or '0') or 0
if tonumber(ARGV[2]) > newest then redis.call('SET', KEYS[1], ARGV[2]) end
"""

_READ = """
local found = {}
for i = 1, #KEYS do found[i] = redis.call('HMGET', KEYS[i], unpack(ARGV)) end
return found
"""


@dataclass(frozen=True, slots=True)
class Reading:
    """A value and the moment it was seen, Unix seconds."""

    value: float
    at: float


@dataclass(frozen=True, slots=True)
class FeatureUpdate:
    """What was seen of one product: features by name, all at one moment (Unix seconds)."""

    product_id: str
    store_id: str
    at: float
    values: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class OnlineFeatures:
    """What is known of one product and store; a feature that is unknown is absent."""

    product_id: str
    store_id: str
    readings: Mapping[str, Reading]


def write_features(client: Redis, updates: Iterable[FeatureUpdate]) -> int:
    """Write updates, for the pipeline and for a consumer of the stream; the later reading wins.

    A value that is NaN is unknown and leaves what is there.

    Returns:
        Updates written.

    Raises:
        InputError: a feature that does not exist, or a value below zero or not finite.
        redis.exceptions.RedisError: Redis does not answer; writing the same again is harmless.
    """
    left, written = iter(updates), 0
    while batch := list(islice(left, WRITE_BATCH)):
        keys, arguments = [_NEWEST], [str(KEEP_SECONDS), repr(_newest(batch))]
        for update in batch:
            keys.append(_key(update.product_id, update.store_id))
            arguments += _arguments(update)
        client.eval(_WRITE, len(keys), *keys, *arguments)
        written += len(batch)
    return written


def _newest(batch: Sequence[FeatureUpdate]) -> float:
    moving = (update.at for update in batch if PRICING_FEATURES & update.values.keys())
    return max(moving, default=0.0)


def _arguments(update: FeatureUpdate) -> list[str]:
    known = {name: float(value) for name, value in update.values.items() if not math.isnan(value)}
    found = [_name(update.product_id, update.store_id), str(len(known))]
    for name, value in known.items():
        if (
            name not in ONLINE_FEATURES
            or not _is_possible(name, value)
            or not math.isfinite(update.at)
        ):
            raise InputError(
                f"feature {name} of product '{update.product_id}' is {value!r} at {update.at!r}; "
                f"allowed: {', '.join(ONLINE_FEATURES)}, finite, not below zero"
            )
        found += [name, repr(float(update.at)), repr(value)]
    return found


class FeatureStore:
    """Reads features for the service; any failure reads as None."""

    def __init__(self, client: AsyncRedis, *, timeout_seconds: float) -> None:
        self._client = client
        self._timeout = timeout_seconds

    @classmethod
    def at(cls, url: str | None, *, timeout_ms: int) -> FeatureStore | None:
        """The store in the Redis at ``url``; None without one."""
        if url is None:
            return None
        seconds = timeout_ms / 1000
        client = AsyncRedis.from_url(
            url,
            socket_timeout=max(seconds, LOOK_TIMEOUT_SECONDS),
            socket_connect_timeout=max(seconds, LOOK_TIMEOUT_SECONDS),
            retry=Retry(NoBackoff(), 0),
            max_connections=64,
        )
        return cls(client, timeout_seconds=seconds)

    async def newest(self) -> float | None:
        """When the newest price-moving feature was seen, 0 where none was; None on failure."""
        try:
            async with asyncio.timeout(max(self._timeout, LOOK_TIMEOUT_SECONDS)):
                found: Any = await self._client.get(_NEWEST)
            return _number(found) or 0.0
        except (RedisError, OSError, TimeoutError):
            await self._failed()
            return None

    async def read(self, keys: Sequence[Key]) -> list[OnlineFeatures] | None:
        """The features of products and stores, in order, in one round trip; None on failure."""
        names = [_key(*key) for key in keys]
        try:
            async with asyncio.timeout(self._timeout + len(keys) * 1e-5):
                evaluated: Any = self._client.eval(
                    _READ, len(names), *names, "id", *ONLINE_FEATURES
                )
                found = await evaluated
        except (RedisError, OSError, TimeoutError):
            await self._failed()
            return None
        return [_features(key, fields) for key, fields in zip(keys, found, strict=True)]

    async def close(self) -> None:
        """End the connections."""
        await self._client.aclose()

    async def _failed(self) -> None:
        """Count it, and drop connections that may still owe an answer."""
        REDIS_FAILURES.inc()
        await self._client.connection_pool.disconnect()


def _features(key: Key, fields: Sequence[bytes | None]) -> OnlineFeatures:
    readings = {}
    if fields[0] == _name(*key).encode():
        for name, content in zip(ONLINE_FEATURES, fields[1:], strict=True):
            reading = _reading(name, content)
            if reading is not None:
                readings[name] = reading
    return OnlineFeatures(*key, readings)


def _reading(name: str, content: bytes | None) -> Reading | None:
    if content is None:
        return None
    text, _, moment = content.partition(b"@")
    value, at = _number(text), _number(moment)
    possible = value is not None and at is not None and _is_possible(name, value)
    return Reading(value, at) if value is not None and at is not None and possible else None


def _is_possible(name: str, value: float) -> bool:
    least = math.ulp(0.0) if name in ("price", "rival_price") else 0.0
    return least <= value <= MAX_VALUE


def _number(content: bytes | None) -> float | None:
    """A finite number in text; None for anything else."""
    try:
        value = float(content) if content is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _name(product_id: str, store_id: str) -> str:
    """Identifiers hold no control characters, so the separator cannot be part of one."""
    return f"{product_id}\x1f{store_id}"


def _key(product_id: str, store_id: str) -> str:
    return _PREFIX + _name(product_id, store_id)
