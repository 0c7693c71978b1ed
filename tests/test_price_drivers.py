"""The drivers of prices: they add up, agree with the price table, and price each rail right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.evaluation.price_drivers import price_drivers
from pricing_assets.core.price_parameters import (
    GuardRailParameters,
    Objective,
    PriceTableParameters,
)
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.settings import PricingSettings

COUNT = 8
NEUTRAL = PricingSettings(
    price_table=PriceTableParameters(candidates=200, hold_above_p_worse=1.0),
    guardrails=GuardRailParameters(price_ending="none"),
)


def curve_frame(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "product_id": [f"P{number}" for number in range(COUNT)],
            "store_id": "",
            "category": "",
            "reference_price": 10.0,
            "reference_units": 100.0,
            "reference_units_cv": 0.2,
            "elasticity_mean": -2.0,
            "elasticity_sd": 0.2,
            "curvature": 0.0,
            "cross_elasticity": 0.0,
            "reference_rival_price": np.nan,
            "support_low": 1.0,
            "support_high": 100.0,
            "observations": 200.0,
        }
    )
    return frame.assign(**columns)


def facts_frame(**columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "product_id": [f"P{number}" for number in range(COUNT)],
            "store_id": "",
            "current_price": 10.0,
            "unit_cost": 5.0,
            "map_price": np.nan,
            "on_hand": np.nan,
            "replenished": True,
        }
    )
    return frame.assign(**columns)


def elasticity_frame(curves: pd.DataFrame, **columns: Any) -> pd.DataFrame:
    mean, sd = curves["elasticity_mean"], curves["elasticity_sd"]
    frame = pd.DataFrame(
        {
            "product_id": curves["product_id"],
            "store_id": curves["store_id"],
            "own_price_elasticity": mean,
            "sd": sd,
            "low_90": mean - 1.645 * sd,
            "high_90": mean + 1.645 * sd,
            "method": "local_level_gls",
            "raw_estimate": mean,
            "raw_standard_error": 0.25,
            "drift_sd": 0.0,
        }
    )
    return frame.assign(**columns)


def both(
    curves: pd.DataFrame, facts: pd.DataFrame, settings: PricingSettings, **estimates: Any
) -> tuple[pd.DataFrame, pd.DataFrame]:
    table = build_price_table(curves, panel_facts=facts, settings=settings)
    drivers = price_drivers(
        table,
        curve_frame=curves,
        panel_facts=facts,
        elasticities=elasticity_frame(curves, **estimates),
        settings=settings,
    )
    return table, drivers


@pytest.mark.parametrize("objective", ["profit", "revenue", "market_share"])
def test_gains_add_up_and_agree_with_the_price_table(objective: Objective) -> None:
    """Substitutes, a stock that binds, and different products; the objective is the table's."""
    rng = np.random.default_rng(3)
    curves = curve_frame(
        category=["a"] * 4 + ["b"] * 4,
        cross_elasticity=0.1,
        elasticity_mean=-rng.uniform(0.8, 4, COUNT),
        reference_units=rng.uniform(10, 200, COUNT),
    )
    facts = facts_frame(
        unit_cost=rng.uniform(4, 8, COUNT),
        on_hand=[40.0, *[np.nan] * (COUNT - 1)],
        replenished=[False, *[True] * (COUNT - 1)],
    )
    settings = PricingSettings(objective=objective)
    table, drivers = both(curves, facts, settings)
    assert (table["decision"] == "change").sum() >= 2
    parts = ["gain_from_price", "gain_from_units", "gain_from_substitutes"]
    np.testing.assert_allclose(drivers[parts].sum(axis=1), drivers["gain"])
    uplift = (table["expected_profit"] - table["expected_profit_at_current"]).to_numpy()
    np.testing.assert_allclose(drivers["profit_change"], uplift)
    if objective == "profit":
        np.testing.assert_allclose(drivers["gain"], uplift, atol=1e-9)
    units = drivers["units_now"] + drivers["units_change"]
    np.testing.assert_allclose(units, table["expected_units"])
    np.testing.assert_allclose(drivers["confidence"], _product(drivers))
    held = (table["decision"] == "hold").to_numpy()
    np.testing.assert_allclose(drivers.loc[held, parts], 0, atol=1e-9)


def _product(drivers: pd.DataFrame) -> np.ndarray:
    names = ["elasticity", "history", "safety", "support"]
    return drivers[[f"confidence_{name}" for name in names]].to_numpy().prod(axis=1)


def best_profit(prices: np.ndarray, *, cost: float, mean: float, sd: float) -> float:
    log = np.log(prices / 10.0)
    return float(((prices - cost) * 100.0 * np.exp(mean * log + 0.5 * (sd * log) ** 2)).max())


def test_the_cost_of_the_largest_change_is_what_twice_the_change_would_add() -> None:
    """Against brute force over all cents: the best price at elasticity -1.1 is far above."""
    curves = curve_frame(elasticity_mean=-1.1, elasticity_sd=0.05, support_high=13.0)
    _, drivers = both(curves, facts_frame(), NEUTRAL)
    assert (drivers["binding_rail"] == "largest_increase").all()
    cents = np.arange(600, 1401) / 100
    gain = best_profit(cents, cost=5.0, mean=-1.1, sd=0.05) - best_profit(
        np.array([12.0]), cost=5.0, mean=-1.1, sd=0.05
    )
    np.testing.assert_allclose(drivers["rail_cost"], gain, rtol=1e-3)
    np.testing.assert_allclose(drivers["rail_price"], 14.0)
    assert drivers["rail_extrapolates"].all()
    assert drivers["sentence"].str.contains("the largest increase of 20% costs").all()
    assert drivers["sentence"].str.contains("outside the prices seen").all()


