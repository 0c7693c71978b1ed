"""Share of quotes answered without computing a price, on a Zipf stream over a large catalogue.

``python -m benchmarks.hit_ratio``: the desk in process, without Redis. Half way a new table comes
in which one product in a hundred has another price, which makes every older key unreachable. Two
streams: products alone, and a tenth of the requests with a stock, which are priced live when they
are first asked and then kept. Beside each ratio stands the highest one that any cache can reach:
of a context that was never asked before, no price can have been kept.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pricing_assets.core.settings import PricingSettings
from serving import tallies
from serving.desk import Desk
from serving.price_cache import PriceCache
from serving.price_store import PriceStore
from tests.published_tables import curve_table, price_table, stamps

EXPONENT = 1.1
CHURN = 0.01


def main() -> None:
    """Measure both streams and print."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="pricing-hits-") as folder:
        store = PriceStore(Path(folder))
        for share in (0.0, 0.1):
            found = asyncio.run(_ratios(store, options, with_stock=share))
            print(
                f"{share:>4.0%} with a stock: {found.reached:.2%} of {options.requests:,}; "
                f"at most {found.possible:.2%}"
            )


@dataclass(frozen=True, slots=True)
class Ratios:
    """Shares of requests answered without computing: reached, and with no first askings."""

    reached: float
    possible: float


async def _ratios(store: PriceStore, options: argparse.Namespace, *, with_stock: float) -> Ratios:
    rng = np.random.default_rng(1)
    curves = curve_table(options.products)
    prices = price_table(curves)
    _publish(store, prices, curves)
    cache = PriceCache(None, ttl_seconds=300, timeout_seconds=0.02)
    desk = Desk(store, cache, settings=PricingSettings())
    await desk.refresh()
    before = {name: tally.count for name, tally in tallies.CACHE_LOOKUPS.items()}
    products = rng.zipf(EXPONENT, 4 * options.requests)
    products = products[products <= options.products][: options.requests] - 1
    stocked = rng.random(len(products)) < with_stock
    for i, (product, asks) in enumerate(zip(products.tolist(), stocked.tolist(), strict=True)):
        if i == len(products) // 2:
            _publish(store, _churned(prices, rng), curves)
            await desk.refresh()
        body: dict[str, Any] = {"product_id": f"SKU-{product}"}
        await desk.price_json({**body, "current_stock": 20 + product % 200} if asks else body)
    counts = {
        name: tally.count - before.get(name, 0) for name, tally in tallies.CACHE_LOOKUPS.items()
    }
    await desk.stop()
    return Ratios(
        reached=1 - counts.get("computed", 0) / sum(counts.values()),
        possible=1 - len(np.unique(products[stocked])) / len(products),
    )


def _publish(store: PriceStore, prices: pa.Table, curves: pa.Table) -> None:
    now = datetime.now(UTC)
    store.publish(prices=prices, curves=curves, stamps=stamps(now=now), now=now)


def _churned(prices: pa.Table, rng: np.random.Generator) -> pa.Table:
    """``prices`` with the current price in place of the recommended one in CHURN of the rows."""
    changed = rng.random(prices.num_rows) < CHURN
    current, chosen = prices["current_price"].to_numpy(), prices["recommended_price"].to_numpy()
    floor = prices["price_floor"].to_numpy()
    mixed = np.where(changed, np.maximum(current, floor), chosen)
    place = prices.schema.get_field_index("recommended_price")
    return prices.set_column(place, "recommended_price", pa.array(mixed))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.hit_ratio", description=__doc__)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--requests", type=int, default=500_000)
    return parser.parse_args()


if __name__ == "__main__":
    main()
