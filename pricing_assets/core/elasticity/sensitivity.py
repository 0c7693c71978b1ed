r"""How far an elasticity can be trusted: placebo, unseen confounders, stability over time.

All three look at the default's own regression: whitened innovations (``local_level``), own slopes
by series, shared effects. Belongs here: tests of an estimate. The estimate is ``estimate``.

- **Placebo.** A price change that has not happened yet must not move today's demand. The model is
  fitted again with next week's price change (and next week's control) as further regressors;
  errors are clustered by series. A placebo away from zero means that prices answer demand in a
  way the control misses, or that buyers wait for announced prices.
- **Unseen confounder** (Cinelli and Hazlett 2020). The robustness value is the share of the rest
  variance of both price and demand that a confounder must explain to take the common slope to
  zero (``rv_zero``), to halve it (``rv_half``), or to take its 95 % interval to zero
  (``rv_significance``). Beside them, the bound: where a confounder as strong as the strongest
  known covariate would put the slope.
- **Stability.** The common slope in the first and the second half of each series, the gap between
  them with its error, and the drift that the posterior already allows for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm
from scipy.stats import t as student

from pricing_assets.core.demand import Z90
from pricing_assets.core.elasticity.local_level import InnovationMoments, filter_innovations

Floats = NDArray[np.float64]
SENSITIVITY_COLUMNS = ("test", "value", "standard_error", "low_90", "high_90", "passed", "meaning")
PLACEBO_DAYS = 7
PLACEBO_TOLERANCE = 0.1
"""Placebo effect, as a share of the elasticity, below which it does no harm."""
MAX_BOUND = 0.5
"""Share of the elasticity that a cause as strong as a known one may take before a warning."""
MAX_GAP = 0.5
"""Gap between two halves, as a share of the elasticity, above which a warning is due."""
Z99 = float(norm.ppf(0.995))


@dataclass(frozen=True, slots=True)
class CommonSlope:
    """One coefficient for all series: its value and its error clustered by series."""

    value: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class ConfounderBound:
    """Cinelli and Hazlett's figures for one coefficient.

    Attributes:
        rv_zero, rv_half, rv_significance: robustness values, shares of rest variance.
        partial_r2: of price with demand.
        benchmark: the strongest known covariate ("" without any).
        benchmark_slope: the slope if a confounder as strong as it were left out.
    """

    rv_zero: float
    rv_half: float
    rv_significance: float
    partial_r2: float
    benchmark: str = ""
    benchmark_slope: float = np.nan


@dataclass(frozen=True, slots=True)
class Regression:
    """What the default regressed, for S series and T periods.

    Attributes:
        outcome, variance: (S, T) working response, NaN unknown, and its noise variance.
        log_price: (S, T).
        names: of the k shared columns.
        columns: (k, S, T).
        level_variance: of the unseen level's step, a period.
        period_days: days in a period.
    """

    outcome: Floats
    variance: Floats
    log_price: Floats
    names: tuple[str, ...]
    columns: Floats
    level_variance: float
    period_days: int


def sensitivity_table(regression: Regression, *, drift: float) -> pd.DataFrame:
    """One row a test, columns ``SENSITIVITY_COLUMNS``.

    ``passed`` is False where a warning is due; a test that cannot be made passes with NaN.

    Args:
        regression: the default's.
        drift: sd of the slopes' drift that the posterior allows for.
    """
    moments = _moments(regression, regression.columns)
    whole = common_slope(moments.products, position=1)
    rows = [
        _placebo_row(placebo(regression), whole),
        *_confounder_rows(confounder_bound(moments, names=regression.names), whole),
        *_stability_rows(moments, whole, drift),
    ]
    return pd.DataFrame(rows, columns=list(SENSITIVITY_COLUMNS))


def placebo(regression: Regression) -> CommonSlope:
    """Effect of next week's price change on today's demand, own slopes by series."""
    ahead = max(PLACEBO_DAYS // regression.period_days, 1)
    lead = [_lead_change(regression.log_price, ahead)]
    if "endogeneity" in regression.names:
        control = regression.columns[regression.names.index("endogeneity")]
        lead.append(_lead_change(control, ahead))
    columns = np.concatenate([np.stack(lead), regression.columns])
    outcome = regression.outcome.copy()
    outcome[:, -ahead:] = np.nan
    moments = filter_innovations(
        outcome=outcome,
        variance=regression.variance,
        regressors=np.concatenate([regression.log_price[None], columns]),
        level_variance=regression.level_variance,
    )
    return common_slope(_without_own_slope(moments.products), position=1)


def common_slope(products: Floats, *, position: int) -> CommonSlope:
    """Coefficient of column ``position`` of pooled least squares on (S, k, k) cross-products."""
    gram = products[:, 1:, 1:].sum(axis=0)
    if gram[position - 1, position - 1] < 1e-9:
        return CommonSlope(np.nan, np.nan)
    inverse = np.linalg.inv(gram + 1e-9 * np.eye(len(gram)))
    fit = inverse @ products[:, 1:, 0].sum(axis=0)
    score = products[:, 1:, 0] - products[:, 1:, 1:] @ fit
    groups = int((np.abs(score).sum(axis=1) > 0).sum())
    covariance = inverse @ (score.T @ score) @ inverse * groups / max(groups - 1, 1)
    error = float(np.sqrt(covariance[position - 1, position - 1]))
    return CommonSlope(float(fit[position - 1]), error if groups > 1 else np.nan)


def robustness_value(*, t: float, freedom: float, q: float = 1.0, critical: float = 0.0) -> float:
    r"""Robustness value of a coefficient with t statistic ``t``.

    .. math:: f = q |t| / \sqrt{\nu} - t^* / \sqrt{\nu - 1}, \qquad
              RV = (\sqrt{f^4 + 4 f^2} - f^2) / 2

    Args:
        t: the coefficient over its textbook error.
        freedom: nu, residual degrees of freedom.
        q: share of the coefficient to be taken away.
        critical: t* of the significance that is to be lost; 0 for the point estimate.
    """
    f = q * abs(t) / np.sqrt(freedom) - critical / np.sqrt(max(freedom - 1.0, 1.0))
    if f <= 0:
        return 0.0
    return float((np.sqrt(f**4 + 4 * f**2) - f**2) / 2)


def confounder_bound(moments: InnovationMoments, *, names: tuple[str, ...]) -> ConfounderBound:
    """Robustness values of the common slope, and the bound by the strongest covariate."""
    total = moments.products.sum(axis=0)
    freedom = float(moments.observations.sum()) - len(total) + 1
    partial = _partial_t(total, freedom)
    if not np.isfinite(partial).all() or freedom < 3:
        return ConfounderBound(np.nan, np.nan, np.nan, np.nan)
    statistic, slope, error = partial
    critical = float(student.ppf(0.975, freedom - 1))
    benchmark, bounded = _benchmark(total, names, freedom, slope=slope, error=error)
    return ConfounderBound(
        rv_zero=robustness_value(t=statistic, freedom=freedom),
        rv_half=robustness_value(t=statistic, freedom=freedom, q=0.5),
        rv_significance=robustness_value(t=statistic, freedom=freedom, critical=critical),
        partial_r2=statistic**2 / (statistic**2 + freedom),
        benchmark=benchmark,
        benchmark_slope=bounded,
    )


def bounded_slope(
    *, slope: float, error: float, freedom: float, price_r2: float, demand_r2: float
) -> float:
    """The slope, nearer to zero, if a confounder as strong as a known covariate is unseen.

    Args:
        slope, error: the coefficient and its textbook error.
        freedom: residual degrees of freedom.
        price_r2: partial R2 of the covariate with price, given the other covariates.
        demand_r2: partial R2 of the covariate with demand, given price and the others.
    """
    share = min(price_r2 / max(1.0 - price_r2, 1e-9), 0.999)
    moved = share**2
    widened = (1.0 + np.sqrt(moved)) ** 2 / (1.0 - moved)
    demand = min(widened * demand_r2 / max(1.0 - demand_r2, 1e-9), 1.0)
    bias = error * np.sqrt(freedom * demand * share / (1.0 - share))
    return float(slope - np.sign(slope) * bias)


def _partial_t(total: Floats, freedom: float) -> Floats:
    """t, coefficient and textbook error of column 1, (3,), from (k, k) cross-products."""
    gram = total[1:, 1:]
    if gram[0, 0] < 1e-9 or freedom < 1:
        return np.full(3, np.nan)
    inverse = np.linalg.inv(gram + 1e-9 * np.eye(len(gram)))
    fit = inverse @ total[1:, 0]
    rest = max(float(total[0, 0] - total[1:, 0] @ fit), 1e-12)
    error = float(np.sqrt(rest / freedom * inverse[0, 0]))
    return np.array([fit[0] / error, fit[0], error])


def _benchmark(
    total: Floats, names: tuple[str, ...], freedom: float, *, slope: float, error: float
) -> tuple[str, float]:
    """The covariate whose like would move the slope most, and the slope then (bound, k = 1).

    One that explains half of the price or more has no bound: such is the promotion flag, which
    is the price's own movement by another name.
    """
    found = ("", np.nan)
    for number, name in enumerate(names, start=2):
        others = [k for k in range(1, len(total)) if k not in (1, number)]
        with_price = _partial_r2(total, target=1, column=number, given=others)
        if with_price >= 0.5:
            continue
        with_demand = _partial_r2(total, target=0, column=number, given=[1, *others])
        nearer = bounded_slope(
            slope=slope,
            error=error,
            freedom=freedom,
            price_r2=with_price,
            demand_r2=with_demand,
        )
        if not found[0] or abs(nearer - slope) > abs(found[1] - slope):
            found = (name, float(nearer))
    return found


def _partial_r2(total: Floats, *, target: int, column: int, given: list[int]) -> float:
    """Partial R2 of one column with the target, given others, from cross-products."""
    pick = [target, column]
    core = total[np.ix_(pick, pick)]
    if given:
        cross = total[np.ix_(pick, given)]
        gram = total[np.ix_(given, given)] + 1e-9 * np.eye(len(given))
        core = core - cross @ np.linalg.solve(gram, cross.T)
    scale = core[0, 0] * core[1, 1]
    return float(np.clip(core[0, 1] ** 2 / scale, 0.0, 0.999)) if scale > 1e-12 else 0.0


def _moments(regression: Regression, columns: Floats) -> InnovationMoments:
    return filter_innovations(
        outcome=regression.outcome,
        variance=regression.variance,
        regressors=np.concatenate([regression.log_price[None], columns]),
        level_variance=regression.level_variance,
    )


def _without_own_slope(products: Floats) -> Floats:
    """(S, k-1, k-1) cross-products with each series' own slope (column 1) partialled out."""
    own = products[:, 1, 1]
    safe = np.where(own > 1e-9, own, np.inf)
    keep = [0, *range(2, products.shape[1])]
    lever = products[:, 1, keep]
    core = products[np.ix_(range(len(products)), keep, keep)]
    return core - lever[:, :, None] * lever[:, None, :] / safe[:, None, None]


