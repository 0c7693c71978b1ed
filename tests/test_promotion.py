"""Gates, table changes, facts of a series and the data version: small pure functions."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.errors import NotPromotedError
from pricing_assets.core.features import build_panel
from pricing_assets.core.lineage import data_version
from pricing_assets.core.panel import Panel
from pricing_assets.core.panel_facts import panel_facts
from pricing_assets.core.promotion import Gate, all_passed, promotion_gates, require_champion
from pricing_assets.core.settings import GateParameters, PricingSettings
from pricing_assets.core.table_changes import table_changes

PRICES = pd.DataFrame(
    {
        "product_id": ["A", "B"],
        "store_id": "",
        "recommended_price": [10.0, np.nan],
        "price_floor": [8.0, np.nan],
        "price_ceiling": [12.0, np.nan],
    }
)


def backtest(*, chosen_wape: float, baseline_wape: float, coverage: float) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": ["lightgbm", "ses_weekday", "seasonal_naive", "lightgbm"],
            "origin": ["all", "all", "all", "2024-01-01"],
            "wape": [chosen_wape, baseline_wape, 9.0, 99.0],
            "coverage_80": [coverage, 0.8, 0.8, 0.0],
            "chosen": [True, False, False, True],
        }
    )


def gates(frame: pd.DataFrame, prices: pd.DataFrame = PRICES) -> dict[str, Gate]:
    found = promotion_gates(
        backtest=frame,
        price_table=prices,
        baselines=("ses_weekday", "seasonal_naive"),
        parameters=GateParameters(max_wape_ratio=1.0, min_coverage=0.6),
    )
    return {gate.name: gate for gate in found}


def test_a_model_that_beats_the_better_baseline_passes() -> None:
    found = gates(backtest(chosen_wape=0.4, baseline_wape=0.5, coverage=0.8))
    assert found["forecast_wape_ratio"].value == pytest.approx(0.8)
    assert all_passed(found.values())


@pytest.mark.parametrize(
    ("wape", "coverage", "failed"),
    [
        (0.6, 0.8, "forecast_wape_ratio"),
        (float("nan"), 0.8, "forecast_wape_ratio"),
        (0.4, 0.5, "interval_coverage"),
    ],
)
def test_a_gate_that_fails_is_named_and_stops_publication(
    wape: float, coverage: float, failed: str
) -> None:
    found = gates(backtest(chosen_wape=wape, baseline_wape=0.5, coverage=coverage))
    assert [name for name, gate in found.items() if not gate.passed] == [failed]
    registered = {
        "name": "pricing-demand",
        "version": "3",
        "alias": "challenger",
        "gates": [gate.as_json() for gate in found.values()],
    }
    with pytest.raises(NotPromotedError, match=failed):
        require_champion(registered)


def test_a_price_outside_its_rails_fails_the_gate() -> None:
    beyond = PRICES.assign(price_ceiling=[9.0, np.nan])
    found = gates(backtest(chosen_wape=0.4, baseline_wape=0.5, coverage=0.8), beyond)
    assert found["guard_rail_violations"].value == 1
    assert not found["guard_rail_violations"].passed


def test_the_first_table_is_all_added() -> None:
    changes = table_changes(None, PRICES)
    assert (changes.added, changes.removed, changes.changed) == (2, 0, 0)


def test_changes_are_counted_and_the_largest_comes_first() -> None:
    before = pd.DataFrame(
        {
            "product_id": ["A", "B", "C", "D"],
            "store_id": "",
            "recommended_price": [10.0, 10.0, 10.0, np.nan],
        }
    )
    after = pd.DataFrame(
        {
            "product_id": ["A", "B", "D", "E"],
            "store_id": "",
            "recommended_price": [10.5, 8.0, np.nan, 1.0],
        }
    )
    changes = table_changes(before, after)
    assert (changes.added, changes.removed, changes.changed) == (1, 1, 2)
    assert changes.largest["product_id"].tolist() == ["B", "A"]
    assert changes.largest["relative_change"].tolist() == pytest.approx([-0.2, 0.05])


def panel(stock: dict[str, list[float]], status: dict[str, str]) -> Panel:
    days = len(next(iter(stock.values())))
    dates = pd.date_range("2024-01-01", periods=days)
    sales = pd.DataFrame(
        {
            "date": np.tile(dates, len(stock)),
            "product_id": np.repeat(list(stock), days),
            "units": 1.0,
            "price": 2.0,
        }
    )
    inventory = pd.DataFrame(
        {
            "date": np.tile(dates, len(stock)),
            "product_id": np.repeat(list(stock), days),
            "on_hand": np.concatenate(list(stock.values())),
        }
    ).dropna()
    products = pd.DataFrame({"product_id": list(status), "status": list(status.values())})
    tables = {"sales": sales, "inventory": inventory, "products": products}
    return build_panel(tables, PricingSettings())


def test_a_series_is_replenished_if_its_stock_rose_lately_or_is_unknown() -> None:
    unknown = [np.nan] * 6
    found = panel_facts(
        panel(
            {
                "refilled": [9, 8, 7, 12, 11, 10],
                "sold_down": [9, 8, 7, 6, 5, 4],
                "unknown": unknown,
                "ending": [9, 8, 7, 12, 11, 10],
            },
            {"ending": "Clearance"},
        )
    ).set_index("product_id")
    assert found["replenished"].to_dict() == {
        "refilled": True,
        "sold_down": False,
        "unknown": True,
        "ending": False,
    }
    assert found.loc["sold_down", "on_hand"] == 4
    assert found.loc["refilled", "current_price"] == 2.0


def test_the_data_version_names_the_rows() -> None:
    table = pd.DataFrame({"product_id": ["A", "B"], "units": [1.0, 2.0]})
    version = data_version({"sales": table})
    assert len(version) == 16
    assert data_version({"sales": table.copy()}) == version
    assert data_version({"sales": table.assign(units=[1.0, 2.1])}) != version
    assert data_version({"sales": table.rename(columns={"units": "unit"})}) != version
    assert data_version({"costs": table}) != version
