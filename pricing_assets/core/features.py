"""From checked raw tables to the dense panel, and the plan of the periods ahead.

Belongs here: grain, price position, stock-out censoring, what an absent row means, and the
panel's form as data frames. Reading and checking rows is ``core.ingestion``; statistics on the
panel belong to the stages.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd

from pricing_assets.core.errors import EmptyTableError, InputError, MissingTableError
from pricing_assets.core.panel import (
    PANEL_MATRICES,
    Flags,
    Floats,
    FuturePlan,
    Panel,
    carry_forward,
)
from pricing_assets.core.panel_axes import (
    Axes,
    Dates,
    Integers,
    any_at,
    as_of,
    at_date,
    day_column,
    id_column,
    number_column,
    positions,
    sales_axes,
)
from pricing_assets.core.settings import IngestionParameters, PricingSettings

MEMORY_DAYS = 56
"""A rival's price, and a series without rows at the end of the data, count for 8 weeks."""

ZERO_ROW_SHARE = 0.01
"""Share of zero-unit sales rows from which a table is taken to record its zero days."""

Tables = Mapping[str, pd.DataFrame]


def build_panel(tables: Tables, settings: PricingSettings, *, days: Dates | None = None) -> Panel:
    """Dense panel of every product-store series over every period of the sales.

    Args:
        tables: contract tables by name with contract headings; only ``sales`` is required.
        settings: ``ingestion`` decides the grain and what an absent row means.
        days: (d,) every date of the sales where ``tables`` hold some of their products only, so
            that the parts' panels have one axis (``core.panel_shards``).

    Raises:
        MissingTableError: there is no ``sales`` table.
        EmptyTableError: ``sales`` has no row.
        InputError: more series or cells than the settings allow.
    """
    sales = _sales(tables)
    axes = sales_axes(sales, grain=settings.ingestion.grain, days=days)
    _refuse_oversize(axes, settings.ingestion)
    cells = _Cells(sales, axes)
    on_sale = _on_sale(sales, cells=cells, axes=axes, ingestion=settings.ingestion)
    units = np.where(on_sale, cells.units, np.nan)
    on_hand, emptied = _stock(tables, axes)
    price = carry_forward(cells.mean("price"))
    promo = cells.flag("promo")
    return Panel(
        series=_series(tables, axes),
        dates=axes.dates,
        grain=axes.grain,
        units=units,
        price=price,
        regular_price=_regular_price(
            cells.mean("regular_price"), price=price, promo=promo, has_row=cells.has_row
        ),
        promo=promo,
        display=cells.flag("display"),
        feature=cells.flag("feature"),
        unit_cost=_unit_cost(tables, axes),
        rival_price=_rival_price(tables, axes),
        on_hand=on_hand,
        on_sale=on_sale,
        censored=on_sale & (emptied | (np.nan_to_num(units) >= np.nan_to_num(on_hand, nan=np.inf))),
        holiday=_holidays(tables, axes),
    )


def future_plan(panel: Panel, tables: Tables, *, settings: PricingSettings) -> FuturePlan:
    """What is known of the H periods after the panel, H = ceil(horizon_days / period_days).

    Planned prices count where a row gives one, else the current (regular) price; promotions are
    those of the planned rows, else none; the rival's price is its last known one.
    """
    horizon = math.ceil(settings.horizon_days / panel.period_days)
    axes = _future_axes(panel, horizon)
    planned = _table(tables, "planned_prices")
    current = np.repeat(panel.current_price()[:, None], horizon, axis=1)
    given = at_date(planned, number_column(planned, "price"), axes=axes)
    return FuturePlan(
        dates=axes.dates,
        price=np.where(np.isnan(given), current, given),
        promo=_planned_flag(planned, "promo", axes),
        display=_planned_flag(planned, "display", axes),
        feature=_planned_flag(planned, "feature", axes),
        rival_price=np.repeat(panel.rival_price[:, -1:], horizon, axis=1),
        holiday=_holidays(tables, axes),
    )


