"""What changes between the published price table and the one that would replace it.

Only the comparison belongs here; publishing is ``serving.price_store``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd


@dataclass(frozen=True, slots=True)
class TableChanges:
    """The difference between two price tables.

    Attributes:
        added: rows only in the new table.
        removed: rows only in the old one.
        changed: rows in both whose recommended price differs.
        largest: up to ten of the changed rows, by relative change; columns product_id,
            store_id, before, after, relative_change.
    """

    added: int
    removed: int
    changed: int
    largest: pd.DataFrame


def table_changes(before: pd.DataFrame | None, after: pd.DataFrame) -> TableChanges:
    """Compare recommended prices by product and store; without ``before`` every row is added."""
    columns = ["product_id", "store_id", "recommended_price"]
    old = after.loc[:, columns].iloc[:0] if before is None else before[columns]
    both = old.merge(
        after[columns],
        on=["product_id", "store_id"],
        how="outer",
        suffixes=("_before", "_after"),
        indicator=True,
    ).rename(columns={"recommended_price_before": "before", "recommended_price_after": "after"})
    shared = both[both["_merge"] == "both"]
    relative = (shared["after"] / shared["before"] - 1).astype(float)
    moved = shared.assign(relative_change=relative)[np.abs(relative) > 1e-9]
    order = moved["relative_change"].abs().sort_values(ascending=False, kind="stable").index
    names = ["product_id", "store_id", "before", "after", "relative_change"]
    return TableChanges(
        added=int((both["_merge"] == "right_only").sum()),
        removed=int((both["_merge"] == "left_only").sum()),
        changed=len(moved),
        largest=moved.loc[order[:10], names].reset_index(drop=True),
    )
