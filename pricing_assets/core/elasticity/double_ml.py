r"""Double/debiased machine learning on a panel: residual on residual, by cross-fitting.

.. math:: y_{it} = \beta_i x_{it} + g(W_{it}) + e_{it}, \qquad x_{it} = m(W_{it}) + v_{it}

g and m are learned on other folds and taken off; the slope is that of the residuals (Robinson
1988; Chernozhukov et al. 2018), with errors clustered. Two ways of identifying:

- ``innovations``: W holds the past of demand and price (mean levels and last deviations), the
  calendar and the promotions. Slow unseen demand shows in the past and is taken out with it; no
  present or future demand is among the features, so nothing leaks.
- ``lasting_prices``: the price paid is a noisy reading of the price asked (single invoice lines,
  customers' own terms), and no price is known where nothing was sold. Its noise pulls every slope
  on it towards zero, and taking the past off leaves nothing but noise. The mean price paid in the
  four weeks before is the instrument (Griliches and Hausman 1986; the partially linear IV model
  of Chernozhukov et al. 2018): it shares the asked price with today, not the noise. What it does
  to demand is read off all cells, those without a sale too; what it does to price, off the cells
  with a sale (two-sample IV, Angrist and Krueger 1992), less the bias that demeaning within a
  series gives (the noise of the own price is in the series' mean). It asks that last month's
  price moves today's demand only through today's, and stands or falls with its first-stage F.
  Own slopes are those on the price paid, divided by the reliability that the common slope finds.

Folds are whole products, so that nothing of a product trains its own nuisance; with few products,
they are blocks of time, and the rows next to the test block train nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import lightgbm as lgb
import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.design import PriceDesign
from pricing_assets.core.elasticity.fixed_effects import within
from pricing_assets.core.elasticity.raw_estimates import (
    RawEstimates,
    Residuals,
    Slopes,
    clustered_variance,
    nothing_estimated,
    random_effects_mean,
    slopes,
)
from pricing_assets.core.elasticity.regression_rows import RegressionRows
from pricing_assets.core.panel import carry_forward

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Identification = Literal["innovations", "lasting_prices"]
Learner = Literal["lightgbm", "ridge"]
FOLDS = 5
GAP_DAYS = 28
LEVEL_DAYS = 28
WINDOWS_DAYS = (7, 91)
MIN_ROWS = 200
MIN_BOOSTED_ROWS = 2_000
MAX_TRAINING_ROWS = 40_000
RIDGE = 10.0
ROUNDS = 80
MAX_CORRECTION = 3.0
"""Correction for noisy prices above which the instrument is not believed."""


@dataclass(frozen=True, slots=True)
class Nuisance:
    """How nuisances are learned.

    Attributes:
        learner: boosted trees, or ridge; few rows always take ridge.
        seed: of the folds and of the sampling of training rows.
        threads: of LightGBM.
    """

    learner: Learner = "lightgbm"
    seed: int = 0
    threads: int = 1


def double_ml(
    design: PriceDesign,
    rows: RegressionRows,
    *,
    period_days: int,
    identification: Identification = "innovations",
    min_first_stage_f: float = 0.0,
    nuisance: Nuisance | None = None,
    cluster: Integers | None = None,
) -> RawEstimates:
    """Own and common slopes by double machine learning.

    Args:
        design: the panel's arrays.
        rows: N cells.
        period_days: days in a period.
        identification: see the module.
        min_first_stage_f: F below which lasting prices are refused as an instrument.
        nuisance: how nuisances are learned; boosted trees where absent.
        cluster: (S,) cluster of each series for the errors; each series its own where absent.
    """
    chosen = nuisance or Nuisance()
    past = identification == "innovations"
    prepared = (
        _innovations(design, rows, period_days) if past else _lasting(design, rows, period_days)
    )
    if len(prepared.rows) < MIN_ROWS:
        return nothing_estimated(
            "double_ml", series_count=rows.shape[0], refused="too few cells with a past"
        )
    folds = product_folds(design, rows, prepared.rows, period_days=period_days, seed=chosen.seed)
    free = np.column_stack(
        [
            _residual(prepared.features, column, rows.weight[prepared.rows], folds, chosen)
            for column in prepared.targets.T
        ]
    )
    return _estimates(free, design, rows, prepared, identification, min_first_stage_f, cluster)


@dataclass(frozen=True, slots=True)
class Prepared:
    """Which of the N rows count (n,), their targets (n, 2 or 3) and features (n, f).

    Targets are the outcome, log price and, where there is one, the instrument.
    """

    rows: Integers
    targets: Floats
    features: Floats


@dataclass(frozen=True, slots=True)
class Folds:
    """Test fold of each row (n,), and (folds, n) which rows may train for it."""

    test: Integers
    train: NDArray[np.bool_]


def product_folds(
    design: PriceDesign, rows: RegressionRows, kept: Integers, *, period_days: int, seed: int
) -> Folds:
    """Folds of whole products; of time with gaps where products are fewer than two a fold."""
    product, period = design.product[rows.series[kept]], rows.period[kept]
    count = int(design.product.max()) + 1
    if count >= 2 * FOLDS:
        fold_of = np.random.default_rng(seed).permutation(count) % FOLDS
        test = fold_of[product].astype(np.int64)
        return Folds(test, np.stack([test != fold for fold in range(FOLDS)]))
    length, gap = rows.shape[1], max(GAP_DAYS // period_days, 1)
    edges = np.linspace(0, length, FOLDS + 1)
    test = np.asarray(np.searchsorted(edges, period, side="right") - 1, dtype=np.int64)
    train = [
        (period < edges[fold] - gap) | (period >= edges[fold + 1] + gap) for fold in range(FOLDS)
    ]
    return Folds(test, np.stack(train))


def trailing_mean(values: Floats, *, periods: int) -> Floats:
    """Mean of the known values of the ``periods`` before each, (S, T); NaN without any."""
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0), axis=1)
    count = np.cumsum(known, axis=1).astype(np.float64)

    def before(sums: Floats) -> Floats:
        late = np.concatenate([np.zeros((len(sums), 1)), sums[:, :-1]], axis=1)
        early = np.concatenate([np.zeros((len(sums), periods + 1)), sums], axis=1)
        return late - early[:, : sums.shape[1]]

    seen = np.maximum(before(count), 0.0)
    return np.where(seen > 0.5, before(total) / np.maximum(seen, 1.0), np.nan)


def _innovations(design: PriceDesign, rows: RegressionRows, period_days: int) -> Prepared:
    """Outcome and price less their own recent mean; features of the past and of the calendar."""
    cell = (rows.series, rows.period)
    features, targets = [], []
    for values in (rows.outcome, rows.log_price):
        dense = np.full(rows.shape, np.nan)
        dense[cell] = values
        level = trailing_mean(dense, periods=max(LEVEL_DAYS // period_days, 1))
        targets.append(values - level[cell])
        last = trailing_mean(dense, periods=1)
        means = [trailing_mean(dense, periods=max(d // period_days, 2)) for d in WINDOWS_DAYS]
        features += [np.nan_to_num((mean - level)[cell]) for mean in (last, *means)]
    known = np.flatnonzero(np.isfinite(targets[0]) & np.isfinite(targets[1]))
    columns = [*features, *rows.controls.T, *_calendar_features(design, rows, period_days)]
    return Prepared(known, np.stack(targets, axis=1)[known], np.stack(columns, axis=1)[known])


def _lasting(design: PriceDesign, rows: RegressionRows, period_days: int) -> Prepared:
    """Outcome, price and the mean price before, within series and period; calendar features."""
    paid = np.where(design.usable & (design.units > 0), design.log_price, np.nan)
    before = trailing_mean(paid, periods=max(LEVEL_DAYS // period_days, 1))
    last = trailing_mean(carry_forward(paid), periods=1)
    instrument = np.where(np.isfinite(before), before, last)[rows.series, rows.period]
    known = np.flatnonzero(np.isfinite(instrument))
    columns = np.column_stack([rows.outcome, rows.log_price, instrument])[known]
    groups = [rows.series[known], rows.period[known]]
    targets = within(columns, groups=groups, weight=rows.weight[known])
    features = [*rows.controls.T, *_calendar_features(design, rows, period_days)]
    return Prepared(known, targets, np.stack(features, axis=1)[known])


def _calendar_features(design: PriceDesign, rows: RegressionRows, period_days: int) -> list[Floats]:
    """Period, season, weekday and holiday, and the category, each (N,).

    The level of a product's price is none of them: it is known from its later prices too.
    """
    angle = 2 * np.pi * rows.period * period_days / 365.25
    return [
        rows.period.astype(np.float64),
        np.sin(angle),
        np.cos(angle),
        *design.calendar[rows.period].T,
        design.category[rows.series].astype(np.float64),
    ]


def _residual(
    features: Floats, target: Floats, weight: Floats, folds: Folds, nuisance: Nuisance
) -> Floats:
    """Target (n,) less its prediction by a model that saw other folds only."""
    rng = np.random.default_rng(nuisance.seed)
    result = np.full(len(target), np.nan)
    for fold, allowed in enumerate(folds.train):
        test, train = folds.test == fold, np.flatnonzero(allowed)
        if not test.any() or len(train) == 0:
            continue
        if len(train) > MAX_TRAINING_ROWS:
            train = np.sort(rng.choice(train, MAX_TRAINING_ROWS, replace=False))
        predict = _ridge if _small(train, nuisance) else _boosted
        result[test] = target[test] - predict(
            features[train], target[train], weight[train], features[test], nuisance
        )
    return result


def _small(train: Integers, nuisance: Nuisance) -> bool:
    return nuisance.learner == "ridge" or len(train) < MIN_BOOSTED_ROWS


def _boosted(x: Floats, y: Floats, weight: Floats, test: Floats, nuisance: Nuisance) -> Floats:
    options = {
        "objective": "regression",
        "learning_rate": 0.1,
        "num_leaves": 15,
        "min_data_in_leaf": 40,
        "num_threads": nuisance.threads,
        "seed": nuisance.seed,
        "deterministic": True,
        "force_col_wise": True,
        "verbosity": -1,
    }
    booster = lgb.train(options, lgb.Dataset(x, label=y, weight=weight), num_boost_round=ROUNDS)
    return np.asarray(booster.predict(test), dtype=np.float64)


def _ridge(x: Floats, y: Floats, weight: Floats, test: Floats, nuisance: Nuisance) -> Floats:
    share = weight / weight.sum()
    centre, level = share @ x, float(share @ y)
    scale = np.maximum(np.sqrt(share @ (x - centre) ** 2), 1e-9)
    z = (x - centre) / scale
    gram = z.T @ (share[:, None] * z) + RIDGE / len(y) * np.eye(z.shape[1])
    fit = np.linalg.solve(gram, z.T @ (share * (y - level)))
    return np.asarray(level + (test - centre) / scale @ fit)


def _estimates(
    free: Floats,
    design: PriceDesign,
    rows: RegressionRows,
    prepared: Prepared,
    identification: Identification,
    min_first_stage_f: float,
    cluster: Integers | None,
) -> RawEstimates:
    known = np.isfinite(free).all(axis=1)
    kept, free = prepared.rows[known], free[known]
    series = rows.series[kept]
    lasting = identification == "lasting_prices"
    residuals = Residuals(
        outcome=free[:, 0],
        log_price=free[:, 1],
        identifying=free[:, 1],
        weight=rows.weight[kept],
        series=series,
        cluster=series if cluster is None else cluster[series],
        freedom=float(len(kept) - 1 - (np.unique(series).size if lasting else 0)),
    )
    found = slopes(residuals, series_count=rows.shape[0])
    if lasting:
        priced = design.units[series, rows.period[kept]] > 0
        noise = paid_noise_variance(design)
        common = _two_sample(residuals, free[:, 2], priced=priced, noise=noise)
        return _corrected(found, common, len(kept), min_first_stage_f)
    return RawEstimates(
        method="double_ml",
        identified_by="price moves that the past does not foretell",
        slope=found.slope,
        standard_error=found.standard_error,
        common=found.common,
        common_standard_error=found.common_standard_error,
        observations=len(kept),
        refused="" if np.isfinite(found.common) else "no price varies beyond what is foretold",
    )


def paid_noise_variance(design: PriceDesign) -> float:
    """Variance of the noise in log prices paid: less the autocovariance of their changes.

    Noise e around a price that lasts gives changes of autocovariance -var(e).
    """
    change = np.diff(np.where(design.units > 0, design.log_price, np.nan), axis=1)
    product = change[:, 1:] * change[:, :-1]
    known = np.isfinite(product)
    return max(-float(product[known].mean()), 0.0) if known.any() else 0.0


@dataclass(frozen=True, slots=True)
class TwoSampleSlope:
    """Common slope by two-sample IV with its clustered error, and the first stage's F."""

    slope: float
    standard_error: float
    first_stage_f: float


