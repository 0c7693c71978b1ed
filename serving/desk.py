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
from serving.catalog import Catalog
from serving.curve_points import demand_curve
from serving.explain import Explainer
from serving.feature_store import FeatureStore
from serving.home import Home
from serving.ladder import Ladder
from serving.online_context import Enriched, OnlineContext
from serving.price_cache import PriceCache
from serving.price_store import PriceStore
from serving.recorder import Recorder
from serving.table_watch import TableWatch
from serving.wire import PriceRequest, encode_json, price_request

Now = Callable[[], datetime]

TURN_SECONDS = 0.002
"""A batch lets other requests in when it has computed for this long."""
LOOK_EVERY = 8
"""Items of a batch between two looks at the clock."""


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


@dataclass(frozen=True, slots=True)
class _Batch:
    """The answers of a batch with their quote ids, and the same as a JSON list."""

    entries: list[tuple[Prepared | Answer, str]]
    encoded: bytes


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
        found, used = self._plain(catalog, request.model_dump(exclude_unset=True)), None
        if found is None:
            (online,) = await self.enriched(catalog, [request])
            found, used = await self._found(catalog, request, online, remote=True), online.used
        quote_id = self._issue(found, request)
        self._records.one(catalog, request, found.encoded(quote_id), added=used)
        return found.fields(quote_id)

    async def price_json(self, value: Any) -> bytes:
        """The answer to one decoded body as JSON; errors as in ``price``, and for a bad body."""
        await self._records.admit()
        catalog = self.loaded()
        found, request, used = self._plain(catalog, value), None, None
        if found is None:
            request = price_request(value)
            (online,) = await self.enriched(catalog, [request])
            found, used = await self._found(catalog, request, online, remote=True), online.used
        answer = found.encoded(self._issue(found, request))
        self._records.one(catalog, value, answer, added=used)
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

    async def _batch(self, items: list[Any]) -> _Batch:
        """Each item's answer with its quote id, or its error entry with none; put on record."""
        await self._records.admit()
        catalog, started = self.loaded(), time.perf_counter()
        turn_ends = started + TURN_SECONDS
        online, plain = await self._batch_online(catalog, items), self._is_plain_time(catalog)
        entries: list[tuple[Prepared | Answer, str]] = []
        for position, item in enumerate(items):
            alone = plain and type(item) is dict and len(item) == 1
            found = self._alone(catalog, item) if alone else None
            if found is not None:
                entries.append((found, self._issue(found, None)))
            else:
                added = online.get(position) if online else None
                entries.append(await self._item(catalog, item, added))
            if position % LOOK_EVERY == 0 and time.perf_counter() > turn_ends:
                await asyncio.sleep(0)
                turn_ends = time.perf_counter() + TURN_SECONDS
        batch = _Batch(entries, _encoded(entries))
        self._records.batch(catalog, items, batch.encoded, added=_used(online, len(items)))
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

    async def _item(
        self, catalog: Catalog, item: Any, online: Enriched | None
    ) -> tuple[Prepared | Answer, str]:
        try:
            request = price_request(item)
            online = online or Enriched(request.context)
            found = await self._found(catalog, request, online, remote=False)
            return found, self._issue(found, request)
        except UnknownProductError as failure:
            return _item_error(item, failure, status=404), ""
        except (InputError, GuardRailError) as failure:
            return _item_error(item, failure, status=400), ""

    def _issue(self, found: Prepared, request: PriceRequest | None) -> str:
        """Number, check and count an answer that leaves now; None asked for the product alone.

        Raises:
            GuardRailError: its price is outside its guard rails.
        """
        found.check()
        tallies.QUOTES[found.quote.source].count += 1
        if found.change is not None:
            tallies.PRICE_CHANGE.observe(found.change)
        return self._records.next()

    def _plain(self, catalog: Catalog, value: Any) -> Prepared | None:
        """The published price, where ``value`` names a product and nothing else."""
        if type(value) is not dict or len(value) != 1 or not self._is_plain_time(catalog):
            return None
        return self._alone(catalog, value)

    def _is_plain_time(self, catalog: Catalog) -> bool:
        """Published prices stand as they are: the table is valid, and nothing is news to it."""
        return not self._expired(catalog) and self._online.is_silent(catalog)

    def _alone(self, catalog: Catalog, value: dict[str, Any]) -> Prepared | None:
        """The published price, where the one field of ``value`` names a known product."""
        product = value.get("product_id")
        if type(product) is not str:
            return None
        return self._ladder.plain(catalog, self.tables.freeze, product)

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
        keys, catalog = self._ladder.forget(), self.tables.catalog
        if self._warming is not None:
            self._warming.cancel()
        if keys and catalog is not None:
            self._warming = asyncio.create_task(self._ladder.warm(catalog, keys))

    def _expired(self, catalog: Catalog) -> bool:
        return self._now() > catalog.manifest.valid_until


def _used(online: dict[int, Enriched], count: int) -> list[dict[str, Any] | None] | None:
    """What was added to each of ``count`` items, for the record; None where nothing was."""
    if not any(added.used for added in online.values()):
        return None
    return [online[i].used if i in online else None for i in range(count)]


def _encoded(entries: list[tuple[Prepared | Answer, str]]) -> bytes:
    parts = [
        item.encoded(quote_id) if isinstance(item, Prepared) else encode_json(item)
        for item, quote_id in entries
    ]
    return b"[" + b",".join(parts) + b"]"


def _item_error(item: Any, failure: Exception, *, status: int) -> Answer:
    metrics.ERRORS.labels(status=str(status)).inc()
    product_id = item.get("product_id") if isinstance(item, dict) else None
    named = {"product_id": _short(product_id)} if isinstance(product_id, str) else {}
    return {**named, "error": str(failure)}


def _short(product_id: str) -> str:
    """The start of an id that may be none: half a character cannot be written as JSON."""
    return product_id[:200].encode("utf-8", "replace").decode()
