"""What a carrier of events must do, so that one consumer serves all.

Belongs here: the protocols of a source and of a producer, and what is read. Redis Streams are
``redis_streams``, Apache Kafka is ``kafka_streams``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pricing_assets.core.errors import PricingError

EVENT_FIELD = "event"


class StreamUnavailableError(PricingError):
    """The carrier of the events does not answer; nothing is lost, try again."""


class StreamFullError(PricingError):
    """Consumers are behind, and the stream took no more in the time that was allowed."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a group is behind in one stream.

    Attributes:
        entries: entries that wait to be read.
        pending: entries that were read and have not landed.
    """

    entries: int
    pending: int


@dataclass(slots=True)
class Entries:
    """Entries of one table's stream, in the order read.

    Attributes:
        source_ids: where each stands; sorts as the stream does, and never changes.
        contents: a JSON object each, or an array of them.
        tokens: what the source needs to acknowledge each.
    """

    source_ids: list[str] = field(default_factory=list)
    contents: list[bytes] = field(default_factory=list)
    tokens: list[Any] = field(default_factory=list)

    def extend(self, more: Entries) -> None:
        """Add ``more`` at the end."""
        self.source_ids += more.source_ids
        self.contents += more.contents
        self.tokens += more.tokens


Batch = dict[str, Entries]
"""Entries by table."""


class EventSource(Protocol):
    """Delivers each entry at least once: what was read and not acknowledged comes again."""

    def read(self, limit: int, *, wait_seconds: float) -> Batch:
        """Up to ``limit`` entries, of all tables together; empty after ``wait_seconds``.

        Raises:
            StreamUnavailableError: the carrier does not answer.
        """

    def acknowledge(self, tokens: Mapping[str, Sequence[Any]]) -> None:
        """Say that entries have landed, by table.

        Raises:
            StreamUnavailableError: the carrier does not answer; the entries come again.
        """

    def lag(self) -> dict[str, Lag]:
        """How far this group is behind, by table."""

    def close(self) -> None:
        """End the connections; what is not acknowledged comes again."""


class EventProducer(Protocol):
    """Sends events, and waits where consumers are behind."""

    def send(self, table: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Append events to a table's stream; returns when the carrier has them all.

        Raises:
            StreamFullError: the stream took no more in time; some events may be in.
            StreamUnavailableError: the carrier does not answer; some events may be in. Sending
                the same again is harmless where each event has an ``event_id``.
        """
