"""The pricing desk: one per worker, it answers requests from the table in use.

Belongs here: batches, and what happens to every answer that leaves: the last check, its quote id,
its record, counting. The price comes from the ``ladder``, the table in use from ``table_watch``;
HTTP is ``gate``; the BentoML service is ``service``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pricing_assets.core.errors import (
    GuardRailError,
    InputError,
    NotPublishedError,
    UnknownProductError,
)
from pricing_assets.core.settings import PricingSettings
from serving import metrics, tallies
from serving.answer import Answer, Prepared
from serving.batch_answers import (
    PLAIN_ITEMS,
    TURN_SECONDS,
    Batch,
    Entry,
    encoded,
    item_error,
    let_others_in,
    used_of,
)
from serving.catalog import Catalog
from serving.curve_points import demand_curve
from serving.explain import Explainer
from serving.feature_store import FeatureStore
from serving.home import Home
from serving.ladder import Ladder, PlainPrices
from serving.online_context import Enriched, OnlineContext
from serving.price_cache import PriceCache
from serving.price_store import PriceStore
from serving.recorder import Recorder
from serving.table_watch import TableWatch
from serving.wire import PriceRequest, price_request

Now = Callable[[], datetime]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether this worker can answer, and from which version."""

    ready: bool
    table_version: str | None
    model_version: str | None
    expired: bool
    products: int


