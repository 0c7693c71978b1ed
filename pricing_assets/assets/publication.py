"""Publication: the promoted price table becomes the current one, whole or not at all.

Belongs here: the asset of the group ``publication`` and its check. The store is
``serving.price_store``.
"""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pandas as pd

from pricing_assets.core.batch_breaker import tripped
from pricing_assets.core.guardrails import RULES_VERSION
from pricing_assets.core.portfolio import with_multipliers
from pricing_assets.core.promotion import require_champion
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.table_changes import TableChanges, table_changes
from resources.asset_metadata import Metadata, check_metadata, records_metadata, table_metadata
from resources.price_store import PriceStoreResource
from resources.settings import SettingsResource
from serving.price_store import PriceStore
from serving.published_table import Manifest, Stamps, as_arrow
from serving.table_gate import table_measures


@dg.asset(
    group_name="publication",
    owners=["team:pricing"],
    kinds={"parquet"},
    code_version="1",
)
def published_price_table(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    price_store: PriceStoreResource,
    price_table: pd.DataFrame,
    portfolio_goals: pd.DataFrame,
    demand_curves: pd.DataFrame,
    registered_model: dict[str, Any],
    data_snapshot: dict[str, Any],
) -> pd.DataFrame:
    """The price table that the service reads, under a new version."""
    require_champion(registered_model)
    store, now = price_store.store(), datetime.now(UTC)
    before = _current_prices(store)
    manifest = store.publish(
        prices=price_table,
        curves=demand_curves,
        stamps=_stamps(
            with_multipliers(settings.settings(), portfolio_goals),
            model=registered_model,
            data=data_snapshot,
            dagster_run_id=context.run_id,
            now=now,
        ),
        now=now,
    )
    published = store.read(manifest.table_version).prices.to_pandas()
    changes = table_changes(before, published, curves=demand_curves)
    context.add_output_metadata(_metadata(published, manifest, changes=changes))
    return published


@dg.asset_check(
    asset="price_table",
    blocking=True,
    description="The batch breaker: the table as a whole does not move as accidents do.",
)
def price_table_is_plausible(
    price_table: pd.DataFrame, settings: SettingsResource, price_store: PriceStoreResource
) -> dg.AssetCheckResult:
    """The breaker's measures against the published table; an override is named and recorded."""
    parameters, store = settings.settings().batch_breaker, price_store.store()
    measures = table_measures(
        store.prices_to_replace(), as_arrow(price_table), parameters=parameters
    )
    stopped = tripped(measures)
    rows = pd.DataFrame([asdict(one) for one in measures])
    return dg.AssetCheckResult(
        passed=not stopped or bool(parameters.override),
        metadata={
            **check_metadata(value=len(stopped), threshold=0),
            "what_tripped": "; ".join(stopped) or "nothing",
            "override": parameters.override or "none",
            "measures": records_metadata(rows.drop(columns="sentence")),
        },
    )


@dg.asset_check(
    asset="published_price_table",
    blocking=True,
    description="The current version is this table, and its bytes match their SHA-256.",
)
def published_table_is_intact(
    published_price_table: pd.DataFrame, price_store: PriceStoreResource
) -> dg.AssetCheckResult:
    """Read the current version back, verified, and compare its name."""
    version = price_store.store().read_current().version
    expected = str(published_price_table["table_version"].iloc[0])
    return dg.AssetCheckResult(
        passed=version == expected, metadata=check_metadata(value=version, threshold=expected)
    )


def _current_prices(store: PriceStore) -> pd.DataFrame | None:
    return store.read_current().prices.to_pandas() if store.current() is not None else None


def _stamps(
    settings: PricingSettings,
    *,
    model: dict[str, Any],
    data: dict[str, Any],
    dagster_run_id: str,
    now: datetime,
) -> Stamps:
    until = data.get("data_until")  # a snapshot stored by an earlier release says none
    return Stamps(
        model_version=model["version"],
        data_version=data["data_version"],
        data_until=datetime.fromisoformat(until) if until else None,
        mlflow_run_id=model["mlflow_run_id"],
        dagster_run_id=dagster_run_id,
        currency=settings.currency,
        valid_from=now,
        valid_until=now + timedelta(hours=settings.gate.max_table_age_hours),
        rules_version=RULES_VERSION,
        settings=settings,
    )


def _metadata(published: pd.DataFrame, manifest: Manifest, *, changes: TableChanges) -> Metadata:
    return {
        **table_metadata(published),
        "table_version": manifest.table_version,
        "model_version": manifest.model_version,
        "data_version": manifest.data_version,
        "valid_until": manifest.valid_until.isoformat(timespec="seconds"),
        "replaced": manifest.previous or "nothing",
        "rules_version": manifest.rules_version,
        "breaker_overridden": "; ".join(manifest.overridden) or "nothing",
        "rows_changed": changes.changed,
        "rows_raised": changes.raised,
        "rows_cut": changes.cut,
        "mean_change": changes.mean_change,
        "profit_of_the_changes": changes.profit,
        "revenue_of_the_changes": changes.revenue,
        "rows_added": changes.added,
        "rows_removed": changes.removed,
        "largest_changes": records_metadata(changes.largest),
    }
