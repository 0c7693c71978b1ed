"""The last known state of each product and store, as the service may want it at request time.

Pure. Belongs here: which features there are, and their values from the panel. Where they are kept
is ``serving.feature_store``.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import Panel, last_known


def online_features(panel: Panel) -> pd.DataFrame:
    """One row a series of the panel, in its order.

    Returns:
        product_id, store_id and ``tables.ONLINE_FEATURES``. Weekly panels count whole weeks: 1
        and 4. Units are NaN for a series that was not on sale in any of the periods.
    """
    series = panel.series
    return pd.DataFrame(
        {
            "product_id": series["product_id"].to_numpy(),
            "store_id": series["store_id"].to_numpy(),
            "stock": last_known(panel.on_hand),
            "rival_price": last_known(panel.rival_price),
            "units_7": _recent_units(panel, days=7),
            "units_28": _recent_units(panel, days=28),
            "price": last_known(panel.price),
        }
    )


def panel_end(panel: Panel) -> datetime:
    """The moment up to which the panel knows: the end of its last period, UTC."""
    last = panel.dates[-1].astype("datetime64[D]").item()
    midnight = datetime(last.year, last.month, last.day, tzinfo=UTC)
    return midnight + timedelta(days=panel.period_days)


def _recent_units(panel: Panel, *, days: int) -> NDArray[np.float64]:
    """Units of the last periods that make up ``days``, (S,)."""
    recent = panel.units[:, -(days // panel.period_days) :]
    known = np.isfinite(recent).any(axis=1)
    return np.asarray(np.where(known, np.nansum(recent, axis=1), np.nan))
