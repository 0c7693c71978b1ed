"""The audit log: every served price on record, a chain that shows any change, a full buffer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from pricing_assets.core.errors import AuditUnavailableError, UnknownQuoteError
from pricing_assets.core.serving_parameters import AuditParameters
from serving import audit as audit_module
from serving.audit import AuditLog
from serving.audit_format import SEAL_PREFIX, raw_json, segments
from serving.audit_reader import find_quote, verify

QUICK = AuditParameters(flush_ms=1)
ORIGIN = orjson.Fragment(b'{"table_version":"000001-00000000"}')


def record(log: AuditLog, product: str = "SKU-1") -> str:
    number = log.next()
    answer = {"product_id": product, "recommended_price": 9.99, "quote_id": number}
    log.append(origin=ORIGIN, requests=[{"product_id": product}], answers=[answer])
    return number


@pytest.fixture
def log(tmp_path: Path) -> Iterator[AuditLog]:
    log = AuditLog(tmp_path, settings=QUICK)
    yield log
    log.close()


def written(folder: Path, count: int, *, settings: AuditParameters = QUICK) -> list[str]:
    """Ids of ``count`` quotes in a chain that was closed, in several blocks."""
    log = AuditLog(folder, settings=settings)
    ids = []
    for i in range(count):
        ids.append(record(log, f"SKU-{i}"))
        if i % 5 == 4:
            wait_until(lambda: log.pending_bytes == 0)
    log.close()
    return ids


def wait_until(true: Callable[[], bool], *, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.002)


def test_every_record_is_found_by_its_quote_id(tmp_path: Path) -> None:
    ids = written(tmp_path, 23)
    for i, quote_id in enumerate(ids):
        found = find_quote(tmp_path, quote_id)
        assert found.answer["product_id"] == found.request["product_id"] == f"SKU-{i}"
        assert found.block_intact
    (report,) = verify(tmp_path)
    assert report.intact and report.closed
    assert report.quotes == 23
    assert report.blocks > 4


def test_nothing_is_created_before_the_first_record(tmp_path: Path) -> None:
    log = AuditLog(tmp_path / "audit", settings=QUICK)
    log.close()
    assert not (tmp_path / "audit").exists()


@pytest.mark.parametrize("quote_id", ["", "../x", "0" * 32, "0" * 31, "é" * 32])
def test_an_unknown_quote_is_unknown(tmp_path: Path, quote_id: str) -> None:
    written(tmp_path, 3)
    with pytest.raises(UnknownQuoteError):
        find_quote(tmp_path, quote_id)


def test_a_quote_id_in_a_request_is_not_taken_for_the_quote(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, settings=QUICK)
    coming = f"{log.chain}{3:012x}"
    record(log, coming)
    assert record(log, "SKU-2") == coming
    log.close()
    assert find_quote(tmp_path, coming).answer["product_id"] == "SKU-2"


def test_a_batch_is_one_record_as_it_was_sent(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, settings=QUICK)
    ids = [log.next() for _ in range(3)]
    body = b'[{"product_id":"A"},\n {"product_id":"B"},\r\n\t{"product_id":"C"}]'
    answers = orjson.dumps([{"quote_id": ids[0]}, {"error": "x"}, {"quote_id": ids[2]}])
    log.append(origin=ORIGIN, requests=raw_json(body), answers=raw_json(answers))
    log.close()
    found = find_quote(tmp_path, ids[2])
    assert (found.position, found.request) == (2, {"product_id": "C"})
    (report,) = verify(tmp_path)
    assert (report.records, report.quotes, report.intact) == (2, 2, True)


def edited(lines: list[bytes], how: str) -> list[bytes]:
    """The lines of a file after someone had their way with a record in its middle."""
    quotes = [i for i, line in enumerate(lines) if line.startswith(b'{"kind":"quotes"')]
    seals = [i for i, line in enumerate(lines) if line.startswith(SEAL_PREFIX)]
    at = quotes[len(quotes) // 2]
    if how == "changed":
        return [*lines[:at], lines[at].replace(b"9.99", b"1.99"), *lines[at + 1 :]]
    if how == "removed":
        return lines[:at] + lines[at + 1 :]
    if how == "put in":
        return [*lines[:at], lines[at], *lines[at:]]
    if how == "moved":
        return [*lines[: at - 1], lines[at], lines[at - 1], *lines[at + 1 :]]
    if how == "block removed":
        return lines[: seals[1] + 1] + lines[seals[2] + 1 :]
    assert how == "appended after the end"
    return [*lines, lines[at]]


@pytest.mark.parametrize(
    "how", ["changed", "removed", "put in", "moved", "block removed", "appended after the end"]
)
def test_what_was_tampered_with_is_found(tmp_path: Path, how: str) -> None:
    ids = written(tmp_path, 30)
    (file,) = segments(tmp_path)
    lines = file.path.read_bytes().splitlines(keepends=True)
    file.path.write_bytes(b"".join(edited(lines, how)))
    (report,) = verify(tmp_path)
    assert len(report.problems) == 1
    if how == "changed":
        assert not all(find_quote(tmp_path, quote_id).block_intact for quote_id in ids)


def test_a_resealed_block_breaks_the_chain_after_it(tmp_path: Path) -> None:
    from serving.audit_format import block_hash
    from serving.audit_reader import blocks

    written(tmp_path, 30)
    (file,) = segments(tmp_path)
    old = list(blocks(file.path))[2]
    assert old.seal is not None
    forged = old.content.replace(b"9.99", b"1.99")
    digest = block_hash(old.seal["previous"], forged)
    content = file.path.read_bytes().replace(old.content, forged)
    sealed = orjson.dumps(old.seal)
    file.path.write_bytes(content.replace(sealed, orjson.dumps({**old.seal, "hash": digest})))
    (report,) = verify(tmp_path)
    assert "does not follow" in report.problems[0]


def test_files_are_rotated_and_a_missing_one_is_found(tmp_path: Path) -> None:
    small = AuditParameters(flush_ms=1, segment_megabytes=0.002)
    ids = written(tmp_path, 60, settings=small)
    files = segments(tmp_path)
    assert len(files) > 3
    (report,) = verify(tmp_path)
    assert report.intact and report.quotes == 60
    assert all(find_quote(tmp_path, quote_id).block_intact for quote_id in ids)
    files[1].path.unlink()
    (report,) = verify(tmp_path)
    assert "missing or moved" in report.problems[0]


def test_batches_without_a_single_quote_rotate_too(tmp_path: Path) -> None:
    log = AuditLog(tmp_path, settings=AuditParameters(flush_ms=1, segment_megabytes=0.001))
    for _ in range(8):
        log.append(origin=ORIGIN, requests=[{"bad": "x" * 900}], answers=[{"error": "no"}])
        wait_until(lambda: log.pending_bytes == 0)
    last = record(log)
    log.close()
    assert len(segments(tmp_path)) > 4
    (report,) = verify(tmp_path)
    assert report.intact and report.closed
    assert find_quote(tmp_path, last).block_intact


def test_a_chain_that_lost_its_end_is_shown_by_the_next_one(tmp_path: Path) -> None:
    written(tmp_path, 30)
    (file,) = segments(tmp_path)
    whole = file.path.read_bytes()
    second = AuditLog(tmp_path, settings=QUICK)
    record(second)
    second.close()
    assert all(report.intact for report in verify(tmp_path))
    half = whole.index(SEAL_PREFIX, len(whole) // 2)
    file.path.write_bytes(whole[: whole.index(b"\n", half) + 1])
    assert "its end was cut" in verify(tmp_path)[0].problems[0]
    file.path.unlink()
    assert any("it is gone" in report.problems[0] for report in verify(tmp_path) if report.problems)


def test_a_torn_end_is_told_apart_from_tampering(tmp_path: Path) -> None:
    """What a kill leaves: the last block in part. All before it is whole, and is found."""
    ids = written(tmp_path, 30)
    (file,) = segments(tmp_path)
    content = file.path.read_bytes()
    seals = [i for i in range(len(content)) if content.startswith(SEAL_PREFIX, i)]
    for cut in (seals[-2] + 10, seals[-1] + 10, content.index(b"\n", seals[-3]) + 40):
        file.path.write_bytes(content[:cut])
        (report,) = verify(tmp_path)
        assert report.intact and not report.closed
        assert report.unsealed_bytes > 0
        assert find_quote(tmp_path, ids[0]).block_intact


def test_after_sigkill_what_was_written_is_whole(tmp_path: Path) -> None:
    program = (
        "import sys, time, orjson\n"
        "from pathlib import Path\n"
        "from pricing_assets.core.serving_parameters import AuditParameters\n"
        "from serving.audit import AuditLog\n"
        "log = AuditLog(Path(sys.argv[1]), settings=AuditParameters(flush_ms=1))\n"
        "print('on', flush=True)\n"
        "while True:\n"
        "    answer = {'quote_id': log.next(), 'pad': 'x' * 500}\n"
        "    log.append(origin=orjson.Fragment(b'{}'), requests=[{}], answers=[answer])\n"
        "    time.sleep(0.0001)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"on\n"
    wait_until(lambda: sum(f.path.stat().st_size for f in segments(tmp_path)) > 100_000)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    (report,) = verify(tmp_path)
    assert report.intact and not report.closed
    assert report.quotes > 50


async def test_a_full_buffer_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full: prices are served while the buffer has room, then refused, then again."""
    full = [True]
    original = audit_module.os.pwrite

    def pwrite(descriptor: int, content: memoryview, at: int) -> int:
        if full[0]:
            original(descriptor, content[:7], at)
            raise OSError(28, "No space left on device")
        return original(descriptor, content, at)

    monkeypatch.setattr("serving.audit.os.pwrite", pwrite)
    monkeypatch.setattr("serving.audit.RETRY_SECONDS", 0.005)
    settings = AuditParameters(flush_ms=1, buffer_megabytes=0.01)
    log = AuditLog(tmp_path, settings=settings)
    ids: list[str] = []

    async def fill() -> None:
        while True:
            await log.admit()
            ids.append(record(log))

    with pytest.raises(AuditUnavailableError):
        await fill()
    assert 10 < len(ids) < 100
    assert log.pending_bytes < 11_000
    full[0] = False
    await asyncio.to_thread(wait_until, lambda: log.pending_bytes == 0)
    await log.admit()
    ids.append(record(log))
    await asyncio.to_thread(log.close)
    (report,) = verify(tmp_path)
    assert report.intact and report.closed
    assert report.quotes == len(ids)
    assert all(find_quote(tmp_path, quote_id).block_intact for quote_id in ids)


async def test_block_waits_for_room_and_gives_up_in_time(tmp_path: Path) -> None:
    settings = AuditParameters(buffer_megabytes=0.001, when_full="block", block_ms=200, flush_ms=30)
    log = AuditLog(tmp_path, settings=settings)
    while log.pending_bytes < 1000:
        record(log)
    await log.admit()  # the writer makes room within the wait
    await asyncio.to_thread(log.close)
    stuck = AuditLog(
        tmp_path / "stuck", settings=settings.model_copy(update={"flush_ms": 5000, "block_ms": 5})
    )
    while stuck.pending_bytes < 1000:
        record(stuck)
    with pytest.raises(AuditUnavailableError):
        await stuck.admit()


def test_what_is_no_json_is_refused_before_it_is_queued(log: AuditLog) -> None:
    with pytest.raises(TypeError):
        log.append(origin=ORIGIN, requests=[object()], answers=[{}])
    assert log.pending_bytes == 0
