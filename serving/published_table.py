"""What one published version is: its manifest, its two tables, and the checks that both must pass.

Belongs here: turning tables into checked bytes and back. Folders, the pointer and locks are
``price_store``.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pricing_assets.core.errors import (
    EmptyTableError,
    GuardRailError,
    IntegrityError,
    MissingColumnError,
)
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import (
    DEMAND_CURVE_COLUMNS,
    PRICE_RAIL_COLUMNS,
    PRICE_TABLE_COLUMNS,
    PRICED_COLUMNS,
    STAMP_COLUMNS,
)

PRICE_FILE = "price_table.parquet"
CURVE_FILE = "demand_curves.parquet"
VERSION_PATTERN = r"^\d{6,}-[0-9a-f]{8}$"

HASH_THREADS = 4
"""Columns that are hashed at once."""
VERIFIED_ROWS = 1 << 16
"""Rows of a file that are read back at once."""

_TOLERANCE = 1e-6
"""Currency units by which a price may miss its bound: float noise, far below a minor unit."""


class Stamps(BaseModel):
    """Where a table comes from and how long it holds; given by whoever publishes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model_version: str = Field(min_length=1, description="MLflow registered model version.")
    data_version: str = Field(min_length=1, description="Hash of the checked raw tables.")
    mlflow_run_id: str = Field("", description="MLflow run that made the table.")
    dagster_run_id: str = Field("", description="Dagster run that made the table.")
    currency: str = Field(pattern="^[A-Z]{3}$", description="ISO 4217 code of every price.")
    valid_from: datetime = Field(description="Start of validity, with a time zone.")
    valid_until: datetime = Field(description="End of validity, with a time zone.")
    data_until: datetime | None = Field(
        None, description="End of the data behind the table; later readings are news to it."
    )
    rules_version: str = Field("", description="Version of the guard rails that were applied.")
    settings: PricingSettings | None = Field(
        None, description="Settings that the table was made with; live quotes use the same."
    )


class FileEntry(BaseModel):
    """One stored file: what its bytes must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int
    size: int
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Manifest(Stamps):
    """The record of one published version, written once."""

    table_version: str = Field(pattern=VERSION_PATTERN)
    previous: str | None = Field(None, description="Version that this one replaced.")
    restored_from: str | None = Field(None, description="Version a rollback took the content of.")
    published_at: datetime
    content_sha256: str = Field(description="Hash of the unstamped tables and their origin.")
    overridden: tuple[str, ...] = Field(
        (), description="What the batch breaker found and batch_breaker.override let through."
    )
    files: dict[str, FileEntry]

    def encode(self) -> bytes:
        """The manifest as the bytes of its file."""
        return self.model_dump_json(indent=2).encode()

    @property
    def stamps(self) -> Stamps:
        """The part that the publisher gave."""
        return Stamps(**{name: getattr(self, name) for name in Stamps.model_fields})

    def settings_or(self, default: PricingSettings) -> PricingSettings:
        """The settings that the table was made with, or ``default`` where it does not say."""
        return self.settings or default


class PublishedTable:
    """One version read and verified: ``prices`` and ``curves`` are Arrow tables."""

    __slots__ = ("curves", "manifest", "prices")

    def __init__(self, *, manifest: Manifest, prices: pa.Table, curves: pa.Table) -> None:
        self.manifest = manifest
        self.prices = prices
        self.curves = curves

    @property
    def version(self) -> str:
        """The table version."""
        return self.manifest.table_version


def as_arrow(table: Any) -> pa.Table:
    """An Arrow table from an Arrow table or a pandas frame (its index is dropped).

    Types are made the same whatever the source: int64, double, string, and null for NaN, so that
    the same content hashes the same.
    """
    arrow = table if isinstance(table, pa.Table) else _from_pandas(table)
    columns = {name: _canonical(arrow[name]) for name in arrow.column_names}
    return pa.table(columns)


def _from_pandas(frame: Any) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def _canonical(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.string())
    if pa.types.is_integer(kind):
        return column.cast(pa.int64())
    if pa.types.is_floating(kind):
        wide = column.cast(pa.float64())
        unknown = pc.is_nan(wide)
        if not pc.any(unknown).as_py():
            return wide
        return pc.if_else(unknown, pa.scalar(None, pa.float64()), wide)
    return column


def unstamped(prices: pa.Table) -> pa.Table:
    """The price table in the contract's order without the columns that publication adds.

    The columns that only the service reads follow; null where the table has none.
    """
    for name in PRICE_RAIL_COLUMNS:
        if name not in prices.column_names:
            prices = prices.append_column(name, pa.nulls(prices.num_rows, pa.float64()))
    return _select(prices, [*PRICED_COLUMNS, *PRICE_RAIL_COLUMNS], table_name="price_table")


def ordered_curves(curves: pa.Table) -> pa.Table:
    """The demand curves in the contract's column order."""
    return _select(curves, DEMAND_CURVE_COLUMNS, table_name="demand_curves")