def _lead_change(values: Floats, ahead: int) -> Floats:
    later = np.concatenate([values[:, ahead:], np.repeat(values[:, -1:], ahead, axis=1)], axis=1)
    return np.asarray(later - values)


def _placebo_row(found: CommonSlope, whole: CommonSlope) -> dict[str, object]:
    limit = PLACEBO_TOLERANCE * abs(whole.value)
    sure = abs(found.value) - Z99 * found.standard_error
    return _row(
        "placebo_future_price",
        found.value,
        found.standard_error,
        passed=not sure > limit,
        meaning=f"effect of next week's price on today's demand; none is right, {limit:.2f} "
        "of either sign does no harm",
    )


def _confounder_rows(found: ConfounderBound, whole: CommonSlope) -> list[dict[str, object]]:
    words = "share of the rest of price and of demand that an unseen cause must explain to "
    rows = [
        _row("robustness_value", found.rv_zero, meaning=words + "take the elasticity to zero"),
        _row("robustness_value_half", found.rv_half, meaning=words + "halve it"),
        _row(
            "robustness_value_significance",
            found.rv_significance,
            passed=not found.rv_significance <= 0,
            meaning=words + "take its 95 % interval to zero",
        ),
    ]
    if found.benchmark:
        meaning = f"the common slope if a cause as strong as '{found.benchmark}' is unseen"
        passed = not abs(whole.value - found.benchmark_slope) > MAX_BOUND * abs(whole.value)
        bound = found.benchmark_slope
        rows.append(_row("confounder_bound", bound, passed=passed, meaning=meaning))
    return rows


