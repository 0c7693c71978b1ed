"""A catalogue's raw parameters to its published price table, and how much memory that takes.

Timed: an Arrow table of products in memory, through ``BatchPriceOptimizer`` (guard rails, search,
expectations, risk, intervals, reasons: every column of the contract), then ``PriceStore.publish``
(checks, hashes, Parquet with page checksums, fsync, read back, manifest, pointer). Wall clock and
CPU time are both shown: their ratio says how busy the machine was with other work.
Run it alone: ``python -m benchmarks.catalogue_table``; ``--rows 10000000 --search-only`` is the
search of ten million products in parts, with the peak of memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.price_engine import LIMITS, catalogue
from pricing_assets.core.catalogue_prices import complete_catalogue
from pricing_assets.core.price_kernel_cpu import solve_packed
from pricing_assets.core.price_packing import pack
from pricing_assets.core.settings import PricingSettings
from pricing_assets.engine import BatchPriceOptimizer
from serving.price_store import PriceStore
from serving.published_table import Stamps

SEARCHED_ROWS = 1 << 20
"""Products of one part of ``--search-only``."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: wall clock and CPU seconds of the process, all threads."""

    name: str
    seconds: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class TableResult:
    """The stages of one run over so many rows, and the peak of resident memory in MiB."""

    rows: int
    stages: tuple[Stage, ...]
    peak_mib: float


def raw_parameters(rows: int, *, stock_share: float = 0.25, seed: int = 1) -> pa.Table:
    """Random products as a user has them."""
    rng = np.random.default_rng(seed)
    price = np.floor(rng.lognormal(3, 0.8, rows) * 100).clip(100, 1e6) / 100
    stock = np.floor(rng.lognormal(3, 1, rows)) + 1
    return pa.table(
        {
            "product_id": [f"SKU-{row:08d}" for row in range(rows)],
            "current_price": price,
            "unit_cost": price * rng.uniform(0.3, 0.8, rows),
            "reference_units": rng.lognormal(3, 1, rows),
            "reference_units_cv": rng.uniform(0, 0.5, rows),
            "elasticity_mean": rng.uniform(-4, -1, rows),
            "elasticity_sd": rng.uniform(0.05, 0.6, rows),
            "curvature": rng.choice([0.0, 1.0], rows),
            "on_hand": np.where(rng.random(rows) < stock_share, stock, np.nan),
        }
    )


def measure_table(rows: int) -> TableResult:
    """From Arrow to a published version in a folder that is thrown away."""
    settings, now = PricingSettings(), datetime.now(UTC)
    optimizer = BatchPriceOptimizer(device="cpu", settings=settings)
    optimizer.optimize(raw_parameters(100))
    given = raw_parameters(rows)
    stages: list[Stage] = []
    stamps = Stamps(
        model_version="1",
        data_version="benchmark",
        currency=settings.currency,
        valid_from=now,
        valid_until=now + timedelta(hours=48),
        settings=settings,
    )
    priced = _timed("price", lambda: optimizer.optimize(given), stages)
    curves = _timed("curves", lambda: complete_catalogue(given, settings=settings), stages)
    with tempfile.TemporaryDirectory() as folder:
        store = PriceStore(Path(folder))
        _timed(
            "publish",
            lambda: store.publish(prices=priced, curves=curves, stamps=stamps, now=now),
            stages,
        )
    return TableResult(rows, tuple(stages), _peak_mib())


def measure_search(rows: int) -> TableResult:
    """The search alone over parts of ``SEARCHED_ROWS``: bounds and lattice, packing, solving."""
    stages: list[Stage] = []
    for part, start in enumerate(range(0, rows, SEARCHED_ROWS)):
        count = min(SEARCHED_ROWS, rows - start)
        made = partial(catalogue, count, stock_share=0.25, seed=part)
        packed = partial(pack, _timed("bounds and lattice", made, stages))
        solve = partial(solve_packed, _timed("pack", packed, stages), LIMITS, threads=2)
        _timed("solve", solve, stages)
    names = dict.fromkeys(stage.name for stage in stages)
    return TableResult(rows, tuple(_total(name, stages) for name in names), _peak_mib())


def _total(name: str, stages: list[Stage]) -> Stage:
    some = [stage for stage in stages if stage.name == name]
    return Stage(name, sum(s.seconds for s in some), sum(s.cpu_seconds for s in some))


def _timed(name: str, run: Callable[[], Any], stages: list[Stage]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    stages.append(Stage(name, time.perf_counter() - wall, time.process_time() - cpu))
    return found


def _peak_mib() -> float:
    """Peak of this process's resident memory, MiB (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def table(result: TableResult) -> str:
    """The result as text."""
    lines = [f"{result.rows:,} rows, peak {result.peak_mib:,.0f} MiB"]
    total = Stage(
        "total",
        sum(stage.seconds for stage in result.stages),
        sum(stage.cpu_seconds for stage in result.stages),
    )
    lines += [
        f"{stage.name:>20} {stage.seconds:7.2f} s wall {stage.cpu_seconds:7.2f} s CPU"
        for stage in (*result.stages, total)
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.catalogue_table", description=__doc__
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--search-only", action="store_true", help="no table, no publication")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    result = (measure_search if options.search_only else measure_table)(options.rows)
    print(json.dumps(asdict(result), indent=2) if options.json else table(result))


if __name__ == "__main__":
    main()
