"""The optimizer against closed forms, brute force and Monte Carlo, and the frame it makes."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.errors import MissingCostError
from pricing_assets.core.expected_sales import (
    expected_sales,
    limited_mean,
    probability_worse,
    uplift_interval,
)
from pricing_assets.core.price_confidence import confidence
from pricing_assets.core.price_parameters import GuardRailParameters, PriceTableParameters
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import (
    DEMAND_CURVE_COLUMNS,
    PRICE_RAIL_COLUMNS,
    PRICE_TABLE_COLUMNS,
    STAMP_COLUMNS,
)
from pricing_assets.core.unit_worth import UnitWorth, unit_worth

TINY = 1e-9
ANY_ENDING = GuardRailParameters(price_ending="none")
FINE = PriceTableParameters(candidates=2000)


def frames(n: int = 1, **changes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves and facts of n alike products, columns changed by name."""
    curve = {
        "product_id": [f"P{i}" for i in range(n)],
        "store_id": "",
        "category": "tea",
        "reference_price": 10.0,
        "reference_units": 100.0,
        "reference_units_cv": 0.1,
        "elasticity_mean": -2.0,
        "elasticity_sd": 0.05,
        "curvature": 0.0,
        "rival_elasticity": 0.0,
        "cross_elasticity": 0.0,
        "reference_rival_price": np.nan,
        "promo_lift": 0.0,
        "unit_cost": np.nan,
        "map_price": np.nan,
        "support_low": 1.0,
        "support_high": 1000.0,
        "observations": 300,
    }
    fact = {
        "product_id": curve["product_id"],
        "store_id": "",
        "current_price": 10.0,
        "unit_cost": 5.0,
        "map_price": np.nan,
        "on_hand": np.nan,
        "replenished": True,
        "kvi": 0,
        "status": "",
    }
    for name, value in changes.items():
        if name in fact:
            fact[name] = value
        if name in curve and name not in ("unit_cost", "map_price"):
            curve[name] = value
    curves = pd.DataFrame(curve, index=range(n))
    curves["weekday_index"] = [[1.0] * 7] * n
    return curves[list(DEMAND_CURVE_COLUMNS)], pd.DataFrame(fact, index=range(n))


def table_of(parameters: PricingSettings, n: int = 1, **changes) -> pd.DataFrame:
    curves, facts = frames(n, **changes)
    return build_price_table(curves, panel_facts=facts, settings=parameters)


def row_of(parameters: PricingSettings | None = None, **changes) -> pd.Series:
    return table_of(parameters or PricingSettings(), **changes).iloc[0]


def curves_of(n: int = 1, **changes) -> DemandCurves:
    frame = frames(n, **changes)[0]
    return DemandCurves(**{k: frame[k].to_numpy(float) for k in DemandCurves.__slots__})


def worth_of(objective: str, cost: float) -> UnitWorth:
    return unit_worth(
        unit_cost=np.array([cost]),
        current_price=np.array([10.0]),
        settings=PricingSettings(objective=objective),
    )


def draws(curves: DemandCurves, price: float, count: int = 400_000) -> np.ndarray:
    """Demand of the first product at ``price`` under its posterior, common random numbers."""
    generator = np.random.default_rng(5)
    elasticity = generator.normal(curves.elasticity_mean[0], curves.elasticity_sd[0], count)
    sigma = np.sqrt(np.log1p(curves.reference_units_cv[0] ** 2))
    level = curves.reference_units[0] * np.exp(generator.normal(-(sigma**2) / 2, sigma, count))
    return level * np.exp(elasticity * curves.step(np.array([price]))[0])


# --- choosing a price


