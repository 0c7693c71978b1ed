r"""Two light global models beside LightGBM, on the same design: elastic net and support vectors.

Both learn ratios to the base forecast :math:`b`, as LightGBM does, and take over where it fails.

- ``elastic_net``: mean :math:`b \exp(x^\top\beta)` by the quasi-likelihood of a negative binomial,
  median of :math:`\log\frac{y + c}{b + c}` by the absolute error, both by iteratively reweighted
  least squares under an elastic net penalty (Friedman, Hastie and Tibshirani 2010).
- ``svr``: the same log ratio by support vector regression with a Gaussian kernel (Drucker et al.
  1997) on a sample, which costs about a second where all rows would cost hours. A linear one is
  faster still, but missed orange juice by 1 MAPE point more. Its mean is the median times the
  ratio of sums in classes of volume (Duan 1983).

Both are saved as safetensors and JSON, and predicted by NumPy alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.forecast.attributes import AttributeCodes
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.design import Design, feature_names
from pricing_assets.core.forecast.global_model import (
    OFFSET,
    HeldOutCells,
    HeldOutFit,
    Points,
    fit_twice,
)
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.linear_inputs import LinearInputs
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
Arrays = dict[str, NDArray]

ELASTIC_NET = "elastic_net"
SVR = "svr"
LINEAR_BACKUPS = (SVR, ELASTIC_NET)
"""Names of the light backups, in the order of failover."""
TENSORS_FILE = "model.safetensors"

_ROWS = {ELASTIC_NET: 30_000, SVR: 5_000}
"""Rows above which cells are sampled: seconds, on one core, for any number of series."""
_RATIO_BOUND = 3.0
_ROUNDS = 6
_PENALTY = 0.01
_L1_SHARE = 0.5
_DISPERSION = 0.3
_LEAST_ERROR = 0.05
_COST = 1.0
_TUBE = 0.2
_KERNEL_WIDTH = 0.3
_CLASSES = 12
_BATCH = 4096


class RatioModel(Protocol):
    """Log ratios to the base that were learned from columns (n, D)."""

    def ratios(self, columns: Floats, base: Floats) -> tuple[Floats, Floats]:
        """Mean ratio to the base and median ratio to base + 1/2, each (n,)."""
        ...

    def arrays(self) -> Arrays:
        """The learned arrays by name."""
        ...


@dataclass(frozen=True, slots=True)
class ElasticNetRatios:
    """Linear log ratios.

    Attributes:
        mean, median: (D + 1,) coefficients, the intercept last.
    """

    mean: Floats
    median: Floats

    def ratios(self, columns: Floats, base: Floats) -> tuple[Floats, Floats]:
        """Mean and median ratio, each (n,)."""
        mean = columns @ self.mean[:-1] + self.mean[-1]
        median = columns @ self.median[:-1] + self.median[-1]
        return np.exp(_bounded(mean)), np.exp(_bounded(median))

    def arrays(self) -> Arrays:
        """The coefficients."""
        return {"mean": self.mean, "median": self.median}

    @classmethod
    def learn(cls, columns: Floats, rows: TrainingRows) -> ElasticNetRatios:
        """Fit both by reweighted least squares."""
        log_ratio = np.log((rows.target + OFFSET) / (rows.base + OFFSET))

        def mean_step(score: Floats) -> tuple[Floats, Floats]:
            mean = rows.base * np.exp(score)
            return score + (rows.target - mean) / mean, mean / (1.0 + _DISPERSION * mean)

        def median_step(score: Floats) -> tuple[Floats, Floats]:
            return log_ratio, 1.0 / np.maximum(np.abs(log_ratio - score), _LEAST_ERROR)

        return cls(mean=_reweighted(columns, mean_step), median=_reweighted(columns, median_step))


@dataclass(frozen=True, slots=True)
class SupportVectorRatios:
    """Log ratio by a Gaussian kernel over support vectors.

    Attributes:
        vectors: (V, D) float32 support vectors.
        weights: (V + 1,) of each vector, the intercept last.
        width: (1,) kernel coefficient: exp(-width * squared distance).
        volumes, factors: (C,) log volume of each class, and mean over median there.
    """

    vectors: NDArray[np.float32]
    weights: Floats
    width: Floats
    volumes: Floats
    factors: Floats

    def ratios(self, columns: Floats, base: Floats) -> tuple[Floats, Floats]:
        """Mean and median ratio, each (n,)."""
        median = np.exp(_bounded(self._score(columns)))
        volume = median * (base + OFFSET)
        mean = volume * np.interp(np.log(volume), self.volumes, self.factors)
        return mean / base, median

    def arrays(self) -> Arrays:
        """Support vectors, weights and the classes of volume."""
        return {
            "vectors": self.vectors,
            "weights": self.weights,
            "width": self.width,
            "volumes": self.volumes,
            "factors": self.factors,
        }

    @classmethod
    def learn(cls, columns: Floats, rows: TrainingRows) -> SupportVectorRatios:
        """Fit the median, then the classes of volume on the rows it was fitted on."""
        from sklearn.svm import SVR as SupportVectorRegression

        log_ratio = np.log((rows.target + OFFSET) / (rows.base + OFFSET))
        width = _KERNEL_WIDTH / max(1, columns.shape[1])
        fitted = SupportVectorRegression(C=_COST, epsilon=_TUBE, gamma=width, tol=1e-2)
        fitted.fit(columns, log_ratio)
        volume = (rows.base + OFFSET) * np.exp(_bounded(fitted.predict(columns)))
        order = np.argsort(volume, kind="stable")
        parts = np.array_split(order, min(_CLASSES, order.size))
        return cls(
            vectors=fitted.support_vectors_.astype(np.float32),
            weights=np.append(fitted.dual_coef_[0], fitted.intercept_),
            width=np.asarray([width]),
            volumes=np.asarray([np.log(volume[part]).mean() for part in parts]),
            factors=np.asarray([_factor(rows.target[part], volume[part]) for part in parts]),
        )

    def _score(self, columns: Floats) -> Floats:
        """(n,) log ratios, in batches that keep the kernel matrix small."""
        length = (self.vectors.astype(np.float64) ** 2).sum(axis=1)
        score = np.empty(len(columns))
        for start in range(0, len(columns), _BATCH):
            part = columns[start : start + _BATCH]
            squared = (part**2).sum(axis=1)[:, None] + length - 2.0 * part @ self.vectors.T
            kernel = np.exp(-self.width[0] * np.maximum(squared, 0.0))
            score[start : start + _BATCH] = kernel @ self.weights[:-1] + self.weights[-1]
        return score


_LEARN: dict[str, Callable[[Floats, TrainingRows], RatioModel]] = {
    ELASTIC_NET: ElasticNetRatios.learn,
    SVR: SupportVectorRatios.learn,
}
_REBUILD: dict[str, Callable[..., RatioModel]] = {
    ELASTIC_NET: ElasticNetRatios,
    SVR: SupportVectorRatios,
}


@dataclass(frozen=True, slots=True)
class Learned:
    """Inputs and ratios; what a fit gives where the rows were enough."""

    inputs: LinearInputs
    ratios: RatioModel

    def points(self, design: Design) -> Points:
        """Point forecasts of a design, (S, H)."""
        flat = design.features.reshape(-1, design.features.shape[2])
        base = design.base.ravel()
        mean, median = self.ratios.ratios(self.inputs.columns(flat), base)
        return Points(
            mean=(base * mean).reshape(design.base.shape),
            median=np.maximum((base + OFFSET) * median - OFFSET, 0.0).reshape(design.base.shape),
            base=design.base,
        )


@dataclass(frozen=True, slots=True)
class FittedLinearBackup:
    """A trained backup; without a model (too little history) the forecast is the base.

    Attributes:
        name: ``svr`` or ``elastic_net``.
        learned: inputs and ratios; None without enough rows.
        codes: integer codes of the series attributes.
        intervals: calibration on held-out horizons.
    """

    name: str
    learned: Learned | None
    codes: AttributeCodes
    intervals: IntervalCalibration

    def points_of(self, planned: PlannedDesign) -> Points:
        """Point forecasts of a plan."""
        return _points(self.learned, planned.design)

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan at its prices, promotions and calendar."""
        points = self.points_of(plan_design(panel, plan, codes=self.codes))
        return self.intervals.forecast(
            dates=plan.dates, mean=points.mean, centre=points.median, scale=points.mean
        )

    def to_files(self) -> dict[str, bytes]:
        """JSON state, and safetensors of what was learned."""
        state = {
            "forecaster": self.name,
            "features": None if self.learned is None else list(self.learned.inputs.names),
            "codes": {name: list(values) for name, values in self.codes.values.items()},
            "intervals": self.intervals.to_json(),
        }
        files = {METADATA_FILE: json_bytes(state)}
        if self.learned is not None:
            inputs = {f"inputs.{k}": v for k, v in self.learned.inputs.arrays().items()}
            ratios = {f"ratios.{k}": v for k, v in self.learned.ratios.arrays().items()}
            files[TENSORS_FILE] = save_tensors(_contiguous({**inputs, **ratios}))
        return files


