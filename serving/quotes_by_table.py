"""Which quotes were served from a price table: the audit log read from the table's side.

Belongs here: counting and naming the quotes of one version. Finding one quote by its id is
``audit_reader``.
"""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from serving.audit_format import QUOTES_PREFIX, segments


@dataclass(frozen=True, slots=True)
class ServedQuotes:
    """Quotes on record that one table version answered.

    Attributes:
        count: of all.
        latest: ids of the last ones, oldest first.
    """

    count: int
    latest: tuple[str, ...]


def served_quotes(folder: Path, *, table_version: str, latest: int) -> ServedQuotes:
    """Quotes of one table version; it reads the whole log, line by line.

    Args:
        folder: of the audit log.
        table_version: as published.
        latest: how many ids to keep.
    """
    count, ids = 0, deque[str](maxlen=latest)
    named = f'"{table_version}"'.encode()
    for segment in segments(folder):
        with segment.path.open("rb") as stream:
            for line in stream:
                if not line.startswith(QUOTES_PREFIX) or named not in line:
                    continue
                found = _ids(line, table_version)
                count += len(found)
                ids.extend(found)
    return ServedQuotes(count, tuple(ids))


def _ids(line: bytes, table_version: str) -> list[str]:
    """Ids of the answers in one record that name the version; a torn last line has none."""
    try:
        record = json.loads(line)
    except ValueError:
        return []
    return [
        answer["quote_id"]
        for answer in record["answers"]
        if answer.get("table_version") == table_version and "quote_id" in answer
    ]
