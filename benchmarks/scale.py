"""Cost for each million products as a catalogue grows: shards read, priced and written.

``python -m benchmarks.scale`` prices catalogues of 1, 10 and 100 million products, one shard of a
million rows at a time, each generated, stored, priced from its file into a checked file, and
deleted. Timed is what a worker does: read, price, write. Generating and deleting are not.
``--at-most N`` measures N shards of each size, evenly spread, and says how many.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pricing_assets.core.price_shards import ShardSummary, shard_names, shard_price_function, total
from pricing_assets.core.settings import PricingSettings
from resources.shard_store import ShardStore

CATEGORY_ROWS = 100


@dataclass(frozen=True, slots=True)
class ScaleResult:
    """One catalogue size.

    Attributes:
        products: rows of the catalogue.
        measured_products: rows that were really priced.
        seconds_per_million: read, price and write, median over shards.
        cpu_seconds_per_million: processor time of the same, over all cores; what a shared machine
            does not change.
        pricing_seconds_per_million: the price function alone, on the first shard.
        catalogue_bytes, price_bytes: Parquet bytes a product, in and out.
        peak_mebibytes: largest resident memory of this process so far.
        total_seconds: wall time with generating and deleting.
    """

    products: int
    measured_products: int
    seconds_per_million: float
    cpu_seconds_per_million: float
    pricing_seconds_per_million: float
    catalogue_bytes: float
    price_bytes: float
    peak_mebibytes: float
    total_seconds: float


@dataclass(frozen=True, slots=True)
class _Shard:
    seconds: float
    cpu_seconds: float
    catalogue_bytes: int
    price_bytes: int
    summary: ShardSummary


def catalogue_shard(rows: int, *, first: int, seed: int, substitutes: float) -> pa.Table:
    """A shard of ``rows`` products in categories of 100, their curves drawn from ``seed``."""
    rng, number = np.random.default_rng([seed, first]), np.arange(first, first + rows)
    price = rng.uniform(3, 80, rows).round(2)
    return pa.table(
        {
            "product_id": pa.array(np.char.add("SKU-", number.astype(str))),
            "category": pa.array(np.char.add("C-", (number // CATEGORY_ROWS).astype(str))),
            "current_price": price,
            "reference_units": rng.lognormal(3, 1.5, rows),
            "reference_units_cv": rng.uniform(0.05, 0.5, rows),
            "elasticity_mean": rng.uniform(-3.5, -0.8, rows),
            "elasticity_sd": rng.uniform(0.05, 0.6, rows),
            "unit_cost": (price * rng.uniform(0.3, 0.8, rows)).round(2),
            "cross_elasticity": np.full(rows, substitutes),
            "on_hand": np.where(rng.random(rows) < 0.2, rng.lognormal(3, 1, rows), np.nan),
            "observations": rng.integers(20, 700, rows).astype(np.float64),
        }
    )


def measure(
    products: int, *, folder: Path, shard_rows: int, at_most: int, substitutes: float
) -> ScaleResult:
    """Price a catalogue of ``products``, one shard at a time, at most ``at_most`` of them."""
    chosen = _spread(shard_names(max(1, products // shard_rows)), at_most=at_most)
    rows = min(products, shard_rows)
    store, settings, started = ShardStore(folder), PricingSettings(), time.perf_counter()
    done: list[_Shard] = []
    alone: list[float] = []
    for number, name in chosen:
        part = catalogue_shard(rows, first=number * rows, seed=1, substitutes=substitutes)
        if not alone:
            alone.append(_seconds_alone(part, settings=settings))
        store.write_catalogue([(name, part)])
        del part
        done.append(_priced(store, name, folder=folder, settings=settings))
        _progress(products, done=len(done), of=len(chosen), seconds=done[-1].seconds)
    if total(shard.summary for shard in done).outside_rails:
        raise SystemExit("a price is outside its guard rails")
    return ScaleResult(
        products=products,
        measured_products=rows * len(chosen),
        seconds_per_million=statistics.median(shard.seconds for shard in done) / rows * 1e6,
        cpu_seconds_per_million=statistics.median(s.cpu_seconds for s in done) / rows * 1e6,
        pricing_seconds_per_million=alone[0] / rows * 1e6,
        catalogue_bytes=sum(shard.catalogue_bytes for shard in done) / (rows * len(chosen)),
        price_bytes=sum(shard.price_bytes for shard in done) / (rows * len(chosen)),
        peak_mebibytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        total_seconds=time.perf_counter() - started,
    )


def _spread(names: tuple[str, ...], *, at_most: int) -> list[tuple[int, str]]:
    """At most so many shards with their numbers, evenly over all of them."""
    numbers = np.unique(np.linspace(0, len(names) - 1, min(at_most, len(names))).astype(int))
    return [(int(number), names[number]) for number in numbers]


def _seconds_alone(part: pa.Table, *, settings: PricingSettings) -> float:
    price, start = shard_price_function(settings), time.perf_counter()
    price(part)
    return time.perf_counter() - start


def _priced(store: ShardStore, name: str, *, folder: Path, settings: PricingSettings) -> _Shard:
    """Price one stored shard, then delete it."""
    start, cpu = time.perf_counter(), time.process_time()
    summary = store.price(name, settings=settings).summary
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    source, prices = folder / "catalogue" / f"{name}.parquet", folder / "prices" / name
    read = source.stat().st_size
    written = sum(path.stat().st_size for path in prices.iterdir())
    source.unlink()
    shutil.rmtree(prices)
    return _Shard(seconds, cpu_seconds, read, written, summary)


def _progress(products: int, *, done: int, of: int, seconds: float) -> None:
    print(f"\r  {products:>11,}: shard {done} of {of} in {seconds:.2f} s ", end="", flush=True)


def main() -> None:
    """Measure every size and print a table."""
    options = _options()
    results = []
    for products in options.products:
        with tempfile.TemporaryDirectory(prefix="pricing-scale-", dir=options.folder) as folder:
            result = measure(
                products,
                folder=Path(folder),
                shard_rows=options.shard_rows,
                at_most=options.at_most or 10**9,
                substitutes=options.substitutes,
            )
        results.append(result)
        print()
    print(_table(results))
    if options.out:
        report = {"cores": os.cpu_count(), "scale": [asdict(result) for result in results]}
        Path(options.out).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    sizes = [10**6, 10**7, 10**8]
    parser.add_argument("--products", type=int, nargs="+", default=sizes)
    parser.add_argument("--shard-rows", type=int, default=10**6)
    parser.add_argument("--at-most", type=int, default=0, help="shards measured of each size")
    parser.add_argument("--substitutes", type=float, default=0.0, help="cross elasticity")
    parser.add_argument("--folder", help="where shards are written (default: the system's)")
    parser.add_argument("--out", help="a JSON file for the results")
    return parser.parse_args()


def _table(results: list[ScaleResult]) -> str:
    heading = (
        f"{'products':>13} {'measured':>13} {'s per million':>14} {'CPU s':>7} "
        f"{'pricing alone':>14} "
        f"{'bytes in':>9} {'bytes out':>10} {'peak MiB':>9} {'total s':>8}"
    )
    rows = [
        f"{row.products:>13,} {row.measured_products:>13,} {row.seconds_per_million:>14.2f} "
        f"{row.cpu_seconds_per_million:>7.2f} "
        f"{row.pricing_seconds_per_million:>14.2f} {row.catalogue_bytes:>9.1f} "
        f"{row.price_bytes:>10.1f} {row.peak_mebibytes:>9.0f} {row.total_seconds:>8.1f}"
        for row in results
    ]
    return "\n".join([heading, *rows])


if __name__ == "__main__":
    main()
