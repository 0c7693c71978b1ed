r"""The state of every series as of an origin: demand level, weekday index, de-censored demand.

Simple exponential smoothing of demand divided by its weekday index,

.. math:: \ell_t = \ell_{t-1} + \alpha_t\,(y_t / w_{d(t)} - \ell_{t-1}),

run once over all periods for a ladder of :math:`\alpha`. The level is a mean over the ladder with
weights that fall with each rung's discounted one-step squared error, half of it the series' own
and half the median over series: choosing one rung by its own error alone was measurably worse
(weighted RMSSE 0.843 against 0.834 on the M5 subset). Nothing at period t looks past t, so the
state recorded at an origin is what was known then.

A censored cell says only that demand was at least what was sold; it enters as
:math:`E[D \mid D \ge y]` of a negative binomial at the current level (the E-step of EM; Tobin
1958 for the idea), so that an empty shelf does not read as low demand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import nbinom

from pricing_assets.core.forecast.price_response import PriceResponse
from pricing_assets.core.panel import Panel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ALPHAS = (0.01, 0.03, 0.06, 0.12, 0.25, 0.5)
"""Smoothing weights tried, per period."""

_INDEX_DAYS = 364
_INDEX_EVERY = 28
_INDEX_PRIOR_UNITS = 60.0
_INDEX_FLOOR = 0.05
_ERROR_MEMORY = 0.995
_ERROR_SHARPNESS = 20.0
_LIKES_PRIOR_DAYS = 5.0


@dataclass(frozen=True, slots=True)
class LevelState:
    """What is known of S series as of one origin.

    Attributes:
        level: (S,) expected demand of an average weekday, units a period; finite, above zero.
        ladder: (S, A) level by each smoothing weight of :data:`ALPHAS`.
        weekday_index: (S, 7) multipliers with mean one, Monday first; ones in weekly data.
        observations: (S,) periods on sale so far.
    """

    level: Floats
    ladder: Floats
    weekday_index: Floats
    observations: Floats


@dataclass(frozen=True, slots=True)
class DemandHistory:
    """Levels at several origins, and demand with censored cells replaced by their expectation.

    Attributes:
        states: origin (periods known) -> state.
        demand: (S, T) NaN where not on sale or where nothing is learned.
        adjusted: (S, T) demand divided by the effect of that period's price and promotion.
    """

    states: dict[int, LevelState]
    demand: Floats
    adjusted: Floats


def weekday(dates: NDArray[np.datetime64]) -> Integers:
    """Day of the week, Monday 0 to Sunday 6."""
    return np.asarray((dates.astype("datetime64[D]").astype(np.int64) + 3) % 7)


def trace_levels(
    panel: Panel, origins: Sequence[int], *, response: PriceResponse | None = None
) -> DemandHistory:
    """Run the smoothing over the panel and record the state at each origin.

    Args:
        origins: numbers of periods known, each between 0 and T.
        response: takes the effect of price and promotion out of the level; none where None.
    """
    periods = panel.shape[1]
    smoother = _Smoother.start(panel, response)
    wanted = set(origins)
    states: dict[int, LevelState] = {}
    for period in range(periods + 1):
        if period % max(1, _INDEX_EVERY // panel.period_days) == 0 or period in wanted:
            smoother.refresh_index(period)
            smoother.reweigh()
        if period in wanted:
            states[period] = smoother.state()
        if period < periods:
            smoother.step(period)
    return DemandHistory(states=states, demand=smoother.demand, adjusted=smoother.adjusted)


@dataclass(slots=True)
class _Smoother:
    """Running arrays of :func:`trace_levels`; private to one call."""

    panel: Panel
    phase: Integers
    group: Integers
    dispersion: float
    demand: Floats
    adjusted: Floats
    effect: Floats
    ladder: Floats
    errors: Floats
    weights: Floats
    count: Floats
    index: Floats

    @classmethod
    def start(cls, panel: Panel, response: PriceResponse | None) -> _Smoother:
        series, periods = panel.shape
        weights = len(ALPHAS)
        return cls(
            panel=panel,
            phase=weekday(panel.dates) if panel.grain == "day" else np.zeros(periods, np.int64),
            group=group_codes(panel),
            dispersion=demand_dispersion(panel) if panel.censored.any() else 0.0,
            demand=np.full((series, periods), np.nan),
            adjusted=np.full((series, periods), np.nan),
            effect=(
                np.ones((series, periods))
                if response is None
                else np.exp(response.log_effect(panel))
            ),
            ladder=np.zeros((series, weights)),
            errors=np.zeros((series, weights)),
            weights=np.full((series, weights), 1.0 / weights),
            count=np.zeros(series),
            index=np.ones((series, 7)),
        )

    def refresh_index(self, period: int) -> None:
        if self.panel.grain == "day" and period > 0:
            start = max(0, period - _INDEX_DAYS)
            self.index = weekday_index(
                self.adjusted[:, start:period], self.phase[start:period], self.group
            )

    def reweigh(self) -> None:
        """Weights of the rungs from their errors so far."""
        least = self.errors.min(axis=1, keepdims=True)
        seen = least[:, 0] > 0
        if seen.any():
            excess = np.where(seen[:, None], self.errors / np.where(least > 0, least, 1.0) - 1, 0)
            shared = np.median(excess[seen], axis=0)[None, :]
            weights = np.exp(-_ERROR_SHARPNESS * np.minimum(0.5 * (excess + shared), 10.0))
            self.weights = weights / weights.sum(axis=1, keepdims=True)

    def best(self) -> Floats:
        return np.asarray((self.weights * self.ladder).sum(axis=1))

    def step(self, period: int) -> None:
        effect, index = self.effect[:, period], self.index[:, self.phase[period]]
        demand = self._observed(period, self.best() * index * effect)
        self.demand[:, period] = demand
        self.adjusted[:, period] = demand / effect
        value = (demand / (index * effect))[:, None]
        seen = np.isfinite(value)
        gap = np.where(seen, value - self.ladder, 0.0)
        rate = np.maximum(np.asarray(ALPHAS)[None, :], 1.0 / (self.count[:, None] + 1.0))
        fresh = (self.count > 0)[:, None] & seen
        self.errors = np.where(fresh, self.errors * _ERROR_MEMORY + gap**2, self.errors)
        self.ladder = self.ladder + rate * gap
        self.count = self.count + seen[:, 0]

    def _observed(self, period: int, expected: Floats) -> Floats:
        panel = self.panel
        units = np.where(panel.on_sale[:, period], panel.units[:, period], np.nan)
        hidden = panel.censored[:, period] & np.isfinite(units)
        if hidden.any():
            known = hidden & (units > 0) & (self.count > 0)
            units = np.where(hidden & (units <= 0), np.nan, units)
            units[known] = censored_expectation(
                sold=units[known], mean=expected[known], dispersion=self.dispersion
            )
        return np.asarray(units)

    def state(self) -> LevelState:
        level = pooled_level(
            self.best(),
            count=self.count,
            prior=_LIKES_PRIOR_DAYS / self.panel.period_days,
            group=self.group,
        )
        return LevelState(
            level=level,
            ladder=self.ladder.copy(),
            weekday_index=self.index.copy(),
            observations=self.count.copy(),
        )


def group_codes(panel: Panel) -> Integers:
    """Code of each series' category and store, (S,): the likes of a new product."""
    keys = panel.series["category"].astype(str) + "\x1f" + panel.series["store_id"].astype(str)
    return np.asarray(np.unique(keys.to_numpy(dtype=object), return_inverse=True)[1], np.int64)


