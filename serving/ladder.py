"""The fallback ladder of one worker: frozen, published, remembered, cached, live, rule.

Belongs here: the order of the rungs, and the guard that each answer passes. Prices are ``quote``
and ``live_quote``; counting, numbering and batches are ``desk``.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import structlog

from pricing_assets.core.errors import GuardRailError
from serving import metrics, tallies
from serving.answer import Prepared, noted
from serving.catalog import Catalog, Found
from serving.context import Context
from serving.freeze import Freeze
from serving.live_quote import quote
from serving.price_cache import PriceCache, cache_key
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
from serving.wire import PriceRequest
from serving.worker_cache import WorkerCache

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A known product in a context that can move its price."""

    catalog: Catalog
    found: Found
    context: Context
    meaning: Context
    key: str

    @property
    def key_here(self) -> str:
        """The key in the worker, whose answers carry the note on which row answers."""
        return self.key + self.found.note


class Ladder:
    """Finds the answer to one request on the first rung that has one."""

    def __init__(self, cache: PriceCache, *, ttl_seconds: float) -> None:
        self._cache = cache
        self._here: WorkerCache[Prepared] = WorkerCache(ttl_seconds=ttl_seconds)

    def forget(self) -> None:
        """Forget what the worker remembers, for a new table."""
        self._here.forget()

    def plain(self, catalog: Catalog, freeze: Freeze, product_id: str) -> Prepared | None:
        """The published price of a product without context; None leaves it to ``answer``."""
        if freeze.holds(product_id):
            return None
        found = catalog.published(product_id)
        if found is not None:
            tallies.CACHE_LOOKUPS["table"].count += 1
        return found

    async def answer(
        self, catalog: Catalog, freeze: Freeze, request: PriceRequest, *, remote: bool
    ) -> Prepared:
        """The answer to ``request``; ``remote`` lets it wait for Redis.

        Raises:
            UnknownProductError: the product is in no table and nothing is given to price it by.
            InputError: the request contradicts what is known.
        """
        product, context = request.product_id, request.context
        found = catalog.find(product, request.store_id, request.segment)
        row = found.row if found else None
        if freeze.holds(product):
            currency = catalog.manifest.currency
            return catalog.prepare(frozen_quote(product, row, context, currency=currency), row)
        if found is None or not found.row.has_price:
            return catalog.prepare(rule_quote(product, context, settings=catalog.settings), None)
        check_plausible(found.row, context)
        meaning = found.row.meaning(context)
        if meaning.is_empty:
            tallies.CACHE_LOOKUPS["table"].count += 1
            return catalog.prepare(noted(published_quote(found.row), found.note), row)
        key = cache_key(catalog.version, found.row, meaning)
        return await self._in_context(_Asked(catalog, found, context, meaning, key), remote=remote)

    async def _in_context(self, asked: _Asked, *, remote: bool) -> Prepared:
        """Remembered by this worker, cached in Redis, or live."""
        kept = self._here.get(asked.key_here)
        if kept is not None:
            tallies.CACHE_LOOKUPS["worker"].count += 1
            return kept
        cached = await self._cached(asked) if remote else None
        if cached is not None:
            tallies.CACHE_LOOKUPS["redis"].count += 1
            return self._remember(asked, cached)
        tallies.CACHE_LOOKUPS["computed"].count += 1
        live = self._live(asked)
        self._remember(asked, live)
        if remote:
            self._cache.keep(asked.key, live)
        return asked.catalog.prepare(noted(live, asked.found.note), asked.found.row)

    def _remember(self, asked: _Asked, answer: Quote) -> Prepared:
        source = "cache" if answer.source == "live" else answer.source
        kept = replace(noted(answer, asked.found.note), source=source)
        ready = asked.catalog.prepare(kept, asked.found.row)
        self._here.keep(asked.key_here, ready)
        return ready

    async def _cached(self, asked: _Asked) -> Quote | None:
        """The quote in Redis, guarded again; None where there is none fit to serve."""
        kept = await self._cache.find(asked.key)
        row = asked.found.row
        if kept is None or kept.product_id != row.product_id or kept.currency != row.currency:
            return None
        bounds = bounds_of(row, asked.meaning, settings=asked.catalog.settings)
        try:
            return guarded(
                kept, minor=in_minor(kept.recommended_price, row.exponent), bounds=bounds
            )
        except GuardRailError:
            metrics.GUARD_RAIL_REFUSALS.labels(origin="cache").inc()
            return None

    def _live(self, asked: _Asked) -> Quote:
        """The live price; the published one where a live one breaks a guard rail."""
        started = time.perf_counter()
        row: PricedRow = asked.found.row
        try:
            return quote(row, asked.context, settings=asked.catalog.settings)
        except GuardRailError:
            metrics.GUARD_RAIL_REFUSALS.labels(origin="live").inc()
            _log.exception("live_price_refused", product_id=row.product_id)
            return published_quote(row)
        finally:
            tallies.INFERENCE_TIME.observe(time.perf_counter() - started)
