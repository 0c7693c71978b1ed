"""The last price of each rival, and from them the rivals' mean price of the feature store.

A rival's event tells one rival's price; what prices are made by is the mean over rivals. So the
last price of each is kept beside the feature store, with the moment it was seen, in one hash a
product and store. A later reading wins whatever the order of writing, so writing the same again is
harmless.

Belongs here: that hash, and the mean. The feature store is ``serving.feature_store``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis

from serving.feature_store import KEEP_SECONDS, MAX_VALUE, WRITE_BATCH, FeatureUpdate

_PREFIX = "pricing:rivals:1:"

# KEYS: one a product. ARGV: life in seconds, greatest age, then for each product: a count, and
# rival, moment, price each. Answers the newest moment and the mean price of the rivals seen within
# that age of it, of each product.
_SEEN = """
local found, at = {}, 3
for i = 1, #KEYS do
  local count = tonumber(ARGV[at])
  at = at + 1
  for _ = 1, count do
    local old = redis.call('HGET', KEYS[i], ARGV[at])
    local seen = old and tonumber(string.match(old, '@(.*)$'))
    if not seen or seen <= tonumber(ARGV[at + 1]) then
      redis.call('HSET', KEYS[i], ARGV[at], ARGV[at + 2] .. '@' .. ARGV[at + 1])
    end
    at = at + 3
  end
  redis.call('EXPIRE', KEYS[i], ARGV[1])
  local prices, newest = {}, 0
  for _, text in ipairs(redis.call('HVALS', KEYS[i])) do
    local price, moment = string.match(text, '^(.*)@(.*)$')
    price, moment = tonumber(price), tonumber(moment)
    if price and moment then
      prices[#prices + 1] = {price, moment}
      newest = math.max(newest, moment)
    end
  end
  local sum, number = 0, 0
  for _, one in ipairs(prices) do
    if one[2] >= newest - tonumber(ARGV[2]) then sum, number = sum + one[1], number + 1 end
  end
  found[i] = {string.format('%.17g', newest), string.format('%.17g', sum / math.max(number, 1))}
end
return found
"""


@dataclass(frozen=True, slots=True)
class RivalPrice:
    """One rival's price of a product, currency units, seen at a moment (Unix seconds)."""

    product_id: str
    store_id: str
    competitor: str
    price: float
    at: float


def rival_updates(
    client: Redis, seen: Iterable[RivalPrice], *, max_age_seconds: float
) -> list[FeatureUpdate]:
    """Keep what was seen, and give the mean price of each product and store that it changes.

    Args:
        client: any client of the Redis that holds the feature store.
        seen: prices, in any order; those beyond the feature store's largest value are left out.
        max_age_seconds: a rival last seen this long before the newest counts no more.

    Raises:
        redis.exceptions.RedisError: Redis does not answer; doing the same again is harmless.
    """
    products: dict[tuple[str, str], dict[str, RivalPrice]] = {}
    for one in seen:
        if 0 < one.price <= MAX_VALUE:
            rivals = products.setdefault((one.product_id, one.store_id), {})
            if one.competitor not in rivals or rivals[one.competitor].at <= one.at:
                rivals[one.competitor] = one
    keys, updates = list(products), []
    for start in range(0, len(keys), WRITE_BATCH):
        part = keys[start : start + WRITE_BATCH]
        updates += _written(client, {key: products[key] for key in part}, max_age_seconds)
    return updates


def _written(
    client: Redis, products: dict[tuple[str, str], dict[str, RivalPrice]], max_age: float
) -> list[FeatureUpdate]:
    arguments = [str(KEEP_SECONDS), repr(float(max_age))]
    for rivals in products.values():
        arguments.append(str(len(rivals)))
        for one in rivals.values():
            arguments += [one.competitor, repr(float(one.at)), repr(float(one.price))]
    names = [f"{_PREFIX}{product}\x1f{store}" for product, store in products]
    found: Sequence[Any] = client.eval(_SEEN, len(names), *names, *arguments)  # type: ignore[assignment]
    return [
        FeatureUpdate(product, store, float(newest), {"rival_price": float(mean)})
        for (product, store), (newest, mean) in zip(products, found, strict=True)
    ]
