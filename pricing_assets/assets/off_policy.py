"""Off-policy evaluation: what logged prices say of the new price table, before it is in force.

Belongs here: the asset of the new table's value and its check. The estimators are
``core.evaluation.off_policy``; whether the value suffices is the promotion gate's.
"""

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.evaluation.off_policy import GATE_ESTIMATOR, OffPolicyEvaluation
from pricing_assets.core.evaluation.price_table_value import price_table_value
from pricing_assets.core.panel import Panel
from resources.asset_metadata import Metadata, check_metadata, records_metadata, table_metadata
from resources.settings import SettingsResource

_SHOWN = ["estimator", "value", "difference", "difference_low_90", "difference_high_90"]
_NUMBERS = ["value", "low_90", "high_90", "difference_low_90", "difference_high_90"]


@dg.asset(
    group_name="evaluation",
    owners=["team:data-science", "team:pricing"],
    kinds={"parquet", "numpy"},
    code_version="1",
)
def off_policy_evaluation(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    sales_panel: Panel,
    price_table: pd.DataFrame,
) -> pd.DataFrame:
    """The new prices' objective a period against the present ones, from logged prices alone."""
    found = price_table_value(sales_panel, price_table=price_table, settings=settings.settings())
    frame = found.frame()
    context.add_output_metadata({**table_metadata(frame), **_metadata(found, frame)})
    return frame


@dg.asset_check(
    asset="off_policy_evaluation",
    blocking=True,
    description="Every estimator gives a finite value and interval, or the refusal says why.",
)
def off_policy_is_given_or_refused(off_policy_evaluation: pd.DataFrame) -> dg.AssetCheckResult:
    """Count of rows without a finite number and without a reason."""
    numbers = off_policy_evaluation[_NUMBERS].to_numpy(dtype=np.float64)
    finite = np.isfinite(numbers).all(axis=1)
    refused = off_policy_evaluation["refused"].to_numpy(dtype=bool)
    refused &= (off_policy_evaluation["reason"] != "").to_numpy()
    broken = int((~finite & ~refused).sum())
    return dg.AssetCheckResult(
        passed=broken == 0,
        metadata={**check_metadata(value=broken, threshold=0), "refused": bool(refused.any())},
    )


def _metadata(found: OffPolicyEvaluation, frame: pd.DataFrame) -> Metadata:
    return {
        "refused": found.refused,
        "reason": found.reason or "not refused",
        "gate_estimator": GATE_ESTIMATOR,
        "propensities": found.propensities,
        "overlap": found.overlap.overlap,
        "effective_sample_size": float(found.overlap.effective_sample_size),
        "largest_weight": found.overlap.max_weight,
        "products_moved": found.overlap.moved,
        "products_supported": found.overlap.supported,
        "values": records_metadata(frame[_SHOWN]),
    }
