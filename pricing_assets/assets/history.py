"""The recent past of every product, kept where the service's pages read it.

Belongs here: the asset ``sales_history`` of the group ``publication`` and its check. Which rows
are kept is ``core.sales_history``, the files are ``serving.sales_history``.
"""

from typing import Any

import dagster as dg

from pricing_assets.core.panel import Panel
from pricing_assets.core.sales_history import longest_series
from pricing_assets.core.sales_history import sales_history as history_rows
from resources.asset_metadata import check_metadata, table_metadata
from resources.price_store import PriceStoreResource


@dg.asset(
    group_name="publication",
    owners=["team:pricing"],
    kinds={"parquet", "json"},
    code_version="1",
)
def sales_history(
    context: dg.AssetExecutionContext,
    price_store: PriceStoreResource,
    sales_panel: Panel,
    data_snapshot: dict[str, Any],
) -> dict[str, Any]:
    """Units, price, promotion, rival and stock of the last 365 days, by data version."""
    rows = history_rows(sales_panel)
    version = str(data_snapshot["data_version"])
    path = price_store.history().write(rows, data_version=version)
    context.add_output_metadata({**table_metadata(rows), "file": str(path)})
    return {"data_version": version, "rows": len(rows), "longest": longest_series(rows)}


@dg.asset_check(
    asset="sales_history", description="The series with the most rows is read back whole."
)
def history_is_readable(
    price_store: PriceStoreResource, sales_history: dict[str, Any]
) -> dg.AssetCheckResult:
    """Read one series as the service does, checksums verified."""
    longest = sales_history["longest"]
    found = price_store.history().read(
        data_version=sales_history["data_version"],
        product_id=longest["product_id"],
        store_id=longest["store_id"],
    )
    rows, expected = 0 if found is None else found.num_rows, longest["rows"]
    return dg.AssetCheckResult(
        passed=rows == expected, metadata=check_metadata(value=rows, threshold=expected)
    )
