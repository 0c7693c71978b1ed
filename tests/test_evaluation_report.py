"""The evaluation report: strict JSON, escaped and self-contained HTML, and the simulated truth."""

import json
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.evaluation.report import evaluation_numbers, reason_codes, with_gates
from pricing_assets.core.evaluation.report_evidence import Evidence
from pricing_assets.core.evaluation.report_page import evaluation_html
from pricing_assets.core.evaluation.truth import TruthComparison, compare_with_truth
from pricing_assets.core.guardrails import price_bounds
from pricing_assets.core.market import Market, MarketParameters, simulate_market
from pricing_assets.core.price_endings import candidate_prices
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.settings import PricingSettings

NASTY = '<script>alert("x")</script>&"\''
TRUTH = TruthComparison(
    horizon_days=28,
    products=4,
    profit_at_current=100.0,
    profit_at_recommended=106.0,
    profit_at_oracle=110.0,
    share_of_oracle_uplift=0.6,
    regret=4 / 110,
    elasticity_rmse=0.4,
    elasticity_bias=0.1,
    coverage_90=0.88,
)


def price_table() -> pd.DataFrame:
    n = 4
    curves = pd.DataFrame(
        {
            "product_id": [NASTY, "B", "C", "D"],
            "store_id": "",
            "reference_price": 10.0,
            "reference_units": 100.0,
            "reference_units_cv": 0.1,
            "elasticity_mean": [-1.3, -4.0, -1.9, -1.3],
            "elasticity_sd": [0.05, 0.1, 1.5, 0.1],
            "curvature": 0.0,
            "reference_rival_price": np.nan,
            "support_low": 1.0,
            "support_high": 100.0,
            "observations": 200,
        },
        index=range(n),
    )
    facts = pd.DataFrame(
        {
            "product_id": curves["product_id"],
            "store_id": "",
            "current_price": 10.0,
            "unit_cost": [5.0, 5.0, 5.0, np.nan],
            "map_price": np.nan,
            "on_hand": np.nan,
            "replenished": True,
        }
    )
    return build_price_table(curves, panel_facts=facts, settings=PricingSettings())


def elasticities() -> pd.DataFrame:
    mean = np.linspace(-4, -0.5, 60)
    return pd.DataFrame(
        {
            "product_id": [NASTY, *(f"P{i}" for i in range(59))],
            "store_id": "",
            "own_price_elasticity": mean,
            "sd": 0.3,
            "low_90": mean - 0.5,
            "high_90": mean + 0.5,
            "method": "fixed effects",
        }
    )


def backtest() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": ["lightgbm", "seasonal_naive"] * 2,
            "origin": ["2024-01-01"] * 2 + ["all"] * 2,
            "wape": [0.3, 0.4, 0.3, 0.4],
            "coverage_80": [0.8, np.nan, 0.8, np.nan],
        }
    )


def numbers_of(truth: TruthComparison | None = TRUTH, **changes) -> dict:
    inputs = {
        "backtest": backtest(),
        "elasticities": elasticities(),
        "price_table": price_table(),
        "quarantine": pd.DataFrame({"table": ["sales"], "reason": ["price <= 0"], "count": [3]}),
    }
    return evaluation_numbers(**(inputs | changes), truth=truth, settings=PricingSettings())


