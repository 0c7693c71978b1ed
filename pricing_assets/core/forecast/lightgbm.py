r"""LightGBM over all series, direct multi-horizon, on the count scale.

Both boosters learn a ratio to the base forecast :math:`b` (SES x weekday x price effect). The mean

.. math:: E[y] = b \exp f(x)

is fitted by the Poisson likelihood with :math:`\log b` as the starting score, which is consistent
for the mean of any count (Gourieroux, Monfort and Trognon 1984), so that sums are unbiased where
a model of logs is not. The median is fitted by the absolute error of
:math:`\log\frac{y + c}{b + c}`, which a few great promotions do not pull up. Intervals are
conformal around the median, from horizons held out of a first fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.forecast.attributes import CATEGORICAL, AttributeCodes
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.design import (
    ANNUAL,
    Design,
    build_design,
    feature_names,
)
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.levels import trace_levels
from pricing_assets.core.forecast.price_response import fit_price_response
from pricing_assets.core.forecast.training_rows import RowBuilder, TrainingRows, build_rows
from pricing_assets.core.forecast.windows import held_out_origins, horizon_periods, usable_cells
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

NAME = "lightgbm"
MEAN_FILE = "mean.lgb.txt"
MEDIAN_FILE = "median.lgb.txt"

_HOLDOUTS = 2
_LEAST_ROWS = 400
_LEAVES_OF_ALL_ROWS = 3000
_RATIO_BOUND = 3.0
_OFFSET = 0.5
_ANNUAL_DAYS = 3 * 364


@dataclass(frozen=True, slots=True)
class Points:
    """Point forecasts, each (S, H) units a period.

    Attributes:
        mean: LightGBM's expected demand.
        median: LightGBM's median demand.
        base: SES x weekday x price effect, which both started from.
    """

    mean: Floats
    median: Floats
    base: Floats


@dataclass(frozen=True, slots=True)
class Boosters:
    """The two boosters and the names of the features they read.

    Attributes:
        mean: Poisson booster of the ratio to the base.
        median: absolute-error booster of the log ratio.
        features: columns of the design that were given.
    """

    mean: lgb.Booster
    median: lgb.Booster
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FittedLightGbm:
    """Trained boosters; without them (too little history) the forecast is the base.

    Attributes:
        texts: LightGBM's text models by file name; empty without boosters.
        features: names of the features that the boosters read.
        codes: integer codes of the series attributes.
        intervals: calibration on held-out horizons.
    """

    texts: dict[str, str]
    features: tuple[str, ...]
    codes: AttributeCodes
    intervals: IntervalCalibration
    name: str = NAME

    def points(self, panel: Panel, plan: FuturePlan) -> Points:
        """Point forecasts of the plan at its prices, promotions and calendar."""
        origin = panel.shape[1]
        response = fit_price_response(panel)
        history = trace_levels(panel, [origin], response=response)
        design = build_design(
            panel,
            demand=history.adjusted,
            state=history.states[origin],
            response=response,
            plan=plan,
            codes=self.codes,
        )
        return predict_points(self._boosters(), design)

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan at its prices, promotions and calendar."""
        points = self.points(panel, plan)
        return self.intervals.forecast(
            dates=plan.dates, mean=points.mean, centre=points.median, scale=points.mean
        )

    def to_files(self) -> dict[str, bytes]:
        """JSON state and LightGBM's text models."""
        state = {
            "forecaster": self.name,
            "boosters": sorted(self.texts),
            "features": list(self.features),
            "codes": {name: list(values) for name, values in self.codes.values.items()},
            "intervals": self.intervals.to_json(),
        }
        texts = {name: text.encode("utf-8") for name, text in self.texts.items()}
        return {METADATA_FILE: json_bytes(state), **texts}

    def _boosters(self) -> Boosters | None:
        if not self.texts:
            return None
        return Boosters(
            mean=lgb.Booster(model_str=self.texts[MEAN_FILE]),
            median=lgb.Booster(model_str=self.texts[MEDIAN_FILE]),
            features=self.features,
        )


@dataclass(frozen=True, slots=True)
class LightGbm:
    """An untrained LightGBM forecaster."""

    settings: PricingSettings
    name: str = NAME

    def fit(self, panel: Panel) -> FittedLightGbm:
        """Fit once without the last horizons to calibrate intervals, then on everything."""
        return fit_with_holdout(panel, settings=self.settings).fitted


@dataclass(frozen=True, slots=True)
class HeldOutFit:
    """A fit, and what its first pass predicted of the horizons held out of it.

    Attributes:
        fitted: the model trained on everything.
        actual, mean, median, base: (n,) held-out units and point forecasts.
    """

    fitted: FittedLightGbm
    actual: Floats
    mean: Floats
    median: Floats
    base: Floats


