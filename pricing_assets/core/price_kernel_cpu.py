r"""The search of ``core.price_kernel`` compiled for this machine's vector units.

Same contract and equations as the NumPy reference, an order of magnitude faster on one core; the
lock of the interpreter is free while it runs, so that threads share a catalogue.

How it is fast. On prices equally spaced in the step z the expectation is a Gaussian in the index,
so that a recurrence of multiplications gives it, :math:`v_{k+1} = v_k g_k,\ g_{k+1} = g_k q` (four
multiplications a candidate, no exponential). Prices themselves follow :math:`p_{k+1} = p_k + d_k,\
d_{k+1} = a d_k`, exact for constant elasticity and semi-log, and through the ends and the middle of
the range for other curvatures. That finds the cell in float32; Newton's method on V' and the two
allowed prices around its root are float64. Blocks of products stay in the first-level cache.

Compilation takes some ten seconds once in a machine's life: the result is kept in
``NUMBA_CACHE_DIR``, by default beside this file. Without numba, ask ``solve_reference``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from typing import Any

import numpy as np
from numba import njit
from scipy.special import ndtri

from pricing_assets.core.compiled_math import (
    MATH,
    SINGLE,
    exp32,
    growth,
    inline,
    log32,
    log64,
    normal,
    price32,
    step32,
    step64,
)
from pricing_assets.core.price_kernel import (
    GRID,
    ROUNDING,
    PriceProblem,
    PriceSolution,
    RiskLimits,
    solved_apart,
)
from pricing_assets.core.price_kernel_stock import stock_sales, weigh_stock, worse_in_stock
from pricing_assets.core.price_packing import ENDLESS, PackedProblem, fits, pack

BLOCK = 1024
_log = logging.getLogger(__name__)


def solve_compiled(problem: PriceProblem, limits: RiskLimits) -> PriceSolution:
    """``price_kernel.solve_reference`` compiled, on one thread: the same contract.

    Products with a price above ``price_packing.LARGEST_MINOR`` are priced by the reference.
    """
    return solved_apart(
        problem,
        limits,
        where=fits(problem),
        solve=lambda some, risk: solve_packed(pack(some), risk),
    )


def solve_packed(packed: PackedProblem, limits: RiskLimits, *, threads: int = 1) -> PriceSolution:
    """Prices of packed products, on so many threads."""
    n = len(packed)
    found = PriceSolution(
        price=np.empty(n, np.int32),
        units=np.empty(n, np.float32),
        base_units=np.empty(n, np.float32),
        p_worse=np.empty(n, np.float32),
        best=np.empty(n, np.int32),
        best_p_worse=np.empty(n, np.float32),
        best_gain=np.empty(n, np.float32),
    )
    out = tuple(getattr(found, field.name) for field in fields(found))
    alpha = limits.hold_above_p_worse
    bound = float(np.clip(ndtri(alpha), -38.0, 38.0))
    rule = (alpha, bound, limits.min_relative_uplift)

    def part(start: int, stop: int) -> None:
        _solve(packed.columns, out, start, stop, rule)

    count = max(threads, 1)
    size = max(BLOCK, -(-n // (count * 4)))
    edges = [(start, min(start + size, n)) for start in range(0, n, size)]
    if count == 1 or len(edges) < 2:
        part(0, n)
        return found
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(lambda edge: part(*edge), edges))
    return found


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` compiled, and kept on disk where there is a folder to keep it in."""
    try:
        return njit(nogil=True, cache=True, **MATH)(function)
    except RuntimeError as failure:
        _log.warning("the compiled search is not kept between processes: %s", failure)
        return njit(nogil=True, **MATH)(function)


@inline
def _advance(state: Any, a: Any, q: Any, slope: Any, intercept: Any) -> Any:
    """The next candidate, and the best so far: price, its step, value, its ratio, best, where."""
    p, d, v, g, best, where = state
    p, d, v, g = p + d, d * a, v * g, g * q
    value = (slope * p - intercept) * v
    return p, d, v, g, max(value, best), p if value > best else where