@dataclass(frozen=True, slots=True)
class LinearBackup:
    """An untrained backup, ``svr`` or ``elastic_net``."""

    name: str
    settings: PricingSettings

    def fit(self, panel: Panel) -> FittedLinearBackup:
        """Fit once without the last horizons to calibrate intervals, then on everything."""
        return self._fit(panel)[0]

    def fit_with_holdout(self, panel: Panel) -> HeldOutFit:
        """The same fit, and what its first pass predicted of the horizons held out of it."""
        return HeldOutFit(*self._fit(panel))

    def _fit(self, panel: Panel) -> tuple[FittedLinearBackup, HeldOutCells]:
        names = learned_features(panel)
        limit = min(_ROWS[self.name], self.settings.forecast.max_rows)
        fit = fit_twice(
            panel,
            settings=self.settings,
            limit=limit,
            first_limit=limit,
            train=lambda rows: _train(rows, kind=self.name, names=names),
            points=_points,
        )
        fitted = FittedLinearBackup(
            name=self.name, learned=fit.model, codes=fit.codes, intervals=fit.held.intervals()
        )
        return fitted, fit.held


def load(bundle: ModelBundle, state: Mapping[str, Any]) -> FittedLinearBackup:
    """Rebuild from a bundle; ``state`` is its parsed JSON.

    Raises:
        IntegrityError: features that this version does not build, or tensors that do not fit.
    """
    return FittedLinearBackup(
        name=state["forecaster"],
        learned=_load_learned(bundle, state) if state["features"] is not None else None,
        codes=AttributeCodes({name: tuple(values) for name, values in state["codes"].items()}),
        intervals=IntervalCalibration.from_json(state["intervals"]),
    )