def panel_to_frames(panel: Panel) -> dict[str, pd.DataFrame]:
    """The panel as three frames: series (S rows), periods (T), cells (S * T, series-major)."""
    s, t = panel.shape
    cells = {name: getattr(panel, name).ravel() for name in PANEL_MATRICES}
    index = {
        "series": np.repeat(np.arange(s, dtype=np.int32), t),
        "period": np.tile(np.arange(t, dtype=np.int32), s),
    }
    periods = pd.DataFrame(
        {
            "date": panel.dates.astype("datetime64[ns]"),
            "holiday": panel.holiday,
            "grain": np.full(t, panel.grain, dtype=object),
        }
    )
    return {
        "series": panel.series.copy(),
        "cells": pd.DataFrame({**index, **cells}),
        "periods": periods,
    }


def panel_from_frames(frames: Tables) -> Panel:
    """The panel that ``panel_to_frames`` took apart; rows of ``cells`` may be in any order."""
    series = frames["series"].reset_index(drop=True)
    periods, cells = frames["periods"], frames["cells"]
    shape = (len(series), len(periods))
    if len(cells) != shape[0] * shape[1]:
        raise InputError(
            f"the panel's cells have {len(cells)} rows where {shape[0]} series x {shape[1]} "
            "periods are needed; build the panel again"
        )
    ordered = cells.sort_values(["series", "period"], kind="stable")
    return Panel(
        series=series,
        dates=day_column(periods),
        grain="week" if str(periods["grain"].iloc[0]) == "week" else "day",
        holiday=periods["holiday"].to_numpy(dtype=np.float64),
        **{name: ordered[name].to_numpy().reshape(shape) for name in PANEL_MATRICES},
    )


class _Cells:
    """Sales rows summed into cells: several rows of one series and period are one cell."""

    def __init__(self, sales: pd.DataFrame, axes: Axes) -> None:
        self._sales, self._shape = sales, axes.shape
        self.period: Integers = axes.period_of(day_column(sales))
        self.series: Integers = axes.series_of(sales)
        self._cell = self.series * axes.periods + self.period
        self._row_units = np.nan_to_num(number_column(sales, "units"))
        self.units: Floats = self._sum(self._row_units)
        self.has_row: Flags = self._sum(np.ones(len(sales))) > 0

    def mean(self, name: str) -> Floats:
        """Units-weighted mean of a column, plain mean where nothing sold; NaN without a value."""
        values = number_column(self._sales, name)
        if np.isnan(values).all():
            return np.full(self._shape, np.nan)
        known = ~np.isnan(values)
        filled, weight = np.where(known, values, 0.0), self._row_units * known
        sold, count = self._sum(weight), self._sum(known.astype(np.float64))
        weighted = self._sum(filled * weight) / np.where(sold > 0, sold, 1.0)
        plain = self._sum(filled) / np.where(count > 0, count, 1.0)
        return np.where(count > 0, np.where(sold > 0, weighted, plain), np.nan)

    def flag(self, name: str) -> Floats:
        """Largest value of a flag or share among the cell's rows, 0 where there is none."""
        if name not in self._sales.columns:
            return np.zeros(self._shape)
        flat = np.zeros(self._shape[0] * self._shape[1])
        np.maximum.at(flat, self._cell, np.nan_to_num(number_column(self._sales, name)))
        return flat.reshape(self._shape)

    def _sum(self, weights: Floats) -> Floats:
        size = self._shape[0] * self._shape[1]
        totals = np.bincount(self._cell, weights=weights, minlength=size)
        return np.asarray(totals, dtype=np.float64).reshape(self._shape)


def _sales(tables: Tables) -> pd.DataFrame:
    if "sales" not in tables:
        raise MissingTableError(
            f"there is no 'sales' table; found: {', '.join(sorted(tables)) or 'nothing'}"
        )
    if tables["sales"].empty:
        raise EmptyTableError("table 'sales' has no usable row; see the quarantine for the reasons")
    return tables["sales"]


