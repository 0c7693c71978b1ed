"""What drives a published price, in lines for a person. No Dagster is loaded.

Belongs here: finding the drivers of one product and printing them. The numbers are
``core.evaluation.price_drivers``'; a served quote is explained by the service.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from upath import UPath

from pricing_assets.core.errors import UnknownProductError, nearest
from resources.asset_store import load_value
from serving.home import Home
from serving.price_store import PriceStore

_PARTS = {
    "price on each unit sold": "gain_from_price",
    "units gained or lost": "gain_from_units",
    "similar products": "gain_from_substitutes",
    "together": "gain",
}
_TRUST = {
    "elasticity": "confidence_elasticity",
    "history": "confidence_history",
    "chance of no less": "confidence_safety",
    "prices seen": "confidence_support",
}


def explanation_lines(home: Home, *, product_id: str) -> list[str]:
    """The drivers of the published price of one product, in every store.

    Raises:
        NotPublishedError: nothing was published in this home, or its run explains no price.
        UnknownProductError: the published table has no such product.
        IntegrityError: stored bytes are damaged.
    """
    table = PriceStore(home.tables).read_current()
    prices = table.prices.to_pandas()
    published = prices[prices["product_id"] == product_id]
    if published.empty:
        known = prices["product_id"].astype(str).unique().tolist()
        raise UnknownProductError(
            f"no price is published for product '{product_id}'{nearest(product_id, known)}; "
            "pricing export lists all"
        )
    rows = _drivers_of(home, published)
    return [line for row in rows for line in _lines(row, version=table.version)]


def _drivers_of(home: Home, published: pd.DataFrame) -> list[dict[Any, Any]]:
    """Records of ``price_drivers`` with the published price beside them."""
    key = ["product_id", "store_id"]
    drivers = load_value(UPath(home.assets) / "price_drivers")
    prices = published[[*key, "recommended_price"]]
    prices = prices.rename(columns={"recommended_price": "published_price"})
    return prices.merge(drivers, on=key, how="inner").to_dict("records")


def _lines(row: dict[Any, Any], *, version: str) -> list[str]:
    store = f" in {row['store_id']}" if row["store_id"] else ""
    lines = [
        f"product {row['product_id']}{store}, table {version}",
        f"  {row['sentence']}",
        f"  gain in {row['objective']} over {row['horizon_days']} days:",
        *(f"    {name:<24} {_number(row[column])}" for name, column in _PARTS.items()),
        f"  weight of its own data in the elasticity: {row['own_data_weight']:.0%}",
        "  confidence " + ", ".join(f"{name} {row[column]:.2f}" for name, column in _TRUST.items()),
    ]
    if not np.isclose(row["published_price"], row["recommended_price"], equal_nan=True):
        lines.append(
            f"  the published price is {row['published_price']:.2f}: what is explained here is the "
            f"last run's, {row['recommended_price']:.2f}"
        )
    return lines


def _number(value: float) -> str:
    return f"{value:+12,.2f}" if np.isfinite(value) else f"{'unknown':>12}"
