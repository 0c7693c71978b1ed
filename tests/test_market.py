"""The simulated market: repeatable, as hard as it says, and right about its own truth."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pricing_assets.core.market import Market, MarketParameters, simulate_market
from pricing_assets.core.tables import RAW_TABLES


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate_market(MarketParameters(products=48, days=400, seed=3))


def test_the_same_parameters_give_the_same_tables_and_another_seed_gives_others() -> None:
    small = {"products": 5, "days": 40}
    first = simulate_market(MarketParameters(**small, seed=1)).raw_tables()
    again = simulate_market(MarketParameters(**small, seed=1)).raw_tables()
    other = simulate_market(MarketParameters(**small, seed=2)).raw_tables()
    assert all(first[name].equals(again[name]) for name in first)
    assert not first["sales"].equals(other["sales"])


def test_raw_tables_hold_only_contract_columns(market: Market) -> None:
    for name, frame in market.raw_tables().items():
        assert set(frame.columns) <= {column.name for column in RAW_TABLES[name].columns}
        assert set(RAW_TABLES[name].required) <= set(frame.columns)


def test_stores_and_segments_are_written_when_asked_for() -> None:
    several = simulate_market(MarketParameters(products=6, days=35, stores=3, segments=2, seed=1))
    tables = several.raw_tables()
    assert tables["sales"]["store_id"].nunique() == 3
    assert tables["sales"]["segment"].nunique() == 2
    assert len(tables["stores"]) == 3
    assert several.expected_units(several.current_price, horizon_days=7).shape == (18,)


def test_prices_follow_unseen_demand(market: Market) -> None:
    """The regular price rises with last week's unseen demand: what misleads a naive fit."""
    shock = market.history.shock - market.history.shock.mean(axis=1, keepdims=True)
    price = np.log(market.history.regular_price)
    price = price - price.mean(axis=1, keepdims=True)
    assert np.corrcoef(shock[:, :-7].ravel(), price[:, 7:].ravel())[0, 1] > 0.1
    exogenous = simulate_market(MarketParameters(products=48, days=400, seed=3, endogeneity=0.0))
    price = np.log(exogenous.history.regular_price)
    price = price - price.mean(axis=1, keepdims=True)
    assert abs(np.corrcoef(shock[:, :-7].ravel(), price[:, 7:].ravel())[0, 1]) < 0.1


def test_costs_move_prices_and_rivals_answer(market: Market) -> None:
    history = market.history
    cost, price = np.log(history.unit_cost), np.log(history.regular_price)
    change = slice(60, None), slice(None, -60)
    moved = (price[:, change[0]] - price[:, change[1]]).ravel()
    assert np.corrcoef((cost[:, change[0]] - cost[:, change[1]]).ravel(), moved)[0, 1] > 0.3
    rival = np.log(history.rival_level)
    assert np.corrcoef((rival[:, change[0]] - rival[:, change[1]]).ravel(), moved)[0, 1] > 0.05


def test_shelves_empty_and_products_are_new(market: Market) -> None:
    sold = market.history.units.sum(axis=0)
    assert (sold <= market.history.on_hand + 1e-9).all()
    assert 0.01 < np.mean((sold >= market.history.on_hand) & (sold > 0)) < 0.3
    assert (market.traits.first_day > market.parameters.days - 91).any()


def test_constant_categories_have_their_elasticity_and_logit_ones_grow_with_price(
    market: Market,
) -> None:
    constant = ~market.structure.is_logit
    truth = market.own_price_elasticity()
    expected = -market.structure.sensitivity * market.history.drift[:, -1]
    np.testing.assert_allclose(truth[constant], expected[constant], rtol=1e-5)
    structure = market.structure
    steep = []
    for factor in (0.9, 1.1):
        around = [
            np.log(
                structure.response(
                    price=structure.base_price * factor * np.exp(step),
                    rival=structure.base_price,
                    drift=np.ones(len(constant)),
                )
            )
            for step in (-1e-4, 1e-4)
        ]
        steep.append((around[1] - around[0]) / 2e-4)
    assert (steep[1] < steep[0])[~constant].all()


def test_substitutes_gain_when_a_price_rises(market: Market) -> None:
    price = market.current_price.copy()
    before = market.expected_units(price, horizon_days=7)
    price[0] *= 1.1
    after = market.expected_units(price, horizon_days=7)
    same = (market.rows["block"] == market.rows["block"][0]).to_numpy()
    assert after[0] < before[0]
    assert (after[same][1:] > before[same][1:]).all()
    np.testing.assert_allclose(after[~same], before[~same])


def test_expected_units_agree_with_lived_futures() -> None:
    """With no price change, the mean of many lived months is what was expected of one."""
    parameters = MarketParameters(products=12, days=60, seed=5)
    market = simulate_market(parameters)
    rng = np.random.default_rng(0)
    steps, paths = np.arange(1, 15), 20_000
    last = market.history.shock[0, -1]
    shock = np.full(paths, last)
    from pricing_assets.core.market_history import (
        CATEGORY_SHOCK_SD,
        SHOCK_PERSISTENCE,
        SHOCK_SD,
    )

    sd = np.hypot(SHOCK_SD, CATEGORY_SHOCK_SD) * np.sqrt(1 - SHOCK_PERSISTENCE**2)
    lived = []
    for _ in steps:
        shock = SHOCK_PERSISTENCE * shock + rng.normal(0, sd, paths)
        lived.append(np.exp(shock).mean())
    np.testing.assert_allclose(market.history.expected_shock(steps)[0], lived, rtol=0.01)


def test_the_oracle_is_the_best_of_all_price_vectors_of_a_small_market() -> None:
    market = simulate_market(MarketParameters(products=3, days=60, seed=4))
    candidates = market.current_price[:, None] * np.array([0.85, 0.95, 1.0, 1.1, 1.2])
    oracle = market.oracle_prices(candidates, horizon_days=14)
    best = max(
        market.expected_profit(np.array(choice), horizon_days=14).sum()
        for choice in itertools.product(*candidates)
    )
    found = market.expected_profit(oracle, horizon_days=14).sum()
    assert found == pytest.approx(best, rel=1e-9)
