"""Minor units: how many decimal places a currency's smallest coin has, and the way there and back.

NumPy only: the service imports this module.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]

DEFAULT_EXPONENT = 2
CURRENCY_EXPONENTS: dict[str, int] = {
    **dict.fromkeys(["BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW"], 0),
    **dict.fromkeys(["PYG", "RWF", "UGX", "VND", "VUV", "XAF", "XOF", "XPF"], 0),
    **dict.fromkeys(["BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND"], 3),
}
"""Decimal places of a currency's minor unit where it is not two (ISO 4217)."""


def currency_exponent(currency: str) -> int:
    """Decimal places of the minor unit of an ISO 4217 currency: JPY 0, KWD 3, most others 2."""
    return CURRENCY_EXPONENTS.get(currency.upper(), DEFAULT_EXPONENT)


def to_minor(price: Floats, *, exponent: int) -> Floats:
    """Price in minor units, not rounded, same shape."""
    return np.asarray(np.asarray(price, dtype=np.float64) * 10.0**exponent)


def to_major(minor: Minors, *, exponent: int) -> Floats:
    """Price in currency units of an integer number of minor units, same shape."""
    return np.asarray(minor / 10.0**exponent)
