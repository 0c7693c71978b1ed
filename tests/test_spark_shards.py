"""Apache Spark gives what one machine gives: prices, stored shards and the panel's cells."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from catalogues import catalogue

from pricing_assets.core.errors import InvalidSettingError, MissingTableError
from pricing_assets.core.features import build_panel
from pricing_assets.core.ingestion import check_table
from pricing_assets.core.market import Market
from pricing_assets.core.panel_shards import CELL_SCHEMA, WholeSales, panel_cells, part_cells
from pricing_assets.core.price_shards import (
    ShardSummary,
    shard_price_function,
    split_catalogue,
    summarize,
    total,
)
from pricing_assets.core.scale_parameters import SparkParameters
from pricing_assets.core.settings import PricingSettings
from resources import spark_shards
from resources.shard_store import ShardStore
from resources.spark_session import java_program, spark_session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROWS = 4000
SETTINGS = PricingSettings(
    spark=SparkParameters(master="local[2]", memory="512m", rows_per_partition=1000)
)


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """Spark with two workers in this process, or a skip that says what is missing."""
    pytest.importorskip("pyspark", reason="needs: the extra 'spark' (pyspark)")
    if not java_program():
        pytest.skip("needs: default-jre-headless (java)")
    with spark_session(SETTINGS.spark) as session:
        session.sparkContext.setLogLevel("ERROR")
        yield session


@pytest.fixture(scope="module")
def whole() -> pa.Table:
    return shard_price_function(SETTINGS)(catalogue(ROWS))


def test_the_price_table_is_the_single_machine_s(
    spark: SparkSession, tmp_path: Path, whole: pa.Table
) -> None:
    for name, part in split_catalogue(catalogue(ROWS), shards=3).items():
        pq.write_table(part, tmp_path / f"{name}.parquet")
    priced = spark_shards.price_table(spark.read.parquet(str(tmp_path)), settings=SETTINGS)
    assert priced.rdd.getNumPartitions() == 4
    assert priced.toArrow().sort_by("product_id").equals(whole)


def test_stored_shards_are_dagster_s_and_are_not_priced_twice(
    spark: SparkSession, tmp_path: Path, whole: pa.Table
) -> None:
    store = ShardStore(tmp_path)
    store.write_catalogue(split_catalogue(catalogue(ROWS), shards=3).items())
    first = store.price("part-00001", settings=SETTINGS)
    done = spark_shards.price_shards(spark, str(tmp_path), settings=SETTINGS)
    assert tuple(sorted(done)) == store.shards()
    assert total(done.values()).rows == ROWS
    assert total(done.values()).expected_profit == pytest.approx(summarize(whole).expected_profit)
    assert store.manifest("part-00001").prices_sha256 == first.prices_sha256
    parts = pa.concat_tables(store.prices(name) for name in store.shards())
    assert parts.sort_by("product_id").equals(whole)
    written = {name: store.manifest(name).file for name in store.shards()}
    times = [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))]
    spark_shards.price_shards(spark, str(tmp_path), settings=SETTINGS)
    assert {name: store.manifest(name).file for name in store.shards()} == written
    assert [path.stat().st_mtime_ns for path in sorted(tmp_path.rglob("*"))] == times


def test_the_panel_is_the_single_machine_s(spark: SparkSession, market: Market) -> None:
    tables = checked(market)
    frames = {name: spark.createDataFrame(frame) for name, frame in tables.items() if len(frame)}
    settings = SETTINGS.model_copy(
        update={"spark": SETTINGS.spark.model_copy(update={"rows_per_partition": 1000})}
    )
    cells = spark_shards.panel_cells(frames, settings=settings).toArrow()
    assert_same_cells(cells, panel_cells(build_panel(tables, SETTINGS)))


def test_a_refusal_in_a_task_reaches_the_driver(spark: SparkSession) -> None:
    nameless = spark.createDataFrame([("a", 1.0)], "product_id string, current_price double")
    with pytest.raises(Exception, match="reference_units"):
        spark_shards.price_table(nameless, settings=SETTINGS).collect()


def test_sales_are_required(spark: SparkSession) -> None:
    with pytest.raises(MissingTableError):
        spark_shards.panel_cells({}, settings=SETTINGS)


def test_missing_software_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "pyspark", None)
        patch.setitem(sys.modules, "pyspark.sql", None)
        with pytest.raises(InvalidSettingError, match=r"pricing-assets\[spark\]"):
            spark_session(SETTINGS.spark).__enter__()
    pytest.importorskip("pyspark", reason="needs: the extra 'spark' (pyspark)")
    monkeypatch.setenv("JAVA_HOME", "/nothing/here")
    with pytest.raises(InvalidSettingError, match="Java 17"):
        spark_session(SETTINGS.spark).__enter__()


def checked(market: Market) -> dict[str, pd.DataFrame]:
    return {
        name: check_table(raw, table=name, settings=SETTINGS).accepted
        for name, raw in market.raw_tables().items()
    }


def assert_same_cells(found: pa.Table, wanted: pa.Table) -> None:
    keys = [(name, "ascending") for name in ("product_id", "store_id", "date")]
    found, wanted = found.sort_by(keys), wanted.sort_by(keys)
    assert found.schema.equals(wanted.schema)
    for name in CELL_SCHEMA.names:
        pd.testing.assert_series_equal(
            found[name].to_pandas(), wanted[name].to_pandas(), check_exact=True, obj=name
        )


@pytest.mark.parametrize("parts", [1, 3])
def test_parts_of_the_products_make_the_whole_panel(market: Market, parts: int) -> None:
    """The same without Spark: what Spark's tasks are given is enough."""
    tables = checked(market)
    sales = tables["sales"]
    whole = WholeSales(
        days=np.unique(sales["date"].to_numpy().astype("datetime64[D]")),
        zero_share=float((sales["units"] == 0).mean()),
    )
    products = sorted(sales["product_id"].unique())
    cells = [
        part_cells(some(tables, products[number::parts]), whole=whole, settings=SETTINGS)
        for number in range(parts)
    ]
    assert_same_cells(pa.concat_tables(cells), panel_cells(build_panel(tables, SETTINGS)))


def some(tables: dict[str, pd.DataFrame], products: list[str]) -> dict[str, pd.DataFrame]:
    return {
        name: frame[frame["product_id"].isin(products)] if "product_id" in frame else frame
        for name, frame in tables.items()
    }


def test_sums_come_through_spark_in_their_order() -> None:
    summary = ShardSummary(1, 2, 3, 4.0, 5.0, 6.0)
    assert ShardSummary(*summary.as_json().values()) == summary