def _two_sample(
    residuals: Residuals, instrument: Floats, *, priced: NDArray[np.bool_], noise: float
) -> TwoSampleSlope:
    """Reduced form on all cells over the first stage on the priced ones, by the delta method."""
    reduced, reduced_error = _regression(
        residuals.outcome, instrument, weight=residuals.weight, cluster=residuals.cluster
    )
    series, weight = residuals.series[priced], residuals.weight[priced]
    pair = np.column_stack([residuals.log_price, instrument])[priced]
    pair = within(pair, groups=[series], weight=weight)
    first, first_error = _regression(
        pair[:, 0], pair[:, 1], weight=weight, cluster=residuals.cluster[priced]
    )
    total = np.bincount(series, weight)
    mean_weight = float((total / np.maximum(np.bincount(series), 1)).sum())
    first += noise * mean_weight / max(float(weight @ pair[:, 1] ** 2), 1e-12)
    if not (np.isfinite(reduced) and first > 1e-9):
        return TwoSampleSlope(np.nan, np.nan, 0.0)
    slope = reduced / first
    error = float(np.hypot(reduced_error, slope * first_error) / first)
    return TwoSampleSlope(slope, error, float((first / first_error) ** 2))


def _regression(
    target: Floats, regressor: Floats, *, weight: Floats, cluster: Integers
) -> tuple[float, float]:
    """Weighted slope through the origin with its clustered error; NaN without variation."""
    spread = float(weight @ regressor**2)
    if spread < 1e-9:
        return np.nan, np.nan
    fit = float((weight * regressor) @ target) / spread
    score = weight * regressor * (target - fit * regressor)
    return fit, float(np.sqrt(clustered_variance(score, cluster)) / spread)


