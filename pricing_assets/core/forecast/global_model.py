"""What every global model shares: point forecasts, and those of horizons held out of a first fit.

A global model learns, over all series at once, a ratio to the base forecast of ``design``. Belongs
here: fitting one twice, first without the last horizons to see its errors there, then on
everything. What is learned from the rows belongs to each model's own file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.attributes import AttributeCodes
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.design import Design, feature_names
from pricing_assets.core.forecast.interface import FittedForecaster
from pricing_assets.core.forecast.training_rows import (
    PlannedDesign,
    RowBuilder,
    TrainingRows,
    build_rows,
)
from pricing_assets.core.forecast.windows import held_out_origins, horizon_periods, usable_cells
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Model = TypeVar("Model")

HOLDOUTS = 2
"""Last horizons held out of the first fit."""
OFFSET = 0.5
"""Units added to both sides of the log ratio that medians are learned of."""


@dataclass(frozen=True, slots=True)
class Points:
    """Point forecasts, each (S, H) units a period.

    Attributes:
        mean: expected demand.
        median: median demand.
        base: SES x weekday x price effect, which both started from.
    """

    mean: Floats
    median: Floats
    base: Floats


@dataclass(frozen=True, slots=True)
class HeldOutCells:
    """What a first fit predicted of the horizons held out of it, over their usable cells.

    Attributes:
        actual, mean, median, base: (n,) units a period.
    """

    actual: Floats
    mean: Floats
    median: Floats
    base: Floats

    def intervals(self) -> IntervalCalibration:
        """Calibration of quantiles around the median."""
        return IntervalCalibration.fit(
            actual=self.actual, centre=self.median, scale=self.mean, keep_median=True
        )


@dataclass(frozen=True, slots=True)
class GlobalFit(Generic[Model]):
    """The model of everything, the codes of its attributes, and the first fit's errors."""

    model: Model
    codes: AttributeCodes
    held: HeldOutCells


@runtime_checkable
class FittedGlobal(FittedForecaster, Protocol):
    """A trained global model: its points need the design only, which several models can share."""

    @property
    def codes(self) -> AttributeCodes:
        """Integer codes of the series attributes."""
        ...

    def points_of(self, planned: PlannedDesign) -> Points:
        """Point forecasts of a plan."""
        ...


@dataclass(frozen=True, slots=True)
class HeldOutFit:
    """A trained global model and what its first pass predicted of the horizons held out."""

    fitted: FittedGlobal
    held: HeldOutCells


@runtime_checkable
class HoldsOut(Protocol):
    """An untrained forecaster whose fit holds the last horizons out of a first pass anyway."""

    def fit_with_holdout(self, panel: Panel) -> HeldOutFit:
        """Train, and say what the first pass predicted."""
        ...


def fit_twice(
    panel: Panel,
    *,
    settings: PricingSettings,
    limit: int,
    first_limit: int,
    train: Callable[[TrainingRows], Model],
    points: Callable[[Model, Design], Points],
) -> GlobalFit[Model]:
    """Train on all origins; before that on what precedes the last horizons, to see errors there.

    Args:
        limit: rows above which cells are sampled.
        first_limit: the same for the first fit, which sets weights and intervals only.
        train: learns from rows.
        points: point forecasts of a design by what was learned.
    """
    horizon = horizon_periods(panel, settings.horizon_days)
    periods = panel.shape[1]
    tests = held_out_origins(periods, horizon=horizon, count=HOLDOUTS)
    codes = AttributeCodes.learn(panel)
    builder = build_rows(panel, end=tests[0], tests=tests, codes=codes, settings=settings)
    first = train(builder.rows(limit=first_limit))
    points_at = {origin: points(first, builder.design(origin)) for origin in tests}
    held = held_out_cells(builder, points_at)
    builder = build_rows(panel, end=periods, tests=(), codes=codes, settings=settings)
    return GlobalFit(model=train(builder.rows(limit=limit)), codes=codes, held=held)


def feature_columns(names: tuple[str, ...]) -> list[int]:
    """Columns of the named features in a design."""
    position = {name: number for number, name in enumerate(feature_names())}
    return [position[name] for name in names]


def held_out_cells(builder: RowBuilder, points: Mapping[int, Points]) -> HeldOutCells:
    """The usable cells after each origin, beside the points forecast from it."""
    parts = [_held_out(builder, value, origin) for origin, value in points.items()]
    return HeldOutCells(*np.concatenate(parts, axis=1))


def _held_out(builder: RowBuilder, points: Points, origin: int) -> Floats:
    """(4, n): actual, mean, median and base over the usable cells after ``origin``."""
    span = slice(origin, origin + points.mean.shape[1])
    usable = usable_cells(builder.panel)[:, span]
    actual = builder.panel.units[:, span]
    values = (actual, points.mean, points.median, points.base)
    return np.stack([value[usable] for value in values])