@pytest.mark.parametrize(("elasticity", "cost"), [(-1.8, 5.0), (-2.2, 5.0), (-3.0, 6.4)])
def test_constant_elasticity_gives_the_textbook_price(elasticity, cost) -> None:
    """p* = c eps / (1 + eps); the grid of cents allows half a cent either way."""
    parameters = PricingSettings(
        guardrails=ANY_ENDING, price_table=FINE, max_price_change=0.5, min_margin=0.0
    )
    row = row_of(parameters, elasticity_mean=elasticity, elasticity_sd=0.001, unit_cost=cost)
    assert abs(row["recommended_price"] - cost * elasticity / (1 + elasticity)) <= 0.011
    assert row["decision"] == "change"


def test_semi_log_gives_its_textbook_price() -> None:
    """Q = Q0 exp(eps (p/p0 - 1)): p* = c - p0 / eps."""
    parameters = PricingSettings(guardrails=ANY_ENDING, price_table=FINE, max_price_change=0.5)
    row = row_of(parameters, elasticity_mean=-1.6, elasticity_sd=0.001, curvature=1.0)
    assert abs(row["recommended_price"] - (5 + 10 / 1.6)) <= 0.011


@settings(max_examples=60, deadline=None)
@given(
    current=st.floats(0.5, 60),
    cost_share=st.floats(0.05, 1.3),
    elasticity=st.floats(-5, -0.3),
    sd=st.floats(0.01, 1),
    curvature=st.sampled_from([0.0, 0.5, 1.0]),
    ending=st.sampled_from(["none", "9", "95", "99"]),
    objective=st.sampled_from(["profit", "revenue", "market_share"]),
    stock=st.one_of(st.none(), st.integers(0, 200)),
)
def test_the_chosen_price_is_the_brute_force_best_of_the_safe_ones(
    current, cost_share, elasticity, sd, curvature, ending, objective, stock
) -> None:
    """Every cent of the range is tried by plain loops; the choice must be as good."""
    cost = current * cost_share
    parameters = PricingSettings(
        objective=objective,
        guardrails=GuardRailParameters(price_ending=ending),
        price_table=PriceTableParameters(candidates=2000),
    )
    changes = {
        "elasticity_mean": elasticity,
        "elasticity_sd": sd,
        "curvature": curvature,
        "reference_price": current,
    }
    row = row_of(
        parameters,
        current_price=current,
        unit_cost=cost,
        on_hand=np.nan if stock is None else stock,
        replenished=stock is None,
        **changes,
    )
    price = row["recommended_price"]
    assert row["price_floor"] - TINY <= price <= row["price_ceiling"] + TINY
    assert (price - cost) / price >= 0.15 - TINY
    if "floor_above_ceiling" not in row["reasons"]:
        assert abs(price / current - 1) <= 0.2 + TINY
    rounded = round(current * 100)
    if not row["price_floor"] - TINY <= rounded / 100 <= row["price_ceiling"] + TINY:
        return
    curves = curves_of(**changes)
    available = np.array([np.inf if stock is None else float(stock)])
    spacing, remainder = {"none": (1, 0), "9": (10, 9), "95": (100, 95), "99": (100, 99)}[ending]
    low, high = round(row["price_floor"] * 100), round(row["price_ceiling"] * 100)
    allowed = [p for p in range(low, high + 1) if p % spacing == remainder]
    allowed = allowed or list(range(low, high + 1))

    def value(minor: int) -> float:
        at = np.array([[minor / 100]])
        sales = expected_sales(curves, price=at, available=available)[0, 0]
        margin = {"profit": minor / 100 - cost, "revenue": minor / 100, "market_share": 1.0}
        return margin[objective] * sales

    def risk(minor: int) -> float:
        return probability_worse(
            curves,
            price=np.array([[minor / 100]]),
            baseline=np.array([rounded / 100]),
            worth=worth_of(objective, cost),
            available=available,
        )[0, 0]

    safe = [value(p) for p in allowed if risk(p) <= parameters.price_table.hold_above_p_worse]
    best = max([value(rounded), *safe])
    assert value(round(price * 100)) == pytest.approx(best, rel=1e-9, abs=1e-9)


