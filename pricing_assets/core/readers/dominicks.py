"""Dominick's refrigerated orange juice (Kilts Center; ``orangeJuice`` of bayesm): weekly scans.

One file holds store, brand, week, logmove, deal, feat, profit and either price (dollars an ounce)
or price1 to price11, the prices of the eleven brands. What the raw figures are, and become:

- ``logmove`` is the log of OUNCES sold, an exact multiple of the pack: units are packs.
- Prices are per ounce: price is per pack.
- ``feat`` is the share of the brand's packs in the week's advertisement: feature.
- ``profit`` is the gross margin in percent on average acquisition cost, so that the cost is
  computed FROM the price. It serves a margin, never as an instrument (set
  ``ingestion.cost_is_derived_from_price``). Margins of 0 or above 60 % are set aside.
- Week 1 began on 1989-09-14.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import Floats
from pricing_assets.core.readers.recognition import (
    find_frame,
    numbers,
    require_frame,
    set_aside,
    texts,
)
from pricing_assets.core.settings import IngestionParameters

FIRST_WEEK = np.datetime64("1989-09-14", "D")
CATEGORY = "refrigerated_orange_juice"
PACKS: Mapping[int, tuple[str, int]] = {
    1: ("Tropicana Premium 64", 64),
    2: ("Tropicana Premium 96", 96),
    3: ("Florida's Natural 64", 64),
    4: ("Tropicana 64", 64),
    5: ("Minute Maid 64", 64),
    6: ("Minute Maid 96", 96),
    7: ("Citrus Hill 64", 64),
    8: ("Tree Fresh 64", 64),
    9: ("Florida Gold 64", 64),
    10: ("Dominicks 64", 64),
    11: ("Dominicks 128", 128),
}
"""Brand number -> product and ounces in a pack (documentation of bayesm's orangeJuice)."""

MAX_MARGIN_PERCENT = 60.0
"""Gross margins above this are recording errors (181 of 106,139 rows)."""

_SCANS = ("store", "brand", "week", "logmove", "deal", "feat", "profit")


def read(
    files: Mapping[str, pd.DataFrame],
    parameters: IngestionParameters | None = None,
) -> dict[str, pd.DataFrame]:
    """Contract tables sales, products, costs, and set_aside (quarantine rows of costs).

    Args:
        files: raw frames by file name; the one with the scan columns is used.
        parameters: not needed by this data set.

    Raises:
        MissingTableError: no frame has the columns.
    """
    scans = require_frame(files, _SCANS, data_set="Dominick's orange juice")
    brand = numbers(scans, "brand")
    ounces = _lookup(brand, {number: float(pack[1]) for number, pack in PACKS.items()})
    price = _price_per_ounce(scans, brand) * ounces
    keys = pd.DataFrame(
        {
            "date": FIRST_WEEK + (7 * (numbers(scans, "week") - 1)).astype("timedelta64[D]"),
            "product_id": _lookup_name(brand),
            "store_id": texts(scans, "store"),
        }
    )
    sales = keys.assign(
        units=np.rint(np.exp(numbers(scans, "logmove"))) / ounces,
        price=price,
        promo=numbers(scans, "deal"),
        feature=numbers(scans, "feat"),
    )
    margin = numbers(scans, "profit")
    reasons = np.where((margin <= 0) | (margin > MAX_MARGIN_PERCENT), "implausible_margin", "")
    costs = keys.assign(unit_cost=price * (1 - margin / 100)).loc[reasons == ""]
    return {
        "sales": sales,
        "products": _products(brand),
        "costs": costs,
        "set_aside": set_aside(scans, reasons=reasons.astype(object), table="costs"),
    }


def _price_per_ounce(scans: pd.DataFrame, brand: Floats) -> Floats:
    """The row's own price: column price, or that of price1..price11 which its brand names."""
    own = find_frame({"scans": scans}, ("price",))
    if own is not None:
        return numbers(own, "price")
    wide = require_frame(
        {"scans": scans}, [f"price{k}" for k in PACKS], data_set="Dominick's orange juice"
    )
    prices = np.column_stack([numbers(wide, f"price{k}") for k in PACKS])
    column = np.nan_to_num(brand, nan=1).astype(np.int64) - 1
    inside = (column >= 0) & (column < prices.shape[1])
    picked = prices[np.arange(len(scans)), np.where(inside, column, 0)]
    return np.asarray(np.where(inside, picked, np.nan))


def _lookup(brand: Floats, values: Mapping[int, float]) -> Floats:
    """A number for each brand; NaN for a brand outside 1 to 11, which the check sets aside."""
    return pd.Series(brand).map(values).to_numpy(dtype=np.float64)


def _lookup_name(brand: Floats) -> NDArray[np.object_]:
    names = {number: pack[0] for number, pack in PACKS.items()}
    return pd.Series(brand).map(names).to_numpy(dtype=object)


def _products(brand: Floats) -> pd.DataFrame:
    present = [pack for number, pack in PACKS.items() if number in set(brand.tolist())]
    return pd.DataFrame(
        {
            "product_id": [name for name, _ in present],
            "category": CATEGORY,
            "brand": [name.rsplit(" ", maxsplit=1)[0] for name, _ in present],
            "pack_size": [float(ounces) for _, ounces in present],
        }
    )
