"""What an operator sees of a consumer: events, refusals, lag, and how old what lands is.

Belongs here: the metrics of one consumer process, in a registry of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

LOOPBACK = "127.0.0.1"


class StreamMetrics:
    """Counters of one consumer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.events = Counter(
            "pricing_stream_events",
            "Events landed, by table and outcome: accepted, late (accepted after their day was "
            "over) or dead",
            ["table", "outcome"],
            registry=self.registry,
        )
        self.lag = Gauge(
            "pricing_stream_lag_entries",
            "Entries of the stream that this group has not read",
            ["table"],
            registry=self.registry,
        )
        self.pending = Gauge(
            "pricing_stream_pending_entries",
            "Entries that this group has read and that have not landed",
            ["table"],
            registry=self.registry,
        )
        self.lag_seconds = Gauge(
            "pricing_stream_lag_seconds",
            "Age, when it was read, of the last event read",
            ["table"],
            registry=self.registry,
        )
        self.landing = Histogram(
            "pricing_stream_landing_seconds",
            "Time to write and acknowledge one micro-batch",
            registry=self.registry,
        )
        self.failures = Counter(
            "pricing_stream_failures",
            "Attempts that failed and were made again, by what failed",
            ["what"],
            registry=self.registry,
        )


@contextmanager
def served_metrics(metrics: StreamMetrics, *, port: int) -> Iterator[None]:
    """/metrics on loopback while the block runs; port 0 serves nothing."""
    if not port:
        yield
        return
    server, thread = start_http_server(port, addr=LOOPBACK, registry=metrics.registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