def fit_with_holdout(panel: Panel, *, settings: PricingSettings) -> HeldOutFit:
    """Train on all origins; calibrate on the last horizons by a fit that never saw them.

    The first fit takes half the rows: it sets weights and intervals only.
    """
    horizon = horizon_periods(panel, settings.horizon_days)
    periods = panel.shape[1]
    tests = held_out_origins(periods, horizon=horizon, count=_HOLDOUTS)
    codes = AttributeCodes.learn(panel)
    half = max(1, settings.forecast.max_rows // 2)
    builder = build_rows(panel, end=tests[0], tests=tests, codes=codes, settings=settings)
    first = train_boosters(builder.rows(limit=half), panel=panel, settings=settings)
    pairs = [_held_out(builder, first, origin) for origin in tests]
    actual, mean, median, base = np.concatenate(pairs, axis=1)
    builder = build_rows(panel, end=periods, tests=(), codes=codes, settings=settings)
    rows = builder.rows(limit=settings.forecast.max_rows)
    final = train_boosters(rows, panel=panel, settings=settings)
    fitted = FittedLightGbm(
        texts=_texts(final),
        features=() if final is None else final.features,
        codes=codes,
        intervals=IntervalCalibration.fit(
            actual=actual, centre=median, scale=mean, keep_median=True
        ),
    )
    return HeldOutFit(fitted=fitted, actual=actual, mean=mean, median=median, base=base)


def train_boosters(
    rows: TrainingRows, *, panel: Panel, settings: PricingSettings
) -> Boosters | None:
    """Mean and median boosters; None where the rows are too few to learn from.

    Features of the time of year are left out of a history under three years: with a year seen
    once or twice they tell a date, not a season.
    """
    if rows.target.size < _LEAST_ROWS or not rows.target.any():
        return None
    short = panel.shape[1] * panel.period_days < _ANNUAL_DAYS
    names = tuple(name for name in feature_names() if not (short and name in ANNUAL))
    data = lgb.Dataset(
        rows.features[:, _columns(names)],
        label=rows.target,
        init_score=np.log(rows.base),
        feature_name=list(names),
        categorical_feature=[names.index(name) for name in CATEGORICAL],
        params={"max_bin": 127, "verbosity": -1},
    )
    mean = _train(data, "poisson", settings=settings)
    data.set_label(np.log((rows.target + _OFFSET) / (rows.base + _OFFSET)))
    data.set_init_score(np.zeros(rows.target.size))
    return Boosters(mean=mean, median=_train(data, "l1", settings=settings), features=names)


def _train(data: lgb.Dataset, objective: str, *, settings: PricingSettings) -> lgb.Booster:
    rows = data.construct().num_data()
    parameters = booster_parameters(settings, objective=objective, rows=rows)
    return lgb.train(parameters, data, num_boost_round=settings.forecast.n_estimators)


def booster_parameters(
    settings: PricingSettings, *, objective: str, rows: int
) -> dict[str, object]:
    """LightGBM's parameters: seeded and deterministic; leaves grow with the number of rows."""
    forecast = settings.forecast
    return {
        "objective": objective,
        "learning_rate": forecast.learning_rate,
        "num_leaves": forecast.num_leaves,
        "min_data_in_leaf": max(forecast.min_data_in_leaf, rows // _LEAVES_OF_ALL_ROWS),
        "feature_fraction": 0.5,
        "bagging_fraction": 0.5,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 127,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": forecast.threads,
        "verbosity": -1,
    }


def predict_points(boosters: Boosters | None, design: Design) -> Points:
    """Point forecasts, (S, H): the base times the learned ratios, which are bounded."""
    base = design.base
    if boosters is None:
        return Points(mean=base, median=base, base=base)
    flat = design.features.reshape(-1, design.features.shape[2])[:, _columns(boosters.features)]
    mean = base * _ratio(boosters.mean, flat).reshape(base.shape)
    shifted = (base + _OFFSET) * _ratio(boosters.median, flat).reshape(base.shape)
    return Points(mean=mean, median=np.maximum(shifted - _OFFSET, 0.0), base=base)


def load(bundle: ModelBundle, state: dict[str, Any]) -> FittedLightGbm:
    """Rebuild from a bundle; ``state`` is its parsed JSON.

    Raises:
        IntegrityError: the model was trained on features that this version does not build.
    """
    unknown = sorted(set(state["features"]) - set(feature_names()))
    if unknown:
        raise IntegrityError(
            f"the LightGBM model was trained on features that this version does not build "
            f"({', '.join(unknown)}); train it again"
        )
    return FittedLightGbm(
        texts={name: bundle.text(name) for name in state["boosters"]},
        features=tuple(state["features"]),
        codes=AttributeCodes({name: tuple(values) for name, values in state["codes"].items()}),
        intervals=IntervalCalibration.from_json(state["intervals"]),
    )


def _held_out(builder: RowBuilder, boosters: Boosters | None, origin: int) -> Floats:
    """(4, n): actual, mean, median and base over the usable cells after ``origin``."""
    points = predict_points(boosters, builder.design(origin))
    span = slice(origin, origin + points.mean.shape[1])
    usable = usable_cells(builder.panel)[:, span]
    actual = builder.panel.units[:, span]
    values = (actual, points.mean, points.median, points.base)
    return np.stack([value[usable] for value in values])


def _ratio(booster: lgb.Booster, flat: NDArray[np.float32]) -> Floats:
    score = np.asarray(booster.predict(flat, raw_score=True, num_threads=1), np.float64)
    return np.exp(np.clip(score, -_RATIO_BOUND, _RATIO_BOUND))


def _columns(names: Sequence[str]) -> list[int]:
    position = {name: number for number, name in enumerate(feature_names())}
    return [position[name] for name in names]


def _texts(boosters: Boosters | None) -> dict[str, str]:
    if boosters is None:
        return {}
    return {
        MEAN_FILE: boosters.mean.model_to_string(),
        MEDIAN_FILE: boosters.median.model_to_string(),
    }
