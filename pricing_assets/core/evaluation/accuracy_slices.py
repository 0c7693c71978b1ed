"""Held-out accuracy taken apart: by horizon, category, price band, price move and history.

Belongs here: the groups of held-out cells and each forecaster's error within them. Making the
forecasts is ``core.forecast.walk_forward``; drawing is ``report_accuracy``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.forecast.walk_forward import HeldOut
from pricing_assets.core.forecast.windows import usable_cells
from pricing_assets.core.panel import Panel, last_known

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]

SLICE_COLUMNS = ("model", "by", "level", "cells", "units", "wape", "bias", "coverage_80")
GROUPINGS = ("horizon", "category", "price_band", "price_move", "history")

MAX_HORIZON_GROUPS = 8
MAX_CATEGORIES = 12
PRICE_BANDS = 4
MOVES = (-0.10, -0.02, 0.02, 0.10)
"""Limits of the price paid against the last price known at the origin."""
MOVE_NAMES = (
    "10 % cheaper or more",
    "2 to 10 % cheaper",
    "within 2 %",
    "2 to 10 % dearer",
    "10 % dearer or more",
)
HISTORY_DAYS = (1, 56, 182)
HISTORY_NAMES = ("never sold before", "under 8 weeks", "8 to 26 weeks", "over 26 weeks")
"""Cold start: time from a series' first sale to the origin."""


@dataclass(frozen=True, slots=True)
class _Grouping:
    """Names of the groups, and each held-out cell's group, (S, H); -1 is in none."""

    names: tuple[str, ...]
    codes: Codes


def accuracy_slices(panel: Panel, tested: Mapping[str, Sequence[HeldOut]]) -> pd.DataFrame:
    """One row a forecaster, grouping and group, columns ``SLICE_COLUMNS``.

    Cells are pooled over origins. Groups without a usable cell are left out; a ratio over nothing
    sold is NaN. Price bands are quarters of the series by their last price; a price move compares
    the price of the held-out period with the last one known at the origin, so it shows the fit
    where prices changed.

    Args:
        panel: S series; what the forecasts were tested on.
        tested: forecaster -> its held-out forecasts, arrays (S, H).
    """
    rows: list[dict[str, object]] = []
    for by in GROUPINGS:
        found = {
            origin: _grouping(by, panel, held) for origin, held in _one_by_origin(tested).items()
        }
        for model, helds in tested.items():
            rows += _rows(model, by, [(held, found[held.origin]) for held in helds])
    return pd.DataFrame(rows, columns=list(SLICE_COLUMNS))


def _one_by_origin(tested: Mapping[str, Sequence[HeldOut]]) -> dict[int, HeldOut]:
    """The windows are the same for every forecaster."""
    return {held.origin: held for helds in tested.values() for held in helds}


def _rows(
    model: str, by: str, pairs: Sequence[tuple[HeldOut, _Grouping]]
) -> list[dict[str, object]]:
    names = pairs[0][1].names
    totals = np.sum([_totals(held, grouping) for held, grouping in pairs], axis=0)
    return [
        {"model": model, "by": by, "level": name, **_measures(column)}
        for name, column in zip(names, totals.T, strict=True)
        if column[0] > 0
    ]


def _totals(held: HeldOut, grouping: _Grouping) -> Floats:
    """(5, G): usable cells, units, absolute error, error, actuals inside the 80 % interval."""
    use = held.usable & (grouping.codes >= 0)
    codes, actual, mean = grouping.codes[use], held.actual[use], held.forecast.mean[use]
    inside = (actual >= held.forecast.q10[use]) & (actual <= held.forecast.q90[use])
    error = mean - actual
    groups = len(grouping.names)
    columns = (np.ones_like(actual), actual, np.abs(error), error, inside.astype(np.float64))
    return np.stack([np.bincount(codes, weights=x, minlength=groups) for x in columns])


