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

from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.forecast.attributes import CATEGORICAL, AttributeCodes
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.design import Design, feature_names
from pricing_assets.core.forecast.global_model import (
    OFFSET,
    HeldOutCells,
    HeldOutFit,
    Points,
    feature_columns,
    fit_twice,
)
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.training_rows import (
    LEAST_ROWS,
    PlannedDesign,
    TrainingRows,
    learned_features,
    plan_design,
)
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

NAME = "lightgbm"
MEAN_FILE = "mean.lgb.txt"
MEDIAN_FILE = "median.lgb.txt"

_LEAVES_OF_ALL_ROWS = 3000
_RATIO_BOUND = 3.0


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

    def points_of(self, planned: PlannedDesign) -> Points:
        """Point forecasts of a plan."""
        return predict_points(self._boosters(), planned.design)

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan at its prices, promotions and calendar."""
        points = self.points_of(plan_design(panel, plan, codes=self.codes))
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
        return self._fit(panel)[0]

    def fit_with_holdout(self, panel: Panel) -> HeldOutFit:
        """The same fit, and what its first pass predicted of the horizons held out of it."""
        return HeldOutFit(*self._fit(panel))

    def _fit(self, panel: Panel) -> tuple[FittedLightGbm, HeldOutCells]:
        fit = fit_twice(
            panel,
            settings=self.settings,
            limit=self.settings.forecast.max_rows,
            first_limit=max(1, self.settings.forecast.max_rows // 2),
            train=lambda rows: train_boosters(rows, panel=panel, settings=self.settings),
            points=predict_points,
        )
        fitted = FittedLightGbm(
            texts=_texts(fit.model),
            features=() if fit.model is None else fit.model.features,
            codes=fit.codes,
            intervals=fit.held.intervals(),
        )
        return fitted, fit.held


def train_boosters(
    rows: TrainingRows, *, panel: Panel, settings: PricingSettings
) -> Boosters | None:
    """Mean and median boosters; None where the rows are too few to learn from."""
    if rows.target.size < LEAST_ROWS or not rows.target.any():
        return None
    names = learned_features(panel)
    data = _dataset(rows, names)
    mean = _train(data, "poisson", settings=settings)
    data.set_label(np.log((rows.target + OFFSET) / (rows.base + OFFSET)))
    data.set_init_score(np.zeros(rows.target.size))
    return Boosters(mean=mean, median=_train(data, "l1", settings=settings), features=names)


def mean_of(
    design: Design, *, rows: TrainingRows, names: tuple[str, ...], settings: PricingSettings
) -> Floats:
    """Expected demand of a design, (S, H), by a mean booster trained on ``rows`` alone."""
    if rows.target.size < LEAST_ROWS or not rows.target.any():
        return design.base
    booster = _train(_dataset(rows, names), "poisson", settings=settings)
    flat = design.features.reshape(-1, design.features.shape[2])[:, feature_columns(names)]
    return np.asarray(design.base * _ratio(booster, flat).reshape(design.base.shape))


def _dataset(rows: TrainingRows, names: tuple[str, ...]) -> lgb.Dataset:
    """The rows for the mean: units, starting from the base."""
    return lgb.Dataset(
        rows.features[:, feature_columns(names)],
        label=rows.target,
        init_score=np.log(rows.base),
        feature_name=list(names),
        categorical_feature=[names.index(name) for name in CATEGORICAL],
        params={"max_bin": 127, "verbosity": -1},
    )


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
    columns = feature_columns(boosters.features)
    flat = design.features.reshape(-1, design.features.shape[2])[:, columns]
    mean = base * _ratio(boosters.mean, flat).reshape(base.shape)
    shifted = (base + OFFSET) * _ratio(boosters.median, flat).reshape(base.shape)
    return Points(mean=mean, median=np.maximum(shifted - OFFSET, 0.0), base=base)


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


def _ratio(booster: lgb.Booster, flat: NDArray[np.float32]) -> Floats:
    score = np.asarray(booster.predict(flat, raw_score=True, num_threads=1), np.float64)
    return np.exp(np.clip(score, -_RATIO_BOUND, _RATIO_BOUND))


def _texts(boosters: Boosters | None) -> dict[str, str]:
    if boosters is None:
        return {}
    return {
        MEAN_FILE: boosters.mean.model_to_string(),
        MEDIAN_FILE: boosters.median.model_to_string(),
    }
