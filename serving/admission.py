"""Who is let in when more is asked than can be answered: bulk is refused before single quotes.

Belongs here: the limits of one worker and their counts. Answering 429 is ``gate`` and
``grpc_server``.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pricing_assets.core.serving_parameters import ServingParameters

Clock = Callable[[], float]
NextTurn = Callable[[Callable[[], None]], Any]

_BATCH_SHARE = 0.5
"""Share of the room for requests and of the wait that a batch may still come in at."""
_BATCH_RESERVE = 0.25
"""Share of a second's requests that is kept for single quotes."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one worker takes; ``per_second`` 0 sets no rate."""

    requests: int
    batches: int
    per_second: float
    wait_seconds: float

    @classmethod
    def of(cls, parameters: ServingParameters) -> Limits:
        """The limits of one of the workers: the rate is for all of them together."""
        return cls(
            requests=parameters.max_requests,
            batches=parameters.max_batches,
            per_second=parameters.max_requests_per_second / parameters.workers,
            wait_seconds=parameters.max_wait_ms / 1000,
        )


class Admission:
    """Counts what is in progress in one worker, and says when to come again.

    The wait of a request is the time since the event loop began the turn in which it came up. One
    long turn is a large body, not an overload: only when the turn before was too long as well,
    requests that have waited too long are refused.
    """

    def __init__(self, limits: Limits, *, clock: Clock, next_turn: NextTurn) -> None:
        self._limits = limits
        self._clock = clock
        self._next_turn = next_turn
        self._requests = 0
        self._batches = 0
        self._turn_began = -math.inf
        self._in_turn = False
        self._overloaded = False
        self._burst = max(limits.per_second, 2.0)
        self._tokens, self._filled_at = self._burst, -math.inf

    @classmethod
    def of_worker(cls, parameters: ServingParameters) -> Admission:
        """What one worker lets in, over HTTP and gRPC together."""
        return cls(Limits.of(parameters), clock=time.perf_counter, next_turn=_next_turn)

    def enter(self, *, batch: bool) -> int:
        """0 where the request may come in, which ``leave`` must end; else seconds to wait."""
        now = self._clock()
        if self._is_full(batch=batch) or self._waited_too_long(now, batch=batch):
            return 1
        if self._limits.per_second and (seconds := self._take_token(now, batch=batch)):
            return seconds
        self._requests += 1
        self._batches += batch
        return 0

    def leave(self, *, batch: bool) -> None:
        """The request has been answered."""
        self._requests -= 1
        self._batches -= batch

    def _is_full(self, *, batch: bool) -> bool:
        if not batch:
            return self._requests >= self._limits.requests
        room = max(1, int(self._limits.requests * _BATCH_SHARE))
        return self._batches >= self._limits.batches or self._requests >= room

    def _waited_too_long(self, now: float, *, batch: bool) -> bool:
        if not self._in_turn:
            self._in_turn, self._turn_began = True, now
            self._next_turn(self._end_turn)
            return False
        allowed = self._limits.wait_seconds * (_BATCH_SHARE if batch else 1.0)
        return self._overloaded and now - self._turn_began > allowed

    def _end_turn(self) -> None:
        length = self._clock() - self._turn_began
        self._overloaded = length > self._limits.wait_seconds * _BATCH_SHARE
        self._in_turn = False

    def _take_token(self, now: float, *, batch: bool) -> int:
        """0 and one token less, or the seconds until there will be one."""
        rate = self._limits.per_second
        elapsed = now - self._filled_at
        self._tokens = min(self._burst, self._tokens + elapsed * rate)
        self._filled_at = now
        wanted = 1.0 + (self._burst * _BATCH_RESERVE if batch else 0.0)
        if self._tokens < wanted:
            return max(1, math.ceil((wanted - self._tokens) / rate))
        self._tokens -= 1.0
        return 0


def _next_turn(callback: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(callback)