@inline
def _advance_4(state: Any, a: Any, q: Any, slope: Any, intercept: Any) -> Any:
    state = _advance(state, a, q, slope, intercept)
    state = _advance(state, a, q, slope, intercept)
    state = _advance(state, a, q, slope, intercept)
    return _advance(state, a, q, slope, intercept)


@inline
def _advance_31(state: Any, a: Any, q: Any, slope: Any, intercept: Any) -> Any:
    for _ in range(1):
        state = _advance_4(state, a, q, slope, intercept)
        state = _advance_4(state, a, q, slope, intercept)
        state = _advance_4(state, a, q, slope, intercept)
        state = _advance_4(state, a, q, slope, intercept)
        state = _advance_4(state, a, q, slope, intercept)
        state = _advance_4(state, a, q, slope, intercept)
        state = _advance_4(state, a, q, slope, intercept)
    state = _advance(state, a, q, slope, intercept)
    state = _advance(state, a, q, slope, intercept)
    return _advance(state, a, q, slope, intercept)


@njit(nogil=True, **MATH)
def _coarse(columns: Any, start: Any, width: Any) -> None:
    """The best of GRID candidates of each product, and the spacing of candidates there."""
    ref, _, _, mean, sd, lam, slope, cut, _, first, space, last, _ = columns
    for i in range(start.shape[0]):
        low, high = first[i], first[i] + space[i] * last[i]
        s2 = sd[i] * sd[i]
        logs = log32(low / ref[i]), log32(high / ref[i])
        z0, z1 = step32(logs[0], lam[i]), step32(logs[1], lam[i])
        h = (z1 - z0) * SINGLE(1 / (GRID - 1))
        middle = price32(ref[i], SINGLE(0.5) * (z0 + z1), lam[i])
        ratio = (high - middle) / max(middle - low, SINGLE(1e-6))
        ratio = ratio if high > low else SINGLE(1)
        flat = abs(ratio - SINGLE(1)) < SINGLE(1e-4)
        a = exp32(log32(ratio) * SINGLE(2 / (GRID - 1)))
        share = (a - SINGLE(1)) / ((SINGLE(2) if flat else ratio) - SINGLE(1))
        d = (middle - low) * (SINGLE(2 / (GRID - 1)) if flat else share)
        g = exp32(h * (mean[i] + s2 * (z0 + SINGLE(0.5) * h)))
        loss = SINGLE(cut[i])
        value = slope[i] * low - loss
        state = (low, d, SINGLE(1), g, value, low)
        state = _advance_31(state, a, exp32(s2 * h * h), slope[i], loss)
        start[i] = state[5]
        width[i] = max(state[5] * (logs[1] - logs[0]), high - low) * SINGLE(1.1 / (GRID - 1))


@inline
def _newton(p: Any, ref: Any, mean: Any, s2: Any, lam: Any, slope: Any, cut: Any) -> Any:
    """One step of Newton's method to V'(p) = 0, in float64; p itself where V is convex."""
    z, power = step64(log64(p / ref), lam)
    worth, pull = slope * p - cut, mean + s2 * z
    first = slope * p + worth * pull * power
    second = slope + slope * pull * power + worth * (power / p) * (s2 * power + pull * lam)
    return p - (first / min(second, -1e-30) if second < 0 else 0.0)


@njit(nogil=True, **MATH)
def _refine(columns: Any, start: Any, width: Any, best: Any) -> None:
    """Where V peaks near the best candidate: the allowed price below."""
    ref, _, _, mean, sd, lam, slope, cut, _, first, space, last, _ = columns
    for i in range(start.shape[0]):
        low = np.float64(first[i])
        spacing = np.float64(space[i])
        high = low + spacing * last[i]
        r, m, l = np.float64(ref[i]), np.float64(mean[i]), np.float64(lam[i])  # noqa: E741
        s2 = np.float64(sd[i]) * sd[i]
        slope_, cut_ = np.float64(slope[i]), np.float64(cut[i])
        p = np.float64(start[i])
        least, most = max(low, p - width[i]), min(high, p + width[i])
        p = min(max(_newton(p, r, m, s2, l, slope_, cut_), least), most)
        p = min(max(_newton(p, r, m, s2, l, slope_, cut_), least), most)
        p = min(max(_newton(p, r, m, s2, l, slope_, cut_), least), most)
        below = low + spacing * np.floor((p - low) / spacing)
        above = min(below + spacing, high)
        _, at_below = growth(below, r, m, s2, l)
        _, at_above = growth(above, r, m, s2, l)
        rising = (slope_ * above - cut_) * at_above > (slope_ * below - cut_) * at_below
        best[i] = SINGLE(above if rising else below)


