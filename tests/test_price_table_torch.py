"""The torch search against the NumPy reference, on every device of this machine."""

import numpy as np
import pandas as pd
import pytest
import torch

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.price_parameters import GuardRailParameters, PriceTableParameters
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.price_table_torch import (
    available_devices,
    pick_device,
    torch_chooser,
)
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS

KEPT = ["product_id", "recommended_price", "decision", "expected_profit", "p_worse", "reasons"]


def catalogue(n: int, *, seed: int = 1) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Products of every kind: substitutes and none, stock and none, unknown and absurd costs."""
    generator = np.random.default_rng(seed)
    price = generator.uniform(1, 80, n).round(2)
    cost = price * generator.uniform(0.2, 1.1, n)
    cost[generator.random(n) < 0.02] = np.nan
    cost[generator.random(n) < 0.01] = -1
    names = [f"P{i}" for i in range(n)]
    curves = pd.DataFrame(
        {
            "product_id": names,
            "store_id": "",
            "category": [f"C{i % (n // 20 + 1)}" for i in range(n)],
            "reference_price": price,
            "reference_units": generator.lognormal(3, 1, n),
            "reference_units_cv": generator.uniform(0, 0.5, n),
            "elasticity_mean": generator.uniform(-4, -0.5, n),
            "elasticity_sd": generator.uniform(0.01, 0.8, n),
            "curvature": generator.choice([0.0, 0.4, 1.0], n),
            "rival_elasticity": 0.0,
            "cross_elasticity": np.where(generator.random(n) < 0.5, 0.02, 0.0),
            "reference_rival_price": np.nan,
            "promo_lift": 1.0,
            "unit_cost": np.nan,
            "map_price": np.nan,
            "support_low": price * 0.9,
            "support_high": price * 1.1,
            "observations": 300,
        }
    )
    curves["weekday_index"] = [[1.0] * 7] * n
    curves.loc[curves.index[::97], "elasticity_mean"] = np.nan
    facts = pd.DataFrame(
        {
            "product_id": names,
            "store_id": "",
            "current_price": price,
            "unit_cost": cost,
            "map_price": np.where(generator.random(n) < 0.1, price * 0.95, np.nan),
            "on_hand": generator.integers(0, 60, n),
            "replenished": generator.random(n) < 0.7,
        }
    )
    return curves[list(DEMAND_CURVE_COLUMNS)], facts


@pytest.mark.parametrize("device", available_devices())
@pytest.mark.parametrize("objective", ["profit", "revenue", "market_share"])
@pytest.mark.parametrize("ending", ["none", "99"])
def test_prices_are_the_references(device, objective, ending) -> None:
    """Double precision on both sides: only ties in the last bit may differ (below 0.1 %)."""
    curves, facts = catalogue(1500)
    parameters = PricingSettings(
        objective=objective, guardrails=GuardRailParameters(price_ending=ending)
    )
    expected = build_price_table(curves, panel_facts=facts, settings=parameters)
    found = build_price_table(
        curves, panel_facts=facts, settings=parameters, chooser=torch_chooser(device)
    )
    same = (expected["recommended_price"] == found["recommended_price"]).to_numpy()
    assert same.mean() >= (0.999 if device != "mps" else 0.99)
    pd.testing.assert_frame_equal(expected.loc[same, KEPT], found.loc[same, KEPT], rtol=1e-4)


def test_auto_takes_the_fastest_device_and_a_missing_one_is_an_error() -> None:
    assert pick_device("auto") == torch.device(available_devices()[0])
    assert available_devices()[-1] == "cpu"
    missing = next(name for name in ("cuda", "mps", "tpu") if name not in available_devices())
    with pytest.raises(InvalidSettingError, match=f"'{missing}' is not on this machine"):
        pick_device(missing)


def test_an_empty_catalogue_and_one_product() -> None:
    curves, facts = catalogue(1)
    chooser = torch_chooser("cpu")
    few = PricingSettings(objective="revenue", price_table=PriceTableParameters(candidates=8))
    for rows in (0, 1):
        table = build_price_table(
            curves[:rows], panel_facts=facts[:rows], settings=few, chooser=chooser
        )
        assert len(table) == rows
