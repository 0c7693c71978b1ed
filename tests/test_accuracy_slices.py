"""Held-out accuracy by group and calibration, against sums made cell by cell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from panels import synthetic_panel

from pricing_assets.core.evaluation.accuracy_slices import (
    GROUPINGS,
    HISTORY_NAMES,
    MOVE_NAMES,
    accuracy_slices,
)
from pricing_assets.core.evaluation.calibration_table import calibration_table
from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.forecast.walk_forward import HeldOut
from pricing_assets.core.panel import Panel

ORIGINS, HORIZON = (100, 114), 14


@pytest.fixture(scope="module")
def panel() -> Panel:
    made = synthetic_panel(8, 128, 3)
    series = made.series.assign(category=["a", "a", "a", "b", "b", "", "", "c"])
    return replace(made, series=series)


def held_out(panel: Panel, *, seed: int) -> tuple[HeldOut, ...]:
    rng = np.random.default_rng(seed)
    found = []
    for origin in ORIGINS:
        span = slice(origin, origin + HORIZON)
        actual = panel.units[:, span]
        mean = np.nan_to_num(actual) * rng.uniform(0.5, 1.5, actual.shape) + 0.1
        forecast = Forecast(panel.dates[span], 0.7 * mean, mean, 1.3 * mean, mean)
        usable = (rng.random(actual.shape) < 0.9) & np.isfinite(actual)
        found.append(HeldOut(origin, forecast, actual, usable))
    return tuple(found)


def test_every_grouping_covers_every_usable_cell(panel: Panel) -> None:
    tested = {"one": held_out(panel, seed=1), "two": held_out(panel, seed=2)}
    frame = accuracy_slices(panel, tested)
    assert set(frame["by"]) == set(GROUPINGS)
    for model, helds in tested.items():
        cells = sum(int(held.usable.sum()) for held in helds)
        of_model = frame[frame["model"] == model].groupby("by")["cells"].sum()
        assert (of_model == cells).all()


def test_a_group_is_what_its_cells_add_up_to(panel: Panel) -> None:
    helds = held_out(panel, seed=1)
    frame = accuracy_slices(panel, {"one": helds}).set_index(["by", "level"])
    in_a = (panel.series["category"] == "a").to_numpy()
    second_week = np.arange(HORIZON) >= 7
    for (by, level), keep in (
        (("category", "a"), in_a[:, None] & np.ones(HORIZON, bool)),
        (("horizon", "week 2"), np.ones((8, 1), bool) & second_week),
    ):
        error = sum(np.abs(h.forecast.mean - h.actual)[h.usable & keep].sum() for h in helds)
        units = sum(h.actual[h.usable & keep].sum() for h in helds)
        inside = [
            ((h.actual >= h.forecast.q10) & (h.actual <= h.forecast.q90))[h.usable & keep]
            for h in helds
        ]
        row = frame.loc[(by, level)]
        assert row["wape"] == pytest.approx(error / units)
        assert row["coverage_80"] == pytest.approx(np.concatenate(inside).mean())
    assert ("category", "no category") in frame.index


def test_moves_and_cold_starts_are_told_apart(panel: Panel) -> None:
    origin = ORIGINS[0]
    price, units = panel.price.copy(), panel.units.copy()
    price[:, origin - 1] = 10.0
    price[:, origin:] = 10.0
    price[0, origin:], price[1, origin:] = 8.0, 10.5
    units[2, :origin] = 0.0
    units[3, : origin - 20] = 0.0
    units[3, origin - 20] = 5.0
    changed = replace(panel, price=price, units=units, on_sale=np.ones_like(panel.on_sale))
    held = held_out(changed, seed=1)[:1]
    frame = accuracy_slices(changed, {"one": held}).set_index(["by", "level"])
    rows = held[0].usable.sum(axis=1)
    assert frame.loc[("price_move", MOVE_NAMES[0]), "cells"] == rows[0]
    assert frame.loc[("price_move", MOVE_NAMES[3]), "cells"] == rows[1]
    assert frame.loc[("history", HISTORY_NAMES[0]), "cells"] == rows[2]
    assert frame.loc[("history", HISTORY_NAMES[1]), "cells"] >= rows[3]


def test_a_long_horizon_is_grouped_and_no_price_makes_no_band(panel: Panel) -> None:
    blank = replace(
        panel, price=np.full_like(panel.price, np.nan), regular_price=panel.price * np.nan
    )
    origin = 20
    span = slice(origin, 120)
    actual = panel.units[:, span]
    forecast = Forecast(panel.dates[span], actual, actual, actual, actual)
    held = HeldOut(origin, forecast, actual, np.isfinite(actual))
    frame = accuracy_slices(blank, {"one": (held,)})
    weeks = frame.loc[frame["by"] == "horizon", "level"].tolist()
    assert weeks[0] == "weeks 1 to 2" and weeks[-1] == "week 15" and len(weeks) == 8
    assert frame.loc[frame["by"] == "price_band", "level"].tolist() == ["no price known"]
    assert not (frame["by"] == "price_move").any()


def test_calibration_finds_the_planted_shares() -> None:
    """Uniform demand on (0, 100): quantiles of 10, 60 and 90 have shares of 10, 60 and 90 %."""
    actual = np.linspace(0.05, 99.95, 1000).reshape(10, 100)
    full = np.full_like(actual, 1.0)
    forecast = Forecast(np.arange(100), 10 * full, 60 * full, 90 * full, actual * 2)
    held = HeldOut(5, forecast, actual, np.ones_like(actual, dtype=bool))
    frame = calibration_table({"one": (held,)})
    shares = frame[frame["kind"] == "quantile"].set_index("level")["observed"]
    assert shares.to_dict() == pytest.approx({"q10": 0.1, "q50": 0.6, "q90": 0.9})
    means = frame[frame["kind"] == "mean"]
    assert len(means) == 10
    assert means["expected"].to_numpy() == pytest.approx(2 * means["observed"].to_numpy())


def test_a_tie_with_a_quantile_counts_half() -> None:
    zero = np.zeros((2, 4))
    forecast = Forecast(np.arange(4), zero, zero, zero + 1, zero)
    held = HeldOut(5, forecast, zero, np.ones_like(zero, dtype=bool))
    shares = calibration_table({"one": (held,)}).set_index("level")["observed"]
    assert shares["q10"] == 0.5 and shares["q90"] == 1.0


def test_nothing_usable_gives_no_row(panel: Panel) -> None:
    empty = tuple(replace(h, usable=np.zeros_like(h.usable)) for h in held_out(panel, seed=1))
    assert accuracy_slices(panel, {"one": empty}).empty
    assert calibration_table({"one": empty}).empty
