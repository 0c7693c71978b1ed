"""The batch breaker before a table is published: the new table against the one in force.

Belongs here: matching rows of two Arrow tables. The measures are ``core.batch_breaker``, the
store ``price_store``.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pricing_assets.core.batch_breaker import Measure, PriceMoves, breaker_measures, tripped
from pricing_assets.core.errors import BatchBreakerError
from pricing_assets.core.price_parameters import BatchBreakerParameters

KEY = ("product_id", "store_id", "segment")
GATE_COLUMNS = (*KEY, "currency", "recommended_price", "current_price")
"""Columns of a price table that the breaker reads."""

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


def table_measures(
    before: pa.Table | None, after: pa.Table, *, parameters: BatchBreakerParameters
) -> tuple[Measure, ...]:
    """The breaker's measures of ``after``, to follow ``before`` (None: the first table).

    Args:
        before, after: with ``GATE_COLUMNS``.
        parameters: the limits.
    """
    return breaker_measures(price_moves(before, after), parameters)


def price_moves(before: pa.Table | None, after: pa.Table) -> PriceMoves:
    """New prices by row, and what each replaces: the last table's price, else the current one."""
    price, current = _floats(after, "recommended_price"), _floats(after, "current_price")
    if before is None or before.num_rows == 0:
        old, shared, rows, currency = current, 0, 0, ""
    else:
        last = _floats(before, "recommended_price")
        place = matching_rows(before, after)
        known = (place >= 0) & np.isfinite(last[place])
        old = np.where(known, last[place], current)
        shared, rows = int(known.sum()), int(np.isfinite(last).sum())
        currency = str(before["currency"][0])
    return PriceMoves(
        before=old,
        after=price,
        rows_before=rows,
        rows_shared=shared,
        currency_before=currency,
        currency_after=str(after["currency"][0]) if after.num_rows else currency,
    )


def require_unbroken(
    before: pa.Table | None, after: pa.Table, *, parameters: BatchBreakerParameters
) -> tuple[str, ...]:
    """What the override of ``parameters`` lets through; nothing where nothing tripped.

    Raises:
        BatchBreakerError: the table is stopped and there is no override.
    """
    found = tripped(table_measures(before, after, parameters=parameters))
    if found and not parameters.override:
        raise BatchBreakerError(
            f"the batch breaker stops this table: {'; '.join(found)}. The table before stays. Mend "
            "the data or the rule; or, where the move is meant, set batch_breaker.override to who "
            "lets it through and why"
        )
    return found


def matching_rows(before: pa.Table, after: pa.Table) -> Indices:
    """(n,) the row of ``before`` with the key of each row of ``after``, -1 where there is none."""
    place = pc.index_in(_keys(after), value_set=_keys(before))
    return np.asarray(pc.fill_null(place, -1).to_numpy(), dtype=np.int64)


def _keys(table: pa.Table) -> pa.Array:
    parts = [pc.fill_null(table[name].cast(pa.string()), "") for name in KEY]
    return pa.chunked_array(pc.binary_join_element_wise(*parts, "\x1f")).combine_chunks()


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)