@njit(nogil=True, **MATH)
def _weigh(columns: Any, price: Any, facts: Any) -> None:
    """Units at the price and at the base, gain, and the normal argument of P(worse)."""
    ref, units, _, mean, sd, lam, slope, cut, _, _, _, _, base = columns
    for i in range(price.shape[0]):
        r, m, l = np.float64(ref[i]), np.float64(mean[i]), np.float64(lam[i])  # noqa: E741
        s2 = np.float64(sd[i]) * sd[i]
        p, b = np.float64(price[i]), np.float64(base[i])
        zp, up = growth(p, r, m, s2, l)
        zb, ub = growth(b, r, m, s2, l)
        wp = np.float64(slope[i]) * p - cut[i]
        wb = np.float64(slope[i]) * b - cut[i]
        held = abs(wb * ub)
        gain = (wp * up - wb * ub) / max(held, 1e-30)
        valid = (wp > 0) & (wb > 0)
        odds = log64((wb if valid else 1.0) / (wp if valid else 1.0)) - m * (zp - zb)
        away = max(abs(zp - zb) * sd[i], 1e-12)
        x = odds / away
        certain = 10.0 if (wp < wb) & (wp <= 0) else -10.0
        facts[0][i] = SINGLE(min(up, 1e30)) * units[i]
        facts[1][i] = SINGLE(min(ub, 1e30)) * units[i]
        facts[2][i] = SINGLE(min(max(gain, -1e30), 1e30))
        facts[3][i] = SINGLE(normal(x if valid else certain))


@inline
def _odds(columns: Any, j: int, price: Any, base_worth: Any, base_step: Any) -> Any:
    """Normal argument of P(worse) at a price, stock left out; base and price worth above 0."""
    worth = max(np.float64(columns[6][j]) * price - columns[7][j], 1e-300)
    z, _ = step64(log64(price / columns[0][j]), np.float64(columns[5][j]))
    away = max(abs(z - base_step) * columns[4][j], 1e-12)
    return (log64(base_worth / worth) - columns[3][j] * (z - base_step)) / away


@njit(nogil=True, **MATH)
def _safe_step(columns: Any, j: int, best: Any, rule: Any, room: Any) -> Any:
    """``price_kernel._safe_step``: its price, units and P(worse); the base where there is none."""
    alpha, bound, uplift = rule
    low, spacing, base = np.float64(columns[9][j]), np.float64(columns[10][j]), columns[12][j]
    up = 1.0 if best > base else -1.0
    nearest = (base - low) / spacing
    start = np.floor(nearest + 1e-6) if up > 0 else np.ceil(nearest - 1e-6)
    safe, unsafe = 0.0, np.floor(abs((best - low) / spacing - start) + 1.5)
    worth = np.float64(columns[6][j]) * base - columns[7][j]
    if worth <= 0:
        return np.float64(base), 0.0, 0.0
    step, _ = step64(log64(base / np.float64(columns[0][j])), np.float64(columns[5][j]))
    while unsafe - safe > 1.0:
        middle = np.floor((safe + unsafe) / 2)
        price = low + spacing * (start + up * middle)
        if columns[8][j] < ENDLESS:
            fine = worse_in_stock(columns, j, price) <= alpha
        else:
            fine = _odds(columns, j, price, worth, step) <= bound
        if fine:
            safe = middle
        else:
            unsafe = middle
    if safe < 1.0:
        return np.float64(base), 0.0, 0.0
    prices, sales, values = room[0, :2], room[1, :2], room[2, :2]
    prices[0], prices[1] = base, low + spacing * (start + up * safe)
    _values(columns, j, room)
    if columns[8][j] < ENDLESS:
        worse = worse_in_stock(columns, j, prices[1])
    else:
        worse = normal(_odds(columns, j, prices[1], worth, step))
    gain = values[1] - values[0]
    if gain > max(ROUNDING, uplift) * abs(values[0]) and worse <= alpha:
        return prices[1], sales[1], worse
    return np.float64(base), 0.0, 0.0