def test_a_wide_posterior_holds_and_a_sharp_one_changes() -> None:
    sharp = row_of(elasticity_mean=-1.5, elasticity_sd=0.05)
    wide = row_of(elasticity_mean=-1.9, elasticity_sd=1.5)
    assert (sharp["decision"], wide["decision"]) == ("change", "hold")
    assert "hold_risk" in wide["reasons"] and wide["recommended_price"] == 10.0
    assert sharp["confidence"] > wide["confidence"] * 0.5
    assert wide["p_worse"] == 0 and wide["profit_uplift_low_90"] == 0


def test_a_smaller_safe_step_is_taken_where_the_best_one_is_too_risky() -> None:
    """A cut pays least surely where it is deepest, so the risk limit shortens it."""
    fearless = PricingSettings(
        guardrails=ANY_ENDING, price_table=PriceTableParameters(hold_above_p_worse=1.0)
    )
    careful = PricingSettings(
        guardrails=ANY_ENDING, price_table=PriceTableParameters(hold_above_p_worse=0.1)
    )
    changes = {"elasticity_mean": -1.7, "elasticity_sd": 0.15}
    far, near = row_of(fearless, **changes), row_of(careful, **changes)
    assert far["recommended_price"] > near["recommended_price"] > 10
    assert near["p_worse"] <= 0.1 < far["p_worse"]


def test_a_least_gain_holds() -> None:
    parameters = PricingSettings(price_table=PriceTableParameters(min_relative_uplift=0.5))
    row = row_of(parameters, elasticity_mean=-1.2)
    assert row["decision"] == "hold" and "hold_small_gain" in row["reasons"]


def test_scarce_stock_raises_the_price_and_caps_the_sales() -> None:
    plenty = row_of(elasticity_mean=-2.5)
    scarce = row_of(elasticity_mean=-2.5, on_hand=40.0, replenished=False)
    assert scarce["recommended_price"] > plenty["recommended_price"]
    assert scarce["expected_units"] <= 40 and "stock: 40 units" in scarce["reasons"]


def test_an_empty_shelf_gives_finite_numbers_and_no_change() -> None:
    row = row_of(on_hand=0.0, replenished=False)
    assert (row["decision"], row["expected_units"], row["expected_profit"]) == ("hold", 0, 0)


def test_market_share_and_revenue_go_their_own_ways() -> None:
    share = row_of(PricingSettings(objective="market_share"), elasticity_mean=-0.7)
    revenue = row_of(PricingSettings(objective="revenue"), elasticity_mean=-0.7)
    assert share["recommended_price"] < 10 < revenue["recommended_price"]
    assert share["objective"] == "market_share" and share["p_worse"] < 0.01


# --- substitutes


def category(**changes) -> dict:
    """Three unlike products of one category; each one's price moves the others' demand."""
    return {
        "current_price": [10.0, 12.0, 8.0],
        "reference_price": [10.0, 12.0, 8.0],
        "unit_cost": [5.0, 7.0, 4.5],
        "elasticity_mean": [-2.2, -2.6, -2.0],
        "elasticity_sd": 0.02,
        "reference_units": [100.0, 60.0, 200.0],
        "cross_elasticity": [0.3, 0.2, 0.25],
    } | changes


NEARLY_ANY_RISK = PricingSettings(
    guardrails=GuardRailParameters(price_ending="9"),
    price_table=PriceTableParameters(candidates=100, hold_above_p_worse=1.0),
)


