"""What changes between the published price table and the one that would replace it.

Only the comparison belongs here; publishing is ``serving.price_store``, stopping a table is
``core.batch_breaker``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves

Floats = NDArray[np.float64]

_KEY = ["product_id", "store_id"]
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class TableChanges:
    """The difference between two price tables.

    Attributes:
        added: rows only in the new table.
        removed: rows only in the old one.
        raised, cut: rows in both whose recommended price rises, falls.
        mean_change: mean relative change of the rows that change; 0 where none does.
        revenue, profit: what the changes are expected to add over the horizon against the old
            prices, by the new demand curves, currency units; stock and substitutes are left out,
            and profit counts rows of known cost alone. NaN without curves.
        largest: up to ten of the changed rows, by relative change; columns product_id,
            store_id, before, after, relative_change, profit.
    """

    added: int
    removed: int
    raised: int
    cut: int
    mean_change: float
    revenue: float
    profit: float
    largest: pd.DataFrame

    @property
    def changed(self) -> int:
        """Rows in both tables whose price differs."""
        return self.raised + self.cut


def table_changes(
    before: pd.DataFrame | None, after: pd.DataFrame, *, curves: pd.DataFrame | None = None
) -> TableChanges:
    """Compare recommended prices by product and store; without ``before`` every row is added.

    Args:
        before, after: columns product_id, store_id, recommended_price.
        curves: columns of ``tables.DEMAND_CURVE_COLUMNS``, to value the changes; None does not.
    """
    columns = [*_KEY, "recommended_price"]
    old = after.loc[:, columns].iloc[:0] if before is None else before[columns]
    both = old.merge(
        after[columns], on=_KEY, how="outer", suffixes=("_before", "_after"), indicator=True
    ).rename(columns={"recommended_price_before": "before", "recommended_price_after": "after"})
    shared = both[both["_merge"] == "both"]
    relative = (shared["after"] / shared["before"] - 1).astype(float)
    moved = shared.assign(relative_change=relative)[np.abs(relative) > _ROUNDING]
    valued = _valued(moved, curves)
    order = valued["relative_change"].abs().sort_values(ascending=False, kind="stable").index
    names = [*_KEY, "before", "after", "relative_change", "profit"]
    known = curves is not None
    return TableChanges(
        added=int((both["_merge"] == "right_only").sum()),
        removed=int((both["_merge"] == "left_only").sum()),
        raised=int((moved["relative_change"] > 0).sum()),
        cut=int((moved["relative_change"] < 0).sum()),
        mean_change=float(moved["relative_change"].mean()) if len(moved) else 0.0,
        revenue=float(np.nansum(valued["revenue"])) if known else float("nan"),
        profit=float(np.nansum(valued["profit"])) if known else float("nan"),
        largest=valued.loc[order[:10], names].reset_index(drop=True),
    )


def _valued(moved: pd.DataFrame, curves: pd.DataFrame | None) -> pd.DataFrame:
    """``moved`` with what each change adds to revenue and profit, on a fresh index."""
    fresh = moved.reset_index(drop=True)
    if curves is None:
        return fresh.assign(revenue=np.nan, profit=np.nan)
    wanted = [*_KEY, *DemandCurves.__slots__, "unit_cost"]
    rows = fresh[_KEY].merge(curves[wanted].drop_duplicates(_KEY), on=_KEY, how="left")
    raw = {name: rows[name].to_numpy(dtype=np.float64) for name in DemandCurves.__slots__}
    usable = np.logical_and.reduce([np.isfinite(values) for values in raw.values()])
    usable &= raw["reference_price"] > 0
    some = DemandCurves(**{name: values[usable] for name, values in raw.items()})
    prices = fresh.loc[usable, ["before", "after"]].to_numpy(dtype=np.float64)
    units = some.expected_units(prices)
    margin = prices - rows.loc[usable, "unit_cost"].to_numpy(dtype=np.float64)[:, None]
    return fresh.assign(revenue=_gain(prices * units, usable), profit=_gain(margin * units, usable))


def _gain(worth: Floats, usable: NDArray[np.bool_]) -> Floats:
    """(n,) after less before of the usable rows (m, 2); NaN for the others."""
    gain = np.full(len(usable), np.nan)
    gain[usable] = worth[:, 1] - worth[:, 0]
    return gain
