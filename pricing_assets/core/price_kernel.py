r"""One search for the prices of whole catalogues: its contract, and its float64 reference.

Belongs here: what every engine is given and gives back, and the NumPy engine that the fast ones
are tested against (``core.price_kernel_cpu`` compiled, ``core.price_kernel_torch`` on a device).
Products are priced one by one here: substitutes, rules between products and other attitudes to
risk than the mean are ``core.price_search``.

Equation. Each product's price maximises, over the allowed prices
:math:`p_j = p_{first} + j\,\delta` between floor and ceiling (its price ending is
:math:`\delta` and :math:`p_{first}`),

.. math:: V(p) = (a p - b)\; E\min(D(p), A), \qquad
          E\,D(p) = Q_0 \exp(\mu z + s^2 z^2 / 2), \quad z = z_\lambda(p / p_0) ,

with the posterior of the elasticity :math:`N(\mu, s^2)` integrated in closed form (log-normal
moment), and the limited expected value of ``core.expected_sales`` where stock A is finite. ``grid``
prices between the lowest and the highest allowed one find the best step; the allowed prices around
it are then compared exactly, so that an ending is never put on after the search. The best price is
taken where P(less than at the least-change price) is at most ``hold_above_p_worse``. Else, the
largest smaller step that is as safe is taken, if it gains. Without stock that probability is

.. math:: \Phi\left(\frac{\log(m_b/m_p) - \mu\,\Delta z}{s\,|\Delta z|}\right) \le \alpha
          \iff m_p\, e^{e_\alpha \Delta z} \ge m_b, \quad
          e_\alpha = \mu + \operatorname{sgn}(\Delta z)\, s\, \Phi^{-1}(\alpha) ,

m the worth of a unit: profit under a pessimistic elasticity. It rises with the step, so that the
safe steps are an interval. A finite stock makes a dearer price safer still; there the interval is
found with the stock in the probability. Where a stock that sells out makes several prices bring
the same, the one that changes least is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.currency import to_major
from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.expected_sales import expected_sales, probability_worse, select
from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_endings import PriceLattice
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Flags = NDArray[np.bool_]

GRID = 32
"""Prices between the lowest and the highest allowed one that find the best step."""
CHUNK_ROWS = 4096
"""Products valued at once by the reference; bounds its memory whatever the catalogue's size."""
ROUNDING = 1e-9
"""Gains below this share of what is held are rounding, and count as none."""


@dataclass(frozen=True, slots=True)
class PriceProblem:
    """What the search is given for n products; each array of shape (n,).

    Attributes:
        curves: demand, reference prices in currency units.
        worth: of a sold unit, from a price in currency units.
        available: units that can be sold; infinite where replenished.
        base: the least-change price, minor units: gain and risk are measured against it.
        first, spacing, count: the allowed prices first + spacing * (0 .. count - 1), minor units.
        exponent: decimal places of the minor unit (one int).
    """

    curves: DemandCurves
    worth: UnitWorth
    available: Floats
    base: Minors
    first: Minors
    spacing: Minors
    count: Minors
    exponent: int

    def __len__(self) -> int:
        return int(self.base.shape[0])

    def rows(self, selection: slice | NDArray) -> PriceProblem:
        """The problem of some products."""
        return PriceProblem(
            curves=select(self.curves, selection),
            worth=self.worth.rows(selection),
            available=self.available[selection],
            base=self.base[selection],
            first=self.first[selection],
            spacing=self.spacing[selection],
            count=self.count[selection],
            exponent=self.exponent,
        )


@dataclass(frozen=True, slots=True)
class RiskLimits:
    """When a better price is left alone.

    Attributes:
        hold_above_p_worse: largest probability of less than at the least-change price, in (0, 1].
        min_relative_uplift: least gain, as a share of what is held.
    """

    hold_above_p_worse: float
    min_relative_uplift: float

    @classmethod
    def of(cls, parameters: PriceTableParameters) -> RiskLimits:
        """The limits of the settings; only the mean is maximised here."""
        if parameters.risk != "mean":
            raise InvalidSettingError(
                f"risk is '{parameters.risk}'; this engine maximises the mean. Use "
                "build_price_table for another attitude to risk"
            )
        return cls(parameters.hold_above_p_worse, parameters.min_relative_uplift)


