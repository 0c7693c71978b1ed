"""Tables for people and scripts: the contract's columns as CSV or Parquet.

Belongs here: choosing columns and writing one file. No Dagster is loaded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from upath import UPath

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.tables import PRICE_TABLE_COLUMNS
from resources.asset_store import load_value
from serving.durable import replace_durably
from serving.home import Home
from serving.price_store import PriceStore

_FORECAST = ("date", "product_id", "store_id", "q10", "q50", "q90", "mean")
_ELASTICITY = (
    "product_id",
    "store_id",
    "segment",
    "own_price_elasticity",
    "sd",
    "low_90",
    "high_90",
    "method",
)
_OPTIONAL = ("store_id", "segment")


def export_prices(home: Home, path: Path) -> int:
    """Write the published price table; return its rows.

    Raises:
        NotPublishedError: nothing was published in this home.
        InvalidSettingError: the file's ending is neither .csv nor .parquet, or it has no folder.
    """
    prices = PriceStore(home.tables).read_current().prices
    return _write(prices.select(list(PRICE_TABLE_COLUMNS)), path)


def export_forecast(home: Home, path: Path) -> int:
    """Write the last run's demand forecast; return its rows. Errors as in export_prices."""
    return _write(_select(load_value(UPath(home.assets) / "demand_forecast"), _FORECAST), path)


def export_elasticities(home: Home, path: Path) -> int:
    """Write the last run's elasticities; return its rows. Errors as in export_prices.

    Where the data have segments, rows of each segment follow those of all customers, whose
    segment is empty.
    """
    whole = load_value(UPath(home.assets) / "own_price_elasticity").assign(segment="")
    folder = UPath(home.assets) / "segment_elasticity"
    parts = [whole, load_value(folder)] if folder.exists() else [whole]
    frame = pd.concat([part for part in parts if len(part)], ignore_index=True)
    return _write(_select(frame, _ELASTICITY), path)


def _select(frame: pd.DataFrame, columns: tuple[str, ...]) -> pa.Table:
    """The columns in order; an optional id that is empty everywhere is left out."""
    kept = [
        name
        for name in columns
        if name in frame and not (name in _OPTIONAL and (frame[name] == "").all())
    ]
    table = frame[kept]
    if "date" in kept:
        table = table.assign(date=table["date"].dt.date)
    return pa.Table.from_pandas(table, preserve_index=False)


def _write(table: pa.Table, path: Path) -> int:
    writers: dict[str, Any] = {".csv": _csv, ".parquet": _parquet}
    writer = writers.get(path.suffix.lower())
    if writer is None:
        raise InvalidSettingError(f"'{path}' ends in neither .csv nor .parquet; name one of them")
    if not path.parent.is_dir():
        raise InvalidSettingError(f"the folder of '{path}' does not exist; make it first")
    replace_durably(path, writer(table))
    return int(table.num_rows)


def _csv(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa_csv.write_csv(_flat(table), sink)
    return bytes(sink.getvalue())


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pa_parquet.write_table(table, sink, write_page_checksum=True)
    return bytes(sink.getvalue())


def _flat(table: pa.Table) -> pa.Table:
    """Lists as text joined by semicolons, for CSV."""
    for position, field in enumerate(table.schema):
        if pa.types.is_list(field.type):
            joined = [";".join(map(str, value or ())) for value in table[position].to_pylist()]
            table = table.set_column(position, field.name, pa.array(joined))
    return table
