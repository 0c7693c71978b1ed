"""Checking one raw table against the contract: what is accepted, and what is set aside and why.

Belongs here: headings to typed rows, the quarantine and its limit. Reading files is
``resources.raw_tables``; public data sets' own formats are ``core.readers``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.errors import (
    EmptyTableError,
    MissingColumnError,
    QuarantineLimitError,
    UnreadableTableError,
)
from pricing_assets.core.headings import SHEET_COLUMNS, contract_headings
from pricing_assets.core.parsing import parse_column
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import RAW_TABLES, TableSchema

QUARANTINE_COLUMNS = ("table", "row_number", "reason", "record")
MAX_RECORD_TEXT = 200
"""Characters of one value kept in a quarantined row's record."""

Reasons = NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class CheckedTable:
    """One raw table after its check; accepted + quarantined rows are the rows read.

    Attributes:
        table: contract name.
        accepted: rows under contract headings and types (date datetime64[ns] at midnight, ids
            and texts str, numbers and flags float64); optional columns only where given.
        quarantined: columns table, row_number (1 is the first data row), reason (a stable
            snake_case code), record (JSON text of the row as read).
        rows_read: data rows read.
        ignored_columns: headings that the contract does not know, left out.
    """

    table: str
    accepted: pd.DataFrame
    quarantined: pd.DataFrame
    rows_read: int
    ignored_columns: tuple[str, ...] = ()

    def reasons(self) -> dict[str, int]:
        """Quarantined rows by reason, the most frequent first."""
        counts = self.quarantined["reason"].value_counts()
        return {str(reason): int(count) for reason, count in counts.items()}


def check_table(
    frame: pd.DataFrame,
    *,
    table: str,
    settings: PricingSettings,
    set_aside: pd.DataFrame | None = None,
) -> CheckedTable:
    """Accept the rows of ``frame`` that meet the contract and quarantine the others.

    Args:
        frame: raw rows, of any types, under the user's headings.
        table: contract name of the table.
        settings: headings mapping and the limit on quarantined rows.
        set_aside: rows that a reader has already set aside, in quarantine columns; they count
            as read and quarantined.

    Raises:
        MissingColumnError: a required column is absent.
        QuarantineLimitError: a larger share of rows is wrong than the settings allow.
        EmptyTableError: no row of ``sales`` is left.
        UnreadableTableError: the order of day and month cannot be told.
    """
    schema = RAW_TABLES[table]
    named = _under_contract_headings(frame, schema, settings)
    accepted, reasons = _typed(named, schema)
    _mark_duplicates(accepted, reasons, schema)
    earlier = set_aside if set_aside is not None else _quarantine(frame.head(0), [], table)
    wrong = np.flatnonzero(reasons != "")
    rows_read = len(frame) + len(earlier)
    counts = pd.concat([earlier["reason"], pd.Series(reasons[wrong], dtype=object)])
    _enforce_limit(
        counts, frame=frame, first=wrong[:1], rows_read=rows_read, schema=schema, settings=settings
    )
    rejected = _quarantine(frame.iloc[wrong], [*reasons[wrong]], table, positions=wrong)
    known = {*(column.name for column in schema.columns), *SHEET_COLUMNS}
    return CheckedTable(
        table=table,
        accepted=accepted.loc[reasons == ""].reset_index(drop=True),
        quarantined=pd.concat([earlier, rejected], ignore_index=True),
        rows_read=rows_read,
        ignored_columns=tuple(str(name) for name in named.columns if name not in known),
    )


def _under_contract_headings(
    frame: pd.DataFrame, schema: TableSchema, settings: PricingSettings
) -> pd.DataFrame:
    named = contract_headings(frame, table=schema.name, columns=settings.columns)
    for name in schema.required:
        if name not in named.columns:
            raise MissingColumnError(table=schema.name, column=name, found=map(str, frame.columns))
    return named


def _typed(named: pd.DataFrame, schema: TableSchema) -> tuple[pd.DataFrame, Reasons]:
    """Typed columns of the contract, and each row's first reason ("" where it has none)."""
    reasons = np.full(len(named), "", dtype=object)
    typed: dict[str, NDArray[np.generic]] = {}
    for column in schema.columns:
        if column.name in named.columns:
            try:
                parsed = parse_column(named[column.name], column)
            except UnreadableTableError as error:
                raise UnreadableTableError(f"table '{schema.name}': {error}") from error
            typed[column.name] = parsed.values
            for reason, mask in parsed.faults:
                reasons[mask & (reasons == "")] = reason
    return pd.DataFrame(typed), reasons


def _mark_duplicates(typed: pd.DataFrame, reasons: Reasons, schema: TableSchema) -> None:
    """Give the later rows of a repeated key their reason; the first good one stays."""
    key = [name for name in schema.key if name in typed.columns]
    good = np.flatnonzero(reasons == "")
    repeated = typed.iloc[good].duplicated(subset=key).to_numpy()
    reasons[good[repeated]] = "duplicate_key"


def _enforce_limit(
    reasons: pd.Series,
    *,
    frame: pd.DataFrame,
    first: NDArray[np.intp],
    rows_read: int,
    schema: TableSchema,
    settings: PricingSettings,
) -> None:
    allowed = settings.ingestion.max_quarantined_share
    if rows_read and len(reasons) / rows_read > allowed:
        counts = ", ".join(f"{reason} {n}" for reason, n in reasons.value_counts().items())
        example = "".join(f"; first: row {i + 1} {_record(frame.iloc[i])}" for i in first)
        raise QuarantineLimitError(
            f"table '{schema.name}': {len(reasons)} of {rows_read} rows "
            f"({len(reasons) / rows_read:.1%}) are wrong and at most {allowed:.1%} may be: "
            f"{counts}{example}. Mend these rows, or raise ingestion.max_quarantined_share"
        )
    if schema.name == "sales" and len(reasons) == rows_read:
        raise EmptyTableError(
            f"table 'sales' has no usable row ({rows_read} read); give it at least one row of "
            "date, product_id, units and price"
        )


def _quarantine(
    rows: pd.DataFrame,
    reasons: list[str],
    table: str,
    *,
    positions: NDArray[np.intp] | None = None,
) -> pd.DataFrame:
    """Quarantine rows of raw ``rows``; positions count from 0 in the table as read."""
    numbers = np.asarray(positions if positions is not None else [], dtype=np.int64) + 1
    return pd.DataFrame(
        {
            "table": np.full(len(rows), table, dtype=object),
            "row_number": numbers,
            "reason": np.array(reasons, dtype=object),
            "record": np.array(raw_records(rows), dtype=object),
        }
    )


def raw_records(rows: pd.DataFrame) -> list[str]:
    """JSON text of each row as read; long values are cut, missing ones are null."""
    names = [str(name) for name in rows.columns]
    columns = [rows.iloc[:, i].astype(object).tolist() for i in range(len(names))]
    return [_json(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]


def _record(row: pd.Series) -> str:
    return _json({str(name): value for name, value in row.items()})


def _json(record: dict[str, object]) -> str:
    return json.dumps({name: _plain(value) for name, value in record.items()}, allow_nan=False)


def _plain(value: object) -> str | int | float | None:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return None
    if isinstance(value, int | np.integer):
        return int(value)
    if isinstance(value, float | np.floating) and np.isfinite(value):
        return float(value)
    return str(value)[:MAX_RECORD_TEXT]