def _load_learned(bundle: ModelBundle, state: Mapping[str, Any]) -> Learned:
    name, names = state["forecaster"], tuple(state["features"])
    unknown = sorted(set(names) - set(feature_names()))
    if unknown or TENSORS_FILE not in bundle.files:
        what = f"features {', '.join(unknown)}" if unknown else f"'{TENSORS_FILE}', which is absent"
        raise IntegrityError(f"the {name} model needs {what}; train it again")
    arrays: dict[str, Arrays] = {"inputs": {}, "ratios": {}}
    for key, value in load_tensors(bundle.files[TENSORS_FILE]).items():
        part, _, field = key.partition(".")
        arrays[part][field] = value
    return Learned(
        inputs=LinearInputs.from_arrays(arrays["inputs"], names=names),
        ratios=_REBUILD[name](**arrays["ratios"]),
    )


def _train(rows: TrainingRows, *, kind: str, names: tuple[str, ...]) -> Learned | None:
    if rows.target.size < LEAST_ROWS or not rows.target.any():
        return None
    inputs = LinearInputs.learn(rows.features, names=names)
    return Learned(inputs=inputs, ratios=_LEARN[kind](inputs.columns(rows.features), rows))


def _points(learned: Learned | None, design: Design) -> Points:
    if learned is None:
        return Points(mean=design.base, median=design.base, base=design.base)
    return learned.points(design)


def _reweighted(columns: Floats, step: Callable[[Floats], tuple[Floats, Floats]]) -> Floats:
    """(D + 1,) coefficients after rounds of penalised least squares.

    Args:
        step: score (n,) -> working response and weights, each (n,).
    """
    from sklearn.linear_model import ElasticNet

    fitted = ElasticNet(
        alpha=_PENALTY, l1_ratio=_L1_SHARE, max_iter=1000, tol=1e-3, warm_start=True
    )
    score = np.zeros(len(columns))
    for _ in range(_ROUNDS):
        response, weights = step(_bounded(score))
        fitted.fit(columns, response, sample_weight=weights / weights.mean())
        score = fitted.predict(columns)
    return np.append(fitted.coef_, fitted.intercept_)


def _bounded(score: Floats) -> Floats:
    return np.clip(score, -_RATIO_BOUND, _RATIO_BOUND)


def _factor(target: Floats, volume: Floats) -> float:
    """Sum of units over sum of medians; a class that sold nothing keeps a thousandth."""
    return max(float(target.sum() / volume.sum()), 1e-3)


def _contiguous(arrays: Arrays) -> Arrays:
    return {name: np.ascontiguousarray(value) for name, value in arrays.items()}
