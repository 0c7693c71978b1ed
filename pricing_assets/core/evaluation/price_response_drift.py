"""Whether buyers answer to prices as they did: the elasticity of the last window and of before.

Belongs here: one comparison of two estimates. The estimator is ``core.elasticity``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import t as student

from pricing_assets.core.elasticity.design import price_design
from pricing_assets.core.elasticity.fixed_effects import fixed_effects
from pricing_assets.core.elasticity.regression_rows import priced_only_at_sales, regression_rows
from pricing_assets.core.panel import PANEL_MATRICES, Panel

MAX_SERIES = 2_000
"""Series that are compared; of more, every k-th is."""
WINDOWS_BEFORE = 4
"""Windows before the last one that it is compared with, at most."""


@dataclass(frozen=True, slots=True)
class ResponseDrift:
    """The common own-price elasticity now and before.

    Attributes:
        before, now: estimates; NaN where no price varied.
        before_se, now_se: standard errors, clustered by series.
        p_value: of no change, two-sided, by Student's t with series - 1 degrees of freedom.
        series: series compared.
    """

    before: float
    now: float
    before_se: float
    now_se: float
    p_value: float
    series: int

    @property
    def change(self) -> float:
        """Now less before."""
        return self.now - self.before


def price_response_drift(panel: Panel, *, window_days: int, block_days: int) -> ResponseDrift:
    """The elasticity within series and period effects in the last window and in those before.

    Prices that followed unseen demand bias both alike, so the change says more than the level.
    The two estimates share no cell and are taken as independent.

    Args:
        panel: S series over T periods.
        window_days: days of the last window; as many at least are before it, else NaN.
        block_days: as ``ElasticityParameters.block_days``.
    """
    window = -(-window_days // panel.period_days)
    chosen = _thinned(panel)
    periods = panel.shape[1]
    count = chosen.shape[0]
    if periods < 2 * window or count < 2:
        nan = float("nan")
        return ResponseDrift(nan, nan, nan, nan, nan, count)
    start = periods - window
    first = max(0, start - WINDOWS_BEFORE * window)
    before = _estimate(_between(chosen, first, start), block_days=block_days)
    now = _estimate(_between(chosen, start, periods), block_days=block_days)
    noise = float(np.hypot(before[1], now[1]))
    statistic = abs(now[0] - before[0]) / noise if noise > 0 else float("nan")
    p_value = 2 * float(student.sf(statistic, count - 1))
    return ResponseDrift(before[0], now[0], before[1], now[1], p_value, count)


def _estimate(panel: Panel, *, block_days: int) -> tuple[float, float]:
    """The common slope and its standard error."""
    design = price_design(panel)
    block = max(1, block_days // panel.period_days)
    transactions = priced_only_at_sales(design)
    found = fixed_effects(regression_rows(design, block=block, transactions=transactions))
    return float(found.common), float(found.common_standard_error)


def _between(panel: Panel, first: int, last: int) -> Panel:
    span = slice(first, last)
    cut = {name: getattr(panel, name)[:, span] for name in PANEL_MATRICES}
    return replace(panel, dates=panel.dates[span], holiday=panel.holiday[span], **cut)


def _thinned(panel: Panel) -> Panel:
    step = max(1, -(-panel.shape[0] // MAX_SERIES))
    if step == 1:
        return panel
    cut = {name: getattr(panel, name)[::step] for name in PANEL_MATRICES}
    return replace(panel, series=panel.series.iloc[::step].reset_index(drop=True), **cut)
