"""Are forecasts as sure as they should be: quantiles against shares, means against means.

Belongs here: the table behind the calibration plots. Making intervals is
``core.forecast.calibration``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.forecast.walk_forward import HeldOut

Floats = NDArray[np.float64]

CALIBRATION_COLUMNS = ("model", "kind", "level", "expected", "observed", "cells")
QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
TENTHS = 10


def calibration_table(tested: Mapping[str, Sequence[HeldOut]]) -> pd.DataFrame:
    """Rows of two kinds a forecaster, columns ``CALIBRATION_COLUMNS``, cells pooled over origins.

    - ``quantile``: expected is the quantile's probability, observed the share of actuals below
      it; a tie counts half, since counts meet a quantile of zero.
    - ``mean``: cells by tenths of the predicted mean; expected is their mean prediction, observed
      their mean of units sold.

    Args:
        tested: forecaster -> its held-out forecasts, arrays (S, H).
    """
    rows: list[dict[str, object]] = []
    for model, helds in tested.items():
        actual = np.concatenate([held.actual[held.usable] for held in helds])
        if not actual.size:
            continue
        rows += [
            {"model": model, "kind": "quantile", **_share(actual, _pooled(helds, name), name)}
            for name in QUANTILES
        ]
        rows += [
            {"model": model, "kind": "mean", **row}
            for row in _tenths(actual, _pooled(helds, "mean"))
        ]
    return pd.DataFrame(rows, columns=list(CALIBRATION_COLUMNS))


def _pooled(helds: Sequence[HeldOut], name: str) -> Floats:
    return np.concatenate([getattr(held.forecast, name)[held.usable] for held in helds])


def _share(actual: Floats, quantile: Floats, name: str) -> dict[str, object]:
    below = float(np.mean(actual < quantile) + 0.5 * np.mean(actual == quantile))
    expected = QUANTILES[name]
    return {"level": name, "expected": expected, "observed": below, "cells": actual.size}


def _tenths(actual: Floats, mean: Floats) -> list[dict[str, object]]:
    order = np.argsort(mean, kind="stable")
    parts = [part for part in np.array_split(order, TENTHS) if part.size]
    return [
        {
            "level": f"tenth {place + 1}",
            "expected": float(mean[part].mean()),
            "observed": float(actual[part].mean()),
            "cells": part.size,
        }
        for place, part in enumerate(parts)
    ]
