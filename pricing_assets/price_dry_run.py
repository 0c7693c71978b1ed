"""What publishing would change, without publishing: the dry run of a rule. No Dagster is loaded.

Belongs here: prices from the stored demand curves under the settings as they are now, against the
published table. The job that publishes is ``automation.price_update``.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pandas as pd
from upath import UPath

from pricing_assets.core.batch_breaker import Measure
from pricing_assets.core.panel_facts import with_price_history
from pricing_assets.core.portfolio import portfolio_plan, with_multipliers
from pricing_assets.core.price_reasons import rule_counts
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.table_changes import TableChanges, table_changes
from resources.asset_store import load_value
from serving.home import Home, load_settings
from serving.price_history import day_reference
from serving.price_store import PriceStore
from serving.published_table import as_arrow, check_guard_rails, unstamped
from serving.table_gate import table_measures

_STATE = ["reference_price_24h", "frozen"]


def dry_run_lines(home: Home, *, config: str | None) -> list[str]:
    """What ``pricing publish`` would change now; nothing is written.

    Args:
        home: where a run has stored its demand curves.
        config: YAML settings; None takes ``PRICING_CONFIG``.

    Raises:
        NotPublishedError: no run has stored anything in this home.
        GuardRailError: a price may not be served.
    """
    settings, store = load_settings(config), PriceStore(home.tables)
    curves = load_value(UPath(home.assets) / "demand_curves")
    prices = _prices(home, curves, settings=settings, store=store)
    plain = unstamped(as_arrow(prices))
    check_guard_rails(plain, currency=settings.currency)
    before = store.read_current().prices if store.current() else None
    changes = table_changes(None if before is None else before.to_pandas(), prices, curves=curves)
    measures = table_measures(before, plain, parameters=settings.batch_breaker)
    return [
        f"nothing is published; against {store.current() or 'no table'}:",
        *_change_lines(changes, currency=settings.currency),
        *_rule_lines(prices),
        *_breaker_lines(measures, override=settings.batch_breaker.override),
    ]


def _prices(
    home: Home, curves: pd.DataFrame, *, settings: PricingSettings, store: PriceStore
) -> pd.DataFrame:
    """The price table as the assets would make it now."""
    facts = load_value(UPath(home.assets) / "price_facts").drop(columns=_STATE, errors="ignore")
    freeze = store.frozen()
    facts = with_price_history(
        facts,
        reference=day_reference(store, now=datetime.now(UTC)).prices.to_pandas(),
        frozen=freeze.products,
        everything_frozen=freeze.everything,
    )
    goals = portfolio_plan(curves, panel_facts=facts, settings=settings).frame()
    chosen = with_multipliers(settings, goals)
    return build_price_table(curves, panel_facts=facts, settings=chosen)


def _change_lines(changes: TableChanges, *, currency: str) -> list[str]:
    lines = [
        f"rows           {changes.added} added, {changes.removed} removed",
        f"prices         {changes.raised} raised, {changes.cut} cut, "
        f"{changes.mean_change:+.1%} in the mean of those",
        f"worth          {changes.profit:+,.0f} {currency} of profit, {changes.revenue:+,.0f} of "
        "revenue over the horizon (by the demand curves; stock and substitutes left out)",
    ]
    for row in changes.largest.to_dict(orient="records"):
        store = f" in {row['store_id']}" if row["store_id"] else ""
        lines.append(
            f"  {row['product_id']}{store}: {row['before']:g} to {row['after']:g} "
            f"({row['relative_change']:+.1%})"
        )
    return lines


def _rule_lines(prices: pd.DataFrame) -> list[str]:
    counts = rule_counts(prices["reasons"])
    named = ", ".join(f"{row.rule} {row.rows}" for row in counts.itertuples())
    return [f"rules          {named or 'none shaped a price'}"]


def _breaker_lines(measures: tuple[Measure, ...], *, override: str) -> list[str]:
    lines = []
    for one in measures:
        state = ("STOPS" if not override else "overridden") if one.tripped else "passes"
        lines.append(f"breaker        {state}: {one.name}: {one.sentence}")
    return lines
