"""The curvature of demand: weights of the candidates, and the shape found in a known market."""

from __future__ import annotations

import numpy as np

from pricing_assets.core.elasticity.curvature import (
    category_curvature,
    curvature_weights,
    known_curvature,
)
from pricing_assets.core.elasticity.sensitivity import Regression

CANDIDATES = (0.0, 0.5, 1.0, 1.5)


def _regression(shape: np.ndarray, *, noise: float) -> Regression:
    """Series with elasticity -2 at the current price whose response has the shape (S,)."""
    rng = np.random.default_rng(3)
    log_price = rng.normal(0, 0.25, (len(shape), 300))
    safe = np.where(shape[:, None] == 0, 1.0, shape[:, None])
    step = np.where(shape[:, None] == 0, log_price, np.expm1(safe * log_price) / safe)
    outcome = -2.0 * step + rng.normal(0, noise, log_price.shape)
    return Regression(
        outcome=outcome,
        variance=np.full(log_price.shape, noise**2),
        log_price=log_price,
        names=(),
        columns=np.zeros((0, *log_price.shape)),
        level_variance=1e-6,
        period_days=1,
    )


def test_each_category_has_the_shape_it_was_drawn_with() -> None:
    category = np.repeat(np.arange(6), 4)
    truth = np.where(category % 2 == 0, 0.0, 1.0)
    found = category_curvature(_regression(truth, noise=0.2), category=category, tried=CANDIDATES)
    # Candidates are half a unit apart: with noise this small each weight is on the true one.
    assert np.abs(found.value - truth).max() < 0.1
    assert found.slope_sd.max() < 0.05


def test_an_open_shape_widens_the_slope() -> None:
    category = np.zeros(4, dtype=np.int64)
    truth = np.full(4, 0.5)
    sharp = category_curvature(_regression(truth, noise=0.2), category=category, tried=CANDIDATES)
    vague = category_curvature(_regression(truth, noise=6.0), category=category, tried=CANDIDATES)
    assert vague.slope_sd.mean() > 5 * max(sharp.slope_sd.mean(), 1e-6)
    assert 0.0 < vague.value[0] < 1.5


def test_a_category_that_says_nothing_takes_the_shape_of_the_others() -> None:
    told = np.tile([0.0, -20.0, -40.0], (9, 1))
    weight = curvature_weights(np.vstack([told, np.zeros((1, 3))]))
    np.testing.assert_allclose(weight.sum(axis=1), 1.0)
    assert weight[-1, 0] > 0.9


def test_a_shape_that_is_given_is_certain() -> None:
    given = known_curvature(1.0, series=3)
    np.testing.assert_array_equal(given.value, 1.0)
    np.testing.assert_array_equal(given.slope_sd, 0.0)
