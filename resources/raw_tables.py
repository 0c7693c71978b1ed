"""Raw tables from a folder, an fsspec address or a database: checked contract tables out.

Belongs here: finding, opening and decoding files, and asking the reader of what else there is.
What a row must look like is ``core.ingestion``; the formats of public data sets are
``core.readers``, Delta tables ``delta_tables``, PostgreSQL ``warehouse``, and what came by stream
``streamed_tables``.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from typing import BinaryIO

import dagster as dg
import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pa_parquet
from upath import UPath

from pricing_assets.core.errors import (
    EmptyTableError,
    InputError,
    MissingFolderError,
    MissingTableError,
    UnreadableTableError,
)
from pricing_assets.core.headings import (
    SHEET_COLUMNS,
    contract_headings,
    is_complete_single_sheet,
    split_single_sheet,
)
from pricing_assets.core.ingestion import QUARANTINE_COLUMNS, CheckedTable, check_table
from pricing_assets.core.readers import dominicks, m5, uci_online_retail
from pricing_assets.core.settings import IngestionParameters, PricingSettings
from pricing_assets.core.tables import RAW_TABLES
from resources.delta_tables import is_delta, read_delta
from resources.streamed_tables import with_streamed_rows
from resources.warehouse import is_warehouse, read_warehouse

SUFFIXES = (".csv", ".parquet")
SET_ASIDE = "set_aside"
"""Name under which a reader returns the rows that it has set aside, in quarantine columns."""

Frames = dict[str, pd.DataFrame]
READERS: Mapping[str, Callable[[Mapping[str, pd.DataFrame], IngestionParameters], Frames]] = {
    "dominicks": dominicks.read,
    "uci_online_retail": uci_online_retail.read,
    "m5": m5.read,
}


class RawTablesResource(dg.ConfigurableResource):
    """The folder or address of the raw tables, and of the events that landed (empty: none)."""

    root: str
    streams: str = ""

    def read(self, settings: PricingSettings) -> dict[str, CheckedTable]:
        """Every raw table found there, checked, with the stream's rows; ``read_raw_tables``."""
        checked = read_raw_tables(self.root, settings=settings)
        return with_streamed_rows(checked, root=self.streams, settings=settings)


def read_raw_tables(root: str, *, settings: PricingSettings) -> dict[str, CheckedTable]:
    """Read and check the raw tables of ``root``: a folder, an fsspec address or a database.

    Raises:
        MissingFolderError: ``root`` is not there or is no folder.
        MissingTableError: there is no ``sales`` table.
        UnreadableTableError: a file cannot be parsed; EmptyTableError: it has no row.
        MissingColumnError, QuarantineLimitError: see ``core.ingestion.check_table``.
    """
    files = [] if is_warehouse(root) else _data_files(root)
    if is_warehouse(root):
        frames = _with_split_sales(read_warehouse(root), settings)
    elif settings.ingestion.reader == "contract":
        frames = _contract_frames(files, root=root, settings=settings)
    else:
        raw = {path.stem.lower(): read_frame(path) for path in files}
        frames = READERS[settings.ingestion.reader](raw, settings.ingestion)
        settings = _without_mapping(settings)
    set_aside = frames.pop(SET_ASIDE, pd.DataFrame(columns=list(QUARANTINE_COLUMNS)))
    return {
        name: check_table(
            frame,
            table=name,
            settings=settings,
            set_aside=set_aside.loc[set_aside["table"] == name],
        )
        for name, frame in frames.items()
    }


def read_frame(path: UPath) -> pd.DataFrame:
    """One CSV (every column as text) or Parquet file, or a Delta table, as a frame.

    Raises:
        EmptyTableError: the file holds no byte.
        UnreadableTableError: it cannot be parsed.
    """
    if is_delta(path):
        return read_delta(path)
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise EmptyTableError(f"{path} is empty; write a header and rows, or remove it")
            file.seek(0)
            parse = _read_parquet if path.suffix.lower() == ".parquet" else _read_csv
            return parse(file)
    except (pa.ArrowException, OSError, ValueError, csv.Error) as error:
        raise UnreadableTableError(
            f"{path} cannot be read ({_first_line(error)}); write the file again"
        ) from error


def _data_files(root: str) -> list[UPath]:
    """CSV and Parquet files and Delta tables of the folder, in name order."""
    folder = UPath(root)
    if not folder.is_dir():
        what = "is a file; name its folder" if folder.is_file() else "does not exist"
        raise MissingFolderError(f"the folder of raw tables '{root}' {what} (PRICING_DATA, --data)")
    found = sorted(path for path in folder.iterdir() if path.is_file() or is_delta(path))
    files = [path for path in found if path.suffix.lower() in SUFFIXES or is_delta(path)]
    if not files:
        names = ", ".join(path.name for path in found[:20]) or "nothing"
        raise MissingTableError(
            f"'{root}' holds no CSV or Parquet file and no Delta table; found: {names}. Write at "
            "least sales.csv or sales.parquet there"
        )
    return files


