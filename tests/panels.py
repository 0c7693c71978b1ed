"""Small synthetic panels with a known demand, for tests of what reads a Panel."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pricing_assets.core.panel import Panel

ELASTICITY = -2.0
WEEKDAY_FACTORS = (0.8, 0.8, 0.9, 1.0, 1.2, 1.4, 0.9)


def synthetic_panel(
    series: int,
    periods: int,
    seed: int,
    *,
    weekly: bool = False,
    censored_share: float = 0.0,
    noise: bool = True,
) -> Panel:
    """Poisson demand: level x weekday x season x price^-2 x promo lift, in two categories.

    Args:
        censored_share: share of the cells whose shelf held less than was asked for.
        noise: False gives the expected demand itself as units.
    """
    rng = np.random.default_rng(seed)
    step = 7 if weekly else 1
    dates = np.datetime64("2023-01-02") + np.arange(periods) * np.timedelta64(step, "D")
    day = dates.astype(np.int64)
    level = np.exp(rng.normal(2.5, 0.6, series)) * step
    regular = np.repeat(np.round(rng.uniform(2, 20, series), 2)[:, None], periods, axis=1)
    regular *= np.exp(0.05 * np.cumsum(rng.normal(0, 0.02, (series, periods)), axis=1))
    promo = (rng.random((series, -(-periods * step // 7))) < 0.12).astype(float)
    promo = np.repeat(promo, 1 if weekly else 7, axis=1)[:, :periods]
    price = np.round(regular * np.where(promo > 0, 0.8, 1.0), 2)
    season = 1 + 0.2 * np.sin(2 * np.pi * day / 364.0)
    weekday = np.ones(periods) if weekly else np.asarray(WEEKDAY_FACTORS)[(day + 3) % 7]
    expected = level[:, None] * season * weekday * (price / regular[:, :1]) ** ELASTICITY
    demand = rng.poisson(expected).astype(float) if noise else expected
    short = rng.random((series, periods)) < censored_share
    on_hand = np.where(short, np.floor(0.6 * expected), np.ceil(10 * expected + 50))
    units = np.minimum(demand, on_hand)
    return Panel(
        series=_series_frame(series),
        dates=dates,
        grain="week" if weekly else "day",
        units=units,
        price=price,
        regular_price=regular,
        promo=promo,
        display=np.zeros((series, periods)),
        feature=np.zeros((series, periods)),
        unit_cost=0.6 * regular,
        rival_price=regular * np.exp(rng.normal(0, 0.03, (series, periods))),
        on_hand=on_hand,
        on_sale=np.ones((series, periods), dtype=bool),
        censored=units >= on_hand,
        holiday=((day % 91) == 0).astype(float),
    )


def _series_frame(series: int) -> pd.DataFrame:
    number = np.arange(series)
    return pd.DataFrame(
        {
            "product_id": [f"P{i:03d}" for i in number],
            "store_id": "",
            "category": [f"category-{i % 2}" for i in number],
            "brand": [f"brand-{i % 3}" for i in number],
            "zone": "",
            "status": "active",
            "list_price": np.nan,
            "map_price": np.nan,
            "pack_size": np.nan,
            "kvi": 0,
        }
    )
