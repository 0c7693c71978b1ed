"""Held-out errors by series and by period: what the accuracy's own noise is measured from.

Belongs here: sums over the usable cells of walk-forward tests. The harness is ``walk_forward``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.forecast.walk_forward import HeldOut
from pricing_assets.core.panel import Panel

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def series_errors(panel: Panel, results: Mapping[str, Sequence[HeldOut]]) -> pd.DataFrame:
    """One row a model, origin and series that had a usable cell.

    Returns:
        model, origin (ISO date), product_id, store_id, cells, error (sum of absolute errors,
        units), sold (units).
    """
    parts = []
    for name, tested in results.items():
        for held in tested:
            wrong = np.where(held.usable, np.abs(held.forecast.mean - held.actual), 0.0)
            frame = panel.series[["product_id", "store_id"]].assign(
                model=name,
                origin=str(panel.dates[held.origin].astype("datetime64[D]")),
                cells=held.usable.sum(axis=1),
                error=wrong.sum(axis=1),
                sold=np.where(held.usable, held.actual, 0.0).sum(axis=1),
            )
            parts.append(frame[frame["cells"] > 0])
    columns = ["model", "origin", "product_id", "store_id", "cells", "error", "sold"]
    return pd.concat(parts, ignore_index=True)[columns]


def period_residuals(panel: Panel, results: Mapping[str, Sequence[HeldOut]]) -> pd.DataFrame:
    """One row a model and held-out period, in time order: model, date, expected, sold (units)."""
    parts = []
    for name, tested in results.items():
        for held in tested:
            width = held.actual.shape[1]
            parts.append(
                pd.DataFrame(
                    {
                        "model": name,
                        "date": panel.dates[held.origin : held.origin + width].astype(
                            "datetime64[ns]"
                        ),
                        "expected": np.where(held.usable, held.forecast.mean, 0.0).sum(axis=0),
                        "sold": np.where(held.usable, held.actual, 0.0).sum(axis=0),
                    }
                )
            )
    return pd.concat(parts, ignore_index=True)
