"""The search against every combination, its risk against draws, and rules between products."""

from dataclasses import replace

import numpy as np
import pytest

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.price_search import (
    PriceFacts,
    Substitutes,
    choose_prices,
    choose_rows,
    present_turn,
)
from pricing_assets.core.price_table_torch import torch_chooser
from pricing_assets.core.risk import risk_value, sales_deviation
from pricing_assets.core.unit_worth import UnitWorth

ANY_RISK = PriceTableParameters(hold_above_p_worse=1.0)


def category(seed: int, *, n: int = 4, k: int = 13) -> tuple[DemandCurves, np.ndarray, PriceFacts]:
    """One category whose substitutes win up to 40 % of lost units, the largest allowed."""
    generator = np.random.default_rng(seed)
    price = generator.uniform(5, 20, n).round(2)
    units = generator.lognormal(4, 1, n)
    mean = generator.uniform(-4, -1.1, n)
    others = units.sum() - units if n > 1 else np.inf
    curves = DemandCurves(
        reference_price=price,
        reference_units=units,
        reference_units_cv=generator.uniform(0, 0.4, n),
        elasticity_mean=mean,
        elasticity_sd=generator.uniform(0.01, 0.5, n),
        curvature=generator.choice([0.0, 0.5, 1.0], n),
    )
    cost = price * generator.uniform(0.3, 0.85, n)
    cross = generator.uniform(0, 0.4, n) * -mean * units / others
    grid = (price[:, None] * np.linspace(0.8, 1.2, k - 1)).round(2)
    facts = PriceFacts(
        unit_cost=cost,
        worth=UnitWorth(np.ones(n), cost),
        available=np.full(n, np.inf),
        changeable=np.ones(n, dtype=bool),
        substitutes=Substitutes(np.zeros(n, dtype=np.int64), cross),
    )
    return curves, np.concatenate([price[:, None], grid], axis=1), facts


def total(curves: DemandCurves, facts: PriceFacts, prices: np.ndarray) -> np.ndarray:
    """The objective at price vectors (m, n), written out from the equations, (m,)."""
    ratio = prices / curves.reference_price
    pull = np.log(ratio) * facts.substitutes.elasticity
    bend = curves.curvature
    step = np.where(bend == 0, np.log(ratio), (ratio**bend - 1) / np.where(bend == 0, 1, bend))
    own = curves.elasticity_mean * step + 0.5 * (curves.elasticity_sd * step) ** 2
    units = curves.reference_units * np.exp(own + pull.sum(axis=1, keepdims=True) - pull)
    return ((facts.worth.slope * prices - facts.worth.intercept) * units).sum(axis=1)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("n", [3, 4])
def test_a_category_is_within_a_thousandth_of_every_combination(seed, n) -> None:
    curves, candidates, facts = category(seed, n=n)
    every = np.stack(np.meshgrid(*candidates, indexing="ij"), axis=-1).reshape(-1, n)
    found = choose_prices(curves, candidates, facts=facts, parameters=ANY_RISK).price
    best = total(curves, facts, every).max()
    assert total(curves, facts, found[None, :])[0] >= best - 0.001 * abs(best)


# --- rules between products


