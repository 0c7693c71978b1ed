r"""Two-stage least squares with cost as the instrument of price, in a two-way demeaned panel.

.. math:: x_{it} = \pi' c_{it} + \delta' z_{it} + a_i + d_t + v_{it}, \qquad
          y_{it} = \beta x_{it} + \gamma' z_{it} + a_i + d_t + e_{it}

with c the log cost and its lags (a price follows cost at its next review). The first stage's F is
that of the excluded costs with errors clustered by series (Staiger and Stock 1997; Olea and
Pflueger 2013 on why it must be robust). A weak cost is refused, and so is one that was computed
from the price: it carries the price's errors and identifies nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.fixed_effects import partial_out, within
from pricing_assets.core.elasticity.instruments import LAGS_DAYS
from pricing_assets.core.elasticity.raw_estimates import (
    RawEstimates,
    Residuals,
    nothing_estimated,
    slopes,
)
from pricing_assets.core.elasticity.regression_rows import RegressionRows
from pricing_assets.core.panel import Panel, carry_forward

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MIN_CHANGES = 20
DERIVED_SHARE = 0.9
"""Share of the price's changes that a cost explains at once, above which it is derived from it."""


def cost_instruments(panel: Panel) -> Floats:
    """Log unit cost now and at lags of up to three weeks, (k, S, T); NaN where unknown."""
    cost = np.log(np.where(panel.unit_cost > 0, panel.unit_cost, np.nan))
    cost = carry_forward(cost)
    lags = sorted({lag // panel.period_days for lag in LAGS_DAYS})
    return np.stack([_lagged(cost, lag) for lag in lags if lag < cost.shape[1]])


def cost_follows_price(panel: Panel) -> bool:
    """Whether the cost seems to be computed from the price.

    A shop's price follows its cost, in part and late; a cost that explains nearly all changes of
    the price paid, in the same period and promotions too, is a margin taken off the price.
    """
    price = np.diff(np.log(np.where(panel.price > 0, panel.price, np.nan)), axis=1)
    cost = np.diff(np.log(np.where(panel.unit_cost > 0, panel.unit_cost, np.nan)), axis=1)
    known = np.isfinite(price) & np.isfinite(cost) & (np.abs(price) > 1e-6)
    if known.sum() < MIN_CHANGES:
        return False
    x, y = price[known], cost[known]
    return bool(float(x @ y) ** 2 > DERIVED_SHARE * float(x @ x) * float(y @ y))


def instrumental(
    panel: Panel,
    rows: RegressionRows,
    *,
    min_first_stage_f: float,
    cost_is_instrument: bool,
    cluster: Integers | None = None,
) -> RawEstimates:
    """2SLS by cost; refused, with its first-stage F, where the cost is weak, derived or absent.

    Args:
        panel: for the costs.
        rows: N cells.
        min_first_stage_f: F below which the cost is refused.
        cost_is_instrument: the settings allow it (it was not computed from the price).
        cluster: (S,) cluster of each series for the errors; each series its own where absent.
    """
    count = rows.shape[0]
    refused = _refused(panel, cost_is_instrument=cost_is_instrument)
    if refused:
        return nothing_estimated("instrumental", series_count=count, refused=refused)
    instruments = cost_instruments(panel)[:, rows.series, rows.period].T
    found = two_stage(rows, instruments=instruments, cluster=cluster)
    if not found.first_stage_f >= min_first_stage_f:
        reason = (
            f"first-stage F {found.first_stage_f:.1f} of the cost is below {min_first_stage_f:g}"
        )
        return nothing_estimated(
            "instrumental", series_count=count, refused=reason, first_stage_f=found.first_stage_f
        )
    return found


def two_stage(
    rows: RegressionRows, *, instruments: Floats, cluster: Integers | None = None
) -> RawEstimates:
    """2SLS of the outcome on log price with ``instruments`` (N, m); rows with NaN are left out."""
    known = np.isfinite(instruments).all(axis=1)
    count, weight = rows.shape[0], rows.weight[known]
    series, period = rows.series[known], rows.period[known]
    columns = np.column_stack(
        [rows.outcome[known], rows.log_price[known], instruments[known], rows.controls[known]]
    )
    if len(columns) <= 10 * columns.shape[1]:
        return nothing_estimated("instrumental", series_count=count, refused="too few cells")
    free = within(columns, groups=[series, period], weight=weight)
    width = 2 + instruments.shape[1]
    core, _ = partial_out(free[:, :width], controls=free[:, width:], weight=weight)
    groups = series if cluster is None else cluster[series]
    fitted, strength = _first_stage(core[:, 1], core[:, 2:], weight=weight, cluster=groups)
    absorbed = np.unique(series).size + np.unique(period).size + rows.controls.shape[1] + 1
    found = slopes(
        Residuals(
            outcome=core[:, 0],
            log_price=core[:, 1],
            identifying=fitted,
            weight=weight,
            series=series,
            cluster=groups,
            freedom=float(len(columns) - absorbed),
        ),
        series_count=count,
    )
    return RawEstimates(
        method="instrumental",
        identified_by="price changes that cost explains",
        slope=found.slope,
        standard_error=found.standard_error,
        common=found.common,
        common_standard_error=found.common_standard_error,
        first_stage_f=strength,
        observations=len(columns),
        refused="" if np.isfinite(found.common) else "the cost moves no price",
    )


def _first_stage(
    price: Floats, instruments: Floats, *, weight: Floats, cluster: Integers
) -> tuple[Floats, float]:
    """Fitted price (N,) and the Wald F of the instruments with clustered errors."""
    root = np.sqrt(weight)
    x, y = instruments * root[:, None], price * root
    fit = np.linalg.lstsq(x, y, rcond=None)[0]
    score = x * (y - x @ fit)[:, None]
    sums = np.stack([np.bincount(cluster, column) for column in score.T], axis=1)
    bread = np.linalg.pinv(x.T @ x)
    groups = np.unique(cluster).size
    covariance = bread @ (sums.T @ sums) @ bread * groups / max(groups - 1, 1)
    rank = int(np.linalg.matrix_rank(x.T @ x))
    if rank == 0:
        return np.zeros(len(price)), 0.0
    strength = float(fit @ np.linalg.pinv(covariance) @ fit / rank)
    return np.asarray(instruments @ fit), strength


def _refused(panel: Panel, *, cost_is_instrument: bool) -> str:
    if not np.isfinite(panel.unit_cost).any():
        return "no cost is known"
    if not cost_is_instrument:
        return "the settings say that the cost is derived from the price"
    if cost_follows_price(panel):
        return "the cost follows every change of the price at once: it is derived from it"
    return ""


def _lagged(values: Floats, lag: int) -> Floats:
    if lag == 0:
        return values
    return np.concatenate([np.full((len(values), lag), np.nan), values[:, :-lag]], axis=1)
