"""Logarithm, exponential, normal distribution and Box-Cox step as inlined arithmetic.

Belongs here: functions that a compiled loop needs without a call, so that the compiler turns the
loop into vector instructions (a call to the C library stops it). Each states its error; a test
compares each with SciPy. ``core.price_kernel_cpu`` uses them, and is kept on disk compiled: touch
that module when this one changes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

SINGLE = np.float32
MATH: dict[str, Any] = {
    "fastmath": {"nsz", "contract", "arcp", "reassoc", "nnan", "ninf"},
    "error_model": "numpy",
}
"""Finite arithmetic in any order; whoever calls keeps NaN and infinity out."""

inline = njit(forceinline=True, **MATH)


@inline
def log32(x: Any) -> Any:
    """log(x), x > 0: exponent, and the odd series of 2 atanh(s)."""
    bits = np.float32(x).view(np.int32)
    power = (bits - np.int32(0x3F3504F3)) >> np.int32(23)
    part = np.int32(bits - (power << np.int32(23))).view(np.float32) - SINGLE(1)
    s = part / (SINGLE(2) + part)
    z = s * s
    tail = z * (SINGLE(2 / 3) + z * (SINGLE(2 / 5) + z * (SINGLE(2 / 7) + z * SINGLE(0.2235))))
    return SINGLE(power) * SINGLE(0.6931471805599453) + (SINGLE(2) * s + s * tail)


@inline
def exp32(x: Any) -> Any:
    """exp(x) to float32, clamped to its range."""
    x = min(max(x, SINGLE(-87)), SINGLE(88))
    n = np.floor(x * SINGLE(1.4426950408889634) + SINGLE(0.5))
    r = x - n * SINGLE(0.6931471805599453)
    high = SINGLE(1 / 6) + r * (SINGLE(1 / 24) + r * (SINGLE(1 / 120) + r * SINGLE(1 / 720)))
    p = SINGLE(1) + r * (SINGLE(1) + r * (SINGLE(0.5) + r * high))
    return p * np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@inline
def log64(x: Any) -> Any:
    """log(x), x > 0, to 1e-15: as ``log32`` with more terms."""
    bits = np.float64(x).view(np.int64)
    power = (bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)
    part = np.int64(bits - (power << np.int64(52))).view(np.float64) - 1.0
    s = part / (2.0 + part)
    z = s * s
    high = z * (2 / 13 + z * (2 / 15 + z * (2 / 17 + z * (2 / 19 + z * 2 / 21))))
    low = 2 / 3 + z * (2 / 5 + z * (2 / 7 + z * (2 / 9 + z * (2 / 11 + high))))
    return np.float64(power) * 0.6931471805599453 + (2.0 * s + s * z * low)


@inline
def exp64(x: Any) -> Any:
    """exp(x) to 1e-15, clamped to its range."""
    x = min(max(x, -700.0), 700.0)
    n = np.floor(x * 1.4426950408889634 + 0.5)
    r = x - n * 0.6931471805599453
    high = 1 / 5040 + r * (1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r / 39916800)))
    p = 1 + r * (
        1 + r * (0.5 + r * (1 / 6 + r * (1 / 24 + r * (1 / 120 + r * (1 / 720 + r * high)))))
    )
    return p * np.int64((np.int64(n) + np.int64(1023)) << np.int64(52)).view(np.float64)


@inline
def normal(x: Any) -> Any:
    """Phi(x) to 1e-14: exp(-x^2/2) times a rational function (Hart et al. 1968, 5666)."""
    a = abs(x)
    top = 33.912866078383 + a * (
        6.37396220353165 + a * (0.700383064443688 + a * 3.52624965998911e-02)
    )
    top = 220.206867912376 + a * (221.213596169931 + a * (112.079291497871 + a * top))
    bottom = 86.7807322029461 + a * (
        16.064177579207 + a * (1.75566716318264 + a * 8.83883476483184e-02)
    )
    bottom = 637.333633378831 + a * (296.564248779674 + a * bottom)
    bottom = 440.413735824752 + a * (793.826512519948 + a * bottom)
    tail = exp64(-0.5 * a * a) * top / bottom
    return tail if x < 0 else 1.0 - tail


@inline
def quantile(u: Any) -> Any:
    """Quantile of the standard normal, u below 0.975, to 1e-9 (Acklam 2003)."""
    q = u - 0.5
    r = q * q
    a = 138.3577518672690 + r * (
        -275.9285104469687 + r * (220.9460984245205 - r * 39.69683028665376)
    )
    a = 2.506628277459239 + r * (-30.66479806614716 + r * a)
    b = 66.80131188771972 + r * (
        -155.6989798598866 + r * (161.5858368580409 - r * 54.47609879822406)
    )
    middle = q * a / (1.0 + r * (-13.28068155288572 + r * b))
    s = np.sqrt(-2.0 * log64(max(u, 1e-300)))
    c = -2.549732539343734 + s * (
        -2.400758277161838 + s * (-0.3223964580411365 - s * 7.784894002430293e-03)
    )
    c = 2.938163982698783 + s * (4.374664141464968 + s * c)
    d = 2.445134137142996 + s * (0.3224671290700398 + s * 7.784695709041462e-03)
    below = c / (1.0 + s * (3.754408661907416 + s * d))
    return below if u < 0.02425 else middle


@inline
def step32(log_ratio: Any, curvature: Any) -> Any:
    """Box-Cox step z in float32."""
    small = abs(curvature) < SINGLE(1e-6)
    safe = SINGLE(1) if small else curvature
    bent = (exp32(safe * log_ratio) - SINGLE(1)) / safe
    return log_ratio if small else bent


@inline
def price32(reference: Any, z: Any, curvature: Any) -> Any:
    """The price whose step is z."""
    small = abs(curvature) < SINGLE(1e-6)
    safe = SINGLE(1) if small else curvature
    bent = log32(max(SINGLE(1) + safe * z, SINGLE(1e-30))) / safe
    return reference * exp32(z if small else bent)


@inline
def step64(log_ratio: Any, curvature: Any) -> Any:
    """Box-Cox step z, and the ratio to the power of the curvature."""
    small = abs(curvature) < 1e-6
    safe = 1.0 if small else curvature
    power = exp64(safe * log_ratio)
    bent = (power - 1.0) / safe
    return (log_ratio if small else bent), (1.0 if small else power)


@inline
def growth(p: Any, ref: Any, mean: Any, s2: Any, lam: Any) -> Any:
    """z, and E Q(p) / Q0."""
    z, _ = step64(log64(p / ref), lam)
    return z, exp64(mean * z + 0.5 * s2 * z * z)