def category_profit(prices: np.ndarray, rows: dict) -> np.ndarray:
    """Profit of three products at prices (m, 3), from the equations, one row a price vector."""
    ratio = np.log(prices / np.array(rows["reference_price"]))
    pull = ratio * np.array(rows["cross_elasticity"])
    mean = np.array(rows["elasticity_mean"]) * ratio + 0.5 * (0.02 * ratio) ** 2
    others = pull.sum(axis=1, keepdims=True) - pull
    units = np.array(rows["reference_units"]) * np.exp(mean + others)
    return (prices - np.array(rows["unit_cost"])) * units


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_a_category_is_priced_as_exhaustive_search_prices_it(share) -> None:
    """Every triple of allowed prices is valued; the ascent must come within 0.1 % of the best."""
    rows = category()
    rows["cross_elasticity"] = [share * value for value in rows["cross_elasticity"]]
    table = table_of(NEARLY_ANY_RISK, n=3, **rows)
    allowed = [
        [p / 100 for p in range(round(low * 100), round(high * 100) + 1) if p % 10 == 9]
        for low, high in zip(table["price_floor"], table["price_ceiling"], strict=True)
    ]
    triples = np.stack(np.meshgrid(*allowed, indexing="ij"), axis=-1).reshape(-1, 3)
    best = category_profit(triples, rows).sum(axis=1).max()
    chosen = category_profit(table["recommended_price"].to_numpy()[None, :], rows)
    assert chosen.sum() >= best * 0.999
    np.testing.assert_allclose(table["expected_profit"], chosen[0], rtol=1e-9)


def test_substitutes_raise_each_others_prices_and_their_uplifts_add_up() -> None:
    rows = category()
    together = table_of(NEARLY_ANY_RISK, n=3, **rows)
    alone = table_of(NEARLY_ANY_RISK, n=3, **category(cross_elasticity=0.0))
    assert (together["recommended_price"] > alone["recommended_price"]).all()
    uplift = (together["expected_profit"] - together["expected_profit_at_current"]).sum()
    prices = np.stack([together["recommended_price"], together["current_price"]])
    true = np.subtract(*category_profit(prices, rows).sum(axis=1))
    assert together["reasons"].str.contains("substitutes: similar products gain").all()
    assert uplift == pytest.approx(
        true, rel=0.1
    )  # first order: own price against the others' new ones
    assert (together["p_worse"] < 0.5).all()
    gains = together["expected_profit"] - together["expected_profit_at_current"]
    assert (together["profit_uplift_low_90"] <= gains).all()
    assert (gains <= together["profit_uplift_high_90"]).all()


def test_another_store_or_an_unnamed_category_shares_no_shoppers() -> None:
    alone = table_of(NEARLY_ANY_RISK, n=3, **category(cross_elasticity=0.0))
    curves, facts = frames(3, **category())
    for column, value in (("category", ["a", "b", "c"]), ("category", ""), ("category", None)):
        table = build_price_table(
            curves.assign(**{column: value}), panel_facts=facts, settings=NEARLY_ANY_RISK
        )
        pd.testing.assert_series_equal(table["recommended_price"], alone["recommended_price"])
    stores = {"store_id": ["x", "y", "z"]}
    table = build_price_table(
        curves.assign(**stores), panel_facts=facts.assign(**stores), settings=NEARLY_ANY_RISK
    )
    pd.testing.assert_series_equal(table["recommended_price"], alone["recommended_price"])


def test_risk_counts_what_substitutes_gain() -> None:
    """Monte Carlo over the elasticity of the product that moves, the others held."""
    rows = category(elasticity_sd=[0.4, 0.001, 0.001])
    table = table_of(NEARLY_ANY_RISK, n=3, **rows)
    draw = np.random.default_rng(2).normal(-2.2, 0.4, 200_000)
    prices = table["recommended_price"].to_numpy()
    gains = []
    for first in (prices[0], 10.0):
        at = np.array([first, prices[1], prices[2]])
        ratio = np.log(at / np.array(rows["reference_price"]))
        pull = ratio * np.array(rows["cross_elasticity"])
        units = np.array(rows["reference_units"]) * np.exp(pull.sum() - pull)
        mean = np.array(rows["elasticity_mean"]) * ratio
        rest = (((at - np.array(rows["unit_cost"])) * units * np.exp(mean))[1:]).sum()
        gains.append((first - 5.0) * units[0] * np.exp(draw * ratio[0]) + rest)
    assert table["p_worse"][0] == pytest.approx(np.mean(gains[0] < gains[1]), abs=0.01)


