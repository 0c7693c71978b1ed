"""Demand of one product in one context, read from THE demand curve of ``core.demand``.

Pure. Belongs here: how promotion, weekday and rival shift the curve. Choosing a price is
``live_quote``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from pricing_assets.core.demand import DemandCurves, box_cox_step
from serving.context import Context

Floats = NDArray[np.float64]

MAX_RIVAL_WEIGHT = 0.5
"""Largest share of a rival's move that a price position follows."""
RIVAL_RATIO = (0.2, 5.0)
"""Rival prices further from the data than this count as this far."""
MAX_LOG_UNITS = 60.0
"""Log of more units than any stock; a curve read absurdly far from its data stays finite."""


@dataclass(frozen=True, slots=True)
class CurveRow:
    """One row of ``tables.DEMAND_CURVE_COLUMNS`` as Python numbers; NaN where unknown."""

    reference_price: float
    reference_units: float
    reference_units_cv: float
    elasticity_mean: float
    elasticity_sd: float
    curvature: float
    rival_elasticity: float
    reference_rival_price: float
    promo_lift: float
    weekday_index: tuple[float, ...]
    unit_cost: float
    map_price: float
    support_low: float
    support_high: float

    @property
    def usable(self) -> bool:
        """The numbers make a demand curve."""
        numbers = (self.reference_units_cv, self.elasticity_sd, self.curvature)
        return bool(
            np.isfinite([*numbers, self.elasticity_mean]).all()
            and 0 < self.reference_price < np.inf
            and 0 <= self.reference_units < np.inf
            and self.elasticity_mean < 0
        )

    def inside(self, price: float) -> bool:
        """Whether ``price`` lies within the prices ever seen."""
        return self.support_low * (1 - 1e-9) <= price <= self.support_high * (1 + 1e-9)


@dataclass(frozen=True, slots=True)
class LiveDemand:
    """The curve with its shifts.

    Attributes:
        curve: the row.
        curves: the same as a ``DemandCurves`` of one row.
        promo: multiplier of demand under the request's promotion, 1 without.
        weekday: the named day's sales against an average day, 1 where none is named.
        rival_weight: k, by how much a rival's relative price counts as the own; 0 for none.
        rival_scale: (r / r0) ** k, 1 without a rival.
    """

    curve: CurveRow
    curves: DemandCurves
    promo: float
    weekday: float
    rival_weight: float
    rival_scale: float

    @classmethod
    def of(cls, curve: CurveRow, context: Context) -> LiveDemand:
        """The demand of ``curve`` in ``context``."""
        weight = _rival_weight(curve)
        known = curve.reference_rival_price
        scale = 1.0
        if context.comp_price is not None and weight > 0:
            scale = float(np.clip(context.comp_price / known, *RIVAL_RATIO) ** weight)
        day = context.day_of_week
        return cls(
            curve=curve,
            curves=_one_row(curve),
            promo=_positive(curve.promo_lift) if context.is_promo else 1.0,
            weekday=1.0 if day is None else _positive(curve.weekday_index[day]),
            rival_weight=weight,
            rival_scale=scale,
        )

    def units(self, prices: Floats) -> Floats:
        """Expected units over the horizon at ``prices`` (k,), promotion and rival counted."""
        return self.units_of(self.log_units(prices, rival=True))

    def units_of(self, logs: Floats) -> Floats:
        """Expected units of the logs that ``log_units`` gives, promotion counted."""
        return np.asarray(np.exp(np.minimum(logs, MAX_LOG_UNITS)) * self.promo)

    def log_units(self, prices: Floats, *, rival: bool) -> Floats:
        """Log of the expected units at (k,) prices, without the promotion's multiplier.

        The posterior mean of the curve in logarithms. Beyond the step -mu / s**2, where that mean
        turns upward in price, it stays at its least: no dearer price is held to sell more.
        """
        curve, z = self.curve, self._steps(prices)
        with np.errstate(divide="ignore"):
            level = np.log(curve.reference_units)
        own = level + curve.elasticity_mean * z + 0.5 * (curve.elasticity_sd * z) ** 2
        return np.asarray(own + self.rival_shift(prices)) if rival else np.asarray(own)

    def units_quantile(self, prices: Floats, probability: float) -> Floats:
        """(k,) quantile of ``units`` under the curve's posterior, as ``DemandCurves`` has it.

        The posterior is the curve's own at ``prices``, carried along by what the context
        multiplies demand with. Its ratio to the mean is taken in logarithms, which stay finite
        however far a price lies from the data.
        """
        variance = (self.curve.elasticity_sd * self._steps(prices)) ** 2
        level = np.log1p(self.curve.reference_units_cv**2)
        spread = np.sqrt(variance + level)
        log_ratio = ndtri(probability) * spread - 0.5 * (variance + level)
        return np.asarray(self.units(prices) * np.exp(log_ratio))

    def _steps(self, prices: Floats) -> Floats:
        """(k,) Box-Cox steps, at most the one where the posterior mean turns upward."""
        curve = self.curve
        turn = -curve.elasticity_mean / max(curve.elasticity_sd**2, 1e-300)
        return np.asarray(np.minimum(self.curves.step(prices[None, :])[0], turn))

    def rival_shift(self, prices: Floats) -> Floats:
        """(k,) the elasticity times z(p / scale) - z(p): supermodular for a curvature >= 0."""
        if self.rival_scale == 1.0:
            return np.zeros_like(prices)
        ratio = prices / self.curve.reference_price
        curvature = np.full_like(prices, self.curve.curvature)
        moved = box_cox_step(ratio / self.rival_scale, curvature)
        return np.asarray(self.curve.elasticity_mean * (moved - box_cox_step(ratio, curvature)))


def _rival_weight(curve: CurveRow) -> float:
    known = np.isfinite(curve.rival_elasticity) and curve.reference_rival_price > 0
    if not known or curve.curvature < 0:
        return 0.0
    share = curve.rival_elasticity / -curve.elasticity_mean
    return float(np.clip(share, 0.0, MAX_RIVAL_WEIGHT))


def _positive(multiplier: float) -> float:
    return multiplier if np.isfinite(multiplier) and multiplier > 0 else 1.0


def _one_row(curve: CurveRow) -> DemandCurves:
    return DemandCurves(
        **{name: np.array([getattr(curve, name)]) for name in DemandCurves.__slots__}
    )
