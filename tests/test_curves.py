"""Demand curves from forecast and elasticities: levels, supports and weekday indices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.curves import curves_from_columns, demand_curve_frame
from pricing_assets.core.elasticity.estimate import estimate_elasticities
from pricing_assets.core.features import build_panel, future_plan
from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.market import Market
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS

SETTINGS = PricingSettings()


@pytest.fixture(scope="module")
def panel(market: Market) -> Panel:
    return build_panel(market.raw_tables(), SETTINGS)


@pytest.fixture(scope="module")
def plan(panel: Panel, market: Market) -> FuturePlan:
    return future_plan(panel, market.raw_tables(), settings=SETTINGS)


@pytest.fixture(scope="module")
def elasticities(panel: Panel) -> pd.DataFrame:
    return estimate_elasticities(panel, settings=SETTINGS).to_frame()


def forecast_of(plan: FuturePlan, mean: np.ndarray) -> Forecast:
    return Forecast(dates=plan.dates, q10=0.5 * mean, q50=mean, q90=1.6 * mean, mean=mean)


def frame_of(
    panel: Panel, plan: FuturePlan, elasticities: pd.DataFrame, mean: np.ndarray
) -> pd.DataFrame:
    return demand_curve_frame(
        panel,
        plan=plan,
        forecast=forecast_of(plan, mean),
        elasticities=elasticities,
        settings=SETTINGS,
    )


def test_level_is_the_forecast_at_the_current_price(
    panel: Panel, plan: FuturePlan, elasticities: pd.DataFrame
) -> None:
    mean = np.full(plan.price.shape, 3.0)
    frame = frame_of(panel, plan, elasticities, mean)
    assert tuple(frame.columns) == DEMAND_CURVE_COLUMNS
    np.testing.assert_allclose(frame["reference_units"], 3.0 * plan.price.shape[1])
    np.testing.assert_allclose(frame["reference_price"], panel.current_price())
    curves = curves_from_columns({name: frame[name].to_numpy() for name in frame.columns[3:9]})
    np.testing.assert_allclose(
        curves.expected_units(panel.current_price()), frame["reference_units"]
    )


def test_planned_prices_and_promotions_are_taken_out_of_the_level(
    panel: Panel, plan: FuturePlan, elasticities: pd.DataFrame
) -> None:
    """A forecast at half price under promotion says less of demand at the current price."""
    promoted = replace(plan, price=plan.price * 0.5, promo=np.ones_like(plan.promo))
    mean = np.full(plan.price.shape, 3.0)
    usual = frame_of(panel, plan, elasticities, mean)
    frame = frame_of(panel, promoted, elasticities, mean)
    assert (frame["reference_units"] < usual["reference_units"]).all()


def test_support_holds_the_current_price_and_the_prices_paid(
    panel: Panel, plan: FuturePlan, elasticities: pd.DataFrame
) -> None:
    frame = frame_of(panel, plan, elasticities, np.ones(plan.price.shape))
    current = panel.current_price()
    assert ((frame["support_low"] <= current) & (current <= frame["support_high"])).all()
    paid = np.nanmin(np.where(panel.on_sale, panel.price, np.nan), axis=1)
    assert (frame["support_low"] >= paid - 1e-9).all()


def test_weekday_indices_have_mean_one_and_follow_the_market(
    panel: Panel, plan: FuturePlan, elasticities: pd.DataFrame, market: Market
) -> None:
    frame = frame_of(panel, plan, elasticities, np.ones(plan.price.shape))
    index = np.array(frame["weekday_index"].tolist())
    np.testing.assert_allclose(index.mean(axis=1), 1.0, atol=1e-9)
    assert np.corrcoef(index.ravel(), market.traits.weekday.ravel())[0, 1] > 0.7


def test_cross_elasticity_is_shared_among_the_substitutes_and_absent_without_a_category(
    panel: Panel, plan: FuturePlan, elasticities: pd.DataFrame
) -> None:
    mean = np.ones(plan.price.shape)
    frame = frame_of(panel, plan, elasticities, mean)
    assert (frame["cross_elasticity"] >= 0).all()
    assert (frame["cross_elasticity"] <= elasticities["cross_elasticity"].clip(lower=0)).all()
    nameless = replace(panel, series=panel.series.assign(category=""))
    assert (frame_of(nameless, plan, elasticities, mean)["cross_elasticity"] == 0).all()


def test_substitutes_win_no_more_than_the_largest_diversion(
    panel: Panel, plan: FuturePlan, elasticities: pd.DataFrame
) -> None:
    eager = elasticities.assign(cross_elasticity=50.0)
    frame = frame_of(panel, plan, eager, np.full(plan.price.shape, 2.0))
    total = frame.groupby("category")["reference_units"].transform("sum")
    won = frame["cross_elasticity"] * (total - frame["reference_units"])
    lost = -frame["elasticity_mean"] * frame["reference_units"]
    assert (won <= SETTINGS.elasticity.max_diversion * lost + 1e-9).all()
    assert (won > 0).any()
