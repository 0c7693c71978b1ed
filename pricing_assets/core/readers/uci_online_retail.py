"""UCI Online Retail: invoice lines of a UK giftware wholesaler, December 2010 to December 2011.

One file holds InvoiceNo, StockCode, Quantity, InvoiceDate, UnitPrice, CustomerID, Country. Lines
become one row a product and day, or a product and week under ``grain: week`` (weeks that end with
the last day). Lines that are no sale are set aside with a reason:

- cancellation: the invoice number begins with C; return: another negative quantity.
- reversed_order: a line that the same customer cancelled in full on the same day (the order of
  80,995 paper birds is one): no demand.
- not_positive or missing_value: a price of 0 or less, or none.
- non_product_code: postage, manual entries, discounts, bank charges, fees, gift vouchers: every
  code that does not begin with five digits.
- duplicate_row: an exact repeat of an earlier line.

Price is the MEDIAN line price of the day or week: the price of a line falls with its quantity, so
that revenue over units would move with demand by itself (weekly elasticity -1.89, not -1.46).
Days on which nobody bought anything, Saturdays apart, are in the calendar as closed.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import Flags
from pricing_assets.core.parsing import parse_column
from pricing_assets.core.readers.recognition import numbers, require_frame, set_aside, texts
from pricing_assets.core.settings import IngestionParameters
from pricing_assets.core.tables import Column

SATURDAY = 5
_LINES = (
    "InvoiceNo",
    "StockCode",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
)


def read(
    files: Mapping[str, pd.DataFrame],
    parameters: IngestionParameters | None = None,
) -> dict[str, pd.DataFrame]:
    """Contract tables sales and calendar, and set_aside (quarantine rows of sales).

    Args:
        files: raw frames by file name; the one with the invoice columns is used.
        parameters: ``uci_country`` keeps one country's invoices; ``grain`` week gives weeks.

    Raises:
        MissingTableError: no frame has the columns, or no invoice is of the country.
    """
    raw = require_frame(files, _LINES, data_set="UCI Online Retail")
    chosen = parameters or IngestionParameters()
    if chosen.uci_country:
        raw = raw.loc[texts(raw, "Country") == chosen.uci_country]
    lines = _lines(raw)
    reasons = _reasons(raw, lines)
    kept = lines.loc[reasons == ""]
    period = _week_start(kept["date"]) if chosen.grain == "week" else kept["date"]
    by_period = kept.groupby([period, "product_id"], sort=True)
    sales = by_period.agg(units=("units", "sum"), price=("price", "median")).reset_index()
    return {
        "sales": sales,
        "calendar": _closed_days(kept["date"]),
        "set_aside": set_aside(raw, reasons=reasons, table="sales"),
    }


def _lines(raw: pd.DataFrame) -> pd.DataFrame:
    """Typed invoice lines; stock codes differ in case for one product, so they are raised."""
    return pd.DataFrame(
        {
            "invoice": texts(raw, "InvoiceNo"),
            "product_id": pd.Series(texts(raw, "StockCode"), dtype=object).str.upper(),
            "units": numbers(raw, "Quantity"),
            "date": parse_column(raw["InvoiceDate"], Column("InvoiceDate", "date")).values,
            "price": numbers(raw, "UnitPrice"),
            "customer": texts(raw, "CustomerID"),
        }
    )


def _reasons(raw: pd.DataFrame, lines: pd.DataFrame) -> NDArray[np.object_]:
    """Why each line is no sale, "" where it is one; the first that holds."""
    cancelled = lines["invoice"].str.upper().str.startswith("C").to_numpy(dtype=bool)
    price, units = lines["price"].to_numpy(), lines["units"].to_numpy()
    missing = np.isnan(price) | np.isnan(units) | (lines["product_id"] == "").to_numpy()
    product = lines["product_id"].str.match(r"\d{5}").to_numpy(dtype=bool)
    rules: list[tuple[str, Flags]] = [
        ("cancellation", cancelled),
        ("missing_value", missing),
        ("unreadable_date", lines["date"].isna().to_numpy()),
        ("return", units <= 0),
        ("non_product_code", ~product),
        ("not_positive", price <= 0),
        ("duplicate_row", raw.duplicated(subset=list(_LINES)).to_numpy()),
        ("reversed_order", _reversed(lines, cancelled)),
    ]
    reasons = np.full(len(lines), "", dtype=object)
    for reason, mask in rules:
        reasons[mask & (reasons == "")] = reason
    return reasons


def _reversed(lines: pd.DataFrame, cancelled: Flags) -> Flags:
    """Orders cancelled in full on their own day: the n-th order of a key with n cancellations."""
    key = ["date", "customer", "product_id", "price", "size"]
    sized = lines.assign(size=lines["units"].abs(), cancelled=cancelled)
    counts = sized.loc[cancelled].groupby(key).size().rename("cancellations").reset_index()
    rank = sized.loc[~cancelled].groupby(key).cumcount().reindex(lines.index)
    matched = sized[key].merge(counts, on=key, how="left")["cancellations"].to_numpy()
    found = ~cancelled & (rank.to_numpy() < np.nan_to_num(matched))
    return np.asarray(found, dtype=bool)


def _week_start(dates: pd.Series) -> pd.Series:
    """First day of each date's week, of the weeks that end with the last date."""
    ahead = (dates.max() - dates).dt.days // 7
    return dates.max() - pd.to_timedelta(7 * ahead + 6, unit="D")


def _closed_days(dates: pd.Series) -> pd.DataFrame:
    """Days without a single sale between the first and the last, Saturdays apart."""
    if dates.empty:
        return pd.DataFrame({"date": dates, "holiday": 1.0, "event": "closed"})
    every = pd.date_range(dates.min(), dates.max(), freq="D")
    closed = every[~every.isin(dates.unique()) & (every.weekday != SATURDAY)]
    return pd.DataFrame({"date": closed, "holiday": 1.0, "event": "closed"})
