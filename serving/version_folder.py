"""The folder of one published version: read with every check, or checked without being kept.

Belongs here: files of a version that is there. Which version is current, and how one comes to be,
is ``price_store``.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from pydantic import ValidationError

from pricing_assets.core.errors import IntegrityError
from serving.published_table import (
    CURVE_FILE,
    PRICE_FILE,
    Manifest,
    PublishedTable,
    decode_parquet,
    verify_parquet,
)


def read_folder(folder: Path, *, manifest_sha256: str | None) -> PublishedTable:
    """One version; the SHA-256 of every file is checked before it is parsed."""
    manifest = read_manifest(folder, sha256=manifest_sha256)
    tables = {}
    for name in (PRICE_FILE, CURVE_FILE):
        if name not in manifest.files:
            raise IntegrityError(f"the manifest of {folder.name} does not name {name}")
        content = read_bytes(folder / name)
        tables[name] = decode_parquet(content, name=name, entry=manifest.files[name])
    return PublishedTable(manifest=manifest, prices=tables[PRICE_FILE], curves=tables[CURVE_FILE])


def verify_folder(folder: Path, *, manifest_sha256: str) -> None:
    """``read_folder`` for its errors alone, both files at once."""
    manifest = read_manifest(folder, sha256=manifest_sha256)

    def verify(name: str) -> None:
        verify_parquet(read_bytes(folder / name), name=name, entry=manifest.files[name])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(verify, (PRICE_FILE, CURVE_FILE)))


def read_manifest(folder: Path, *, sha256: str | None = None) -> Manifest:
    """The manifest of a version, of this SHA-256 where one is given."""
    content = read_bytes(folder / "manifest.json")
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(f"the manifest of {folder.name} does not match its SHA-256")
    try:
        return Manifest.model_validate_json(content)
    except ValidationError as failure:
        raise IntegrityError(
            f"the manifest of {folder.name} is damaged ({first_line(failure)})"
        ) from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a file; ``IntegrityError`` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as failure:
        raise IntegrityError(f"{path.name} cannot be read: {failure.strerror}") from None


def first_line(failure: Exception) -> str:
    """What an error says, without its details."""
    return str(failure).splitlines()[0]
