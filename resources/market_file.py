"""The file beside simulated raw tables that says which market they came from.

Belongs here: writing simulated tables with ``market.json``, and reading that file, so that
evaluation can rebuild the same market and its truth. The simulator is ``core.market``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from upath import UPath

from pricing_assets.core.errors import UnreadableTableError
from resources.warehouse import is_warehouse
from serving.durable import replace_durably

MARKET_FILE = "market.json"


def write_market(
    folder: Path,
    *,
    tables: Mapping[str, pd.DataFrame],
    parameters: Mapping[str, Any],
    file_format: Literal["parquet", "csv"],
) -> None:
    """Write every table and ``market.json`` into ``folder``; a table of the same name goes."""
    from resources.stored_values import frame_to_parquet

    folder.mkdir(parents=True, exist_ok=True)
    for name, frame in tables.items():
        content = (
            frame_to_parquet(frame)
            if file_format == "parquet"
            else frame.to_csv(index=False, date_format="%Y-%m-%d").encode()
        )
        for other in ("csv", "parquet"):
            if other != file_format:
                (folder / f"{name}.{other}").unlink(missing_ok=True)
        replace_durably(folder / f"{name}.{file_format}", content)
    replace_durably(folder / MARKET_FILE, json.dumps(dict(parameters), indent=1).encode())


def read_market(root: str) -> dict[str, Any] | None:
    """Parameters of the simulated market under ``root``; None where the data is not simulated.

    Raises:
        UnreadableTableError: the file is there and is not a JSON object.
    """
    if is_warehouse(root):
        return None
    path = UPath(root) / MARKET_FILE
    if not path.exists():
        return None
    try:
        parameters = json.loads(path.read_text())
    except ValueError as failure:
        raise UnreadableTableError(f"{path} is not JSON: {failure}; simulate again") from None
    if not isinstance(parameters, dict):
        raise UnreadableTableError(f"{path} is not a JSON object; simulate again")
    return parameters