def _corrected(
    attenuated: Slopes, common: TwoSampleSlope, observations: int, min_first_stage_f: float
) -> RawEstimates:
    """The common IV slope, and own slopes divided by the price's reliability.

    The reliability is the mean of the own slopes on the noisy price over the IV slope (Fuller
    1987), so that the level is that of prices that last and the differences between series are
    those of prices paid. Its error is shared by all series.
    """
    count, strength = len(attenuated.slope), common.first_stage_f
    if not strength >= min_first_stage_f:
        reason = f"first-stage F {strength:.1f} of lasting prices is below {min_first_stage_f:g}"
        return nothing_estimated(
            "double_ml", series_count=count, refused=reason, first_stage_f=strength
        )
    mean = random_effects_mean(
        slope=attenuated.slope, standard_error=attenuated.standard_error
    ).mean
    correction = common.slope / (mean if np.isfinite(mean) else attenuated.common)
    refused = ""
    if not 1.0 <= correction <= MAX_CORRECTION:
        refused = f"prices that last say {common.slope:.2f} where prices paid say "
        refused += f"{mean:.2f}: no noise of prices explains that"
    return RawEstimates(
        method="double_ml",
        identified_by="prices that last: the mean price of the weeks before",
        slope=correction * attenuated.slope,
        standard_error=correction * attenuated.standard_error,
        common=common.slope,
        common_standard_error=common.standard_error,
        first_stage_f=strength,
        observations=observations,
        shared_standard_error=common.standard_error,
        refused=refused,
    )
