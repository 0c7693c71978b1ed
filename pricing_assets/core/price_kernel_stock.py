"""The compiled search's part for products whose stock is finite.

Belongs here: expected sales under a stock and their risk, compiled; ``core.expected_sales`` has the
equations. ``core.price_kernel_cpu`` calls it and is kept on disk compiled: touch that module when
this one changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from pricing_assets.core.compiled_math import (
    MATH,
    SINGLE,
    exp64,
    growth,
    log64,
    normal,
    quantile,
    step64,
)
from pricing_assets.core.price_kernel import GRID, ROUNDING
from pricing_assets.core.price_packing import ENDLESS

FEW = 8
"""Allowed prices that are compared at once in the end, the base among them."""
_MIDPOINTS = (np.arange(16) + 0.5) / 16


@njit(nogil=True, **MATH)
def stock_sales(columns: Any, j: int, prices: Any, sales: Any, values: Any) -> None:
    """E min(D, A) and V of product j at some prices in minor units."""
    ref, units, cv, mean, sd, lam, slope, cut, available, _, _, _, _ = columns
    r, m, l = np.float64(ref[j]), np.float64(mean[j]), np.float64(lam[j])  # noqa: E741
    s2 = np.float64(sd[j]) * sd[j]
    level = np.log1p(np.float64(cv[j]) * cv[j])
    stock = np.float64(available[j])
    scale, slope_, cut_ = np.float64(units[j]), np.float64(slope[j]), np.float64(cut[j])
    for k in range(prices.shape[0]):
        z, grown = growth(prices[k], r, m, s2, l)
        demand = max(scale * grown, 1e-12)
        spread = np.sqrt(max(s2 * z * z + level + log64(1.0 + 1.0 / demand), 1e-12))
        distance = log64(max(stock, 1e-12) / demand) / spread
        sold = demand * normal(distance - spread / 2) + stock * normal(-distance - spread / 2)
        sales[k] = sold
        values[k] = (slope_ * prices[k] - cut_) * sold


@njit(nogil=True, **MATH)
def worse_in_stock(columns: Any, j: int, price: Any) -> Any:
    """P(worse) of ``expected_sales.probability_worse`` under a finite stock."""
    ref, units, cv, mean, sd, lam, slope, cut, available, _, _, _, base = columns
    b = np.float64(base[j])
    high, low = max(price, b), min(price, b)
    top = np.float64(slope[j]) * high - cut[j]
    bottom = np.float64(slope[j]) * low - cut[j]
    together = 0.0
    if bottom > 0 and high > low:
        z_high, _ = step64(log64(high / ref[j]), np.float64(lam[j]))
        z_low, _ = step64(log64(low / ref[j]), np.float64(lam[j]))
        m, s = np.float64(mean[j]), max(np.float64(sd[j]), 1e-12)
        together = normal((log64(bottom / top) / (z_high - z_low) - m) / s)
        if bottom < top:
            sigma = np.sqrt(max(np.log1p(np.float64(cv[j]) * cv[j]), 1e-12))
            limit = max(bottom / top * available[j] / max(np.float64(units[j]), 1e-12), 1e-12)
            room, total = log64(limit), 0.0
            for k in range(16):
                e = m + s * quantile(together * _MIDPOINTS[k])
                total += normal((room - e * z_high) / sigma + sigma / 2)
            together *= total / 16
    return together if price > b else 1.0 - together


@njit(nogil=True, **MATH)
def _best_in_stock(columns: Any, j: int, room: Any) -> Any:
    """The allowed price of product j with the largest V under its stock; see the reference.

    ``room`` is (4, GRID): prices, sales, values, lattice positions. The first two values of the
    last round are those of the best price and of the base.
    """
    low, spacing = np.float64(columns[9][j]), np.float64(columns[10][j])
    last, base = np.float64(columns[11][j]), np.float64(columns[12][j])
    prices, sales, values, places = room[0], room[1], room[2], room[3]
    rise = log64((low + spacing * last) / low) / (GRID - 1)
    for k in range(GRID):
        prices[k] = low * exp64(rise * k)
    stock_sales(columns, j, prices, sales, values)
    at = np.argmax(values)
    least = max(np.floor((prices[max(at - 1, 0)] - low) / spacing), 0.0)
    most = min(np.ceil((prices[min(at + 1, GRID - 1)] - low) / spacing), last)
    while most - least > FEW - 2:
        for k in range(GRID):
            places[k] = np.floor(least + (most - least) * k / (GRID - 1))
            prices[k] = low + spacing * places[k]
        stock_sales(columns, j, prices, sales, values)
        at = np.argmax(values)
        least, most = places[max(at - 1, 0)], places[min(at + 1, GRID - 1)]
    for k in range(FEW):
        prices[k] = low + spacing * min(least + k - 1, most)
    prices[0] = base
    stock_sales(columns, j, prices[:FEW], sales[:FEW], values[:FEW])
    return 1 + np.argmax(values[1:FEW])


@njit(nogil=True, **MATH)
def _nearest_as_good(columns: Any, j: int, best: Any, enough: Any, room: Any) -> Any:
    """``price_kernel._nearest_as_good`` of product j: the least change that brings ``enough``."""
    low, spacing, base = np.float64(columns[9][j]), np.float64(columns[10][j]), columns[12][j]
    up = 1.0 if best > base else -1.0
    nearest = (base - low) / spacing
    start = np.floor(nearest + 1e-6) if up > 0 else np.ceil(nearest - 1e-6)
    most = np.floor(abs((best - low) / spacing - start) + 0.5)
    inside, outside = 0.0, most
    step = most - 1.0
    prices, sales, values = room[0, :1], room[1, :1], room[2, :1]
    while outside - inside > 1.0:
        prices[0] = low + spacing * (start + up * step)
        stock_sales(columns, j, prices, sales, values)
        if values[0] < enough:
            inside = step
        else:
            outside = step
        step = np.floor((inside + outside) / 2)
    return low + spacing * (start + up * outside)


@njit(nogil=True, **MATH)
def weigh_stock(columns: Any, best: Any, facts: Any, room: Any) -> None:
    """``_refine`` and ``_weigh`` for the products of a block whose stock is finite."""
    for i in range(best.shape[0]):
        if columns[8][i] < ENDLESS:
            at = _best_in_stock(columns, i, room)
            price, sold, value = room[0, at], room[1, at], room[2, at]
            units, held = room[1, 0], room[2, 0]
            if price != columns[12][i] and value - held > ROUNDING * abs(held):
                enough = value - ROUNDING * abs(held)
                nearer = _nearest_as_good(columns, i, price, enough, room)
                if nearer != price:
                    room[0, 0] = price = nearer
                    stock_sales(columns, i, room[0, :1], room[1, :1], room[2, :1])
                    sold, value = room[1, 0], room[2, 0]
            best[i] = SINGLE(price)
            facts[0][i], facts[1][i] = SINGLE(sold), SINGLE(units)
            facts[2][i] = SINGLE((value - held) / max(abs(held), 1e-30))
            facts[3][i] = SINGLE(worse_in_stock(columns, i, price))
