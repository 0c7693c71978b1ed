"""Reading the audit log: is the chain whole, and where is the record of a quote.

Belongs here: checking and finding, in this or another process than the one that writes. Bytes are
``audit_format``; recomputing a price is ``explain``. What a chain cannot show is that its end was
cut off: a later chain's anchor does, and so does a head that was written down elsewhere.
"""

from __future__ import annotations

import json
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pricing_assets.core.errors import UnknownQuoteError
from serving.audit_format import (
    GENESIS,
    QUOTES_PREFIX,
    SEAL_PREFIX,
    SegmentFile,
    block_hash,
    is_hash,
    quote_place,
    segments,
)

MAX_ANCHORS = 100
"""Latest chains that a new one names."""
TAIL_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class FoundQuote:
    """The record of one quote.

    Attributes:
        record: the whole line; a batch is one record.
        position: which of its requests and answers this is.
        segment: file name.
        block_intact: the block that holds it matches its seal; False while it has none.
    """

    record: dict[str, Any]
    position: int
    segment: str
    block_intact: bool

    @property
    def request(self) -> dict[str, Any]:
        """As it was asked."""
        asked: dict[str, Any] = self.record["requests"][self.position]
        return asked

    @property
    def answer(self) -> dict[str, Any]:
        """As it was answered."""
        given: dict[str, Any] = self.record["answers"][self.position]
        return given

    @property
    def context(self) -> dict[str, Any] | None:
        """What the feature store added."""
        contexts = self.record["context"]
        return contexts[self.position] if contexts else None


@dataclass(slots=True)
class ChainReport:
    """What checking one chain found.

    Attributes:
        chain: its name.
        files, blocks, records, quotes: counts over what is intact.
        head: hash of the last intact seal.
        closed: the worker ended the chain; else it runs, or was killed.
        unsealed_bytes: after the last seal: what a kill, or a failing disk, left.
        problems: what is broken, one sentence each; empty where nothing is.
    """

    chain: str
    files: int = 0
    blocks: int = 0
    records: int = 0
    quotes: int = 0
    head: str = GENESIS
    closed: bool = False
    unsealed_bytes: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def intact(self) -> bool:
        """Nothing was changed, left out, put in or moved."""
        return not self.problems


@dataclass(frozen=True, slots=True)
class Block:
    """The lines between two seals, with the second; ``seal`` is None at an unsealed end."""

    lines: list[bytes]
    seal: dict[str, Any] | None

    @property
    def content(self) -> bytes:
        """The bytes that the seal is over."""
        return b"".join(self.lines)


def verify(folder: Path) -> list[ChainReport]:
    """Check every chain in ``folder``, and that each anchor is a hash that its chain holds."""
    by_chain: dict[str, list[SegmentFile]] = {}
    for segment in segments(folder):
        by_chain.setdefault(segment.chain, []).append(segment)
    reports, hashes, anchors = {}, {}, []
    for chain, files in by_chain.items():
        check = _ChainCheck(ChainReport(chain, files=len(files)))
        for segment in files:
            check.read(segment, is_last=segment is files[-1])
        reports[chain], hashes[chain] = check.report, check.seen
        anchors += check.anchors
    for anchor in anchors:
        _check_anchor(anchor, reports, hashes)
    return list(reports.values())


def _check_anchor(
    anchor: dict[str, str], reports: dict[str, ChainReport], hashes: dict[str, set[str]]
) -> None:
    chain = anchor["chain"]
    if chain not in reports:
        reports[chain] = ChainReport(chain, problems=["a later chain names it, and it is gone"])
    elif anchor["hash"] not in hashes[chain]:
        reports[chain].problems.append(
            f"a later chain names block {anchor['hash'][:12]}…, which is not there: its end was cut"
        )


class _ChainCheck:
    """One chain, read in order."""

    def __init__(self, report: ChainReport) -> None:
        self.report = report
        self.seen: set[str] = set()
        self.anchors: list[dict[str, str]] = []

    def read(self, segment: SegmentFile, *, is_last: bool) -> None:
        """Check one file; after the first problem of a chain nothing further is counted."""
        report, opened = self.report, False
        for block in blocks(segment.path):
            if not report.intact:
                return
            if block.seal is None:
                self._unsealed(block, segment, is_last=is_last)
                continue
            problem = self._fault(block, must_open=not opened)
            if problem:
                report.problems.append(f"{segment.path.name}, block {report.blocks}: {problem}")
                return
            opened = True
            self._count(block)
        if not opened and report.intact and not is_last:
            report.problems.append(f"{segment.path.name} holds no whole block")

    def _fault(self, block: Block, *, must_open: bool) -> str:
        """What is wrong with a sealed block; empty where nothing is."""
        seal = block.seal or {}
        previous, digest = seal.get("previous"), seal.get("hash")
        if previous != self.report.head or seal.get("block") != self.report.blocks:
            return "it does not follow the block before: a block is missing or moved"
        if digest != block_hash(self.report.head, block.content):
            return "its bytes are not those that were sealed"
        if must_open:
            header = orjson.loads(block.lines[0])
            if header["kind"] != "segment" or header["chain"] != self.report.chain:
                return "the file does not begin as a file of this chain does"
            self.anchors += header["anchors"]
        return ""

    def _count(self, block: Block) -> None:
        report = self.report
        assert block.seal is not None
        report.head, report.blocks = block.seal["hash"], report.blocks + 1
        report.records += block.seal["records"]
        report.quotes += sum(line.count(b'"quote_id":"') for line in block.lines)
        report.closed = block.lines[-1].startswith(b'{"kind":"closed"')
        self.seen.add(report.head)

    def _unsealed(self, block: Block, segment: SegmentFile, *, is_last: bool) -> None:
        size = len(block.content)
        if is_last and not self.report.closed:
            self.report.unsealed_bytes = size
        else:
            self.report.problems.append(
                f"{segment.path.name}: {size} bytes after its last seal were put in"
            )