def stamped(prices: pa.Table, *, version: str, stamps: Stamps) -> pa.Table:
    """``prices`` (unstamped) with the version and validity columns of the contract."""
    moment = pa.timestamp("us", "UTC")
    values: Mapping[str, pa.Scalar] = {
        "table_version": pa.scalar(version),
        "model_version": pa.scalar(stamps.model_version),
        "data_version": pa.scalar(stamps.data_version),
        "valid_from": pa.scalar(stamps.valid_from, moment),
        "valid_until": pa.scalar(stamps.valid_until, moment),
    }
    for name in STAMP_COLUMNS:
        prices = prices.append_column(name, pa.repeat(values[name], prices.num_rows))
    return prices.select([*PRICE_TABLE_COLUMNS, *PRICE_RAIL_COLUMNS])


def content_hash(prices: pa.Table, curves: pa.Table, stamps: Stamps) -> str:
    """SHA-256 over the unstamped tables and where they come from.

    Run ids and times stay out, and so does the day's reference, which only time moves; what it
    does to floors and ceilings counts. So a publication tried twice is the same content.
    """
    prices = prices.drop_columns(["reference_price_24h"])
    digest = hashlib.sha256()
    origin = (stamps.model_version, stamps.data_version, stamps.currency, stamps.rules_version)
    digest.update("\x1f".join(origin).encode())
    digest.update(stamps.settings.model_dump_json().encode() if stamps.settings else b"")
    columns = [column for table in (prices, curves) for column in table.itercolumns()]
    with ThreadPoolExecutor(HASH_THREADS) as pool:
        for part in pool.map(_column_hash, columns):
            digest.update(part)
    for table in (prices, curves):
        digest.update(table.schema.remove_metadata().serialize())
    return digest.hexdigest()


def _column_hash(column: pa.ChunkedArray) -> bytes:
    """SHA-256 of a column's values, however they are cut into chunks."""
    digest = hashlib.sha256()
    values = pa.chunked_array(column.chunks, column.type).combine_chunks()
    batch = pa.record_batch([values], [""])
    with pa.PythonFile(_Hashed(digest), "w") as sink, pa.ipc.new_stream(sink, batch.schema) as out:
        out.write_batch(batch)
    return digest.digest()


class _Hashed(io.RawIOBase):
    """A file whose bytes go into a digest and nowhere else."""

    def __init__(self, digest: Any) -> None:
        self._digest = digest

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._digest.update(content)
        return len(content)


def encode_parquet(table: pa.Table) -> bytes:
    """Parquet bytes with a checksum on every page."""
    texts = [field.name for field in table.schema if not pa.types.is_floating(field.type)]
    sink = io.BytesIO()
    pq.write_table(
        table,
        sink,
        compression={name: "zstd" if name in texts else "lz4" for name in table.column_names},
        use_dictionary=[_leaf(name) for name in texts if name != "reasons"],
        write_page_checksum=True,
    )
    return sink.getvalue()


def _leaf(name: str) -> str:
    """Path of a column's values in Parquet."""
    return f"{name}.list.element" if name == "weekday_index" else name


def decode_parquet(content: bytes, *, name: str, entry: FileEntry) -> pa.Table:
    """Parse ``content`` after its size and SHA-256 are right, verifying page checksums.

    Raises:
        IntegrityError: the bytes, the Parquet inside or the row count are not what was published.
    """
    _require_digest(content, name=name, entry=entry)
    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as failure:
        raise IntegrityError(f"{name} cannot be parsed: {failure}") from None
    if table.num_rows != entry.rows:
        raise IntegrityError(f"{name} holds {table.num_rows} rows; its manifest says {entry.rows}")
    return table


