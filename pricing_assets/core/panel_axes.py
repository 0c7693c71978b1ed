"""The two axes of a panel, and laying rows of a raw table onto them.

Belongs here: which series and which period a row belongs to, and the dense (S, T) arrays that
follow by plain indexing. What the arrays mean (prices, costs, stock) is ``core.features``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import Flags, Floats, Grain, carry_forward

Integers = NDArray[np.int64]
Dates = NDArray[np.datetime64]


@dataclass(frozen=True, slots=True)
class Axes:
    """S product-store series, sorted by product and store, over T consecutive periods.

    Attributes:
        products: P distinct product ids, sorted.
        stores: K distinct store ids, sorted; a single "" where the sales name no store.
        series_keys: (S,) product position * K + store position, ascending.
        first: first day of the first period.
        step: days in a period, 1 or 7.
        periods: T.
    """

    products: pd.Index
    stores: pd.Index
    series_keys: Integers
    first: np.datetime64
    step: int
    periods: int

    @property
    def grain(self) -> Grain:
        """Name of the step."""
        return "week" if self.step == 7 else "day"

    @property
    def shape(self) -> tuple[int, int]:
        """(S, T)."""
        return int(self.series_keys.size), self.periods

    @property
    def product_of_series(self) -> Integers:
        """(S,) position of each series' product."""
        return self.series_keys // len(self.stores)

    @property
    def store_of_series(self) -> Integers:
        """(S,) position of each series' store."""
        return self.series_keys % len(self.stores)

    @property
    def has_stores(self) -> bool:
        """Whether any series names its store."""
        return bool((self.stores != "").any())

    @property
    def dates(self) -> Dates:
        """(T,) datetime64[D], the first day of each period."""
        return self.first + np.arange(self.periods) * np.timedelta64(self.step, "D")

    def period_of(self, dates: Dates) -> Integers:
        """Period of each date; below 0 before the panel and T or more after it."""
        days = (dates - self.first).astype(np.int64)
        return np.asarray(np.floor_divide(days, self.step))

    def series_of(self, frame: pd.DataFrame) -> Integers:
        """Series of each row by product and store, -1 where the panel has none."""
        product = positions(self.products, id_column(frame, "product_id"))
        store = positions(self.stores, id_column(frame, "store_id"))
        keys = np.where((product < 0) | (store < 0), -1, product * len(self.stores) + store)
        return np.asarray(pd.Index(self.series_keys).get_indexer(pd.Index(keys)), dtype=np.int64)


def sales_axes(sales: pd.DataFrame, *, grain: str, days: Dates | None = None) -> Axes:
    """Axes spanned by the rows of ``sales``; ``grain`` is auto, day or week.

    Weekly dates set the lattice by the first of them. Days summed into weeks end with the last
    day, so that the week before the forecast is whole.

    Args:
        sales: contract columns.
        grain: auto, day or week.
        days: (d,) the dates that span the periods, where ``sales`` is a part of larger data.
    """
    days = day_column(sales) if days is None else days
    products = pd.Index(np.unique(id_column(sales, "product_id")))
    stores = pd.Index(np.unique(id_column(sales, "store_id")))
    product = positions(products, id_column(sales, "product_id"))
    store = positions(stores, id_column(sales, "store_id"))
    found = detect_grain(days)
    step = 7 if grain == "week" or (grain == "auto" and found == "week") else 1
    first, last = days.min(), days.max()
    periods = int((last - first).astype(np.int64)) // step + 1
    if step == 7 and found == "day":
        first = last + np.timedelta64(1 - 7 * periods, "D")
    return Axes(
        products=products,
        stores=stores,
        series_keys=np.unique(product * len(stores) + store),
        first=first,
        step=step,
        periods=periods,
    )


def detect_grain(days: Dates) -> Grain:
    """Week where distinct dates lie six days or more apart at the median, else day."""
    distinct = np.unique(days)
    if distinct.size < 2:
        return "day"
    gaps = np.diff(distinct).astype(np.int64)
    return "week" if float(np.median(gaps)) >= 6 else "day"


def positions(labels: pd.Index, wanted: NDArray[np.object_]) -> Integers:
    """Position of each wanted label, -1 where it is absent."""
    return np.asarray(labels.get_indexer(pd.Index(wanted)), dtype=np.int64)