class Desk:
    """Answers price requests from the published table of one home; ``tables`` holds it."""

    def __init__(
        self,
        store: PriceStore,
        cache: PriceCache,
        *,
        settings: PricingSettings,
        now: Now = _utc_now,
        audit: Path | None = None,
        features: FeatureStore | None = None,
    ) -> None:
        self._cache = cache
        self._now = now
        self._records = Recorder.under(audit, settings=settings.audit)
        self._explainer = Explainer(store=store, audit=audit, settings=settings)
        self._ladder = Ladder(cache, serving=settings.serving)
        oldest = settings.serving.online_max_age_hours * 3600
        self._online = OnlineContext(features, max_age_seconds=oldest)
        self.tables = TableWatch(store, settings=settings, taken_up=self._taken_up)
        self._plain_kept: PlainPrices | None = None
        self._warming: asyncio.Task[None] | None = None
        self._push: asyncio.Task[None] | None = None

    @classmethod
    def of_home(cls, home: Home, *, settings: PricingSettings, redis_url: str | None) -> Desk:
        """The desk of a home; nothing is read before ``start`` or ``refresh``."""
        serving = settings.serving
        cache = PriceCache.at(
            redis_url,
            ttl_seconds=serving.cache_ttl_seconds,
            timeout_ms=serving.redis_timeout_ms,
        )
        features = FeatureStore.at(
            redis_url if serving.use_online_features else None, timeout_ms=serving.redis_timeout_ms
        )
        return cls(
            PriceStore(home.tables), cache, settings=settings, audit=home.audit, features=features
        )

    async def start(self) -> None:
        """Load the table, if there is one, and watch for the next."""
        await self._online.start()
        await self.tables.start()
        self._push = asyncio.create_task(tallies.push_for_ever())

    async def stop(self) -> None:
        """End the watch and the connections, and count the last answers."""
        await self.tables.stop()
        if self._warming is not None:
            self._warming.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._warming
        if self._push is not None:
            self._push.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._push
        await self._online.stop()
        await self._cache.close()
        await asyncio.to_thread(self._records.close)

    async def refresh(self) -> None:
        """Take up the freeze and the current table as they are now."""
        await self.tables.refresh()

    @property
    def readiness(self) -> Readiness:
        """What /readyz says."""
        catalog = self.tables.catalog
        return Readiness(
            ready=catalog is not None,
            table_version=catalog.version if catalog else None,
            model_version=catalog.manifest.model_version if catalog else None,
            expired=catalog is not None and self._expired(catalog),
            products=len(catalog) if catalog else 0,
        )

    async def price(self, request: PriceRequest) -> Answer:
        """The answer to one request.

        Raises:
            UnknownProductError: the product is in no table and nothing is given to price it by.
            InputError: the request contradicts what is known.
            NotPublishedError: no table is loaded.
            AuditUnavailableError: the price could not be put on record.
        """
        await self._records.admit()
        catalog = self.loaded()
        plain, used = self._plain(catalog), None
        found = plain.find(request.model_dump(exclude_unset=True)) if plain else None
        if found is None:
            (online,) = await self.enriched(catalog, [request])
            found, used = await self._found(catalog, request, online, remote=True), online.used
            quote_id = self._issue(found)
        else:
            quote_id = self._issue_plain(found)
        self._records.one(catalog, request, found.encoded(quote_id), added=used)
        return found.fields(quote_id)

    async def price_json(self, value: Any) -> bytes:
        """The answer to one decoded body as JSON; errors as in ``price``, and for a bad body."""
        if not self._records.has_room:
            await self._records.admit()
        catalog = self.loaded()
        plain = self._plain(catalog)
        found = plain.find(value) if plain else None
        if found is not None:
            answer = found.encoded(self._issue_plain(found))
            self._records.one(catalog, value, answer)
            return answer
        request = price_request(value)
        (online,) = await self.enriched(catalog, [request])
        found = await self._found(catalog, request, online, remote=True)
        answer = found.encoded(self._issue(found))
        self._records.one(catalog, value, answer, added=online.used)
        return answer

    async def prices(self, items: list[Any]) -> list[Answer]:
        """One answer or error entry an item, in order, all from one table version.

        Raises:
            NotPublishedError: no table is loaded.
        """
        batch = await self._batch(items)
        return [
            item.fields(quote_id) if isinstance(item, Prepared) else item
            for item, quote_id in batch.entries
        ]

    async def prices_json(self, items: list[Any]) -> bytes:
        """``prices`` as the JSON of the whole answer."""
        return b'{"prices":' + (await self._batch(items)).encoded + b"}"

    async def explain(self, quote_id: str) -> dict[str, Any]:
        """Why a served price is what it is: recomputed from its record, and traced back.

        Raises:
            UnknownQuoteError: the quote is not on record.
        """
        return await asyncio.to_thread(self._explainer.explain, quote_id)

    def demand_curve(self, request: PriceRequest) -> Answer:
        """The demand curve behind one request.

        Raises:
            UnknownProductError: the product has no published price or no curve.
            InputError: the request contradicts what is known.
            NotPublishedError: no table is loaded.
        """
        catalog = self.loaded()
        found = catalog.find(request.product_id, request.store_id, request.segment)
        if found is None or not found.row.has_price:
            raise UnknownProductError(f"product '{request.product_id}' has no published price")
        curve = demand_curve(found.row, request.context, settings=catalog.settings)
        return {
            **asdict(curve),
            "table_version": catalog.version,
            "model_version": catalog.manifest.model_version,
        }

    def products(self, containing: str, *, limit: int) -> list[str]:
        """Product ids that contain a text."""
        return self.loaded().products(containing, limit=limit)

    async def _batch(self, items: list[Any]) -> Batch:
        """Each item's answer with its quote id, or its error entry with none; put on record."""
        await self._records.admit()
        catalog, started = self.loaded(), time.perf_counter()
        online, plain = await self._batch_online(catalog, items), self._plain(catalog)
        entries: list[Entry] = []
        turn_ends = time.perf_counter() + TURN_SECONDS
        for begin in range(0, len(items), PLAIN_ITEMS):
            part = items[begin : begin + PLAIN_ITEMS]
            found = [plain.find(item) for item in part] if plain else [None] * len(part)
            self._count_plain([one for one in found if one is not None])
            for position, one in enumerate(found, begin):
                if one is not None:
                    entries.append((one, self._records.next()))
                    continue
                added = online.get(position) if online else None
                entries.append(await self._item(catalog, items[position], added))
                turn_ends = await let_others_in(turn_ends)
            turn_ends = await let_others_in(turn_ends)
        batch = Batch(entries, encoded(entries))
        self._records.batch(catalog, items, batch.encoded, added=used_of(online, len(items)))
        metrics.BATCH_TIME.labels(device="cpu").observe(time.perf_counter() - started)
        return batch

    async def _batch_online(self, catalog: Catalog, items: list[Any]) -> dict[int, Enriched]:
        """What the feature store adds to each item that is a request, by position."""
        if self._online.is_silent(catalog):
            return {}
        requests: dict[int, PriceRequest] = {}
        for position, item in enumerate(items):
            with contextlib.suppress(InputError):
                requests[position] = price_request(item)
        added = await self.enriched(catalog, list(requests.values()))
        return dict(zip(requests, added, strict=True))

    async def enriched(self, catalog: Catalog, requests: list[PriceRequest]) -> list[Enriched]:
        """The requests' contexts with what the feature store knows better than the table."""
        if self._online.is_silent(catalog):
            return [Enriched(request.context) for request in requests]
        asked = [
            (catalog.find(request.product_id, request.store_id, request.segment), request.context)
            for request in requests
        ]
        return await self._online.enrich(catalog, asked, now=self._now().timestamp())

    async def _item(self, catalog: Catalog, item: Any, online: Enriched | None) -> Entry:
        try:
            request = price_request(item)
            online = online or Enriched(request.context)
            found = await self._found(catalog, request, online, remote=False)
            return found, self._issue(found)
        except UnknownProductError as failure:
            return item_error(item, failure, status=404), ""
        except (InputError, GuardRailError) as failure:
            return item_error(item, failure, status=400), ""

    def _issue(self, found: Prepared) -> str:
        """Number, check and count an answer that leaves now.

        Raises:
            GuardRailError: its price is outside its guard rails.
        """
        found.check()
        tallies.QUOTES[found.quote.source].count += 1
        if found.change is not None:
            tallies.PRICE_CHANGE.observe(found.change)
        return self._records.next()

    def _issue_plain(self, found: Prepared) -> str:
        """``_issue`` for one of ``PlainPrices``, which has been checked."""
        tallies.QUOTES_OF_TABLE.count += 1
        tallies.LOOKUPS_OF_TABLE.count += 1
        if found.change is not None:
            tallies.PRICE_CHANGE.observe(found.change)
        return self._records.next()

    def _count_plain(self, found: list[Prepared]) -> None:
        """Count answers of ``PlainPrices`` that leave now."""
        tallies.QUOTES_OF_TABLE.count += len(found)
        tallies.LOOKUPS_OF_TABLE.count += len(found)
        tallies.PRICE_CHANGE.observe_all([one.change for one in found if one.change is not None])

    def _plain(self, catalog: Catalog) -> PlainPrices | None:
        """The prices that stand as they are; None where none does.

        The table is valid, nobody need approve it, and nothing is news to it.
        """
        if catalog.approvals.required or self._expired(catalog):
            return None
        if not self._online.is_silent(catalog):
            return None
        kept, freeze = self._plain_kept, self.tables.freeze
        if kept is None or kept.catalog is not catalog or kept.freeze is not freeze:
            kept = self._plain_kept = PlainPrices(catalog, freeze)
        return kept

    async def _found(
        self, catalog: Catalog, request: PriceRequest, online: Enriched, *, remote: bool
    ) -> Prepared:
        """The ladder's answer; says what the feature store added, and that a table expired."""
        overdue = self._now() - catalog.manifest.valid_until
        found = await self._ladder.answer(
            catalog,
            self.tables.freeze,
            request,
            remote=remote,
            overdue_hours=overdue.total_seconds() / 3600,
            context=online.context,
        )
        if online.note:
            found = found.with_reason(online.note)
        if overdue.total_seconds() <= 0:
            return found
        reason = f"the table expired at {catalog.manifest.valid_until.isoformat()}"
        return found.with_reason(reason)

    def loaded(self) -> Catalog:
        """The table in use; NotPublishedError before the first."""
        catalog = self.tables.catalog
        if catalog is None:
            raise NotPublishedError("no price table is loaded yet; run 'pricing run' first")
        return catalog

    def _taken_up(self) -> None:
        """A new table: forget the old one's quotes, and price the latest contexts anew."""
        catalog = self.loaded()
        keys = self._ladder.forget(catalog)
        if self._warming is not None:
            self._warming.cancel()
        if keys:
            self._warming = asyncio.create_task(self._ladder.warm(catalog, keys))

    def _expired(self, catalog: Catalog) -> bool:
        return self._now() > catalog.manifest.valid_until