def _measures(totals: Floats) -> dict[str, float]:
    cells, units, absolute, error, inside = (float(value) for value in totals)
    sold = units if units > 0 else float("nan")
    return {
        "cells": int(cells),
        "units": units,
        "wape": absolute / sold,
        "bias": error / sold,
        "coverage_80": inside / cells,
    }


def _grouping(by: str, panel: Panel, held: HeldOut) -> _Grouping:
    makers = {
        "horizon": _by_horizon,
        "category": _by_category,
        "price_band": _by_price_band,
        "price_move": _by_price_move,
        "history": _by_history,
    }
    return makers[by](panel, held)


def _by_horizon(panel: Panel, held: HeldOut) -> _Grouping:
    """Weeks ahead, or as many of them together as make at most ``MAX_HORIZON_GROUPS`` groups."""
    series, periods = held.actual.shape
    weeks = -(-periods * panel.period_days // 7)
    step = -(-weeks // MAX_HORIZON_GROUPS)
    codes = np.arange(periods) * panel.period_days // 7 // step
    names = tuple(_weeks(first + 1, min(first + step, weeks)) for first in range(0, weeks, step))
    return _Grouping(names, np.broadcast_to(codes, (series, periods)).astype(np.int64))


def _weeks(first: int, last: int) -> str:
    return f"week {first}" if first == last else f"weeks {first} to {last}"


def _by_category(panel: Panel, held: HeldOut) -> _Grouping:
    """The categories that sell most, and the others together."""
    category = panel.series["category"].astype(str).replace("", "no category")
    units = pd.Series(np.nansum(panel.units, axis=1)).groupby(category.to_numpy()).sum()
    foremost = units.sort_values(ascending=False, kind="stable").index[:MAX_CATEGORIES].tolist()
    names = (*foremost, "all others")
    place = {name: index for index, name in enumerate(foremost)}
    codes = category.map(lambda name: place.get(name, len(foremost))).to_numpy(dtype=np.int64)
    return _of_series(names, codes, held)


def _by_price_band(panel: Panel, held: HeldOut) -> _Grouping:
    """Quarters of the series by their last price, so that the bands are those of every origin."""
    price = panel.current_price()
    known = np.isfinite(price)
    if not known.any():
        return _of_series(("no price known",), np.zeros(len(price), np.int64), held)
    limits = np.unique(np.quantile(price[known], np.linspace(0, 1, PRICE_BANDS + 1)))
    if limits.size < 2:
        limits = np.repeat(limits, 2)
    codes = np.searchsorted(limits[1:-1], price, side="left").astype(np.int64)
    names = tuple(f"{low:,.2f} to {high:,.2f}" for low, high in pairwise(limits))
    return _of_series(names, np.where(known, codes, -1), held)


def _by_price_move(panel: Panel, held: HeldOut) -> _Grouping:
    before = last_known(panel.until(held.origin).price)
    span = slice(held.origin, held.origin + held.actual.shape[1])
    move = panel.price[:, span] / before[:, None] - 1
    known = np.isfinite(move)
    codes = np.searchsorted(MOVES, np.where(known, move, 0.0), side="right")
    return _Grouping(MOVE_NAMES, np.where(known, codes, -1).astype(np.int64))


def _by_history(panel: Panel, held: HeldOut) -> _Grouping:
    """Days from the first sale that could be seen to the origin."""
    past = panel.until(held.origin)
    sold = usable_cells(past) & (np.nan_to_num(past.units) > 0)
    first = np.where(sold.any(axis=1), np.argmax(sold, axis=1), held.origin)
    days = (held.origin - first) * panel.period_days
    codes = np.searchsorted(HISTORY_DAYS, days, side="right").astype(np.int64)
    return _of_series(HISTORY_NAMES, codes, held)


def _of_series(names: tuple[str, ...], codes: Codes, held: HeldOut) -> _Grouping:
    """One group a series, (S,) codes."""
    return _Grouping(names, np.broadcast_to(codes[:, None], held.actual.shape))
