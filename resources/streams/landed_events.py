"""The landed events and the rivals' last prices as a Dagster resource.

Belongs here: their addresses. Files are ``stream_store``, rivals ``rival_prices``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg
from pydantic import Field
from redis import Redis
from redis.exceptions import RedisError

from pricing_assets.core.events import STREAM_TABLES
from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.feature_store import TIMEOUT_SECONDS
from resources.streams.rival_prices import RivalPrice, rival_updates
from resources.streams.stream_store import StreamStore, table_days


class LandedEventsResource(dg.ConfigurableResource):
    """The folder of landed events, and the Redis that pipeline, consumer and service share."""

    root: str = Field(description="Folder or fsspec address where micro-batches land.")
    redis_url: str = Field(
        "", description="Address of Redis (PRICING_REDIS_URL); empty: none is shared."
    )
    time_zone: str = Field("UTC", description="IANA time zone whose midnight ends a day.")
    allowed_lateness_seconds: float = Field(
        3600.0, description="How much later than a day's end an event must be to close it."
    )
    rival_max_age_hours: float = Field(
        168.0, description="A rival last seen this much before the newest one counts no more."
    )

    @classmethod
    def of(
        cls, streaming: StreamingParameters, *, folder: str, redis_url: str
    ) -> LandedEventsResource:
        """The resource of a home's settings."""
        return cls(
            root=streaming.folder or folder,
            redis_url=redis_url,
            time_zone=streaming.time_zone,
            allowed_lateness_seconds=streaming.allowed_lateness_seconds,
            rival_max_age_hours=streaming.rival_max_age_hours,
        )

    def store(self) -> StreamStore:
        """The landed events."""
        return StreamStore(self.root, time_zone=self.time_zone)

    def closed_days(self) -> dict[str, str]:
        """Stamp of each day that is over in some table; it changes when an event comes late."""
        found = table_days(self.store(), allowed_lateness=self.allowed_lateness_seconds)
        days = sorted({day for closed in found.values() for day in closed})
        return {day: self.stamp(day) for day in days}

    def stamp(self, day: str) -> str:
        """Changes when an event of the day comes, and when the day is compacted."""
        store = self.store()
        return "-".join(store.stamp(table, [day]) for table in STREAM_TABLES)

    def needs_compaction(self, day: str) -> bool:
        """Whether any table has more than one file of the day."""
        store = self.store()
        return any(store.is_scattered(table, day) for table in STREAM_TABLES)

    def remember_rivals(self, rows: Iterable[Mapping[str, Any]]) -> str:
        """Keep rivals' prices of a raw table, and say what became of them.

        Args:
            rows: product_id, competitor, price, at (Unix seconds) and perhaps store_id.
        """
        if not self.redis_url:
            return "not written: PRICING_REDIS_URL names no Redis"
        seen = (
            RivalPrice(
                row["product_id"],
                row.get("store_id", ""),
                row["competitor"],
                row["price"],
                row["at"],
            )
            for row in rows
        )
        client = Redis.from_url(
            self.redis_url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
        try:
            age = self.rival_max_age_hours * 3600
            return f"{len(rival_updates(client, seen, max_age_seconds=age))} products written"
        except (RedisError, OSError) as failure:
            return f"not written: Redis does not answer ({type(failure).__name__})"
        finally:
            client.close()
