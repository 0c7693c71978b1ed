"""Quotes kept under one table, taken over by the next where nothing that they follow from differs.

A live quote follows from its row, its context and the settings, and from nothing else. So where a
new table has the same row under the same settings, pricing anew would give the same quote: it is
stamped with the new version in its place. Any other row, and any other setting, is priced anew.
Belongs here: that comparison. Which rung answers is ``ladder``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from pricing_assets.core.settings import PricingSettings
from serving.answer import Prepared
from serving.catalog import Catalog
from serving.live_demand import CurveRow
from serving.quote import PricedRow, Quote
from serving.worker_cache import WorkerCache

_ROW: Callable[[Any], tuple[Any, ...]] = attrgetter(
    *(name for name in PricedRow.__slots__ if name != "curve")
)
_CURVE: Callable[[Any], tuple[Any, ...]] = attrgetter(*CurveRow.__slots__)


@dataclass(frozen=True, slots=True)
class KeptQuote:
    """An answer and the row that it was made from."""

    ready: Prepared
    row: PricedRow


@dataclass(frozen=True, slots=True)
class TableBefore:
    """What the worker kept under the table before, and under which version and settings."""

    version: str
    settings: PricingSettings
    kept: WorkerCache[KeptQuote]

    def serves(self, catalog: Catalog) -> TableBefore | None:
        """This, where the new table has the same settings; else None."""
        return self if self.settings == catalog.settings else None

    def find(self, key: str, row: PricedRow) -> Quote | None:
        """The quote kept under ``key``, a key of that table, where ``row`` gives it again."""
        found = self.kept.get(key)
        return found.ready.quote if found is not None and is_same(found.row, row) else None


def is_same(one: PricedRow, other: PricedRow) -> bool:
    """Whether two rows say the same throughout; an unknown number is the same as another one."""
    if not _equal(_ROW(one), _ROW(other)):
        return False
    if one.curve is None or other.curve is None:
        return one.curve is other.curve
    return _equal(_CURVE(one.curve), _CURVE(other.curve))


def _equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return one == other or all(
        a == b or (a != a and b != b) for a, b in zip(one, other, strict=True)
    )
