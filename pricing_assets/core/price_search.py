r"""The search for prices: each product's best allowed price, substitutes priced together.

Belongs here: choosing among allowed prices. Bounds and endings are ``core.guardrails``, sales and
risk ``core.expected_sales``, the frame of the price table ``core.price_table``.

Equation. Over the allowed prices p of product i, its substitutes at their own prices,

.. math:: p_i^* = \arg\max_p\; m_i(p)\, E\min(S_i D_i(p), A_i) + H_i (p / p_i)^{\kappa_i}
          \quad\text{subject to}\quad P(\text{less than at } b_i) \le \alpha ,

with m the worth of a unit (``core.unit_worth``: p - c for profit), b the least-change price and
alpha ``hold_above_p_worse``. Substitutes j of one category and store answer each other's prices:
:math:`S_i = \prod_{j \ne i} (p_j/p_{0j})^{\kappa_j}`, kappa_j the elasticity of every other one's
demand to the price of j; H_i is the worth of all substitutes' sales now. Products take turns until
none moves (coordinate ascent); without substitutes one turn is exact.
The expectation is replaced where the setting ``risk`` asks for less (``core.risk``); what
substitutes gain stays an expectation. A smaller step that is safe is preferred to the best step
that is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.expected_sales import (
    probability_worse,
    scaled,
    select,
)
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.risk import risk_value
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Minors = NDArray[np.int64]

CHUNK_CELLS = 1 << 18
"""Products times candidates valued at once; bounds memory whatever the catalogue's size."""

ROUNDING = 1e-9
"""Gains below this share of what is held are rounding, and count as none."""

MAX_SWEEPS = 12
"""Turns of each product at most; a few are enough for the ascent to stop by itself."""
MAX_TURNS = 64
"""Products of a category move one after the other, or in this many batches where there are more:
each is then so small a part of its category that a batch may move at once."""


@dataclass(frozen=True, slots=True)
class Substitutes:
    """Which products share customers, each array of shape (n,).

    Attributes:
        group: index of the product's category and store; a product alone has its own.
        elasticity: kappa, the elasticity of each substitute's demand to this product's price.
    """

    group: Indices
    elasticity: Floats

    @property
    def linked(self) -> Flags:
        """(n,) the product's group has another member and some of them are substitutes."""
        several = np.bincount(self.group)[self.group] > 1
        return np.asarray(several & (np.bincount(self.group, self.elasticity)[self.group] > 0))

    def demand_factor(self, log_ratio: Floats) -> Floats:
        """S, the factor that the others' prices put on each demand, (n,) from log(p / p0)."""
        pull = self.elasticity * log_ratio
        return np.asarray(np.exp(np.bincount(self.group, pull)[self.group] - pull))

    def others_sum(self, values: Floats) -> Floats:
        """Sum of the group's values without the product's own, (n,)."""
        return np.asarray(np.bincount(self.group, values)[self.group] - values)


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """What a price needs beside its curve, each array of shape (n,).

    Attributes:
        unit_cost: currency units, NaN unknown.
        worth: of a sold unit; the objective is its total.
        available: units that can be sold over the horizon; infinite where replenished.
        changeable: the search may leave the least-change price.
        substitutes: whose prices move each other's demand.
    """

    unit_cost: Floats
    worth: UnitWorth
    available: Floats
    changeable: Flags
    substitutes: Substitutes


@dataclass(frozen=True, slots=True)
class PriceChoice:
    """Chosen prices of n products, each array of shape (n,), prices in currency units.

    Attributes:
        price: the price chosen.
        best_price: the best price if risk did not matter.
        best_p_worse: probability that best_price gives less of the objective than the
            least-change price.
        best_gain: gain in the objective expected at best_price, as a share of what the product
            brings at its least-change price.
    """

    price: Floats
    best_price: Floats
    best_p_worse: Floats
    best_gain: Floats


@dataclass(frozen=True, slots=True)
class Turn:
    """What the rows that are now choosing see of the rest; arrays of shape (m,).

    Attributes:
        price: their present price.
        demand_factor: S, from the substitutes' present prices.
        others: H, the worth of the substitutes' sales at all present prices.
    """

    price: Floats
    demand_factor: Floats
    others: Floats

    def rows(self, selection: Indices) -> Turn:
        """What some of the rows see."""
        return Turn(self.price[selection], self.demand_factor[selection], self.others[selection])


