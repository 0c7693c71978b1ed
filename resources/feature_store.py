"""The online feature store as a Dagster resource.

Belongs here: its address. Writing and reading are ``serving.feature_store``.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg
from pydantic import Field
from redis import Redis
from redis.exceptions import RedisError

from serving.feature_store import FeatureUpdate, write_features

TIMEOUT_SECONDS = 5.0


class FeatureStoreResource(dg.ConfigurableResource):
    """The feature store in a Redis that pipeline and service share."""

    url: str = Field(
        "",
        description="Address of Redis (PRICING_REDIS_URL); empty: none is shared, nothing is "
        "written, and the service prices by the published table alone.",
    )

    def write(self, updates: Iterable[FeatureUpdate]) -> str:
        """Write updates and say what became of them.

        A Redis that does not answer fails no run: the features in it are at most a convenience.
        """
        if not self.url:
            return "not written: PRICING_REDIS_URL names no Redis"
        client = Redis.from_url(
            self.url,
            socket_timeout=TIMEOUT_SECONDS,
            socket_connect_timeout=TIMEOUT_SECONDS,
        )
        try:
            return f"{write_features(client, updates)} written"
        except (RedisError, OSError) as failure:
            return f"not written: Redis does not answer ({type(failure).__name__})"
        finally:
            client.close()
