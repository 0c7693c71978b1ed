"""What prices were in force at an earlier time, from the published tables: a durable reference.

Belongs here: the reference of the day's largest change. Stored versions are written once and never
changed, so the answer does not depend on caches, quotes or what callers say. The rule itself is
``core.price_windows``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pyarrow as pa

from pricing_assets.core.errors import IntegrityError
from serving.price_store import PriceStore
from serving.published_table import Manifest
from serving.table_gate import KEY, matching_rows

DAY = timedelta(hours=24)

_COLUMNS = (*KEY, "recommended_price", "current_price")
_REFERENCE = "reference_price_24h"


@dataclass(frozen=True, slots=True)
class DayReference:
    """Prices in force a day ago.

    Attributes:
        prices: product_id, store_id, reference_price_24h (currency units, null unknown).
        note: which version they are from, or why there is none.
    """

    prices: pa.Table
    note: str


def day_reference(store: PriceStore, *, now: datetime) -> DayReference:
    """The price of each product 24 hours before ``now``.

    The newest version published by then, where it was still valid then, gives its prices. A
    product that it lacks, or all where there is no such version, takes what the newest table says
    of the time before it: its own reference, else the current price that it replaced. So the
    reference of a product that is published ever so often moves only once its day has passed.

    A version that is damaged gives nothing, and the note says so; a version that claims to be
    from after ``now`` counts as published now.
    """
    versions, at = store.versions(), now - DAY
    if not versions:
        return DayReference(_nothing(), "no table was published before")
    newest, base = store.manifest(versions[-1]), _in_force(store, versions, at=at)
    recent = newest.published_at > at
    parts: list[pa.Table] = []
    notes: list[str] = []
    for manifest, is_base in ((base, True), (newest if recent else None, False)):
        if manifest is None:
            continue
        try:
            parts.append(_prices(store, manifest, is_base=is_base))
            notes.append(manifest.table_version)
        except IntegrityError as failure:
            notes.append(f"{manifest.table_version} is damaged ({failure})")
    if not parts:
        return DayReference(_nothing(), "; ".join(notes) or "no table was valid a day ago")
    return DayReference(_joined(parts), "; ".join(notes))


def _in_force(store: PriceStore, versions: list[str], *, at: datetime) -> Manifest | None:
    """The newest version published by ``at``, where it was valid then."""
    for version in reversed(versions):
        manifest = store.manifest(version)
        if manifest.published_at <= at:
            return manifest if manifest.valid_until > at else None
    return None


def _prices(store: PriceStore, manifest: Manifest, *, is_base: bool) -> pa.Table:
    table = store.read_prices(manifest.table_version, columns=(*_COLUMNS, _REFERENCE))
    price = _floats(table, "recommended_price")
    if not is_base:
        reference = _floats(table, _REFERENCE)
        price = np.where(np.isfinite(reference), reference, _floats(table, "current_price"))
    return _reference_table(table, price)


def _joined(parts: list[pa.Table]) -> pa.Table:
    """The first table, its gaps and its missing rows filled from the second."""
    if len(parts) == 1:
        return parts[0]
    first, second = parts
    place = matching_rows(second, first)
    price, other = _floats(first, _REFERENCE), _floats(second, _REFERENCE)
    filled = np.where(np.isfinite(price) | (place < 0), price, other[place])
    missing = np.flatnonzero(matching_rows(first, second) < 0)
    return pa.concat_tables([_reference_table(first, filled), second.take(missing)])


def _reference_table(table: pa.Table, price: np.ndarray) -> pa.Table:
    columns = {
        name: table[name].cast(pa.string()) for name in ("product_id", "store_id", "segment")
    }
    return pa.table(columns | {_REFERENCE: pa.array(price, from_pandas=True)})


def _nothing() -> pa.Table:
    text = pa.array([], pa.string())
    columns = dict.fromkeys(KEY, text)
    return pa.table(columns | {_REFERENCE: pa.array([], pa.float64())})


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)
