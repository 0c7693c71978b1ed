"""The whole catalogue's search: products that are priced one by one, through ``core.price_kernel``.

Belongs here: which rows that engine may price, and how it is asked. Rows whose prices move each
other's demand or bound each other are ``core.price_search``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from pricing_assets.core.currency import to_major
from pricing_assets.core.price_endings import price_lattice
from pricing_assets.core.price_inputs import SearchInputs
from pricing_assets.core.price_kernel import (
    RiskLimits,
    Solver,
    price_problem,
    solve_reference,
)
from pricing_assets.core.price_outcome import OutcomeFunction, price_outcome
from pricing_assets.core.price_relations import rules_asked
from pricing_assets.core.price_search import PriceChoice, RowChooser
from pricing_assets.core.settings import PricingSettings


@dataclass(frozen=True, slots=True)
class CatalogueEngine:
    """What prices a catalogue.

    Attributes:
        solve: products one by one.
        weigh: what the chosen prices bring.
        chooser: products together, as ``price_search.choose_prices`` takes it.
        threads: parts of the catalogue that are priced at once.
    """

    solve: Solver
    weigh: OutcomeFunction
    chooser: RowChooser | None = None
    threads: int = 1


def reference_engine(*, threads: int = 1) -> CatalogueEngine:
    """NumPy."""
    return CatalogueEngine(solve=solve_reference, weigh=price_outcome, threads=threads)


def cpu_engine(*, threads: int = 1) -> CatalogueEngine:
    """The compiled engine; NumPy's where numba is missing."""
    try:
        from pricing_assets.core.price_kernel_cpu import solve_compiled
        from pricing_assets.core.price_outcome_cpu import compiled_outcome
    except ImportError:
        return reference_engine(threads=threads)
    return CatalogueEngine(solve=solve_compiled, weigh=compiled_outcome, threads=threads)


def one_by_one(settings: PricingSettings) -> bool:
    """Whether the settings let products without substitutes be priced one by one.

    Not under a rule between products, another attitude to risk than the mean, or a share of each
    stock that must be sold by a date.
    """
    together = rules_asked(settings.guardrails)
    target = settings.objective == "sell_through" and settings.sell_through.target_share is not None
    return settings.price_table.risk == "mean" and not together and not target


def kernel_choice(inputs: SearchInputs, *, settings: PricingSettings, solve: Solver) -> PriceChoice:
    """The prices of n rows that have no substitutes, as ``price_search.choose_prices`` gives them.

    All allowed prices are searched, not the ``candidates`` that the settings name.
    """
    problem = price_problem(
        curves=inputs.curves,
        worth=inputs.facts.worth,
        available=inputs.facts.available,
        changeable=inputs.facts.changeable,
        bounds=inputs.bounds,
        lattice=price_lattice(inputs.bounds, ending=settings.guardrails.price_ending),
    )
    found = solve(problem, RiskLimits.of(settings.price_table))
    major = partial(to_major, exponent=inputs.bounds.exponent)
    return PriceChoice(
        price=major(found.price.astype(np.int64)),
        best_price=major(found.best.astype(np.int64)),
        best_p_worse=found.best_p_worse.astype(np.float64),
        best_gain=found.best_gain.astype(np.float64),
    )
