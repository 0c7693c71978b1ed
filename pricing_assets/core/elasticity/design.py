"""The regression design: which cells count, the price step, and what else moves demand.

Belongs here: turning a panel into arrays for the estimators. Estimation is in the other modules.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import Panel, carry_forward

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MIN_BLOCK_UNITS = 25.0
"""Expected units of a time block below which it is doubled, so that its mean says something."""


@dataclass(frozen=True, slots=True)
class PriceDesign:
    """Arrays for S series and T periods.

    Attributes:
        usable: (S, T) on sale, priced, and the shelf was not empty at opening.
        sold_out: (S, T) usable, and the shelf emptied: units is a lower bound of demand.
        units: (S, T) with 0 where not usable.
        log_price: (S, T) log of price over the current price; finite.
        regular: (S, T) log of regular price over the current price; finite.
        names: names of the covariates that vary, in order.
        covariates: (k, S, T) finite: promo, display, feature, log rival, mean log price of the
            substitutes.
        calendar: (T, c) weekday and holiday columns.
        category: (S,) category index; product: (S,) product index.
        market: (S,) index of category within store, in which products are substitutes.
        current_price: (S,) NaN replaced by the last price.
    """

    usable: NDArray[np.bool_]
    sold_out: NDArray[np.bool_]
    units: Floats
    log_price: Floats
    regular: Floats
    names: tuple[str, ...]
    covariates: Floats
    calendar: Floats
    category: Integers
    product: Integers
    market: Integers
    current_price: Floats


def price_design(panel: Panel) -> PriceDesign:
    """Build the design of a panel."""
    current = panel.current_price()
    current = np.where(np.isnan(current), np.nan_to_num(panel.price[:, -1], nan=1.0), current)
    usable = panel.on_sale & ~np.isnan(panel.units) & ~np.isnan(panel.price)
    usable &= ~(panel.censored & (np.nan_to_num(panel.units) <= 0))
    log_price = _relative(panel.price, current)
    market = group_index(panel.series, "category", "store_id")
    names, covariates = _covariates(panel, current, log_price, market)
    return PriceDesign(
        usable=usable,
        sold_out=usable & panel.censored,
        units=np.where(usable, panel.units, 0.0),
        log_price=log_price,
        regular=_relative(panel.regular_price, current),
        names=names,
        covariates=covariates,
        calendar=_calendar(panel),
        category=group_index(panel.series, "category"),
        product=group_index(panel.series, "product_id"),
        market=market,
        current_price=current,
    )


def group_index(series: pd.DataFrame, *columns: str) -> Integers:
    """Number 0.. of each row's combination of the given columns, (S,)."""
    return np.asarray(series.groupby(list(columns), sort=True).ngroup(), dtype=np.int64)


def substitutes_mean(values: Floats, present: NDArray[np.bool_], market: Integers) -> Floats:
    """Mean of the other series of the same market that are present, (S, T); 0 without any."""
    total = np.zeros((int(market.max()) + 1, values.shape[1]))
    count = np.zeros_like(total)
    np.add.at(total, market, np.where(present, values, 0.0))
    np.add.at(count, market, present.astype(float))
    others = count[market] - present
    mean = (total[market] - np.where(present, values, 0.0)) / np.maximum(others, 1.0)
    return np.asarray(np.where(others > 0, mean, 0.0))


def product_traits(panel: Panel, design: PriceDesign) -> Floats:
    """Log markup, log price and log volume of each series, (S, k), standardised in its category.

    A trait that is unknown for a series is its category's mean; one that never varies is left out.
    """
    volume = design.units.sum(axis=1) / np.maximum(design.usable.sum(axis=1), 1)
    columns = [_log_markup(panel, design), np.log(design.current_price), np.log(volume + 0.1)]
    kept = []
    for column in columns:
        known = np.isfinite(column)
        centre = _category_mean(np.where(known, column, 0.0), known, design.category)
        value = np.where(known, column - centre, 0.0)
        if value.std() > 1e-6:
            kept.append(value / value.std())
    return np.stack(kept, axis=1) if kept else np.zeros((len(volume), 0))


def _log_markup(panel: Panel, design: PriceDesign) -> Floats:
    """Mean over its history of the log of regular price over unit cost, (S,); NaN unknown."""
    cost = np.where(panel.unit_cost > 0, panel.unit_cost, np.nan)
    ratio = design.regular + np.log(design.current_price)[:, None] - np.log(cost)
    known = design.usable & np.isfinite(ratio)
    count = known.sum(axis=1)
    total = np.where(known, ratio, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def time_blocks(design: PriceDesign, *, periods: int) -> Integers:
    """Block of each usable cell in row-major order, numbered 0.. without gaps.

    A series whose blocks of ``periods`` would hold too few units gets longer ones.
    """
    length = design.usable.shape[1]
    rate = design.units.sum(axis=1) / np.maximum(design.usable.sum(axis=1), 1)
    wanted = MIN_BLOCK_UNITS / np.maximum(rate * periods, 1e-9)
    stretch = 2.0 ** np.clip(np.ceil(np.log2(np.maximum(wanted, 1.0))), 0, 12)
    size = np.minimum(periods * stretch, length).astype(np.int64)
    row, period = np.nonzero(design.usable)
    key = row.astype(np.int64) * (length + 1) + period // size[row]
    return np.asarray(np.unique(key, return_inverse=True)[1], dtype=np.int64)


def _category_mean(values: Floats, known: NDArray[np.bool_], category: Integers) -> Floats:
    total, count = np.bincount(category, values), np.bincount(category, known)
    return np.asarray((total / np.maximum(count, 1.0))[category])


def _relative(price: Floats, current: Floats) -> Floats:
    known = np.where(price > 0, price, np.nan)
    filled = carry_forward(known)
    return np.nan_to_num(np.log(filled / current[:, None]), nan=0.0, posinf=0.0, neginf=0.0)


def _covariates(
    panel: Panel, current: Floats, log_price: Floats, market: Integers
) -> tuple[tuple[str, ...], Floats]:
    rival = np.nan_to_num(np.log(panel.rival_price / current[:, None]))
    candidates = {
        "promo": np.nan_to_num(panel.promo),
        "display": np.nan_to_num(panel.display),
        "feature": np.nan_to_num(panel.feature),
        "rival": rival,
        "substitutes": substitutes_mean(log_price, panel.on_sale, market),
    }
    kept = {name: values for name, values in candidates.items() if np.ptp(values) > 1e-9}
    matrix = np.stack(list(kept.values())) if kept else np.zeros((0, *log_price.shape))
    return tuple(kept), matrix


def _calendar(panel: Panel) -> Floats:
    columns = []
    if panel.grain == "day":
        weekday = (panel.dates.astype("datetime64[D]").astype(np.int64) + 3) % 7
        columns = [(weekday == day).astype(float) for day in range(6)]
    lead = 6 if panel.grain == "day" else 1
    if panel.holiday.any():
        ahead = np.concatenate([panel.holiday, np.zeros(lead)])
        steps = [ahead[k : k + len(panel.holiday)] * (1 - k / lead) for k in range(lead)]
        columns.append(np.max(steps, axis=0))
    return np.stack(columns, axis=1) if columns else np.zeros((len(panel.dates), 0))
