"""The latest rows and answers of a table that were made, kept ready to be used again.

Belongs here: a bounded memory without a time to live, for what never changes. Unlike
``functools.lru_cache`` over a method it makes no cycle of references with its owner, so that a
table that is no longer used goes at once, without the garbage collector. Quotes, which age, are
kept in ``worker_cache``.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class ReadyAnswers(Generic[Key, Value]):
    """At most ``size`` values; the least recently used one yields."""

    __slots__ = ("_kept", "_size")

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[Key, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Key) -> Value | None:
        """The value kept under ``key``."""
        found = self._kept.get(key)
        if found is not None and len(self._kept) >= self._size:
            self._used(key)
        return found

    def keep(self, key: Key, value: Value) -> Value:
        """Keep ``value``, which it returns; safe beside a thread that keeps others."""
        self._kept[key] = value
        if len(self._kept) > self._size:
            self._kept.popitem(last=False)
        return value

    def _used(self, key: Key) -> None:
        """Only a full memory needs an order; another thread may have taken the key out since."""
        if key in self._kept:
            self._kept.move_to_end(key)
