"""Raw tables read once a process: several assets of a run ask for the same folder.

Belongs here: the fingerprint of a folder, and the last reading kept under it. Reading is
``resources.raw_tables``.
"""

from __future__ import annotations

import hashlib
import threading
from dataclasses import dataclass

from upath import UPath

from pricing_assets.core.errors import MissingFolderError
from pricing_assets.core.ingestion import CheckedTable
from pricing_assets.core.settings import PricingSettings
from resources.raw_tables import RawTablesResource, read_raw_tables

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
        key = f"{fingerprint(self.root)}:{settings.ingestion!r}:{settings.columns!r}"
        with _lock:
            if not _last or _last[0].key != key:
                _last[:] = [_Reading(key, read_raw_tables(self.root, settings=settings))]
            return _last[0].tables


def fingerprint(root: str) -> str:
    """Hash of the names, sizes and times of the files under ``root``.

    Raises:
        MissingFolderError: ``root`` is not a folder.
    """
    folder = UPath(root)
    if not folder.is_dir():
        raise MissingFolderError(
            f"the folder of raw tables '{root}' does not exist (PRICING_DATA, --data)"
        )
    digest = hashlib.sha256(str(folder).encode())
    for path in sorted(folder.iterdir(), key=str):
        stat = path.stat()
        digest.update(f"\x1f{path.name}\x1f{stat.st_size}\x1f{stat.st_mtime}".encode())
    return digest.hexdigest()[:16]
