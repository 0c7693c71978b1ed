"""The demand curve: moments, quantiles and draws of one posterior, and the edge of the support."""

from __future__ import annotations

import numpy as np
import pytest

from pricing_assets.core.demand import DemandCurves, is_extrapolation

COUNT = 40_000
CURVES = DemandCurves(
    reference_price=np.array([10.0, 4.0, 20.0, 5.0]),
    reference_units=np.array([100.0, 3.0, 40.0, 0.0]),
    reference_units_cv=np.array([0.2, 0.5, 0.0, 0.3]),
    elasticity_mean=np.array([-2.0, -1.2, -3.0, -1.0]),
    elasticity_sd=np.array([0.3, 0.6, 0.0, 0.1]),
    curvature=np.array([0.0, 1.0, 0.5, 0.0]),
)
PRICES = CURVES.reference_price[:, None] * np.array([0.7, 1.0, 1.25])


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    return CURVES.draws(PRICES, count=COUNT, rng=np.random.default_rng(5))


def test_draws_have_the_mean_of_the_closed_form(draws: np.ndarray) -> None:
    """Five standard errors of the mean of the draws themselves."""
    error = draws.std(axis=-1) / np.sqrt(COUNT)
    np.testing.assert_array_less(
        np.abs(draws.mean(axis=-1) - CURVES.expected_units(PRICES)), 5 * error + 1e-9
    )


@pytest.mark.parametrize("probability", [0.05, 0.5, 0.95])
def test_draws_have_the_quantiles_of_the_closed_form(draws: np.ndarray, probability: float) -> None:
    """A share of COUNT draws has a standard error of at most 0.0025; ties where nothing varies."""
    below = (draws <= CURVES.units_quantile(PRICES, probability)[..., None] * (1 + 1e-12)).mean(-1)
    varies = draws.std(axis=-1) > 1e-9
    np.testing.assert_allclose(below[varies], probability, atol=0.0125)


def test_one_draw_is_one_curve(draws: np.ndarray) -> None:
    """Level and elasticity are shared by a row's prices: every drawn curve of row 2 is its own."""
    ratio = np.log(draws[0, 2] / draws[0, 1]) / np.log(1.25)
    assert ratio.mean() == pytest.approx(-2.0, abs=0.01)
    assert ratio.std() == pytest.approx(0.3, abs=0.01)
    assert np.corrcoef(np.log(draws[0, 1]), ratio)[0, 1] == pytest.approx(0.0, abs=0.03)
    np.testing.assert_allclose(draws[2].std(axis=-1), 0.0, atol=1e-9)
    np.testing.assert_array_equal(draws[3], 0.0)


def test_draws_of_one_price_a_row_are_the_column_of_many(draws: np.ndarray) -> None:
    again = CURVES.draws(PRICES[:, 2], count=COUNT, rng=np.random.default_rng(5))
    assert again.shape == (4, COUNT)
    np.testing.assert_allclose(again, draws[:, 2])


def test_a_mean_lies_between_its_quantiles_and_demand_falls() -> None:
    low, high = (CURVES.units_quantile(PRICES, probability) for probability in (0.05, 0.95))
    mean = CURVES.expected_units(PRICES)
    assert ((low <= mean + 1e-9) & (mean <= high + 1e-9)).all()
    assert (np.diff(mean[:3], axis=1) < 0).all()


def test_prices_beyond_those_seen_are_extrapolation() -> None:
    low, high = np.array([9.0, 9.0, np.nan]), np.array([11.0, 11.0, 11.0])
    price = np.array([[9.0, 11.0, 8.99], [11.01, 10.0, np.nan], [10.0, 10.0, 10.0]])
    expected = [[False, False, True], [True, False, True], [True, True, True]]
    found = is_extrapolation(price, support_low=low, support_high=high)
    np.testing.assert_array_equal(found, expected)
    single = is_extrapolation(price[:, 0], support_low=low, support_high=high)
    np.testing.assert_array_equal(single, [False, True, True])