def test_a_held_price_adds_nothing_whatever_its_neighbours_do() -> None:
    rows = category(elasticity_mean=[-1.5, -2.6, -2.0], elasticity_sd=[0.02, 0.02, 3.0])
    held = table_of(PricingSettings(), n=3, **rows).iloc[2]
    assert held["decision"] == "hold"
    assert held["p_worse"] == 0
    assert held["expected_profit"] == held["expected_profit_at_current"]
    assert held["profit_uplift_low_90"] == held["profit_uplift_high_90"] == 0
    alone = table_of(PricingSettings(), n=3, **(rows | {"cross_elasticity": 0.0})).iloc[2]
    assert held["expected_units"] != alone["expected_units"]


def test_a_large_category_settles_and_order_does_not_matter() -> None:
    generator = np.random.default_rng(4)
    n = 300
    price = generator.uniform(5, 50, n).round(2)
    changes = {
        "current_price": price,
        "reference_price": price,
        "unit_cost": price * generator.uniform(0.4, 0.8, n),
        "elasticity_mean": generator.uniform(-3.5, -1.2, n),
        "elasticity_sd": 0.2,
        "cross_elasticity": 0.5 / (n - 1),
    }
    curves, facts = frames(n, **changes)
    table = build_price_table(curves, panel_facts=facts, settings=PricingSettings())
    other = build_price_table(
        curves.iloc[::-1].reset_index(drop=True), panel_facts=facts, settings=PricingSettings()
    )
    merged = table.merge(other, on="product_id")
    same = merged["recommended_price_x"] == merged["recommended_price_y"]
    assert same.mean() >= 0.99
    assert table["expected_profit"].sum() == pytest.approx(other["expected_profit"].sum(), rel=1e-4)


# --- guard rails in the table


def test_the_floor_wins_and_the_reasons_say_so() -> None:
    row = row_of(unit_cost=11.0)
    assert row["recommended_price"] == row["price_floor"] == row["price_ceiling"] == 12.95
    assert row["decision"] == "change" and "floor_above_ceiling" in row["reasons"]
    assert row["expected_profit"] > 0 > row["expected_profit_at_current"]
    assert row["p_worse"] == 0


def test_a_current_price_below_the_floor_must_change() -> None:
    row = row_of(unit_cost=8.6, elasticity_mean=-4.0)
    assert row["decision"] == "change" and "current_price_outside" in row["reasons"]
    assert row["recommended_price"] == 11.49


def test_endings_are_inside_the_search() -> None:
    row = row_of(elasticity_mean=-1.5)
    assert "largest_decrease" not in row["reasons"]
    assert row["recommended_price"] == 11.99 and "largest_increase" in row["reasons"]


# --- bad input


def test_no_cost_at_all_says_what_to_do() -> None:
    with pytest.raises(MissingCostError, match="objective: revenue"):
        row_of(unit_cost=np.nan)


def test_revenue_needs_no_cost_and_claims_no_profit() -> None:
    row = row_of(PricingSettings(objective="revenue"), unit_cost=np.nan, elasticity_mean=-0.5)
    assert row["decision"] == "change" and row["price_floor"] == 8.0
    assert np.isnan(row["expected_profit"]) and np.isnan(row["profit_uplift_low_90"])
    assert row["p_worse"] < 0.1 and row["expected_revenue"] > 0


