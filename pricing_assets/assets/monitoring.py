"""Monitoring: drift and decay, fairness, and a candidate's answers in the shadow of served ones.

Belongs here: the assets of the group ``monitoring`` and their checks. Measuring is
``core.evaluation``, asking a candidate's table again ``serving.shadow_quotes``.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.evaluation.decay import live_accuracy
from pricing_assets.core.evaluation.decay import promoted_forecast as kept_forecast
from pricing_assets.core.evaluation.drift import residual_break, watched_drift
from pricing_assets.core.evaluation.fairness import (
    fairness_frame,
    group_gaps,
    personal_features,
    proxy_exposures,
    with_groups,
)
from pricing_assets.core.evaluation.price_response_drift import price_response_drift
from pricing_assets.core.evaluation.shadow import COLUMNS, shadow_summary
from pricing_assets.core.evaluation.skill import leaking_columns
from pricing_assets.core.evaluation.watch import (
    concept_check,
    decay_check,
    drift_checks,
    plain,
    relative_residuals,
    response_check,
    unpriced_share,
    watch_report,
)
from pricing_assets.core.features import build_panel, future_plan
from pricing_assets.core.forecast.design import feature_names
from pricing_assets.core.guardrails import RULES_VERSION
from pricing_assets.core.panel import Panel
from pricing_assets.core.promotion import Gate, require_champion
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS, ONLINE_FEATURES
from resources.asset_metadata import Metadata, check_metadata, records_metadata, table_metadata
from resources.monitoring import MonitoringResource
from resources.raw_tables import RawTablesResource
from resources.settings import SettingsResource
from serving.published_table import Stamps
from serving.shadow_quotes import shadow_catalog, shadow_quotes

GROUP = "monitoring"
OWNERS = ["team:data-science"]

Floats = NDArray[np.float64]


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"json"}, code_version="1")
def drift_report(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    monitoring: MonitoringResource,
    sales_panel: Panel,
    forecast_backtest: pd.DataFrame,
    forecast_residuals: pd.DataFrame,
) -> dict[str, Any]:
    """Drift of features, residuals and price response, and the promoted model's live accuracy."""
    report = _report(
        sales_panel,
        settings=settings.settings(),
        residuals=_residuals(forecast_backtest, forecast_residuals),
        promoted=monitoring.promoted_forecast(),
    )
    path = monitoring.write_report("drift", report)
    context.add_output_metadata(_metadata(report, path=str(path)))
    return report


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"json"}, code_version="1")
def drift_watch(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    raw_tables: RawTablesResource,
    monitoring: MonitoringResource,
    forecast_backtest: pd.DataFrame,
    forecast_residuals: pd.DataFrame,
) -> dict[str, Any]:
    """The same report on the raw tables as they are now, between two trainings.

    Nothing that prices are made from is stored anew: the panel is built for this report alone.
    """
    chosen = settings.settings()
    tables = {name: table.accepted for name, table in raw_tables.read(chosen).items()}
    report = _report(
        build_panel(tables, chosen),
        settings=chosen,
        residuals=_residuals(forecast_backtest, forecast_residuals),
        promoted=monitoring.promoted_forecast(),
    )
    path = monitoring.write_report("drift", report)
    context.add_output_metadata(_metadata(report, path=str(path)))
    return report


def _residuals(backtest: pd.DataFrame, residuals: pd.DataFrame) -> Floats:
    model = str(backtest.loc[backtest["chosen"], "model"].iloc[0])
    return relative_residuals(residuals, model=model)


def _metadata(report: dict[str, Any], *, path: str) -> Metadata:
    return {
        "alarms": len(report["alarms"]),
        "alarm_names": ", ".join(one["name"] for one in report["alarms"]) or "none",
        "checks": records_metadata(pd.DataFrame(report["checks"])),
        "report": dg.MetadataValue.path(path),
    }


def _report(
    panel: Panel, *, settings: PricingSettings, residuals: Floats, promoted: pd.DataFrame | None
) -> dict[str, Any]:
    """Every check with its value and limit, and what the gates of promotion ask besides."""
    features = watched_drift(panel, parameters=settings.monitoring)
    learned = _learned_checks(panel, settings=settings, residuals=residuals, promoted=promoted)
    return watch_report(
        (*drift_checks(features), *learned),
        features,
        now=datetime.now(UTC),
        unpriced_share=unpriced_share(panel, window_days=settings.monitoring.window_days),
        leaks={name: plain(value) for name, value in leaking_columns(panel).items()},
    )


def _learned_checks(
    panel: Panel, *, settings: PricingSettings, residuals: Floats, promoted: pd.DataFrame | None
) -> tuple[Gate, ...]:
    """What was learned, against what came: residuals, price response, live accuracy."""
    watched = settings.monitoring
    response = price_response_drift(
        panel,
        window_days=watched.response_window_days,
        block_days=settings.elasticity.block_days,
    )
    live = None if promoted is None else live_accuracy(promoted, panel)
    return (
        concept_check(residual_break(residuals), parameters=watched),
        response_check(response, parameters=watched),
        decay_check(live, parameters=watched),
    )


