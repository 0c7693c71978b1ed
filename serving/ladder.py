"""The fallback ladder of one worker: which price answers, and which when that one fails.

A frozen product's current price comes before all, then the standing price of one whose new price is
not approved. Else, for a request that brings a context: the
live quote, or the same one kept for a while in this worker or in Redis; where the live one fails,
one that was kept longer. Then the published price; then a rule on cost and rival; then the current
price. Each answer is guarded anew and says its rung in ``source``; a table that expired longer ago
than the settings allow gives no live quote, and later no price at all.

Belongs here: the order of the rungs and their ages. Prices are ``quote`` and ``live_quote``;
counting, numbering and batches are ``desk``.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, replace
from typing import Any

import structlog

from pricing_assets.core.errors import GuardRailError, InputError, UnknownProductError
from pricing_assets.core.serving_parameters import ServingParameters
from serving import metrics, tallies
from serving.answer import Prepared, noted
from serving.carried_quotes import KeptQuote, TableBefore
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
)
from serving.rule_quote import current_quote, has_rule, rule_quote
from serving.wire import PriceRequest
from serving.worker_cache import WorkerCache

WARM_QUOTES = 1000
"""Contexts asked last that are priced anew when a table changes, before they are asked again."""
_NOTE = "\x1f"

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
        return self.key + _NOTE + self.found.note

    def key_under(self, version: str) -> str:
        """``key_here`` of another table."""
        return cache_key(version, self.found.row, self.meaning) + _NOTE + self.found.note


FAULTS = (GuardRailError, ArithmeticError, LookupError, TypeError, ValueError)
"""What a rung may fail with: a price outside its rails, or a row that holds no proper numbers."""


@dataclass(frozen=True, slots=True)
class PlainPrices:
    """The published prices that stand as they are now: the first rung of most requests."""

    catalog: Catalog
    freeze: Freeze

    def find(self, value: Any) -> Prepared | None:
        """The price of what a decoded body asks for, checked once more.

        None leaves to ``Ladder.answer`` whatever asks for more than a product, and a product that
        is unknown, frozen, or without a price that may leave. Whoever serves it counts it.
        """
        if type(value) is not dict or len(value) != 1:
            return None
        product = value.get("product_id")
        if type(product) is not str or self.freeze.holds(product):
            return None
        try:
            found = self.catalog.published(product)
        except FAULTS:
            return None
        return found if found is not None and found.holds else None


class Ladder:
    """Finds the answer to one request on the first rung that has one."""

    def __init__(self, cache: PriceCache, *, serving: ServingParameters) -> None:
        self._cache = cache
        self._serving = serving
        self._here = self._no_quotes()
        self._made_by: Catalog | None = None
        self._before: TableBefore | None = None

    def _no_quotes(self) -> WorkerCache[KeptQuote]:
        return WorkerCache(ttl_seconds=self._serving.cache_ttl_seconds)

    def forget(self, catalog: Catalog) -> list[str]:
        """Begin anew for a new table; returns what ``warm`` takes.

        What is kept stays at hand for one table more: a quote whose row is unchanged is taken over
        when it is asked for.
        """
        latest, old, before = self._here.latest(WARM_QUOTES), self._made_by, self._before
        if old is not None and old.version != catalog.version:
            before = TableBefore(old.version, old.settings, self._here)
        self._before = before and before.serves(catalog)
        self._here, self._made_by = self._no_quotes(), None
        return latest

    async def warm(self, catalog: Catalog, keys: list[str]) -> None:
        """Price for a new table what was asked of the old one, a quote between two requests."""
        for key in keys:
            try:
                asked = _asked_again(catalog, key)
                if asked is not None and self._kept(asked) is None:
                    self._remember(asked, self._live(asked))
            except (*FAULTS, InputError):
                continue  # whoever asks again learns what is wrong
            finally:
                await asyncio.sleep(0)

    async def answer(
        self,
        catalog: Catalog,
        freeze: Freeze,
        request: PriceRequest,
        *,
        remote: bool,
        overdue_hours: float = 0.0,
        context: Context | None = None,
    ) -> Prepared:
        """The answer to ``request``.

        Args:
            catalog: the table in use.
            freeze: products that are held.
            request: what is asked.
            remote: whether it may wait for Redis.
            overdue_hours: time since the table expired; 0 or less where it is valid.
            context: in place of the request's own, where the feature store adds to it.

        Raises:
            UnknownProductError: the product is in no table and nothing is given to price it by.
            InputError: the request contradicts what is known.
            GuardRailError: no rung has a price that may be served.
        """
        product = request.product_id
        context = request.context if context is None else context
        found = catalog.find(product, request.store_id, request.segment)
        row = found.row if found else None
        if freeze.holds(product):
            currency = catalog.manifest.currency
            return catalog.prepare(frozen_quote(product, row, context, currency=currency), row)
        if found is None or not found.row.has_price:
            return self._cold_start(catalog, row, request, context)
        check_plausible(found.row, context)
        held = catalog.approvals.held_quote(found.row, context)
        if held is not None:
            return catalog.prepare(noted(held, found.note), found.row)
        meaning = found.row.meaning(context)
        key = "" if meaning.is_empty else cache_key(catalog.version, found.row, meaning)
        asked = _Asked(catalog, found, context, meaning, key)
        if overdue_hours > self._serving.table_max_overdue_hours:
            return self._without_table(asked, why="the table is too old to be used")
        if meaning.is_empty:
            tallies.CACHE_LOOKUPS["table"].count += 1
            return self._published(asked)
        if overdue_hours > self._serving.live_max_overdue_hours:
            return self._published(asked, why="the table is too old to price the context by")
        return await self._in_context(asked, remote=remote)

    def _cold_start(
        self, catalog: Catalog, row: PricedRow | None, request: PriceRequest, context: Context
    ) -> Prepared:
        """By rule, for a product that the table gives no price."""
        markup = catalog.markup(row) if row is not None else None
        answer = rule_quote(
            request.product_id, context, settings=catalog.settings, row=row, markup=markup
        )
        return catalog.prepare(answer, None)

    async def _in_context(self, asked: _Asked, *, remote: bool) -> Prepared:
        """Remembered by this worker, cached in Redis, or live."""
        kept = self._kept(asked)
        if kept is not None:
            tallies.CACHE_LOOKUPS["worker"].count += 1
            return kept
        cached = await self._cached(asked) if remote else None
        if cached is not None:
            tallies.CACHE_LOOKUPS["redis"].count += 1
            return self._remember(asked, cached)
        tallies.CACHE_LOOKUPS["computed"].count += 1
        try:
            live = self._live(asked)
            ready = asked.catalog.prepare(noted(live, asked.found.note), asked.found.row)
        except FAULTS as failure:
            _failed("live", failure, asked)
            return self._without_live(asked)
        self._remember(asked, live)
        if remote:
            self._cache.keep(asked.key, live)
        return ready

    def _kept(self, asked: _Asked) -> Prepared | None:
        """What this worker remembers, of this table or, for an unchanged row, of the one before."""
        kept = self._here.get(asked.key_here)
        if kept is not None:
            return kept.ready
        if self._before is None:
            return None
        found = self._before.find(asked.key_under(self._before.version), asked.found.row)
        return None if found is None else self._keep(asked, found)

    def _without_live(self, asked: _Asked) -> Prepared:
        """The same quote, kept longer than usual; else the published price."""
        oldest = self._serving.cache_max_age_seconds
        kept = self._here.last(asked.key_here, max_age_seconds=oldest)
        if kept is not None:
            return kept.ready
        return self._published(asked, why="the live price could not be made")

    def _published(self, asked: _Asked, *, why: str = "") -> Prepared:
        """The published price; below it where that one breaks its own guard rails."""
        found = asked.found
        try:
            answer = published_quote(found.row)
            if why:
                reason = f"{why}, so the published price stands"
                answer = replace(answer, reasons=(*answer.reasons, reason))
            return asked.catalog.prepare(noted(answer, found.note), found.row)
        except FAULTS as failure:
            _failed("table", failure, asked)
            return self._without_table(asked, why="the published price cannot be used")

    def _without_table(self, asked: _Asked, *, why: str) -> Prepared:
        """By rule where a cost or a rival is known, else the current price.

        Raises:
            GuardRailError: neither is a price that may be served.
        """
        catalog, row, settings = asked.catalog, asked.found.row, asked.catalog.settings
        if has_rule(asked.context, row):
            try:
                answer = rule_quote(
                    row.product_id,
                    asked.context,
                    settings=settings,
                    row=row,
                    markup=catalog.markup(row),
                    why=why,
                )
                return catalog.prepare(noted(answer, asked.found.note), row)
            except (*FAULTS, InputError) as failure:
                _failed("rule", failure, asked)
        try:
            answer = current_quote(row, asked.context, settings=settings)
            return catalog.prepare(noted(answer, asked.found.note), row)
        except (*FAULTS, InputError, UnknownProductError) as failure:
            raise GuardRailError(
                f"product '{row.product_id}' has no price that may be served: {failure}"
            ) from failure

    def _remember(self, asked: _Asked, answer: Quote) -> Prepared:
        source = "cache" if answer.source == "live" else answer.source
        return self._keep(asked, replace(noted(answer, asked.found.note), source=source))

    def _keep(self, asked: _Asked, answer: Quote) -> Prepared:
        ready = asked.catalog.prepare(answer, asked.found.row)
        self._made_by = asked.catalog
        self._here.keep(asked.key_here, KeptQuote(ready, asked.found.row))
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
        """The live price.

        Raises:
            GuardRailError: the row itself, from which it would start, breaks its guard rails.
        """
        started, row = time.perf_counter(), asked.found.row
        if not row.is_sound:
            raise GuardRailError(f"the published price of '{row.product_id}' is not in its bounds")
        try:
            return quote(row, asked.context, settings=asked.catalog.settings)
        finally:
            tallies.INFERENCE_TIME.observe(time.perf_counter() - started)


def _asked_again(catalog: Catalog, key: str) -> _Asked | None:
    """What a key of an older table asks of this one; None where the published price answers.

    Raises:
        ValueError: it is no such key.
    """
    _, product, store, segment, meant, note = key.split(_NOTE)
    found = catalog.find(product, None if note else store, segment)
    if found is None or not found.row.has_price:
        return None
    context = Context.of_key(meant)
    meaning = found.row.meaning(context)
    if meaning.is_empty:
        return None
    check_plausible(found.row, context)
    return _Asked(catalog, found, context, meaning, cache_key(catalog.version, found.row, meaning))


def _failed(rung: str, failure: Exception, asked: _Asked) -> None:
    """Count a rung that could not answer, and log why."""
    metrics.RUNG_FAILURES.labels(rung=rung).inc()
    if isinstance(failure, GuardRailError):
        metrics.GUARD_RAIL_REFUSALS.labels(origin=rung).inc()
    product = asked.found.row.product_id
    _log.error("rung_failed", rung=rung, product_id=product, reason=str(failure))
