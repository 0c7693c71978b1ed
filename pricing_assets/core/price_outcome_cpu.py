r"""What chosen prices bring, compiled for this machine's vector units.

Belongs here: sales, risk and the interval of the gain of one price against another, a row at a
time. ``core.expected_sales`` has the equations and is the oracle; ``core.price_table`` asks it
where numba is not there. Kept on disk compiled: touch this module when ``core.compiled_math`` or
``core.price_kernel_stock`` changes.

The interval's two quantiles are those of the same ELASTICITY_NODES x LEVEL_NODES gains, found by
counting gains below a moving threshold (vector instructions) in place of sorting them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import ndtri

from pricing_assets.core.compiled_math import MATH, SINGLE, exp64, log64, normal, step64
from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.expected_sales import ELASTICITY_NODES, LEVEL_NODES
from pricing_assets.core.price_kernel_stock import stock_sales, worse_in_stock
from pricing_assets.core.price_outcome import PriceOutcome
from pricing_assets.core.price_packing import ENDLESS
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

_ELASTICITIES = ndtri((np.arange(ELASTICITY_NODES) + 0.5) / ELASTICITY_NODES)
_LEVELS = ndtri((np.arange(LEVEL_NODES) + 0.5) / LEVEL_NODES)
_NODES = (_ELASTICITIES, _LEVELS)
"""Handed in, not compiled in: what is kept on disk would not see another number of them."""
_ROUNDS = 48
"""Thresholds tried for a quantile at most; equal gains at the quantile need them all."""


def compiled_outcome(
    curves: DemandCurves,
    *,
    price: Floats,
    baseline: Floats,
    worth: UnitWorth,
    unit_cost: Floats,
    available: Floats,
) -> PriceOutcome:
    """``price_outcome.price_outcome`` without substitutes; the same arguments, (n,) each.

    Units are within 1e-9 of it, probabilities within 2e-8, the interval within 2e-5
    of the profit.
    """
    n = len(price)
    found = np.zeros((5, n))
    columns = (
        curves.reference_price,
        curves.reference_units,
        curves.reference_units_cv,
        curves.elasticity_mean,
        curves.elasticity_sd,
        curves.curvature,
        worth.slope,
        np.nan_to_num(worth.intercept),
        np.minimum(available, ENDLESS),
    )
    doubles = tuple(np.ascontiguousarray(column, np.float64) for column in columns)
    cost = np.ascontiguousarray(np.where(np.isfinite(unit_cost), unit_cost, -1.0))
    both = np.ascontiguousarray(price), np.ascontiguousarray(baseline)
    _weigh_rows(doubles, *both, cost, _NODES, found)
    return PriceOutcome(*found)


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` compiled, and kept on disk where there is a folder to keep it in."""
    try:
        return njit(nogil=True, cache=True, **MATH)(function)
    except RuntimeError:
        return njit(nogil=True, **MATH)(function)


@njit(nogil=True, **MATH)
def _worse(columns: Any, j: int, price: Any, base: Any) -> Any:
    """P(worse) where stock does not cap sales: ``DemandCurves.probability_less``."""
    at = columns[6][j] * price - columns[7][j]
    at_base = columns[6][j] * base - columns[7][j]
    z, _ = step64(log64(price / columns[0][j]), columns[5][j])
    z_base, _ = step64(log64(base / columns[0][j]), columns[5][j])
    shift = z - z_base
    if at > 0 and at_base > 0 and abs(shift) > 1e-12:
        odds = log64(at_base / at) - columns[3][j] * shift
        return normal(odds / max(abs(shift) * columns[4][j], 1e-12))
    return 1.0 if (at < at_base) and (at <= 0) else 0.0


