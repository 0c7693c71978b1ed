"""Is there anything new to learn: the version of all that a whole run is made from.

Belongs here: one hash over data, settings and code, and the earlier run that was made from the
same. Running is ``pipeline_run``. What depends on the time (the price of the day before, freezes,
validity) is no part of it: prices are made anew by every run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
from upath import UPath

from pricing_assets.automation import PIPELINE, PRICE_SHARDS, PRICE_UPDATE, WATCH_DRIFT
from pricing_assets.core.errors import IntegrityError, NotPublishedError
from pricing_assets.core.lineage import data_version
from pricing_assets.core.promotion import CHAMPION
from pricing_assets.stream_automation import COMPACT_STREAMS
from resources.asset_store import load_value
from resources.market_file import read_market
from serving.home import Home

INPUTS_TAG = "pricing/inputs_version"
REUSED_TAG = "pricing/reused_run"
_LEAVE_MODELS = frozenset({PRICE_UPDATE, PRICE_SHARDS, WATCH_DRIFT, COMPACT_STREAMS})
"""Jobs after which data, models and curves are as they were."""
_ROOT = Path(__file__).resolve().parent.parent
_CODE = ("pricing_assets", "resources")


def inputs_version(definitions: dg.Definitions) -> str:
    """First 16 hex digits of the SHA-256 over raw tables, settings in use, and product code."""
    resources: Any = definitions.resources
    settings = resources["settings"].settings()
    tables = resources["raw_tables"].read(settings)
    in_use = resources["tuning_store"].in_use(settings)
    parts = {
        "data": data_version({name: table.accepted for name, table in tables.items()}),
        "set_aside": {name: len(table.quarantined) for name, table in tables.items()},
        "market": read_market(resources["raw_tables"].root),
        "settings": in_use.settings.model_dump(mode="json"),
        "code": _code_version(),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def unchanged_run(
    instance: dg.DagsterInstance, home: Home, tags: Mapping[str, str]
) -> dg.DagsterRun | None:
    """The whole run whose assets are in the home now, if it was made from the same inputs.

    Assets hold what the last run of any job left, so only the last one counts, and it must have
    succeeded as a whole and made the champion that is published.
    """
    last = next(
        (run for run in instance.get_runs(limit=100) if run.job_name not in _LEAVE_MODELS), None
    )
    same = (
        last is not None
        and last.job_name == PIPELINE
        and last.status == dg.DagsterRunStatus.SUCCESS
        and last.tags.get(INPUTS_TAG) == tags[INPUTS_TAG]
    )
    return last if same and _is_champion(home) else None


def _is_champion(home: Home) -> bool:
    """The stored model was promoted; False where nothing whole is stored."""
    try:
        registered = load_value(UPath(home.assets) / "registered_model")
    except (NotPublishedError, IntegrityError):
        return False
    return bool(registered["alias"] == CHAMPION)


@cache
def _code_version() -> str:
    """Hash of the product's own source files, as they were when this process first asked."""
    digest = hashlib.sha256()
    for folder in _CODE:
        for path in sorted((_ROOT / folder).rglob("*.py")):
            digest.update(str(path.relative_to(_ROOT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()
