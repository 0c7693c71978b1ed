r"""Goals that couple a whole catalogue, priced by their multipliers: the Lagrangian dual.

Belongs here: finding multipliers when an oracle answers them with the best prices. What goals are
is ``core.portfolio_goals``; the oracle over a catalogue is ``core.portfolio``.

Problem. Over the prices x of all products, maximise f(x) subject to :math:`g_j(x) \ge B_j`. For
multipliers :math:`\lambda \ge 0` the oracle returns :math:`x(\lambda)`, which maximises
:math:`f(x) + \lambda^T g(x)`; with f and g sums over products it does so product by product. Then

.. math:: d(\lambda) = f(x(\lambda)) + \lambda^T (g(x(\lambda)) - B)

is an upper bound of f at every feasible x, convex in lambda (Everett 1963; Geoffrion 1974). Each
answer is a line below d, and the least of their maximum is the next multiplier (Kelley 1960): the
dual of mixing the answers found, so that bound and answers close on each other. The gap that
remains stems from prices being discrete and shrinks as products are many (Aubin and Ekeland 1976).
Where the oracle searches locally (substitutes) or a rule of its own depends on lambda (risk), the
bound is as good as the oracle.

A feasible answer is found by asking for a little more than B, and then, between its multipliers
and the dual's, the nearest to the dual's that is feasible still: so the result is always an
answer of the oracle, reproduced by its multipliers alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog

Floats = NDArray[np.float64]

LARGEST_MULTIPLIER = 1e4
"""In units of objective over goal; a goal that needs more is out of reach."""
MARGINS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Asked for beyond a goal until an answer meets it, as shares of its range over the answers."""
BISECTIONS = 40
NEAR_ENOUGH = 3e-4
"""Relative distance of multipliers at which bisection ends."""
_SLACK = 1e-9


@dataclass(frozen=True, slots=True)
class Answer:
    """What the oracle gives to m multipliers.

    Attributes:
        multipliers: (m,).
        price: (n,) the prices, currency units.
        objective: f.
        totals: (m,) g, one a goal.
    """

    multipliers: Floats
    price: Floats
    objective: float
    totals: Floats


@dataclass(frozen=True, slots=True)
class DualSolution:
    """The end of the search.

    Attributes:
        answer: the feasible answer of highest objective; where none is feasible, that which
            misses the goals least.
        feasible: it meets every goal.
        bound: least d found: no feasible prices have a higher objective.
        evaluations: questions asked.
    """

    answer: Answer
    feasible: bool
    bound: float
    evaluations: int

    @property
    def gap(self) -> float:
        """How far the answer is below the bound, as a share of the bound."""
        scale = max(abs(self.bound), 1e-12)
        return float((self.bound - self.answer.objective) / scale)


Oracle = Callable[[Floats], Answer]


def solve_dual(
    oracle: Oracle, bounds: Floats, *, tolerance: float = 1e-6, most: int = 60
) -> DualSolution:
    """Multipliers whose answer meets all goals at the highest objective.

    Args:
        oracle: answers multipliers (m,) that are not negative.
        bounds: (m,) B.
        tolerance: relative distance of bound and cutting planes at which the dual is solved.
        most: questions of one descent, at most.
    """
    search = _Search(oracle=oracle, bounds=bounds, tolerance=tolerance, most=most)
    first = search.ask(np.zeros(len(bounds)))
    if search.meets(first):
        return search.solution(bound=first.objective)
    least, bound = search.descend(margin=0.0)
    for margin in MARGINS:
        if search.best() is not None:
            break
        search.descend(margin=margin)
    search.close_in(least)
    return search.solution(bound=bound)


@dataclass(slots=True)
class _Search:
    """The answers so far; everything is scaled by the first answer's size."""

    oracle: Oracle
    bounds: Floats
    tolerance: float
    most: int
    answers: list[Answer] = field(default_factory=list)

    def ask(self, multipliers: Floats) -> Answer:
        self.answers.append(self.oracle(multipliers))
        return self.answers[-1]

    @property
    def goal_scale(self) -> Floats:
        """(m,) size of each goal."""
        seen = np.max([np.abs(answer.totals) for answer in self.answers], axis=0)
        return np.maximum(np.maximum(np.abs(self.bounds), seen), 1e-12)

    @property
    def scale(self) -> float:
        """Size of the objective."""
        return max(max(abs(answer.objective) for answer in self.answers), 1e-12)

    def meets(self, answer: Answer) -> bool:
        return bool((answer.totals >= self.bounds - _SLACK * self.goal_scale).all())

    def _raised(self, margin: float) -> Floats:
        """(m,) the goals and ``margin`` of their range over the answers."""
        if margin == 0:
            return self.bounds
        return self.bounds + margin * np.ptp([answer.totals for answer in self.answers], axis=0)

    def best(self) -> Answer | None:
        """The feasible answer of highest objective; of equal ones that of the least d."""
        feasible = [answer for answer in self.answers if self.meets(answer)]
        return max(
            feasible,
            key=lambda answer: (answer.objective, -self.dual(answer, 0.0)),
            default=None,
        )

    def dual(self, answer: Answer, margin: float) -> float:
        """d at the multipliers of ``answer``, for goals raised by ``margin`` of their range."""
        raised = self._raised(margin)
        return float(answer.objective + answer.multipliers @ (answer.totals - raised))

    def descend(self, *, margin: float) -> tuple[Floats, float]:
        """Multipliers of the least d, and d there, by cutting planes."""
        for _ in range(self.most):
            least = min(self.answers, key=lambda answer: self.dual(answer, margin))
            multipliers, below = self._lowest_plane(margin)
            if self.dual(least, margin) - below <= self.tolerance * self.scale:
                break
            self.ask(multipliers)
        least = min(self.answers, key=lambda answer: self.dual(answer, margin))
        return least.multipliers, self.dual(least, margin)

    def _lowest_plane(self, margin: float) -> tuple[Floats, float]:
        """Multipliers at which the highest of all planes is lowest, and its height there."""
        unit = self.scale / self.goal_scale
        raised = self._raised(margin)
        slack = np.array([(answer.totals - raised) * unit for answer in self.answers])
        height = np.array([answer.objective for answer in self.answers])
        found = linprog(
            np.r_[1.0, np.zeros(len(unit))],
            A_ub=np.c_[-np.ones(len(height)), slack / self.scale],
            b_ub=-height / self.scale,
            bounds=[(None, None), *[(0.0, LARGEST_MULTIPLIER)] * len(unit)],
            method="highs",
        )
        return np.asarray(found.x[1:]) * unit, float(found.x[0]) * self.scale

    def close_in(self, least: Floats) -> None:
        """Bisect between the dual's multipliers and those of the best feasible answer."""
        best = self.best()
        if best is None:
            return
        outside, inside = least, best.multipliers
        for _ in range(BISECTIONS):
            if np.abs(inside - outside).max() <= NEAR_ENOUGH * np.abs(inside).max():
                break
            middle = self.ask((outside + inside) / 2)
            if self.meets(middle):
                inside = middle.multipliers
            else:
                outside = middle.multipliers

    def solution(self, *, bound: float) -> DualSolution:
        best = self.best()
        return DualSolution(
            answer=min(self.answers, key=self._miss) if best is None else best,
            feasible=best is not None,
            bound=bound,
            evaluations=len(self.answers),
        )

    def _miss(self, answer: Answer) -> float:
        """Largest share of a goal that the answer falls short of."""
        return float(((self.bounds - answer.totals) / self.goal_scale).max())
