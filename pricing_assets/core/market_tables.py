"""A simulated market's past as the contract's raw tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from pricing_assets.core.market_history import is_holiday

if TYPE_CHECKING:
    from pricing_assets.core.market import Market

CALENDAR_DAYS_AHEAD = 120


def raw_tables(market: Market) -> dict[str, pd.DataFrame]:
    """Every raw table by its contract name; prices rounded to minor units, rows sorted by date."""
    tables = {
        "sales": _sales(market),
        "products": _products(market),
        "costs": _changes(market, "unit_cost", market.history.unit_cost.round(4)),
        "inventory": _long(market, {"on_hand": market.history.on_hand}),
        "competitor_prices": _competitor_prices(market),
        "calendar": _calendar(market),
    }
    if market.parameters.stores > 1:
        stores = market.rows[["store_id", "zone"]].drop_duplicates()
        tables["stores"] = stores.reset_index(drop=True)
    return tables


def _sales(market: Market) -> pd.DataFrame:
    history = market.history
    values = {
        "price": history.price.round(2),
        "regular_price": history.regular_price.round(2),
        "promo": history.promo.astype(int),
        "display": history.display.astype(int),
        "feature": history.feature.astype(int),
    }
    if market.parameters.segments == 1:
        return _long(market, {"units": history.units[0], **values})
    frames = [
        _long(market, {"units": units, **values}).assign(segment=f"SEGMENT-{number + 1}")
        for number, units in enumerate(history.units)
    ]
    return pd.concat(frames, ignore_index=True).sort_values("date", kind="stable")


def _long(market: Market, values: dict[str, np.ndarray]) -> pd.DataFrame:
    """One row a product, store and day on sale, sorted by date."""
    history = market.history
    live = np.arange(len(history.dates))[:, None] >= market.traits.first_day[None, :]
    day, row = np.nonzero(live)
    frame = pd.DataFrame(
        {"date": history.dates[day], "product_id": market.rows["product_id"].to_numpy()[row]}
    )
    if market.parameters.stores > 1:
        frame["store_id"] = market.rows["store_id"].to_numpy()[row]
    for name, matrix in values.items():
        frame[name] = matrix[row, day]
    return frame


def _changes(market: Market, name: str, matrix: np.ndarray) -> pd.DataFrame:
    """Only the days on which a value changed, as a cost ledger has it."""
    frame = _long(market, {name: matrix})
    keys = [column for column in ("product_id", "store_id") if column in frame]
    changed = frame[name] != frame.groupby(keys)[name].shift()
    return frame[changed].reset_index(drop=True)


def _competitor_prices(market: Market) -> pd.DataFrame:
    """Two rivals, seen on two days of the week each."""
    frames = []
    for number, matrix in enumerate(market.history.rival_price):
        frame = _long(market, {"price": matrix.round(2)}).assign(competitor=f"RIVAL-{number + 1}")
        frames.append(frame[frame["date"].dt.dayofweek.isin((number, number + 3))])
    both = pd.concat(frames, ignore_index=True)
    return both.sort_values(["date", "competitor"], kind="stable").reset_index(drop=True)


def _products(market: Market) -> pd.DataFrame:
    rows = market.rows.drop_duplicates("product_id")
    index = rows.index.to_numpy()
    return pd.DataFrame(
        {
            "product_id": rows["product_id"].to_numpy(),
            "category": rows["category"].to_numpy(),
            "brand": rows["brand"].to_numpy(),
            "unit_cost": market.unit_cost[index].round(4),
            "list_price": (market.traits.base_price[index] * 1.1).round(2),
        }
    )


def _calendar(market: Market) -> pd.DataFrame:
    last = market.parameters.days + CALENDAR_DAYS_AHEAD
    dates = np.datetime64(market.parameters.start) + np.arange(last)
    return pd.DataFrame({"date": dates, "holiday": is_holiday(dates).astype(int)})
