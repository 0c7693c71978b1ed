"""Impact: what happened since tables were published, for the manager's page.

Belongs here: the asset ``impact_report`` of the group ``evaluation`` and its check. The numbers are
``core.evaluation.impact``, the page is served from the file.
"""

import json
from typing import Any

import dagster as dg

from pricing_assets.core.evaluation.impact import impact_numbers
from pricing_assets.core.panel import Panel
from resources.asset_metadata import Metadata, check_metadata
from resources.price_store import PriceStoreResource
from resources.published_curves import published_curves
from resources.settings import SettingsResource

IMPACT_FILE = "impact.json"


@dg.asset(
    group_name="evaluation",
    owners=["team:pricing"],
    kinds={"json"},
    code_version="1",
)
def impact_report(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    price_store: PriceStoreResource,
    sales_panel: Panel,
    data_snapshot: dict[str, Any],
    evaluation_report: dict[str, Any],
) -> dict[str, Any]:
    """Sales, prices against rivals and stock by week, and predictions against what was sold."""
    chosen = settings.settings()
    numbers = impact_numbers(
        sales_panel,
        published_curves(price_store.store(), last_day=sales_panel.dates[-1]),
        cover_days=chosen.serving.cover_days,
        seed=chosen.seed,
        truth=evaluation_report["truth"],
    )
    origin = {"run_id": context.run_id, "data_version": data_snapshot["data_version"]}
    report = {**origin, "currency": chosen.currency, **numbers}
    path = price_store.write_report(IMPACT_FILE, json.dumps(report, allow_nan=False).encode())
    context.add_output_metadata({"file": dg.MetadataValue.path(str(path)), **_metadata(report)})
    return report


@dg.asset_check(
    asset="impact_report",
    description="The published curves predict units within a fifth, where sales came since.",
)
def predictions_came_true(impact_report: dict[str, Any]) -> dg.AssetCheckResult:
    """Actual over predicted units since publication: the interval meets 0.8 to 1.2."""
    overall = impact_report["predicted_actual"]["overall"]
    units = overall["units"] if overall else {}
    if not units or units["low_90"] is None:
        return dg.AssetCheckResult(
            passed=True, metadata=check_metadata(value="no sales since publication", threshold=0.2)
        )
    passed = bool(units["high_90"] >= 0.8 and units["low_90"] <= 1.2)
    return dg.AssetCheckResult(
        passed=passed,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=check_metadata(value=units["ratio"], threshold=0.2),
    )


def _metadata(report: dict[str, Any]) -> Metadata:
    overall = report["predicted_actual"]["overall"]
    judged = {} if overall is None else {"actual_over_predicted_units": overall["units"]["ratio"]}
    return {
        "claim": report["claim"],
        "weeks": len(report["weeks"]["week"]),
        "tables_judged": len(report["predicted_actual"]["tables"]),
        **{name: value for name, value in judged.items() if value is not None},
    }
