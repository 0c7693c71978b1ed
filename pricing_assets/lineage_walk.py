"""Lineage walked from either end: rows to served prices, and back. No Dagster is loaded.

Belongs here: joining the records of model versions, the manifests of published tables and the
audit log, and printing them. From one quote back to its rows is ``price_explanation``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pricing_assets.core.errors import InputError, nearest
from serving.home import Home
from serving.lineage_record import LineageRecord, lineage_records
from serving.price_store import PriceStore
from serving.published_table import Manifest
from serving.quotes_by_table import served_quotes


class UnknownVersionError(InputError):
    """No data, model or table version of that name is on record in this home."""


@dataclass(frozen=True, slots=True)
class Walk:
    """Where a walk starts; every condition that is given must hold.

    Attributes:
        data_version, model_version, table_version: exact names.
        part: a raw table, or one month of it, as ``sales/2024-07``.
        quotes: ids of served quotes to name for each table; the log is only read if above 0.
    """

    data_version: str | None = None
    model_version: str | None = None
    table_version: str | None = None
    part: str | None = None
    quotes: int = 0


def lineage(home: Home, walk: Walk) -> list[dict[str, Any]]:
    """Data versions, each with its models, each with its tables, each with its quotes.

    A model version from before lineage was kept has its data version alone.

    Raises:
        UnknownVersionError: nothing on record meets the conditions.
        IntegrityError: a record is damaged.
    """
    store = PriceStore(home.tables)
    manifests = [store.manifest(version) for version in store.versions()]
    records = lineage_records(home.reports)
    _require_known(walk, records, manifests)
    found = [
        {**data, "models": models}
        for data in _data(records, manifests, walk)
        if (models := list(_models(home, data["data_version"], records, manifests, walk)))
    ]
    if not found:
        raise UnknownVersionError("no price table was made from these versions together")
    return found


def lineage_lines(home: Home, walk: Walk) -> list[str]:
    """The same as lines for a person."""
    lines: list[str] = []
    for data in lineage(home, walk):
        lines += _data_lines(data)
        for model in data["models"]:
            lines += _model_lines(model)
    return lines


def _data(
    records: list[LineageRecord], manifests: list[Manifest], walk: Walk
) -> Iterator[dict[str, Any]]:
    by_version = {record.data_version: record for record in records}
    versions = dict.fromkeys(
        [*(record.data_version for record in records), *(one.data_version for one in manifests)]
    )
    before: LineageRecord | None = None
    for version in versions:
        record = by_version.get(version)
        part = _part_of(record, walk.part) if walk.part else {}
        if walk.data_version in (None, version) and part is not None:
            yield {
                "data_version": version,
                "parts": {} if record is None else record.partitions,
                "part": part,
                "differs_in": [] if record is None else _differences(before, record),
                "differs_from": before.data_version if before and record else None,
            }
        before = record or before


def _part_of(record: LineageRecord | None, part: str) -> dict[str, str] | None:
    """The versions of a raw table's parts, or of one; None where this data has no such part."""
    table, _, month = part.partition("/")
    parts = record.partitions.get(table) if record else None
    if parts is None:
        return None
    chosen = {name: version for name, version in parts.items() if month in ("", name)}
    return {f"{table}/{name}": version for name, version in chosen.items()} or None


def _differences(before: LineageRecord | None, now: LineageRecord) -> list[str]:
    """Parts that are new, gone or changed since the data version before."""
    if before is None:
        return []
    earlier, later = _flat(before.partitions), _flat(now.partitions)
    return sorted(
        name for name in earlier.keys() | later.keys() if earlier.get(name) != later.get(name)
    )


