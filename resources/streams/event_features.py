"""What events tell the feature store: stock as it is read, and the rivals' mean price.

A sale tells it nothing: units of the last days are the pipeline's to count.

Belongs here: from checked events to feature updates. The store is ``serving.feature_store``.
"""

from __future__ import annotations

import math

import pandas as pd
import structlog
from redis import Redis
from redis.exceptions import RedisError

from pricing_assets.core.events import AT, CheckedEvents
from resources.streams.rival_prices import RivalPrice, rival_updates
from serving.feature_store import MAX_VALUE, FeatureUpdate, write_features

_log = structlog.get_logger(__name__)


class RedisFeatures:
    """Writes to the feature store that pipeline and service share.

    A Redis that does not answer is said in the log and stops nothing: the events land all the same,
    and the next reading of a product mends what this one could not say.
    """

    def __init__(self, client: Redis, *, rival_max_age_seconds: float) -> None:
        self._client = client
        self._rival_max_age = rival_max_age_seconds

    def tell(self, events: CheckedEvents) -> None:
        """Put what the events say into the feature store."""
        try:
            updates = self._updates(events)
            if updates:
                write_features(self._client, updates)
        except (RedisError, OSError) as failure:
            _log.warning("features_not_written", table=events.table, reason=str(failure))

    def _updates(self, events: CheckedEvents) -> list[FeatureUpdate]:
        if events.table == "inventory":
            return stock_updates(events.accepted.to_pandas())
        if events.table == "competitor_prices":
            rows = last_of(
                events.accepted.to_pandas(), ["product_id", "store_id", "competitor"], "price"
            )
            seen = [RivalPrice(*row) for row in rows]
            return rival_updates(self._client, seen, max_age_seconds=self._rival_max_age)
        return []


def stock_updates(events: pd.DataFrame) -> list[FeatureUpdate]:
    """The last stock of each product and store."""
    rows = last_of(events, ["product_id", "store_id"], "on_hand")
    return [
        FeatureUpdate(product, store, at, {"stock": value})
        for product, store, value, at in rows
        if value <= MAX_VALUE
    ]


def last_of(events: pd.DataFrame, key: list[str], value: str) -> list[tuple]:
    """The last reading of each key: its parts, the value, the moment."""
    last = events.sort_values(AT, kind="stable").drop_duplicates(key, keep="last")
    rows = last[[*key, value, AT]].itertuples(index=False, name=None)
    return [row for row in rows if math.isfinite(row[-2])]
