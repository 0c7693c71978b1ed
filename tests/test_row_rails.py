"""Rules between products in the price table itself, and in live quotes from it."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.panel_facts import panel_facts, prior_price, with_price_history
from pricing_assets.core.price_parameters import GuardRailParameters
from pricing_assets.core.price_reasons import rule_counts
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.price_windows import request_windows
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS
from tests.panels import synthetic_panel
from tests.published_tables import curve_table

RAILS = {
    "size_parity": True,
    "ladders": ["SKU-0 < SKU-1 < SKU-2"],
    "ladder_min_gap": 0.05,
    "kvi_max_index": 1.02,
    "kvi_max_mean_index": 0.98,
}


def rules(**rails) -> PricingSettings:
    return PricingSettings(guardrails=GuardRailParameters(**rails))


def catalogue(count: int, *, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Curves and facts of products in pack sizes that obey no rule yet."""
    rng = np.random.default_rng(seed)
    curves = curve_table(count, seed=seed).to_pandas()
    size = rng.choice([1.0, 2.0, 4.0], count)
    price = np.round(3 * size ** rng.uniform(0.6, 1.3, count) * rng.uniform(0.8, 1.2, count), 2)
    curves = curves.assign(
        reference_price=price,
        unit_cost=np.round(price * rng.uniform(0.3, 0.8, count), 2),
        reference_rival_price=np.round(price * rng.uniform(0.8, 1.2, count), 2),
        support_low=price * 0.7,
        support_high=price * 1.3,
    )
    facts = pd.DataFrame(
        {
            "product_id": curves["product_id"],
            "store_id": "",
            "current_price": price,
            "unit_cost": curves["unit_cost"],
            "map_price": np.nan,
            "on_hand": np.nan,
            "replenished": True,
            "brand": rng.choice(["a", "b"], count),
            "pack_size": size,
            "kvi": (rng.random(count) < 0.4).astype(int),
        }
    )
    return curves[list(DEMAND_CURVE_COLUMNS)], facts


def parity_breaks(price: np.ndarray, facts: pd.DataFrame, codes: pd.Series) -> int:
    """Pairs of one brand whose larger pack is dearer for each unit and that nothing explains."""
    unit = price / facts["pack_size"].to_numpy()
    relaxed = codes.str.contains("size_parity_relaxed").to_numpy()
    found = 0
    for i in range(len(facts)):
        for j in range(len(facts)):
            same = facts["brand"][i] == facts["brand"][j] and not (relaxed[i] or relaxed[j])
            larger = facts["pack_size"][i] > facts["pack_size"][j]
            found += bool(same and larger and unit[i] > unit[j] * (1 + 1e-9))
    return found


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(3, 14))
def test_a_table_obeys_its_rules_and_so_does_any_mix_of_live_prices(seed, count) -> None:
    """Live prices anywhere inside the published floors and ceilings keep size parity."""
    curves, facts = catalogue(count, seed=seed)
    table = build_price_table(curves, panel_facts=facts, settings=rules(size_parity=True))
    low, high = table["price_floor"].to_numpy(), table["price_ceiling"].to_numpy()
    price = table["recommended_price"].to_numpy()
    assert np.all((low <= price + 1e-9) & (price <= high + 1e-9))
    assert parity_breaks(price, facts, table["reasons"]) == 0
    rng = np.random.default_rng(seed)
    for _ in range(4):
        live = np.round(low + rng.random(count) * (high - low), 2)
        assert parity_breaks(np.clip(live, low, high), facts, table["reasons"]) == 0
    for live in (low, high, np.where(rng.random(count) < 0.5, low, high)):
        assert parity_breaks(live, facts, table["reasons"]) == 0


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(3, 20))
def test_all_rules_together_never_leave_a_products_own_floor_and_ceiling(seed, count) -> None:
    """Without substitutes, so that a product moves for a rule of its own or not at all."""
    curves, facts = catalogue(count, seed=seed)
    curves = curves.assign(cross_elasticity=0.0)
    free = build_price_table(curves, panel_facts=facts, settings=rules())
    tied = build_price_table(curves, panel_facts=facts, settings=rules(**RAILS))
    assert (tied["price_floor"] >= free["price_floor"] - 1e-9).all()
    assert (tied["price_ceiling"] <= free["price_ceiling"] + 1e-9).all()
    named = tied["reasons"].str.contains("_relaxed|size_parity|price_ladder|kvi_")
    moved = (tied["recommended_price"] - free["recommended_price"]).abs() > 1e-9
    alone = tied["rail_low"].isna() & tied["rail_high"].isna()
    assert not (moved & alone & ~named).any()


