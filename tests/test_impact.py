"""The impact page's numbers: predictions against sales of a known demand, prices, stock."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.evaluation.impact import impact_numbers, stock_cover, weekly
from pricing_assets.core.evaluation.predicted_actual import PublishedCurves, compare_predicted
from pricing_assets.core.panel import Panel
from tests.panels import ELASTICITY, WEEKDAY_FACTORS, synthetic_panel

SERIES, PERIODS, START = 30, 140, 112


def quiet_panel(seed: int = 1, *, level: float = 1.0, noise: bool = False) -> Panel:
    """Units exactly as the curves below say, but for Poisson noise and a changed level."""
    panel = synthetic_panel(SERIES, PERIODS, seed, noise=False)
    weekday = np.array(WEEKDAY_FACTORS)[(panel.dates.astype(np.int64) + 3) % 7]
    reference = panel.regular_price[:, :1]
    units = 20.0 * (panel.price / reference) ** ELASTICITY * weekday * level
    if noise:
        units = np.random.default_rng(seed).poisson(units).astype(float)
    return replace(panel, units=units, censored=np.zeros(units.shape, dtype=bool))


def published(
    panel: Panel, *, start: int = START, version: str = "000001-aaaaaaaa"
) -> PublishedCurves:
    week = np.array(WEEKDAY_FACTORS)
    rows = pd.DataFrame(
        {
            "product_id": panel.series["product_id"],
            "store_id": panel.series["store_id"],
            "reference_price": panel.regular_price[:, 0],
            "reference_units": 20.0 * 28,
            "reference_units_cv": 0.0,
            "elasticity_mean": ELASTICITY,
            "elasticity_sd": 0.0,
            "curvature": 0.0,
            "promo_lift": 1.0,
            "weekday_index": [week.tolist()] * len(panel.series),
            "recommended_price": panel.price[:, start],
        }
    )
    return PublishedCurves(version, panel.dates[start], 28, rows)


def test_true_curves_predict_what_is_sold() -> None:
    panel = quiet_panel()
    found = compare_predicted(panel, [published(panel)], seed=1).overall
    assert found is not None
    for measure in (found.units, found.revenue, found.profit):
        assert measure.ratio == pytest.approx(1, abs=1e-9)
        assert measure.low_90 == pytest.approx(1) and measure.high_90 == pytest.approx(1)
    assert found.periods == 28 and found.products == SERIES and found.left_out == 0
    assert found.resampled == "products and weeks"


def test_demand_that_changed_shows_as_its_ratio_with_an_interval_around_it() -> None:
    panel = quiet_panel(level=0.7, noise=True)
    found = compare_predicted(panel, [published(panel)], seed=1).overall
    assert found is not None
    assert found.units.ratio == pytest.approx(0.7, abs=0.02)
    assert found.units.low_90 < found.units.ratio < found.units.high_90 < 0.75


def test_the_interval_covers_the_true_ratio_about_as_often_as_it_says() -> None:
    """Poisson noise and a level of each product's own: products are what is resampled."""
    hits = 0
    for seed in range(40):
        panel = quiet_panel(seed, noise=True)
        own = np.random.default_rng(seed).lognormal(0, 0.3, (SERIES, 1))
        panel = replace(panel, units=panel.units * own / np.exp(0.3**2 / 2))
        found = compare_predicted(panel, [published(panel)], seed=seed).overall
        assert found is not None
        hits += found.units.low_90 <= 1 <= found.units.high_90
    assert hits >= 30  # 36 expected; the percentile interval of 30 products is a bit narrow


def test_an_emptied_shelf_is_left_out_of_both_sides() -> None:
    panel = quiet_panel()
    short = np.zeros(panel.units.shape, dtype=bool)
    short[::2, START:] = True
    panel = replace(panel, censored=short, units=np.where(short, panel.units * 0.2, panel.units))
    found = compare_predicted(panel, [published(panel)], seed=1).overall
    assert found is not None
    assert found.left_out == pytest.approx(0.5)
    assert found.units.ratio == pytest.approx(1, abs=1e-9)


