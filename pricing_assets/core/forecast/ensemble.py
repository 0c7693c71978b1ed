r"""Weighted mean of LightGBM and the base that it started from, SES x weekday x price effect.

With means :math:`g` (LightGBM) and :math:`b` (base) of held-out horizons the weight is the least
squares solution of :math:`y - b = w (g - b)` with the negative binomial's variance
:math:`b + \phi b^2` as weights, kept within [0, 1] (Bates and Granger 1969).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.forecast import lightgbm
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.levels import demand_dispersion
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

NAME = "ensemble"


@dataclass(frozen=True, slots=True)
class FittedEnsemble:
    """A trained ensemble.

    Attributes:
        boosted: the LightGBM member; the other one, SES x weekday, needs no training.
        weight: LightGBM's share, 0 to 1.
        intervals: calibration of the weighted mean.
    """

    boosted: lightgbm.FittedLightGbm
    weight: float
    intervals: IntervalCalibration
    name: str = NAME

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan by the weighted mean of the members."""
        points = self.boosted.points(panel, plan)
        mean = self.weight * points.mean + (1 - self.weight) * points.base
        return self.intervals.forecast(
            dates=plan.dates, mean=mean, centre=points.median, scale=mean
        )

    def to_files(self) -> dict[str, bytes]:
        """LightGBM's files, with the weight and intervals in the JSON state."""
        files = self.boosted.to_files()
        state = {
            "forecaster": self.name,
            "weight": self.weight,
            "intervals": self.intervals.to_json(),
            "boosted": json.loads(files[METADATA_FILE]),
        }
        return {**files, METADATA_FILE: json_bytes(state)}


@dataclass(frozen=True, slots=True)
class Ensemble:
    """An untrained ensemble."""

    settings: PricingSettings
    name: str = NAME

    def fit(self, panel: Panel) -> FittedEnsemble:
        """Train LightGBM, then weigh it against SES x weekday on the held-out horizons."""
        held = lightgbm.fit_with_holdout(panel, settings=self.settings)
        weight = combination_weight(
            actual=held.actual, first=held.mean, second=held.base, phi=demand_dispersion(panel)
        )
        mean = weight * held.mean + (1 - weight) * held.base
        intervals = IntervalCalibration.fit(
            actual=held.actual, centre=held.median, scale=mean, keep_median=True
        )
        return FittedEnsemble(boosted=held.fitted, weight=weight, intervals=intervals)


def combination_weight(*, actual: Floats, first: Floats, second: Floats, phi: float) -> float:
    """Share of ``first`` that minimises the weighted squared error, in [0, 1]; each (n,)."""
    precision = 1.0 / (second + phi * second**2 + 0.05)
    gap = first - second
    spread = float((precision * gap**2).sum())
    if spread <= 0:
        return 0.5
    return float(np.clip((precision * gap * (actual - second)).sum() / spread, 0.0, 1.0))


def load(bundle: ModelBundle, state: dict[str, Any]) -> FittedEnsemble:
    """Rebuild from a bundle; ``state`` is its parsed JSON."""
    return FittedEnsemble(
        boosted=lightgbm.load(bundle, state["boosted"]),
        weight=float(state["weight"]),
        intervals=IntervalCalibration.from_json(state["intervals"]),
    )
