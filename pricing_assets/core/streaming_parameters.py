"""Parameters of the streams of events: where they come from and how they land."""

from __future__ import annotations

from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import Field, field_validator

from pricing_assets.core.parameters import Parameters


class StreamingParameters(Parameters):
    """Streams of sales, stock and rivals' prices."""

    transport: Literal["redis", "kafka"] = Field(
        "redis",
        description="What carries the events: Redis Streams (PRICING_REDIS_URL, or an embedded "
        "server of the home), or Apache Kafka (extra 'streaming').",
    )
    kafka_servers: str = Field("", description="Kafka's bootstrap servers, as host:9092,host:9092.")
    group: str = Field(
        "pricing",
        pattern="^[A-Za-z0-9._-]{1,100}$",
        description="Consumer group; consumers of one group share the events.",
    )
    folder: str = Field(
        "",
        description="Folder or fsspec address where micro-batches land; empty takes the folder "
        "streams of the home.",
    )
    time_zone: str = Field(
        "UTC", description="IANA time zone whose midnight ends a day, such as Europe/Berlin."
    )
    max_batch_events: int = Field(
        50_000,
        ge=1,
        le=1_000_000,
        description="Events that a consumer holds unacknowledged, at most; then they land.",
    )
    land_seconds: float = Field(
        10.0,
        ge=0,
        le=600,
        description="Seconds in which events gather into one micro-batch. The feature store has "
        "them at once.",
    )
    max_stream_entries: int = Field(
        1_000_000,
        ge=10,
        le=1_000_000_000,
        description="Entries that wait in a Redis stream, at most; then producers wait.",
    )
    claim_seconds: float = Field(
        60.0,
        ge=1,
        le=86_400,
        description="Seconds after which the events that a silent consumer holds go to another.",
    )
    allowed_lateness_seconds: float = Field(
        3600.0,
        ge=0,
        le=604_800,
        description="A day is closed once an event was seen that is this much later than its end.",
    )
    max_lateness_days: float = Field(
        35.0,
        gt=0,
        le=3650,
        description="An event older than this, by the consumer's clock, goes to the dead letters.",
    )
    max_future_seconds: float = Field(
        300.0,
        ge=0,
        le=86_400,
        description="An event further in the future than this goes to the dead letters.",
    )
    rival_max_age_hours: float = Field(
        168.0,
        gt=0,
        le=8760,
        description="A rival last seen this much before the newest one no longer counts in the "
        "rivals' mean price.",
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="Loopback port of the consumer's /metrics; 0 opens none."
    )

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"'{name}' is no IANA time zone, such as Europe/Berlin") from None
        return name
