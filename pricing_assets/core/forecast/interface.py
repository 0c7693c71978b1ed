"""What a forecaster is: fit on a panel, then predict a plan, with quantiles and a mean.

Only the types belong here; each forecaster has a file of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.panel import FuturePlan, Panel

Floats = NDArray[np.float64]

METADATA_FILE = "forecaster.json"
"""File of every bundle that names the forecaster and holds its JSON state."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Demand of S series over H future periods, in units a period.

    Attributes:
        dates: (H,) datetime64[D], first day of each period.
        q10, q50, q90: (S, H) quantiles of demand.
        mean: (S, H) expected demand; all four are finite and not below zero.
    """

    dates: NDArray[np.datetime64]
    q10: Floats
    q50: Floats
    q90: Floats
    mean: Floats

    def to_frame(self, series: pd.DataFrame) -> pd.DataFrame:
        """Long frame, one row a series and period: date, product_id, store_id, q10 to mean.

        Args:
            series: S rows with product_id and store_id, in the order of the arrays.
        """
        count, horizon = self.mean.shape
        columns: dict[str, object] = {
            "date": np.tile(self.dates.astype("datetime64[ns]"), count),
            "product_id": np.repeat(series["product_id"].to_numpy(), horizon),
            "store_id": np.repeat(series["store_id"].to_numpy(), horizon),
        }
        for name in ("q10", "q50", "q90", "mean"):
            columns[name] = getattr(self, name).ravel()
        return pd.DataFrame(columns)

    @classmethod
    def from_frame(cls, frame: pd.DataFrame, *, series: int) -> Forecast:
        """Rebuild the forecast of ``series`` series from ``to_frame``'s rows, in their order."""
        arrays = {
            name: frame[name].to_numpy(dtype=np.float64).reshape(series, -1)
            for name in ("q10", "q50", "q90", "mean")
        }
        dates = frame["date"].to_numpy().astype("datetime64[D]")
        return cls(dates=dates.reshape(series, -1)[0], **arrays)


class FittedForecaster(Protocol):
    """A trained forecaster; ``load_forecaster`` rebuilds it from ``to_files``."""

    @property
    def name(self) -> str:
        """Name in settings and metrics."""
        ...

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan's H periods, which follow the panel's last period."""
        ...

    def to_files(self) -> dict[str, bytes]:
        """Native formats only: JSON and LightGBM text."""
        ...


class Forecaster(Protocol):
    """An untrained forecaster."""

    @property
    def name(self) -> str:
        """Name in settings and metrics."""
        ...

    def fit(self, panel: Panel) -> FittedForecaster:
        """Train on all periods of the panel."""
        ...
