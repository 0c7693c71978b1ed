"""The table and the freeze in use, and the watch that swaps them while requests are answered.

Belongs here: loading, refusing and hot-swapping published tables in one worker. What is answered
from them is ``desk``; reading files is ``price_store``.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import time
from collections.abc import Callable

import structlog

from pricing_assets.core.errors import IntegrityError, NotPublishedError
from pricing_assets.core.settings import PricingSettings
from serving import metrics
from serving.catalog import Catalog
from serving.decision_log import ApprovalsReader, DecisionLog
from serving.freeze import Freeze
from serving.price_store import PointerStamp, PriceStore

POLL_SECONDS = 0.5
"""How often the pointer and the freeze are looked at: both reach a worker well within 2 s."""
RETRY_SECONDS = 10.0
"""Pause before a table that was refused is tried again while the pointer stays."""
WARM_ROWS = 2_000
"""Best sellers whose answers are made before a table is taken up."""
GC_THRESHOLDS = (10_000, 20, 20)
"""Objects, and collections of the younger generation, between two collections of a worker."""

_log = structlog.get_logger(__name__)


class TableWatch:
    """What one worker answers from: ``catalog`` (None before the first table) and ``freeze``.

    Both are replaced whole, never changed, so that a request keeps the one it began with.
    """

    def __init__(
        self, store: PriceStore, *, settings: PricingSettings, taken_up: Callable[[], None]
    ) -> None:
        self.catalog: Catalog | None = None
        self.freeze = Freeze(everything=True)
        self._store = store
        self._settings = settings
        self._taken_up = taken_up
        self._approvals = ApprovalsReader(DecisionLog(store.root), settings.serving)
        self._tried: PointerStamp | None = None
        self._retry_at = math.inf
        self._task: asyncio.Task[None] | None = None
        self._serves = False

    async def start(self) -> None:
        """Load the table, if there is one, and watch for the next."""
        self._serves = True
        gc.set_threshold(*GC_THRESHOLDS)
        await self.refresh()
        self._task = asyncio.create_task(self._watch())

    async def stop(self) -> None:
        """End the watch."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def refresh(self) -> None:
        """Take up the freeze, the approvals and the current table as they are now."""
        self.freeze = await asyncio.to_thread(self._store.frozen)
        approvals = await asyncio.to_thread(self._approvals.read)
        if self.catalog is not None and self.catalog.approvals is not approvals:
            self.catalog = self.catalog.under(approvals)
        metrics.FROZEN.set(-1 if self.freeze.everything else len(self.freeze.products))
        stamp = self._store.pointer_stamp()
        if stamp is None or (stamp == self._tried and time.monotonic() < self._retry_at):
            return
        self._tried, self._retry_at = stamp, math.inf
        try:
            catalog = await asyncio.to_thread(self._load)
        except (IntegrityError, NotPublishedError, OSError) as failure:
            self._refuse(failure)
            return
        self._take_up(catalog)

    def _load(self) -> Catalog:
        catalog = Catalog(self._store.read_current(), settings=self._settings)
        catalog.warm_up(WARM_ROWS)
        return catalog.under(self._approvals.read())

    def _take_up(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._taken_up()
        if self._serves:
            # A full collection would look at every row of the table, and hold all requests for it.
            gc.freeze()
        manifest = catalog.manifest
        metrics.TABLE_LOADS.labels(outcome="loaded").inc()
        metrics.VALID_UNTIL.set(manifest.valid_until.timestamp())
        metrics.PUBLISHED_AT.set(manifest.published_at.timestamp())
        metrics.REVENUE_IMPACT.labels(currency=manifest.currency).set(catalog.revenue_impact())
        _log.info("table_loaded", table_version=catalog.version, rows=len(catalog))

    def _refuse(self, failure: Exception) -> None:
        """Keep the table in use, and try again later."""
        self._retry_at = time.monotonic() + RETRY_SECONDS
        metrics.TABLE_LOADS.labels(outcome="refused").inc()
        in_use = self.catalog.version if self.catalog else None
        _log.error("table_refused", reason=str(failure), still_serving=in_use)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(POLL_SECONDS)
            try:
                await self.refresh()
            except Exception:  # noqa: BLE001 (the watch must outlive any failure to look)
                _log.exception("watch_failed")
