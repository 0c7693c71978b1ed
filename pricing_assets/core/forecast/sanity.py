"""What a forecast may say at all: finite, not below zero, and within a range of the recent level.

Belongs here: the range, learned from horizons that came true, and the check. What happens to a
model that breaks it is ``failover``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.forecast.levels import trace_levels
from pricing_assets.core.forecast.windows import held_out_origins, horizon_periods, usable_cells
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

_ORIGINS = 6
_TOTAL_FACTOR = 5.0
_SERIES_FACTOR = 20.0
_SMALL = 0.5


@dataclass(frozen=True, slots=True)
class SanityRange:
    """Bounds of forecast demand over the recent level, learned from past horizons.

    A ratio is (mean units a period + 0.5) / (level + 0.5), the level that of SES x weekday.

    Attributes:
        total_low, total_high: of the mean over all series.
        series_low, series_high: of each series.
    """

    total_low: float
    total_high: float
    series_low: float
    series_high: float

    @classmethod
    def learn(cls, panel: Panel, *, settings: PricingSettings) -> SanityRange:
        """Ratios that came true after the last origins, widened 5-fold and 20-fold."""
        horizon = horizon_periods(panel, settings.horizon_days)
        origins = held_out_origins(panel.shape[1], horizon=horizon, count=_ORIGINS)
        states = trace_levels(panel, origins).states
        usable = usable_cells(panel)
        ratios, totals = [np.ones(1)], [1.0]
        for origin in origins:
            cells = usable[:, origin : origin + horizon]
            units = np.where(cells, panel.units[:, origin : origin + horizon], 0.0)
            seen = cells.any(axis=1)
            if seen.any():
                mean = units.sum(axis=1)[seen] / cells.sum(axis=1)[seen]
                ratio, total = _ratios(mean, states[origin].level[seen])
                ratios.append(ratio)
                totals.append(total)
        every = np.concatenate(ratios)
        return cls(
            total_low=min(totals) / _TOTAL_FACTOR,
            total_high=max(totals) * _TOTAL_FACTOR,
            series_low=float(every.min()) / _SERIES_FACTOR,
            series_high=float(every.max()) * _SERIES_FACTOR,
        )

    def breach(self, forecast: Forecast, level: Floats) -> str | None:
        """What is wrong with the forecast in one sentence; None where it is sane.

        Args:
            level: (S,) recent demand, units a period.
        """
        values = np.stack([forecast.q10, forecast.q50, forecast.q90, forecast.mean])
        wrong = int((~np.isfinite(values)).any(axis=0).sum())
        if wrong:
            return f"{wrong} of {forecast.mean.size} forecasts are not finite"
        if (values < 0).any():
            return f"{int((values < 0).any(axis=0).sum())} forecasts are below zero"
        ratio, total = _ratios(forecast.mean.mean(axis=1), level)
        if not self.total_low <= total <= self.total_high:
            return (
                f"all series together are forecast at {total:.3g} times their recent level, "
                f"sane is {self.total_low:.3g} to {self.total_high:.3g}"
            )
        outside = int(((ratio < self.series_low) | (ratio > self.series_high)).sum())
        if outside:
            worst = ratio[np.argmax(np.abs(np.log(ratio)))]
            return (
                f"{outside} of {ratio.size} series are forecast outside {self.series_low:.3g} to "
                f"{self.series_high:.3g} times their recent level, the worst at {worst:.3g}"
            )
        return None


def _ratios(mean: Floats, level: Floats) -> tuple[Floats, float]:
    """Ratio of mean units to level of each series, (S,), and of their sums."""
    ratio = (mean + _SMALL) / (level + _SMALL)
    return ratio, float((mean.sum() + _SMALL) / (level.sum() + _SMALL))