def test_the_cost_of_the_margin_floor_is_the_best_price_down_to_cost() -> None:
    """Cost 7 and elasticity -9: the free optimum is 7.88, the floor 8.24 at 15 %."""
    settings = NEUTRAL.model_copy(update={"max_price_change": 0.5})
    curves = curve_frame(elasticity_mean=-9.0, elasticity_sd=0.01)
    _, drivers = both(curves, facts_frame(unit_cost=7.0), settings)
    assert (drivers["binding_rail"] == "margin_floor").all()
    cents = np.arange(700, 1501) / 100
    free = best_profit(cents, cost=7.0, mean=-9.0, sd=0.01)
    bound = best_profit(np.array([8.24]), cost=7.0, mean=-9.0, sd=0.01)
    np.testing.assert_allclose(drivers["rail_cost"], free - bound, rtol=0.02)
    assert drivers["rail_price"].between(7.8, 7.96).all()


@pytest.mark.parametrize(
    ("settings", "facts", "rail"),
    [
        (NEUTRAL, facts_frame(map_price=9.5), "map_floor"),
        (
            NEUTRAL.model_copy(
                update={"guardrails": GuardRailParameters(price_ending="none", absolute_ceiling=9)}
            ),
            facts_frame(unit_cost=7.0),
            "absolute_ceiling",
        ),
    ],
)
def test_map_and_the_ceiling_have_a_cost(
    settings: PricingSettings, facts: pd.DataFrame, rail: str
) -> None:
    mean = -3.5 if rail == "map_floor" else -1.5
    _, drivers = both(curve_frame(elasticity_mean=mean), facts, settings)
    assert (drivers["binding_rail"] == rail).all()
    assert (drivers["rail_cost"] > 0).all()


def test_the_risk_rule_has_a_cost_where_nothing_else_binds() -> None:
    curves = curve_frame(elasticity_mean=-1.9, elasticity_sd=1.0)
    settings = PricingSettings(price_table=PriceTableParameters(hold_above_p_worse=0.02))
    table, drivers = both(curves, facts_frame(), settings)
    assert (table["decision"] == "hold").all()
    assert (drivers["binding_rail"] == "risk").all()
    assert (drivers["rail_cost"] > 0).all()
    assert drivers["sentence"].str.contains("the limit on the chance of less costs").all()


def test_nothing_binds_inside_and_free() -> None:
    """Cost 5, elasticity -2.1: the optimum 9.55 is inside every rail."""
    _, drivers = both(curve_frame(elasticity_mean=-2.1, elasticity_sd=0.01), facts_frame(), NEUTRAL)
    assert (drivers["binding_rail"] == "").all()
    assert drivers["rail_cost"].isna().all()


def test_the_weight_of_the_own_data_is_the_poolings() -> None:
    """Prior N(-1.5, 0.5), estimate with error e: the weight is 0.25 / (0.25 + e^2)."""
    error = np.array([0.05, 0.25, 0.5, 1.0, 2.0, 5.0, np.nan, np.nan])
    weight = np.where(np.isnan(error), 0.0, 0.25 / (0.25 + np.nan_to_num(error) ** 2))
    sd = np.sqrt(0.25 * (1 - weight))
    _, drivers = both(
        curve_frame(),
        facts_frame(),
        NEUTRAL,
        sd=np.hypot(sd, 0.1),
        drift_sd=0.1,
        raw_standard_error=error,
    )
    np.testing.assert_allclose(drivers["own_data_weight"], weight, atol=1e-12)
    sentence = drivers["sentence"]
    assert "from its own data)" in sentence[0] and "from similar products)" in sentence[6]


def test_rows_follow_the_price_table_and_odd_ones_say_so() -> None:
    curves = curve_frame(elasticity_mean=[-2.0, np.nan, *[-2.5] * (COUNT - 2)])
    facts = facts_frame(
        current_price=[10.0, 10.0, np.nan, *[10.0] * (COUNT - 3)],
        unit_cost=[5.0, 5.0, 5.0, np.nan, *[5.0] * (COUNT - 4)],
    )
    table = build_price_table(curves, panel_facts=facts, settings=NEUTRAL).iloc[::-1]
    drivers = price_drivers(
        table,
        curve_frame=curves,
        panel_facts=facts,
        elasticities=elasticity_frame(curves).iloc[2:],
        settings=NEUTRAL,
    )
    assert drivers["product_id"].tolist() == table["product_id"].tolist()
    rows = {row["product_id"]: row for row in drivers.to_dict("records")}
    assert rows["P2"]["sentence"] == "No price is set."
    assert "demand curve is unknown" in rows["P1"]["sentence"]
    assert np.isnan(rows["P3"]["gain"]) and rows["P3"]["binding_rail"] == ""
    assert rows["P7"]["gain"] > 0


def test_an_empty_table_has_no_drivers() -> None:
    curves, facts = curve_frame().iloc[:0], facts_frame().iloc[:0]
    _, drivers = both(curves, facts, NEUTRAL)
    assert len(drivers) == 0 and "sentence" in drivers
