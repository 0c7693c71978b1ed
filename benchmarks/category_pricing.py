"""Joint pricing of categories: seconds, sweeps, what it wins over pricing each product alone.

``python -m benchmarks.category_pricing`` prices 10,000 products in 100 categories together and
alone, and values both with all substitutes' answers; then it compares small categories with every
combination of their prices.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.expected_sales import expected_sales, scaled
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.price_search import PriceFacts, Substitutes, choose_prices, choose_rows
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

ANY_RISK = PriceTableParameters(hold_above_p_worse=1.0)
LARGEST_CHANGE = 0.2


@dataclass(frozen=True, slots=True)
class Categories:
    """n products: their curves, facts and (n, k) candidate prices, column 0 the current one."""

    curves: DemandCurves
    facts: PriceFacts
    candidates: Floats

    def profit(self, price: Floats) -> float:
        """Profit of all at the prices (n,), every substitute's answer counted."""
        log_ratio = np.log(price / self.curves.reference_price)
        curves = scaled(self.curves, self.facts.substitutes.demand_factor(log_ratio))
        sales = expected_sales(curves, price=price[:, None], available=self.facts.available)
        return float((self.facts.worth.at(price) * sales[:, 0]).sum())

    def alone(self) -> PriceFacts:
        """The facts with every product in a category of its own."""
        n = len(self.curves)
        return replace(self.facts, substitutes=Substitutes(np.arange(n), np.zeros(n)))


def categories(
    *, products: int, groups: int, candidates: int, diversion: float, seed: int
) -> Categories:
    """Random products; substitutes win up to ``diversion`` of the units that one loses."""
    generator = np.random.default_rng(seed)
    price = generator.uniform(2, 60, products).round(2)
    units = generator.lognormal(3, 1, products)
    elasticity = generator.uniform(-4, -1.1, products)
    group = np.arange(products) % groups
    others = np.bincount(group, units)[group] - units
    curves = DemandCurves(
        reference_price=price,
        reference_units=units,
        reference_units_cv=generator.uniform(0, 0.5, products),
        elasticity_mean=elasticity,
        elasticity_sd=generator.uniform(0.01, 0.5, products),
        curvature=generator.choice([0.0, 0.5, 1.0], products),
    )
    cost = price * generator.uniform(0.3, 0.85, products)
    share = generator.uniform(0, diversion, products)
    facts = PriceFacts(
        unit_cost=cost,
        worth=UnitWorth(np.ones(products), cost),
        available=np.full(products, np.inf),
        changeable=np.ones(products, dtype=bool),
        substitutes=Substitutes(group, share * -elasticity * units / others),
    )
    steps = np.linspace(1 - LARGEST_CHANGE, 1 + LARGEST_CHANGE, candidates - 1)
    grid = (price[:, None] * steps).round(2)
    return Categories(curves, facts, np.concatenate([price[:, None], grid], axis=1))


@dataclass(frozen=True, slots=True)
class JointResult:
    """Together against alone; uplift is profit over that at the current prices."""

    seconds_together: float
    seconds_alone: float
    turns: int
    uplift_together: float
    uplift_alone: float

    @property
    def ratio(self) -> float:
        """Uplift of joint pricing over that of pricing each product alone."""
        return self.uplift_together / self.uplift_alone


def joint_pricing(case: Categories) -> JointResult:
    """Price the categories together and alone, with the risk rule off."""
    turns = 0

    def counting(*args: object, **kwargs: object) -> object:
        nonlocal turns
        turns += 1
        return choose_rows(*args, **kwargs)  # type: ignore[arg-type]

    started = time.perf_counter()
    together = choose_prices(
        case.curves,
        case.candidates,
        facts=case.facts,
        parameters=ANY_RISK,
        chooser=counting,  # type: ignore[arg-type]
    ).price
    middle = time.perf_counter()
    facts = case.alone()
    alone = choose_prices(case.curves, case.candidates, facts=facts, parameters=ANY_RISK).price
    ended = time.perf_counter()
    current = case.profit(case.candidates[:, 0])
    return JointResult(
        seconds_together=middle - started,
        seconds_alone=ended - middle,
        turns=turns,
        uplift_together=case.profit(together) - current,
        uplift_alone=case.profit(alone) - current,
    )


def shares_of_exhaustive(*, cases: int, diversion: float) -> Floats:
    """Profit of the ascent over the best of every combination, (cases,): four products each."""
    shares = []
    for seed in range(cases):
        case = categories(products=4, groups=1, candidates=13, diversion=diversion, seed=seed)
        found = choose_prices(
            case.curves, case.candidates, facts=case.facts, parameters=ANY_RISK
        ).price
        shares.append(case.profit(found) / _best_combination(case))
    return np.array(shares)


def _best_combination(case: Categories) -> float:
    """The highest profit of all combinations of candidates."""
    every = np.stack(np.meshgrid(*case.candidates, indexing="ij"), axis=-1).reshape(-1, 4)
    curves, kappa = case.curves, case.facts.substitutes.elasticity
    pull = np.log(every / curves.reference_price) * kappa
    own = curves.expected_units(every.T).T
    sales = own * np.exp(pull.sum(axis=1, keepdims=True) - pull)
    return float((case.facts.worth.at(every.T).T * sales).sum(axis=1).max())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.category_pricing")
    parser.add_argument("--products", type=int, default=10_000)
    parser.add_argument("--categories", type=int, default=100)
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--diversion", type=float, default=0.4)
    parser.add_argument("--cases", type=int, default=100)
    options = parser.parse_args()
    case = categories(
        products=options.products,
        groups=options.categories,
        candidates=options.candidates,
        diversion=options.diversion,
        seed=1,
    )
    found = joint_pricing(case)
    print(
        f"{options.products} products in {options.categories} categories: together "
        f"{found.seconds_together:.2f} s in {found.turns} turns, alone {found.seconds_alone:.2f} s;"
        f" uplift {found.uplift_together:,.0f} against {found.uplift_alone:,.0f}, "
        f"ratio {found.ratio:.3f}"
    )
    for diversion in (options.diversion, 1.0):
        shares = shares_of_exhaustive(cases=options.cases, diversion=diversion)
        print(
            f"{options.cases} categories of 4 products, diversion up to {diversion:.1f}: worst "
            f"{shares.min():.5f} of the exhaustive best, mean {shares.mean():.6f}, below 0.999 in "
            f"{int((shares < 0.999).sum())}"
        )


if __name__ == "__main__":
    main()
