"""Did sales come as the published curves said? Predicted against actual, with an interval.

Each published table predicts the days after the data behind it, days that it had not seen, at the
prices that were really charged. So the comparison holds whether or not a recommended price was
adopted, and it judges the model, not the policy: it is no measure of what the prices brought.
Periods whose shelf emptied are left out of both sides, for their sales are a lower bound of demand.
The interval of the ratio resamples products, and weeks where there are two or more, and keeps the
wider of the two: products share shocks, and weeks share products.

Belongs here: the comparison. What else a manager looks at is ``impact``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.panel import Floats, Panel

KEY = ["product_id", "store_id"]
MEASURES = ("units", "revenue", "profit")
RESAMPLES = 400
BLOCK_DAYS = 7

Dates = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class PublishedCurves:
    """One published table as this comparison reads it.

    Attributes:
        version: its name.
        start: first day that its data had not seen.
        horizon_days: days that its curves speak of.
        rows: product_id, store_id, recommended_price, promo_lift, weekday_index (seven
            multipliers), and all of ``DemandCurves``; currency units.
    """

    version: str
    start: np.datetime64
    horizon_days: int
    rows: pd.DataFrame


@dataclass(frozen=True, slots=True)
class Ratio:
    """One measure: its sums, and actual over predicted with a 90 % interval; NaN unknown."""

    predicted: float
    actual: float
    ratio: float
    low_90: float
    high_90: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """Predicted against actual over some days.

    Attributes:
        version: the table, or "all".
        first, last: days, ISO.
        periods: days or weeks compared.
        products: series with a prediction.
        left_out: share of those series' periods that is left out, for an empty shelf.
        adopted: share of the units that were sold at the recommended price; NaN without units.
        resampled: what the intervals resample.
        units, revenue, profit: the measures; profit over what has a known cost.
    """

    version: str
    first: str
    last: str
    periods: int
    products: int
    left_out: float
    adopted: float
    resampled: str
    units: Ratio
    revenue: Ratio
    profit: Ratio


@dataclass(frozen=True, slots=True)
class PredictedActual:
    """All comparisons, newest table first, and the days under them.

    ``days`` has the columns date, version, and ``predicted_`` and ``actual_`` of each measure.
    """

    overall: Comparison | None
    tables: tuple[Comparison, ...]
    days: pd.DataFrame


@dataclass(frozen=True, slots=True)
class _Window:
    """Matrices (S, D) of one table's days; NaN where a period is left out or not predicted."""

    version: str
    dates: Dates
    units: Floats
    predicted: Floats
    price: Floats
    cost: Floats
    at_recommended: NDArray[np.bool_]
    left_out: float

    def measure(self, name: str) -> tuple[Floats, Floats]:
        """Predicted and actual of one measure, (S, D), 0 where left out."""
        margin = self.price - self.cost
        worth = {"units": np.ones_like(margin), "revenue": self.price, "profit": margin}[name]
        predicted, actual = self.predicted * worth, self.units * worth
        both = np.isfinite(predicted) & np.isfinite(actual)
        return np.where(both, predicted, 0.0), np.where(both, actual, 0.0)


def compare_predicted(
    panel: Panel, published: Sequence[PublishedCurves], *, seed: int
) -> PredictedActual:
    """Compare each table with the days from its start to the next one's, within its horizon.

    Args:
        panel: S series over T periods, as it is known now.
        published: tables by the time of their publication; of several with one start the last
            counts.
        seed: of the resampling.
    """
    latest = {one.start: one for one in published}
    ordered = [latest[start] for start in sorted(latest)]
    after = panel.dates[-1] + np.timedelta64(7, "D")
    ends = [*(one.start for one in ordered[1:]), after][: len(ordered)]
    windows = [
        window
        for one, end in zip(ordered, ends, strict=True)
        if (window := _window(panel, one, end)) is not None
    ]
    days = [_daily(window) for window in windows]
    return PredictedActual(
        overall=_compared("all", windows, panel=panel, seed=seed) if windows else None,
        tables=tuple(
            _compared(one.version, [one], panel=panel, seed=seed) for one in reversed(windows)
        ),
        days=pd.concat(days, ignore_index=True) if days else pd.DataFrame(columns=_DAY_COLUMNS),
    )


_DAY_COLUMNS = [
    "date",
    "version",
    *(f"{side}_{name}" for name in MEASURES for side in ("predicted", "actual")),
]


def _window(panel: Panel, table: PublishedCurves, end: np.datetime64) -> _Window | None:
    """The table's days in the panel; None where there are none, or no series with a curve."""
    horizon_end = table.start + np.timedelta64(table.horizon_days, "D")
    inside = (panel.dates >= table.start) & (panel.dates < min(end, horizon_end))
    if not inside.any():
        return None
    rows = panel.series[KEY].merge(table.rows.drop_duplicates(KEY), on=KEY, how="left")
    curves = {name: rows[name].to_numpy(dtype=np.float64) for name in DemandCurves.__slots__}
    known = np.logical_and.reduce([np.isfinite(one) for one in curves.values()])
    known &= curves["reference_price"] > 0
    if not known.any():
        return None
    cut = {name: getattr(panel, name)[:, inside] for name in ("units", "price", "promo")}
    predicted = np.full(cut["units"].shape, np.nan)
    some = DemandCurves(**{name: values[known] for name, values in curves.items()})
    # Before its first price a series has none to be predicted at.
    at_price = some.expected_units(np.where(cut["price"][known] > 0, cut["price"][known], np.nan))
    share = panel.period_days / table.horizon_days
    predicted[known] = at_price * share * _lift(rows[known], panel, inside, cut["promo"][known])
    lost = panel.censored[:, inside] & np.isfinite(predicted)
    offered = np.isfinite(predicted) & np.isfinite(cut["units"])
    out = lost | ~offered
    recommended = rows["recommended_price"].to_numpy(dtype=np.float64)[:, None]
    return _Window(
        version=table.version,
        dates=panel.dates[inside],
        units=np.where(out, np.nan, cut["units"]),
        predicted=np.where(out, np.nan, predicted),
        price=cut["price"],
        cost=panel.unit_cost[:, inside],
        at_recommended=np.abs(cut["price"] - recommended) <= 0.005,
        left_out=float((lost & offered).sum() / max(1, offered.sum())),
    )


