"""Waiting for a coroutine no longer than agreed, at no cost where it need not wait.

Most bodies have come before they are read, and most answers are computed at once: setting and
clearing a timer for each would cost more than the answer. Belongs here: nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from functools import partial
from typing import Any, Generic, TypeVar

Value = TypeVar("Value")


async def within(seconds: float, work: Coroutine[Any, Any, Value]) -> Value:
    """The result of ``work``.

    Raises:
        TimeoutError: it waited longer than ``seconds``; it has been cancelled.
    """
    try:
        first = work.send(None)
    except StopIteration as done:
        result: Value = done.value
        return result
    async with asyncio.timeout(seconds):
        return await _Begun(work, first)


class _Begun(Generic[Value]):
    """A coroutine that waits for its ``first`` future, to be awaited on from there."""

    def __init__(self, work: Coroutine[Any, Any, Value], first: Any) -> None:
        self._work = work
        self._first = first

    def __await__(self) -> Generator[Any, Any, Value]:
        waits_for = self._first
        while True:
            try:
                sent = yield waits_for
            except GeneratorExit:
                self._work.close()
                raise
            except BaseException as failure:  # noqa: BLE001 (handed on, as "await" does)
                step = partial(self._work.throw, failure)
            else:
                step = partial(self._work.send, sent)
            try:
                waits_for = step()
            except StopIteration as done:
                result: Value = done.value
                return result
