"""Durable files: write aside, fsync, rename; and the lock of one writer.

Belongs here: the only code that makes a file or a folder appear all at once. What the files mean
is the caller's.
"""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pricing_assets.core.errors import PublicationConflictError

_RETRY_SECONDS = 0.02


def write_durably(path: Path, content: bytes) -> None:
    """Write a new file and fsync its bytes; the caller fsyncs the folder."""
    with path.open("xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def replace_durably(path: Path, content: bytes) -> None:
    """Replace ``path`` in one step: a reader sees the old bytes or the new, never a part."""
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        write_durably(aside, content)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive_lock(path: Path, *, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock file ``path`` against other processes and threads.

    Raises:
        PublicationConflictError: another writer held it for all of ``timeout_seconds``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        deadline = time.monotonic() + timeout_seconds
        while not _try_lock(stream.fileno()):
            if time.monotonic() > deadline:
                raise PublicationConflictError(
                    f"another publication has held {path} for {timeout_seconds:g} s; try again "
                    "when it has ended"
                )
            time.sleep(_RETRY_SECONDS)
        yield


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