def test_no_rule_costs_nothing_and_a_rule_costs_profit() -> None:
    curves, facts = catalogue(40, seed=3)
    free = build_price_table(curves, panel_facts=facts, settings=rules())
    tied = build_price_table(curves, panel_facts=facts, settings=rules(size_parity=True))
    assert free["rail_low"].isna().all() and free["rail_high"].isna().all()
    assert tied["expected_profit"].sum() <= free["expected_profit"].sum() + 1e-6
    counts = dict(rule_counts(tied["reasons"]).itertuples(index=False))
    assert counts.get("size_parity", 0) > 0


def stores(count: int, *, share: float) -> pd.DataFrame:
    curves, facts = catalogue(count, seed=5)
    curves = curves.assign(product_id="SKU-0", store_id=[str(i) for i in range(count)])
    price = np.full(count, 10.0)
    curves = curves.assign(reference_price=price, unit_cost=6.0, support_low=8.0, support_high=12.0)
    facts = facts.assign(
        product_id="SKU-0",
        store_id=curves["store_id"],
        zone="north",
        current_price=price + np.arange(count) % 5 * 0.1,
        unit_cost=6.0,
    )
    return build_price_table(curves, panel_facts=facts, settings=rules(zone_parity=share))


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_stores_of_a_zone_stay_together(share) -> None:
    price = stores(6, share=share)["recommended_price"]
    assert price.max() <= price.min() * (1 + share) + 1e-9


def test_many_stores_of_a_zone_move_inside_one_interval() -> None:
    price = stores(90, share=0.1)["recommended_price"]
    assert price.max() <= price.min() * 1.1 + 1e-9
    assert price.nunique() > 1


def test_the_day_the_freeze_and_the_prior_price_reach_the_table() -> None:
    curves, facts = catalogue(4, seed=1)
    facts = with_price_history(
        facts,
        reference=pd.DataFrame(
            {"product_id": ["SKU-0"], "store_id": [""], "reference_price_24h": [1e-2]}
        ),
        frozen={"SKU-1"},
        everything_frozen=False,
    )
    table = build_price_table(curves, panel_facts=facts, settings=rules())
    assert table["price_ceiling"][0] == pytest.approx(max(0.01, table["price_floor"][0]))
    assert table["recommended_price"][1] == table["current_price"][1]
    assert table["reasons"][1].startswith("frozen: ")
    assert table["rail_low"][1] == table["rail_high"][1] == table["current_price"][1]
    assert list(table["reference_price_24h"].notna()) == [True, False, False, False]


def test_the_rails_of_the_table_hold_at_serving_whatever_the_request_says() -> None:
    curves, facts = catalogue(6, seed=2)
    table = build_price_table(curves, panel_facts=facts, settings=rules(size_parity=True))
    tied = table[table["rail_high"].notna()]
    windows = request_windows(
        prior_price=np.full(len(tied), np.nan),
        reference_price=tied["reference_price_24h"].to_numpy(),
        rail_low=tied["rail_low"].to_numpy(),
        rail_high=tied["rail_high"].to_numpy(),
        settings=rules(size_parity=True),
    )
    np.testing.assert_allclose(windows.high / 100, tied["rail_high"])
    np.testing.assert_allclose(windows.low / 100, tied["rail_low"])


def test_the_prior_price_is_the_lowest_before_the_promotion() -> None:
    """Brute force over a panel whose promotions run at its end in some series."""
    panel = synthetic_panel(12, 120, seed=4)
    panel.promo[3, -5:] = 1.0
    panel.promo[4, :] = 1.0
    found = prior_price(panel, days=30)
    for row in range(12):
        start = panel.shape[1]
        while start and panel.promo[row, start - 1] > 0:
            start -= 1
        before = panel.price[row, max(start - 30, 0) : start]
        wanted = np.nanmin(before) if before.size else np.nan
        np.testing.assert_allclose(found[row], wanted)
    facts = panel_facts(panel)
    assert facts["promoted"][3] and facts["promoted"][4]
    assert np.isnan(facts["prior_price"][4])
