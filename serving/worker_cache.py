"""The worker's own tier of the quote cache: bounded, with a time to live, never the truth.

Belongs here: what one worker remembers. What the workers share is ``price_cache``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import islice
from typing import Generic, TypeVar

Clock = Callable[[], float]
Value = TypeVar("Value")

MAX_ENTRIES = 50_000


class WorkerCache(Generic[Value]):
    """The latest used values; the least recently used one yields."""

    def __init__(
        self,
        *,
        ttl_seconds: float,
        max_entries: int = MAX_ENTRIES,
        clock: Clock = time.monotonic,
    ) -> None:
        self._ttl = ttl_seconds
        self._max = max_entries
        self._clock = clock
        self._kept: OrderedDict[str, tuple[float, Value]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> Value | None:
        """The value kept under ``key``, unless its time is over."""
        kept = self._kept.get(key)
        if kept is None or kept[0] < self._clock():
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def last(self, key: str, *, max_age_seconds: float) -> Value | None:
        """The value kept under ``key`` though its time may be over, up to an age."""
        kept = self._kept.get(key)
        too_old = kept is None or self._clock() - (kept[0] - self._ttl) > max_age_seconds
        return None if kept is None or too_old else kept[1]

    def keep(self, key: str, value: Value) -> None:
        """Keep ``value``, at the cost of the least recently used one where there is no room."""
        self._kept[key] = (self._clock() + self._ttl, value)
        self._kept.move_to_end(key)
        while len(self._kept) > self._max:
            self._kept.popitem(last=False)

    def latest(self, count: int) -> list[str]:
        """The keys that were used last, the very last one first."""
        return list(islice(reversed(self._kept), count))

    def forget(self) -> None:
        """Empty it (a new table makes its keys unreachable anyhow)."""
        self._kept.clear()