def _contract_frames(files: list[UPath], *, root: str, settings: PricingSettings) -> Frames:
    """Frames by contract name; a single sheet is split into its tables."""
    paths = _named_tables(files)
    if "sales" not in paths:
        return _only_single_sheet(files, root=root, settings=settings)
    return _with_split_sales({name: read_frame(path) for name, path in paths.items()}, settings)


def _with_split_sales(frames: Frames, settings: PricingSettings) -> Frames:
    return {**_split_sales(frames["sales"], settings), **_without(frames, "sales")}


def _named_tables(files: list[UPath]) -> dict[str, UPath]:
    paths: dict[str, UPath] = {}
    for path in files:
        name = path.stem.lower()
        if name in paths and name in RAW_TABLES:
            raise InputError(
                f"table '{name}' is there twice: {paths[name].name} and {path.name}; keep one"
            )
        paths[name] = path
    tables = {name: path for name, path in paths.items() if name in RAW_TABLES}
    for name, path in paths.items():
        twins = [table for table in RAW_TABLES if table.rstrip("s") == name.rstrip("s")]
        if name not in tables and twins and twins[0] not in tables:
            raise InputError(
                f"{path.name} is the name of no raw table (did you mean '{twins[0]}'?); rename it"
            )
    return tables


def _only_single_sheet(files: list[UPath], *, root: str, settings: PricingSettings) -> Frames:
    """A lone file of any name that bears the single sheet's headings."""
    if len(files) == 1:
        frame = read_frame(files[0])
        if is_complete_single_sheet(frame.columns):
            return _split_sales(frame, settings)
    names = ", ".join(path.name for path in files[:20])
    raise MissingTableError(
        f"'{root}' holds no sales.csv or sales.parquet; found: {names}. Only the table 'sales' "
        "(date, product_id, units, price) is required: write or rename it"
    )


def _split_sales(sales: pd.DataFrame, settings: PricingSettings) -> Frames:
    """``sales``, and the tables that a single sheet holds besides."""
    named = contract_headings(sales, table="sales", columns=settings.columns)
    if not set(SHEET_COLUMNS) & set(named.columns):
        return {"sales": sales}
    parts = split_single_sheet(named)
    return {"sales": sales, **_without(parts, "sales")}


def _without(frames: Frames, name: str) -> Frames:
    return {key: frame for key, frame in frames.items() if key != name}


def _without_mapping(settings: PricingSettings) -> PricingSettings:
    return settings.model_copy(update={"columns": {}})


def _read_parquet(file: BinaryIO) -> pd.DataFrame:
    """Parquet with its page checksums verified; repeated texts share their memory."""
    schema = pa_parquet.read_schema(file)
    texts = [field.name for field in schema if pa.types.is_string(field.type)]
    file.seek(0)
    table = pa_parquet.read_table(file, read_dictionary=texts, page_checksum_verification=True)
    return table.to_pandas(ignore_metadata=True, date_as_object=False)


def _read_csv(file: BinaryIO) -> pd.DataFrame:
    """CSV in UTF-8, UTF-16 with a BOM or Windows-1252; separator , ; tab or |; all as text."""
    encoding = _encoding(file)
    header, separator = _header(file, encoding)
    text = pa.dictionary(pa.int32(), pa.string())
    table = pa_csv.read_csv(
        file,
        read_options=pa_csv.ReadOptions(encoding=encoding),
        parse_options=pa_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(header, text)),
    )
    return table.select([i for i, name in enumerate(table.column_names) if name]).to_pandas()


def _encoding(file: BinaryIO) -> str:
    """Encoding of the file by its BOM, else UTF-8 where all of it is, else Windows-1252."""
    start = file.read(2)
    file.seek(0)
    if start in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    try:
        for line in file:
            line.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    finally:
        file.seek(0)
    return "utf8"


def _header(file: BinaryIO, encoding: str) -> tuple[list[str], str]:
    """Headings of the first line, and the separator that splits it into the most parts."""
    raw = file.readline() if encoding != "utf-16" else file.read(65536)
    file.seek(0)
    line = raw.decode(encoding, errors="ignore").lstrip("\ufeff").splitlines()[:1]
    if not line or not line[0].strip():
        raise UnreadableTableError("its first line is blank and should hold the headings")
    separator = max(",;\t|", key=line[0].count)
    header = next(csv.reader(line, delimiter=separator))
    repeated = sorted({name for name in header if name and header.count(name) > 1})
    if repeated:
        raise UnreadableTableError(f"two columns have one heading: {', '.join(repeated)}")
    return header, separator


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0][:200] or type(error).__name__