def _refuse_oversize(axes: Axes, ingestion: IngestionParameters) -> None:
    series, periods = axes.shape
    if series > ingestion.max_series:
        raise InputError(
            f"the sales hold {series} product-store series and at most {ingestion.max_series} are "
            "allowed; raise ingestion.max_series or split the data"
        )
    if series * periods > ingestion.max_cells:
        raise InputError(
            f"{series} series x {periods} periods ({axes.dates[0]} to {axes.dates[-1]}) are "
            f"{series * periods} cells and at most {ingestion.max_cells} are allowed; check the "
            "first and last date, raise ingestion.max_cells or split the data"
        )


def absent_rows_rule(
    ingestion: IngestionParameters, *, zero_share: float
) -> Literal["zero", "not_on_sale"]:
    """What an absent row means in data where ``zero_share`` of the sales rows sold nothing."""
    if ingestion.absent_rows != "auto":
        return ingestion.absent_rows
    return "not_on_sale" if zero_share >= ZERO_ROW_SHARE else "zero"


def _on_sale(
    sales: pd.DataFrame, *, cells: _Cells, axes: Axes, ingestion: IngestionParameters
) -> Flags:
    """(S, T): offered, whether or not it sold; see ``settings.ingestion.absent_rows``."""
    zero_share = float((number_column(sales, "units") == 0).mean())
    if absent_rows_rule(ingestion, zero_share=zero_share) == "not_on_sale":
        return cells.has_row
    first = np.full(axes.shape[0], axes.periods)
    np.minimum.at(first, cells.series, cells.period)
    last = np.zeros(axes.shape[0], dtype=np.int64)
    np.maximum.at(last, cells.series, cells.period)
    fresh = (axes.periods - 1 - last) * axes.step <= MEMORY_DAYS
    end = np.where(fresh, axes.periods - 1, last)
    period = np.arange(axes.periods)[None, :]
    return np.asarray((period >= first[:, None]) & (period <= end[:, None]))


def _regular_price(given: Floats, *, price: Floats, promo: Floats, has_row: Flags) -> Floats:
    """The given regular price, else the running price outside promotions, else the price."""
    running = carry_forward(np.where(has_row & (promo == 0), price, np.nan))
    running = np.where(np.isnan(running), price, running)
    given = carry_forward(given)
    return np.where(np.isnan(given), running, given)


def _unit_cost(tables: Tables, axes: Axes) -> Floats:
    """Cost as of each period from ``costs``, else the product's constant, else NaN."""
    products = _table(tables, "products")
    constant = _attribute(products, "unit_cost", axes)[:, None]
    costs = _table(tables, "costs")
    if costs.empty:
        return np.repeat(constant, axes.periods, axis=1)
    known = as_of(costs, number_column(costs, "unit_cost"), axes=axes)
    return np.where(np.isnan(known), constant, known)


def _rival_price(tables: Tables, axes: Axes) -> Floats:
    """Mean over competitors of each one's last price, known for ``MEMORY_DAYS``."""
    rivals = _table(tables, "competitor_prices")
    total, count = np.zeros(axes.shape), np.zeros(axes.shape)
    limit = MEMORY_DAYS // axes.step
    for _, rows in rivals.groupby(id_column(rivals, "competitor"), sort=True):
        prices = as_of(rows, number_column(rows, "price"), axes=axes, carry_periods=limit)
        known = ~np.isnan(prices)
        total += np.where(known, prices, 0.0)
        count += known
    return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)


def _stock(tables: Tables, axes: Axes) -> tuple[Floats, Flags]:
    """Opening stock of each period (NaN unknown), and whether a day in it opened empty."""
    inventory = _table(tables, "inventory")
    if inventory.empty:
        return np.full(axes.shape, np.nan), np.zeros(axes.shape, dtype=bool)
    if not axes.has_stores:
        by_day = inventory.groupby(["date", "product_id"])["on_hand"].sum()
        inventory = by_day.reset_index()
    on_hand = number_column(inventory, "on_hand")
    return at_date(inventory, on_hand, axes=axes), any_at(inventory, on_hand == 0, axes=axes)