def _lift(rows: pd.DataFrame, panel: Panel, inside: NDArray[np.bool_], promo: Floats) -> Floats:
    """(m, D) what weekday and promotion do to the mean day of each row."""
    lift = rows["promo_lift"].to_numpy(dtype=np.float64)[:, None]
    lift = np.where(np.isfinite(lift) & (lift > 0), lift, 1.0) ** promo
    if panel.grain == "week":
        return np.asarray(lift)
    week = np.array([_week(one) for one in rows["weekday_index"]])
    weekday = (panel.dates[inside].astype("datetime64[D]").astype(np.int64) + 3) % 7
    return np.asarray(lift * week[:, weekday])


def _week(index: object) -> Floats:
    """Seven multipliers; ones where a row has none that can be used."""
    week = np.asarray(index, dtype=np.float64) if np.ndim(index) == 1 else np.ones(7)  # type: ignore[arg-type]
    return week if week.shape == (7,) and np.isfinite(week).all() else np.ones(7)


def _compared(version: str, windows: Sequence[_Window], *, panel: Panel, seed: int) -> Comparison:
    first, last = windows[0].dates[0], windows[-1].dates[-1]
    weights = [np.nan_to_num(one.units).sum() for one in windows]
    adopted = [float(np.nansum(np.where(one.at_recommended, one.units, 0.0))) for one in windows]
    cells = [int(np.isfinite(one.predicted).sum()) for one in windows]
    ratios = {name: _ratio(windows, name, panel=panel, seed=seed) for name in MEASURES}
    return Comparison(
        version=version,
        first=str(first.astype("datetime64[D]")),
        last=str(last.astype("datetime64[D]")),
        periods=sum(len(one.dates) for one in windows),
        products=int(np.isfinite(np.hstack([w.predicted for w in windows])).any(axis=1).sum()),
        left_out=float(np.average([one.left_out for one in windows], weights=np.add(cells, 1))),
        adopted=sum(adopted) / sum(weights) if sum(weights) else float("nan"),
        resampled="products and weeks" if _blocks(windows, panel).max() else "products",
        **ratios,
    )


def _ratio(windows: Sequence[_Window], name: str, *, panel: Panel, seed: int) -> Ratio:
    pairs = [one.measure(name) for one in windows]
    predicted = np.hstack([pair[0] for pair in pairs])
    actual = np.hstack([pair[1] for pair in pairs])
    total = float(predicted.sum())
    if total <= 0:
        return Ratio(*[float("nan")] * len(fields(Ratio)))
    rng = np.random.default_rng(seed)
    by_product = _interval(predicted.sum(axis=1), actual.sum(axis=1), rng=rng)
    block = _blocks(windows, panel)
    weekly = [
        np.bincount(block, weights=side.sum(axis=0)).astype(np.float64)
        for side in (predicted, actual)
    ]
    by_week = _interval(weekly[0], weekly[1], rng=rng) if block.max() else by_product
    widest = max((by_product, by_week), key=lambda ends: float(np.nan_to_num(ends[1] - ends[0])))
    return Ratio(total, float(actual.sum()), float(actual.sum()) / total, *widest)


def _blocks(windows: Sequence[_Window], panel: Panel) -> NDArray[np.int64]:
    """(D,) the block of each period: whole weeks, the rest with the last of them."""
    count = sum(len(one.dates) for one in windows)
    size = max(1, BLOCK_DAYS // panel.period_days)
    return np.minimum(np.arange(count) // size, max(1, count // size) - 1)


def _interval(
    predicted: Floats, actual: Floats, *, rng: np.random.Generator
) -> tuple[float, float]:
    """90 % percentile interval of sum(actual) / sum(predicted) over resampled units, (n,) each."""
    used = (predicted != 0) | (actual != 0)
    count = int(used.sum())
    if count < 2:
        return float("nan"), float("nan")
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    below = drawn @ predicted[used]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = (drawn @ actual[used]) / below
    low, high = np.quantile(ratios[np.isfinite(ratios)], [0.05, 0.95])
    return float(low), float(high)


def _daily(window: _Window) -> pd.DataFrame:
    columns: dict[str, object] = {
        "date": window.dates.astype("datetime64[D]").astype(str),
        "version": window.version,
    }
    for name in MEASURES:
        predicted, actual = window.measure(name)
        columns[f"predicted_{name}"] = predicted.sum(axis=0)
        columns[f"actual_{name}"] = actual.sum(axis=0)
    return pd.DataFrame(columns)[_DAY_COLUMNS]