def test_a_product_without_cost_among_others_is_held() -> None:
    table = table_of(PricingSettings(), n=2, unit_cost=[5.0, np.nan], elasticity_mean=[-1.2, -1.2])
    assert list(table["decision"]) == ["change", "hold"]
    assert "missing_cost" in table["reasons"][1] and table["recommended_price"][1] == 10.0


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("unit_cost", -1.0, "invalid_cost"),
        ("unit_cost", np.inf, "invalid_cost"),
        ("map_price", np.inf, "invalid_map"),
        ("elasticity_mean", np.nan, "no_demand_curve"),
        ("elasticity_mean", 0.3, "no_demand_curve"),
        ("reference_units", np.nan, "no_demand_curve"),
        ("reference_units", -5.0, "no_demand_curve"),
        ("reference_price", 0.0, "no_demand_curve"),
        ("elasticity_sd", np.inf, "no_demand_curve"),
    ],
)
def test_a_bad_value_holds_its_own_row_and_spoils_no_other(column, value, code) -> None:
    good = frames()[0].iloc[0].to_dict() | frames()[1].iloc[0].to_dict()
    table = table_of(PricingSettings(), n=2, **{column: [value, good[column]]})
    assert table["decision"][0] == "hold" and code in table["reasons"][0]
    assert table["recommended_price"][0] == 10.0
    alone = row_of()
    pd.testing.assert_series_equal(
        table.iloc[1].drop("product_id"), alone.drop("product_id"), check_names=False
    )


@pytest.mark.parametrize("price", [np.nan, np.inf, 0.0, -3.0, 0.001])
def test_without_a_current_price_no_price_is_set(price) -> None:
    row = row_of(current_price=price)
    assert np.isnan(row["recommended_price"]) and "invalid_current_price" in row["reasons"]


def test_an_empty_catalogue_gives_an_empty_table() -> None:
    curves, facts = frames()
    table = build_price_table(curves[:0], panel_facts=facts[:0], settings=PricingSettings())
    assert len(table) == 0 and "recommended_price" in table


# --- the frame


def test_columns_are_the_contracts_but_for_the_stamps() -> None:
    columns = [name for name in PRICE_TABLE_COLUMNS if name not in STAMP_COLUMNS]
    assert list(table_of(PricingSettings()).columns) == [*columns, *PRICE_RAIL_COLUMNS]


def test_chunks_and_order_do_not_matter() -> None:
    generator = np.random.default_rng(3)
    n = 9000
    changes = {
        "current_price": generator.uniform(5, 50, n).round(2),
        "elasticity_mean": generator.uniform(-4, -1, n),
        "elasticity_sd": generator.uniform(0.05, 0.6, n),
    }
    changes["reference_price"] = changes["current_price"]
    changes["unit_cost"] = changes["current_price"] * generator.uniform(0.3, 0.95, n)
    curves, facts = frames(n, **changes)
    whole = build_price_table(curves, panel_facts=facts, settings=PricingSettings())
    some = curves.iloc[::-97].reset_index(drop=True)
    alone = build_price_table(some, panel_facts=facts, settings=PricingSettings())
    expected = whole.set_index("product_id").loc[alone["product_id"]]
    pd.testing.assert_frame_equal(alone.set_index("product_id"), expected)
    price = whole["recommended_price"]
    assert ((price >= whole["price_floor"]) & (price <= whole["price_ceiling"])).all()
    assert whole["confidence"].between(0, 1).all()
    changed = whole["decision"] == "change"
    assert (whole["profit_uplift_low_90"] <= whole["profit_uplift_high_90"]).all()
    assert (
        whole["p_worse"][changed] <= PricingSettings().price_table.hold_above_p_worse + TINY
    ).mean() > 0.9
    assert (price[~changed] == whole["current_price"][~changed]).all()


def test_a_price_outside_those_seen_is_marked_and_trusted_less() -> None:
    seen = row_of(elasticity_mean=-1.5)
    new = row_of(elasticity_mean=-1.5, support_low=9.5, support_high=10.5)
    assert "extrapolation" in new["reasons"] and "extrapolation" not in seen["reasons"]
    assert new["confidence"] == pytest.approx(seen["confidence"] / 2)


