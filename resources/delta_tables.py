"""Raw tables kept as Delta Lake tables (extra ``warehouse``).

A Delta table is a folder of the raw tables' folder that bears the table's name and holds a
``_delta_log``. In object storage, credentials come from the provider's own environment, as for the
files beside it.

Belongs here: recognising such a folder, reading its last version, and telling that there is a newer
one. What a row must look like is ``core.ingestion``.
"""

from __future__ import annotations

import pandas as pd
from upath import UPath

from pricing_assets.core.errors import InputError, UnreadableTableError

_LOG = "_delta_log"


def is_delta(folder: UPath) -> bool:
    """Whether the folder is a Delta table."""
    return folder.is_dir() and (folder / _LOG).is_dir()


def last_commit(folder: UPath) -> str:
    """Name of the newest entry of the table's log: it changes with every version."""
    names = (path.name for path in (folder / _LOG).iterdir())
    return max((name for name in names if name.endswith(".json")), default="")


def read_delta(folder: UPath) -> pd.DataFrame:
    """The table's last version as a frame.

    Raises:
        InputError: the package is not installed.
        UnreadableTableError: the table cannot be read.
    """
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ImportError as missing:
        raise InputError(
            f"{folder} is a Delta table; install the extra 'warehouse' "
            "(pip install 'pricing-assets[warehouse]')"
        ) from missing
    try:
        table = DeltaTable(_address(folder)).to_pyarrow_table()
    except (DeltaError, OSError, ValueError) as failure:
        reason = str(failure).strip().split("\n", maxsplit=1)[0][:200]
        raise UnreadableTableError(
            f"the Delta table {folder} cannot be read ({reason}); write it again"
        ) from failure
    return table.to_pandas(ignore_metadata=True, date_as_object=False)


def _address(folder: UPath) -> str:
    return folder.path if folder.protocol in ("", "file", "local") else str(folder)
