"""Evaluation: what the run is worth, in numbers and as a page that needs no server.

Belongs here: the asset of the group ``evaluation`` and its check. Measures and drawing are
``core.evaluation``.
"""

import json
from typing import Any

import dagster as dg
import pandas as pd

from pricing_assets.core.evaluation.report import evaluation_numbers, with_gates
from pricing_assets.core.evaluation.report_evidence import Evidence
from pricing_assets.core.evaluation.report_page import evaluation_html
from pricing_assets.core.evaluation.truth import TruthComparison, compare_with_truth
from pricing_assets.core.market import MarketParameters, simulate_market
from pricing_assets.core.settings import PricingSettings
from resources.asset_metadata import Metadata, check_metadata, records_metadata
from resources.price_store import PriceStoreResource
from resources.settings import SettingsResource


@dg.asset(
    group_name="evaluation",
    owners=["team:data-science", "team:pricing"],
    kinds={"json", "html"},
    code_version="3",
)
def evaluation_report(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    price_store: PriceStoreResource,
    forecast_backtest: pd.DataFrame,
    own_price_elasticity: pd.DataFrame,
    price_table: pd.DataFrame,
    price_drivers: pd.DataFrame,
    forecast_drivers: pd.DataFrame,
    quarantine: pd.DataFrame,
    data_snapshot: dict[str, Any],
    forecast_slices: pd.DataFrame,
    forecast_calibration: pd.DataFrame,
    elasticity_sensitivity: pd.DataFrame,
    elasticity_methods: pd.DataFrame,
    portfolio_goals: pd.DataFrame,
    price_frontier: pd.DataFrame,
    off_policy_evaluation: pd.DataFrame,
    promotion_gates: dict[str, Any],
) -> dict[str, Any]:
    """Accuracy, prices and risks; on simulated data the share of the oracle's uplift."""
    chosen = settings.settings()
    measured = evaluation_numbers(
        backtest=forecast_backtest.drop(columns="chosen"),
        elasticities=own_price_elasticity,
        price_table=price_table,
        quarantine=_counts(quarantine),
        truth=_truth(data_snapshot["market"], price_table, chosen),
        settings=chosen,
        price_drivers=price_drivers,
        forecast_drivers=forecast_drivers,
        evidence=Evidence(
            slices=forecast_slices,
            calibration=forecast_calibration,
            sensitivity=elasticity_sensitivity,
            methods=elasticity_methods,
            goals=portfolio_goals,
            frontier=price_frontier,
            off_policy=off_policy_evaluation,
        ),
    )
    numbers = with_gates(measured, promotion_gates["checks"])
    page = _write(price_store, numbers, run_id=context.run_id, snapshot=data_snapshot)
    context.add_output_metadata({"page": dg.MetadataValue.path(page), **_metadata(numbers)})
    return numbers


@dg.asset_check(
    asset="evaluation_report",
    blocking=True,
    description="The forecast's accuracy and every price's expectation could be measured.",
)
def evaluation_is_complete(evaluation_report: dict[str, Any]) -> dg.AssetCheckResult:
    """Count of headline numbers that could not be computed."""
    headline = {
        "wape": evaluation_report["accuracy"].get("best_wape"),
        "expected_revenue": evaluation_report["prices"]["expected_revenue"],
        "elasticity": evaluation_report["elasticity"].get("median"),
    }
    missing = [name for name, value in headline.items() if value is None]
    return dg.AssetCheckResult(
        passed=not missing,
        metadata={
            **check_metadata(value=len(missing), threshold=0),
            "missing": ", ".join(missing) or "nothing",
        },
    )


@dg.asset_check(
    asset="evaluation_report",
    description="On simulated data, the proposed prices truly earn no less than the current ones.",
)
def truth_is_no_worse(evaluation_report: dict[str, Any]) -> dg.AssetCheckResult:
    """True profit at the recommended prices over that at the current ones, at least 1."""
    truth = evaluation_report["truth"]
    if truth is None:
        return dg.AssetCheckResult(
            passed=True, metadata=check_metadata(value="real data: unknown", threshold=1)
        )
    ratio = truth["profit_at_recommended"] / truth["profit_at_current"]
    return dg.AssetCheckResult(
        passed=ratio >= 1,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=check_metadata(value=ratio, threshold=1.0),
    )


def _write(
    price_store: PriceStoreResource,
    numbers: dict[str, Any],
    *,
    run_id: str,
    snapshot: dict[str, Any],
) -> str:
    """Write the report as JSON and as a page; return the page's path."""
    text = json.dumps(numbers, indent=1, allow_nan=False)
    price_store.write_report(f"{run_id}.json", text.encode())
    subtitle = f"data version {snapshot['data_version']}"
    page = evaluation_html(numbers, title=f"Run {run_id}", subtitle=subtitle)
    return str(price_store.write_report(f"{run_id}.html", page.encode()))


def _counts(quarantine: pd.DataFrame) -> pd.DataFrame:
    """Rows set aside by table and reason."""
    return quarantine.groupby(["table", "reason"]).size().rename("count").reset_index()


def _truth(
    market: dict[str, Any] | None, price_table: pd.DataFrame, settings: PricingSettings
) -> TruthComparison | None:
    """The comparison with the simulated market's truth; None where the data is not simulated."""
    if market is None:
        return None
    simulated = simulate_market(MarketParameters(**market))
    return compare_with_truth(simulated, price_table=price_table, settings=settings)


def _metadata(numbers: dict[str, Any]) -> Metadata:
    shown = {
        f"{section}_{name}": value
        for section in ("prices", "elasticity", "truth")
        for name, value in (numbers[section] or {}).items()
        if isinstance(value, int | float)
    }
    return {
        **shown,
        "claim": numbers["claim"],
        "accuracy": records_metadata(pd.DataFrame(numbers["accuracy"]["models"])),
    }