class RowChooser(Protocol):
    """Chooses the prices of some rows in turn; one for each kind of device."""

    def __call__(
        self,
        curves: DemandCurves,
        candidates: Floats,
        *,
        facts: PriceFacts,
        turn: Turn,
        parameters: PriceTableParameters,
    ) -> PriceChoice:
        """Prices of m rows, all arguments of m rows."""
        ...


class LinkedRails(Protocol):
    """Rules between products, which bound each price by the present prices of others.

    Rows of one ``group`` may bound each other and never move in one turn; a row that no rule ties
    has a number of its own.
    """

    @property
    def group(self) -> Indices:
        """(n,) who ties whom."""
        ...

    @property
    def exponent(self) -> int:
        """Decimal places of the minor unit."""
        ...

    def bounds_for(self, rows: Indices, price_minor: Minors) -> tuple[Minors, Minors]:
        """Lowest and highest price of ``rows`` (m,) at everyone's present price (n,)."""
        ...


def choose_prices(
    curves: DemandCurves,
    candidates: Floats,
    *,
    facts: PriceFacts,
    parameters: PriceTableParameters,
    chooser: RowChooser | None = None,
    rails: LinkedRails | None = None,
) -> PriceChoice:
    """Search the candidates of n products.

    Args:
        curves: n demand curves, each at the substitutes' reference prices.
        candidates: (n, k) allowed prices, currency units; column 0 is the least-change price,
            against which gain and risk are measured.
        facts: worth of a unit, stock, substitutes, and which rows may change.
        parameters: risk and least gain.
        chooser: the device's; the NumPy reference, ``choose_rows``, where None.
        rails: rules between products, which the prices of column 0 obey together.
    """
    choose = choose_rows if chooser is None else chooser
    blank = np.zeros(len(curves))
    found = PriceChoice(candidates[:, 0].copy(), blank.copy(), blank.copy(), blank.copy())

    def take_turn(rows: Indices) -> None:
        turn = present_turn(curves, found.price, facts=facts)
        for part in chunks(rows, width=candidates.shape[1]):
            allowed, at_home = _allowed(candidates[part], part, price=found.price, rails=rails)
            chosen = choose(
                select(curves, part),
                allowed,
                facts=some_facts(facts, part),
                turn=turn.rows(part),
                parameters=parameters,
            )
            _take(found, chosen, part, home=candidates[part, 0], at_home=at_home)

    free, turns = _turns(facts.substitutes, rails)
    take_turn(free)
    for _ in range(MAX_SWEEPS):
        before = found.price.copy()
        for rows in turns:
            take_turn(rows)
        if np.array_equal(before, found.price):
            break
    return found


def present_turn(curves: DemandCurves, price: Floats, *, facts: PriceFacts) -> Turn:
    """S and H of all n products at the prices (n,); sales that stock caps gain nothing, so 0."""
    factor = facts.substitutes.demand_factor(np.log(price / curves.reference_price))
    linked = facts.substitutes.linked
    margin = facts.worth.at(price)
    counted = linked & np.isfinite(margin) & ~np.isfinite(facts.available)
    worth = np.zeros(len(curves))
    some = scaled(select(curves, counted), factor[counted])
    worth[counted] = margin[counted] * some.expected_units(price[counted])
    return Turn(price=price, demand_factor=factor, others=facts.substitutes.others_sum(worth))


def choose_rows(
    curves: DemandCurves,
    candidates: Floats,
    *,
    facts: PriceFacts,
    turn: Turn,
    parameters: PriceTableParameters,
) -> PriceChoice:
    """The NumPy reference of ``RowChooser``: value all candidates, take the best safe one."""
    hold = candidates[:, 0]
    curves = scaled(curves, turn.demand_factor)
    own = risk_value(
        curves,
        price=candidates,
        worth=facts.worth,
        available=facts.available,
        parameters=parameters,
    )
    spill = spillover(candidates, hold, turn=turn, elasticity=facts.substitutes.elasticity)
    value = own + spill
    worse = probability_worse(
        curves,
        price=candidates,
        baseline=hold,
        worth=facts.worth,
        available=facts.available,
        spillover=spill,
    )
    base = np.abs(value[:, :1])
    gain = value - value[:, :1]
    gain = np.where(np.abs(gain) <= ROUNDING * base, 0.0, gain)
    free = facts.changeable[:, None]
    safe = (gain > parameters.min_relative_uplift * base) & free
    safe &= worse <= parameters.hold_above_p_worse
    rows = np.arange(len(hold))
    change = np.abs(candidates - candidates[:, :1])
    picked = _first(np.where(safe, gain, 0.0), change=change, rounding=ROUNDING * base)
    best = _first(np.where(free, gain, 0.0), change=change, rounding=ROUNDING * base)
    scale = np.where(base[:, 0] == 0, np.nan, base[:, 0])
    return PriceChoice(
        price=candidates[rows, picked],
        best_price=candidates[rows, best],
        best_p_worse=worse[rows, best],
        best_gain=gain[rows, best] / scale,
    )