def test_a_dearer_rival_is_named() -> None:
    assert "rivals are 6% dearer" in row_of(reference_rival_price=10.6)["reasons"]


def test_confidence_falls_with_each_kind_of_doubt() -> None:
    def of(sd=0.1, worse=0.05, n=300.0, inside=True) -> float:
        return confidence(
            elasticity_sd=np.array([sd]),
            p_worse=np.array([worse]),
            observations=np.array([n]),
            inside=np.array([inside]),
            prior_sd=0.5,
        )[0]

    assert 0 < of() < 1
    assert max(of(sd=1.0), of(worse=0.5), of(n=3.0), of(inside=False)) < of()
    assert of(worse=np.nan) == 0


# --- expectations against Monte Carlo


@pytest.mark.parametrize("limit", [0.0, 20.0, 90.0, 400.0])
def test_limited_mean_is_the_mean_of_the_minimum(limit) -> None:
    """400,000 draws: a standard error below 0.1 % of the mean."""
    sample = np.random.default_rng(1).lognormal(np.log(100) - 0.125, 0.5, 400_000)
    exact = limited_mean(np.array(100.0), log_variance=np.array(0.25), limit=np.array(limit))
    assert float(exact) == pytest.approx(np.minimum(sample, limit).mean(), rel=0.004, abs=1e-9)


@pytest.mark.parametrize("price", [8.0, 9.5, 11.0, 12.0])
@pytest.mark.parametrize("stock", [np.inf, 30.0, 90.0, 130.0])
@pytest.mark.parametrize("objective", ["profit", "revenue", "market_share"])
def test_probability_worse_is_the_share_of_draws_that_are_worse(price, stock, objective) -> None:
    curves = curves_of(elasticity_mean=-2.0, elasticity_sd=0.5, reference_units_cv=0.3)
    cost = 5.0
    margin = {"profit": lambda p: p - cost, "revenue": lambda p: p, "market_share": lambda p: 1.0}
    gain = margin[objective](price) * np.minimum(draws(curves, price), stock) - margin[objective](
        10.0
    ) * np.minimum(draws(curves, 10.0), stock)
    exact = probability_worse(
        curves,
        price=np.array([[price]]),
        baseline=np.array([10.0]),
        worth=worth_of(objective, cost),
        available=np.array([stock]),
    )[0, 0]
    if objective == "market_share":
        assert np.mean(gain < 0) - 0.006 <= exact <= np.mean(gain <= 0) + 0.006
    else:
        assert exact == pytest.approx(np.mean(gain < 0), abs=0.006)


@pytest.mark.parametrize("price", [8.0, 11.5])
@pytest.mark.parametrize("stock", [np.inf, 90.0])
@pytest.mark.parametrize("reference", [10.0, 7.0])
def test_uplift_interval_matches_the_draws(price, stock, reference) -> None:
    """The 384 nodes cut the tails a little: 6 % of the interval's width is allowed."""
    curves = curves_of(
        elasticity_sd=0.4, reference_units_cv=0.3, reference_price=reference, elasticity_mean=-1.8
    )
    gain = (price - 5) * np.minimum(draws(curves, price), stock) - 5 * np.minimum(
        draws(curves, 10.0), stock
    )
    low, high = uplift_interval(
        curves,
        price=np.array([price]),
        baseline=np.array([10.0]),
        worth=worth_of("profit", 5.0),
        available=np.array([stock]),
    )
    expected = np.quantile(gain, [0.05, 0.95])
    np.testing.assert_allclose([low[0], high[0]], expected, atol=0.06 * np.ptp(expected))


