"""Products priced a second: SciPy a product, lean chunked NumPy, and the compiled search.

What is timed: the search over packed columns in memory (``compiled``), and with guard rails,
lattice and packing of the float32 columns in it (``with_bounds``). The NumPy rival is lean: float32
in chunks that stay in the cache, 32 prices on a geometric grid, one exponential a price, no endings
and no risk. The float64 reference, which does all of it, is timed beside it.

All in one process and one run, medians of several rounds in turn, so that what else the machine
does falls on all alike; quote the ratios. Every product has its guard rails and price ending; a
share of them has a finite stock. Run it alone: ``python -m benchmarks.price_engine``.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import ndtr

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.guardrails import price_bounds
from pricing_assets.core.price_endings import price_lattice
from pricing_assets.core.price_kernel import (
    GRID,
    PriceProblem,
    RiskLimits,
    objective_value,
    price_problem,
    solve_reference,
)
from pricing_assets.core.price_packing import ENDLESS, PackedProblem, pack
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import UnitWorth

LEAN_ROWS = 2048
"""Products that lean NumPy values at once: 32 prices of each in the second-level cache."""
LIMITS = RiskLimits(hold_above_p_worse=0.4, min_relative_uplift=0.0)


@dataclass(frozen=True, slots=True)
class EngineResult:
    """One catalogue, one share of finite stock.

    Attributes:
        stock_share: share of the products whose stock is finite.
        products: in the compiled search; the others price a part of them.
        scipy, numpy, reference, compiled_1, compiled, with_bounds: products a second by
            ``minimize_scalar`` a product, by lean NumPy and the float64 reference on one thread,
            by the compiled search on one thread and on all, and there with bounds and packing.
        over_scipy, over_numpy: of ``compiled``; medians of the rounds' ratios.
        cpu_over_numpy: the same in CPU time of one thread, whatever else the machine does.
        bytes_a_product: read and written by the compiled search.
        copy_share: its memory traffic over what a plain copy reaches on this machine.
        price_differs: share of prices that are not the reference's.
        objective_gap: largest relative difference of the objective there.
        first_call_seconds: first call, seconds: compilation, or reading it from disk.
    """

    stock_share: float
    products: int
    scipy: float
    numpy: float
    reference: float
    compiled_1: float
    compiled: float
    with_bounds: float
    over_scipy: float
    over_numpy: float
    cpu_over_numpy: float
    bytes_a_product: int
    copy_share: float
    price_differs: float
    objective_gap: float
    first_call_seconds: float

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def catalogue(n: int, *, stock_share: float, seed: int = 1) -> PriceProblem:
    """Random products with float32 inputs, priced under the default guard rails."""
    rng = np.random.default_rng(seed)

    def singles(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(np.float64)

    price = np.floor(rng.lognormal(3, 0.8, n) * 100).clip(100, 1e6) / 100
    cost = singles(price * rng.uniform(0.3, 0.8, n))
    bounds = price_bounds(
        current_price=price,
        unit_cost=cost,
        map_price=np.full(n, np.nan),
        settings=PricingSettings(),
    )
    curves = DemandCurves(
        reference_price=price,
        reference_units=singles(rng.lognormal(3, 1, n)),
        reference_units_cv=singles(rng.uniform(0, 0.5, n)),
        elasticity_mean=singles(rng.uniform(-4, -1, n)),
        elasticity_sd=singles(rng.uniform(0.05, 0.6, n)),
        curvature=rng.choice([0.0, 1.0], n),
    )
    finite = rng.random(n) < stock_share
    return price_problem(
        curves=curves,
        worth=UnitWorth(np.ones(n), cost),
        available=np.where(finite, np.floor(rng.lognormal(3, 1, n)) + 1, np.inf),
        changeable=np.ones(n, dtype=bool),
        bounds=bounds,
        lattice=price_lattice(bounds, ending="auto"),
    )


def measure(*, products: int, stock_share: float, rounds: int) -> EngineResult:
    """Time all engines in turn on one catalogue, and compare the compiled one's prices."""
    from pricing_assets.core.price_kernel_cpu import solve_packed

    start = time.perf_counter()
    solve_packed(pack(catalogue(10, stock_share=stock_share)), LIMITS, threads=1)
    first_call = time.perf_counter() - start
    problem = catalogue(products, stock_share=stock_share)
    packed = pack(problem)
    some, few = problem.rows(slice(0, products // 50)), problem.rows(slice(0, 200))
    copied = np.empty((13, products), np.float32)
    whole = np.stack(packed.columns)
    runs: dict[str, Callable[[], Any]] = {
        "scipy": lambda: _by_scipy(few),
        "numpy": lambda: _by_numpy(packed, len(some)),
        "reference": lambda: solve_reference(some, LIMITS),
        "compiled_1": lambda: solve_packed(packed, LIMITS, threads=1),
        "compiled": lambda: solve_packed(packed, LIMITS, threads=_cores()),
        "with_bounds": lambda: solve_packed(
            pack(catalogue(products, stock_share=stock_share)), LIMITS, threads=_cores()
        ),
        "copy": lambda: np.copyto(copied, whole),
    }
    sizes = {"scipy": len(few), "numpy": len(some), "reference": len(some)}
    rates, cpu_rates = _rates(runs, sizes=sizes, products=products, rounds=rounds)
    rate = {name: float(np.median(values)) for name, values in rates.items()}
    differs, gap = _against_reference(some)
    traffic = 4 * (14 + 7)
    return EngineResult(
        stock_share=stock_share,
        products=products,
        **{name: rate[name] for name in runs if name != "copy"},
        over_scipy=float(np.median(rates["compiled"] / rates["scipy"])),
        over_numpy=float(np.median(rates["compiled"] / rates["numpy"])),
        cpu_over_numpy=float(np.median(cpu_rates["compiled_1"] / cpu_rates["numpy"])),
        bytes_a_product=traffic,
        copy_share=rate["compiled"] * traffic / (rate["copy"] * 13 * 8),
        price_differs=differs,
        objective_gap=gap,
        first_call_seconds=first_call,
    )


def _rates(
    runs: dict[str, Callable[[], Any]], *, sizes: dict[str, int], products: int, rounds: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Products a second of each run in each round, of wall clock and of this thread's CPU time."""
    wall: dict[str, list[float]] = {name: [] for name in runs}
    cpu: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            started, busy = time.perf_counter(), time.thread_time()
            run()
            count = sizes.get(name, products)
            wall[name].append(count / (time.perf_counter() - started))
            cpu[name].append(count / max(time.thread_time() - busy, 1e-9))
    return tuple({n: np.array(v) for n, v in found.items()} for found in (wall, cpu))  # type: ignore[return-value]


def _by_numpy(packed: PackedProblem, rows: int) -> np.ndarray:
    """Lean float32 NumPy: the best of GRID prices a product, endings and risk left out."""
    best, share = np.empty(rows, np.float32), np.linspace(0, 1, GRID, dtype=np.float32)[:, None]
    for start in range(0, rows, LEAN_ROWS):
        part = slice(start, min(start + LEAN_ROWS, rows))
        low, reference = packed.first[part], packed.reference[part]
        width = np.log((low + packed.spacing[part] * packed.last[part]) / low)
        grid = low * np.exp(width * share)
        bent = packed.curvature[part]
        z = np.log(low / reference) + width * share
        z = np.where(bent == 0, z, (np.exp(z * bent) - 1) / np.where(bent == 0, 1, bent))
        spread = (packed.sd[part] * z) ** 2
        sales = packed.units[part] * np.exp(packed.mean[part] * z + np.float32(0.5) * spread)
        rows_short = np.flatnonzero(packed.available[part] < ENDLESS)
        if rows_short.size:
            demand, limit = sales[:, rows_short], packed.available[part][rows_short]
            level = np.log1p(packed.units_cv[part][rows_short] ** 2)
            deviation = np.sqrt(spread[:, rows_short] + level + np.log1p(1 / demand))
            distance = np.log(limit / demand) / deviation
            below = demand * ndtr(distance - deviation / 2)
            sales[:, rows_short] = below + limit * ndtr(-distance - deviation / 2)
        loss = packed.intercept[part].astype(np.float32)
        at = np.argmax((packed.slope[part] * grid - loss) * sales, axis=0)
        best[part] = grid[at, np.arange(len(at))]
    return best


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _against_reference(problem: PriceProblem) -> tuple[float, float]:
    """Share of prices that differ from the reference's, and the largest relative gap there."""
    from pricing_assets.core.price_kernel_cpu import solve_packed

    expected, found = solve_reference(problem, LIMITS), solve_packed(pack(problem), LIMITS)
    value = objective_value(problem, np.stack([expected.price, found.price], axis=1))[0]
    gap = np.abs(value[:, 0] - value[:, 1]) / np.maximum(np.abs(value[:, 0]), 1e-9)
    return float(np.mean(expected.price != found.price)), float(gap.max())


def _by_scipy(problem: PriceProblem) -> list[float]:
    """The best price between the ends of each product's range; endings and risk left out."""
    curves, found = problem.curves, []
    for row in range(len(problem)):
        low = float(problem.first[row])
        high = low + float(problem.spacing[row] * (problem.count[row] - 1))
        reference = float(curves.reference_price[row]) * 100
        mean, sd = float(curves.elasticity_mean[row]), float(curves.elasticity_sd[row])
        units, cost = float(curves.reference_units[row]), float(problem.worth.intercept[row]) * 100
        bent, limit = float(curves.curvature[row]), float(problem.available[row])
        level = math.log1p(float(curves.reference_units_cv[row]) ** 2)

        def loss(
            price: float,
            at: tuple[float, ...] = (reference, mean, sd, units, cost, bent, limit, level),
        ) -> float:
            return _loss(price, *at)

        best = minimize_scalar(loss, bounds=(low, max(high, low + 1)), method="bounded")
        found.append(float(best.x))
    return found


def _loss(
    price: float,
    reference: float,
    mean: float,
    sd: float,
    units: float,
    cost: float,
    bent: float,
    limit: float,
    level: float,
) -> float:
    """Minus the expected profit at a price, by the ``math`` module."""
    z = math.log(price / reference) if bent == 0 else ((price / reference) ** bent - 1) / bent
    demand = units * math.exp(mean * z + 0.5 * (sd * z) ** 2)
    if math.isinf(limit):
        return -(price - cost) * demand
    spread = math.sqrt((sd * z) ** 2 + level + math.log1p(1 / demand))
    distance = math.log(limit / demand) / spread
    below = 0.5 * math.erfc((spread / 2 - distance) / math.sqrt(2))
    above = 0.5 * math.erfc((spread / 2 + distance) / math.sqrt(2))
    return -(price - cost) * (demand * below + limit * above)


def table(results: list[EngineResult]) -> str:
    """The results as text."""
    lines = [
        f"price engine: {GRID} candidates, profit, posterior, guard rails and endings, "
        f"{_cores()} cores; products a second",
        f"{'stock':>6} {'scipy':>9} {'numpy':>11} {'reference':>10} {'1 thread':>12} {'all':>12} "
        f"{'+bounds':>11} {'/scipy':>8} {'/numpy':>7} {'cpu/numpy':>9} {'differ':>9} {'gap':>8}",
    ]
    lines += [
        f"{r.stock_share:>6.0%} {r.scipy:>9,.0f} {r.numpy:>11,.0f} {r.reference:>10,.0f} "
        f"{r.compiled_1:>12,.0f} {r.compiled:>12,.0f} {r.with_bounds:>11,.0f} "
        f"{r.over_scipy:>8,.0f} {r.over_numpy:>7.1f} {r.cpu_over_numpy:>9.1f} "
        f"{r.price_differs:>9.4%} {r.objective_gap:>8.0e}"
        for r in results
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure at each share of finite stock and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.price_engine", description=__doc__)
    parser.add_argument("--products", type=int, default=1_000_000)
    parser.add_argument("--stock-share", type=float, nargs="+", default=[0.0, 0.25])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    options = parser.parse_args()
    results = [
        measure(products=options.products, stock_share=share, rounds=options.rounds)
        for share in options.stock_share
    ]
    rows = [result.as_json() for result in results]
    print(json.dumps(rows, indent=2) if options.json else table(results))


if __name__ == "__main__":
    main()