@njit(nogil=True, **MATH)
def _gains(
    columns: Any, j: int, price: Any, base: Any, cost: Any, nodes: Any, gains: Any, room: Any
) -> None:
    """The gain in profit of product j at all pairs of nodes, into float32 ``gains``."""
    z, _ = step64(log64(price / columns[0][j]), columns[5][j])
    z_base, _ = step64(log64(base / columns[0][j]), columns[5][j])
    sigma = np.sqrt(np.log1p(columns[2][j] * columns[2][j]))
    stock, units = columns[8][j], columns[1][j]
    mean, sd = columns[3][j], columns[4][j]
    up, stay, levels = room[0], room[1], room[2, : nodes[1].shape[0]]
    width = levels.shape[0]
    for e in range(up.shape[0]):
        slope = mean + sd * nodes[0][e]
        up[e], stay[e] = exp64(slope * z), exp64(slope * z_base)
    for l in range(width):  # noqa: E741
        levels[l] = units * exp64(sigma * nodes[1][l] - sigma * sigma / 2)
    if stock >= ENDLESS:
        for e in range(up.shape[0]):
            rise = (price - cost) * up[e] - (base - cost) * stay[e]
            for l in range(width):  # noqa: E741
                gains[e * width + l] = SINGLE(rise * levels[l])
        return
    for e in range(up.shape[0]):
        for l in range(width):  # noqa: E741
            gains[e * width + l] = SINGLE(
                (price - cost) * min(up[e] * levels[l], stock)
                - (base - cost) * min(stay[e] * levels[l], stock)
            )


@njit(nogil=True, **MATH)
def _range(gains: Any) -> Any:
    """The least and the largest gain."""
    least, most = gains[0], gains[0]
    for k in range(gains.shape[0]):
        least, most = min(least, gains[k]), max(most, gains[k])
    return least, most


@njit(nogil=True, **MATH)
def _below(gains: Any, x: Any) -> Any:
    """How many gains are at most x; in float32, which keeps the vectors full."""
    count = SINGLE(0)
    for k in range(gains.shape[0]):
        count += SINGLE(1) if gains[k] <= x else SINGLE(0)
    return count


@njit(nogil=True, **MATH)
def _quantile(gains: Any, share: Any, least: Any, most: Any) -> Any:
    """Quantile of the gains, interpolated as ``np.quantile`` does."""
    at = share * (gains.shape[0] - 1)
    rank = SINGLE(np.floor(at))
    low, high = least, most
    under, over = SINGLE(0), SINGLE(gains.shape[0])
    x, count = low, under
    for turn in range(_ROUNDS):
        part = (rank + SINGLE(1) - under) / (over - under)
        part = SINGLE(0.5) if turn % 3 == 2 else min(max(part, SINGLE(0.02)), SINGLE(0.98))
        x = low + (high - low) * part
        count = _below(gains, x)
        if count == rank + SINGLE(1) or not low < x < high:
            break
        if count <= rank:
            low, under = x, count
        else:
            high, over = x, count
    if count != rank + SINGLE(1):
        return high
    inside, beyond = least, most
    for k in range(gains.shape[0]):
        inside = max(inside, gains[k] if gains[k] <= x else least)
        beyond = min(beyond, gains[k] if gains[k] > x else most)
    return inside + (beyond - inside) * SINGLE(at - rank)


def _weigh_rows(columns: Any, price: Any, baseline: Any, cost: Any, nodes: Any, found: Any) -> None:
    """Fill the rows of ``found`` (5, n); a cost below zero is unknown."""
    room, powers = np.empty((3, 2)), np.empty((3, nodes[0].shape[0]))
    gains = np.empty(nodes[0].shape[0] * nodes[1].shape[0], np.float32)
    ref, units, cv, mean, sd, lam, slope, cut, stock = columns
    whole = (ref, units, cv, mean, sd, lam, slope, cut, stock, ref, ref, ref, baseline)
    for j in range(price.shape[0]):
        room[0, 0], room[0, 1] = price[j], baseline[j]
        if stock[j] < ENDLESS:
            stock_sales(whole, j, room[0], room[1], room[2])
        else:
            for k in range(2):
                z, _ = step64(log64(room[0, k] / ref[j]), lam[j])
                room[1, k] = units[j] * exp64(mean[j] * z + 0.5 * sd[j] * sd[j] * z * z)
        found[0, j], found[1, j] = room[1, 0], room[1, 1]
        if price[j] == baseline[j]:
            continue
        if stock[j] < ENDLESS:
            found[2, j] = worse_in_stock(whole, j, price[j])
        else:
            found[2, j] = _worse(whole, j, price[j], baseline[j])
        if cost[j] >= 0:
            _gains(columns, j, price[j], baseline[j], cost[j], nodes, gains, powers)
            least, most = _range(gains)
            found[3, j] = _quantile(gains, 0.05, least, most)
            found[4, j] = _quantile(gains, 0.95, least, most)


_weigh_rows = _compiled(_weigh_rows)
