"""``make bench``: measure, print one table, write benchmarks/results.json.

Belongs here: the list of benchmarks and their report. Measuring one is a module of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import price_engine
from benchmarks.whole_graph import GraphResult, measure_graph

RESULTS = Path(__file__).with_name("results.json")


def main() -> None:
    """Run every seed and report."""
    options = _options()
    results = []
    for seed in options.seeds:
        print(f"{options.products} products x {options.days} days, seed {seed} ...", flush=True)
        with tempfile.TemporaryDirectory(prefix="pricing-bench-") as folder:
            results.append(
                measure_graph(Path(folder), products=options.products, days=options.days, seed=seed)
            )
    print(_table(results))
    engine = [
        price_engine.measure(products=1_000_000, stock_share=share, rounds=5)
        for share in (0.0, 0.25)
    ]
    print(price_engine.table(engine))
    RESULTS.write_text(
        json.dumps(_report(options, results, engine), indent=2) + "\n", encoding="utf-8"
    )
    print(f"written: {RESULTS}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--products", type=int, default=240)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    return parser.parse_args()


def _table(results: list[GraphResult]) -> str:
    heading = (
        f"{'seed':>4} {'seconds':>8} {'peak MiB':>9} {'share of oracle':>16} {'regret':>7} "
        f"{'elasticity rmse':>16} {'in 90 %':>8}"
    )
    rows = [
        f"{row.seed:>4} {row.seconds:>8.1f} {row.peak_mebibytes:>9.0f} "
        f"{row.share_of_oracle_uplift:>16.2f} {row.regret:>7.3f} "
        f"{row.elasticity_rmse:>16.2f} {row.coverage_90:>8.2f}"
        for row in results
    ]
    return "\n".join([heading, *rows])


def _report(
    options: argparse.Namespace,
    results: list[GraphResult],
    engine: list[price_engine.EngineResult],
) -> dict[str, Any]:
    return {
        "command": "make bench",
        "products": options.products,
        "days": options.days,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": os.cpu_count(),
            "system": platform.platform(),
            "python": platform.python_version(),
        },
        "whole_graph": [row.as_json() for row in results],
        "price_engine": [row.as_json() for row in engine],
    }


if __name__ == "__main__":
    main()