def group_mean(values: Floats, weights: Floats, group: Integers) -> Floats:
    """Weighted mean of ``values`` in each series' group, (S,); NaN where no weight."""
    size = int(group.max()) + 1
    total = np.bincount(group, weights=values * weights, minlength=size)
    weight = np.bincount(group, weights=weights, minlength=size)
    mean = np.where(weight > 0, total / np.where(weight > 0, weight, 1.0), np.nan)
    return np.asarray(mean[group])


def pooled_level(level: Floats, *, count: Floats, prior: float, group: Integers) -> Floats:
    """Level shrunk to the mean level of its likes, (S,); ``prior`` is worth that many periods."""
    known = (count >= 2 * prior).astype(np.float64)
    if not known.any():
        known = (count > 0).astype(np.float64)
    everyone = np.zeros_like(group)
    likes = group_mean(level, known, group)
    overall = group_mean(level, known, everyone)
    likes = np.where(np.isnan(likes), np.nan_to_num(overall), likes)
    pooled = (count * level + prior * likes) / (count + prior)
    return np.asarray(np.maximum(np.where(count >= 4 * prior, level, pooled), 1e-3))


def weekday_index(demand: Floats, phase: Integers, group: Integers) -> Floats:
    """Weekday multipliers with mean one, (S, 7), shrunk to those of the group.

    Args:
        demand: (S, W) recent demand, NaN where unknown.
        phase: (W,) weekday of each column.
    """
    known = np.isfinite(demand)
    filled = np.where(known, demand, 0.0)
    day = np.eye(7)[phase]
    total, count = filled @ day, known.astype(np.float64) @ day
    mean = total / np.maximum(count, 1.0)
    size = int(group.max()) + 1
    pooled_total = np.zeros((size, 7))
    pooled_count = np.zeros((size, 7))
    np.add.at(pooled_total, group, total)
    np.add.at(pooled_count, group, count)
    pooled = _unit_mean(pooled_total / np.maximum(pooled_count, 1.0))[group]
    own = _unit_mean(np.where(count > 0, mean, mean.mean(axis=1, keepdims=True)))
    units = total.sum(axis=1, keepdims=True)
    index = (units * own + _INDEX_PRIOR_UNITS * pooled) / (units + _INDEX_PRIOR_UNITS)
    return np.asarray(np.maximum(index, _INDEX_FLOOR))


