"""Price tables and features on Apache Spark (extra ``spark``), through the core's own functions.

Belongs here: what Spark does, reading, partitions, tasks; the numbers come from
``core.catalogue_prices`` and ``core.features`` in every task, on Arrow record batches, so that a
cluster's answer is the single machine's, row for row. There is no second implementation.

Two ways to a price table. ``price_table`` takes any Spark data frame (Parquet, Hive, Iceberg, ...)
and gives one back. ``price_shards`` prices the shards of a ``ShardStore``, one task each, with the
same files and manifests as Dagster's partitions; it reads object storage through fsspec, without
any connector on Spark's side, and a run that was stopped goes on where it stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from pricing_assets.core.catalogue_prices import PRICE_SCHEMA
from pricing_assets.core.errors import MissingTableError
from pricing_assets.core.panel_shards import CELL_SCHEMA, WholeSales, part_cells
from pricing_assets.core.price_shards import ShardSummary, shard_price_function
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import RAW_TABLES
from resources.shard_store import ShardStore

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

Batches = Iterator[pa.RecordBatch]

_TABLE = "_table"
_SHARD_SCHEMA = pa.schema(
    [("shard", pa.string()), ("reused", pa.bool_()), ("summary", pa.list_(pa.float64()))]
)
_OUT_ROWS = 65_536


def price_table(catalogue: DataFrame, *, settings: PricingSettings) -> DataFrame:
    """The price table of a catalogue, columns of ``price_shards.PRICE_SCHEMA``, in no order.

    Rows of one category go to one task, which prices them in the order of product and store: the
    result is that of ``price_catalogue`` on a catalogue in that order.

    Args:
        catalogue: as for ``BatchPriceOptimizer.optimize``.
        settings: objective, guard rails, and ``spark.rows_per_partition``.

    Raises:
        InvalidSettingError: a rule links products of several categories.
    """
    shard_price_function(settings)  # refuses on the driver what every task would refuse
    parts = math.ceil(catalogue.count() / settings.spark.rows_per_partition)
    spread = catalogue.repartition(max(parts, 1), _link_column(catalogue))
    task = partial(_priced_batches, settings_json=settings.model_dump_json())
    return spread.mapInArrow(_of_batches(task), schema=_spark_schema(PRICE_SCHEMA))


def price_shards(
    spark: SparkSession, root: str, *, settings: PricingSettings
) -> dict[str, ShardSummary]:
    """Price every shard under ``root``, one task each, and give the sums of each.

    Raises:
        MissingFolderError: there is no catalogue shard under ``root``.
    """
    shards = ShardStore(root).shards()
    rows = spark.createDataFrame([(name,) for name in shards], "shard string")
    task = partial(_stored_shards, root=root, settings_json=settings.model_dump_json())
    done = rows.repartition(len(shards), "shard").mapInArrow(
        _of_batches(task), schema=_spark_schema(_SHARD_SCHEMA)
    )
    return {row["shard"]: ShardSummary(*row["summary"]) for row in done.collect()}


def panel_cells(tables: Mapping[str, DataFrame], *, settings: PricingSettings) -> DataFrame:
    """The cells of the panel, columns of ``panel_shards.CELL_SCHEMA``, in no order.

    All rows of a product, in every table, go to one task. Tables without a product (calendar,
    stores) are small and go to all of them.

    Args:
        tables: contract tables by name, already checked; ``sales`` is required.
        settings: ``ingestion``, and ``spark.rows_per_partition`` in rows of sales.

    Raises:
        MissingTableError: there is no ``sales`` table.
    """
    if "sales" not in tables:
        raise MissingTableError(f"there is no 'sales' table; found: {', '.join(sorted(tables))}")
    whole = whole_sales(tables["sales"])
    parts = math.ceil(tables["sales"].count() / settings.spark.rows_per_partition)
    split = [name for name in tables if "product_id" in RAW_TABLES[name].required]
    shared = {name: tables[name].toPandas() for name in tables if name not in split}
    task = partial(
        _cell_batches, whole=whole, shared=shared, settings_json=settings.model_dump_json()
    )
    spread = _tagged({name: tables[name] for name in split}).repartition(parts, "product_id")
    return spread.mapInArrow(_of_batches(task), schema=_spark_schema(CELL_SCHEMA))


def whole_sales(sales: DataFrame) -> WholeSales:
    """What each task must know of all sales, computed by Spark."""
    from pyspark.sql import functions as sql

    days = sales.select(sql.to_date("date").alias("day")).distinct().toPandas()["day"]
    zero = sales.agg(sql.avg((sql.col("units") == 0).cast("double"))).collect()[0][0]
    dates = np.sort(pd.to_datetime(days).to_numpy().astype("datetime64[D]"))
    return WholeSales(days=dates, zero_share=float(zero))


def _priced_batches(part: pa.Table, *, settings_json: str) -> pa.Table:
    keys = [name for name in ("product_id", "store_id") if name in part.column_names]
    ordered = part.sort_by([(name, "ascending") for name in keys])
    settings = PricingSettings.model_validate_json(settings_json)
    return shard_price_function(settings)(ordered)


def _stored_shards(part: pa.Table, *, root: str, settings_json: str) -> pa.Table:
    settings, store = PricingSettings.model_validate_json(settings_json), ShardStore(root)
    done = [store.price(name, settings=settings) for name in part["shard"].to_pylist()]
    rows = [
        {
            "shard": shard.shard,
            "reused": shard.reused,
            "summary": list(shard.summary.as_json().values()),
        }
        for shard in done
    ]
    return pa.Table.from_pylist(rows, schema=_SHARD_SCHEMA)


def _cell_batches(
    part: pa.Table, *, whole: WholeSales, shared: Mapping[str, pd.DataFrame], settings_json: str
) -> pa.Table:
    tables = {**_untagged(part), **shared}
    if "sales" not in tables:
        return CELL_SCHEMA.empty_table()
    settings = PricingSettings.model_validate_json(settings_json)
    return part_cells(tables, whole=whole, settings=settings)


def _tagged(tables: Mapping[str, DataFrame]) -> DataFrame:
    """All tables under one another, each row with its table's name; absent columns are null."""
    from pyspark.sql import functions as sql

    frames = [frame.withColumn(_TABLE, sql.lit(name)) for name, frame in tables.items()]
    together = frames[0]
    for frame in frames[1:]:
        together = together.unionByName(frame, allowMissingColumns=True)
    return together


