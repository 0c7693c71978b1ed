"""What a manager looks at: sales by week, prices against rivals, stock cover, predictions kept.

These are counts and comparisons of what happened. None of them says what the prices caused: only a
price test does, and on simulated data the market's own truth. Belongs here: the numbers of the
impact page, from the panel; prediction against sales is ``predicted_actual``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.evaluation.predicted_actual import (
    RESAMPLES,
    PredictedActual,
    PublishedCurves,
    compare_predicted,
)
from pricing_assets.core.panel import Floats, Panel, last_known

WEEKS = 52
RATE_DAYS = 28
"""Days whose mean sales say how long the stock lasts."""

CLAIM_REAL = (
    "These are real data. Sales, prices and stock are what happened; predicted against actual says "
    "whether the model's demand came true. None of it is a profit uplift: only a price test can "
    "show one."
)
CLAIM_SIMULATED = (
    "This is a simulated market. It knows its own demand, so the recommended prices can be valued "
    "by its truth. Nothing here says what real customers would do."
)


@dataclass(frozen=True, slots=True)
class StockCover:
    """How long the stock lasts at the mean sales of the last ``RATE_DAYS``.

    Attributes:
        products: series whose stock and sales are known.
        days: total stock over total daily sales; NaN without stock data.
        low_10, median, high_90: of the series' days of cover.
        below: share of the series that last less than ``cover_days``.
        empty: share of the series with nothing on hand.
    """

    products: int
    days: float
    low_10: float
    median: float
    high_90: float
    below: float
    empty: float


def impact_numbers(
    panel: Panel,
    published: Sequence[PublishedCurves],
    *,
    cover_days: float,
    seed: int,
    truth: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """The impact page's numbers as JSON's own types; None where something is not known.

    Args:
        panel: S series over T periods.
        published: the tables whose predictions are judged.
        cover_days: stock that lasts less is counted as short.
        seed: of the resampling.
        truth: on simulated data the comparison with the market's truth; None is real data.
    """
    judged = compare_predicted(panel, published, seed=seed)
    numbers = {
        "claim": CLAIM_REAL if truth is None else CLAIM_SIMULATED,
        "simulated": truth is not None,
        "first_day": str(panel.dates[0].astype("datetime64[D]")),
        "last_day": str(panel.dates[-1].astype("datetime64[D]")),
        "products": panel.shape[0],
        "weeks": weekly(panel, seed=seed).to_dict("list"),
        "cover": {"cover_days": cover_days, **asdict(stock_cover(panel, cover_days=cover_days))},
        "predicted_actual": _as_dict(judged),
        "truth": truth,
    }
    found: dict[str, Any] = _plain(numbers)
    return found


def weekly(panel: Panel, *, seed: int) -> pd.DataFrame:
    """The last ``WEEKS`` whole weeks, the latest ending with the panel.

    Returns:
        week (first day, ISO), units, revenue, profit (NaN without any cost), profit_covers (share
        of revenue whose cost is known), price_index with low_90 and high_90: the geometric mean of
        own over rival price, weighted by revenue, 1 is level; its interval resamples products.
    """
    size = max(1, 7 // panel.period_days)
    weeks = min(WEEKS, panel.shape[1] // size)
    first = panel.shape[1] - weeks * size
    recent = {
        name: getattr(panel, name)[:, first:]
        for name in ("units", "price", "unit_cost", "rival_price")
    }
    units = np.nan_to_num(recent["units"])
    revenue = units * np.nan_to_num(recent["price"])
    known = np.isfinite(recent["unit_cost"])
    profit = np.where(known, revenue - units * np.nan_to_num(recent["unit_cost"]), 0.0)
    totals = {
        name: _by_week(values, weeks).sum(axis=0)
        for name, values in {
            "units": units,
            "revenue": revenue,
            "profit": profit,
            "covered": np.where(known, revenue, 0.0),
        }.items()
    }
    with np.errstate(divide="ignore", invalid="ignore"):
        covers = totals["covered"] / totals["revenue"]
    index = _price_index(recent["price"], recent["rival_price"], revenue, weeks=weeks, seed=seed)
    return pd.DataFrame(
        {
            "week": panel.dates[first::size].astype("datetime64[D]").astype(str),
            "units": totals["units"],
            "revenue": totals["revenue"],
            "profit": np.where(covers > 0, totals["profit"], np.nan),
            "profit_covers": covers,
            "price_index": index[0],
            "price_index_low_90": index[1],
            "price_index_high_90": index[2],
        }
    )


def stock_cover(panel: Panel, *, cover_days: float) -> StockCover:
    """How long the stock of the last period lasts."""
    periods = max(1, RATE_DAYS // panel.period_days)
    recent = panel.units[:, -periods:]
    days = np.isfinite(recent).sum(axis=1) * panel.period_days
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = np.nansum(recent, axis=1) / days
        stock = last_known(panel.on_hand[:, -periods:])
        cover = stock / rate
    known = np.isfinite(stock) & np.isfinite(cover)
    if not known.any():
        return StockCover(0, *[float("nan")] * 6)
    low, middle, high = np.quantile(cover[known], [0.1, 0.5, 0.9])
    return StockCover(
        products=int(known.sum()),
        days=float(stock[known].sum() / rate[known].sum()),
        low_10=float(low),
        median=float(middle),
        high_90=float(high),
        below=float((cover[known] < cover_days).mean()),
        empty=float((stock[known] <= 0).mean()),
    )


def _by_week(values: Floats, weeks: int) -> Floats:
    """(S, T) summed into (S, weeks)."""
    return np.asarray(values.reshape(values.shape[0], weeks, -1).sum(axis=2))


def _price_index(
    price: Floats, rival: Floats, revenue: Floats, *, weeks: int, seed: int
) -> NDArray[np.float64]:
    """(3, weeks): the index and its 90 % interval over resampled products; NaN without rivals."""
    valid = (price > 0) & (rival > 0) & (revenue > 0)
    gap = np.log(np.where(valid, price, 1.0) / np.where(valid, rival, 1.0))
    weight = _by_week(np.where(valid, revenue, 0.0), weeks)
    weighted = _by_week(np.where(valid, revenue * gap, 0.0), weeks)
    count = price.shape[0]
    drawn = np.random.default_rng(seed).multinomial(
        count, np.full(count, 1 / count), size=RESAMPLES
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = weighted.sum(axis=0) / weight.sum(axis=0)
        spread = (drawn @ weighted) / (drawn @ weight)
    ends = np.full((2, weeks), np.nan)
    usable = np.isfinite(spread).all(axis=0)
    ends[:, usable] = np.quantile(spread[:, usable], [0.05, 0.95], axis=0)
    return np.exp(np.vstack([centre, ends]))


def _as_dict(judged: PredictedActual) -> dict[str, Any]:
    return {
        "overall": asdict(judged.overall) if judged.overall else None,
        "tables": [asdict(one) for one in judged.tables],
        "days": judged.days.to_dict("list"),
    }


def _plain(value: Any) -> Any:
    """``value`` with None for every number that is not finite, and no NumPy types."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, np.integer) else value
