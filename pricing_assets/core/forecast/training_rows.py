"""Training rows of the global models: many past origins, each with its horizon's cells.

Belongs here: which origins and cells are learned from. What a row holds is ``design``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.attributes import AttributeCodes
from pricing_assets.core.forecast.design import ANNUAL, Design, build_design, feature_names
from pricing_assets.core.forecast.levels import DemandHistory, trace_levels
from pricing_assets.core.forecast.price_response import PriceResponse, fit_price_response
from pricing_assets.core.forecast.windows import actual_plan, horizon_periods
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

LEAST_ROWS = 400
"""Known cells below which nothing is learned and the forecast stays the base."""

_ANNUAL_DAYS = 3 * 364


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """Rows of many origins: features (n, F), base and target (n,), units a period."""

    features: NDArray[np.float32]
    base: Floats
    target: Floats


def training_origins(end: int, *, horizon: int, parameters: ForecastParameters) -> tuple[int, ...]:
    """Origins spread over the history whose targets lie before ``end``, ascending.

    They are a horizon apart at most; in a short history the last one's targets are cut at ``end``.
    """
    first = max(1, min(4 * horizon, end // 3))
    last = max(end - horizon, (2 * end) // 3, 1)
    spacing = max(1, min(horizon, (last - first) // max(1, parameters.training_origins - 1)))
    origins = [last - spacing * back for back in range(parameters.training_origins)]
    return tuple(sorted({origin for origin in origins if origin >= min(first, last)}))


@dataclass(frozen=True, slots=True)
class RowBuilder:
    """Makes the designs and rows of one panel with what was learned before one end."""

    panel: Panel
    end: int
    origins: tuple[int, ...]
    history: DemandHistory
    response: PriceResponse
    codes: AttributeCodes
    horizon: int
    settings: PricingSettings

    def design(self, origin: int) -> Design:
        """Design of the horizon after ``origin``, carried out at its actual prices."""
        return build_design(
            self.panel.until(origin),
            demand=self.history.adjusted[:, :origin],
            state=self.history.states[origin],
            response=self.response,
            plan=actual_plan(self.panel, origin=origin, horizon=self.horizon),
            codes=self.codes,
        )

    def rows(self, *, limit: int) -> TrainingRows:
        """Cells with a known demand before ``end``, thinned at random to about ``limit``."""
        rng = np.random.default_rng(self.settings.seed)
        share = max(1, limit // len(self.origins))
        parts = [self._origin_rows(origin, limit=share, rng=rng) for origin in self.origins]
        return TrainingRows(
            features=np.concatenate([part.features for part in parts]),
            base=np.concatenate([part.base for part in parts]),
            target=np.concatenate([part.target for part in parts]),
        )

    def _origin_rows(self, origin: int, *, limit: int, rng: np.random.Generator) -> TrainingRows:
        design = self.design(origin)
        width = min(self.horizon, self.end - origin)
        target = self.history.demand[:, origin : origin + width]
        chosen = np.flatnonzero(np.isfinite(target).ravel())
        if chosen.size > limit:
            chosen = np.sort(rng.choice(chosen, size=limit, replace=False))
        features = design.features[:, :width].reshape(-1, design.features.shape[2])
        return TrainingRows(
            features=features[chosen],
            base=design.base[:, :width].ravel()[chosen],
            target=target.ravel()[chosen],
        )


def build_rows(
    panel: Panel,
    *,
    end: int,
    tests: Sequence[int],
    codes: AttributeCodes,
    settings: PricingSettings,
) -> RowBuilder:
    """Builder of the rows whose targets lie before ``end``, and of the designs of ``tests``.

    What is learned of prices comes from before ``end`` only.
    """
    horizon = horizon_periods(panel, settings.horizon_days)
    origins = training_origins(end, horizon=horizon, parameters=settings.forecast)
    response = fit_price_response(panel.until(end))
    history = trace_levels(panel, sorted({*tests, *origins}), response=response)
    return RowBuilder(panel, end, origins, history, response, codes, horizon, settings)


@dataclass(frozen=True, slots=True)
class PlannedDesign:
    """What a fitted model reads to forecast a plan, as of the panel's end.

    Attributes:
        panel: what is known.
        design: features and base of the plan's H periods.
        history: levels and de-censored demand; its one state is the panel's end.
    """

    panel: Panel
    design: Design
    history: DemandHistory


def plan_design(panel: Panel, plan: FuturePlan, *, codes: AttributeCodes) -> PlannedDesign:
    """Design of the plan at its prices, promotions and calendar."""
    origin = panel.shape[1]
    response = fit_price_response(panel)
    history = trace_levels(panel, [origin], response=response)
    design = build_design(
        panel,
        demand=history.adjusted,
        state=history.states[origin],
        response=response,
        plan=plan,
        codes=codes,
    )
    return PlannedDesign(panel=panel, design=design, history=history)


def learned_features(panel: Panel) -> tuple[str, ...]:
    """Names of the features to learn from, in the design's order.

    Those of the time of year are left out of a history under three years: with a year seen once
    or twice they tell a date, not a season.
    """
    short = panel.shape[1] * panel.period_days < _ANNUAL_DAYS
    return tuple(name for name in feature_names() if not (short and name in ANNUAL))
