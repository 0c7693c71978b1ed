"""What an operator asks of a home: status, rollback, freeze. No Dagster is loaded.

Belongs here: one sentence or a few lines for each. The store is ``serving.price_store``.
"""

from __future__ import annotations

from datetime import UTC, datetime

from serving.freeze import Freeze
from serving.home import Home
from serving.price_store import PriceStore


def status_lines(home: Home) -> list[str]:
    """What is published in this home, from what, until when, and what is frozen.

    Raises:
        NotPublishedError: nothing was published in this home.
    """
    store = PriceStore(home.tables)
    table = store.read_current()
    manifest, now = table.manifest, datetime.now(UTC)
    frozen = store.frozen()
    age = "valid" if now < manifest.valid_until else "STALE"
    return [
        f"home           {home.root}",
        f"table version  {table.version} ({age} until {manifest.valid_until:%Y-%m-%d %H:%M %Z})",
        f"rows           {table.prices.num_rows} in {manifest.currency}",
        f"published at   {manifest.published_at:%Y-%m-%d %H:%M:%S %Z}"
        + (f", restored from {manifest.restored_from}" if manifest.restored_from else ""),
        f"replaced       {manifest.previous or 'nothing'}",
        f"model version  {manifest.model_version}",
        f"data version   {manifest.data_version}",
        f"Dagster run    {manifest.dagster_run_id}",
        f"MLflow run     {manifest.mlflow_run_id}",
        f"frozen         {_frozen_text(frozen)}",
    ]


def rollback_line(home: Home, *, to: str | None) -> str:
    """Publish an earlier version again and say so in one sentence."""
    manifest = PriceStore(home.tables).rollback(to, now=datetime.now(UTC))
    return f"published {manifest.table_version}, the content of {manifest.restored_from}"


def freeze_line(home: Home, *, product_id: str | None) -> str:
    """Freeze one product or all, and say what is frozen now."""
    return f"frozen: {_frozen_text(PriceStore(home.tables).freeze(product_id))}"


def unfreeze_line(home: Home, *, product_id: str | None) -> str:
    """Unfreeze one product or all, and say what is frozen now."""
    return f"frozen: {_frozen_text(PriceStore(home.tables).unfreeze(product_id))}"


def _frozen_text(freeze: Freeze) -> str:
    if freeze.damaged:
        return "everything (freeze.json cannot be read; unfreeze to write it anew)"
    if freeze.everything:
        return "everything"
    return ", ".join(sorted(freeze.products)) or "nothing"
