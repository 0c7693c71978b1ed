"""M5 (Walmart, Kaggle): daily sales of one store and department, with weekly prices.

Frames are told by their columns:

- sales, long: item_id, d, units [, date, wm_yr_wk, sell_price]; or wide as on Kaggle
  (sales_train_evaluation.csv): item_id, dept_id, store_id, d_1, d_2, ...
- prices: store_id, item_id, wm_yr_wk, sell_price; needed unless the long sales hold sell_price.
- calendar: date, wm_yr_wk, d, event_name_1, event_name_2 and snap_*.

A price is listed for each week in which the item was offered. So a day with a price and no units
is on sale and sold nothing, and is a row; a day without a price and without units was not on sale,
and gives no row; units without a price are a wrong row for the check. Sales end at d_1941, the
last day that M5 published; prices of the 28 days after the last sale become planned prices.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from pricing_assets.core.errors import MissingTableError
from pricing_assets.core.readers.recognition import find_frame, numbers, require_frame, texts
from pricing_assets.core.settings import IngestionParameters

LAST_DAY = 1941
PLANNED_DAYS = 28
_NAME = "M5"
_CALENDAR = ("date", "wm_yr_wk", "d", "event_name_1", "event_name_2")
_PRICES = ("store_id", "item_id", "wm_yr_wk", "sell_price")


def read(
    files: Mapping[str, pd.DataFrame],
    parameters: IngestionParameters | None = None,
) -> dict[str, pd.DataFrame]:
    """Contract tables sales, products, calendar and (where prices go on) planned_prices.

    Args:
        files: raw frames by file name.
        parameters: ``m5_store`` and ``m5_department`` say what to keep.

    Raises:
        MissingTableError: a frame is absent, or the store or department is in none.
    """
    chosen = parameters or IngestionParameters()
    calendar = _calendar(require_frame(files, _CALENDAR, data_set=_NAME), chosen)
    listed = _prices(files, chosen)
    cells = _cells(files, chosen)
    cells = cells.loc[(cells["day"] <= LAST_DAY) & cells["units"].notna()]
    if cells.empty:
        raise MissingTableError(
            f"no sales of store '{chosen.m5_store}' and department '{chosen.m5_department}' in the "
            "M5 files; see ingestion.m5_store and ingestion.m5_department"
        )
    sales = _priced(cells, calendar=calendar, listed=listed)
    offered = sales.loc[sales["price"].notna() | (sales["units"] > 0)]
    items = np.unique(cells["product_id"].to_numpy())
    tables = {
        "sales": _contract_rows(offered, chosen)[[*_KEYS, "units", "price"]],
        "products": pd.DataFrame({"product_id": items, "category": chosen.m5_department}),
        "calendar": calendar[["date", "holiday", "event"]],
    }
    planned = _planned(items, calendar=calendar, listed=listed, after=int(cells["day"].max()))
    if not planned.empty:
        tables["planned_prices"] = _contract_rows(planned, chosen)[[*_KEYS, "price"]]
    return tables


_KEYS = ("date", "product_id", "store_id")


def _calendar(raw: pd.DataFrame, chosen: IngestionParameters) -> pd.DataFrame:
    """One row a day: day, week, date, holiday (1 on an event), names of the events and SNAP."""
    first, second = texts(raw, "event_name_1"), texts(raw, "event_name_2")
    snap_column = f"snap_{chosen.m5_store.split('_', maxsplit=1)[0]}"
    snap = numbers(raw, snap_column) if snap_column in raw.columns else np.zeros(len(raw))
    names = zip(first, second, np.where(snap > 0, "SNAP", ""), strict=True)
    return pd.DataFrame(
        {
            "day": _day_number(texts(raw, "d")),
            "week": numbers(raw, "wm_yr_wk"),
            "date": pd.to_datetime(pd.Series(texts(raw, "date"), dtype=object)),
            "holiday": ((first != "") | (second != "")).astype(np.float64),
            "event": ["; ".join(filter(None, row)) for row in names],
        }
    )


def _cells(files: Mapping[str, pd.DataFrame], chosen: IngestionParameters) -> pd.DataFrame:
    """product_id, day, units [, price], one row an item and day."""
    long = find_frame(files, ("item_id", "d", "units"))
    if long is None:
        return _melted(require_frame(files, ("item_id", "d_1"), data_set=_NAME), chosen)
    long = _only_chosen(long, chosen)
    cells = {
        "product_id": texts(long, "item_id"),
        "day": _day_number(texts(long, "d")),
        "units": numbers(long, "units"),
    }
    if "sell_price" in long.columns:
        cells["price"] = numbers(long, "sell_price")
    return pd.DataFrame(cells)


def _melted(wide: pd.DataFrame, chosen: IngestionParameters) -> pd.DataFrame:
    """Kaggle's wide sales, made long for the chosen store and department only."""
    wide = _only_chosen(wide, chosen)
    days = [name for name in wide.columns if str(name).startswith("d_")]
    units = np.column_stack([numbers(wide, name) for name in days])
    return pd.DataFrame(
        {
            "product_id": np.repeat(texts(wide, "item_id"), len(days)),
            "day": np.tile(_day_number(np.array(days, dtype=object)), len(wide)),
            "units": units.ravel(),
        }
    )