def _flat(partitions: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    return {
        f"{table}/{part}": v for table, parts in partitions.items() for part, v in parts.items()
    }


def _models(
    home: Home,
    data_version: str,
    records: list[LineageRecord],
    manifests: list[Manifest],
    walk: Walk,
) -> Iterator[dict[str, Any]]:
    """Models of one data version, with their tables."""
    of_data = [record for record in records if record.data_version == data_version]
    known: dict[str, dict[str, Any]] = {
        record.model_version: {**record.versions(), "alias": record.model_alias}
        for record in of_data
    }
    for manifest in manifests:
        if manifest.data_version == data_version:
            known.setdefault(manifest.model_version, _from_manifest(manifest))
    for version, model in known.items():
        tables = [
            _table(home, manifest, walk)
            for manifest in manifests
            if (manifest.model_version, manifest.data_version) == (version, data_version)
            and walk.table_version in (None, manifest.table_version)
        ]
        if walk.model_version in (None, version) and (tables or walk.table_version is None):
            yield {**model, "tables": tables}


def _from_manifest(manifest: Manifest) -> dict[str, Any]:
    return {
        "data_version": manifest.data_version,
        "model_version": manifest.model_version,
        "mlflow_run_id": manifest.mlflow_run_id,
        "dagster_run_id": manifest.dagster_run_id,
        "alias": "",
    }


def _table(home: Home, manifest: Manifest, walk: Walk) -> dict[str, Any]:
    table: dict[str, Any] = {
        "table_version": manifest.table_version,
        "published_at": manifest.published_at.isoformat(timespec="seconds"),
        "restored_from": manifest.restored_from,
        "current": PriceStore(home.tables).current() == manifest.table_version,
        "dagster_run_id": manifest.dagster_run_id,
        "rules_version": manifest.rules_version,
    }
    if walk.quotes > 0:
        served = served_quotes(home.audit, table_version=manifest.table_version, latest=walk.quotes)
        table["quotes"] = {"count": served.count, "latest": list(served.latest)}
    return table


def _require_known(walk: Walk, records: list[LineageRecord], manifests: list[Manifest]) -> None:
    """Refuse a version that is nowhere on record, and name the nearest."""
    rows: list[LineageRecord | Manifest] = [*records, *manifests]
    named = {
        "data_version": {row.data_version for row in rows},
        "model_version": {row.model_version for row in rows},
        "table_version": {row.table_version for row in manifests},
    }
    for name, known in named.items():
        wanted = getattr(walk, name)
        if wanted is not None and wanted not in known:
            raise UnknownVersionError(
                f"no {name.replace('_', ' ')} '{wanted}' is on record in this home"
                f"{nearest(wanted, sorted(known))}; pricing lineage lists all"
            )
    if walk.part is not None and not any(_part_of(record, walk.part) for record in records):
        tables = sorted({table for record in records for table in record.partitions})
        raise UnknownVersionError(
            f"no data version on record has the part '{walk.part}'; give a table of "
            f"{', '.join(tables) or 'none'}, or one month of it as in sales/2024-07"
        )


def _data_lines(data: Mapping[str, Any]) -> list[str]:
    parts = sum(len(months) for months in data["parts"].values())
    size = f" ({len(data['parts'])} raw tables in {parts} parts)" if parts else ""
    lines = [f"data {data['data_version']}{size}"]
    lines += [f"  {name} is {version}" for name, version in data["part"].items()]
    changed = data["differs_in"]
    if changed:
        more = f" and {len(changed) - 6} more" if len(changed) > 6 else ""
        lines.append(f"  differs from {data['differs_from']} in {', '.join(changed[:6])}{more}")
    return lines


def _model_lines(model: Mapping[str, Any]) -> list[str]:
    alias = f" ({model['alias']} when registered)" if model["alias"] else ""
    lines = []
    if "features_version" in model:
        curves = model["curves_version"]
        lines.append(f"  features {model['features_version']}, demand curves {curves}")
    lines.append(f"    model {model['model_version']}{alias}")
    lines.append(f"      MLflow run  {model['mlflow_run_id']}")
    lines.append(f"      Dagster run {model['dagster_run_id']}")
    for table in model["tables"]:
        restored = f", restored from {table['restored_from']}" if table["restored_from"] else ""
        current = ", current" if table["current"] else ""
        lines.append(
            f"      table {table['table_version']}, published {table['published_at']}"
            f"{restored}{current}"
        )
        quotes = table.get("quotes")
        if quotes is not None:
            lines.append(f"        {quotes['count']:,} quotes served from it are on record")
            lines += [f"          {quote}" for quote in quotes["latest"]]
    return lines
