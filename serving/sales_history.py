"""Recent sales and prices by product, for the pages: one Parquet file a data version.

Belongs here: writing the file whole, and reading one product of it. Tables of the same data share
a file, so a rollback or a price update copies nothing. Rows are sorted by product and cut into row
groups with statistics, so that one product of a large catalogue is read without the others. The
history is shown and prices nothing; its pages carry checksums.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pricing_assets.core.errors import InputError, IntegrityError
from serving.durable import replace_durably
from serving.published_table import as_arrow

COLUMNS = ("product_id", "store_id", "date", "units", "price", "promo", "rival_price", "on_hand")
ROWS_OF_A_GROUP = 32_768
KEPT_FILES = 10
"""Data versions whose history is kept, the latest written."""

_VERSION = re.compile(r"^[0-9a-f]{8,64}$")


@dataclass(frozen=True, slots=True)
class SalesHistory:
    """The histories under ``folder``."""

    folder: Path

    def write(self, rows: Any, *, data_version: str) -> Path:
        """Keep the history of a data version; pandas or Arrow with ``COLUMNS``.

        Raises:
            InputError: ``data_version`` is not the name of one.
        """
        table = _typed(as_arrow(rows).select(list(COLUMNS)))
        table = table.sort_by([("product_id", "ascending"), ("store_id", "ascending")])
        sink = pa.BufferOutputStream()
        pq.write_table(
            table,
            sink,
            compression="zstd",
            row_group_size=ROWS_OF_A_GROUP,
            write_page_checksum=True,
        )
        path = self._path(data_version)
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(path, bytes(sink.getvalue()))
        self._forget_the_oldest()
        return path

    def read(self, *, data_version: str, product_id: str, store_id: str) -> pa.Table | None:
        """The rows of one series in order of date; None where no history was kept.

        Raises:
            InputError: ``data_version`` is not the name of one.
            IntegrityError: the file is damaged.
        """
        path = self._path(data_version)
        if not path.is_file():
            return None
        try:
            with pq.ParquetFile(path, page_checksum_verification=True) as file:
                groups = _groups_with(file.metadata, product_id)
                table = file.read_row_groups(groups, columns=list(COLUMNS))
        except (pa.ArrowException, OSError) as failure:
            raise IntegrityError(f"the sales history cannot be read: {failure}") from None
        wanted = pc.and_(
            pc.equal(table["product_id"], product_id), pc.equal(table["store_id"], store_id)
        )
        return table.filter(wanted).sort_by("date")

    def _path(self, data_version: str) -> Path:
        if not _VERSION.match(data_version):
            raise InputError(f"'{data_version[:60]}' is not the name of a data version")
        return self.folder / f"{data_version}.parquet"

    def _forget_the_oldest(self) -> None:
        files = sorted(self.folder.glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)
        for path in files[:-KEPT_FILES]:
            path.unlink(missing_ok=True)


def _typed(table: pa.Table) -> pa.Table:
    """Half the size of what the panel holds; the pages show no more digits than these."""
    kinds = {"product_id": pa.string(), "store_id": pa.string(), "date": pa.date32()}
    fields = [pa.field(name, kinds.get(name, pa.float32())) for name in COLUMNS]
    return table.cast(pa.schema(fields))


def _groups_with(metadata: pq.FileMetaData, product_id: str) -> list[int]:
    """The row groups that may hold a product, by their statistics."""
    found = []
    for number in range(metadata.num_row_groups):
        statistics = metadata.row_group(number).column(0).statistics
        unknown = statistics is None or not statistics.has_min_max
        if unknown or statistics.min <= product_id <= statistics.max:
            found.append(number)
    return found