def _stability_rows(
    moments: InnovationMoments, whole: CommonSlope, drift: float
) -> list[dict[str, object]]:
    early = common_slope(moments.early_products, position=1)
    late = common_slope(moments.products - moments.early_products, position=1)
    gap = late.value - early.value
    error = float(np.hypot(early.standard_error, late.standard_error))
    return [
        _row("slope_whole", whole.value, whole.standard_error, meaning="one slope for all series"),
        _row("slope_first_half", early.value, early.standard_error, meaning="in its first half"),
        _row("slope_second_half", late.value, late.standard_error, meaning="in its second half"),
        _row(
            "gap_between_halves",
            gap,
            error,
            passed=not abs(gap) - Z90 * error > MAX_GAP * abs(whole.value),
            meaning="change of the common slope from the first half to the second",
        ),
        _row("drift_sd", drift, meaning="sd of a series' drift that its posterior allows for"),
    ]


def _row(
    test: str,
    value: float,
    standard_error: float = np.nan,
    *,
    passed: bool = True,
    meaning: str,
) -> dict[str, object]:
    return {
        "test": test,
        "value": value,
        "standard_error": standard_error,
        "low_90": value - Z90 * standard_error,
        "high_90": value + Z90 * standard_error,
        "passed": bool(passed),
        "meaning": meaning,
    }
