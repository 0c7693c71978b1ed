"""Whether the market still is the one that was learned from: drift of inputs and of residuals.

Belongs here: measures between an earlier and a later window of arrays, and the alarms on them.
Price response is ``price_response_drift``, accuracy on new sales ``decay``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.monitoring_parameters import MonitoringParameters
from pricing_assets.core.panel import Panel

Floats = NDArray[np.float64]

BINS = 10
MAX_VALUES = 200_000
"""Values of a window that are compared; of more, every k-th is."""
EARLIER_WINDOWS = 6
"""Earlier windows whose own PSI says how far the market moves when nothing is wrong."""
ROOM = 1.5
"""A window drifts where it moves this many times as far as the earlier windows ever did."""
MIN_VALUES = 20
MIN_RESIDUALS = 24
BLOCKS = 12
SHUFFLES = 1_999


@dataclass(frozen=True, slots=True)
class FeatureDrift:
    """How far one feature moved between the last window and the periods before it.

    Attributes:
        feature: its name.
        psi: population stability index; NaN where too little is known of one window.
        ks: largest distance of the two distribution functions, 0 to 1.
        usual_psi: the largest PSI of the earlier windows; 0 without any.
        limit: PSI above which the feature has drifted.
        level_shift: median over series of the change of their mean, in the feature's own scale.
        values: values of the smaller of the two windows.
    """

    feature: str
    psi: float
    ks: float
    usual_psi: float
    limit: float
    level_shift: float
    values: int

    @property
    def drifted(self) -> bool:
        """The feature moved further than its limit."""
        return bool(self.psi > self.limit)


@dataclass(frozen=True, slots=True)
class ResidualBreak:
    """Outcome of a CUSUM test of residuals for a change of their mean.

    Attributes:
        statistic: largest partial sum of what is above the mean; NaN under :data:`MIN_RESIDUALS`.
        p_value: how often chance alone gives as much.
        position: first residual after the likeliest change.
        shift: mean after that place less the mean before it.
    """

    statistic: float
    p_value: float
    position: int
    shift: float


def psi(before: Floats, now: Floats, *, bins: int = BINS) -> float:
    r"""Population stability index of two samples; 0 where they are the same.

    .. math:: \sum_k (q_k - p_k) \ln(q_k / p_k)

    over the deciles of ``before`` (Siddiqi 2006); a value that fills a decile or more is a bin of
    its own. Half a value is added to each bin, so that an empty one is finite.
    """
    cuts = np.quantile(before, np.arange(1, bins) / bins, method="inverted_cdf")
    repeated = cuts[1:][np.diff(cuts) == 0]
    edges = np.unique(np.concatenate([cuts, np.nextafter(repeated, -np.inf)]))
    shares = []
    for values in (before, now):
        counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
        shares.append((counts + 0.5) / (len(values) + 0.5 * len(counts)))
    expected, found = shares
    return float(((found - expected) * np.log(found / expected)).sum())


def ks_distance(before: Floats, now: Floats) -> float:
    """Two-sample Kolmogorov-Smirnov statistic: the largest gap of the empirical distributions."""
    first, second = np.sort(before), np.sort(now)
    both = np.concatenate([first, second])
    below = np.searchsorted(first, both, side="right") / len(first)
    below_now = np.searchsorted(second, both, side="right") / len(second)
    return float(np.abs(below - below_now).max())


def residual_break(residuals: Floats, *, seed: int = 0) -> ResidualBreak:
    r"""CUSUM test of (n,) residuals in time order for a change of their mean.

    .. math:: \max_k |\sum_{t \le k} (r_t - \bar r)|

    (Page 1954) against its distribution when :data:`BLOCKS` blocks of successive residuals are
    shuffled: without a change their order says nothing, while what hangs together within a block
    stays (Kirch 2007). A long-run variance in its place loses all power under a change, which it
    takes for dependence.

    Args:
        residuals: NaN are left out.
        seed: of the shuffles.
    """
    known = residuals[np.isfinite(residuals)]
    if len(known) < MIN_RESIDUALS:
        return ResidualBreak(float("nan"), float("nan"), 0, float("nan"))
    length = len(known) // BLOCKS
    known = known[len(known) - BLOCKS * length :]
    centred = known - known.mean()
    sums = np.abs(np.cumsum(centred))[:-1]
    position = int(np.argmax(sums)) + 1
    shift = float(known[position:].mean() - known[:position].mean())
    order = np.argsort(np.random.default_rng(seed).random((SHUFFLES, BLOCKS)), axis=1)
    shuffled = centred.reshape(BLOCKS, length)[order].reshape(SHUFFLES, -1)
    chance = np.abs(np.cumsum(shuffled, axis=1)).max(axis=1)
    beaten = 1 + int((chance >= sums.max() * (1 - 1e-9)).sum())
    return ResidualBreak(float(sums.max()), beaten / (SHUFFLES + 1), position, shift)


def panel_features(panel: Panel) -> dict[str, Floats]:
    """The features whose drift is watched, each (S, T), NaN where not on sale or unknown.

    Logarithms of price, cost, price over regular price and price over the rival's; promotion; log
    of 1 + units; stock is left out, for it moves between deliveries as it should.
    """
    there = panel.on_sale
    columns = {
        "log_price": _log(panel.price),
        "log_price_over_regular": _log(panel.price / panel.regular_price),
        "log_price_over_rival": _log(panel.price / panel.rival_price),
        "log_unit_cost": _log(panel.unit_cost),
        "promo": panel.promo,
        "log_units": np.log1p(np.maximum(panel.units, 0)),
    }
    return {name: np.where(there, values, np.nan) for name, values in columns.items()}


def feature_drift(
    features: Mapping[str, Floats], *, window: int, reference: int, psi_alarm: float
) -> tuple[FeatureDrift, ...]:
    """PSI and KS of each feature's last window against the periods before it.

    Cells of a series depend on each other, so p-values for independent draws would alarm always.
    The limit is instead ``psi_alarm``, or :data:`ROOM` times the PSI of earlier windows where
    that is more: a season that comes every year is no news.

    Args:
        features: (S, T) each, NaN unknown.
        window: periods of the last window.
        reference: periods before a window that it is compared with, at most.
        psi_alarm: least limit.
    """
    return tuple(
        _drift_of(name, values, window=window, reference=reference, psi_alarm=psi_alarm)
        for name, values in features.items()
    )


def _drift_of(
    name: str, values: Floats, *, window: int, reference: int, psi_alarm: float
) -> FeatureDrift:
    pairs = list(_windows(values, window=window, reference=reference))
    if not pairs or min(map(len, pairs[0])) < MIN_VALUES:
        nan = float("nan")
        return FeatureDrift(name, nan, nan, 0.0, psi_alarm, nan, 0)
    before, now = pairs[0]
    earlier = [psi(*pair) for pair in pairs[1:] if min(map(len, pair)) >= MIN_VALUES]
    usual = max(earlier, default=0.0)
    return FeatureDrift(
        feature=name,
        psi=psi(before, now),
        ks=ks_distance(before, now),
        usual_psi=usual,
        limit=max(psi_alarm, ROOM * usual),
        level_shift=_level_shift(values, window=window, reference=reference),
        values=min(len(before), len(now)),
    )


def _windows(values: Floats, *, window: int, reference: int) -> Iterator[tuple[Floats, Floats]]:
    """Known values before and in the last window, then the same of earlier windows."""
    periods = values.shape[1]
    for back in range(EARLIER_WINDOWS + 1):
        start, end = periods - (back + 1) * window, periods - back * window
        if start < 2 * window:
            return
        yield _known(values[:, max(0, start - reference) : start]), _known(values[:, start:end])


def _level_shift(values: Floats, *, window: int, reference: int) -> float:
    """Median over the series known in both windows; a series that is new or gone has no part."""
    start = values.shape[1] - window
    before = _row_mean(values[:, max(0, start - reference) : start])
    change = _row_mean(values[:, start:]) - before
    known = change[np.isfinite(change)]
    return float(np.median(known)) if known.size else float("nan")


def _row_mean(values: Floats) -> Floats:
    """Mean of what is known of each row, (S, T) -> (S,); NaN where nothing is."""
    there = np.isfinite(values)
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _known(values: Floats) -> Floats:
    found = values[np.isfinite(values)]
    return found[:: max(1, -(-found.size // MAX_VALUES))]


def _log(values: Floats) -> Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.log(values))


def watched_drift(panel: Panel, *, parameters: MonitoringParameters) -> tuple[FeatureDrift, ...]:
    """:func:`feature_drift` of a panel under the settings, whose days become periods."""
    return feature_drift(
        panel_features(panel),
        window=-(-parameters.window_days // panel.period_days),
        reference=-(-parameters.reference_days // panel.period_days),
        psi_alarm=parameters.psi_alarm,
    )