def _only_chosen(frame: pd.DataFrame, chosen: IngestionParameters) -> pd.DataFrame:
    """Rows of the store and the department, as far as the frame names them."""
    keep = np.ones(len(frame), dtype=bool)
    if "store_id" in frame.columns:
        keep &= texts(frame, "store_id") == chosen.m5_store
    item = pd.Series(texts(frame, "item_id"), dtype=object)
    keep &= item.str.startswith(f"{chosen.m5_department}_").to_numpy(dtype=bool)
    return frame.loc[keep]


def _prices(files: Mapping[str, pd.DataFrame], chosen: IngestionParameters) -> pd.DataFrame | None:
    """product_id, week, price of the chosen store and department; None where there is no file."""
    sales = find_frame(files, ("item_id", "d", "units"))
    raw = find_frame({name: f for name, f in files.items() if f is not sales}, _PRICES)
    if raw is None:
        if sales is None or "sell_price" not in sales.columns:
            require_frame(files, _PRICES, data_set=_NAME)
        return None
    raw = _only_chosen(raw, chosen)
    return pd.DataFrame(
        {
            "product_id": texts(raw, "item_id"),
            "week": numbers(raw, "wm_yr_wk"),
            "price": numbers(raw, "sell_price"),
        }
    )


def _priced(
    cells: pd.DataFrame, *, calendar: pd.DataFrame, listed: pd.DataFrame | None
) -> pd.DataFrame:
    """Cells with their date, and their price where the sales did not hold it."""
    dated = cells.merge(calendar[["day", "week", "date"]], on="day", how="left")
    if "price" in dated.columns or listed is None:
        return dated
    return dated.merge(listed, on=["product_id", "week"], how="left")


def _planned(
    items: np.ndarray, *, calendar: pd.DataFrame, listed: pd.DataFrame | None, after: int
) -> pd.DataFrame:
    """Listed prices of the items in the days after the last sale."""
    if listed is None:
        return pd.DataFrame()
    ahead = calendar.loc[calendar["day"].between(after + 1, after + PLANNED_DAYS)]
    own = listed.loc[listed["product_id"].isin(items) & listed["price"].notna()]
    return ahead[["date", "week"]].merge(own, on="week")


def _contract_rows(rows: pd.DataFrame, chosen: IngestionParameters) -> pd.DataFrame:
    return rows.assign(store_id=chosen.m5_store).reset_index(drop=True)


def _day_number(labels: np.ndarray) -> np.ndarray:
    """1941 for "d_1941"."""
    codes, distinct = pd.factorize(labels)
    values = np.array([int(str(label).removeprefix("d_")) for label in distinct], dtype=np.int64)
    return values[codes]
