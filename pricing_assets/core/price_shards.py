"""A catalogue in shards: which rows belong together, and what a shard's prices add up to.

Belongs here: cutting a catalogue so that each shard can be priced alone with the same result,
what a shard is priced by, and sums over shards. Files, Spark and Dagster are ``resources``.

Products of one category are priced together (substitutes, pack sizes, zones), so a shard holds
whole categories, in all their stores: the price table of a catalogue is the table of its shards,
row for row. Rules that link products of several categories are refused. Goals of the whole
catalogue reach a shard as their multipliers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pricing_assets.core.catalogue_prices import PRICE_SCHEMA, price_catalogue
from pricing_assets.core.errors import InvalidSettingError, MissingColumnError
from pricing_assets.core.guardrails import RULES_VERSION
from pricing_assets.core.promotion import violations
from pricing_assets.core.settings import PricingSettings

_RAILS = ["recommended_price", "price_floor", "price_ceiling"]
_SUMS = ("expected_profit", "expected_profit_at_current", "expected_revenue")


@dataclass(frozen=True, slots=True)
class ShardSummary:
    """What the prices of some shards come to; sums, so that shards add up.

    Attributes:
        rows: products and stores.
        changed: rows whose price changes.
        outside_rails: rows whose price is below its floor or above its ceiling; must be 0.
        expected_profit, expected_profit_at_current, expected_revenue: over the horizon, currency
            units; rows without a known value add nothing.
    """

    rows: int = 0
    changed: int = 0
    outside_rails: int = 0
    expected_profit: float = 0.0
    expected_profit_at_current: float = 0.0
    expected_revenue: float = 0.0

    def __add__(self, other: ShardSummary) -> ShardSummary:
        names = [field.name for field in fields(self)]
        return ShardSummary(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def as_json(self) -> dict[str, float]:
        """Plain numbers by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def shard_names(count: int) -> tuple[str, ...]:
    """Names of ``count`` shards, as ``part-00007``, in order.

    Raises:
        InvalidSettingError: fewer than one.
    """
    if count < 1:
        raise InvalidSettingError(f"{count} shards were asked for; at least 1 is needed")
    return tuple(f"part-{number:05d}" for number in range(count))


def link_key(catalogue: pa.Table) -> pa.ChunkedArray:
    """For each row the text that keeps linked rows together: its category, else its product id.

    Raises:
        MissingColumnError: no column product_id.
    """
    if "product_id" not in catalogue.column_names:
        raise MissingColumnError(
            table="catalogue", column="product_id", found=catalogue.column_names
        )
    product = catalogue["product_id"].cast(pa.string())
    if "category" not in catalogue.column_names:
        return product
    category = pc.fill_null(catalogue["category"].cast(pa.string()), "")
    return pc.if_else(pc.equal(category, ""), product, category)


def split_catalogue(catalogue: pa.Table, *, shards: int) -> dict[str, pa.Table]:
    """The catalogue cut into ``shards`` tables by name; rows keep their order, some may be empty.

    A row's shard depends on nothing but its link key, so that the same product falls into the
    same shard on every machine and every day.
    """
    names = shard_names(shards)
    number = shard_of(link_key(catalogue), shards=shards)
    order = np.argsort(number, kind="stable")
    bounds = np.searchsorted(number[order], np.arange(shards + 1))
    sorted_rows = catalogue.take(pa.array(order))
    return {
        name: sorted_rows.slice(bounds[i], bounds[i + 1] - bounds[i])
        for i, name in enumerate(names)
    }


def shard_of(keys: pa.ChunkedArray, *, shards: int) -> NDArray[np.int64]:
    """Shard number (n,) of each key, by a hash that no machine or run changes."""
    coded = keys.combine_chunks().dictionary_encode()
    labels = coded.dictionary.to_numpy(zero_copy_only=False).astype(object)
    hashed = pd.util.hash_array(labels, categorize=False) % np.uint64(shards)
    return np.asarray(hashed.astype(np.int64)[coded.indices.to_numpy()])


def shard_prices(prices: pa.Table) -> pa.Table:
    """Prices with exactly the columns and types of ``PRICE_SCHEMA``."""
    return prices.select(PRICE_SCHEMA.names).cast(PRICE_SCHEMA)


PriceFunction = Callable[[pa.Table], pa.Table]
"""From a shard of a catalogue to its prices."""


def shard_price_function(settings: PricingSettings) -> PriceFunction:
    """What prices each shard: ``price_catalogue``, in the columns of ``PRICE_SCHEMA``.

    A shard in which no product has a unit cost is refused as a catalogue without one is.

    Raises:
        InvalidSettingError: a rule links products of several categories.
    """
    rails = settings.guardrails
    linking = {"ladders": bool(rails.ladders), "kvi_max_mean_index": rails.kvi_max_mean_index}
    found = [f"guardrails.{name}" for name, value in linking.items() if value]
    if found:
        raise InvalidSettingError(
            f"{' and '.join(found)} may link products of several categories, and shards are "
            "priced apart: unset it, or price the catalogue in one piece"
        )
    return partial(_price_shard, settings=settings)


def _price_shard(shard: pa.Table, *, settings: PricingSettings) -> pa.Table:
    return shard_prices(price_catalogue(shard, settings=settings))


def price_settings_sha256(settings: PricingSettings) -> str:
    """SHA-256 of all that prices depend on beside the catalogue: settings and rules' version."""
    unread = {"columns", "ingestion", "forecast", "gate", "serving", "audit"}
    unread |= {"orchestration", "spark"}
    content = f"{RULES_VERSION}\x1f{settings.model_dump_json(exclude=unread)}"
    return hashlib.sha256(content.encode()).hexdigest()


def summarize(prices: pa.Table) -> ShardSummary:
    """The sums over a shard's prices."""
    return ShardSummary(
        rows=prices.num_rows,
        changed=int(pc.sum(pc.equal(prices["decision"], "change")).as_py() or 0),
        outside_rails=violations(prices.select(_RAILS).to_pandas()),
        **{name: float(np.nansum(prices[name].to_numpy())) for name in _SUMS},
    )


def total(summaries: Iterable[ShardSummary]) -> ShardSummary:
    """The sums over several shards."""
    return sum(summaries, start=ShardSummary())
