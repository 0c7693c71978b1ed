"""What a challenger would have answered to served requests, against what was served.

Belongs here: the comparison of prices. Reading the log and asking the challenger's table is
``serving.shadow_quotes``. No price of a shadow is ever served, so this says how far the answers
are apart, not which earns more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

COLUMNS = (
    "quote_id",
    "product_id",
    "source",
    "served_price",
    "shadow_price",
    "relative_difference",
    "why_none",
)
LARGE = 0.1
"""Relative difference from which an answer counts as far apart."""


@dataclass(frozen=True, slots=True)
class ShadowSummary:
    """The answers of a challenger against the served ones.

    Attributes:
        quotes: served quotes that were asked again.
        answered: of them, those that the challenger gives a price for.
        same: share of the answered with the same price; NaN without any, as the next.
        raised, cut: shares that the challenger prices higher and lower.
        mean_difference: mean relative difference of all answered.
        far_apart: share that differs by :data:`LARGE` or more.
        largest: largest relative difference, without its sign.
    """

    quotes: int
    answered: int
    same: float
    raised: float
    cut: float
    mean_difference: float
    far_apart: float
    largest: float


def shadow_summary(scores: pd.DataFrame) -> ShadowSummary:
    """Sum up the rows of a shadow.

    Args:
        scores: :data:`COLUMNS`, a row a quote; shadow_price and relative_difference are NaN where
            the challenger gives no price.
    """
    known = scores["relative_difference"].to_numpy(dtype=np.float64)
    known = known[np.isfinite(known)]
    if not known.size:
        nan = float("nan")
        return ShadowSummary(len(scores), 0, nan, nan, nan, nan, nan, nan)
    return ShadowSummary(
        quotes=len(scores),
        answered=int(known.size),
        same=float((known == 0).mean()),
        raised=float((known > 0).mean()),
        cut=float((known < 0).mean()),
        mean_difference=float(known.mean()),
        far_apart=float((np.abs(known) >= LARGE).mean()),
        largest=float(np.abs(known).max()),
    )
