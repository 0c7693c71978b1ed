"""The worth of a unit against each objective's own definition."""

import numpy as np
import pytest

from pricing_assets.core.price_parameters import ObjectiveWeights, SellThroughParameters
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import goal_worth, needs_cost, unit_worth

PRICE = np.array([[8.0, 12.0], [5.0, 7.0]])
COST, CURRENT, RIVAL = np.array([4.0, np.nan]), np.array([10.0, 6.0]), np.array([9.0, np.nan])


def at(settings: PricingSettings) -> np.ndarray:
    worth = unit_worth(unit_cost=COST, current_price=CURRENT, settings=settings, rival_price=RIVAL)
    return worth.at(PRICE)


def test_each_objective_is_what_it_says() -> None:
    weights = ObjectiveWeights(profit=0.5, revenue=0.25, units=3)
    salvage = SellThroughParameters(salvage_share=0.3)
    expected = {
        "profit": PRICE - COST[:, None],
        "revenue": PRICE,
        "market_share": np.ones_like(PRICE),
        "weighted": 0.5 * (PRICE - COST[:, None]) + 0.25 * PRICE + 3,
        "sell_through": PRICE - 0.3 * CURRENT[:, None],
    }
    for objective, value in expected.items():
        settings = PricingSettings(
            objective=objective, objective_weights=weights, sell_through=salvage
        )
        np.testing.assert_allclose(at(settings), value, err_msg=objective)


def test_only_objectives_that_weigh_profit_need_a_cost() -> None:
    no_profit = ObjectiveWeights(profit=0, revenue=1)
    free = PricingSettings(objective="weighted", objective_weights=no_profit)
    assert np.isfinite(at(free)).all() and not needs_cost(free)
    assert [needs_cost(PricingSettings(objective=o)) for o in ("profit", "revenue")] == [
        True,
        False,
    ]
    assert needs_cost(PricingSettings(objective="weighted"))


@pytest.mark.parametrize(
    ("goal", "total"),
    [
        ("min_revenue", lambda p, c, r, q: p * q),
        ("min_margin_rate", lambda p, c, r, q: (p - c) * q - 0.25 * p * q),
        ("min_units", lambda p, c, r, q: q),
        ("max_price_index", lambda p, c, r, q: 1.1 * r * q - p * q),
        ("max_profit_given_up", lambda p, c, r, q: (p - c) * q),
    ],
)
def test_a_goal_is_what_it_says_and_adds_its_multiplier(goal, total) -> None:
    goals = {"min_margin_rate": 0.25, "max_price_index": 1.1}
    settings = PricingSettings(portfolio=goals, multipliers={goal: 0.7})
    added = goal_worth(goal, unit_cost=COST, rival_price=RIVAL, settings=settings)
    expected = total(PRICE[0], COST[0], RIVAL[0], 1.0)
    np.testing.assert_allclose(added.at(PRICE)[0], expected)
    assert np.isfinite(added.at(PRICE)).all()
    np.testing.assert_allclose(at(settings)[0], PRICE[0] - COST[0] + 0.7 * expected)


def test_weights_that_are_all_zero_and_a_date_beyond_the_horizon_are_refused() -> None:
    with pytest.raises(ValueError, match="all weights are 0"):
        ObjectiveWeights(profit=0)
    with pytest.raises(ValueError, match="raise horizon_days"):
        PricingSettings(objective="sell_through", horizon_days=14, sell_through={"days": 20})
    settings = PricingSettings(objective="sell_through", sell_through={"days": 7})
    assert settings.decision_days == 7
    assert PricingSettings(sell_through={"days": 7}).decision_days == 28
