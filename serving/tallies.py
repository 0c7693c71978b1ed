"""Counts of the hot path in plain integers, added to the metrics once a second.

A metric with several workers lives in shared memory and costs more than the quote that it counts.
Belongs here: what is counted for every quote, and the push. Names and buckets are ``metrics``.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left

from prometheus_client import Counter, Histogram

from serving import metrics

PUSH_SECONDS = 1.0
"""How often the counts reach the metrics; a scrape of this worker pushes them too."""


class CounterTally:
    """A counter and what it has still to be told."""

    __slots__ = ("_counter", "count")

    def __init__(self, counter: Counter) -> None:
        self._counter = counter
        self.count = 0

    def push(self) -> None:
        """Tell the counter."""
        pending, self.count = self.count, 0
        if pending:
            self._counter.inc(pending)


class CounterFamily(dict[str, CounterTally]):
    """The tallies of a counter with one label, made as its values come up."""

    def __init__(self, counter: Counter, *, label: str) -> None:
        super().__init__()
        self._counter = counter
        self._label = label

    def __missing__(self, value: str) -> CounterTally:
        tally = self[value] = CounterTally(self._counter.labels(**{self._label: value}))
        return tally


class HistogramTally:
    """A histogram and the observations it has still to be told, by bucket."""

    __slots__ = ("_bounds", "_histogram", "_pending", "_sum")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        # prometheus_client has no public way to add many observations at once.
        self._bounds: list[float] = list(histogram._upper_bounds)
        self._pending = [0] * len(self._bounds)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """Count ``value`` in the first bucket whose bound is not below it."""
        self._pending[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def observe_all(self, values: list[float]) -> None:
        """``observe`` for each."""
        bounds, pending = self._bounds, self._pending
        for value in values:
            pending[bisect_left(bounds, value)] += 1
        self._sum += sum(values)

    def push(self) -> None:
        """Tell the histogram."""
        pending, total = self._pending, self._sum
        self._pending, self._sum = [0] * len(self._bounds), 0.0
        if not any(pending):
            return
        self._histogram._sum.inc(total)
        for bucket, count in zip(self._histogram._buckets, pending, strict=True):
            if count:
                bucket.inc(count)


class LatencyFamily(dict[str, HistogramTally]):
    """The latency tallies by endpoint, made as endpoints come up."""

    def __missing__(self, endpoint: str) -> HistogramTally:
        tally = self[endpoint] = HistogramTally(metrics.API_LATENCY.labels(endpoint=endpoint))
        return tally


QUOTES = CounterFamily(metrics.QUOTES, label="source")
CACHE_LOOKUPS = CounterFamily(metrics.CACHE_LOOKUPS, label="tier")
QUOTES_OF_TABLE, LOOKUPS_OF_TABLE = QUOTES["table"], CACHE_LOOKUPS["table"]
PRICE_CHANGE = HistogramTally(metrics.PRICE_CHANGE)
INFERENCE_TIME = HistogramTally(metrics.INFERENCE_TIME)
API_LATENCY = LatencyFamily()


def push() -> None:
    """Add all that is counted to the metrics."""
    PRICE_CHANGE.push()
    INFERENCE_TIME.push()
    for counter in (*QUOTES.values(), *CACHE_LOOKUPS.values()):
        counter.push()
    for histogram in API_LATENCY.values():
        histogram.push()


async def push_for_ever() -> None:
    """Push once a second until cancelled, and once more then."""
    try:
        while True:
            await asyncio.sleep(PUSH_SECONDS)
            push()
    finally:
        push()