def _holidays(tables: Tables, axes: Axes) -> Floats:
    """(T,) 1 where a day of the period is a holiday in the calendar."""
    calendar = _table(tables, "calendar")
    marked = calendar.loc[np.nan_to_num(number_column(calendar, "holiday")) > 0]
    period = axes.period_of(day_column(marked))
    holiday = np.zeros(axes.periods)
    holiday[period[(period >= 0) & (period < axes.periods)]] = 1.0
    return holiday


def _series(tables: Tables, axes: Axes) -> pd.DataFrame:
    """The S rows that describe each series (see ``Panel.series``)."""
    products, stores = _table(tables, "products"), _table(tables, "stores")
    store_ids = axes.stores[axes.store_of_series]
    zones = pd.Series(id_column(stores, "zone"), index=id_column(stores, "store_id"), dtype=object)
    zones = zones[~zones.index.duplicated()]
    return pd.DataFrame(
        {
            "product_id": axes.products[axes.product_of_series].to_numpy(dtype=object),
            "store_id": store_ids.to_numpy(dtype=object),
            "category": _text_attribute(products, "category", axes),
            "brand": _text_attribute(products, "brand", axes),
            "zone": zones.reindex(store_ids).fillna("").to_numpy(dtype=object),
            "status": _text_attribute(products, "status", axes),
            "list_price": _attribute(products, "list_price", axes),
            "map_price": _attribute(products, "map_price", axes),
            "pack_size": _attribute(products, "pack_size", axes),
            "kvi": np.nan_to_num(_attribute(products, "kvi", axes)),
        }
    )


def _attribute(products: pd.DataFrame, name: str, axes: Axes) -> Floats:
    """A product's number for each series, (S,); NaN unknown."""
    row = _product_row(products, axes)
    values = np.append(number_column(products, name), np.nan)
    return np.asarray(values[row])


def _text_attribute(products: pd.DataFrame, name: str, axes: Axes) -> np.ndarray:
    """A product's text for each series, (S,); "" unknown."""
    values = np.append(id_column(products, name), "")
    return np.asarray(values[_product_row(products, axes)], dtype=object)


def _product_row(products: pd.DataFrame, axes: Axes) -> Integers:
    """Row of ``products`` for each series, -1 where it has none; the first of duplicates."""
    ids = pd.Index(id_column(products, "product_id"))
    first = np.flatnonzero(~ids.duplicated())
    position = ids[first].get_indexer(axes.products[axes.product_of_series])
    return np.where(position >= 0, np.append(first, -1)[position], -1)


def _planned_flag(planned: pd.DataFrame, name: str, axes: Axes) -> Floats:
    """First planned value above 0 in each cell of a flag or share, else 0."""
    values = np.nan_to_num(number_column(planned, name))
    found = at_date(planned.loc[values > 0], values[values > 0], axes=axes)
    return np.nan_to_num(found)


def _future_axes(panel: Panel, horizon: int) -> Axes:
    """Axes of the panel's series over the ``horizon`` periods after its last."""
    ids = panel.series[["product_id", "store_id"]]
    product_ids, store_ids = id_column(ids, "product_id"), id_column(ids, "store_id")
    products, stores = pd.Index(np.unique(product_ids)), pd.Index(np.unique(store_ids))
    keys = positions(products, product_ids) * len(stores) + positions(stores, store_ids)
    return Axes(
        products=products,
        stores=stores,
        series_keys=keys,
        first=panel.dates[-1] + np.timedelta64(panel.period_days, "D"),
        step=panel.period_days,
        periods=horizon,
    )


def _table(tables: Tables, name: str) -> pd.DataFrame:
    """The table, or an empty one with a date column where there is none."""
    return (
        tables[name]
        if name in tables
        else pd.DataFrame({"date": pd.Series(dtype="datetime64[ns]")})
    )
