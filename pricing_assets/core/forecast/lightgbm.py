r"""LightGBM over all series, direct multi-horizon, on the count scale.

The model is a ratio to SES x weekday: with base forecast :math:`b`,

.. math:: E[y] = b \exp f(x),

fitted by the Poisson likelihood with :math:`\log b` as the starting score, which is consistent
for the mean of any count (Gourieroux, Monfort and Trognon 1984), so that sums are unbiased where
a model of logs is not. Rows are weighted by :math:`1/(1 + \phi b)`, the negative binomial's
quasi-likelihood weight. Intervals come from horizons held out of a first fit.
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
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.design import (
    CATEGORICAL,
    AttributeCodes,
    Design,
    build_design,
    feature_names,
)
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.levels import DemandHistory, demand_dispersion, trace_levels
from pricing_assets.core.forecast.windows import (
    actual_plan,
    held_out_origins,
    horizon_periods,
    usable_cells,
)
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import ForecastParameters, PricingSettings

Floats = NDArray[np.float64]

NAME = "lightgbm"
BOOSTER_FILE = "mean.lgb.txt"

_HOLDOUTS = 2
_LEAST_ROWS = 400
_RATIO_BOUND = 3.0


@dataclass(frozen=True, slots=True)
class FittedLightGbm:
    """A trained booster; without one (too little history) the forecast is SES x weekday.

    Attributes:
        booster_text: LightGBM's text model, or None.
        codes: integer codes of the series attributes.
        intervals: calibration on held-out horizons.
    """

    booster_text: str | None
    codes: AttributeCodes
    intervals: IntervalCalibration
    name: str = NAME

    def mean(self, panel: Panel, plan: FuturePlan) -> Floats:
        """Expected demand, (S, H) units a period."""
        origin = panel.shape[1]
        history = trace_levels(panel, [origin])
        design = build_design(
            panel,
            demand=history.demand,
            state=history.states[origin],
            plan=plan,
            codes=self.codes,
        )
        text = self.booster_text
        booster = None if text is None else lgb.Booster(model_str=text)
        return predict_mean(booster, design)

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan at its prices, promotions and calendar."""
        mean = self.mean(panel, plan)
        return self.intervals.forecast(dates=plan.dates, mean=mean, scale=mean)

    def to_files(self) -> dict[str, bytes]:
        """JSON state and LightGBM's text model."""
        state = {
            "forecaster": self.name,
            "has_booster": self.booster_text is not None,
            "features": list(feature_names()),
            "codes": {name: list(values) for name, values in self.codes.values.items()},
            "intervals": self.intervals.to_json(),
        }
        files = {METADATA_FILE: json_bytes(state)}
        if self.booster_text is not None:
            files[BOOSTER_FILE] = self.booster_text.encode("utf-8")
        return files


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
        actual, mean, base: (n,) held-out units, LightGBM's mean and SES x weekday.
    """

    fitted: FittedLightGbm
    actual: Floats
    mean: Floats
    base: Floats


@dataclass(frozen=True, slots=True)
class _Rows:
    features: NDArray[np.float32]
    base: Floats
    target: Floats


def fit_with_holdout(panel: Panel, *, settings: PricingSettings) -> HeldOutFit:
    """Train on all origins; calibrate on the last horizons by a fit that never saw them."""
    horizon = horizon_periods(panel, settings.horizon_days)
    tests = held_out_origins(panel.shape[1], horizon=horizon, count=_HOLDOUTS)
    early = training_origins(tests[0], horizon=horizon, parameters=settings.forecast)
    late = training_origins(panel.shape[1], horizon=horizon, parameters=settings.forecast)
    history = trace_levels(panel, sorted({*tests, *early, *late}))
    codes = AttributeCodes.learn(panel)
    phi = demand_dispersion(panel)
    builder = _RowBuilder(panel, history, codes, horizon, settings)
    first = train_booster(builder.rows(early, end=tests[0]), phi=phi, settings=settings)
    pairs = [builder.held_out(first, origin) for origin in tests]
    actual, mean, base = np.concatenate(pairs, axis=1)
    final = train_booster(builder.rows(late, end=panel.shape[1]), phi=phi, settings=settings)
    fitted = FittedLightGbm(
        booster_text=None if final is None else final.model_to_string(),
        codes=codes,
        intervals=IntervalCalibration.fit(actual=actual, mean=mean, scale=mean),
    )
    return HeldOutFit(fitted=fitted, actual=actual, mean=mean, base=base)


def training_origins(end: int, *, horizon: int, parameters: ForecastParameters) -> tuple[int, ...]:
    """Origins whose targets lie before ``end``, going back from it, ascending.

    In a short history the origins move closer, down to a third of it.
    """
    first = max(1, min(4 * horizon, end // 3))
    last = max(end - horizon, (2 * end) // 3, 1)
    spacing = max(1, min(horizon, (last - first) // max(1, parameters.training_origins - 1)))
    origins = [last - spacing * back for back in range(parameters.training_origins)]
    return tuple(sorted({origin for origin in origins if origin >= min(first, last)}))


@dataclass(frozen=True, slots=True)
class _RowBuilder:
    panel: Panel
    history: DemandHistory
    codes: AttributeCodes
    horizon: int
    settings: PricingSettings

    def design(self, origin: int) -> Design:
        return build_design(
            self.panel.until(origin),
            demand=self.history.demand[:, :origin],
            state=self.history.states[origin],
            plan=actual_plan(self.panel, origin=origin, horizon=self.horizon),
            codes=self.codes,
        )

    def rows(self, origins: Sequence[int], *, end: int) -> _Rows:
        """Cells with a known demand before ``end``, thinned at random to the settings' limit."""
        rng = np.random.default_rng(self.settings.seed)
        share = max(1, self.settings.forecast.max_rows // max(1, len(origins)))
        parts = [self._origin_rows(origin, end=end, limit=share, rng=rng) for origin in origins]
        return _Rows(
            features=np.concatenate([part.features for part in parts]),
            base=np.concatenate([part.base for part in parts]),
            target=np.concatenate([part.target for part in parts]),
        )

    def _origin_rows(self, origin: int, *, end: int, limit: int, rng: np.random.Generator) -> _Rows:
        design = self.design(origin)
        width = min(self.horizon, end - origin, self.panel.shape[1] - origin)
        target = self.history.demand[:, origin : origin + width]
        chosen = np.flatnonzero(np.isfinite(target).ravel())
        if chosen.size > limit:
            chosen = np.sort(rng.choice(chosen, size=limit, replace=False))
        features = design.features[:, :width].reshape(-1, design.features.shape[2])
        return _Rows(
            features=features[chosen],
            base=design.base[:, :width].ravel()[chosen],
            target=target.ravel()[chosen],
        )

    def held_out(self, booster: lgb.Booster | None, origin: int) -> Floats:
        """(3, n): actual, LightGBM's mean and the base over the usable cells after ``origin``."""
        design = self.design(origin)
        mean = predict_mean(booster, design)
        span = slice(origin, origin + mean.shape[1])
        usable = usable_cells(self.panel)[:, span]
        actual = self.panel.units[:, span]
        return np.stack([actual[usable], mean[usable], design.base[usable]])


def train_booster(rows: _Rows, *, phi: float, settings: PricingSettings) -> lgb.Booster | None:
    """Poisson booster of the ratio to the base; None where the rows are too few to learn from."""
    if rows.target.size < _LEAST_ROWS or not rows.target.any():
        return None
    names = list(feature_names())
    data = lgb.Dataset(
        rows.features,
        label=rows.target,
        init_score=np.log(rows.base),
        weight=1.0 / (1.0 + phi * rows.base),
        feature_name=names,
        categorical_feature=[names.index(name) for name in CATEGORICAL],
        free_raw_data=True,
        params={"max_bin": 127, "verbosity": -1},
    )
    rounds = settings.forecast.n_estimators
    return lgb.train(booster_parameters(settings), data, num_boost_round=rounds)


def booster_parameters(settings: PricingSettings) -> dict[str, object]:
    """LightGBM's parameters: seeded and deterministic."""
    forecast = settings.forecast
    return {
        "objective": "poisson",
        "learning_rate": forecast.learning_rate,
        "num_leaves": forecast.num_leaves,
        "min_data_in_leaf": forecast.min_data_in_leaf,
        "feature_fraction": 0.6,
        "bagging_fraction": 0.7,
        "bagging_freq": 1,
        "lambda_l2": 5.0,
        "max_bin": 127,
        "seed": settings.seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": forecast.threads,
        "verbosity": -1,
    }


def predict_mean(booster: lgb.Booster | None, design: Design) -> Floats:
    """Expected demand, (S, H): the base times the learned ratio, which is bounded."""
    if booster is None:
        return design.base
    flat = design.features.reshape(-1, design.features.shape[2])
    score = np.asarray(booster.predict(flat, raw_score=True, num_threads=1))
    ratio = np.exp(np.clip(score, -_RATIO_BOUND, _RATIO_BOUND))
    return np.asarray(design.base * ratio.reshape(design.base.shape))


def load(bundle: ModelBundle, state: dict[str, Any]) -> FittedLightGbm:
    """Rebuild from a bundle; ``state`` is its parsed JSON.

    Raises:
        IntegrityError: the model was trained on other features than this version builds.
    """
    if state["features"] != list(feature_names()):
        raise IntegrityError(
            "the LightGBM model was trained on other features than this version builds; "
            "train it again"
        )
    return FittedLightGbm(
        booster_text=bundle.text(BOOSTER_FILE) if state["has_booster"] else None,
        codes=AttributeCodes({name: tuple(values) for name, values in state["codes"].items()}),
        intervals=IntervalCalibration.from_json(state["intervals"]),
    )
