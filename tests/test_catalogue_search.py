"""Whole catalogues through the compiled engine: the same table as the price table's own search."""

from __future__ import annotations

import sys

import numpy as np
import pyarrow as pa
import pytest

from pricing_assets.core import catalogue_prices, catalogue_search
from pricing_assets.core.catalogue_prices import complete_catalogue, price_catalogue
from pricing_assets.core.catalogue_search import cpu_engine, reference_engine
from pricing_assets.core.errors import InputError
from pricing_assets.core.price_kernel import RiskLimits, solve_reference
from pricing_assets.core.price_kernel_cpu import solve_compiled
from pricing_assets.core.price_packing import LARGEST_MINOR
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS, PRICE_TABLE_COLUMNS
from tests.test_price_kernel import catalogue as kernel_catalogue

SETTINGS = PricingSettings()


def catalogue(rows: int, *, seed: int = 3, stock: float = 0.25, price: float = 3.0) -> pa.Table:
    rng = np.random.default_rng(seed)
    current = np.round(rng.lognormal(price, 0.5, rows), 2)
    return pa.table(
        {
            "product_id": [f"SKU-{row}" for row in range(rows)],
            "current_price": current,
            "reference_units": rng.lognormal(3, 1, rows),
            "reference_units_cv": rng.uniform(0, 0.5, rows),
            "elasticity_mean": rng.uniform(-4, -1, rows),
            "elasticity_sd": rng.uniform(0.05, 0.6, rows),
            "curvature": rng.choice([0.0, 1.0], rows),
            "unit_cost": current * rng.uniform(0.3, 0.8, rows),
            "on_hand": np.where(rng.random(rows) < stock, rng.integers(1, 90, rows), np.nan),
        }
    )


def by_the_price_table(given: pa.Table, settings: PricingSettings) -> pa.Table:
    frame = complete_catalogue(given, settings=settings).to_pandas()
    frame["replenished"] = frame["on_hand"].isna()
    table = build_price_table(
        frame[list(DEMAND_CURVE_COLUMNS)], panel_facts=frame, settings=settings
    )
    names = [name for name in PRICE_TABLE_COLUMNS if name in table]
    return pa.Table.from_pandas(table[names], preserve_index=False)


def all_prices_listed(**changes: object) -> PricingSettings:
    """Settings under which the price table's search lists every allowed price too."""
    rules = {"guardrails": {"price_ending": "99"}, "price_table": {"candidates": 64}}
    return PricingSettings.model_validate(rules | changes)


@pytest.mark.parametrize("objective", ["profit", "revenue", "market_share"])
def test_every_column_is_the_price_table_s(objective: str) -> None:
    """Where all allowed prices are listed: the same prices, and 1e-6 of each figure."""
    settings = all_prices_listed(objective=objective)
    given = catalogue(1500)
    expected = by_the_price_table(given, settings)
    found = price_catalogue(given, settings=settings, engine=cpu_engine(threads=2))
    assert found.schema.names == expected.schema.names
    price = expected["recommended_price"].to_numpy()
    same = found["recommended_price"].to_numpy() == price
    assert np.mean(~same) <= 1e-3
    profit = np.abs(expected["expected_profit"].to_numpy())[same]
    for name in expected.column_names:
        left, right = (table.filter(pa.array(same))[name] for table in (found, expected))
        if pa.types.is_floating(left.type):
            wrong = np.abs(left.to_numpy() - right.to_numpy())
            scale = profit if "uplift" in name else np.maximum(np.abs(right.to_numpy()), 1)
            assert np.nanmax(wrong / scale, initial=0) < 2e-5, name
            assert left.null_count == right.null_count, name
        elif name != "reasons":
            assert left.equals(right), name
    lines = zip(*(t["reasons"].to_pylist() for t in (found, expected)), strict=True)
    assert np.mean([a != b for (a, b), one in zip(lines, same, strict=True) if one]) < 0.01


def test_more_prices_are_searched_than_the_settings_list() -> None:
    given = catalogue(400, stock=0.0, price=5.0)
    found = price_catalogue(given, settings=SETTINGS)["expected_profit"].to_numpy()
    listed = by_the_price_table(given, SETTINGS)["expected_profit"].to_numpy()
    assert found.sum() > listed.sum()


def test_products_with_substitutes_are_priced_together_in_their_place() -> None:
    rows = 300
    given = catalogue(rows).append_column(
        "category", pa.array(["tea" if row % 3 == 0 else "" for row in range(rows)])
    )
    given = given.append_column("cross_elasticity", pa.array(np.full(rows, 0.05)))
    expected = by_the_price_table(given, SETTINGS)
    found = price_catalogue(given, settings=SETTINGS)
    assert found["product_id"].equals(given["product_id"])
    tea = np.flatnonzero(np.arange(rows) % 3 == 0)
    assert found["recommended_price"].take(tea).equals(expected["recommended_price"].take(tea))
    lines = found["reasons"].take(tea).to_pylist()
    assert any("substitutes:" in line for line in lines)


@pytest.mark.parametrize(
    "settings",
    [
        PricingSettings.model_validate({"price_table": {"risk": "quantile"}}),
        PricingSettings.model_validate({"guardrails": {"size_parity": True}}),
        PricingSettings.model_validate(
            {"objective": "sell_through", "sell_through": {"target_share": 0.8}}
        ),
    ],
)
def test_what_the_engine_cannot_price_goes_to_the_price_table(settings: PricingSettings) -> None:
    given = catalogue(60)
    expected = by_the_price_table(given, settings)
    found = price_catalogue(given, settings=settings)
    assert found["recommended_price"].equals(expected["recommended_price"])


def test_parts_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    given = catalogue(500)
    whole = price_catalogue(given, settings=SETTINGS)
    monkeypatch.setattr(catalogue_prices, "PART_ROWS", 64)
    parts = price_catalogue(given, settings=SETTINGS, engine=cpu_engine(threads=2))
    assert parts.combine_chunks().equals(whole.combine_chunks())


def test_prices_above_what_float32_holds_are_the_reference_s() -> None:
    problem = kernel_catalogue(200, stock=0.2)
    problem.base[::2] += LARGEST_MINOR
    problem.first[::2] += LARGEST_MINOR
    problem.curves.reference_price[::2] += LARGEST_MINOR / 100
    problem.worth.intercept[::2] += LARGEST_MINOR / 100
    limits = RiskLimits(hold_above_p_worse=0.4, min_relative_uplift=0.0)
    expected, found = solve_reference(problem, limits), solve_compiled(problem, limits)
    np.testing.assert_array_equal(found.price[::2], expected.price[::2])
    assert (found.price[::2] > LARGEST_MINOR).all()
    assert np.mean(found.price != expected.price) < 0.02


def test_without_numba_numpy_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pricing_assets.core.price_kernel_cpu", None)
    assert catalogue_search.cpu_engine(threads=2) == reference_engine(threads=2)
    given = catalogue(200)
    found = price_catalogue(given, settings=SETTINGS)["recommended_price"]
    monkeypatch.undo()
    compiled = price_catalogue(given, settings=SETTINGS, engine=cpu_engine())["recommended_price"]
    assert np.mean(found.to_numpy() != compiled.to_numpy()) <= 0.005


def test_a_product_there_twice_is_named() -> None:
    given = catalogue(3)
    with pytest.raises(InputError, match="SKU-0"):
        price_catalogue(pa.concat_tables([given, given]), settings=SETTINGS)