@dataclass(frozen=True, slots=True)
class PriceSolution:
    """Prices of n products; each array of shape (n,).

    Attributes:
        price: the price chosen, minor units.
        units, base_units: expected units at it and at the least-change price.
        p_worse: probability that it brings less than the least-change price; 0 where that stays.
        best: the best price if risk did not matter, minor units.
        best_p_worse: the same probability there.
        best_gain: gain expected there, as a share of what is held; NaN where that is nothing.
    """

    price: NDArray[np.integer]
    units: NDArray[np.floating]
    base_units: NDArray[np.floating]
    p_worse: NDArray[np.floating]
    best: NDArray[np.integer]
    best_p_worse: NDArray[np.floating]
    best_gain: NDArray[np.floating]


Solver = Callable[[PriceProblem, RiskLimits], PriceSolution]
"""One engine: prices of a problem."""


def price_problem(
    *,
    curves: DemandCurves,
    worth: UnitWorth,
    available: Floats,
    changeable: Flags,
    bounds: PriceBounds,
    lattice: PriceLattice,
) -> PriceProblem:
    """The problem of n products from their guard rails and price endings.

    Where ``changeable`` is false, or a worth is unknown, only the least-change price is allowed.
    """
    last = lattice.first + lattice.spacing * (lattice.count - 1)
    edge = np.where(bounds.current <= bounds.floor, lattice.first, last)
    base = np.maximum(np.where(bounds.current_inside, bounds.current, edge), 1)
    free = changeable & np.isfinite(worth.intercept) & bounds.priceable
    return PriceProblem(
        curves=curves,
        worth=UnitWorth(worth.slope, np.where(free, worth.intercept, 0.0)),
        available=available,
        base=base,
        first=np.where(free, lattice.first, base),
        spacing=lattice.spacing,
        count=np.where(free, lattice.count, 1),
        exponent=bounds.exponent,
    )


def solve_reference(problem: PriceProblem, limits: RiskLimits) -> PriceSolution:
    """Float64 NumPy, in chunks of ``CHUNK_ROWS``: the oracle of every faster engine."""
    parts = [
        _solve_chunk(problem.rows(slice(start, start + CHUNK_ROWS)), limits)
        for start in range(0, len(problem), CHUNK_ROWS)
    ]
    return joined(parts or [_solve_chunk(problem, limits)])


