"""Files that appear whole, on disk and in object storage alike.

Belongs here: writing and reading bytes at an fsspec address. Which address is S3, Google Cloud or
Azure is decided by its scheme (``s3://bucket/folder``, with the extra ``scale`` installed), and
credentials and endpoint come from that provider's own environment (``AWS_PROFILE``,
``AWS_ENDPOINT_URL``, ...), never from our settings.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from upath import UPath

from pricing_assets.core.errors import InputError, IntegrityError, NotPublishedError
from serving.durable import replace_durably

_LOCAL = ("", "file", "local")


def storage_path(address: str | Path | UPath) -> UPath:
    """The path of an fsspec address.

    Raises:
        InputError: the scheme needs a package that is not installed, or is unknown.
    """
    try:
        path = UPath(address)
        path.fs  # noqa: B018 (made when first asked for, and that is where a package is missed)
    except (ImportError, ValueError) as failure:
        raise InputError(
            f"cannot open '{address}': {failure}. For s3:// install the extra 'scale' "
            "(pip install 'pricing-assets[scale]')"
        ) from None
    return path


def write_whole(path: UPath, content: bytes) -> None:
    """Replace ``path`` in one step: a reader sees the old bytes or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.protocol in _LOCAL:
        replace_durably(Path(path.path), content)
    else:  # an object store makes an object appear whole
        path.write_bytes(content)


def read_checked(path: UPath, *, sha256: str) -> bytes:
    """The bytes of ``path``, compared with their SHA-256 before anyone parses them.

    Raises:
        NotPublishedError: there is no such file.
        IntegrityError: the bytes are not those that were written.
    """
    content = read_whole(path)
    if digest(content) != sha256:
        raise IntegrityError(f"{path} does not match its SHA-256; write it again")
    return content


def read_whole(path: UPath) -> bytes:
    """The bytes of ``path``.

    Raises:
        NotPublishedError: there is no such file.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise NotPublishedError(f"there is no {path}") from None


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()
