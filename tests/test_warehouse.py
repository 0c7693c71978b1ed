"""Raw tables in PostgreSQL, in Delta Lake and by stream, read as files of the same rows are."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import pytest

from pricing_assets.core.errors import InputError, MissingTableError, UnreadableTableError
from pricing_assets.core.events import RawEvents, TimeLimits, check_events
from pricing_assets.core.settings import PricingSettings
from resources.market_file import read_market
from resources.raw_table_cache import CachedRawTables, fingerprint
from resources.raw_tables import RawTablesResource, read_raw_tables
from resources.streams.stream_store import StreamStore
from tests.postgres_server import postgres_server

SETTINGS = PricingSettings()
SALES = pd.DataFrame(
    {
        "date": pd.to_datetime(["2026-03-01", "2026-03-02", "2026-03-02"]),
        "product_id": ["007", "007", "tea"],
        "units": [2.0, 3.0, 1.0],
        "price": [1.99, 1.99, 3.5],
    }
)
DAY = 86_400.0
NOON = datetime(2026, 3, 3, 12, tzinfo=UTC).timestamp()


def as_files(folder: Path, **tables: pd.DataFrame) -> dict[str, Any]:
    folder.mkdir()
    for name, frame in tables.items():
        frame.to_parquet(folder / f"{name}.parquet")
    return read_raw_tables(str(folder), settings=SETTINGS)


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    pytest.importorskip("adbc_driver_postgresql", reason="needs: the extra 'warehouse' (ADBC)")
    with postgres_server() as address:
        yield address


def run_sql(address: str, *statements: str) -> None:
    import adbc_driver_postgresql.dbapi as driver

    with driver.connect(address, autocommit=True) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


TABLES = (
    "DROP SCHEMA IF EXISTS pricing CASCADE",
    "CREATE SCHEMA pricing",
    "CREATE TABLE pricing.sales (date date, product_id text, units int, price numeric(10, 2))",
    "INSERT INTO pricing.sales VALUES ('2026-03-01', '007', 2, 1.99), "
    "('2026-03-02', '007', 3, 1.99), ('2026-03-02', 'tea', 1, 3.50)",
    "CREATE TABLE pricing.items (sku text, category varchar(20))",
    "INSERT INTO pricing.items VALUES ('007', 'drinks'), ('tea', NULL)",
    "CREATE VIEW pricing.products AS SELECT sku AS product_id, category FROM pricing.items",
    "CREATE TABLE pricing.unrelated (x int)",
)


def test_a_database_is_read_as_files_are(database: str, tmp_path: Path) -> None:
    run_sql(database, *TABLES)
    products = pd.DataFrame({"product_id": ["007", "tea"], "category": ["drinks", None]})
    files = as_files(tmp_path / "files", sales=SALES, products=products)
    address = f"{database}?schema=pricing"
    found = RawTablesResource(root=address).read(SETTINGS)
    assert sorted(found) == ["products", "sales"]
    for name in found:
        pd.testing.assert_frame_equal(found[name].accepted, files[name].accepted)
    assert read_market(address) is None


def test_wrong_rows_of_a_database_are_quarantined(database: str) -> None:
    run_sql(database, *TABLES, "INSERT INTO pricing.sales VALUES (NULL, 'x', 1, 'NaN')")
    settings = PricingSettings.model_validate({"ingestion": {"max_quarantined_share": 0.5}})
    sales = read_raw_tables(f"{database}?schema=pricing", settings=settings)["sales"]
    assert sales.reasons() == {"missing_value": 1}
    assert len(sales.accepted) == 3


def test_a_change_of_a_table_or_a_view_is_seen(database: str) -> None:
    run_sql(database, *TABLES)
    address = f"{database}?schema=pricing"
    seen = [fingerprint(address)]
    run_sql(database, "INSERT INTO pricing.unrelated VALUES (1)")
    assert fingerprint(address) == seen[0]
    for change in (
        "INSERT INTO pricing.sales VALUES ('2026-03-03', 'tea', 1, 3.50)",
        "UPDATE pricing.sales SET units = 9 WHERE product_id = 'tea'",
        "DELETE FROM pricing.sales WHERE product_id = 'tea'",
        "UPDATE pricing.items SET category = 'food'",
    ):
        run_sql(database, change, "SELECT pg_stat_force_next_flush()")
        seen.append(fingerprint(address))
    assert len(set(seen)) == 5


def test_nothing_can_be_written_while_reading(database: str) -> None:
    from resources.warehouse import _transaction

    run_sql(database, *TABLES)
    with _transaction(database) as (cursor, _), pytest.raises(Exception, match="read-only"):
        cursor.execute("DELETE FROM pricing.sales")


def test_what_is_missing_in_a_database_is_said(database: str) -> None:
    run_sql(database, *TABLES)
    with pytest.raises(MissingTableError, match="holds no table or view 'sales'"):
        read_raw_tables(f"{database}?schema=elsewhere", settings=SETTINGS)
    with pytest.raises(InputError, match="does not answer") as refused:
        read_raw_tables("postgresql://me:secret@127.0.0.1:1/x", settings=SETTINGS)
    assert "secret" not in str(refused.value)


def test_a_delta_table_is_read_as_a_file_is(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake", reason="needs: the extra 'warehouse' (deltalake)")
    files = as_files(tmp_path / "files", sales=SALES)
    root = tmp_path / "delta"
    deltalake.write_deltalake(str(root / "sales"), SALES.iloc[:2], partition_by=["product_id"])
    first = fingerprint(str(root))
    deltalake.write_deltalake(str(root / "sales"), SALES.iloc[2:], mode="append")
    assert fingerprint(str(root)) != first
    found = read_raw_tables(str(root), settings=SETTINGS)["sales"].accepted
    key = ["date", "product_id"]
    pd.testing.assert_frame_equal(
        found.sort_values(key, ignore_index=True)[files["sales"].accepted.columns],
        files["sales"].accepted,
    )
    second = fingerprint(str(root))
    deltalake.DeltaTable(str(root / "sales")).delete("product_id = 'tea'")
    assert fingerprint(str(root)) != second
    assert len(read_raw_tables(str(root), settings=SETTINGS)["sales"].accepted) == 2


def test_a_damaged_delta_table_is_refused(tmp_path: Path) -> None:
    deltalake = pytest.importorskip("deltalake", reason="needs: the extra 'warehouse' (deltalake)")
    deltalake.write_deltalake(str(tmp_path / "sales"), SALES)
    for part in (tmp_path / "sales").glob("*.parquet"):
        part.write_bytes(part.read_bytes()[:40])
    with pytest.raises(UnreadableTableError, match="cannot be read"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)


def land(store: StreamStore, table: str, *events: dict[str, Any]) -> None:
    contents = [orjson.dumps(event) for event in events]
    raw = RawEvents(table, [f"{table}-{events[0]['at']}-{i}" for i in range(len(events))], contents)
    limits = TimeLimits(now=NOON, oldest=0, newest=NOON + 9 * DAY)
    checked = check_events(raw, limits=limits)
    store.land(table, checked.accepted)
    store.land_dead(checked.dead)


def test_closed_days_of_the_stream_stand_beside_the_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    SALES.to_parquet(tmp_path / "data" / "sales.parquet")
    store = StreamStore(str(tmp_path / "streams"))
    tables = CachedRawTables(root=str(tmp_path / "data"), streams=str(tmp_path / "streams"))
    tea = {"product_id": "tea", "units": 4, "price": 3.0}
    assert len(tables.read(SETTINGS)["sales"].accepted) == 3
    land(store, "sales", {**tea, "at": NOON}, {**tea, "at": NOON}, {**tea, "at": NOON, "units": -1})
    assert len(tables.read(SETTINGS)["sales"].accepted) == 3  # the day is open
    land(store, "sales", {**tea, "at": NOON + DAY}, {**tea, "at": NOON - DAY})
    sales = tables.read(SETTINGS)["sales"]
    news = sales.accepted.iloc[3:]
    assert list(news["date"].dt.strftime("%Y-%m-%d")) == ["2026-03-03"]  # 03-02 is the batch's
    assert list(news["units"]) == [8.0]
    assert sales.reasons() == {"return": 1}
    assert sales.rows_read == 5
    land(store, "sales", {**tea, "at": NOON + 1})
    assert tables.read(SETTINGS)["sales"].accepted["units"].iloc[-1] == 12.0  # late, and counted


def test_a_stream_gives_tables_that_no_file_has(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    SALES.to_parquet(tmp_path / "data" / "sales.parquet")
    store = StreamStore(str(tmp_path / "streams"))
    rival = {"product_id": "tea", "competitor": "x", "price": 3.0}
    land(store, "competitor_prices", {**rival, "at": NOON}, {**rival, "at": NOON + DAY})
    tables = RawTablesResource(root=str(tmp_path / "data"), streams=str(tmp_path / "streams"))
    assert list(tables.read(SETTINGS)["competitor_prices"].accepted["price"]) == [3.0]


def test_weekly_tables_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    weekly = SALES.assign(date=pd.to_datetime(["2026-02-16", "2026-02-23", "2026-02-23"]))
    weekly.to_parquet(tmp_path / "data" / "sales.parquet")
    store = StreamStore(str(tmp_path / "streams"))
    tea = {"product_id": "tea", "units": 4, "price": 3.0}
    land(store, "sales", {**tea, "at": NOON}, {**tea, "at": NOON + DAY})
    tables = RawTablesResource(root=str(tmp_path / "data"), streams=str(tmp_path / "streams"))
    assert len(tables.read(SETTINGS)["sales"].accepted) == 3
