"""Each measure against a value computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pricing_assets.core.forecast import metrics
from pricing_assets.core.forecast.interface import Forecast

ACTUAL = np.array([[2.0, 0.0, 4.0], [10.0, np.nan, 6.0]])
FORECAST = np.array([[1.0, 1.0, 4.0], [12.0, 5.0, 3.0]])
USABLE = np.isfinite(ACTUAL)


def test_mae_wape_and_bias_skip_the_unusable_cell() -> None:
    # errors -1, 1, 0, 2, -3; actual sum 22
    assert metrics.mae(ACTUAL, FORECAST, USABLE) == pytest.approx(7 / 5)
    assert metrics.wape(ACTUAL, FORECAST, USABLE) == pytest.approx(7 / 22)
    assert metrics.bias(ACTUAL, FORECAST, USABLE) == pytest.approx(-1 / 22)


def test_log_measures() -> None:
    usable = np.array([[True, True, False], [False, False, False]])
    # log(1/2) and, with half a unit for none, log(1/0.5)
    assert metrics.rmse_log(ACTUAL, FORECAST, usable) == pytest.approx(math.log(2))
    expected = math.sqrt((math.log(2 / 3) ** 2 + math.log(2) ** 2) / 2)
    assert metrics.rmsle(ACTUAL, FORECAST, usable) == pytest.approx(expected)


def test_mape_leaves_out_cells_without_a_sale() -> None:
    assert metrics.mape(ACTUAL, FORECAST, USABLE) == pytest.approx((0.5 + 0 + 0.2 + 0.5) / 4)


def test_pinball_weighs_the_two_sides() -> None:
    # gaps y - q: 1, -1, 0, -2, 3
    low = metrics.pinball(ACTUAL, FORECAST, USABLE, probability=0.1)
    assert low == pytest.approx((0.1 * (1 + 3) + 0.9 * (1 + 2)) / 5)
    middle = metrics.pinball(ACTUAL, FORECAST, USABLE, probability=0.5)
    assert middle == pytest.approx(0.5 * metrics.mae(ACTUAL, FORECAST, USABLE))


def test_coverage_counts_the_ends() -> None:
    low = np.array([[2.0, 1.0, 0.0], [11.0, 0.0, 0.0]])
    high = np.array([[3.0, 2.0, 4.0], [12.0, 9.0, 9.0]])
    assert metrics.coverage(ACTUAL, low, high, USABLE) == pytest.approx(3 / 5)


def test_naive_scale_starts_at_the_first_sale_and_skips_gaps() -> None:
    history = np.array([[0.0, 0.0, 2.0, 4.0, 3.0], [1.0, np.nan, 5.0, 8.0, 8.0], [0.0] * 5])
    scale = metrics.naive_scale(history)
    assert scale[0] == pytest.approx((4 + 1) / 2)
    assert scale[1] == pytest.approx((9 + 0) / 2)
    assert np.isnan(scale[2])


def test_rmsse_is_a_weighted_mean_over_series() -> None:
    scale = np.array([2.0, 4.0])
    first = math.sqrt((1 + 1 + 0) / 3 / 2)
    second = math.sqrt((4 + 9) / 2 / 4)
    plain = metrics.rmsse(ACTUAL, FORECAST, USABLE, scale=scale)
    assert plain == pytest.approx((first + second) / 2)
    weights = np.array([3.0, 1.0])
    weighted = metrics.rmsse(ACTUAL, FORECAST, USABLE, scale=scale, weights=weights)
    assert weighted == pytest.approx((3 * first + second) / 4)


def test_rmsse_leaves_out_a_series_without_a_scale() -> None:
    scale = np.array([2.0, np.nan])
    value = metrics.rmsse(ACTUAL, FORECAST, USABLE, scale=scale)
    assert value == pytest.approx(math.sqrt(2 / 3 / 2))


def test_no_usable_cell_is_nan_and_never_zero() -> None:
    none = np.zeros_like(USABLE)
    forecast = Forecast(np.zeros(3, "datetime64[D]"), FORECAST, FORECAST, FORECAST, FORECAST)
    values = metrics.forecast_metrics(ACTUAL, forecast, none, scale=np.ones(2))
    assert tuple(values) == metrics.METRICS
    assert all(math.isnan(value) for value in values.values())