class Outline(HTMLParser):
    """Collects tags and attributes, and checks that what opens also closes."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


def outline_of(html: str) -> Outline:
    outline = Outline()
    outline.feed(html)
    assert not outline.open
    return outline


def test_numbers_are_strict_json_and_add_up() -> None:
    numbers = numbers_of()
    again = json.loads(json.dumps(numbers, allow_nan=False))
    assert again == numbers
    prices = numbers["prices"]
    assert prices["rows"] == prices["changed"] + prices["held"] == 4
    assert prices["changed"] == prices["raised"] + prices["cut"]
    assert sum(numbers["held"].values()) == prices["held"]
    assert numbers["held"]["missing_cost"] == 1 and numbers["held"]["hold_risk"] == 1
    assert numbers["guard_rails"]["largest_increase"] == 1
    assert numbers["accuracy"]["best_model"] == "lightgbm"
    assert numbers["accuracy"]["models"][1]["coverage_80"] is None
    assert len(numbers["elasticity"]["forest"]) == 24
    assert sum(item["count"] for item in numbers["elasticity"]["histogram"]) == 60


def test_the_page_is_well_formed_and_takes_nothing_from_outside() -> None:
    html = evaluation_html(numbers_of(), title=f"Run {NASTY}", subtitle=NASTY)
    outline = outline_of(html)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(outline.tags)
    assert not [name for name, _ in outline.attributes if name in ("src", "href")]
    assert "url(" not in html and "@import" not in html and "http" not in html
    assert "<script" not in html and "&lt;script&gt;" in html


def test_every_section_is_there() -> None:
    html = evaluation_html(numbers_of(), title="Run")
    for heading in (
        "The price table",
        "Against the simulated truth",
        "Ten changes that matter most",
        "Forecast accuracy",
        "Own-price elasticity",
        "Guard rails that shaped prices",
        "Prices held, and why",
        "Rows set aside",
    ):
        assert f"<h2>{heading}</h2>" in html
    assert "60%" in html and "missing_cost" not in html and "the unit cost is unknown" in html


def test_real_data_claim_no_uplift() -> None:
    numbers = numbers_of(truth=None)
    html = evaluation_html(numbers, title="Run")
    assert "no profit uplift is claimed" in html and "oracle" not in html
    assert numbers["truth"] is None


def test_the_page_is_the_same_from_numbers_read_back_from_json() -> None:
    numbers = numbers_of()
    again = json.loads(json.dumps(numbers))
    assert evaluation_html(again, title="Run") == evaluation_html(numbers, title="Run")


def test_empty_inputs_give_a_page_that_says_so() -> None:
    numbers = numbers_of(
        truth=None,
        backtest=backtest()[:0],
        elasticities=elasticities()[:0],
        price_table=price_table()[:0],
        quarantine=pd.DataFrame({"table": [], "reason": [], "count": []}),
    )
    json.dumps(numbers, allow_nan=False)
    html = evaluation_html(numbers, title="Run")
    outline_of(html)
    assert "No price is changed." in html and "No raw row was set aside." in html


def test_a_truth_without_gain_shows_a_dash() -> None:
    numbers = numbers_of(truth=replace(TRUTH, share_of_oracle_uplift=float("nan")))
    assert numbers["truth"]["share_of_oracle_uplift"] is None
    evaluation_html(numbers, title="Run")


def test_reason_codes_are_read_from_the_sentence() -> None:
    text = "hold_risk: held, as 1.99: so; odd; rival: rivals are 3% dearer; margin_floor: x"
    assert reason_codes(text) == {"hold_risk", "rival", "margin_floor"}


# --- the simulated truth

SETTINGS = PricingSettings(horizon_days=7, price_table=PriceTableParameters(candidates=16))


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate_market(MarketParameters(products=6, days=60, seed=3, category_size=3))


def table_at(market: Market, prices: np.ndarray, error: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "product_id": market.rows["product_id"],
            "store_id": market.rows["store_id"],
            "recommended_price": prices,
            "own_price_elasticity": market.own_price_elasticity() + error,
            "own_price_elasticity_sd": 0.2,
        }
    )


def oracle_prices(market: Market) -> np.ndarray:
    bounds = price_bounds(
        current_price=market.current_price,
        unit_cost=market.unit_cost,
        map_price=np.full(len(market.rows), np.nan),
        settings=SETTINGS,
    )
    found = candidate_prices(bounds, ending=SETTINGS.guardrails.price_ending, k=16)
    return market.oracle_prices(found.prices / 100, horizon_days=SETTINGS.horizon_days)


def test_current_prices_win_nothing_and_the_oracles_win_all(market) -> None:
    nothing = compare_with_truth(
        market, price_table=table_at(market, market.current_price), settings=SETTINGS
    )
    everything = compare_with_truth(
        market, price_table=table_at(market, oracle_prices(market)), settings=SETTINGS
    )
    assert nothing.share_of_oracle_uplift == 0 and nothing.regret > 0
    assert everything.share_of_oracle_uplift == pytest.approx(1) and everything.regret == 0
    assert nothing.profit_at_current == everything.profit_at_current


def test_rows_are_matched_by_key_and_missing_ones_keep_their_price(market) -> None:
    table = table_at(market, market.current_price)
    shuffled = table.sample(frac=1, random_state=1).iloc[1:]
    result = compare_with_truth(market, price_table=shuffled, settings=SETTINGS)
    assert result.products == 6
    assert result.profit_at_recommended == pytest.approx(result.profit_at_current)


@pytest.mark.parametrize(("error", "covered"), [(0.0, 1.0), (0.3, 1.0), (-0.4, 0.0)])
def test_elasticity_errors_are_what_was_planted(market, error, covered) -> None:
    """The 90 % interval of sd 0.2 reaches 0.33 either way."""
    result = compare_with_truth(
        market, price_table=table_at(market, market.current_price, error), settings=SETTINGS
    )
    assert result.elasticity_rmse == pytest.approx(abs(error), abs=1e-12)
    assert result.elasticity_bias == pytest.approx(error, abs=1e-12)
    assert result.coverage_90 == covered


# --- what drives the changes


def drivers() -> tuple[pd.DataFrame, pd.DataFrame]:
    table = price_table()
    parts = {
        "gain_from_price": 5.0,
        "gain_from_units": -2.0,
        "gain_from_substitutes": np.nan,
        "gain": 3.0,
    }
    prices = table[["product_id", "store_id", "objective"]].assign(
        **parts, rail_cost=np.nan, sentence=f"Raised {NASTY}"
    )
    forecasts = table[["product_id", "store_id"]].iloc[:1].assign(sentence="12 units expected")
    return prices, forecasts


def test_the_changes_that_matter_most_show_what_drives_them() -> None:
    prices, forecasts = drivers()
    numbers = numbers_of(price_drivers=prices, forecast_drivers=forecasts)
    again = json.loads(json.dumps(numbers, allow_nan=False))
    assert again == numbers
    changes = [row["product_id"] for row in numbers["prices"]["largest_changes"]]
    assert [row["product_id"] for row in numbers["drivers"]] == changes
    html = evaluation_html(numbers, title="Run")
    outline = outline_of(html)
    assert outline.tags.count("h3") == len(changes) + 2
    assert html.count('class="loss"') == len(changes)
    assert "Forecast: 12 units expected." in html and "<script" not in html


def test_without_drivers_the_page_has_no_such_part() -> None:
    numbers = numbers_of()
    assert numbers["drivers"] == [] and "What drives them" not in evaluation_html(
        numbers, title="Run"
    )


# --- the tables of evidence


def evidence() -> Evidence:
    """One table of each kind, with a NaN and a nasty name where the data may hold them."""
    slices = pd.DataFrame(
        {
            "model": ["lightgbm", "seasonal_naive"] * 2 + ["lightgbm"],
            "by": ["horizon"] * 4 + ["category"],
            "level": ["week 1", "week 1", "week 2", "week 2", NASTY],
            "cells": 10,
            "units": 20.0,
            "wape": [0.3, 0.4, 0.35, 0.32, np.nan],
            "bias": [0.1, 0.0, 0.0, 0.0, np.nan],
            "coverage_80": 0.8,
        }
    )
    calibration = pd.DataFrame(
        {
            "model": "lightgbm",
            "kind": ["quantile"] * 3 + ["mean"] * 2,
            "level": ["q10", "q50", "q90", "tenth 1", "tenth 2"],
            "expected": [0.1, 0.5, 0.9, 0.02, 40.0],
            "observed": [0.12, 0.5, 0.88, 0.0, 41.0],
            "cells": 10,
        }
    )
    interval = {"low_90": [-2.5, np.nan], "high_90": [-1.5, np.nan]}
    methods = pd.DataFrame(
        {"method": ["double_ml", "instrumental"], "chosen": [True, False]}
        | {"pooled_mean": [-2.0, np.nan], "first_stage_f": np.nan, "reason": ["used", NASTY]}
        | interval
    )
    sensitivity = pd.DataFrame(
        {"test": ["placebo_future_price", "robustness_value"], "value": [0.4, 0.1]}
        | {"passed": [False, True], "meaning": "words"}
        | interval
    )
    goals = pd.DataFrame(
        {"goal": ["min_margin_rate", "min_units"], "wanted": [0.3, np.nan], "attained": 0.25}
        | {"at_current": 0.2, "multiplier": 1.5, "met": [False, True], "relaxed_to": 0.25}
        | {"clashes_with": ["min_revenue", ""]}
    )
    frontier = pd.DataFrame(
        {"point": ["current", "chosen", "frontier", "frontier"]}
        | {"revenue": [10.0, 12.0, 12.0, 14.0], "profit": [4.0, 5.0, 5.0, 4.5]}
    )
    off_policy = pd.DataFrame(
        {"estimator": ["switch"], "value": 1234.5, "present_value": 1200.0, "difference": 34.5}
        | {"difference_low_90": [-1.0], "difference_high_90": 70.0, "overlap": 0.8}
        | {"effective_sample_size": 120.0, "max_weight_share": 0.1, "refused": False}
        | {"reason": ""}
    )
    return Evidence(slices, calibration, sensitivity, methods, goals, frontier, off_policy)


def test_every_table_of_evidence_is_drawn_and_escaped() -> None:
    gates = [
        {"name": "wape_ratio", "value": None, "threshold": 1.0, "bound": "at most", "passed": False}
    ]
    numbers = with_gates(numbers_of(evidence=evidence()), gates)
    assert json.loads(json.dumps(numbers, allow_nan=False)) == numbers
    html = evaluation_html(numbers, title="Run")
    outline_of(html)
    for heading in (
        "Calibration",
        "Estimators side by side",
        "Sensitivity and placebo",
        "Goals of the catalogue",
        "Profit against revenue",
        "Value from logged prices",
        "The promotion gate",
    ):
        assert f"<h2>{heading}</h2>" in html
    assert "Closed: wape ratio" in html and "1 of 2 call for caution" in html
    assert "1,234.5" in html and "-1.0 to 70.0" in html
    assert "yields to 25.0%" in html and "min units" not in html
    assert '<td class="least">0.320</td>' in html and "<script" not in html


def test_a_refused_value_says_why_and_gives_no_number() -> None:
    found = evidence()
    assert found.off_policy is not None
    refused = found.off_policy.assign(refused=True, reason=f"overlap is 0.1 {NASTY}", value=np.nan)
    html = evaluation_html(numbers_of(evidence=replace(found, off_policy=refused)), title="Run")
    outline_of(html)
    assert "No value is given: overlap is 0.1" in html and "1,234.5" not in html


def test_parts_without_their_table_are_left_out() -> None:
    html = evaluation_html(numbers_of(), title="Run")
    for heading in ("Calibration", "Sensitivity and placebo", "The promotion gate"):
        assert f"<h2>{heading}</h2>" not in html
