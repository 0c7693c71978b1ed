"""The Python face gives what the service gives, and the batch what the price table gives."""

from __future__ import annotations

import doctest
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pricing_assets import engine as engine_module
from pricing_assets.core.errors import (
    InputError,
    InvalidSettingError,
    MissingColumnError,
    MissingCostError,
    NotPublishedError,
    UnknownProductError,
)
from pricing_assets.core.price_table_torch import available_devices
from pricing_assets.core.settings import PricingSettings
from pricing_assets.engine import BatchPriceOptimizer, DynamicPricingEngine
from serving.home import Home
from serving.price_store import PriceStore
from tests.published_tables import curve_table, price_table, stamps

CURVES = curve_table(10)


def publish(home: Path, factor: float = 1.05) -> str:
    now = datetime.now(UTC)
    store = PriceStore(Home.at(home).tables)
    prices = price_table(CURVES, factor=factor)
    return store.publish(
        prices=prices, curves=CURVES, stamps=stamps(now=now), now=now
    ).table_version


@pytest.fixture
def engine(home: Path) -> DynamicPricingEngine:
    publish(home)
    return DynamicPricingEngine.from_home(home)


def test_without_a_table_the_engine_says_so(home: Path) -> None:
    with pytest.raises(NotPublishedError, match="pricing run"):
        DynamicPricingEngine.from_home(home)


def test_the_published_price_comes_exactly(engine: DynamicPricingEngine) -> None:
    expected = price_table(CURVES)["recommended_price"][3].as_py()
    answer = engine.get_optimal_price(product_id="SKU-3")
    assert answer.recommended_price == expected
    assert answer.source == "table"
    assert answer.table_version == engine.table_version


def test_the_contract_s_call_answers(engine: DynamicPricingEngine) -> None:
    current = CURVES["reference_price"][3].as_py()
    answer = engine.get_optimal_price(
        product_id="SKU-3",
        current_price=current,
        inventory_level=150,
        competitor_prices=[current * 0.96, current * 1.03],
        demand_forecast=1200,
    )
    assert answer.source == "live"
    assert answer.price_floor <= answer.recommended_price <= answer.price_ceiling
    assert answer.expected_units is not None


def test_a_higher_forecast_under_a_stock_never_lowers_the_price(
    engine: DynamicPricingEngine,
) -> None:
    prices = [
        engine.get_optimal_price(
            product_id="SKU-3", inventory_level=np.int64(40), demand_forecast=units
        ).recommended_price
        for units in (50, 150, 400, 2000)
    ]
    assert prices == sorted(prices)
    assert prices[-1] > prices[0]


def test_arguments_are_checked_by_name(engine: DynamicPricingEngine) -> None:
    with pytest.raises(InputError, match="current_price is -1"):
        engine.get_optimal_price(product_id="SKU-3", current_price=-1)
    with pytest.raises(InputError, match="comp_price"):
        engine.get_optimal_price(product_id="SKU-3", competitor_prices=[float("nan")])
    with pytest.raises(InputError, match="demand_forecast"):
        engine.get_optimal_price(product_id="SKU-3", demand_forecast=-5)
    with pytest.raises(UnknownProductError):
        engine.get_optimal_price(product_id="NEW")
    assert engine.get_optimal_price(product_id="NEW", unit_cost=5).source == "rule"


def test_a_new_table_and_a_freeze_are_taken_up(engine: DynamicPricingEngine, home: Path) -> None:
    version = publish(home, factor=1.1)
    assert engine.table_version != version
    engine.refresh()
    assert engine.table_version == version
    PriceStore(Home.at(home).tables).freeze("SKU-3")
    answer = engine.get_optimal_price(product_id="SKU-3")
    assert answer.source == "frozen"
    assert answer.recommended_price == CURVES["reference_price"][3].as_py()


def catalogue() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "product_id": ["A", "B", "C"],
            "current_price": [10.0, 20.0, 30.0],
            "reference_units": [100.0, 50.0, 10.0],
            "unit_cost": [6.0, 15.0, 12.0],
            "elasticity_mean": [-3.0, -4.5, -1.8],
            "elasticity_sd": [0.1, 0.1, 0.1],
        }
    )


def test_a_catalogue_is_priced_inside_its_guard_rails() -> None:
    before = catalogue()
    frame = catalogue()
    optimizer = BatchPriceOptimizer(device="auto", settings=PricingSettings())
    priced = optimizer.optimize(frame, objective="profit")
    pd.testing.assert_frame_equal(frame, before)
    assert list(priced["product_id"]) == ["A", "B", "C"]
    inside = priced["recommended_price"].between(priced["price_floor"], priced["price_ceiling"])
    assert inside.all()
    best = frame["unit_cost"] * 3.0 / 2.0
    assert priced["recommended_price"][0] == pytest.approx(best[0], rel=0.15)
    arrow = optimizer.optimize(pa.Table.from_pandas(frame), objective="profit")
    assert isinstance(arrow, pa.Table)
    assert arrow["recommended_price"].to_pylist() == list(priced["recommended_price"])


def test_a_catalogue_s_mistakes_are_named() -> None:
    optimizer = BatchPriceOptimizer(settings=PricingSettings())
    with pytest.raises(MissingColumnError, match="reference_units"):
        optimizer.optimize(catalogue().drop(columns="reference_units"))
    costless = catalogue().drop(columns="unit_cost")
    with pytest.raises(MissingCostError):
        optimizer.optimize(costless, objective="profit")
    assert optimizer.optimize(costless, objective="revenue")["recommended_price"].notna().all()
    missing = next(name for name in ("cuda", "mps") if name not in available_devices())
    with pytest.raises(InvalidSettingError, match=f"'{missing}' is not on this machine"):
        BatchPriceOptimizer(device=missing)


def test_the_example_of_the_optimizer_runs() -> None:
    found = doctest.testmod(engine_module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 0
    assert found.failed == 0


def test_bad_rows_are_held_with_a_reason_and_an_empty_frame_stays_empty() -> None:
    frame = pd.concat([catalogue()] * 2, ignore_index=True)
    frame["product_id"] = list("ABCDEF")
    frame["unit_cost"] = [-1.0, np.inf, 6.0, 25.0, 15.0, 12.0]
    frame.loc[2, "current_price"] = np.nan
    frame.loc[4, "elasticity_mean"] = np.nan
    frame.loc[5, "reference_units"] = np.inf
    priced = BatchPriceOptimizer(device="cpu", settings=PricingSettings()).optimize(frame)
    reasons = list(priced["reasons"])
    expected = ["invalid_cost", "invalid_cost", "invalid_current_price", "floor_above_ceiling"]
    expected += ["no_demand_curve", "no_demand_curve"]
    assert all(code in reason for code, reason in zip(expected, reasons, strict=True))
    assert np.isnan(priced["recommended_price"][2])
    held = [0, 1, 4, 5]
    assert (priced["recommended_price"][held] == frame["current_price"][held]).all()
    assert priced["recommended_price"][3] >= 25.0 / 0.85
    optimizer = BatchPriceOptimizer(device="cpu", settings=PricingSettings())
    assert len(optimizer.optimize(catalogue()[:0])) == 0
    assert len(optimizer.optimize(catalogue()[:1])) == 1
