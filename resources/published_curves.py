"""The demand curves of published tables, for judging what they predicted.

Belongs here: from the price store's versions to ``PublishedCurves``. The judging is
``core.evaluation.predicted_actual``.
"""

from __future__ import annotations

import numpy as np

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.evaluation.predicted_actual import KEY, PublishedCurves
from serving.price_store import PriceStore
from serving.published_table import Manifest

MAX_TABLES = 60
"""Latest tables that are judged."""


def published_curves(store: PriceStore, *, last_day: np.datetime64) -> list[PublishedCurves]:
    """The latest tables whose data end by ``last_day``, oldest first.

    Of tables with the same data the last counts, so the others are not read.
    """
    manifests = [store.manifest(name) for name in store.versions()]
    seen = {_start(one): one for one in manifests if _start(one) <= last_day}
    return [_read(store, seen[start]) for start in sorted(seen)[-MAX_TABLES:]]


def _start(manifest: Manifest) -> np.datetime64:
    """The first day that the table's data had not seen."""
    moment = manifest.data_until or manifest.valid_from
    return np.datetime64(moment.replace(tzinfo=None), "D")


def _read(store: PriceStore, manifest: Manifest) -> PublishedCurves:
    table = store.read(manifest.table_version)
    prices = table.prices.select([*KEY, "segment", "recommended_price", "horizon_days"]).to_pandas()
    prices = prices[prices["segment"] == ""].drop(columns="segment")
    wanted = [*KEY, *DemandCurves.__slots__, "promo_lift", "weekday_index"]
    rows = table.curves.select(wanted).to_pandas().merge(prices, on=KEY, how="left")
    return PublishedCurves(
        version=manifest.table_version,
        start=_start(manifest),
        horizon_days=int(table.prices["horizon_days"][0].as_py()),
        rows=rows,
    )
