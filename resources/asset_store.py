"""Values in a folder: checked files, replaced all at once.

No Dagster here, so that the command line reads what a run has stored without loading it.
Layout: ``<folder>/<digest>/<files>`` and, beside that folder, ``manifest.json``, which names it,
the kind of value and each file's SHA-256. The manifest is replaced last, in one step, so that a
reader sees the old value or the new one whole. What the files hold is
``resources.stored_values``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from upath import UPath

from pricing_assets.core.errors import IntegrityError, NotPublishedError
from resources.object_storage import write_whole
from resources.stored_values import codec_named, codec_of

_MANIFEST = "manifest.json"


def store_value(folder: UPath, value: object) -> int:
    """Write ``value`` under ``folder`` and return its bytes; the old value stays until the end."""
    codec = codec_of(value)
    files = codec.encode(value)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    version = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]
    previous = _version_of(folder)
    for name, content in files.items():
        write_whole(folder / version / name, content)
    manifest = {"kind": codec.kind, "folder": version, "sha256": sums}
    write_whole(folder / _MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode())
    if previous is not None and previous != version and (folder / previous).is_dir():
        _remove_version(folder / previous)
    return sum(len(content) for content in files.values())


def load_value(folder: UPath) -> Any:
    """The value under ``folder``, every byte checked before it is parsed.

    Raises:
        NotPublishedError: nothing was stored there.
        IntegrityError: a file is missing, or its bytes do not match their SHA-256.
    """
    manifest = _read_manifest(folder)
    try:
        files = _read_files(folder, manifest)
    except IntegrityError:
        replaced = _read_manifest(folder)
        if replaced == manifest:
            raise
        manifest, files = replaced, _read_files(folder, replaced)
    return codec_named(manifest["kind"]).decode(files)


def _read_files(folder: UPath, manifest: Mapping[str, Any]) -> dict[str, bytes]:
    version = folder / manifest["folder"]
    return {name: _read_checked(version / name, sha) for name, sha in manifest["sha256"].items()}


def _read_manifest(folder: UPath) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / _MANIFEST).read_bytes())
        return {key: manifest[key] for key in ("kind", "folder", "sha256")}
    except FileNotFoundError:
        raise NotPublishedError(
            f"nothing is stored in {folder}; materialize '{folder.name}' first (pricing run)"
        ) from None
    except (ValueError, KeyError, TypeError) as failure:
        raise IntegrityError(f"damaged manifest in {folder}: {failure!r}") from None


def _read_checked(path: UPath, expected: str) -> bytes:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise IntegrityError(f"{path} is missing; materialize the asset again") from None
    if hashlib.sha256(content).hexdigest() != expected:
        raise IntegrityError(f"{path} does not match its SHA-256; materialize the asset again")
    return content


def _remove_version(folder: UPath) -> None:
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def _version_of(folder: UPath) -> str | None:
    """Name of the stored version; None where there is none that can be read."""
    try:
        return str(_read_manifest(folder)["folder"])
    except (NotPublishedError, IntegrityError):
        return None
