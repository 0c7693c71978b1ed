r"""Prediction intervals from held-out errors: conformal quantiles in classes of the mean.

For held-out pairs the standardised error :math:`z = (y - \hat y)/s` around a point forecast is
pooled in classes of the scale :math:`s`, its 10, 50 and 90 % quantiles are kept, and a forecast's
quantile is :math:`\max(0, \hat y + s z_q)` (split conformal prediction within classes: Vovk,
Gammerman and Shafer 2005). No distribution is assumed, so skew and excess zeros come from the data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.interface import Forecast

Floats = NDArray[np.float64]

PROBABILITIES = (0.1, 0.5, 0.9)

_CLASSES = 12
_PER_CLASS = 150
_WITHOUT_ERRORS = (-0.9, -0.05, 1.1)
"""Standardised quantiles where nothing was held out: an exponential's, wide on purpose."""


@dataclass(frozen=True, slots=True)
class IntervalCalibration:
    """Quantiles of the standardised error by class of scale.

    Attributes:
        centres: (C,) log scale of each class, ascending.
        quantiles: (C, 3) of z at :data:`PROBABILITIES`.
    """

    centres: Floats
    quantiles: Floats

    @classmethod
    def fit(
        cls, *, actual: Floats, centre: Floats, scale: Floats, keep_median: bool = False
    ) -> IntervalCalibration:
        """Calibrate on held-out cells, each (n,), all finite and ``scale`` above zero.

        Args:
            keep_median: ``centre`` is itself a median, so the 50 % quantile stays on it: a few
                held-out horizons share shocks that would only shift it.
        """
        if actual.size < 10:
            return cls(centres=np.zeros(1), quantiles=np.asarray([_WITHOUT_ERRORS]))
        z = (actual - centre) / scale
        order = np.argsort(scale, kind="stable")
        parts = np.array_split(order, int(np.clip(actual.size // _PER_CLASS, 1, _CLASSES)))
        centres = np.asarray([np.log(scale[part]).mean() for part in parts])
        quantiles = np.asarray([np.quantile(z[part], PROBABILITIES) for part in parts])
        if keep_median:
            quantiles[:, 1] = 0.0
            quantiles = np.sort(quantiles, axis=1)
        return cls(centres=centres, quantiles=quantiles)

    def forecast(
        self, *, dates: NDArray[np.datetime64], mean: Floats, centre: Floats, scale: Floats
    ) -> Forecast:
        """Forecast with quantiles around ``centre`` (S, H), the classes interpolated."""
        position = np.log(scale)
        low, mid, high = (
            np.maximum(centre + scale * np.interp(position, self.centres, column), 0.0)
            for column in self.quantiles.T
        )
        mid, high = np.maximum(low, mid), np.maximum(np.maximum(low, mid), high)
        return Forecast(dates=dates, q10=low, q50=mid, q90=high, mean=mean)

    def to_json(self) -> dict[str, Any]:
        """JSON-able state."""
        return {"centres": self.centres.tolist(), "quantiles": self.quantiles.tolist()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> IntervalCalibration:
        """State from :meth:`to_json`."""
        return cls(
            centres=np.asarray(value["centres"], np.float64),
            quantiles=np.asarray(value["quantiles"], np.float64),
        )