class Ladder:
    """Row 0 is at most as dear as row 1; the others are free. Bounds are exclusive of nobody."""

    exponent = 2

    def __init__(self, count: int) -> None:
        self.group = np.r_[0, 0, np.arange(1, count - 1)]
        self.seen: list[np.ndarray] = []

    def bounds_for(
        self, rows: np.ndarray, price_minor: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        self.seen.append(price_minor.copy())
        low, high = np.zeros(len(price_minor), np.int64), np.full(len(price_minor), 10**9)
        high[0], low[1] = price_minor[1], price_minor[0]
        return low[rows], high[rows]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("linked", [True, False])
def test_a_rule_between_products_holds_at_every_turn(seed, linked) -> None:
    curves, candidates, facts = category(seed)
    if not linked:
        facts = replace(facts, substitutes=Substitutes(np.arange(4), np.zeros(4)))
    candidates[0] = np.minimum(candidates[0], candidates[1].min()).round(2)
    rails = Ladder(4)
    free = choose_prices(curves, candidates, facts=facts, parameters=ANY_RISK).price
    held = choose_prices(curves, candidates, facts=facts, parameters=ANY_RISK, rails=rails).price
    assert all(price[0] <= price[1] for price in [*rails.seen, held * 100])
    start, end = (total(curves, facts, p[None, :])[0] for p in (candidates[:, 0], held))
    assert end >= start
    if free[0] <= free[1] and not linked:
        np.testing.assert_array_equal(free, held)


def test_a_row_stays_where_it_is_when_its_way_back_is_closed() -> None:
    """Row 1 rises first; row 0 may then follow, and neither is put back through the rule."""
    curves, candidates, facts = category(1)

    class Rising(Ladder):
        def bounds_for(
            self, rows: np.ndarray, price_minor: np.ndarray
        ) -> tuple[np.ndarray, np.ndarray]:
            low, high = super().bounds_for(rows, price_minor)
            return np.maximum(low, np.minimum(price_minor[rows], 10**9)), high

    candidates[0] = np.minimum(candidates[0], candidates[1].min()).round(2)
    rails = Rising(4)
    choose_prices(curves, candidates, facts=facts, parameters=ANY_RISK, rails=rails)
    for before, after in zip(rails.seen, rails.seen[1:], strict=False):
        assert (after >= before).all()


# --- risk


def alone(price: float, stock: float, cost: float = 5.0) -> dict:
    """One product of a wide posterior at one price."""
    curves = DemandCurves(*(np.array([v]) for v in (10.0, 100.0, 0.3, -2.0, 0.5, 0.0)))
    return {
        "curves": curves,
        "price": np.array([[price]]),
        "worth": UnitWorth(np.ones(1), np.array([cost])),
        "available": np.array([stock]),
    }


def sold(curves: DemandCurves, price: float, stock: float) -> np.ndarray:
    """400,000 draws of min(D, A)."""
    generator = np.random.default_rng(3)
    return np.minimum(curves.draws(np.array([price]), count=400_000, rng=generator)[0], stock)


@pytest.mark.parametrize("price", [8.0, 10.0, 12.0])
@pytest.mark.parametrize("stock", [np.inf, 80.0, 150.0])
@pytest.mark.parametrize("cost", [5.0, 11.0])
def test_quantile_and_spread_are_those_of_the_draws(price, stock, cost) -> None:
    """Standard errors of 400,000 draws are below 0.4 % of either."""
    case = alone(price, stock, cost)
    draws = (price - cost) * sold(case["curves"], price, stock)
    for quantile in (0.1, 0.25, 0.6):
        parameters = PriceTableParameters(risk="quantile", risk_quantile=quantile)
        value = risk_value(**case, parameters=parameters)[0, 0]
        assert value == pytest.approx(np.quantile(draws, quantile), rel=0.005)
    spread = sales_deviation(case["curves"], price=case["price"], available=case["available"])
    assert abs(price - cost) * spread[0, 0] == pytest.approx(draws.std(), rel=0.02)


def test_mean_variance_takes_the_aversion_in_standard_deviations() -> None:
    case = alone(9.0, np.inf)
    mean = risk_value(**case, parameters=PriceTableParameters())[0, 0]
    averse = PriceTableParameters(risk="mean_variance", risk_aversion=2.0)
    spread = sales_deviation(case["curves"], price=case["price"], available=case["available"])[0, 0]
    value = risk_value(**case, parameters=averse)[0, 0]
    assert value == pytest.approx(mean - 2 * 4 * spread)


@pytest.mark.parametrize("risk", ["quantile", "mean_variance"])
def test_the_careful_cut_less(risk) -> None:
    """A cut bets on the elasticity, and the bet grows with the cut."""
    curves, candidates, facts = category(5, n=1, k=60)
    curves = replace(curves, elasticity_mean=np.array([-3.5]), elasticity_sd=np.array([0.9]))
    facts = replace(facts, worth=UnitWorth(np.ones(1), candidates[:, 0] * 0.62))
    mean = choose_prices(curves, candidates, facts=facts, parameters=ANY_RISK).price[0]
    averse = ANY_RISK.model_copy(update={"risk": risk, "risk_aversion": 1.0})
    careful = choose_prices(curves, candidates, facts=facts, parameters=averse).price[0]
    assert mean < careful <= candidates[0, 0]


@pytest.mark.parametrize("risk", ["mean", "quantile", "mean_variance"])
@pytest.mark.parametrize("stocked", [False, True])
def test_torch_weighs_risk_as_the_reference_does(risk, stocked) -> None:
    curves, candidates, facts = category(2, n=60, k=40)
    stock = curves.reference_units * np.random.default_rng(1).uniform(0.3, 2, 60)
    facts = replace(facts, available=stock) if stocked else facts
    parameters = PriceTableParameters(risk=risk)
    turn = present_turn(curves, candidates[:, 0], facts=facts)
    expected = choose_rows(curves, candidates, facts=facts, turn=turn, parameters=parameters)
    found = torch_chooser("cpu")(curves, candidates, facts=facts, turn=turn, parameters=parameters)
    np.testing.assert_array_equal(found.price, expected.price)
    np.testing.assert_allclose(found.best_gain, expected.best_gain, rtol=1e-8, atol=1e-12)


def test_of_equal_gains_the_least_change_is_taken() -> None:
    """Stock sells out at every price and only units count: no price gains, so none changes."""
    curves, candidates, facts = category(3)
    units = UnitWorth(np.zeros(4), -np.ones(4))
    facts = replace(facts, worth=units, available=curves.reference_units * 0.01)
    found = choose_prices(curves, candidates, facts=facts, parameters=ANY_RISK)
    np.testing.assert_array_equal(found.price, candidates[:, 0])
