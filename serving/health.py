"""The state of the service as one JSON, the same whichever worker is asked.

Belongs here: what the health page shows: versions, rungs, cache, latency, the stop, the audit log,
and the reports of drift and of the gate that the pipeline leaves in the home. Alarms are
``health_alarms``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pricing_assets.core.errors import InputError
from serving import tallies
from serving.audit_format import SegmentFile, segments
from serving.audit_reader import ChainReport, chain_heads, verify
from serving.catalog import Catalog
from serving.desk import Desk
from serving.freeze import Freeze
from serving.health_alarms import alarms
from serving.home import Home
from serving.metric_totals import MetricTotals
from serving.pages import Asked, DataRoute
from serving.recorder import settings_version
from serving.wire import encode_json

LISTED_FROZEN = 50
"""Frozen products that are named; the rest are counted."""
LISTED_CHAINS = 20
MAX_VERIFIED_BYTES = 256 * 2**20
"""A larger audit log is verified by the command, not while prices are served."""
MAX_REPORT_BYTES = 4 * 2**20
REPORTS = ("drift", "gate")
"""Reports that the pipeline leaves in the home for this page."""
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class HealthData:
    """Answers the health page over one worker's desk and home."""

    def __init__(self, desk: Desk, home: Home) -> None:
        self._desk = desk
        self._home = home

    def routes(self) -> Mapping[str, DataRoute]:
        """Its addresses."""
        return {
            "/health.json": DataRoute("GET", self._health),
            "/audit_check": DataRoute("GET", self._audit_check, heavy=True),
        }

    async def _health(self, _: Asked) -> bytes:
        tallies.push()
        tables = self._desk.tables
        found = await asyncio.to_thread(self._read)
        state = {
            "now": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": None if tables.catalog is None else _versions(tables.catalog),
            "freeze": _freeze(tables.freeze),
            **found,
        }
        return encode_json({**state, "alarms": [asdict(alarm) for alarm in alarms(state)]})

    def _read(self) -> dict[str, Any]:
        """What lies in files: the workers' metrics, the audit log's ends and the reports."""
        return {
            **service_counts(MetricTotals.now()),
            "audit_log": _audit_log(self._home.audit),
            "reports": {name: _report(self._home.reports / f"{name}.json") for name in REPORTS},
        }

    async def _audit_check(self, _: Asked) -> bytes:
        reports = await asyncio.to_thread(_verified, self._home.audit)
        return encode_json(
            {
                "intact": all(report.intact for report in reports),
                "chains": len(reports),
                "records": sum(report.records for report in reports),
                "quotes": sum(report.quotes for report in reports),
                "unsealed_bytes": sum(report.unsealed_bytes for report in reports),
                "problems": [f"{one.chain}: {text}" for one in reports for text in one.problems],
            }
        )


def service_counts(totals: MetricTotals) -> dict[str, Any]:
    """Counts since the service was started, over all workers."""
    lookups = totals.by("pricing_cache_lookups_total", "tier")
    asked = sum(lookups.values())
    found = asked - lookups.get("computed", 0.0)
    return {
        "quotes": totals.by("pricing_quotes_total", "source"),
        "rung_failures": totals.by("pricing_rung_failures_total", "rung"),
        "guard_rail_refusals": totals.by("pricing_guard_rail_refusals_total", "origin"),
        "errors": totals.by("pricing_errors_total", "status"),
        "cache": {"lookups": lookups, "hit_ratio": found / asked if asked else None},
        "redis": {
            "failures": totals.value("pricing_redis_failures_total") or 0.0,
            "workers_not_asking": totals.value("pricing_redis_breaker_open") or 0.0,
        },
        "table_loads": totals.by("pricing_table_loads_total", "outcome"),
        "audit": {
            name: totals.value(f"pricing_audit_{name}_total") or 0.0
            for name in ("records", "refusals", "failures")
        },
        "latency": _latency(totals),
    }


def _latency(totals: MetricTotals) -> list[dict[str, Any]]:
    """By endpoint, the most asked first; seconds."""
    found = totals.histograms("pricing_api_latency_seconds", "endpoint")
    rows = [
        {
            "endpoint": endpoint,
            "count": histogram.count,
            "mean": histogram.mean,
            **{name: histogram.quantile(share) for name, share in QUANTILES.items()},
        }
        for endpoint, histogram in found.items()
        if histogram.count
    ]
    return sorted(rows, key=lambda row: -row["count"])


def _versions(catalog: Catalog) -> dict[str, Any]:
    manifest = catalog.manifest
    return {
        "table_version": manifest.table_version,
        "previous": manifest.previous,
        "restored_from": manifest.restored_from,
        "model_version": manifest.model_version,
        "data_version": manifest.data_version,
        "settings_version": settings_version(catalog.settings),
        "rules_version": manifest.rules_version,
        "mlflow_run_id": manifest.mlflow_run_id,
        "dagster_run_id": manifest.dagster_run_id,
        "published_at": manifest.published_at.isoformat(),
        "valid_until": manifest.valid_until.isoformat(),
        "data_until": manifest.data_until.isoformat() if manifest.data_until else None,
        "overridden": list(manifest.overridden),
        "prices": len(catalog),
        "currency": manifest.currency,
    }


def _freeze(freeze: Freeze) -> dict[str, Any]:
    return {
        "everything": freeze.everything,
        "damaged": freeze.damaged,
        "count": len(freeze.products),
        "products": sorted(freeze.products)[:LISTED_FROZEN],
    }


def _audit_log(folder: Path) -> dict[str, Any]:
    """The ends of the chains: enough to write down elsewhere; whether all is whole is a check."""
    files = segments(folder)
    return {
        "files": len(files),
        "bytes": (size := _size(files)),
        "chains": len({file.chain for file in files}),
        "heads": chain_heads(folder)[-LISTED_CHAINS:],
        "checkable_here": size <= MAX_VERIFIED_BYTES,
    }


def _size(files: list[SegmentFile]) -> int:
    return sum(file.path.stat().st_size for file in files)


def _verified(folder: Path) -> list[ChainReport]:
    size = _size(segments(folder))
    if size > MAX_VERIFIED_BYTES:
        raise InputError(
            f"the audit log holds {size / 2**20:.0f} MiB; check it with 'pricing audit verify', "
            "not while prices are served"
        )
    return verify(folder)


def _report(path: Path) -> dict[str, Any] | None:
    """A report of the pipeline; None without one, ``unreadable`` where it is damaged."""
    try:
        with path.open("rb") as stream:
            found = json.loads(stream.read(MAX_REPORT_BYTES), parse_constant=_no_constant)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as failure:
        return {"unreadable": str(failure)}
    return found if isinstance(found, dict) else {"unreadable": "it is no JSON object"}


def _no_constant(name: str) -> Any:
    raise ValueError(f"it holds {name}")
