"""The bytes of the audit log: quote ids, records, blocks, segments; and the chain over them.

Pure. A worker's log is one chain, kept as segments ``<chain>.<first>.jsonl`` of JSON lines. Each
segment begins with a line that names its place; then come blocks: record lines, and a seal whose
hash is SHA-256 over the previous seal's hash and the block's own bytes. So a byte that is changed,
a line that is left out, put in or moved, and a segment that is missing or swapped break the chain.
Belongs here: encoding and its reverse. Writing is ``audit``, checking and finding ``audit_reader``.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import orjson
from pydantic import BaseModel

GENESIS = "0" * 64
"""What the first block of a chain is chained to."""
SEAL_PREFIX = b'{"kind":"seal"'
QUOTES_PREFIX = b'{"kind":"quotes"'

_CHAIN = re.compile(r"^[0-9a-f]{20}$")
_QUOTE_ID = re.compile(r"^([0-9a-f]{20})([0-9a-f]{12})$")
_HASH = re.compile(r"^[0-9a-f]{64}$")
_SEGMENT = re.compile(r"^([0-9a-f]{20})\.(\d{12,})\.jsonl$")


@dataclass(frozen=True, slots=True)
class QuotePlace:
    """What a quote id says: the chain that holds its record, and the quote's number there."""

    chain: str
    number: int


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One file of a chain; ``first`` is the number that the next quote had when it was begun."""

    path: Path
    chain: str
    first: int


def new_chain(milliseconds: int) -> str:
    """A chain's name: 48 bits of Unix time, then 32 random ones, so that names sort by age."""
    return f"{milliseconds & 0xFFFF_FFFF_FFFF:012x}{secrets.token_hex(4)}"


def quote_place(identifier: str) -> QuotePlace | None:
    """Where the record of a quote is; None where the text is no quote id of this log."""
    found = _QUOTE_ID.match(identifier)
    return QuotePlace(found[1], int(found[2], 16)) if found else None


def quote_id(chain: str, number: int) -> str:
    """The id of a quote, 32 hexadecimal digits."""
    return f"{chain}{number:012x}"


def segment_name(chain: str, *, first: int) -> str:
    """The file name of a segment."""
    return f"{chain}.{first:012d}.jsonl"


def segments(folder: Path, *, chain: str | None = None) -> list[SegmentFile]:
    """The segments in ``folder``, of one chain or of all, oldest first."""
    if not folder.is_dir() or (chain is not None and not _CHAIN.match(chain)):
        return []
    names = (entry for entry in folder.iterdir() if _SEGMENT.match(entry.name))
    found = [SegmentFile(path, *_parts(path.name)) for path in names]
    wanted = [segment for segment in found if chain in (None, segment.chain)]
    return sorted(wanted, key=lambda segment: (segment.chain, segment.first))


def _parts(name: str) -> tuple[str, int]:
    chain, first, _ = name.split(".")
    return chain, int(first)


def line_of(record: dict[str, Any]) -> bytes:
    """One line. ``orjson.Fragment`` values are JSON already and go in as they are.

    Raises:
        TypeError: a value is not JSON's.
    """
    return orjson.dumps(record, default=_plain) + b"\n"


def any_json(value: Any) -> orjson.Fragment:
    """JSON of a decoded body, whatever it holds.

    A wrong item of a batch may hold what orjson does not write: half of a surrogate pair, an
    integer beyond 64 bits.
    """
    try:
        return orjson.Fragment(orjson.dumps(value, default=_plain))
    except TypeError:
        return orjson.Fragment(json.dumps(value, default=_plain).encode())


def raw_json(body: bytes) -> orjson.Fragment:
    """JSON text that was received or sent, to put into a line as it is.

    A line break can only be between JSON's tokens, where a space means the same.
    """
    return orjson.Fragment(body.replace(b"\n", b" ").replace(b"\r", b" "))


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return {name: part for name, part in value.__dict__.items() if part is not None}
    raise TypeError(f"an audit record cannot hold a {type(value).__name__}")


def is_hash(value: object) -> TypeGuard[str]:
    """Whether ``value`` is a SHA-256 in hexadecimal."""
    return isinstance(value, str) and _HASH.match(value) is not None


def block_hash(previous: str, content: bytes) -> str:
    """SHA-256 over the previous hash and the block's bytes, in hexadecimal."""
    digest = hashlib.sha256(bytes.fromhex(previous))
    digest.update(content)
    return digest.hexdigest()


def seal_line(*, block: int, records: int, previous: str, digest: str) -> bytes:
    """The line that ends a block."""
    return (
        orjson.dumps(
            {
                "kind": "seal",
                "block": block,
                "records": records,
                "previous": previous,
                "hash": digest,
            }
        )
        + b"\n"
    )
