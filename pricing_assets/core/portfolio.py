"""Prices of a whole catalogue under its goals: multipliers, what they reach, and what must yield.

Belongs here: the oracle over a catalogue, and the stated order in which clashing goals yield.
Goals in numbers are ``core.portfolio_goals``; the search for multipliers is ``core.lagrangian``.

Order. Goals that no prices meet together yield from the last of ``portfolio_parameters.GOALS`` to
the first: each in turn is asked how far it can be met while the earlier ones hold, and where that
is not far enough, it is lowered to what can be reached. Every one lowered is named with the goals
that it clashes with.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.lagrangian import Answer, DualSolution, solve_dual
from pricing_assets.core.portfolio_goals import (
    CatalogueTotals,
    Goal,
    catalogue_totals,
    goals_of,
    sales_at,
    worth_of,
)
from pricing_assets.core.portfolio_parameters import GOALS, GoalMultipliers
from pricing_assets.core.price_inputs import SearchInputs, curves_with_facts, search_inputs
from pricing_assets.core.price_search import RowChooser, choose_prices
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

YIELDS = (1e-3, 3e-3, 1e-2, 3e-2)
"""Shares of its size by which a goal that must yield is lowered below the best that can be reached,
one after the other until prices are found that reach all."""


@dataclass(frozen=True, slots=True)
class GoalOutcome:
    """One goal of the settings and how far it is met, each value in the goal's own unit.

    Attributes:
        goal: its key in the settings.
        wanted, attained, at_current: asked for, brought by the new prices, and by the current.
        multiplier: objective given up for each unit more of the goal.
        met: the new prices meet what was asked for.
        relaxed_to: what the goal was lowered to, NaN where it was not.
        clashes_with: goals kept before it that leave it no room, joined by ", ".
    """

    goal: str
    wanted: float
    attained: float
    at_current: float
    multiplier: float
    met: bool
    relaxed_to: float
    clashes_with: str


@dataclass(frozen=True, slots=True)
class PortfolioPlan:
    """Multipliers of all goals and what they bring.

    Attributes:
        multipliers: to be put into the settings; all 0 without goals.
        outcomes: one a goal that is set.
        price: (n,) prices at the multipliers, currency units.
        totals, at_current: of the catalogue at these and at the current prices.
        objective, bound: of the settings; no prices that meet the goals bring more than the
            bound (as lowered, and as far as the search is exact: ``core.lagrangian``).
        evaluations: searches of the catalogue.
    """

    multipliers: GoalMultipliers
    outcomes: tuple[GoalOutcome, ...]
    price: Floats
    totals: CatalogueTotals
    at_current: CatalogueTotals
    objective: float
    bound: float
    evaluations: int

    @property
    def gap(self) -> float:
        """Objective below the bound, as a share of the bound."""
        return (self.bound - self.objective) / max(abs(self.bound), 1e-12)

    def frame(self) -> pd.DataFrame:
        """One row a goal of ``GOALS``: ``GoalOutcome``'s fields; wanted is NaN where unset."""
        found = {outcome.goal: asdict(outcome) for outcome in self.outcomes}
        rows = [found.get(name) or self._unset(name) for name in GOALS]
        return pd.DataFrame(rows)[list(GoalOutcome.__slots__)]

    def _unset(self, name: str) -> dict[str, object]:
        """The row of a goal that is not set; its multiplier may be given by hand."""
        highest = float("nan")
        row = GoalOutcome(
            goal=name,
            wanted=float("nan"),
            attained=self.totals.of(name, highest_profit=highest),
            at_current=self.at_current.of(name, highest_profit=highest),
            multiplier=float(getattr(self.multipliers, name)),
            met=True,
            relaxed_to=float("nan"),
            clashes_with="",
        )
        return asdict(row)


@dataclass(frozen=True, slots=True)
class Kept:
    """A goal as it is kept: as asked for where ``relaxed_to`` (in its own unit) is NaN."""

    goal: Goal
    relaxed_to: float = float("nan")
    clashes_with: str = ""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """n products that answer a worth of a unit with prices.

    Attributes:
        inputs: as the price table searches them.
        settings: candidates, risk.
        chooser: the search on another device.
    """

    inputs: SearchInputs
    settings: PricingSettings
    chooser: RowChooser | None = None

    def prices(self, worth: UnitWorth) -> Floats:
        """(n,) best allowed prices."""
        return choose_prices(
            self.inputs.curves,
            self.inputs.candidates,
            facts=replace(self.inputs.facts, worth=worth),
            parameters=self.settings.price_table,
            chooser=self.chooser,
            rails=self.inputs.rails.linked,
        ).price

    def solve(self, objective: UnitWorth, goals: tuple[Goal, ...]) -> DualSolution:
        """The best prices under the goals."""

        def answer(multipliers: Floats) -> Answer:
            worth = objective
            for goal, times in zip(goals, multipliers, strict=True):
                worth = worth.plus(goal.worth, times=float(times))
            price = self.prices(worth)
            sales = sales_at(self.inputs, price)
            totals = [worth_of(goal.worth, price=price, sales=sales) for goal in goals]
            return Answer(
                multipliers=multipliers,
                price=price,
                objective=worth_of(objective, price=price, sales=sales),
                totals=np.array(totals),
            )

        return solve_dual(answer, np.array([goal.bound for goal in goals]))


