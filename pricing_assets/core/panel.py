"""The dense panel: every series by every period, as arrays, built once and read by all.

Belongs here: the frozen arrays and their slicing. Building one from raw tables is
``core.features``; statistics on it belong to the stages.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Grain = Literal["day", "week"]


@dataclass(frozen=True, slots=True)
class Panel:
    """Sales of S product-store series over T periods.

    Attributes:
        series: S rows, RangeIndex; columns product_id, store_id ("" without stores), category
            ("" unknown), brand, zone, status (str), list_price, map_price, pack_size (NaN
            unknown), kvi (0/1).
        dates: (T,) datetime64[D], consecutive periods (a week is named by its first given day).
        grain: spacing of the dates.
        units: (S, T) units sold; 0 where on sale and nothing sold; NaN where not on sale.
        price: (S, T) price paid, carried forward over periods without a sale; NaN before the
            first price.
        regular_price: (S, T) price without promotion; equals price where none is known.
        promo: (S, T) 0/1.
        display, feature: (S, T) 0/1, or the share of packs or days where the data give one.
        unit_cost: (S, T) NaN unknown.
        rival_price: (S, T) mean over competitors of their last known price; NaN unknown.
        on_hand: (S, T) stock at the period's opening; NaN unknown.
        on_sale: (S, T) the product was offered (it may have sold nothing).
        censored: (S, T) the shelf emptied or was empty: units is a lower bound of demand.
        holiday: (T,) 0/1.
    """

    series: pd.DataFrame
    dates: NDArray[np.datetime64]
    grain: Grain
    units: Floats
    price: Floats
    regular_price: Floats
    promo: Floats
    display: Floats
    feature: Floats
    unit_cost: Floats
    rival_price: Floats
    on_hand: Floats
    on_sale: Flags
    censored: Flags
    holiday: Floats

    @property
    def shape(self) -> tuple[int, int]:
        """(S, T)."""
        return self.units.shape[0], self.units.shape[1]

    @property
    def period_days(self) -> int:
        """Days in a period: 1 or 7."""
        return 7 if self.grain == "week" else 1

    def until(self, period: int) -> Panel:
        """The panel as it was known when ``period`` periods had passed (no later column)."""
        cut = {name: getattr(self, name)[:, :period] for name in PANEL_MATRICES}
        return replace(self, dates=self.dates[:period], holiday=self.holiday[:period], **cut)

    def current_price(self) -> Floats:
        """Last regular (non-promotional) price of each series, (S,); NaN where there is none."""
        plain = np.where((self.promo > 0) | np.isnan(self.units), np.nan, self.price)
        regular = np.where(self.promo > 0, self.regular_price, plain)
        return last_known(regular)

    def current_cost(self) -> Floats:
        """Last known unit cost of each series, (S,); NaN where there is none."""
        return last_known(self.unit_cost)


PANEL_MATRICES: tuple[str, ...] = (
    "units",
    "price",
    "regular_price",
    "promo",
    "display",
    "feature",
    "unit_cost",
    "rival_price",
    "on_hand",
    "on_sale",
    "censored",
)


@dataclass(frozen=True, slots=True)
class FuturePlan:
    """What is known of the next H periods when a forecast is made.

    Attributes:
        dates: (H,) datetime64[D].
        price, promo, display, feature, rival_price: (S, H); price is the planned price where
            one is given, else the current price; rival_price is the last known one.
        holiday: (H,) 0/1.
    """

    dates: NDArray[np.datetime64]
    price: Floats
    promo: Floats
    display: Floats
    feature: Floats
    rival_price: Floats
    holiday: Floats


def last_known(values: Floats) -> Floats:
    """Last value of each row that is not NaN; NaN for a row of NaN. (S, T) -> (S,)."""
    known = ~np.isnan(values)
    position = values.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    picked = values[np.arange(values.shape[0]), position]
    return np.asarray(np.where(known.any(axis=1), picked, np.nan))


def carry_forward(values: Floats) -> Floats:
    """Each row with NaN replaced by the last value before it, (S, T) -> (S, T)."""
    known = ~np.isnan(values)
    position = np.where(known, np.arange(values.shape[1])[None, :], 0)
    np.maximum.accumulate(position, axis=1, out=position)
    return np.asarray(np.take_along_axis(values, position, axis=1))
