"""The selected rows of a published table as a file, in the contract's columns.

Belongs here: encoding. Which rows is ``table_view``; who asks is ``table_api``.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from pricing_assets.core.tables import PRICE_TABLE_COLUMNS
from serving.price_store import PriceStore
from serving.table_view import Indices, TableView

DECISION_COLUMNS = ("state", "served_price")
"""Beside the contract's: what decisions say of the row, and the price it is answered with."""


def csv_bytes(view: TableView, positions: Indices, *, store: PriceStore) -> bytes:
    """Rows ``positions`` of ``view`` as CSV."""
    sink = pa.BufferOutputStream()
    csv.write_csv(_exported(view, positions, store=store), sink)
    return bytes(sink.getvalue())


def parquet_bytes(view: TableView, positions: Indices, *, store: PriceStore) -> bytes:
    """Rows ``positions`` of ``view`` as Parquet with page checksums."""
    sink = pa.BufferOutputStream()
    table = _exported(view, positions, store=store)
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return bytes(sink.getvalue())


def _exported(view: TableView, positions: Indices, *, store: PriceStore) -> pa.Table:
    """The published rows, as ``pricing export`` gives them, and what was decided on them."""
    published = store.read_prices(view.version, columns=PRICE_TABLE_COLUMNS)
    chosen = pa.array(positions)
    table = published.take(chosen)
    for name in DECISION_COLUMNS:
        table = table.append_column(name, view.rows[name].take(chosen))
    return table