def joined(parts: list[PriceSolution]) -> PriceSolution:
    """The solutions of parts of a catalogue, one after the other."""
    if len(parts) == 1:
        return parts[0]
    names = [field.name for field in fields(PriceSolution)]
    return PriceSolution(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def solved_apart(
    problem: PriceProblem, limits: RiskLimits, *, where: Flags, solve: Solver
) -> PriceSolution:
    """``solve`` of the rows (n,) of ``where``, the float64 reference of the others."""
    if where.all():
        return solve(problem, limits)
    parts = [solve(problem.rows(where), limits), solve_reference(problem.rows(~where), limits)]
    order = np.argsort(np.r_[np.flatnonzero(where), np.flatnonzero(~where)])
    found = joined(parts)
    names = [field.name for field in fields(PriceSolution)]
    return PriceSolution(**{name: getattr(found, name)[order] for name in names})


def objective_value(problem: PriceProblem, price: Minors) -> tuple[Floats, Floats]:
    """V and the expected units of it at prices in minor units, each (n, k) from (n, k)."""
    major = to_major(price, exponent=problem.exponent)
    sales = expected_sales(problem.curves, price=major, available=problem.available)
    return problem.worth.at(major) * sales, sales


def _solve_chunk(problem: PriceProblem, limits: RiskLimits) -> PriceSolution:
    best = _best_allowed(problem)
    both = np.stack([problem.base, best], axis=1)
    value, units = objective_value(problem, both)
    scale = np.abs(value[:, 0])
    gain = value[:, 1] - value[:, 0]
    better = gain > ROUNDING * scale
    best, gain = np.where(better, best, problem.base), np.where(better, gain, 0.0)
    scarce = np.flatnonzero(better & np.isfinite(problem.available))
    best[scarce] = _nearest_as_good(problem.rows(scarce), best[scarce])
    worse = _worse(problem, best)
    least = limits.min_relative_uplift * scale
    taken = better & (gain > least) & (worse <= limits.hold_above_p_worse)
    price = np.where(taken, best, problem.base)
    risky = np.flatnonzero(better & (worse > limits.hold_above_p_worse))
    price[risky] = _safe_step(problem.rows(risky), best[risky], limits=limits)
    _, chosen = objective_value(problem, price[:, None])
    return PriceSolution(
        price=price,
        units=chosen[:, 0],
        base_units=units[:, 0],
        p_worse=_worse(problem, price),
        best=best,
        best_p_worse=worse,
        best_gain=gain / np.where(scale == 0, np.nan, scale),
    )


def _best_allowed(problem: PriceProblem) -> Minors:
    """(n,) the allowed price of the largest V: grid, then bisection between its neighbours."""
    last = (problem.first + problem.spacing * (problem.count - 1)).astype(np.float64)
    log_first, log_last = np.log(problem.first), np.log(last)
    share = np.linspace(0.0, 1.0, GRID)
    grid = np.exp(log_first[:, None] + (log_last - log_first)[:, None] * share)
    value = objective_value(problem, grid)[0]
    at = np.argmax(value, axis=1)
    rows = np.arange(len(problem))
    below = grid[rows, np.maximum(at - 1, 0)] - problem.first
    above = grid[rows, np.minimum(at + 1, GRID - 1)] - problem.first
    low = np.floor(below / problem.spacing).astype(np.int64).clip(0, problem.count - 1)
    high = np.ceil(above / problem.spacing).astype(np.int64).clip(0, problem.count - 1)
    while True:
        open_rows = np.flatnonzero(low < high)
        if open_rows.size == 0:
            return problem.first + problem.spacing * low
        part = problem.rows(open_rows)
        middle = (low[open_rows] + high[open_rows]) // 2
        pair = part.first[:, None] + part.spacing[:, None] * (middle[:, None] + [0, 1])
        value = objective_value(part, pair)[0]
        rising = value[:, 1] > value[:, 0]
        low[open_rows] = np.where(rising, middle + 1, low[open_rows])
        high[open_rows] = np.where(rising, high[open_rows], middle)


def _worse(problem: PriceProblem, price: Minors) -> Floats:
    """(n,) probability of less at ``price`` than at the least-change price; 0 where they agree."""
    found = probability_worse(
        problem.curves,
        price=to_major(price, exponent=problem.exponent)[:, None],
        baseline=to_major(problem.base, exponent=problem.exponent),
        worth=problem.worth,
        available=problem.available,
    )[:, 0]
    return np.where(price == problem.base, 0.0, found)


def _safe_step(problem: PriceProblem, best: Minors, *, limits: RiskLimits) -> Minors:
    """(m,) the largest step from the least-change price towards ``best`` that is safe and gains."""
    found, _ = _last_step(
        problem, best, lambda price: _worse(problem, price) <= limits.hold_above_p_worse
    )
    value, _ = objective_value(problem, np.stack([problem.base, found], axis=1))
    gains = value[:, 1] - value[:, 0] > max(ROUNDING, limits.min_relative_uplift) * np.abs(
        value[:, 0]
    )
    allowed = gains & (_worse(problem, found) <= limits.hold_above_p_worse)
    return np.where(allowed, found, problem.base)


def _nearest_as_good(problem: PriceProblem, best: Minors) -> Minors:
    """(m,) the smallest step towards ``best`` that brings as much, up to ``ROUNDING``."""
    value, _ = objective_value(problem, np.stack([problem.base, best], axis=1))
    enough = value[:, 1] - ROUNDING * np.abs(value[:, 0])
    _, after = _last_step(
        problem, best, lambda price: objective_value(problem, price[:, None])[0][:, 0] < enough
    )
    return after


def _last_step(
    problem: PriceProblem, best: Minors, holds: Callable[[Minors], Flags]
) -> tuple[Minors, Minors]:
    """(m,) the last allowed price towards ``best`` at which ``holds``, and the next one.

    Bisection: it holds at the least-change price and at all allowed prices up to some step.
    """
    up = np.where(best > problem.base, 1, -1)
    nearest = (problem.base - problem.first) / problem.spacing
    start = np.where(up > 0, np.floor(nearest), np.ceil(nearest)).astype(np.int64)
    most = np.abs((best - problem.first) // problem.spacing - start)
    inside, outside = np.zeros_like(start), most + 1

    def at(step: Minors) -> Minors:
        price = problem.first + problem.spacing * (start + up * step)
        return np.where(step > 0, price, problem.base)

    while (outside - inside > 1).any():
        middle = (inside + outside) // 2
        fine = holds(at(middle)) | (middle == inside)
        inside, outside = np.where(fine, middle, inside), np.where(fine, outside, middle)
    return at(inside), at(np.minimum(outside, most))