def demand_dispersion(panel: Panel) -> float:
    """Negative-binomial dispersion phi (variance = m + phi m^2), median over series.

    A moment estimate within blocks of four weeks, so that trend and season do not count as noise.
    """
    block = max(4, 28 // panel.period_days)
    count = max(1, panel.shape[1] // block)
    usable = panel.on_sale & ~panel.censored & np.isfinite(panel.units)
    units = np.where(usable, panel.units, np.nan)[:, -count * block :]
    if units.shape[1] < block:
        return 0.3
    cube = units.reshape(units.shape[0], count, block)
    seen = np.isfinite(cube).sum(axis=2)
    filled = np.where(np.isfinite(cube), cube, 0.0)
    mean = filled.sum(axis=2) / np.maximum(seen, 1)
    square = (filled**2).sum(axis=2) / np.maximum(seen, 1) - mean**2
    variance = square * seen / np.maximum(seen - 1, 1)
    valid = (seen >= block // 2) & (mean > 1.0)
    phi = (variance - mean)[valid] / mean[valid] ** 2
    return float(np.clip(np.median(phi), 0.02, 2.0)) if phi.size else 0.3


def censored_expectation(*, sold: Floats, mean: Floats, dispersion: float) -> Floats:
    r"""E[D | D >= sold] of a negative binomial, never below ``sold``.

    With size :math:`r = 1/\phi`: :math:`E[D; D \ge k] = m\,P(D' \ge k - 1)` where :math:`D'` has
    size r + 1 and the same success probability.
    """
    size = 1.0 / max(dispersion, 1e-3)
    centre = np.maximum(mean, 1e-6)
    success = size / (size + centre)
    least = np.ceil(sold)
    tail = nbinom.sf(least - 1, size, success)
    partial = centre * nbinom.sf(least - 2, size + 1, success)
    expected = np.where(tail > 1e-9, partial / np.maximum(tail, 1e-9), sold)
    return np.asarray(np.clip(expected, sold, 4.0 * np.maximum(sold, centre)))


def _unit_mean(values: Floats) -> Floats:
    mean = values.mean(axis=1, keepdims=True)
    return np.asarray(np.where(mean > 0, values / np.where(mean > 0, mean, 1.0), 1.0))
