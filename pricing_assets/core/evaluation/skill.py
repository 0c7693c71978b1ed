"""How much better than a plain forecaster, with the noise of that; and whether it is too good.

Belongs here: comparisons of held-out errors. Which error is measured is ``core.forecast``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import gammaln

from pricing_assets.core.forecast.windows import usable_cells
from pricing_assets.core.panel import Panel

Floats = NDArray[np.float64]

RESAMPLES = 2_000
MIN_SERIES = 5
MIN_CELLS = 50


@dataclass(frozen=True, slots=True)
class Skill:
    """1 - WAPE / WAPE of the baseline, on the same cells.

    Attributes:
        baseline: the better plain forecaster.
        value: of all series and origins; NaN where nothing was sold.
        low_90, high_90: percentile interval; NaN under :data:`MIN_SERIES` series.
        series: series resampled.
    """

    baseline: str
    value: float
    low_90: float
    high_90: float
    series: int


def skill(errors: pd.DataFrame, *, model: str, baselines: tuple[str, ...], seed: int) -> Skill:
    """Paired bootstrap over series, all origins of a series drawn together.

    Pairing takes out what makes a product hard for both; drawing whole series keeps the
    dependence between its periods (Efron and Tibshirani 1993).

    Args:
        errors: as ``held_out_errors.series_errors`` gives them; ``model`` and a baseline in it.
        model: whose skill is asked.
        baselines: plain forecasters; the one with the least WAPE is the rival.
        seed: of the resampling.
    """
    totals = errors.groupby("model")["error"].sum()
    plain = totals[totals.index.isin([name for name in baselines if name != model])]
    if plain.empty or model not in totals:
        nan = float("nan")
        return Skill("", nan, nan, nan, 0)
    rival = str(plain.idxmin())
    table = errors.pivot_table(
        index=["product_id", "store_id"], columns="model", values="error", aggfunc="sum"
    )[[model, rival]].dropna()
    own, other = table[model].to_numpy(), table[rival].to_numpy()
    count, total = len(table), float(other.sum())
    value = 1 - float(own.sum()) / total if total > 0 else float("nan")
    if count < MIN_SERIES or not total > 0:
        return Skill(rival, value, float("nan"), float("nan"), count)
    low, high = np.quantile(_resampled(own, other, seed=seed), [0.05, 0.95])
    return Skill(rival, value, float(low), float(high), count)


def _resampled(own: Floats, other: Floats, *, seed: int) -> Floats:
    """(RESAMPLES,) skill of drawn series; Poisson(1) weights stand for drawing (Chamandy 2012)."""
    generator, found = np.random.default_rng(seed), np.full(RESAMPLES, np.nan)
    for draw in range(RESAMPLES):
        weight = generator.poisson(1.0, len(own))
        found[draw] = weight @ own / max(float(weight @ other), 1e-12)
    return 1 - found


def error_over_floor(errors: pd.DataFrame, *, model: str, baseline: str) -> float:
    r"""WAPE over the least error that counts allow, or over the baseline's where that is less.

    Who knows the mean :math:`\mu` of a Poisson count exactly still errs by
    :math:`2 e^{-\mu} \mu^{\lfloor\mu\rfloor + 1} / \lfloor\mu\rfloor!` a period (de Moivre). Far
    below it, a model has seen the sales that it forecasts. Demand steadier than Poisson is known
    by its baseline, which then errs less as well.

    Args:
        errors: as ``held_out_errors.series_errors`` gives them.
        model: judged.
        baseline: the better plain forecaster.

    Returns:
        NaN where units are no counts, or too few cells were tested.
    """
    own = errors[errors["model"] == model]
    counts = np.allclose(own["sold"], np.round(own["sold"]))
    if not counts or own["cells"].sum() < MIN_CELLS or not own["sold"].sum() > 0:
        return float("nan")
    mean = (own["sold"] / own["cells"]).to_numpy(dtype=np.float64)
    floor = float((poisson_deviation(mean) * own["cells"].to_numpy()).sum())
    rival = float(errors.loc[errors["model"] == baseline, "error"].sum())
    least = min(floor, rival)
    return float(own["error"].sum()) / least if least > 0 else float("nan")


def poisson_deviation(mean: Floats) -> Floats:
    """Mean absolute deviation of Poisson counts with the given means, (n,)."""
    whole = np.floor(mean)
    known = np.maximum(mean, 1e-12)
    return np.asarray(2 * np.exp(-known + (whole + 1) * np.log(known) - gammaln(whole + 1)))


def leaking_columns(panel: Panel) -> dict[str, float]:
    """Correlation of each column known ahead with the same period's units, within series.

    A promotion raises sales; a column that all but equals them was written after the day, such as
    takings put under the heading of a promotion. The larger of plain and of logarithms counts.
    A column that never varies is left out.
    """
    usable = usable_cells(panel)
    columns = {
        "price": panel.price,
        "regular_price": panel.regular_price,
        "promo": panel.promo,
        "display": panel.display,
        "feature": panel.feature,
        "rival_price": panel.rival_price,
        "unit_cost": panel.unit_cost,
    }
    found = {}
    for name, values in columns.items():
        there = usable & np.isfinite(values)
        plain = _within_correlation(values, panel.units, there)
        logs = _within_correlation(
            np.log1p(np.maximum(values, 0)), np.log1p(np.maximum(panel.units, 0)), there
        )
        if np.isfinite(plain):
            found[name] = max(abs(plain), abs(logs))
    return found


def _within_correlation(one: Floats, two: Floats, there: NDArray[np.bool_]) -> float:
    """Pooled correlation of (S, T) arrays less their series' means; NaN without variation."""
    count = np.maximum(there.sum(axis=1, keepdims=True), 1)
    parts = []
    for values in (one, two):
        filled = np.where(there, values, 0.0)
        mean = filled.sum(axis=1, keepdims=True) / count
        parts.append(np.where(there, filled - mean, 0.0))
    norms = float(np.sqrt((parts[0] ** 2).sum() * (parts[1] ** 2).sum()))
    enough = there.sum() >= MIN_CELLS and norms > 1e-9
    return float((parts[0] * parts[1]).sum()) / norms if enough else float("nan")
