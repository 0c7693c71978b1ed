"""What the optimizer must know of each series today: price, cost, stock, and what rails ask.

Belongs here: the last known facts of the panel, as one frame, and what the published tables and
the freeze add. What follows from them is ``core.row_rails`` and ``core.price_table``.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import Flags, Floats, Panel, last_known

REPLENISHMENT_DAYS = 91
"""A series whose stock has not risen for this long is sold down, not replenished."""

ENDING_STATUS = ("clearance", "discontinued", "end_of_life", "markdown")
"""Values of ``products.status`` under which no new stock is expected."""


def panel_facts(
    panel: Panel, *, prior_price_days: int = 30, promo_next: Flags | None = None
) -> pd.DataFrame:
    """One row a series of the panel, in its order.

    Args:
        panel: S series over T periods.
        prior_price_days: days before a promotion that give its prior price.
        promo_next: (S,) a promotion is planned for the next period; None is none.

    Returns:
        product_id, store_id, current_price, unit_cost, map_price, on_hand (currency units and
        units; NaN unknown), replenished (bool), kvi (0/1), status, brand, zone, pack_size (NaN
        unknown), promoted (bool), prior_price (currency units; NaN unknown).
    """
    series = panel.series
    running = panel.promo[:, -1] > 0
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
            "brand": series["brand"].to_numpy(),
            "zone": series["zone"].to_numpy(),
            "pack_size": series["pack_size"].to_numpy(dtype=np.float64),
            "promoted": running if promo_next is None else running | promo_next,
            "prior_price": prior_price(panel, days=prior_price_days),
        }
    )


def prior_price(panel: Panel, *, days: int) -> Floats:
    """Lowest price of the ``days`` before a promotion, (S,); NaN where none is known.

    Before the promotion that runs in the last period, or before the end of the panel, where one
    would start now. Periods in which a product was not on sale count with the price it last had.
    """
    count, total = max(1, -(-days // panel.period_days)), panel.shape[1]
    plain = panel.promo[:, ::-1] <= 0
    running = np.where(plain.any(axis=1), np.argmax(plain, axis=1), total)
    period = total - running[:, None] - np.arange(1, count + 1)[None, :]
    price = np.take_along_axis(panel.price, np.maximum(period, 0), axis=1)
    lowest = np.where((period >= 0) & np.isfinite(price), price, np.inf).min(axis=1)
    return np.where(np.isfinite(lowest), lowest, np.nan)


def with_price_history(
    facts: pd.DataFrame,
    *,
    reference: pd.DataFrame,
    frozen: Collection[str],
    everything_frozen: bool,
) -> pd.DataFrame:
    """``facts`` with the durable reference of the day and the freeze.

    Args:
        facts: from :func:`panel_facts`.
        reference: product_id, store_id, reference_price_24h; a product absent has none.
        frozen: product ids that may not change price.
        everything_frozen: none may.

    Returns:
        ``facts`` and the columns reference_price_24h (currency units; NaN unknown), frozen (bool).
    """
    key = ["product_id", "store_id"]
    known = reference[[*key, "reference_price_24h"]].drop_duplicates(key)
    joined = facts.merge(known, on=key, how="left", validate="one_to_one")
    held = joined["product_id"].isin(list(frozen)) | everything_frozen
    return joined.assign(frozen=held.to_numpy())


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
