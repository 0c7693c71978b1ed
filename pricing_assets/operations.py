"""What an operator asks of a home: status, rollback, freeze. No Dagster is loaded.

Belongs here: one sentence or a few lines for each. The store is ``serving.price_store``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

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
        *_gate_lines(home),
        *_drift_lines(home),
    ]


def _gate_lines(home: Home) -> list[str]:
    """The last candidate, what it became, and what held it back."""
    report = _report(home, "gate")
    if report is None:
        return []
    held = report["alarms"]
    unknown = [one["name"] for one in report["checks"] if one["value"] is None]
    outcome = "no gate failed" if not held else f"{len(held)} gates failed, the champion stays"
    line = f"last candidate model version {report['model_version']} is {report['alias']}: {outcome}"
    silent = [f"  not measured {', '.join(unknown)}"] if unknown else []
    return [line, *(f"  held by      {one['why']}" for one in held), *silent]


def _drift_lines(home: Home) -> list[str]:
    """What has drifted or decayed."""
    report = _report(home, "drift")
    if report is None:
        return []
    alarms = report["alarms"]
    line = f"drift          {len(alarms)} alarms at {report['generated_at']}"
    return [line, *(f"  alarm        {one['name']}: {one['why']}" for one in alarms)]


def _report(home: Home, name: str) -> dict[str, Any] | None:
    """A report of the last run; None where there is none."""
    path = home.reports / f"{name}.json"
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return dict(found)


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