@dg.asset_check(
    asset="drift_report",
    description="Nothing that was learned from has drifted, and live accuracy has not decayed.",
)
def nothing_drifted(drift_report: dict[str, Any]) -> dg.AssetCheckResult:
    """Count of alarms; each is named with its value, limit and reason."""
    alarms = drift_report["alarms"]
    return dg.AssetCheckResult(
        passed=not alarms,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(f"{one['name']}: {one['why']}" for one in alarms) or "no alarm",
        metadata=check_metadata(value=len(alarms), threshold=0),
    )


@dg.asset(group_name=GROUP, owners=["team:pricing"], kinds={"parquet"}, code_version="1")
def price_fairness(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    price_table: pd.DataFrame,
    price_facts: pd.DataFrame,
    stores: pd.DataFrame,
) -> pd.DataFrame:
    """Price and margin gaps by store zone and segment, and exposure of their price changes."""
    key = ["product_id", "store_id"]
    rows = with_groups(price_table, stores).merge(
        price_facts[[*key, "unit_cost"]], on=key, how="left"
    )
    exposures = proxy_exposures(rows, seed=settings.settings().seed)
    frame = fairness_frame(group_gaps(rows), exposures)
    widest = frame.sort_values("certain", ascending=False).head(20)
    context.add_output_metadata({**table_metadata(frame), "widest": records_metadata(widest)})
    return frame


@dg.asset_check(
    asset="price_fairness",
    blocking=True,
    additional_ins={"price_facts": dg.AssetIn("price_facts")},
    description="No name of a column that prices follow from points at a person.",
)
def prices_follow_from_no_personal_data(
    price_fairness: pd.DataFrame, price_facts: pd.DataFrame
) -> dg.AssetCheckResult:
    """Count of such names among the forecast's features, the curves' and the rails' facts."""
    names = (*feature_names(), *DEMAND_CURVE_COLUMNS, *ONLINE_FEATURES, *price_facts.columns)
    found = personal_features(names)
    return dg.AssetCheckResult(
        passed=not found,
        metadata={
            **check_metadata(value=len(found), threshold=0),
            "found": ", ".join(found) or "none",
            "names_checked": len(set(names)),
            "groups_compared": len(price_fairness),
        },
    )


@dg.asset(group_name=GROUP, owners=OWNERS, kinds={"parquet"}, code_version="1")
def shadow_scores(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    monitoring: MonitoringResource,
    price_table: pd.DataFrame,
    demand_curves: pd.DataFrame,
    data_snapshot: dict[str, Any],
) -> pd.DataFrame:
    """What this run's table would have answered to the latest served requests."""
    chosen, now = settings.settings(), datetime.now(UTC)
    stamps = _shadow_stamps(chosen, data_snapshot, now=now)
    catalog = shadow_catalog(price_table, demand_curves, stamps=stamps, now=now)
    found = shadow_quotes(monitoring.audit_folder, catalog, limit=chosen.monitoring.shadow_quotes)
    rows = [{**asdict(one), "relative_difference": one.relative_difference} for one in found]
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    furthest = frame.sort_values("relative_difference", key=abs, ascending=False).head(20)
    context.add_output_metadata(
        {
            **{name: str(value) for name, value in asdict(shadow_summary(frame)).items()},
            "furthest": records_metadata(furthest),
        }
    )
    return frame


def _shadow_stamps(settings: PricingSettings, data: dict[str, Any], *, now: datetime) -> Stamps:
    return Stamps(
        model_version="candidate",
        data_version=data["data_version"],
        currency=settings.currency,
        valid_from=now,
        valid_until=now + timedelta(hours=settings.gate.max_table_age_hours),
        rules_version=RULES_VERSION,
        settings=settings,
    )


@dg.asset(group_name="registration", owners=OWNERS, kinds={"parquet"}, code_version="1")
def promoted_forecast(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    registered_model: dict[str, Any],
    sales_panel: Panel,
    demand_forecast: pd.DataFrame,
    own_price_elasticity: pd.DataFrame,
    forecast_backtest: pd.DataFrame,
    planned_prices: pd.DataFrame,
    calendar: pd.DataFrame,
) -> pd.DataFrame:
    """What the model promoted now expects; a later run compares it with what was sold."""
    require_champion(registered_model)
    tables = {"planned_prices": planned_prices, "calendar": calendar}
    tested = forecast_backtest[forecast_backtest["chosen"] & (forecast_backtest["origin"] != "all")]
    frame = kept_forecast(
        demand_forecast,
        future_plan(sales_panel, tables, settings=settings.settings()),
        elasticity=own_price_elasticity,
        validated=tested["wape"].to_numpy(dtype=float),
        model_version=str(registered_model["version"]),
    )
    context.add_output_metadata(table_metadata(frame))
    return frame
