r"""What of the regular price answered unseen demand: the endogeneity control.

Control function (Petrin and Train 2010; Wooldridge 2015): the part of the log regular price that
cost shocks and rivals do not explain enters the demand equation as a regressor of its own, and
the own-price coefficient is then identified by cost-driven and promotional variation. The
instrument is refused when its first-stage F is low (Staiger and Stock 1997). Without a usable
cost, the regular price itself is the control, which leaves promotional depth to identify; without
promotions there is none, and the estimate rests on the filter alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.design import PriceDesign
from pricing_assets.core.panel import Panel, carry_forward
from pricing_assets.core.settings import ElasticityParameters

Floats = NDArray[np.float64]
ControlKind = Literal["cost_control_function", "regular_price_control", "none"]
MIN_PROMOTION_SHARE = 0.02
LAGS_DAYS = (0, 7, 14, 21)
SPAN_DAYS = 28


@dataclass(frozen=True, slots=True)
class EndogeneityControl:
    """The control, (S, T), and why it was chosen.

    Attributes:
        kind: which control; none means a zero matrix.
        values: (S, T) finite.
        first_stage_f: F of the cost terms, clustered by series; NaN without cost.
    """

    kind: ControlKind
    values: Floats
    first_stage_f: float


def endogeneity_control(
    panel: Panel,
    design: PriceDesign,
    *,
    parameters: ElasticityParameters,
    cost_is_instrument: bool,
) -> EndogeneityControl:
    """Choose the control by the written rule: strong cost, else promotions, else none."""
    strength, residual = np.nan, None
    nothing = EndogeneityControl("none", np.zeros_like(design.regular), strength)
    if parameters.endogeneity_control == "none":
        return nothing
    wanted = cost_is_instrument and parameters.endogeneity_control == "auto"
    if wanted and np.isfinite(panel.unit_cost).any():
        strength, residual = _cost_residual(panel, design)
    if residual is not None and strength >= parameters.min_first_stage_f:
        return EndogeneityControl("cost_control_function", residual, strength)
    apart = np.abs(design.regular - design.log_price) > 1e-6
    promoted = float(np.mean(apart[design.usable])) if design.usable.any() else 0.0
    if promoted >= MIN_PROMOTION_SHARE:
        return EndogeneityControl("regular_price_control", design.regular, strength)
    return replace(nothing, first_stage_f=strength)


def _cost_residual(panel: Panel, design: PriceDesign) -> tuple[float, Floats | None]:
    """First-stage F and log regular price less what lagged costs and the rival explain."""
    cost = np.nan_to_num(np.log(np.maximum(carry_forward(panel.unit_cost), 1e-9)))
    span = max(SPAN_DAYS // panel.period_days, 1)
    lags = sorted({lag // panel.period_days for lag in LAGS_DAYS})
    if cost.shape[1] <= span + max(lags) + 2:
        return np.nan, None
    rival = _covariate(design, "rival")
    columns = [_lagged(cost, lag) for lag in lags] + ([rival] if rival is not None else [])
    outcome = _change(design.regular, span)
    changes = np.stack([_change(column, span) for column in columns], axis=-1)
    known = np.isfinite(panel.unit_cost)[:, span:] & design.usable[:, span:]
    row = np.nonzero(known)[0]
    x, y = changes[known], outcome[known]
    if len(y) <= 10 * x.shape[1] or np.ptp(x[:, : len(lags)]) < 1e-9:
        return np.nan, None
    fit = np.asarray(np.linalg.lstsq(x, y, rcond=None)[0], dtype=np.float64)
    strength = _clustered_f(x, y - x @ fit, fit, row, tested=len(lags))
    explained = np.tensordot(fit, np.stack(columns), axes=1)
    residual = design.regular - explained
    return strength, np.asarray(residual - residual[:, -1:])


def _clustered_f(
    x: Floats, residual: Floats, fit: Floats, cluster: NDArray[np.int64], *, tested: int
) -> float:
    """Wald F of the first ``tested`` coefficients with errors clustered by series."""
    bread = np.linalg.pinv(x.T @ x)
    score = x * residual[:, None]
    sums = np.stack([np.bincount(cluster, column) for column in score.T], axis=1)
    covariance = (bread @ (sums.T @ sums) @ bread)[:tested, :tested]
    head = fit[:tested]
    return float(head @ np.linalg.pinv(covariance) @ head / tested)


def _covariate(design: PriceDesign, name: str) -> Floats | None:
    return design.covariates[design.names.index(name)] if name in design.names else None


def _lagged(values: Floats, lag: int) -> Floats:
    if lag == 0:
        return values
    return np.concatenate([np.repeat(values[:, :1], lag, axis=1), values[:, :-lag]], axis=1)


def _change(values: Floats, span: int) -> Floats:
    return np.asarray(values[:, span:] - values[:, :-span])