def _untagged(part: pa.Table) -> dict[str, pd.DataFrame]:
    """The tables of ``_tagged`` again, without the columns that a table never had."""
    frame = part.to_pandas()
    tables = {}
    for name, rows in frame.groupby(_TABLE, sort=True):
        known = [column.name for column in RAW_TABLES[str(name)].columns]
        kept = [column for column in known if column in rows and rows[column].notna().any()]
        order = [column for column in ("date", "product_id", "store_id") if column in kept]
        tables[str(name)] = rows[kept].sort_values(order, kind="stable").reset_index(drop=True)
    return tables


def _of_batches(task: Callable[[pa.Table], pa.Table]) -> Callable[[Iterable], Batches]:
    """``task`` on all record batches of a Spark partition; an empty partition gives nothing."""

    def run(batches: Iterable[pa.RecordBatch]) -> Batches:
        held = list(batches)
        if sum(batch.num_rows for batch in held):
            yield from task(pa.Table.from_batches(held)).to_batches(max_chunksize=_OUT_ROWS)

    return run


def _link_column(catalogue: DataFrame) -> Column:
    """Spark's expression of ``price_shards.link_key``: the category, else the product."""
    from pyspark.sql import functions as sql

    if "category" not in catalogue.columns:
        return sql.col("product_id")
    category = sql.col("category")
    return sql.when(category.isNull() | (category == ""), sql.col("product_id")).otherwise(category)


def _spark_schema(schema: pa.Schema) -> str:
    """An Arrow schema in Spark's own notation."""
    names = {
        pa.string(): "string",
        pa.float64(): "double",
        pa.int64(): "bigint",
        pa.bool_(): "boolean",
        pa.date32(): "date",
        pa.list_(pa.float64()): "array<double>",
    }
    return ", ".join(f"`{field.name}` {names[field.type]}" for field in schema)
