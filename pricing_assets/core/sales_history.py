"""The recent past of every series as rows that a page plots: a cut of the panel, nothing new.

Belongs here: which periods and columns are shown. Where they are kept is ``serving.sales_history``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from pricing_assets.core.panel import Panel

HISTORY_DAYS = 365
"""Days of history that are kept for the pages, counted back from the last sale."""


def sales_history(panel: Panel, *, days: int = HISTORY_DAYS) -> pd.DataFrame:
    """The last ``days`` of each series, sorted by product, store and date.

    Returns:
        product_id, store_id, date (datetime64[ns]), units, price, promo (0 to 1), rival_price,
        on_hand (NaN unknown). Periods in which a product was not on sale are left out.
    """
    periods = min(-(-days // panel.period_days), panel.shape[1])
    start = panel.shape[1] - periods
    order = np.lexsort((panel.series["store_id"], panel.series["product_id"]))
    columns = {
        name: getattr(panel, name)[order, start:].ravel()
        for name in ("units", "price", "promo", "rival_price", "on_hand")
    }
    rows = pd.DataFrame(
        {
            **{
                name: np.repeat(panel.series[name].to_numpy()[order], periods)
                for name in ("product_id", "store_id")
            },
            "date": np.tile(panel.dates[start:].astype("datetime64[ns]"), panel.shape[0]),
            **columns,
        }
    )
    return rows[panel.on_sale[order, start:].ravel()].reset_index(drop=True)


def longest_series(rows: pd.DataFrame) -> dict[str, Any]:
    """product_id and store_id of the series with the most rows, and how many it has."""
    keys = ["product_id", "store_id"]
    sizes = rows.groupby(keys, as_index=False).size().nlargest(1, "size")
    return {**{name: str(sizes[name].iloc[0]) for name in keys}, "rows": int(sizes["size"].iloc[0])}
