r"""Weighted mean of forecasters, with weights from horizons that their first fits never saw.

With held-out means :math:`m_k` of K members the weights minimise

.. math:: \frac{1}{n}\sum_i \pi_i \Big(y_i - \sum_k w_k m_{ki}\Big)^2
          + \lambda \lVert w - 1/K \rVert^2, \qquad w \ge 0,\ \sum_k w_k = 1

where :math:`\pi` is the inverse of the negative binomial's variance :math:`b + \phi b^2` (Bates
and Granger 1969). The penalty is a share of the error at equal weights, because a few held-out
horizons share shocks and estimated weights then lose to equal ones (Stock and Watson 2004).
Medians have weights of their own, of the same kind, on the log scale.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from pricing_assets.core.bundle import ModelBundle, joined_files, json_bytes
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.global_model import (
    HOLDOUTS,
    OFFSET,
    FittedGlobal,
    HoldsOut,
    Points,
)
from pricing_assets.core.forecast.interface import (
    METADATA_FILE,
    FittedForecaster,
    Forecast,
    Forecaster,
)
from pricing_assets.core.forecast.levels import demand_dispersion
from pricing_assets.core.forecast.training_rows import PlannedDesign, plan_design
from pricing_assets.core.forecast.windows import (
    actual_plan,
    held_out_origins,
    horizon_periods,
    usable_cells,
)
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

NAME = "ensemble"
BASE = "ses_price"
"""Member that every global model brings along: SES x weekday x price effect, not trained."""

_SHRINK = 0.5
_SUM_WEIGHT = 1e4
_VARIANCE_FLOOR = 0.05


@dataclass(frozen=True, slots=True)
class FittedEnsemble:
    """A trained ensemble.

    Attributes:
        members: the trained forecasters.
        weights: member -> share of the mean, adding up to 1; :data:`BASE` may be among them.
        median_weights: member -> share of the log median.
        intervals: calibration of the weighted forecast.
    """

    members: tuple[FittedForecaster, ...]
    weights: dict[str, float]
    median_weights: dict[str, float]
    intervals: IntervalCalibration
    name: str = NAME

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan by the weighted members."""
        points = self._points(panel, plan)
        mean = sum(share * points[name].mean for name, share in self.weights.items())
        log_median = sum(
            share * np.log(points[name].median + OFFSET)
            for name, share in self.median_weights.items()
        )
        median = np.maximum(np.exp(log_median) - OFFSET, 0.0)
        return self.intervals.forecast(
            dates=plan.dates, mean=np.asarray(mean), centre=median, scale=np.asarray(mean)
        )

    def to_files(self) -> dict[str, bytes]:
        """The members' files under their names, with weights and intervals in the JSON state."""
        state = {
            "forecaster": self.name,
            "members": [member.name for member in self.members],
            "weights": self.weights,
            "median_weights": self.median_weights,
            "intervals": self.intervals.to_json(),
        }
        parts = {member.name: member.to_files() for member in self.members}
        return {**joined_files(parts), METADATA_FILE: json_bytes(state)}

    def _points(self, panel: Panel, plan: FuturePlan) -> dict[str, Points]:
        """Point forecasts by member; the design is built once for all global models."""
        shared = [member for member in self.members if isinstance(member, FittedGlobal)]
        planned = plan_design(panel, plan, codes=shared[0].codes) if shared else None
        points = {
            member.name: _member_points(member, panel, plan, planned) for member in self.members
        }
        if shared:
            base = points[shared[0].name].base
            points[BASE] = Points(mean=base, median=base, base=base)
        return points


@dataclass(frozen=True, slots=True)
class Ensemble:
    """An untrained ensemble.

    Attributes:
        members: forecasters to weigh.
        with_base: weigh :data:`BASE` too; needs a global model among the members.
    """

    members: tuple[Forecaster, ...]
    with_base: bool
    settings: PricingSettings
    name: str = NAME

    def fit(self, panel: Panel) -> FittedEnsemble:
        """Train each member, and weigh them by their errors on the held-out horizons."""
        tested = [_tested(member, panel, settings=self.settings) for member in self.members]
        actual = tested[0].actual
        means = {member.fitted.name: member.mean for member in tested}
        medians = {member.fitted.name: member.median for member in tested}
        base = next((member.base for member in tested if member.base is not None), None)
        if self.with_base and base is not None:
            means[BASE] = base
        scale = base if base is not None else np.mean(list(means.values()), axis=0)
        variance = scale + demand_dispersion(panel) * scale**2 + _VARIANCE_FLOOR
        weights = simplex_weights(actual, forecasts=list(means.values()), precision=1.0 / variance)
        logs = [np.log(median + OFFSET) for median in medians.values()]
        median_weights = simplex_weights(
            np.log(actual + OFFSET), forecasts=logs, precision=np.ones(actual.size)
        )
        mean = weights @ np.stack(list(means.values()))
        median = np.maximum(np.exp(median_weights @ np.stack(logs)) - OFFSET, 0.0)
        return FittedEnsemble(
            members=tuple(member.fitted for member in tested),
            weights=dict(zip(means, weights.tolist(), strict=True)),
            median_weights=dict(zip(medians, median_weights.tolist(), strict=True)),
            intervals=IntervalCalibration.fit(
                actual=actual, centre=median, scale=mean, keep_median=True
            ),
        )


