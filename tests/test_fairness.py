"""Fairness: gaps with honest intervals, exposure of zones, and no personal data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.evaluation.fairness import (
    Gap,
    fairness_frame,
    group_gaps,
    personal_features,
    proxy_exposures,
    with_groups,
)
from pricing_assets.core.forecast.design import feature_names
from pricing_assets.core.promotion import Gate
from pricing_assets.core.promotion_evidence import fairness_gates
from pricing_assets.core.settings import GateParameters
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS, ONLINE_FEATURES


def market(
    *, products: int = 12, stores: int = 12, dearer: float = 0.0, moved: float = 0.0
) -> pd.DataFrame:
    """Half of the stores in each zone; zone north pays ``dearer`` more, and moves by ``moved``."""
    rng = np.random.default_rng(1)
    grid = pd.MultiIndex.from_product(
        [[f"P{i}" for i in range(products)], [f"S{j}" for j in range(stores)]],
        names=["product_id", "store_id"],
    ).to_frame(index=False)
    north = grid["store_id"].str[1:].astype(int) % 2 == 0
    base = 5.0 + grid["product_id"].str[1:].astype(int)
    noise = np.exp(rng.normal(0, 0.01, len(grid)))
    jitter = np.exp(rng.normal(0, 0.01, len(grid)))
    price = base * noise * np.where(north, 1 + dearer, 1.0)
    table = grid.assign(
        segment="",
        recommended_price=price,
        current_price=price * jitter / np.where(north, 1 + moved, 1.0),
        unit_cost=0.6 * base,
    )
    places = pd.DataFrame(
        {
            "store_id": [f"S{j}" for j in range(stores)],
            "zone": ["north" if j % 2 == 0 else "south" for j in range(stores)],
            "segment": ["city"] * stores,
        }
    )
    return with_groups(table, places)


def gates(frame: pd.DataFrame) -> dict[str, Gate]:
    rows = fairness_frame(group_gaps(frame), proxy_exposures(frame, seed=1, draws=199))
    return {gate.name: gate for gate in fairness_gates(rows, parameters=GateParameters())}


def test_an_even_market_passes() -> None:
    found = gates(market())
    assert all(gate.passed and gate.measured for gate in found.values())
    assert found["price_gap"].value < 0.02


def test_a_planted_gap_is_measured_and_closes_the_gate() -> None:
    frame = market(dearer=0.4)
    north = next(gap for gap in group_gaps(frame) if (gap.measure, gap.group) == ("price", "north"))
    assert north.gap == pytest.approx(0.4, abs=0.02)
    assert north.low_90 < 0.4 < north.high_90
    found = gates(frame)
    assert not found["price_gap"].passed
    assert not found["margin_gap"].passed
    assert "zone north: +4" in found["price_gap"].why or "zone south: -2" in found["price_gap"].why


def test_the_interval_covers_the_true_gap_as_often_as_it_says() -> None:
    """400 zones with the same four products and no true gap: 90 %, less 4.5 and plus 4.5."""
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {
            "product_id": np.tile([f"P{i}" for i in range(4)], 400),
            "zone": np.repeat([f"Z{i}" for i in range(400)], 4),
            "segment": "",
            "recommended_price": np.exp(rng.normal(0.0, 0.1, 1600)),
            "unit_cost": np.nan,
        }
    )
    inside = [gap.low_90 <= 0 <= gap.high_90 for gap in group_gaps(frame)]
    assert len(inside) == 400
    assert 0.855 <= np.mean(inside) <= 0.945


def test_two_products_say_nothing_for_certain() -> None:
    found = gates(market(products=2, stores=2, dearer=0.6))
    assert found["price_gap"].passed
    assert found["price_gap"].value == 0.0
    assert "too few" in found["price_gap"].why
    assert not found["proxy_exposure"].measured


def test_a_gap_is_counted_from_its_end_nearer_to_zero() -> None:
    assert Gap("price", "zone", "a", 0.3, 0.1, 0.5, 9).certain == 0.1
    assert Gap("price", "zone", "a", -0.3, -0.5, -0.1, 9).certain == 0.1
    assert Gap("price", "zone", "a", 0.1, -0.1, 0.3, 9).certain == 0.0


def test_price_changes_that_follow_the_zone_close_the_gate() -> None:
    found = gates(market(moved=0.1))
    assert found["proxy_exposure"].value > 0.9
    assert not found["proxy_exposure"].passed


def test_one_store_has_no_groups_and_is_said_to_be_unmeasured() -> None:
    frame = market(stores=1)
    for gate in gates(frame).values():
        assert gate.passed and not gate.measured and gate.why


def test_a_segment_of_the_table_goes_before_the_stores() -> None:
    table = pd.DataFrame(
        {
            "product_id": ["A", "A"],
            "store_id": ["S", "S"],
            "segment": ["student", ""],
            "recommended_price": [1.0, 1.0],
        }
    )
    stores = pd.DataFrame({"store_id": ["S"], "zone": ["z"], "segment": ["city"]})
    assert with_groups(table, stores)["segment"].tolist() == ["student", "city"]


def test_the_features_in_use_hold_nothing_personal() -> None:
    assert personal_features((*feature_names(), *DEMAND_CURVE_COLUMNS, *ONLINE_FEATURES)) == ()


@pytest.mark.parametrize(
    "name", ["customer_id", "CustomerAge", "zip_code", "home_postcode", "gender", "user-name"]
)
def test_what_points_at_a_person_is_named(name: str) -> None:
    assert personal_features(["package_size", "average_price", name]) == (name,)