def portfolio_plan(
    curve_frame: pd.DataFrame,
    *,
    panel_facts: pd.DataFrame,
    settings: PricingSettings,
    chooser: RowChooser | None = None,
) -> PortfolioPlan:
    """The multipliers under which the price table meets the goals of the settings.

    Multipliers that the settings already hold are left out where a goal is set: they are found
    anew.

    Args:
        curve_frame, panel_facts, chooser: as for ``build_price_table``.
        settings: objective, goals, guard rails and risk.

    Raises:
        MissingCostError: the objective weighs profit and no product has a unit cost.
    """
    if any(getattr(settings.portfolio, goal) is not None for goal in GOALS):
        settings = settings.model_copy(update={"multipliers": GoalMultipliers()})
    inputs = search_inputs(curves_with_facts(curve_frame, panel_facts), settings=settings)
    catalogue = Catalogue(inputs=inputs, settings=settings, chooser=chooser)
    highest = highest_profit(catalogue)
    kept = tuple(Kept(goal) for goal in goals_of(inputs, settings=settings, highest_profit=highest))
    objective = inputs.facts.worth
    solution = catalogue.solve(objective, tuple(one.goal for one in kept))
    asked = kept
    for share in YIELDS:
        if solution.feasible:
            break
        kept = _lowered(catalogue, asked, highest_profit=highest, share=share)
        solution = catalogue.solve(objective, tuple(one.goal for one in kept))
    return _plan(inputs, solution, kept=kept, settings=settings, highest_profit=highest)


def with_multipliers(settings: PricingSettings, goals: pd.DataFrame) -> PricingSettings:
    """The settings with the multipliers of ``PortfolioPlan.frame``; as they are without goals."""
    if not goals["wanted"].notna().any():
        return settings
    found = dict(zip(goals["goal"], goals["multiplier"].astype(float), strict=True))
    return settings.model_copy(update={"multipliers": GoalMultipliers(**found)})


def highest_profit(catalogue: Catalogue) -> float:
    """Profit of the catalogue at its prices of highest profit, without any goal."""
    cost = catalogue.inputs.facts.unit_cost
    profit = UnitWorth(np.ones_like(cost), cost)
    price = catalogue.prices(profit)
    return worth_of(profit, price=price, sales=sales_at(catalogue.inputs, price))


def _lowered(
    catalogue: Catalogue, kept: tuple[Kept, ...], *, highest_profit: float, share: float
) -> tuple[Kept, ...]:
    """The goals, each lowered where the earlier ones leave it too little room."""
    done: tuple[Kept, ...] = ()
    for one in kept:
        earlier = tuple(before.goal for before in done)
        reach = catalogue.solve(one.goal.worth, earlier)
        most = reach.answer.objective
        if most >= one.goal.bound:
            done += (one,)
            continue
        totals = catalogue_totals(catalogue.inputs, reach.answer.price)
        pressing = [
            goal.name
            for goal, times in zip(earlier, reach.answer.multipliers, strict=True)
            if times > 0
        ]
        yielded = most - share * max(abs(most), abs(one.goal.bound))
        done += (
            Kept(
                goal=replace(one.goal, bound=yielded),
                relaxed_to=totals.of(one.goal.name, highest_profit=highest_profit),
                clashes_with=", ".join(pressing),
            ),
        )
    return done


def _plan(
    inputs: SearchInputs,
    solution: DualSolution,
    *,
    kept: tuple[Kept, ...],
    settings: PricingSettings,
    highest_profit: float,
) -> PortfolioPlan:
    totals = catalogue_totals(inputs, solution.answer.price)
    current = catalogue_totals(inputs, inputs.current_price)
    times = {
        one.goal.name: float(value)
        for one, value in zip(kept, solution.answer.multipliers, strict=True)
    }
    outcomes = tuple(
        GoalOutcome(
            goal=one.goal.name,
            wanted=float(getattr(settings.portfolio, one.goal.name)),
            attained=totals.of(one.goal.name, highest_profit=highest_profit),
            at_current=current.of(one.goal.name, highest_profit=highest_profit),
            multiplier=times[one.goal.name],
            met=solution.feasible and np.isnan(one.relaxed_to),
            relaxed_to=one.relaxed_to,
            clashes_with=one.clashes_with,
        )
        for one in kept
    )
    return PortfolioPlan(
        multipliers=GoalMultipliers(**times) if kept else settings.multipliers,
        outcomes=outcomes,
        price=solution.answer.price,
        totals=totals,
        at_current=current,
        objective=solution.answer.objective,
        bound=solution.bound,
        evaluations=solution.evaluations,
    )