def verify_parquet(content: bytes, *, name: str, entry: FileEntry) -> None:
    """:func:`decode_parquet` for its errors alone: read batch by batch, and nothing kept."""
    _require_digest(content, name=name, entry=entry)
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            rows = sum(batch.num_rows for batch in file.iter_batches(batch_size=VERIFIED_ROWS))
    except (pa.ArrowException, OSError) as failure:
        raise IntegrityError(f"{name} cannot be parsed: {failure}") from None
    if rows != entry.rows:
        raise IntegrityError(f"{name} holds {rows} rows; its manifest says {entry.rows}")


def decode_columns(
    content: bytes, *, name: str, entry: FileEntry, columns: Sequence[str]
) -> pa.Table:
    """Some columns of :func:`decode_parquet`; those that an older version lacks are null."""
    _require_digest(content, name=name, entry=entry)
    try:
        with pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True) as file:
            there = [column for column in columns if column in file.schema_arrow.names]
            table = file.read(columns=there)
    except (pa.ArrowException, OSError) as failure:
        raise IntegrityError(f"{name} cannot be parsed: {failure}") from None
    for column in columns:
        if column not in there:
            table = table.append_column(column, pa.nulls(table.num_rows, pa.float64()))
    return table.select(list(columns))


def _require_digest(content: bytes, *, name: str, entry: FileEntry) -> None:
    if len(content) != entry.size or hashlib.sha256(content).hexdigest() != entry.sha256:
        raise IntegrityError(
            f"{name} does not match its SHA-256 in the manifest; publish again or roll back"
        )


def file_entry(content: bytes, *, rows: int) -> FileEntry:
    """The manifest's entry of ``content``."""
    return FileEntry(rows=rows, size=len(content), sha256=hashlib.sha256(content).hexdigest())


def check_guard_rails(prices: pa.Table, *, currency: str) -> None:
    """Refuse a table that holds one price which may not be served.

    Raises:
        EmptyTableError: no row.
        GuardRailError: a key twice, another currency, a price not finite, not above zero, or
            outside its floor and ceiling. One of the three missing refuses too; all three
            missing is a product without a price, which the service will not quote.
    """
    if prices.num_rows == 0:
        raise EmptyTableError("the price table holds no row; nothing is published")
    _check_keys(prices)
    other = pc.fill_null(pc.not_equal(prices["currency"], currency), True)
    wrong_currency = other.to_numpy()
    _refuse(prices, wrong_currency, f"its currency is not {currency}")
    price, floor, ceiling = (
        prices[name].to_numpy().astype(np.float64)
        for name in ("recommended_price", "price_floor", "price_ceiling")
    )
    unpriced = np.isnan(price) & np.isnan(floor) & np.isnan(ceiling)
    if unpriced.all():
        raise EmptyTableError("no product of the price table has a price; nothing is published")
    finite = np.isfinite(price) & np.isfinite(floor) & np.isfinite(ceiling)
    _refuse(prices, ~finite & ~unpriced, "its price, floor or ceiling is missing or not finite")
    _refuse(prices, price <= 0, "its price is not above zero")
    outside = (price < floor - _TOLERANCE) | (price > ceiling + _TOLERANCE)
    _refuse(prices, outside, "its price is outside its floor and ceiling")


def _check_keys(prices: pa.Table) -> None:
    if pc.count_distinct(prices["product_id"], mode="all").as_py() == prices.num_rows:
        return
    keys = prices.group_by(["product_id", "store_id", "segment"]).aggregate([([], "count_all")])
    repeated = keys.filter(pc.greater(keys["count_all"], 1))
    if repeated.num_rows:
        raise GuardRailError(
            f"the price table names product '{repeated['product_id'][0]}' twice; one price each"
        )


def _refuse(prices: pa.Table, wrong: NDArray[np.bool_], why: str) -> None:
    rows = np.flatnonzero(wrong)
    if rows.size:
        raise GuardRailError(
            f"{rows.size} of {prices.num_rows} prices may not be published; product "
            f"'{prices['product_id'][int(rows[0])]}': {why}"
        )


def _select(table: pa.Table, columns: Sequence[str], *, table_name: str) -> pa.Table:
    missing = [name for name in columns if name not in table.column_names]
    if missing:
        raise MissingColumnError(table=table_name, column=missing[0], found=table.column_names)
    return table.select(list(columns))
