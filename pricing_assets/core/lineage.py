"""The version of the data: one hash that names exactly the rows a run was made from.

Only the hash belongs here; who writes it where is the assets' and the price store's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pandas as pd


def data_version(tables: Mapping[str, pd.DataFrame]) -> str:
    """First 16 hex digits of the SHA-256 over the checked raw tables.

    The same names, columns and rows in the same order give the same version, whatever file
    format they came from.
    """
    digest = hashlib.sha256()
    for name, frame in sorted(tables.items()):
        heading = "\x1f".join((name, str(len(frame)), *(str(column) for column in frame.columns)))
        digest.update(heading.encode())
        digest.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return digest.hexdigest()[:16]
