"""Portfolio goals: seconds and gap over a catalogue, with one and with several goals.

``python -m benchmarks.portfolio`` prices a random catalogue under goals that bind, and says how
far the answer is below the Lagrangian's bound.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pricing_assets.core.portfolio import PortfolioPlan, portfolio_plan
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.settings import PricingSettings

ANY_RISK = PriceTableParameters(hold_above_p_worse=1.0)


@dataclass(frozen=True, slots=True)
class GoalRun:
    """One set of goals, priced."""

    name: str
    seconds: float
    plan: PortfolioPlan

    def line(self) -> str:
        """One line of the printed table."""
        times = ", ".join(f"{o.goal} {o.multiplier:.4g}" for o in self.plan.outcomes)
        missed = [o.goal for o in self.plan.outcomes if not o.met]
        return (
            f"{self.name:<10} {self.seconds:7.2f} s {self.plan.evaluations:4d} searches  gap "
            f"{self.plan.gap:.6f}  missed: {', '.join(missed) or 'none'}  multipliers: {times}"
        )


def catalogue(*, products: int, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves and facts of random products without substitutes, so that the bound is exact."""
    generator = np.random.default_rng(seed)
    price = generator.uniform(2, 60, products).round(2)
    key = {"product_id": [f"P{i}" for i in range(products)], "store_id": ""}
    curves = pd.DataFrame(
        {
            **key,
            "reference_price": price,
            "reference_units": generator.lognormal(3, 1, products),
            "reference_units_cv": generator.uniform(0, 0.5, products),
            "elasticity_mean": generator.uniform(-4, -1.1, products),
            "elasticity_sd": generator.uniform(0.01, 0.5, products),
            "curvature": generator.choice([0.0, 0.5, 1.0], products),
            "reference_rival_price": price * generator.uniform(0.9, 1.15, products),
        }
    )
    facts = pd.DataFrame(
        {
            **key,
            "current_price": price,
            "unit_cost": price * generator.uniform(0.3, 0.85, products),
            "map_price": np.nan,
            "on_hand": np.nan,
            "replenished": True,
        }
    )
    return curves, facts


def runs(frames: tuple[pd.DataFrame, pd.DataFrame]) -> list[GoalRun]:
    """No goal, one, and all five."""
    free = _run("none", frames, {})
    totals = free.plan.totals
    return [
        free,
        _run("revenue", frames, {"min_revenue": 1.03 * totals.revenue}),
        _run(
            "all five",
            frames,
            {
                "min_revenue": 1.03 * totals.revenue,
                "min_margin_rate": totals.margin_rate - 0.03,
                "min_units": 1.06 * totals.units,
                "max_price_index": totals.price_index - 0.02,
                "max_profit_given_up": 0.05 * totals.profit,
            },
        ),
    ]


def _run(name: str, frames: tuple[pd.DataFrame, pd.DataFrame], goals: dict[str, float]) -> GoalRun:
    settings = PricingSettings.model_validate({"price_table": ANY_RISK, "portfolio": goals})
    started = time.perf_counter()
    plan = portfolio_plan(frames[0], panel_facts=frames[1], settings=settings)
    return GoalRun(name, time.perf_counter() - started, plan)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.portfolio")
    parser.add_argument("--products", type=int, nargs="+", default=[240, 10_000])
    options = parser.parse_args()
    for products in options.products:
        print(f"{products} products")
        for run in runs(catalogue(products=products, seed=1)):
            print(run.line())


if __name__ == "__main__":
    main()