@pytest.mark.parametrize(
    ("price", "baseline", "cost", "expected"),
    [(9.0, 8.0, 10.0, 0.0), (8.0, 9.0, 10.0, 1.0), (12.0, 8.0, 10.0, 0.0), (8.0, 12.0, 10.0, 1.0)],
)
def test_prices_below_cost_compare_by_their_loss(price, baseline, cost, expected) -> None:
    for stock in (np.inf, 50.0):
        worse = probability_worse(
            curves_of(),
            price=np.array([[price]]),
            baseline=np.array([baseline]),
            worth=worth_of("profit", cost),
            available=np.array([stock]),
        )
        assert worse[0, 0] == expected


# --- other objectives and decisions


def selling(**target: float) -> PricingSettings:
    return PricingSettings(
        objective="sell_through",
        sell_through={"salvage_share": 0.2, **target},
        guardrails=ANY_ENDING,
        price_table=PriceTableParameters(candidates=2000, hold_above_p_worse=1.0),
        max_price_change=0.5,
        min_margin=0.0,
    )


def test_a_markdown_weighs_revenue_against_what_is_left_over() -> None:
    """Against every price: revenue of sales by the date, and salvage of the rest; cost is sunk."""
    stock = {"on_hand": 120.0, "replenished": False, "unit_cost": 3.0, "elasticity_mean": -1.6}
    row = row_of(selling(), **stock)
    curves = curves_of(**stock)

    def worth(price: float) -> float:
        at = np.array([[price]])
        sales = expected_sales(curves, price=at, available=np.array([120.0]))[0, 0]
        return price * sales + 0.2 * 10.0 * (120.0 - sales)

    every = np.arange(row["price_floor"], row["price_ceiling"], 0.01)
    assert worth(row["recommended_price"]) >= max(map(worth, every)) * 0.9999
    assert row["objective"] == "sell_through"
    costless = row_of(selling(), **(stock | {"unit_cost": np.nan}))
    assert costless["recommended_price"] == row["recommended_price"]


@pytest.mark.parametrize("share", [0.8, 0.85, 0.95])
def test_a_sell_through_target_is_met_at_the_least_cost(share) -> None:
    """No allowed price that sells the target brings more than the one that is chosen."""
    stock = {"on_hand": 150.0, "replenished": False, "unit_cost": 3.0, "elasticity_mean": -1.3}
    free, row = row_of(selling(), **stock), row_of(selling(target_share=share), **stock)
    assert free["expected_units"] < share * 150 <= row["expected_units"]
    curves, available = curves_of(**stock), np.array([150.0])
    every = np.arange(row["price_floor"], row["price_ceiling"], 0.01)[None, :]
    sales = expected_sales(curves, price=every, available=available)[0]
    value = (every[0] - 2.0) * sales
    best = value[sales >= share * 150].max()
    chosen = (row["recommended_price"] - 2.0) * row["expected_units"]
    assert chosen >= best * 0.999


def test_a_target_beyond_every_price_takes_the_price_that_sells_most() -> None:
    stock = {"on_hand": 900.0, "replenished": False, "unit_cost": 3.0}
    row = row_of(selling(target_share=1.0), **stock)
    assert row["recommended_price"] == row["price_floor"]


def test_a_risky_gain_is_proposed_for_an_experiment_where_asked_for() -> None:
    risky = {"elasticity_mean": -1.5, "elasticity_sd": 0.6}
    asked = PriceTableParameters(test_when_uncertain=True, hold_above_p_worse=0.2)
    silent = PriceTableParameters(hold_above_p_worse=0.2)
    row = row_of(PricingSettings(price_table=asked), **risky)
    assert row["decision"] == "test" and row["recommended_price"] == row["current_price"]
    assert "test: held, but" in row["reasons"] and row["p_worse"] == 0
    assert row_of(PricingSettings(price_table=silent), **risky)["decision"] == "hold"
    strict = asked.model_copy(update={"test_up_to_p_worse": 0.21})
    assert row_of(PricingSettings(price_table=strict), **risky)["decision"] == "hold"
    dear = asked.model_copy(update={"test_min_gain": 0.9})
    assert row_of(PricingSettings(price_table=dear), **risky)["decision"] == "hold"
