"""Finding a reader's frames by the columns they hold, whatever their files are called."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.errors import MissingTableError
from pricing_assets.core.ingestion import raw_records
from pricing_assets.core.parsing import parse_column
from pricing_assets.core.tables import Column


def find_frame(files: Mapping[str, pd.DataFrame], columns: Iterable[str]) -> pd.DataFrame | None:
    """The first frame, in name order, that holds all ``columns``; None where none does.

    Headings are compared without case and outer spaces, and the frame bears those asked for.
    """
    wanted = list(columns)
    for name in sorted(files):
        frame = files[name]
        loose = {str(heading).strip().lower(): heading for heading in frame.columns}
        if all(column.lower() in loose for column in wanted):
            names = {loose[column.lower()]: column for column in wanted}
            return frame.rename(columns=names)
    return None


def require_frame(
    files: Mapping[str, pd.DataFrame], columns: Iterable[str], *, data_set: str
) -> pd.DataFrame:
    """``find_frame``, or a MissingTableError that names the columns and what was found."""
    wanted = list(columns)
    frame = find_frame(files, wanted)
    if frame is None:
        found = "; ".join(
            f"{name}: {', '.join(map(str, files[name].columns[:12]))}" for name in sorted(files)
        )
        raise MissingTableError(
            f"no file has the columns {', '.join(wanted)} of {data_set}; found: "
            f"{found or 'nothing'}. See the data set's README in examples/"
        )
    return frame


def numbers(frame: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """A column as float64, NaN where it is missing or no number (files give texts or numbers)."""
    return np.asarray(parse_column(frame[name], Column(name, "number")).values, dtype=np.float64)


def texts(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    """A column as stripped text, "" where it is missing."""
    return np.asarray(parse_column(frame[name], Column(name, "text")).values, dtype=object)


def set_aside(frame: pd.DataFrame, *, reasons: NDArray[np.object_], table: str) -> pd.DataFrame:
    """Quarantine rows for the rows of ``frame`` that have a reason (not "").

    ``frame`` keeps the index (from 0) that its rows had in the file.
    """
    rows = np.flatnonzero(reasons != "")
    return pd.DataFrame(
        {
            "table": np.full(rows.size, table, dtype=object),
            "row_number": frame.index.to_numpy()[rows] + 1,
            "reason": reasons[rows],
            "record": np.array(raw_records(frame.iloc[rows]), dtype=object),
        }
    )