def blocks(path: Path) -> Iterator[Block]:
    """The blocks of one file in order; what follows the last seal comes without one."""
    lines: list[bytes] = []
    with path.open("rb") as stream:
        for line in stream:
            if line.startswith(SEAL_PREFIX) and line.endswith(b"\n"):
                yield Block(lines, _seal(line))
                lines = []
            else:
                lines.append(line)
    if lines:
        yield Block(lines, None)


def _seal(line: bytes) -> dict[str, Any]:
    """The seal in a line; empty where it is none, so that it matches nothing."""
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def find_quote(folder: Path, quote_id: str) -> FoundQuote:
    """The record of a quote: its chain and, nearly, its file are in the id; there it is sought.

    Raises:
        UnknownQuoteError: it is not on record.
    """
    place = quote_place(quote_id)
    if place is not None:
        for segment in _likely(segments(folder, chain=place.chain), place.number):
            found = _find_in(segment.path, quote_id)
            if found is not None:
                return found
    raise UnknownQuoteError(f"there is no quote '{quote_id[:60]}' in the audit log")


def _likely(files: list[SegmentFile], number: int) -> list[SegmentFile]:
    """The file that holds ``number`` by its name, and its neighbours.

    Numbers are given out a moment before their records are queued, so near a file's end its
    neighbour may hold the record.
    """
    before = sum(file.first < number for file in files)
    order = (before - 1, before, before - 2)
    return [files[place] for place in order if 0 <= place < len(files)]


def _find_in(path: Path, quote_id: str) -> FoundQuote | None:
    """The record in one file; the id elsewhere than in an answer's own field is passed over."""
    wanted = f'"{quote_id}"'.encode()
    with path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            return None
        with mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ) as content:
            at = content.find(wanted)
            while at >= 0:
                start, end = content.rfind(b"\n", 0, at) + 1, content.find(b"\n", at)
                found = _record(content[start:end], quote_id) if end > 0 else None
                if found is not None:
                    record, position = found
                    intact = _block_intact(content, start)
                    return FoundQuote(record, position, path.name, intact)
                at = content.find(wanted, at + 1)
    return None


def _record(line: bytes, quote_id: str) -> tuple[dict[str, Any], int] | None:
    if not line.startswith(QUOTES_PREFIX):
        return None
    record = json.loads(line)  # a wrong item of a batch may hold what orjson does not read
    for position, answer in enumerate(record["answers"]):
        if answer.get("quote_id") == quote_id:
            return record, position
    return None


def _block_intact(content: mmap.mmap, at: int) -> bool:
    """Whether the block around ``at`` matches its seal, which names the hash before."""
    seal_start = content.find(b"\n" + SEAL_PREFIX, at) + 1
    seal_end = content.find(b"\n", seal_start)
    if seal_start == 0 or seal_end < 0:
        return False
    before = content.rfind(b"\n" + SEAL_PREFIX, 0, at)
    start = content.find(b"\n", before + 1) + 1 if before >= 0 else 0
    seal = _seal(content[seal_start:seal_end])
    previous = seal.get("previous")
    if not is_hash(previous):
        return False
    return bool(seal.get("hash") == block_hash(previous, content[start:seal_start]))


def chain_heads(folder: Path) -> list[dict[str, str]]:
    """The last hash of each of the latest chains, for a new chain to name."""
    last = {segment.chain: segment for segment in segments(folder)}
    heads = ((chain, _last_hash(last[chain].path)) for chain in list(last)[-MAX_ANCHORS:])
    return [{"chain": chain, "hash": digest} for chain, digest in heads if digest]


def _last_hash(path: Path) -> str:
    """The hash of the last seal in a file; empty where there is none near its end."""
    with path.open("rb") as stream:
        stream.seek(0, os.SEEK_END)
        stream.seek(max(0, stream.tell() - TAIL_BYTES))
        tail = stream.read()
    at = tail.rfind(b"\n" + SEAL_PREFIX)
    end = tail.find(b"\n", at + 1)
    return str(_seal(tail[at + 1 : end]).get("hash", "")) if at >= 0 and end > 0 else ""