def simplex_weights(actual: Floats, *, forecasts: Sequence[Floats], precision: Floats) -> Floats:
    """Non-negative weights of K forecasts that add up to 1, shrunk to equal ones, (K,).

    Args:
        actual, precision: (n,).
        forecasts: K arrays (n,).
    """
    count = len(forecasts)
    equal = np.full(count, 1.0 / count)
    if count == 1 or actual.size == 0:
        return equal
    errors = np.stack(forecasts) - actual
    root = np.sqrt(precision / actual.size)
    scaled = errors * root
    ridge = np.sqrt(_SHRINK * float(((equal @ scaled) ** 2).sum()) + 1e-12)
    # With weights that add up to 1 the error of the mix is the mix of the errors.
    triangle = np.linalg.qr(scaled.T, mode="r")
    rows = np.concatenate([triangle, ridge * np.eye(count), np.full((1, count), _SUM_WEIGHT)])
    target = np.concatenate([np.zeros(len(triangle)), ridge * equal, [_SUM_WEIGHT]])
    weights = nnls(rows, target)[0]
    return np.asarray(weights / weights.sum())


def load(
    bundle: ModelBundle,
    state: dict[str, Any],
    *,
    load_member: Callable[[ModelBundle], FittedForecaster],
) -> FittedEnsemble:
    """Rebuild from a bundle; ``state`` is its parsed JSON."""
    return FittedEnsemble(
        members=tuple(load_member(bundle.part(name)) for name in state["members"]),
        weights={name: float(value) for name, value in state["weights"].items()},
        median_weights={name: float(value) for name, value in state["median_weights"].items()},
        intervals=IntervalCalibration.from_json(state["intervals"]),
    )


@dataclass(frozen=True, slots=True)
class _Tested:
    """A trained member, and what a fit before the held-out horizons said of their cells, (n,)."""

    fitted: FittedForecaster
    actual: Floats
    mean: Floats
    median: Floats
    base: Floats | None


def _tested(forecaster: Forecaster, panel: Panel, *, settings: PricingSettings) -> _Tested:
    if isinstance(forecaster, HoldsOut):
        fit = forecaster.fit_with_holdout(panel)
        held = fit.held
        return _Tested(fit.fitted, held.actual, held.mean, held.median, held.base)
    horizon = horizon_periods(panel, settings.horizon_days)
    origins = held_out_origins(panel.shape[1], horizon=horizon, count=HOLDOUTS)
    early = forecaster.fit(panel.until(origins[0]))
    cells = [_held_out(early, panel, origin=origin, horizon=horizon) for origin in origins]
    actual, mean, median = np.concatenate(cells, axis=1)
    return _Tested(forecaster.fit(panel), actual, mean, median, None)


def _held_out(fitted: FittedForecaster, panel: Panel, *, origin: int, horizon: int) -> Floats:
    """(3, n): actual, mean and median over the usable cells after ``origin``."""
    plan = actual_plan(panel, origin=origin, horizon=horizon)
    forecast = fitted.predict(panel.until(origin), plan)
    span = slice(origin, origin + len(plan.dates))
    usable = usable_cells(panel)[:, span]
    values = (panel.units[:, span], forecast.mean, forecast.q50)
    return np.stack([value[usable] for value in values])


def _member_points(
    member: FittedForecaster, panel: Panel, plan: FuturePlan, planned: PlannedDesign | None
) -> Points:
    if planned is not None and isinstance(member, FittedGlobal):
        return member.points_of(planned)
    forecast = member.predict(panel, plan)
    return Points(mean=forecast.mean, median=forecast.q50, base=forecast.mean)