def _first(gain: Floats, *, change: Floats, rounding: Floats) -> Indices:
    """(m,) place of the largest gain (m, k); of equal ones that which changes least."""
    near = gain >= gain.max(axis=1, keepdims=True) - rounding
    return np.argmin(np.where(near, change, np.inf), axis=1)


def spillover(price: Floats, baseline: Floats, *, turn: Turn, elasticity: Floats) -> Floats:
    """What substitutes gain when the price leaves the baseline, (n, k) from prices (n, k)."""
    kappa, now = elasticity[:, None], turn.price[:, None]
    moved = (price / now) ** kappa - (baseline[:, None] / now) ** kappa
    return np.asarray(turn.others[:, None] * moved)


def _allowed(
    candidates: Floats, rows: Indices, *, price: Floats, rails: LinkedRails | None
) -> tuple[Floats, Flags]:
    """Candidates (m, k) that the rules between products allow now; (m,) column 0 is one.

    One that is not allowed becomes the least-change price, which gains nothing.
    """
    if rails is None:
        return candidates, np.ones(len(rows), dtype=bool)
    scale = 10.0**rails.exponent
    low, high = rails.bounds_for(rows, np.rint(price * scale).astype(np.int64))
    minor = np.rint(candidates * scale)
    inside = (minor >= low[:, None]) & (minor <= high[:, None])
    return np.where(inside, candidates, candidates[:, :1]), inside[:, 0]


def _take(
    found: PriceChoice, chosen: PriceChoice, rows: Indices, *, home: Floats, at_home: Flags
) -> None:
    """Write the choice of the rows into ``found``, all (m,).

    The least-change price ``home`` may be closed once others have moved; a row that would go back
    to it then stays at its present price, which is always allowed.
    """
    stays = ~at_home & (chosen.price == home)
    price = np.where(stays, found.price[rows], chosen.price)
    for name in PriceChoice.__slots__:
        getattr(found, name)[rows] = price if name == "price" else getattr(chosen, name)


def _turns(substitutes: Substitutes, rails: LinkedRails | None) -> tuple[Indices, list[Indices]]:
    """Rows that no other's price touches; then who may move at once, in order.

    Of substitutes one of each group moves, or a batch of a large one; of rows that a rule ties
    together never two.
    """
    linked = substitutes.linked
    tied = np.zeros_like(linked) if rails is None else np.bincount(rails.group)[rails.group] > 1
    rows = np.flatnonzero(linked | tied)
    turn = np.where(linked[rows], _rank(substitutes.group[rows]) % MAX_TURNS, 0)
    if rails is not None:
        shared = np.where(tied, rails.group, rails.group.max(initial=0) + 1 + np.arange(len(tied)))
        pair = np.unique(np.stack([turn, shared[rows]]), axis=1, return_inverse=True)[1]
        turn = turn * (1 + _rank(pair).max(initial=0)) + _rank(pair)
    return np.flatnonzero(~(linked | tied)), [rows[turn == one] for one in np.unique(turn)]


def _rank(group: Indices) -> Indices:
    """(m,) how many earlier rows are of the same group."""
    order = np.argsort(group, kind="stable")
    start = np.flatnonzero(np.r_[True, np.diff(group[order]) != 0]) if len(group) else order
    rank = np.empty_like(order)
    rank[order] = np.arange(len(group)) - np.repeat(start, np.diff(np.r_[start, len(group)]))
    return rank


def chunks(rows: Indices, *, width: int) -> list[Indices]:
    """The rows in parts of at most ``CHUNK_CELLS`` cells, ``width`` a row."""
    size = max(1, CHUNK_CELLS // width)
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def some_facts(facts: PriceFacts, rows: Indices) -> PriceFacts:
    """The facts of some rows."""
    substitutes = Substitutes(facts.substitutes.group[rows], facts.substitutes.elasticity[rows])
    return PriceFacts(
        unit_cost=facts.unit_cost[rows],
        worth=facts.worth.rows(rows),
        available=facts.available[rows],
        changeable=facts.changeable[rows],
        substitutes=substitutes,
    )
