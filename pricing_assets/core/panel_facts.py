"""What the optimizer must know of each series today: price, cost, stock, and whether it refills.

Belongs here: the last known facts of the panel, as one frame. What follows from them is
``core.price_table``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import Panel, last_known

REPLENISHMENT_DAYS = 91
"""A series whose stock has not risen for this long is sold down, not replenished."""

ENDING_STATUS = ("clearance", "discontinued", "end_of_life", "markdown")
"""Values of ``products.status`` under which no new stock is expected."""


def panel_facts(panel: Panel) -> pd.DataFrame:
    """One row a series of the panel, in its order.

    Returns:
        product_id, store_id, current_price, unit_cost, map_price, on_hand (currency units and
        units; NaN unknown), replenished (bool), kvi (0/1), status.
    """
    series = panel.series
    return pd.DataFrame(
        {
            "product_id": series["product_id"].to_numpy(),
            "store_id": series["store_id"].to_numpy(),
            "current_price": panel.current_price(),
            "unit_cost": panel.current_cost(),
            "map_price": series["map_price"].to_numpy(dtype=np.float64),
            "on_hand": last_known(panel.on_hand),
            "replenished": is_replenished(panel),
            "kvi": series["kvi"].to_numpy(),
            "status": series["status"].to_numpy(),
        }
    )


def is_replenished(panel: Panel) -> NDArray[np.bool_]:
    """Whether new stock is to be expected, (S,): it came lately, or nothing is known of stock.

    Stock came where an opening stock is above the lowest one before it.
    A series with fewer than two known openings in :data:`REPLENISHMENT_DAYS` counts as
    replenished, one whose status is in :data:`ENDING_STATUS` never does.
    """
    periods = max(2, REPLENISHMENT_DAYS // panel.period_days)
    recent = panel.on_hand[:, -periods:]
    lowest_before = np.fmin.accumulate(recent, axis=1)[:, :-1]
    rose = (recent[:, 1:] > lowest_before).any(axis=1)
    unknown = np.isfinite(recent).sum(axis=1) < 2
    ending = panel.series["status"].str.lower().isin(ENDING_STATUS).to_numpy()
    return np.asarray((rose | unknown) & ~ending)
