"""Online features: the last known state of each product, for the service at request time.

Belongs here: the asset ``online_features`` of the group ``features`` and its check. Values are
``core.online_features``; keeping them is ``serving.feature_store``.
"""

from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.online_features import online_features as features_of
from pricing_assets.core.online_features import panel_end
from pricing_assets.core.panel import Panel
from pricing_assets.core.tables import ONLINE_FEATURES
from resources.asset_metadata import check_metadata, table_metadata
from resources.feature_store import FeatureStoreResource
from serving.feature_store import FeatureUpdate


@dg.asset(
    group_name="features",
    owners=["team:data-engineering"],
    kinds={"parquet", "redis"},
    code_version="1",
)
def online_features(
    context: dg.AssetExecutionContext, sales_panel: Panel, feature_store: FeatureStoreResource
) -> pd.DataFrame:
    """Last stock, rival's price, recent sales and price of each product, also put in Redis."""
    frame, seen = features_of(sales_panel), panel_end(sales_panel)
    rows: list[dict[Any, Any]] = frame.to_dict("records")
    outcome = feature_store.write(
        FeatureUpdate(
            product_id=row["product_id"],
            store_id=row["store_id"],
            at=seen.timestamp(),
            values={name: row[name] for name in ONLINE_FEATURES},
        )
        for row in rows
    )
    context.add_output_metadata(
        {**table_metadata(frame), "seen_at": seen.isoformat(), "feature_store": outcome}
    )
    return frame


@dg.asset_check(
    asset="online_features",
    blocking=True,
    description="No feature is negative or infinite, and no product and store comes twice.",
)
def online_features_are_possible(online_features: pd.DataFrame) -> dg.AssetCheckResult:
    """Rows with a value that cannot be, and keys that come twice."""
    values = online_features[list(ONLINE_FEATURES)].to_numpy(dtype=np.float64)
    wrong = int(((values < 0) | np.isinf(values)).any(axis=1).sum())
    wrong += int(online_features.duplicated(["product_id", "store_id"]).sum())
    return dg.AssetCheckResult(passed=wrong == 0, metadata=check_metadata(value=wrong, threshold=0))
