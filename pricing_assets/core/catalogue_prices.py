"""From a catalogue to its price table: what ``BatchPriceOptimizer`` and each shard ask.

Belongs here: a catalogue's missing columns, and Arrow at both ends. The optimizer is
``core.price_table``; which rows make a shard is ``core.price_shards``.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from pricing_assets.core.errors import MissingColumnError
from pricing_assets.core.price_search import RowChooser
from pricing_assets.core.price_table import build_price_table
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS, PRICE_RAIL_COLUMNS


def price_catalogue(
    catalogue: pa.Table, *, settings: PricingSettings, chooser: RowChooser | None = None
) -> pa.Table:
    """The price table of a catalogue in Arrow; columns and errors as in ``price_frame``."""
    priced = price_frame(catalogue.to_pandas(), settings=settings, chooser=chooser)
    return pa.Table.from_pandas(priced, preserve_index=False)


def price_frame(
    frame: pd.DataFrame, *, settings: PricingSettings, chooser: RowChooser | None = None
) -> pd.DataFrame:
    """The price table of a catalogue, one row a product and store, in the catalogue's order.

    Args:
        frame: product_id, current_price, reference_units, and what else is known; see
            ``pricing_assets.engine.BatchPriceOptimizer.optimize``.
        settings: objective, horizon, guard rails, risk and prior.
        chooser: the search on another device; NumPy where None.

    Raises:
        MissingColumnError: a required column is absent.
        MissingCostError: the objective is profit and no product has a unit cost.
    """
    full = complete_catalogue(frame.reset_index(drop=True), settings=settings)
    table = build_price_table(
        full[list(DEMAND_CURVE_COLUMNS)], panel_facts=full, settings=settings, chooser=chooser
    )
    return table.drop(columns=list(PRICE_RAIL_COLUMNS))


def complete_catalogue(frame: pd.DataFrame, *, settings: PricingSettings) -> pd.DataFrame:
    """A copy of a catalogue with every column that the price table reads.

    Defaults say "unknown", never more: the prior's elasticity, no rival, no stock limit, only the
    current price ever seen.
    """
    for name in ("product_id", "current_price", "reference_units"):
        if name not in frame.columns:
            raise MissingColumnError(table="catalog_frame", column=name, found=frame.columns)
    prior, price, unknown = settings.elasticity, frame["current_price"], float("nan")
    defaults: dict[str, Any] = {
        "store_id": "",
        "category": "",
        "reference_price": price,
        "reference_units_cv": 0.0,
        "elasticity_mean": prior.prior_mean,
        "elasticity_sd": prior.prior_sd,
        "curvature": 0.0,
        "rival_elasticity": 0.0,
        "cross_elasticity": 0.0,
        "reference_rival_price": unknown,
        "promo_lift": 1.0,
        "weekday_index": [[1.0] * 7] * len(frame),
        "unit_cost": unknown,
        "map_price": unknown,
        "support_low": price,
        "support_high": price,
        "observations": 0.0,
        "on_hand": unknown,
    }
    full = frame.assign(**{n: v for n, v in defaults.items() if n not in frame.columns})
    return full.assign(replenished=full["on_hand"].isna())
