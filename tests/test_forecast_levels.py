"""Demand level, weekday index and de-censored demand, against known truths."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from panels import WEEKDAY_FACTORS, synthetic_panel

from pricing_assets.core.forecast.levels import (
    censored_expectation,
    demand_dispersion,
    pooled_level,
    trace_levels,
    weekday,
)


def test_weekday_is_monday_first() -> None:
    dates = np.array(["2023-01-02", "2023-01-08"], dtype="datetime64[D]")
    assert weekday(dates).tolist() == [0, 6]


def test_weekday_index_is_recovered() -> None:
    panel = synthetic_panel(20, 364, 3)
    state = trace_levels(panel, [364]).states[364]
    truth = np.asarray(WEEKDAY_FACTORS) / np.mean(WEEKDAY_FACTORS)
    assert np.abs(state.weekday_index.mean(axis=0) - truth).max() < 0.05


def test_state_at_an_origin_ignores_what_follows() -> None:
    panel = synthetic_panel(6, 200, 1)
    changed = panel.units.copy()
    changed[:, 150:] = 1000.0
    early = trace_levels(panel, [150]).states[150]
    other = trace_levels(replace(panel, units=changed), [150, 200]).states[150]
    assert np.array_equal(other.ladder, early.ladder)
    assert np.array_equal(other.weekday_index, early.weekday_index)
    assert np.array_equal(trace_levels(panel.until(150), [150]).states[150].ladder, early.ladder)


@pytest.mark.parametrize("sold", [0.0, 3.0, 12.0])
def test_censored_expectation_matches_simulation(sold: float) -> None:
    mean, dispersion = 6.0, 0.3
    rng = np.random.default_rng(0)
    size = 1 / dispersion
    draws = rng.negative_binomial(size, size / (size + mean), 400_000)
    expected = draws[draws >= sold].mean()
    value = censored_expectation(
        sold=np.array([sold]), mean=np.array([mean]), dispersion=dispersion
    )
    # 400,000 draws of sd 4.2: standard error 0.007 of all, about 0.03 of the tail above 12.
    assert value[0] == pytest.approx(expected, abs=0.12)


def test_an_emptied_shelf_does_not_read_as_low_demand() -> None:
    panel = synthetic_panel(30, 300, 5, censored_share=0.25)
    free = synthetic_panel(30, 300, 5)
    level = trace_levels(panel, [300]).states[300].level
    naive = trace_levels(replace(panel, censored=np.zeros_like(panel.censored)), [300])
    truth = trace_levels(free, [300]).states[300].level
    corrected = abs(np.log(level / truth).mean())
    uncorrected = abs(np.log(naive.states[300].level / truth).mean())
    assert corrected < 0.5 * uncorrected


def test_dispersion_of_poisson_is_small() -> None:
    panel = synthetic_panel(40, 280, 2)
    # Promotions and weekdays inside a block add to the Poisson's zero.
    assert 0.02 <= demand_dispersion(panel) < 0.25


def test_a_new_series_takes_its_level_from_its_likes() -> None:
    level = np.array([10.0, 20.0, 0.0, 500.0])
    count = np.array([100.0, 100.0, 0.0, 100.0])
    group = np.array([0, 0, 0, 1])
    pooled = pooled_level(level, count=count, prior=5.0, group=group)
    assert pooled == pytest.approx([10.0, 20.0, 15.0, 500.0])


def test_without_any_sale_the_level_is_finite() -> None:
    pooled = pooled_level(np.zeros(2), count=np.zeros(2), prior=5.0, group=np.array([0, 1]))
    assert np.isfinite(pooled).all() and (pooled > 0).all()
