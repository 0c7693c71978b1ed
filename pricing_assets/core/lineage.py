"""Versions by content: of the data, of each part of it, and of what is made from it.

Only the hashes belong here; who writes them where is the assets' and the price store's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import PANEL_MATRICES, Panel

WHOLE = "all"
"""The one part of a table without dates."""
_DIGITS = 16


@dataclass(frozen=True, slots=True)
class DataVersions:
    """Versions of raw tables, by content.

    Attributes:
        whole: first 16 hex digits of the SHA-256 over the checked tables. The same names, columns
            and rows in the same order give the same version, whatever file format they came from.
        parts: table -> its parts -> their versions: months (2024-07) where it has dates, else
            ``all``. A part's version changes with its rows and the table's columns, and with
            nothing else, so two data versions show which of their parts differ.
    """

    whole: str
    parts: Mapping[str, Mapping[str, str]]


def data_versions(tables: Mapping[str, pd.DataFrame]) -> DataVersions:
    """The version of the whole and of every part; each row is hashed once."""
    digest, parts = hashlib.sha256(), {}
    for name, frame in sorted(tables.items()):
        hashes = _row_hashes(frame)
        digest.update(_heading(name, frame))
        digest.update(hashes.tobytes())
        parts[name] = _parts(name, frame, hashes)
    return DataVersions(digest.hexdigest()[:_DIGITS], parts)


def data_version(tables: Mapping[str, pd.DataFrame]) -> str:
    """``data_versions(tables).whole``."""
    return data_versions(tables).whole


def parts_version(parts: Mapping[str, str]) -> str:
    """One version of a table from its parts'."""
    return hashlib.sha256("\x1f".join(map("=".join, parts.items())).encode()).hexdigest()[:_DIGITS]


def panel_version(panel: Panel) -> str:
    """Version of a panel by its series, dates and matrices."""
    digest = hashlib.sha256(data_version({"series": panel.series}).encode())
    digest.update(np.ascontiguousarray(panel.dates.astype("datetime64[D]")).tobytes())
    for name in (*PANEL_MATRICES, "holiday"):
        digest.update(np.ascontiguousarray(getattr(panel, name)).tobytes())
    return digest.hexdigest()[:_DIGITS]


def _parts(name: str, frame: pd.DataFrame, hashes: NDArray[np.uint64]) -> dict[str, str]:
    heading = _heading(name, frame.iloc[:0])
    if "date" not in frame.columns or frame.empty:
        return {WHOLE: _digest(heading, hashes)}
    months = frame["date"].to_numpy().astype("datetime64[M]")
    order = np.argsort(months, kind="stable")
    found, starts = np.unique(months[order], return_index=True)
    parts = np.split(hashes[order], starts[1:])
    return {str(month): _digest(heading, part) for month, part in zip(found, parts, strict=True)}


def _digest(heading: bytes, hashes: NDArray[np.uint64]) -> str:
    return hashlib.sha256(heading + np.ascontiguousarray(hashes).tobytes()).hexdigest()[:_DIGITS]


def _heading(name: str, frame: pd.DataFrame) -> bytes:
    return "\x1f".join((name, str(len(frame)), *(str(column) for column in frame.columns))).encode()


def _row_hashes(frame: pd.DataFrame) -> NDArray[np.uint64]:
    return np.asarray(pd.util.hash_pandas_object(frame, index=False).to_numpy())
