"""What chosen prices bring: the compiled outcome is NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.price_outcome import price_outcome
from pricing_assets.core.price_outcome_cpu import compiled_outcome
from pricing_assets.core.unit_worth import UnitWorth


@pytest.mark.parametrize("stock", [0.0, 1.0])
def test_the_compiled_outcome_is_the_reference_s(stock: float) -> None:
    """To 1e-9, and the interval to what float32 keeps of a profit."""
    rng, n = np.random.default_rng(4), 1500
    baseline = np.round(rng.lognormal(3, 0.8, n) + 1, 2)
    price = np.where(
        rng.random(n) < 0.2, baseline, np.round(baseline * rng.uniform(0.8, 1.2, n), 2)
    )
    curves = DemandCurves(
        reference_price=baseline * rng.uniform(0.9, 1.1, n),
        reference_units=rng.lognormal(3, 1, n) * (rng.random(n) < 0.95),
        reference_units_cv=rng.uniform(0, 0.5, n) * (rng.random(n) < 0.9),
        elasticity_mean=rng.uniform(-4, -1, n),
        elasticity_sd=rng.uniform(0, 0.6, n),
        curvature=rng.choice([0.0, 0.5, 1.0], n),
    )
    cost = baseline * rng.uniform(0.3, 1.1, n)
    given = {
        "price": price,
        "baseline": baseline,
        "worth": UnitWorth(np.ones(n), cost),
        "unit_cost": np.where(rng.random(n) < 0.1, np.nan, cost),
        "available": np.where(rng.random(n) < stock, rng.integers(0, 90, n), np.inf),
    }
    expected, found = price_outcome(curves, **given), compiled_outcome(curves, **given)
    for name in ("units", "baseline_units"):
        np.testing.assert_allclose(
            getattr(found, name), getattr(expected, name), rtol=1e-9, atol=1e-12
        )
    np.testing.assert_allclose(found.p_worse, expected.p_worse, atol=2e-8)
    margin = np.maximum(np.abs(price - cost), np.abs(baseline - cost))
    scale = margin * np.maximum(expected.units, expected.baseline_units) + 1e-9
    for name in ("low", "high"):
        wrong = np.abs(getattr(found, name) - getattr(expected, name))
        assert (wrong <= 2e-5 * scale).all()
