"""Parameters of the service."""

from __future__ import annotations

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
    markup_cold_start: float = Field(
        0.5, ge=0, description="Markup on cost for a product that no table knows."
    )
