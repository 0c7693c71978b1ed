"""A fitted model as named bytes in native formats, with the checksums that guard them.

Belongs here: the bytes and their SHA-256. Reading and writing files, and what the bytes mean,
belong to the caller; no pickle ever enters a bundle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pricing_assets.core.errors import IntegrityError

_PICKLE_SUFFIXES = (".pkl", ".pickle", ".joblib")


@dataclass(frozen=True, slots=True)
class ModelBundle:
    """Named files of a fitted model.

    Attributes:
        files: file name -> content; JSON for metadata, LightGBM text for trees.

    Raises:
        IntegrityError: the bundle is empty, or a name stands for a pickle.
    """

    files: Mapping[str, bytes]

    def __post_init__(self) -> None:
        if not self.files:
            raise IntegrityError("a model bundle holds no file; train the model again")
        for name in self.files:
            if name.endswith(_PICKLE_SUFFIXES):
                raise IntegrityError(f"'{name}' is a pickle; a bundle takes native formats only")

    def manifest(self) -> dict[str, dict[str, str | int]]:
        """File name -> {"sha256": hex digest, "bytes": size}."""
        return {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            for name, content in sorted(self.files.items())
        }

    def verify(self, manifest: Mapping[str, Mapping[str, str | int]]) -> None:
        """Raise IntegrityError unless every file is in ``manifest`` with the same SHA-256."""
        own = self.manifest()
        for name in sorted(own.keys() | manifest.keys()):
            if name not in own or name not in manifest:
                side = "bundle" if name not in own else "manifest"
                raise IntegrityError(f"model file '{name}' is missing from the {side}")
            if own[name]["sha256"] != manifest[name]["sha256"]:
                raise IntegrityError(f"model file '{name}' does not match its SHA-256; restore it")

    def part(self, name: str) -> ModelBundle:
        """The files of one model of several, as :func:`joined_files` named them.

        Raises:
            IntegrityError: the bundle holds no file of that model.
        """
        prefix = f"{name}."
        return ModelBundle(
            {
                file.removeprefix(prefix): content
                for file, content in self.files.items()
                if file.startswith(prefix)
            }
        )

    def text(self, name: str) -> str:
        """Content of one file as UTF-8 text; IntegrityError where there is none."""
        if name not in self.files:
            held = ", ".join(sorted(self.files))
            raise IntegrityError(f"the model bundle has no file '{name}'; it holds: {held}")
        return self.files[name].decode("utf-8")

    def json(self, name: str) -> Any:
        """Content of one JSON file; IntegrityError where it is absent or cannot be parsed."""
        try:
            return json.loads(self.text(name))
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise IntegrityError(f"model file '{name}' is not valid JSON: {error}") from error


def joined_files(parts: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
    """Files of several models in one bundle: each name with its model's in front."""
    return {
        f"{name}.{file}": content
        for name, files in parts.items()
        for file, content in files.items()
    }


def json_bytes(value: object) -> bytes:
    """Canonical JSON (sorted keys, no NaN) as UTF-8 bytes."""
    return json.dumps(value, sort_keys=True, allow_nan=False, indent=1).encode("utf-8")