def day_column(frame: pd.DataFrame) -> Dates:
    """The date column as (n,) datetime64[D]."""
    return np.asarray(pd.to_datetime(frame["date"]).to_numpy(), dtype="datetime64[D]")


def id_column(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    """An id column as text, "" where it is absent or empty."""
    if name not in frame.columns:
        return np.full(len(frame), "", dtype=object)
    values = frame[name]
    return np.asarray(values.astype(object).where(values.notna(), "").astype(str), dtype=object)


def number_column(frame: pd.DataFrame, name: str) -> Floats:
    """A numeric column as float64, NaN where it is absent or empty."""
    if name not in frame.columns:
        return np.full(len(frame), np.nan)
    return np.asarray(pd.to_numeric(frame[name]).to_numpy(dtype=np.float64, na_value=np.nan))


def as_of(
    frame: pd.DataFrame, values: Floats, *, axes: Axes, carry_periods: int | None = None
) -> Floats:
    """Last value known in each cell, carried forward at most ``carry_periods``, (S, T).

    Rows that name no store hold for every store; a store's own row is preferred to them. Rows
    older than the panel count as known at its start (within the limit); later rows are left out.
    """
    own, common = _split_by_store(frame, axes)
    lead = carry_periods or 0
    period = axes.period_of(day_column(frame)) + lead
    if carry_periods is None:
        period = np.maximum(period, 0)
    order = np.argsort(day_column(frame), kind="stable")
    width = axes.periods + lead
    result = np.full((axes.shape[0], width), np.nan)
    for rows, height, spread in (
        (common, len(axes.products), axes.product_of_series),
        (own, axes.shape[0], np.arange(axes.shape[0])),
    ):
        if (rows >= 0).any():
            cells = lay_last(rows[order], period[order], values[order], shape=(height, width))
            known = carry_within(cells, carry_periods)[spread]
            result = np.where(np.isnan(known), result, known)
    return result[:, lead:]


def at_date(frame: pd.DataFrame, values: Floats, *, axes: Axes) -> Floats:
    """First value inside each period, nothing carried, (S, T); stores as in ``as_of``."""
    own, common = _split_by_store(frame, axes)
    period = axes.period_of(day_column(frame))
    order = np.argsort(day_column(frame), kind="stable")[::-1]
    shape = (len(axes.products), axes.periods)
    result = lay_last(common[order], period[order], values[order], shape=shape)
    result = result[axes.product_of_series]
    specific = lay_last(own[order], period[order], values[order], shape=axes.shape)
    return np.asarray(np.where(np.isnan(specific), result, specific))


def lay_last(
    rows: Integers, columns: Integers, values: Floats, *, shape: tuple[int, int]
) -> Floats:
    """Array of ``shape`` with each value at (row, column), the last one winning; NaN elsewhere."""
    inside = (rows >= 0) & (columns >= 0) & (columns < shape[1]) & ~np.isnan(values)
    flat = np.full(shape[0] * shape[1], np.nan)
    flat[rows[inside] * shape[1] + columns[inside]] = values[inside]
    return flat.reshape(shape)


def carry_within(values: Floats, limit: int | None) -> Floats:
    """``carry_forward`` over at most ``limit`` periods (no limit where None)."""
    carried = carry_forward(values)
    if limit is None:
        return carried
    columns = np.arange(values.shape[1])[None, :]
    seen = np.where(np.isnan(values), -1, columns)
    age = columns - np.maximum.accumulate(seen, axis=1)
    return np.asarray(np.where(age > limit, np.nan, carried))


def any_at(frame: pd.DataFrame, marked: Flags, *, axes: Axes) -> Flags:
    """Whether any marked row falls in each cell, (S, T); stores as in ``as_of``."""
    found = at_date(frame.loc[marked], np.ones(int(marked.sum())), axes=axes)
    return np.asarray(~np.isnan(found))


def _split_by_store(frame: pd.DataFrame, axes: Axes) -> tuple[Integers, Integers]:
    """Series of rows that name a store, and product of rows that do not; -1 elsewhere.

    Where the sales name no store, every row counts as naming none.
    """
    common = positions(axes.products, id_column(frame, "product_id"))
    if not axes.has_stores:
        return np.full(len(frame), -1, dtype=np.int64), common
    unnamed = id_column(frame, "store_id") == ""
    return np.where(unnamed, -1, axes.series_of(frame)), np.where(unnamed, common, -1)
