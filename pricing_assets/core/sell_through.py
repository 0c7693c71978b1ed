r"""The multiplier on units by which a stock reaches its target share sold by the date.

Belongs here: the setting ``sell_through.target_share``. The objective itself, revenue and salvage
value with the cost sunk, is ``core.unit_worth``.

Equation. With v the value of a price and S its expected sales, the least
:math:`\lambda \ge 0` at which the best of :math:`v_k + \lambda S_k` sells the target is

.. math:: \lambda = \min_{k: S_k \ge T}\; \max_{j: S_j < T}\;
          \max\!\left(0, \frac{v_j - v_k}{S_k - S_j}\right),

T the target share of the stock, or the most that any allowed price sells where that is less.
Substitutes are taken at their reference prices.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.expected_sales import expected_sales, select
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

CHUNK_PAIRS = 1 << 20
"""Products times pairs of candidates at once; bounds memory."""
_MORE = 1e-4
"""Relative rise that lets the price that sells the target win over rounding."""


def target_multipliers(
    worth: UnitWorth,
    *,
    curves: DemandCurves,
    candidates: Floats,
    available: Floats,
    target_share: float,
) -> Floats:
    """(n,) what a unit must count beside ``worth`` for the target to be reached; 0 where it is.

    Args:
        worth, curves: n rows.
        candidates: (n, k) allowed prices, currency units.
        available: (n,) units; a row whose stock is infinite has no target.
        target_share: of the stock.
    """
    added = np.zeros(len(curves))
    rows = np.flatnonzero(np.isfinite(available) & np.isfinite(worth.intercept))
    size = max(1, CHUNK_PAIRS // candidates.shape[1] ** 2)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        price = candidates[part]
        sales = expected_sales(select(curves, part), price=price, available=available[part])
        value = worth.rows(part).at(price) * sales
        added[part] = _least_multiplier(value, sales, target=target_share * available[part])
    return added


def _least_multiplier(value: Floats, sales: Floats, *, target: Floats) -> Floats:
    """(m,) least multiplier of units at which the best price sells the target, (m, k) inputs."""
    goal = np.minimum(target, sales.max(axis=1))[:, None]
    enough = sales >= goal
    more = sales[:, :, None] - sales[:, None, :]
    short = value[:, None, :] - value[:, :, None]
    pairs = enough[:, :, None] & ~enough[:, None, :]
    need = np.where(pairs, short / np.where(pairs, more, 1.0), 0.0).max(axis=2)
    least = np.where(enough, need, np.inf).min(axis=1)
    return np.maximum(least, 0.0) * (1 + _MORE)
