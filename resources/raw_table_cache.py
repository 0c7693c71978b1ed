"""Raw tables read once a process: several assets of a run ask for the same folder.

Belongs here: the fingerprint of a folder or database, and the last reading kept under it. Reading
is ``resources.raw_tables``.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

from upath import UPath

from pricing_assets.core.errors import MissingFolderError
from pricing_assets.core.ingestion import CheckedTable
from pricing_assets.core.settings import PricingSettings
from resources.delta_tables import is_delta, last_commit
from resources.raw_tables import RawTablesResource, read_raw_tables
from resources.streamed_tables import stream_stamp, with_streamed_rows
from resources.warehouse import is_warehouse, warehouse_fingerprint

CheckedTables = dict[str, CheckedTable]


@dataclass(frozen=True, slots=True)
class _Reading:
    key: str
    tables: CheckedTables


_lock = threading.Lock()
_last: list[_Reading] = []


class CachedRawTables(RawTablesResource):
    """The folder of raw tables, read again only when a file or a setting has changed."""

    def read(self, settings: PricingSettings) -> CheckedTables:
        """Every raw table, checked; the caller must not change the frames."""
        stamp = stream_stamp(self.streams, settings=settings)
        asked = f"{settings.ingestion!r}:{settings.columns!r}"
        key = f"{fingerprint(self.root)}:{self.streams}:{stamp}:{asked}"
        with _lock:
            if not _last or _last[0].key != key:
                checked = read_raw_tables(self.root, settings=settings)
                tables = with_streamed_rows(checked, root=self.streams, settings=settings)
                _last[:] = [_Reading(key, tables)]
            return _last[0].tables


def fingerprint(root: str) -> str:
    """Hash of the names, sizes and times of the files under ``root``, or of its tables' state.

    Raises:
        MissingFolderError: ``root`` is not a folder.
        InputError: ``root`` is a database that does not answer.
    """
    if is_warehouse(root):
        return warehouse_fingerprint(root)
    folder = UPath(root)
    if not folder.is_dir():
        raise MissingFolderError(
            f"the folder of raw tables '{root}' does not exist (PRICING_DATA, --data)"
        )
    digest = hashlib.sha256(str(folder).encode())
    for path in sorted(folder.iterdir(), key=str):
        stat = path.stat()
        commit = last_commit(path) if is_delta(path) else ""
        state = f"\x1f{path.name}\x1f{stat.st_size}\x1f{stat.st_mtime}{commit}"
        digest.update(state.encode())
    return digest.hexdigest()[:16]
