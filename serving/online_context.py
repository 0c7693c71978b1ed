"""What the feature store adds to a request that is silent: stock and rival, where they are news.

A published price was made knowing the stock and the rivals of its data: to weigh the same again
would count it twice. So a feature is used only when it was seen after the table's data end, and
not longer ago than the settings allow; what the request says itself always stands.

Belongs here: when the store is asked, and what its answer does to a context. Reading it is
``feature_store``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from serving.catalog import Catalog, Found
from serving.context import Context
from serving.feature_store import FeatureStore, Key, OnlineFeatures

NOT_READABLE = "the feature store does not answer: priced without the latest stock and rival"

LOOK_SECONDS = 0.5
"""How often the store is asked whether it holds news."""

_FIELDS = {"stock": "current_stock", "rival_price": "comp_price"}
_WORDS = {"stock": "stock", "rival_price": "rival's price"}


@dataclass(frozen=True, slots=True)
class Enriched:
    """A request's context with what was added to it.

    Attributes:
        context: to price by.
        used: values added, by the context's names, with the moment each was seen; for the record.
        note: what the answer says of it; empty where nothing was added.
    """

    context: Context
    used: dict[str, Any] | None = None
    note: str = ""


class OnlineContext:
    """Adds the online features of one home's products; without a store it adds nothing.

    How new the store's features are is asked in the background, so that no request pays for a
    store that holds no news, or that does not answer.
    """

    def __init__(self, store: FeatureStore | None, *, max_age_seconds: float) -> None:
        self._store = store
        self._max_age = max_age_seconds
        self._newest: float | None = 0.0 if store is None else None
        self._readable = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Look now, and go on looking."""
        await self.look()
        if self._store is not None:
            self._task = asyncio.create_task(self._look_for_ever())

    async def look(self) -> None:
        """Find out how new the store's features are."""
        if self._store is not None:
            found = await self._store.newest()
            self._readable = found is not None
            self._newest = self._newest if found is None else found

    def is_silent(self, catalog: Catalog) -> bool:
        """Nothing in the store is news to this table, so no request needs to look."""
        return self._newest is not None and self._newest <= catalog.data_end

    async def enrich(
        self, catalog: Catalog, asked: Sequence[tuple[Found | None, Context]], *, now: float
    ) -> list[Enriched]:
        """Each context with what is news, from one round trip for all.

        Args:
            catalog: the table in use.
            asked: the row that answers (None: unknown product) and the request's context.
            now: Unix seconds.
        """
        keys: dict[Key, None] = {}
        for found, context in asked:
            if found is not None and _lacks(context):
                keys[(found.row.product_id, found.row.store_id)] = None
        if self._store is None or not keys:
            return [Enriched(context) for _, context in asked]
        features = await self._store.read(list(keys)) if self._readable else None
        self._readable = features is not None
        if features is None:
            return [
                Enriched(context, note=NOT_READABLE if found and _lacks(context) else "")
                for found, context in asked
            ]
        by_key = dict(zip(keys, features, strict=True))
        since = max(catalog.data_end, now - self._max_age)
        return [
            Enriched(context)
            if found is None
            else added(context, by_key.get((found.row.product_id, found.row.store_id)), since=since)
            for found, context in asked
        ]

    async def stop(self) -> None:
        """End the looking and the store's connections."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._store is not None:
            await self._store.close()

    async def _look_for_ever(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()


def added(context: Context, features: OnlineFeatures | None, *, since: float) -> Enriched:
    """``context`` with the readings later than ``since`` of what it does not say itself."""
    values: dict[str, Any] = {}
    moments: dict[str, float] = {}
    said: list[str] = []
    for name, field in _FIELDS.items():
        reading = features.readings.get(name) if features else None
        if reading is None or reading.at <= since or getattr(context, field) is not None:
            continue
        values[field], moments[field] = reading.value, reading.at
        said.append(f"{_WORDS[name]} of {reading.value:g}")
    if not values:
        return Enriched(context)
    full = replace(context, **values)
    note = f"from the feature store: {' and '.join(said)}"
    return Enriched(full, {"used": values, "at": moments}, note)


def _lacks(context: Context) -> bool:
    return context.current_stock is None or context.comp_price is None
