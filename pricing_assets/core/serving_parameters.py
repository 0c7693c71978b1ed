"""Parameters of the service."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pricing_assets.core.parameters import Parameters


class ServingParameters(Parameters):
    """The HTTP service."""

    host: str = Field("127.0.0.1", description="Address to bind; loopback unless told otherwise.")
    port: int = Field(8080, ge=0, le=65535, description="HTTP port.")
    grpc_port: int = Field(50051, ge=0, le=65535, description="gRPC port.")
    cache_ttl_seconds: int = Field(300, ge=1, description="Life of a cached quote.")
    redis_timeout_ms: int = Field(20, ge=1, le=5000, description="Redis socket timeout.")
    cover_days: float = Field(
        7, gt=0, description="Days that the stock named in a request must last."
    )
    max_body_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, description="Larger request bodies are refused."
    )
    workers: int = Field(
        1, ge=1, le=64, description="Processes that share the ports; one core each is enough."
    )
    max_requests: int = Field(
        1024, ge=1, le=100_000, description="Requests in progress in a worker; beyond, 429."
    )
    max_batches: int = Field(
        4, ge=1, le=10_000, description="get_prices in progress in a worker; beyond, 429."
    )
    max_requests_per_second: float = Field(
        0,
        ge=0,
        description="Requests a second over all workers; beyond, 429. 0 sets no such limit.",
    )
    max_wait_ms: float = Field(
        400,
        ge=1,
        le=10_000,
        description="Wait of a request in a worker's queue above which it is answered 429; "
        "get_prices from half of it.",
    )
    request_timeout_seconds: float = Field(
        10, gt=0, le=300, description="Time for a request's body to come, and for its answer."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="Log lines for people, or one JSON object each for machines."
    )
    tracing_endpoint: str | None = Field(
        None,
        description="OpenTelemetry collector (OTLP over HTTP), such as "
        "http://127.0.0.1:4318/v1/traces; null traces nothing. Needs the extra 'tracing'.",
    )
    markup_cold_start: float = Field(
        0.5,
        ge=0,
        description="Markup on cost for a product that no table knows, or of a category in which "
        "too few are priced to learn one.",
    )
    live_max_overdue_hours: float = Field(
        24,
        ge=0,
        description="Hours after a table has expired in which its demand curves are still "
        "re-optimised for a request; then its published prices stand as they are.",
    )
    table_max_overdue_hours: float = Field(
        168,
        ge=0,
        description="Hours after a table has expired in which its published prices are still "
        "served; then a rule on cost, or the current price.",
    )
    use_online_features: bool = Field(
        True,
        description="Price a request that does not say its stock or rival by the feature store's, "
        "where they were seen after the data behind the table end.",
    )
    online_max_age_hours: float = Field(
        24, gt=0, description="Age in hours up to which a reading of the feature store is used."
    )
    cache_max_age_seconds: float = Field(
        3600,
        ge=0,
        description="Age in seconds up to which a kept quote answers where a live one fails.",
    )
    approval: Literal["off", "required"] = Field(
        "off",
        description="off serves a published price at once; required holds a changed one until two "
        "people have proposed and approved it.",
    )
    approval_threshold: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the standing price by which a new one may differ and be served "
        "without approval.",
    )
    user_header: str = Field(
        "x-pricing-user",
        pattern="^[a-z0-9-]{1,64}$",
        description="Request header that names who acts on the price table. Without "
        "PRICING_USER_TOKENS it is believed, so a proxy that signs people in must set it.",
    )


class AuditParameters(Parameters):
    """The log of served prices: append-only files under the home, chained by hash."""

    enabled: bool = Field(
        True, description="Put every served price on record; false serves without a record."
    )
    when_full: Literal["shed", "block"] = Field(
        "shed",
        description="Prices asked for while the buffer is full, as on a full disk: shed refuses "
        "them at once, block first waits up to block_ms. None is served off the record.",
    )
    block_ms: int = Field(
        50, ge=1, le=10_000, description="Longest wait of when_full: block, milliseconds."
    )
    buffer_megabytes: float = Field(
        64, gt=0, le=4096, description="Records in memory, at most, that wait to be written, MB."
    )
    flush_ms: int = Field(
        20,
        ge=1,
        le=10_000,
        description="Milliseconds in which records gather into one chained block: what a kill "
        "can lose.",
    )
    fsync_seconds: float = Field(
        1.0,
        ge=0,
        le=3600,
        description="Seconds between two flushes to the disk itself (what a power failure can "
        "lose); 0 flushes after every block.",
    )
    segment_megabytes: float = Field(
        64, gt=0, le=4096, description="Size of a file of the log before the next is begun, MB."
    )
