"""Shadow scoring: what was served, asked again of a table that nobody published."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.evaluation.shadow import COLUMNS, shadow_summary
from pricing_assets.core.settings import PricingSettings
from serving.desk import Desk
from serving.price_store import PriceStore
from serving.shadow_quotes import ShadowQuote, shadow_catalog, shadow_quotes
from tests.published_tables import NOW, curve_table, price_table, stamps
from tests.test_desk import a_cache


def rows(*pairs: tuple[float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(pairs, columns=["served_price", "shadow_price"])
    frame["relative_difference"] = frame["shadow_price"] / frame["served_price"] - 1
    return frame.reindex(columns=list(COLUMNS))


def test_differences_are_summed_up_and_a_refusal_is_not_an_answer() -> None:
    found = shadow_summary(rows((10, 10), (10, 12), (10, 9.5), (10, np.nan)))
    assert (found.quotes, found.answered) == (4, 3)
    assert found.same == pytest.approx(1 / 3)
    assert found.raised == pytest.approx(1 / 3)
    assert found.cut == pytest.approx(1 / 3)
    assert found.far_apart == pytest.approx(1 / 3)
    assert found.largest == pytest.approx(0.2)
    assert found.mean_difference == pytest.approx(0.05)


def test_no_quote_gives_no_figure() -> None:
    found = shadow_summary(rows())
    assert found.quotes == 0 and np.isnan(found.same)


COUNT = 12
CURVES = curve_table(COUNT)


@pytest.fixture
async def audit(tmp_path: Path) -> Path:
    """The log of a desk that served published prices, prices in context, and a wrong request."""
    folder = tmp_path / "audit"
    store = PriceStore(tmp_path / "tables")
    store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(), now=NOW)
    desk = Desk(store, a_cache(), settings=PricingSettings(), now=lambda: NOW, audit=folder)
    await desk.refresh()
    for number in range(COUNT):
        await desk.price_json({"product_id": f"SKU-{number}"})
    await desk.prices_json(
        [
            {"product_id": "SKU-1", "current_stock": 40, "day_of_week": "Friday"},
            {"product_id": "SKU-2", "comp_price": 18.5},
            {"product_id": "SKU-3", "current_stock": -1},
            {"product_id": "NEW", "current_price": 20},
        ]
    )
    await desk.stop()
    return folder


def asked(
    audit: Path, *, factor: float = 1.05, rows: int = COUNT, limit: int = 100
) -> list[ShadowQuote]:
    curves = CURVES.slice(0, rows)
    candidate = shadow_catalog(
        price_table(curves, factor=factor), curves, stamps=stamps(model_version="2"), now=NOW
    )
    return shadow_quotes(audit, candidate, limit=limit)


async def test_the_same_table_answers_every_quote_with_the_same_price(audit: Path) -> None:
    found = asked(audit)
    assert len(found) == COUNT + 3, "the wrong request was never served"
    assert [one.relative_difference for one in found] == [0.0] * len(found)


async def test_another_table_differs_where_its_prices_do(audit: Path) -> None:
    by_product = {one.product_id: one for one in asked(audit, factor=0.95) if one.source == "table"}
    assert len(by_product) == COUNT
    other = price_table(CURVES, factor=0.95).to_pylist()
    for row in other:
        assert by_product[row["product_id"]].shadow_price == row["recommended_price"]
    assert any(one.relative_difference < -0.05 for one in by_product.values())


async def test_a_product_that_the_candidate_lacks_is_counted_with_its_reason(audit: Path) -> None:
    missing = [one for one in asked(audit, rows=COUNT - 1) if one.why_none]
    assert {one.product_id for one in missing} == {f"SKU-{COUNT - 1}"}
    assert np.isnan(missing[0].shadow_price)


async def test_the_latest_quotes_come_first_and_no_more_than_asked_for(audit: Path) -> None:
    latest = asked(audit, limit=3)
    assert [one.product_id for one in latest] == ["NEW", "SKU-2", "SKU-1"]


async def test_nothing_is_written_and_nothing_served(audit: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in audit.parent.rglob("*"))
    asked(audit, factor=0.9)
    assert sorted((path, path.stat().st_mtime_ns) for path in audit.parent.rglob("*")) == before


def test_a_home_that_never_served_has_no_shadow(tmp_path: Path) -> None:
    assert asked(tmp_path / "absent") == []
