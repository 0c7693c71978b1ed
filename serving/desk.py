"""The pricing desk: one per worker, it holds the table in use and answers requests from it.

Belongs here: the order of the fallback ladder (frozen, published table, cache, live, rule), and
counting. The table in use is ``table_watch``; prices are ``quote`` and ``live_quote``; HTTP is
``gate``; the BentoML service is ``service``.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import structlog

from pricing_assets.core.errors import (
    GuardRailError,
    InputError,
    NotPublishedError,
    UnknownProductError,
)
from pricing_assets.core.settings import PricingSettings
from serving import metrics
from serving.catalog import Catalog, Found
from serving.curve_points import demand_curve
from serving.home import Home
from serving.live_quote import quote
from serving.price_cache import PriceCache, cache_key
from serving.price_store import PriceStore
from serving.quote import (
    PricedRow,
    Quote,
    bounds_of,
    check_plausible,
    frozen_quote,
    guarded,
    in_minor,
    published_quote,
    rule_quote,
)
from serving.table_watch import TableWatch
from serving.wire import PriceRequest, price_request

Answer = dict[str, Any]
Now = Callable[[], datetime]

YIELD_EVERY = 50
"""Items of a batch between two turns for other requests."""

_log = structlog.get_logger(__name__)


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
    """Answers price requests from the published table of one home."""

    def __init__(
        self,
        store: PriceStore,
        cache: PriceCache,
        *,
        settings: PricingSettings,
        now: Now = _utc_now,
    ) -> None:
        self._cache = cache
        self._now = now
        self._tables = TableWatch(store, settings=settings, taken_up=cache.forget)

    @classmethod
    def of_home(cls, home: Home, *, settings: PricingSettings, redis_url: str | None) -> Desk:
        """The desk of a home; nothing is read before ``start`` or ``refresh``."""
        serving = settings.serving
        cache = PriceCache.at(
            redis_url,
            ttl_seconds=serving.cache_ttl_seconds,
            timeout_ms=serving.redis_timeout_ms,
        )
        return cls(PriceStore(home.tables), cache, settings=settings)

    async def start(self) -> None:
        """Load the table, if there is one, and watch for the next."""
        await self._tables.start()

    async def stop(self) -> None:
        """End the watch and the connections."""
        await self._tables.stop()
        await self._cache.close()

    async def refresh(self) -> None:
        """Take up the freeze and the current table as they are now."""
        await self._tables.refresh()

    @property
    def readiness(self) -> Readiness:
        """What /readyz says."""
        catalog = self._tables.catalog
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
        """
        catalog = self._loaded()
        return self._answer(catalog, await self._quote(catalog, request, remote=True), request)

    async def prices(self, items: list[Any]) -> list[Answer]:
        """One answer or error entry an item, in order, all from one table version.

        Raises:
            NotPublishedError: no table is loaded.
        """
        catalog, started = self._loaded(), time.perf_counter()
        answers = []
        for position, item in enumerate(items):
            if position % YIELD_EVERY == YIELD_EVERY - 1:
                await asyncio.sleep(0)
            answers.append(await self._item(catalog, item))
        metrics.BATCH_TIME.labels(device="cpu").observe(time.perf_counter() - started)
        return answers

    def demand_curve(self, request: PriceRequest) -> Answer:
        """The demand curve behind one request.

        Raises:
            UnknownProductError: the product has no published price or no curve.
            InputError: the request contradicts what is known.
            NotPublishedError: no table is loaded.
        """
        catalog = self._loaded()
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
        return self._loaded().products(containing, limit=limit)

    async def _item(self, catalog: Catalog, item: Any) -> Answer:
        try:
            request = price_request(item)
            found = await self._quote(catalog, request, remote=False)
            return self._answer(catalog, found, request)
        except UnknownProductError as failure:
            return _item_error(item, failure, status=404)
        except (InputError, GuardRailError) as failure:
            return _item_error(item, failure, status=400)

    async def _quote(self, catalog: Catalog, request: PriceRequest, *, remote: bool) -> Quote:
        """The ladder."""
        product, context = request.product_id, request.context
        found = catalog.find(product, request.store_id, request.segment)
        row = found.row if found else None
        if self._tables.freeze.holds(product):
            return frozen_quote(product, row, context, currency=self._currency(catalog))
        if found is None or row is None or not row.has_price:
            return rule_quote(product, context, settings=catalog.settings)
        answer = await self._known(catalog, row, request, remote=remote)
        metrics.PRICE_CHANGE.observe(abs(answer.recommended_price / row.current_price - 1))
        return _noted(answer, found)

    async def _known(
        self, catalog: Catalog, row: PricedRow, request: PriceRequest, *, remote: bool
    ) -> Quote:
        """Published, cached or live; the published price where a live one breaks a guard rail."""
        context = request.context
        check_plausible(row, context)
        meaning = row.meaning(context)
        if meaning.is_empty:
            metrics.CACHE_LOOKUPS.labels(tier="table").inc()
            return published_quote(row)
        key = cache_key(catalog.version, row, meaning)
        bounds = bounds_of(row, meaning, settings=catalog.settings)
        kept = await self._kept(key, row, remote=remote)
        try:
            if kept is not None:
                minor = in_minor(kept.recommended_price, row.exponent)
                return guarded(replace(kept, source="cache"), minor=minor, bounds=bounds)
        except GuardRailError:
            metrics.GUARD_RAIL_REFUSALS.labels(origin="cache").inc()
        answer = self._live(catalog, row, request)
        self._cache.keep(key, answer, remote=remote)
        return answer

    async def _kept(self, key: str, row: PricedRow, *, remote: bool) -> Quote | None:
        tier, kept = "worker", self._cache.local(key)
        if kept is None and remote:
            tier, kept = "redis", await self._cache.remote(key)
            if kept is not None and kept.product_id == row.product_id:
                self._cache.keep(key, kept, remote=False)
        usable = kept is not None and kept.product_id == row.product_id
        metrics.CACHE_LOOKUPS.labels(tier=tier if usable else "computed").inc()
        return kept if usable else None

    def _live(self, catalog: Catalog, row: PricedRow, request: PriceRequest) -> Quote:
        started = time.perf_counter()
        try:
            return quote(row, request.context, settings=catalog.settings)
        except GuardRailError:
            metrics.GUARD_RAIL_REFUSALS.labels(origin="live").inc()
            _log.exception("live_price_refused", product_id=row.product_id)
            return published_quote(row)
        finally:
            metrics.INFERENCE_TIME.observe(time.perf_counter() - started)

    def _answer(self, catalog: Catalog, found: Quote, request: PriceRequest) -> Answer:
        """The wire's fields of a quote, counted."""
        metrics.QUOTES.labels(source=found.source).inc()
        reasons = list(found.reasons)
        if self._expired(catalog):
            reasons.append(f"the table expired at {catalog.manifest.valid_until.isoformat()}")
        return {
            "product_id": request.product_id,
            "recommended_price": found.recommended_price,
            "confidence": found.confidence,
            "currency": found.currency,
            "price_floor": found.price_floor,
            "price_ceiling": found.price_ceiling,
            "expected_units": found.expected_units,
            "source": found.source,
            "reasons": reasons,
            "table_version": catalog.version,
            "model_version": catalog.manifest.model_version,
            "quote_id": uuid.uuid4().hex,
        }

    def _loaded(self) -> Catalog:
        catalog = self._tables.catalog
        if catalog is None:
            raise NotPublishedError("no price table is loaded yet; run 'pricing run' first")
        return catalog

    def _expired(self, catalog: Catalog) -> bool:
        return self._now() > catalog.manifest.valid_until

    def _currency(self, catalog: Catalog) -> str:
        return catalog.manifest.currency


def _noted(answer: Quote, found: Found) -> Quote:
    if not found.note:
        return answer
    return replace(answer, reasons=(found.note, *answer.reasons))


def _item_error(item: Any, failure: Exception, *, status: int) -> Answer:
    metrics.ERRORS.labels(status=str(status)).inc()
    product_id = item.get("product_id") if isinstance(item, dict) else None
    named = {"product_id": product_id[:200]} if isinstance(product_id, str) else {}
    return {**named, "error": str(failure)}
