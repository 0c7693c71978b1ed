"""The audit log of one worker: every served price on record, off the event loop.

Belongs here: quote ids, the bounded buffer and the thread that writes. ``append`` encodes and
queues; the thread joins what has gathered into one block, chains it by SHA-256, writes and
flushes. Both of its costly calls release the interpreter, so the loop goes on. Bytes are
``audit_format``.

A price that cannot be put on record is not served: when the disk stands still and the buffer is
full, ``admit`` refuses, after a wait where the settings say so.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import structlog

from pricing_assets.core.errors import AuditUnavailableError
from pricing_assets.core.serving_parameters import AuditParameters
from serving import metrics
from serving.audit_format import (
    GENESIS,
    block_hash,
    line_of,
    new_chain,
    quote_id,
    seal_line,
    segment_name,
)
from serving.audit_reader import chain_heads
from serving.durable import sync_folder

Seconds = Callable[[], float]

MEGABYTE = 1_000_000
RETRY_SECONDS = 0.5
"""Pause before a block that could not be written is tried again."""
ROOM_POLL_SECONDS = 0.002
CLOSE_SECONDS = 10.0

_log = structlog.get_logger(__name__)


class AuditLog:
    """Append-only, hash-chained; used from one event loop.

    Nothing is created before the first record.
    """

    def __init__(
        self, folder: Path, *, settings: AuditParameters, clock: Seconds = time.time
    ) -> None:
        self.chain = new_chain(int(clock() * 1000))
        self._settings = settings
        self._clock = clock
        self._limit = int(settings.buffer_megabytes * MEGABYTE)
        self._queue: deque[bytes] = deque()
        self._queued = 0
        self._number = 0
        self._wake = threading.Event()
        self._woken = False
        self._writer = _Writer(folder, self.chain, settings=settings, clock=clock)
        self._thread: threading.Thread | None = None
        self._closing = False

    def next(self) -> str:
        """The id of the next quote; it leads to the record."""
        self._number += 1
        return quote_id(self.chain, self._number)

    @property
    def pending_bytes(self) -> int:
        """Bytes that wait to be written."""
        return self._queued - self._writer.taken

    @property
    def has_room(self) -> bool:
        """The record of one more price can wait to be written."""
        return self._queued - self._writer.taken < self._limit

    async def admit(self) -> None:
        """Return when there is room for the record of a price that is about to be served.

        Raises:
            AuditUnavailableError: the buffer is full; at once, or after ``block_ms``.
        """
        if self.has_room:
            return
        if self._settings.when_full == "block":
            deadline = time.monotonic() + self._settings.block_ms / 1000
            while time.monotonic() < deadline:
                await asyncio.sleep(ROOM_POLL_SECONDS)
                if self.has_room:
                    return
        metrics.AUDIT_REFUSALS.inc()
        raise AuditUnavailableError(
            "prices cannot be put on record now, so none is served; try again shortly"
        )

    def append(
        self,
        *,
        origin: orjson.Fragment,
        requests: list[Any] | orjson.Fragment,
        answers: list[Any] | orjson.Fragment,
        context: list[Any] | None = None,
        policy: str | None = None,
        propensity: float | None = None,
    ) -> None:
        """Queue the record of quotes that are answered together; call it before they are sent.

        Args:
            origin: versions and settings behind the answers, encoded once a table.
            requests: as they were asked, one an answer (models, dicts, or JSON as received).
            answers: as they are sent, with their quote ids.
            context: what the feature store added, one an answer; None where nothing was.
            policy, propensity: who chose the price and how likely, where it was drawn.
        """
        line = line_of(
            {
                "kind": "quotes",
                "time": self._clock(),
                "origin": origin,
                "requests": requests,
                "answers": answers,
                "context": context,
                "policy": policy,
                "propensity": propensity,
            }
        )
        self._number += 1  # a record without a quote has its place in the order too
        self._queue.append(line)
        self._queued += len(line)
        if not self._woken:
            self._woken = True
            self._wake.set()
            if self._thread is None:
                self._start()

    def close(self) -> None:
        """Write what is left and end the chain; blocks, so call it off the loop."""
        if self._thread is None:
            return
        self._closing = True
        self._wake.set()
        self._thread.join(timeout=CLOSE_SECONDS)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        """The thread: gather, write, until closed."""
        gather = self._settings.flush_ms / 1000
        while True:
            self._wake.wait()
            if not self._closing:
                time.sleep(gather)
            # In this order: a record that comes in between is in the queue that is read next.
            self._wake.clear()
            self._woken = False
            closing = self._closing
            written = self._write_all()
            if closing:
                if written:
                    self._writer.finish()
                return
            if not written:
                time.sleep(RETRY_SECONDS)
                self._wake.set()

    def _write_all(self) -> bool:
        """Write what is queued as one block; False where it must be tried again."""
        number = self._number
        lines = [self._queue.popleft() for _ in range(len(self._queue))]
        return self._writer.write(lines, number=number)


class _Writer:
    """The writer thread's side: the file under way, its chain, and what could not be written."""

    def __init__(
        self, folder: Path, chain: str, *, settings: AuditParameters, clock: Seconds
    ) -> None:
        self.taken = 0
        self._folder = folder
        self._chain = chain
        self._settings = settings
        self._clock = clock
        self._header = b""
        self._lines: list[bytes] = []
        self._file: int | None = None
        self._end = 0
        self._block = 0
        self._hash = GENESIS
        self._number = 0
        self._synced_at = 0.0

    def write(self, lines: list[bytes], *, number: int) -> bool:
        """Append ``lines``, and what is left of before, as one block.

        Args:
            lines: records.
            number: the last quote number given out when they were taken from the queue.

        Returns:
            Whether all of it is in the file; else it is kept for the next call.
        """
        self._lines += lines
        if not self._lines:
            return True
        try:
            self._ensure_open()
            self._write_block()
            self._number = number
            self._sync(force=False)
        except OSError as failure:
            metrics.AUDIT_FAILURES.inc()
            _log.error("audit_not_written", reason=str(failure), waiting=len(self._lines))
            return not self._lines
        return True

    def finish(self) -> None:
        """End the chain with a line that says so, and close the file."""
        if self._file is None:
            return
        self._lines = [line_of({"kind": "closed", "time": self._clock()})]
        try:
            self._write_block()
            self._sync(force=True)
        except OSError as failure:
            _log.error("audit_not_closed", reason=str(failure))
        os.close(self._file)
        self._file = None

    def _ensure_open(self) -> None:
        if self._file is not None and self._end < self._settings.segment_megabytes * MEGABYTE:
            return
        if self._file is not None:
            self._sync(force=True)
            os.close(self._file)
            self._file = None
        self._open_segment()

    def _open_segment(self) -> None:
        """Begin a file; the first of a chain names the last hash of the chains before it.

        Numbers are given out before their records are queued, so a file is named by the number
        up to which the one before was written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        header = {
            "kind": "segment",
            "chain": self._chain,
            "time": self._clock(),
            "previous": self._hash,
            "anchors": chain_heads(self._folder) if self._block == 0 else [],
        }
        path = self._folder / segment_name(self._chain, first=self._number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file = os.open(path, flags, 0o640)
        self._header, self._end = line_of(header), 0
        sync_folder(self._folder)

    def _write_block(self) -> None:
        content = self._header + b"".join(self._lines)
        digest = block_hash(self._hash, content)
        count = len(self._lines)
        seal = seal_line(block=self._block, records=count, previous=self._hash, digest=digest)
        self._put(content + seal)
        metrics.AUDIT_RECORDS.inc(count)
        self.taken += len(content) - len(self._header)
        self._header, self._lines = b"", []
        self._hash, self._block = digest, self._block + 1

    def _put(self, content: bytes) -> None:
        """Write all of ``content`` at the end; what a failed try left there is cut off first."""
        assert self._file is not None
        os.ftruncate(self._file, self._end)
        view, at = memoryview(content), self._end
        while view:
            count = os.pwrite(self._file, view, at)
            view, at = view[count:], at + count
        self._end = at

    def _sync(self, *, force: bool) -> None:
        assert self._file is not None
        now = time.monotonic()
        if force or now - self._synced_at >= self._settings.fsync_seconds:
            os.fsync(self._file)
            self._synced_at = now