@njit(nogil=True, **MATH)
def _values(columns: Any, j: int, room: Any) -> None:
    """Sales and V of product j at the first two prices of ``room``, stock finite or not."""
    prices, sales, values = room[0, :2], room[1, :2], room[2, :2]
    if columns[8][j] < ENDLESS:
        stock_sales(columns, j, prices, sales, values)
        return
    ref, units, _, mean, sd, lam, slope, cut, _, _, _, _, _ = columns
    for k in range(2):
        s2 = np.float64(sd[j]) * sd[j]
        _, up = growth(prices[k], np.float64(ref[j]), np.float64(mean[j]), s2, np.float64(lam[j]))
        sales[k] = units[j] * min(up, 1e30)
        values[k] = (slope[j] * prices[k] - cut[j]) * sales[k]


@njit(nogil=True, error_model="numpy")
def _decide(columns: Any, out: Any, best: Any, facts: Any, rule: Any, room: Any) -> None:
    """Take the best price where it gains and is safe, a smaller step where that is not."""
    price, units, base_units, p_worse, best_out, best_p_worse, best_gain = out
    slope, cut, base = columns[6], columns[7], columns[12]
    alpha, least = SINGLE(rule[0]), SINGLE(max(rule[2], ROUNDING))
    for i in range(best.shape[0]):
        gain = facts[2][i]
        better = gain > SINGLE(ROUNDING)
        worse = facts[3][i] if better else SINGLE(0)
        taken = (gain > least) & (worse <= alpha)
        held = (slope[i] * base[i] - SINGLE(cut[i])) * facts[1][i]
        shown = gain if better else SINGLE(0)
        base_units[i] = facts[1][i]
        best_out[i] = np.int32(best[i] if better else base[i])
        best_p_worse[i] = worse
        best_gain[i] = SINGLE(np.nan) if held == 0 else shown
        price[i] = np.int32(best[i] if taken else base[i])
        units[i] = facts[0][i] if taken else facts[1][i]
        p_worse[i] = worse if taken else SINGLE(0)
    for i in range(best.shape[0]):
        if best_p_worse[i] > alpha:
            found, sold, worse = _safe_step(columns, i, best[i], rule, room)
            if found != base[i]:
                price[i], units[i], p_worse[i] = np.int32(found), sold, worse


def _solve(columns: Any, out: Any, start: int, stop: int, rule: Any) -> None:
    """Rows start to stop, block by block."""
    room = np.zeros((4, GRID))
    singles = np.empty((7, BLOCK), np.float32)
    a, b, c, d, e, f, g, h, i, j, k, l, m = columns  # noqa: E741
    t, u, v, w, x, y, z = out
    for s in range(start, stop, BLOCK):
        n = min(BLOCK, stop - s)
        r = slice(s, s + n)
        part = (a[r], b[r], c[r], d[r], e[r], f[r], g[r], h[r], i[r], j[r], k[r], l[r], m[r])
        result = (t[r], u[r], v[r], w[r], x[r], y[r], z[r])
        first, width, best, facts = (
            singles[0, :n],
            singles[1, :n],
            singles[2, :n],
            (singles[3, :n], singles[4, :n], singles[5, :n], singles[6, :n]),
        )
        _coarse(part, first, width)
        _refine(part, first, width, best)
        _weigh(part, best, facts)
        weigh_stock(part, best, facts, room)
        _decide(part, result, best, facts, rule, room)


_solve = _compiled(_solve)
