"""The durable reference of the day: hourly publishing does not move it, gaps do not break it."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from serving.price_history import day_reference
from serving.price_store import PriceStore
from serving.published_table import PRICE_FILE
from tests.published_tables import NOW, curve_table, price_table, stamps

CURVES = curve_table(6)
HOUR = timedelta(hours=1)


def tables(price: float, *, current: float = 10.0, skus=range(6), reference=None) -> pa.Table:
    """A table at one price, inside wide bounds."""
    table = price_table(CURVES).take(list(skus))
    values = {
        "recommended_price": price,
        "current_price": current,
        "price_floor": 0.01,
        "price_ceiling": 1e4,
    }
    for name, value in values.items():
        column = pa.array(np.full(table.num_rows, value))
        table = table.set_column(table.column_names.index(name), name, column)
    if reference is not None:
        table = table.append_column("reference_price_24h", pa.array([reference] * len(table)))
    return table


@pytest.fixture
def store(tmp_path: Path) -> PriceStore:
    return PriceStore(tmp_path)


def publish(store: PriceStore, at: datetime, table: pa.Table) -> str:
    given = stamps(now=at)
    return store.publish(prices=table, curves=CURVES, stamps=given, now=at).table_version


def reference(store: PriceStore, at: datetime) -> dict[str, float]:
    found = day_reference(store, now=at).prices
    return dict(
        zip(found["product_id"].to_pylist(), found["reference_price_24h"].to_pylist(), strict=True)
    )


def test_without_a_published_table_there_is_no_reference(store: PriceStore) -> None:
    found = day_reference(store, now=NOW)
    assert found.prices.num_rows == 0
    assert found.note == "no table was published before"


def test_on_the_first_day_it_is_the_price_before_the_first_table(store: PriceStore) -> None:
    publish(store, NOW, tables(12.0, current=10.0))
    assert set(reference(store, NOW + HOUR).values()) == {10.0}


def test_hourly_publishing_does_not_move_the_reference(store: PriceStore) -> None:
    """Each table takes over the price of the one before; the reference of the day stays."""
    current = 10.0
    for hour in range(23):
        now = NOW + hour * HOUR
        known = reference(store, now).get("SKU-0")
        if known is not None:
            assert known == 10.0
        ceiling = 1.2 * (current if known is None else min(current, known))
        publish(store, now, tables(round(ceiling, 2), current=current, reference=known))
        current = round(ceiling, 2)
    assert current == 12.0


def test_after_a_day_it_is_the_price_that_was_published_then(store: PriceStore) -> None:
    publish(store, NOW, tables(11.0))
    publish(store, NOW + 20 * HOUR, tables(12.0, current=11.0))
    assert set(reference(store, NOW + 24 * HOUR).values()) == {11.0}
    assert set(reference(store, NOW + 44 * HOUR).values()) == {12.0}


def test_a_table_that_had_expired_was_not_in_force(store: PriceStore) -> None:
    publish(store, NOW, tables(11.0))
    found = day_reference(store, now=NOW + 80 * HOUR)
    assert found.prices.num_rows == 0
    assert found.note == "no table was valid a day ago"


def test_a_new_product_takes_the_price_that_it_came_with(store: PriceStore) -> None:
    publish(store, NOW, tables(11.0, skus=range(4)))
    publish(store, NOW + 25 * HOUR, tables(14.0, current=13.0))
    found = reference(store, NOW + 26 * HOUR)
    assert found["SKU-0"] == 11.0
    assert found["SKU-5"] == 13.0


def test_a_damaged_version_gives_nothing_and_says_so(store: PriceStore) -> None:
    version = publish(store, NOW, tables(11.0))
    publish(store, NOW + 20 * HOUR, tables(12.0, current=11.5))
    path = store.root / "versions" / version / PRICE_FILE
    path.write_bytes(path.read_bytes()[:-1])
    found = day_reference(store, now=NOW + 25 * HOUR)
    assert f"{version} is damaged" in found.note
    assert set(found.prices["reference_price_24h"].to_pylist()) == {11.5}


def test_a_rollback_does_not_reset_the_reference(store: PriceStore) -> None:
    publish(store, NOW, tables(11.0))
    publish(store, NOW + 2 * HOUR, tables(12.0, current=11.0))
    store.rollback(now=NOW + 3 * HOUR)
    assert set(reference(store, NOW + 25 * HOUR).values()) == {11.0}
    assert set(reference(store, NOW + 26 * HOUR).values()) == {12.0}


def test_tables_of_before_the_rails_were_stored_are_read(store: PriceStore) -> None:
    columns = ("product_id", "reference_price_24h", "rail_low")
    version = publish(store, NOW, tables(11.0))
    assert store.read_prices(version, columns=columns)["rail_low"].null_count == 6
