"""The answers of one batch: together in one list, each with its quote id or its error.

Belongs here: what a batch is made of, and that it lets other requests in. Finding each answer is
``desk``.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from serving import metrics
from serving.answer import Answer, Prepared
from serving.online_context import Enriched
from serving.wire import encode_json

TURN_SECONDS = 0.002
"""A batch lets other requests in when it has computed for this long."""
PLAIN_ITEMS = 32
"""Items whose published prices are found before a batch looks at the clock again."""

Entry = tuple[Prepared | Answer, str]
"""An answer and its quote id; an error entry has none."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The answers of a batch with their quote ids, and the same as a JSON list."""

    entries: list[Entry]
    encoded: bytes


async def let_others_in(turn_ends: float) -> float:
    """When this turn of a batch ends: as it was, or a new turn where it is over."""
    if time.perf_counter() < turn_ends:
        return turn_ends
    await asyncio.sleep(0)
    return time.perf_counter() + TURN_SECONDS


def used_of(online: dict[int, Enriched], count: int) -> list[dict[str, Any] | None] | None:
    """What was added to each of ``count`` items, for the record; None where nothing was."""
    if not any(added.used for added in online.values()):
        return None
    return [online[i].used if i in online else None for i in range(count)]


def encoded(entries: list[Entry]) -> bytes:
    """The entries as a JSON list."""
    parts = [
        item.encoded(quote_id) if isinstance(item, Prepared) else encode_json(item)
        for item, quote_id in entries
    ]
    return b"[" + b",".join(parts) + b"]"


def item_error(item: Any, failure: Exception, *, status: int) -> Answer:
    """The error entry of one item, counted."""
    metrics.ERRORS.labels(status=str(status)).inc()
    product_id = item.get("product_id") if isinstance(item, dict) else None
    named = {"product_id": _short(product_id)} if isinstance(product_id, str) else {}
    return {**named, "error": str(failure)}


def _short(product_id: str) -> str:
    """The start of an id that may be none: half a character cannot be written as JSON."""
    return product_id[:200].encode("utf-8", "replace").decode()
