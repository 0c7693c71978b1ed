"""Raw tables: read once, checked against the contract, wrong rows set aside with a reason.

Belongs here: the assets of the group ``raw_tables`` and their checks. Reading is
``resources.raw_tables``, checking a row ``core.ingestion``.
"""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pandas as pd

from pricing_assets.core.lineage import DataVersions, data_versions, parts_version
from pricing_assets.core.tables import RAW_TABLES
from resources.asset_metadata import check_metadata, records_metadata, table_metadata
from resources.market_file import read_market
from resources.raw_table_cache import CheckedTables
from resources.raw_tables import RawTablesResource
from resources.settings import SettingsResource

GROUP = "raw_tables"
OWNERS = ["team:data-engineering"]

SALES_MONTHS = dg.DynamicPartitionsDefinition(name="sales_month")

_QUARANTINE_COLUMNS = ("table", "row_number", "reason", "record")
_DESCRIPTIONS = {
    "products": "The assortment: category, brand, cost, list price, MAP, KVI, status.",
    "costs": "Unit costs by date.",
    "inventory": "Stock on hand at each day's opening.",
    "competitor_prices": "Observed prices of competitors.",
    "calendar": "Holidays and events, past and to come.",
    "planned_prices": "Known future prices and promotions.",
    "stores": "Stores with their zones and segments.",
}


@dg.asset(
    group_name=GROUP,
    owners=OWNERS,
    kinds={"parquet", "pandas"},
    code_version="1",
    partitions_def=SALES_MONTHS,
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def sales(
    context: dg.AssetExecutionContext, raw_tables: RawTablesResource, settings: SettingsResource
) -> dict[str, pd.DataFrame]:
    """Checked sales rows, one file a calendar month."""
    accepted = raw_tables.read(settings.settings())["sales"].accepted
    by_month = dict(tuple(accepted.groupby(month_of(accepted))))
    months = {key: by_month.get(key, accepted.iloc[:0]) for key in context.partition_keys}
    context.add_output_metadata(
        {
            **table_metadata(accepted),
            "dagster/row_count": sum(map(len, months.values())),
            "months": len(months),
            "first_date": str(accepted["date"].min().date()),
            "last_date": str(accepted["date"].max().date()),
            "products": int(accepted["product_id"].nunique()),
        }
    )
    return months


def _outs() -> dict[str, dg.AssetOut]:
    shared: dict[str, Any] = {"group_name": GROUP, "owners": OWNERS, "code_version": "1"}
    tables = {
        name: dg.AssetOut(description=text, kinds={"parquet", "pandas"}, **shared)
        for name, text in _DESCRIPTIONS.items()
    }
    return {
        **tables,
        "quarantine": dg.AssetOut(
            description="Rows of every raw table that were set aside, each with its reason.",
            kinds={"parquet", "pandas"},
            **shared,
        ),
        "data_snapshot": dg.AssetOut(
            description="What was read: row counts, the data version, and the simulated market.",
            kinds={"json"},
            **shared,
        ),
    }


@dg.multi_asset(outs=_outs())
def reference_tables(
    raw_tables: RawTablesResource, settings: SettingsResource
) -> Iterator[dg.Output[Any]]:
    """Every raw table but sales, the quarantine and the snapshot, in one reading."""
    checked = raw_tables.read(settings.settings())
    versions = data_versions({name: table.accepted for name, table in checked.items()})
    for name in _DESCRIPTIONS:
        frame = checked[name].accepted if name in checked else empty_table(name)
        version = dg.DataVersion(parts_version(versions.parts.get(name, {})))
        yield dg.Output(frame, name, metadata=table_metadata(frame), data_version=version)
    counts = _counts(checked)
    yield dg.Output(
        _quarantine(checked),
        "quarantine",
        metadata={
            "dagster/row_count": int(counts["quarantined"].sum()),
            "by_table": records_metadata(counts),
            "by_reason": records_metadata(_reasons(checked)),
        },
    )
    snapshot = _snapshot(checked, counts, versions, market=read_market(raw_tables.root))
    yield dg.Output(
        snapshot,
        "data_snapshot",
        metadata={"data_version": versions.whole},
        data_version=dg.DataVersion(versions.whole),
    )


@dg.asset_check(asset="sales", blocking=True, description="Every month has rows.")
def sales_has_rows(sales: pd.DataFrame) -> dg.AssetCheckResult:
    """No sales, nothing to price by."""
    rows = len(sales)
    return dg.AssetCheckResult(passed=rows > 0, metadata=check_metadata(value=rows, threshold=1))


@dg.asset_check(
    asset="quarantine",
    blocking=True,
    additional_ins={"data_snapshot": dg.AssetIn("data_snapshot")},
    description="No table lost more rows to the quarantine than the settings allow.",
)
def quarantine_within_limit(
    settings: SettingsResource, quarantine: pd.DataFrame, data_snapshot: dict[str, Any]
) -> dg.AssetCheckResult:
    """The largest quarantined share of a table against ``max_quarantined_share``."""
    limit = settings.settings().ingestion.max_quarantined_share
    shares = {name: row["share"] for name, row in data_snapshot["tables"].items()}
    worst = max(shares, key=lambda name: shares[name])
    return dg.AssetCheckResult(
        passed=shares[worst] <= limit,
        metadata={
            **check_metadata(value=shares[worst], threshold=limit),
            "table": worst,
            "rows": len(quarantine),
        },
    )


def month_of(sales_rows: pd.DataFrame) -> pd.Series:
    """Partition key of each sales row, such as 2024-07; far faster than formatting each date."""
    month = sales_rows["date"].dt.year * 12 + sales_rows["date"].dt.month - 1
    names = {number: f"{number // 12:04d}-{number % 12 + 1:02d}" for number in month.unique()}
    return month.map(names)


def empty_table(name: str) -> pd.DataFrame:
    """A raw table without a row, with the contract's columns and their types."""
    types = {"date": "datetime64[ns]", "number": "float64", "flag": "float64"}
    return pd.DataFrame(
        {
            column.name: pd.Series(dtype=types.get(column.kind, "object"))
            for column in RAW_TABLES[name].columns
        }
    )


def _counts(checked: CheckedTables) -> pd.DataFrame:
    rows = [
        {
            "table": name,
            "rows_read": table.rows_read,
            "accepted": len(table.accepted),
            "quarantined": len(table.quarantined),
            "share": len(table.quarantined) / max(table.rows_read, 1),
        }
        for name, table in checked.items()
    ]
    return pd.DataFrame(rows)


def _reasons(checked: CheckedTables) -> pd.DataFrame:
    groups = _quarantine(checked).groupby(["table", "reason"], sort=True).size()
    return groups.rename("rows").reset_index().nlargest(20, "rows")


def _quarantine(checked: CheckedTables) -> pd.DataFrame:
    parts = [table.quarantined for table in checked.values() if len(table.quarantined)]
    if not parts:
        return pd.DataFrame({name: pd.Series(dtype="object") for name in _QUARANTINE_COLUMNS})
    return pd.concat(parts, ignore_index=True)


def _snapshot(
    checked: CheckedTables,
    counts: pd.DataFrame,
    versions: DataVersions,
    *,
    market: dict[str, Any] | None,
) -> dict[str, Any]:
    rows = counts.set_index("table").to_dict(orient="index")
    last_sale = checked["sales"].accepted["date"].max()
    return {
        "data_version": versions.whole,
        "partitions": versions.parts,
        "data_until": (last_sale + pd.Timedelta(days=1)).tz_localize("UTC").isoformat(),
        "tables": rows,
        "market": market,
    }