def test_a_table_is_judged_until_the_next_one_and_within_its_horizon() -> None:
    panel = quiet_panel()
    tables = [
        published(panel, start=70),
        published(panel, start=112, version="000002-bbbbbbbb"),
        published(panel, start=112, version="000003-cccccccc"),
        published(panel, start=119, version="000004-dddddddd"),
    ]
    found = compare_predicted(panel, tables, seed=1)
    judged = {one.version[:6]: one.periods for one in found.tables}
    assert judged == {"000004": 21, "000003": 7, "000001": 28}
    assert found.overall is not None and found.overall.periods == 56 == len(found.days)
    assert found.days["predicted_units"].sum() == pytest.approx(found.overall.units.predicted)


def test_what_was_sold_at_the_recommended_price_is_said() -> None:
    panel = quiet_panel()
    table = published(panel)
    paid = panel.price.copy()
    paid[:, START:] = table.rows["recommended_price"].to_numpy()[:, None]
    assert _adopted(replace(panel, price=paid), table) == pytest.approx(1)
    assert _adopted(replace(panel, price=paid + 0.5), table) == 0


def _adopted(panel: Panel, table: PublishedCurves) -> float:
    found = compare_predicted(panel, [table], seed=1).overall
    assert found is not None
    return found.adopted


def test_no_day_since_publication_is_no_comparison() -> None:
    panel = quiet_panel()
    later = replace(published(panel), start=panel.dates[-1] + np.timedelta64(1, "D"))
    found = compare_predicted(panel, [later], seed=1)
    assert found.overall is None and found.tables == () and found.days.empty


def test_a_weekly_panel_is_predicted_by_the_week() -> None:
    panel = synthetic_panel(SERIES, 60, 3, weekly=True, noise=False)
    reference = panel.regular_price[:, :1]
    units = 7 * 20.0 * (panel.price / reference) ** ELASTICITY
    panel = replace(panel, units=units, censored=np.zeros(units.shape, dtype=bool))
    found = compare_predicted(panel, [published(panel, start=55)], seed=1).overall
    assert found is not None and found.periods == 4
    assert found.units.ratio == pytest.approx(1, abs=1e-9)


def test_the_weeks_add_up_and_the_price_index_is_the_weighted_gap() -> None:
    panel = replace(quiet_panel(), rival_price=quiet_panel().price / 1.1)
    found = weekly(panel, seed=1)
    assert len(found) == PERIODS // 7
    assert found["units"].sum() == pytest.approx(panel.units.sum())
    assert found["revenue"].sum() == pytest.approx((panel.units * panel.price).sum())
    profit = (panel.units * (panel.price - panel.unit_cost)).sum()
    assert found["profit"].sum() == pytest.approx(profit)
    for name in ("price_index", "price_index_low_90", "price_index_high_90"):
        assert found[name].to_numpy() == pytest.approx(1.1)


def test_what_is_not_known_is_not_a_number() -> None:
    panel = quiet_panel()
    unknown = np.full(panel.units.shape, np.nan)
    panel = replace(panel, unit_cost=unknown, rival_price=unknown, on_hand=unknown)
    numbers = impact_numbers(panel, [published(panel)], cover_days=7, seed=1)
    assert set(numbers["weeks"]["profit"]) == {None} == set(numbers["weeks"]["price_index"])
    assert numbers["cover"]["median"] is None and numbers["cover"]["products"] == 0
    assert numbers["predicted_actual"]["overall"]["profit"]["ratio"] is None
    json.dumps(numbers, allow_nan=False)


def test_stock_cover_counts_the_days_that_stock_lasts() -> None:
    panel = quiet_panel()
    stock = np.full(panel.units.shape, np.nan)
    rate = panel.units[:, -28:].mean(axis=1)
    stock[:, -1] = rate * np.where(np.arange(SERIES) < 10, 3.0, 20.0)
    stock[0, -1] = 0.0
    found = stock_cover(replace(panel, on_hand=stock), cover_days=7)
    assert found.products == SERIES and found.median == pytest.approx(20)
    assert found.below == pytest.approx(1 / 3) and found.empty == pytest.approx(1 / SERIES)


def test_real_and_simulated_data_are_told_apart() -> None:
    panel = quiet_panel()
    real = impact_numbers(panel, [], cover_days=7, seed=1)
    simulated = impact_numbers(panel, [], cover_days=7, seed=1, truth={"regret": 0.1})
    assert not real["simulated"] and "None of it is a profit uplift" in real["claim"]
    assert simulated["simulated"] and "simulated market" in simulated["claim"]
