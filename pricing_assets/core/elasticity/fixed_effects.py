r"""Two-way fixed effects: log demand on log price within series and within period.

.. math:: y_{it} = \beta_i x_{it} + \gamma' z_{it} + a_i + d_t + e_{it}

Series and period effects are projected out by alternating projections (Gaure 2013; Guimaraes and
Portugal 2010), controls by least squares (Frisch and Waugh 1933), and errors are clustered
(Arellano 1987). Right when nothing unseen moves price and demand of one series over time; prices
that followed unseen demand bias it towards zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.raw_estimates import (
    RawEstimates,
    Residuals,
    nothing_estimated,
    slopes,
)
from pricing_assets.core.elasticity.regression_rows import RegressionRows

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
TOLERANCE = 1e-9
SWEEPS = 500


def within(columns: Floats, *, groups: Sequence[Integers], weight: Floats | None = None) -> Floats:
    """Columns (N, k) less the effects of every grouping, by alternating projections.

    Args:
        columns: (N, k); not changed.
        groups: (N,) codes of each grouping; none leaves the columns as they are.
        weight: (N,) nonnegative; ones where absent.

    Returns:
        (N, k) with weighted mean zero in every group, to 1e-9 of a column's scale.
    """
    found = columns.astype(np.float64, copy=True)
    weights = np.ones(len(columns)) if weight is None else weight
    totals = [np.maximum(np.bincount(group, weights), 1e-300) for group in groups]
    for column in range(found.shape[1]):
        values = found[:, column]
        limit = TOLERANCE * max(float(np.abs(values).max(initial=0.0)), 1e-300)
        for _ in range(SWEEPS):
            moved = 0.0
            for group, total in zip(groups, totals, strict=True):
                mean = np.bincount(group, weights * values, len(total)) / total
                values -= mean[group]
                moved = max(moved, float(np.abs(mean).max(initial=0.0)))
            if moved <= limit or len(groups) < 2:
                break
    return found


def partial_out(targets: Floats, *, controls: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Targets (N, m) less their weighted regression on controls (N, k); and coefficients (k, m)."""
    root = np.sqrt(weight)[:, None]
    fit = np.linalg.lstsq(controls * root, targets * root, rcond=None)[0]
    coefficients = np.asarray(fit, dtype=np.float64)
    return targets - controls @ coefficients, coefficients


def fixed_effects(
    rows: RegressionRows,
    *,
    cluster: Integers | None = None,
    effects: tuple[str, ...] = ("series", "period"),
) -> RawEstimates:
    """Own and common slopes within the given effects.

    Args:
        rows: N cells.
        cluster: (S,) cluster of each series for the errors; each series its own where absent.
        effects: which of series and period are projected out.
    """
    count = rows.shape[0]
    if len(rows.outcome) == 0:
        return nothing_estimated("fixed_effects", series_count=count, refused="no cell to use")
    groups = [rows.series if name == "series" else rows.period for name in effects]
    columns = np.column_stack([rows.outcome, rows.log_price, rows.controls])
    if not groups:
        columns = columns - np.average(columns, axis=0, weights=rows.weight)
    free = within(columns, groups=groups, weight=rows.weight)
    pair, coefficients = partial_out(free[:, :2], controls=free[:, 2:], weight=rows.weight)
    absorbed = sum(int(np.unique(group).size) for group in groups) + len(rows.names) + 1
    found = slopes(
        Residuals(
            outcome=pair[:, 0],
            log_price=pair[:, 1],
            identifying=pair[:, 1],
            weight=rows.weight,
            series=rows.series,
            cluster=rows.series if cluster is None else cluster[rows.series],
            freedom=len(rows.outcome) - absorbed,
        ),
        series_count=count,
    )
    others = coefficients[:, 0] - found.common * coefficients[:, 1]
    return RawEstimates(
        method="fixed_effects",
        identified_by="price changes within " + " and ".join(effects or ("all cells",)),
        slope=found.slope,
        standard_error=found.standard_error,
        common=found.common,
        common_standard_error=found.common_standard_error,
        observations=len(rows.outcome),
        effects=dict(zip(rows.names, others.tolist(), strict=True)),
        refused="" if np.isfinite(found.common) else "no price varies within its effects",
    )
