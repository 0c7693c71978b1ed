"""Sensitivity against published figures, planted leaks and planted breaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from panels import synthetic_panel
from scipy.stats import t as student

from pricing_assets.core.elasticity.estimate import default_regression
from pricing_assets.core.elasticity.sensitivity import (
    SENSITIVITY_COLUMNS,
    bounded_slope,
    common_slope,
    placebo,
    robustness_value,
    sensitivity_table,
)
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings


@pytest.fixture(scope="module")
def quiet() -> Panel:
    panel = synthetic_panel(30, 300, seed=5)
    return replace(panel, promo=np.zeros_like(panel.promo))


def verdicts(panel: Panel) -> dict[str, bool]:
    table = sensitivity_table(default_regression(panel, settings=PricingSettings()), drift=0.0)
    assert tuple(table.columns) == SENSITIVITY_COLUMNS
    assert table["value"].notna().all()
    return dict(zip(table["test"], table["passed"], strict=True))


def test_robustness_values_are_those_published_for_darfur() -> None:
    """Cinelli and Hazlett (2020), table 1: 13.9 % and 7.6 %, from 0.097 (0.023), 783 dof."""
    statistic = 0.0973158 / 0.0232559
    critical = float(student.ppf(0.975, 782))
    assert robustness_value(t=statistic, freedom=783) == pytest.approx(0.139, abs=5e-4)
    found = robustness_value(t=statistic, freedom=783, critical=critical)
    assert found == pytest.approx(0.076, abs=5e-4)
    assert robustness_value(t=1.0, freedom=783, critical=critical) == 0.0


def test_the_bound_is_the_one_published_for_darfur() -> None:
    """The same paper: a confounder as strong as 'female' leaves 0.0752 of 0.0973."""
    found = bounded_slope(
        slope=0.0973158, error=0.0232559, freedom=783, price_r2=0.0090811, demand_r2=0.10903
    )
    assert found == pytest.approx(0.0752, abs=2e-4)


def test_no_effect_of_future_prices_where_there_is_none(quiet: Panel) -> None:
    """Within four standard errors of zero, and all tests pass."""
    found = placebo(default_regression(quiet, settings=PricingSettings()))
    assert abs(found.value) < 4 * found.standard_error
    assert all(verdicts(quiet).values())


def test_a_planted_leak_of_future_prices_is_seen(quiet: Panel) -> None:
    """Buyers who wait for next week's price: demand rises with it."""
    later = np.concatenate([quiet.price[:, 7:], np.repeat(quiet.price[:, -1:], 7, axis=1)], axis=1)
    rng = np.random.default_rng(0)
    waiting = rng.poisson(quiet.units * (later / quiet.price) ** 1.5).astype(float)
    assert not verdicts(replace(quiet, units=waiting))["placebo_future_price"]


def test_a_planted_break_in_the_slope_is_seen(quiet: Panel) -> None:
    rng = np.random.default_rng(1)
    base = quiet.price / quiet.regular_price
    power = np.where(np.arange(300) < 150, 0.0, -3.0)
    broken = rng.poisson(quiet.units * base**power).astype(float)
    passed = verdicts(replace(quiet, units=broken))
    assert not passed["gap_between_halves"]


def test_common_slope_is_pooled_least_squares_with_clustered_errors() -> None:
    rng = np.random.default_rng(2)
    rows = rng.normal(0, 1, (12, 40, 3))
    rows[:, :, 0] += 2.0 * rows[:, :, 1] - rows[:, :, 2] + rng.normal(0, 0.5, (12, 1))
    found = common_slope(np.einsum("sni,snj->sij", rows, rows), position=1)
    flat = rows.reshape(-1, 3)
    fit = np.linalg.lstsq(flat[:, 1:], flat[:, 0], rcond=None)[0]
    bread = np.linalg.inv(flat[:, 1:].T @ flat[:, 1:])
    rest = rows[:, :, 0] - rows[:, :, 1:] @ fit
    score = np.einsum("sni,sn->si", rows[:, :, 1:], rest)
    covariance = bread @ (score.T @ score) @ bread * 12 / 11
    assert found.value == pytest.approx(fit[0], rel=1e-6)
    assert found.standard_error == pytest.approx(np.sqrt(covariance[0, 0]), rel=1e-6)


def test_a_panel_that_says_nothing_passes_with_nothing_known() -> None:
    panel = synthetic_panel(2, 30, seed=1)
    flat = np.ones_like(panel.price)
    still = replace(panel, price=flat, regular_price=flat, promo=0 * flat, rival_price=flat)
    regression = default_regression(still, settings=PricingSettings())
    table = sensitivity_table(regression, drift=0.0)
    assert table["passed"].all()
