"""The rows that a global model learns from: features as of an origin, inputs known ahead.

Belongs here: turning a panel, an origin and a plan into a matrix (S, H, F) and a base forecast.
Every history feature reads only periods before the origin; only price, promotion, display,
feature and calendar are read at the target period, because they are decided or known beforehand.
The rival's price is the origin's. NaN stands for unknown, which trees take as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.attributes import CATEGORICAL, AttributeCodes
from pricing_assets.core.forecast.baselines import level_forecast
from pricing_assets.core.forecast.levels import (
    ALPHAS,
    Integers,
    LevelState,
    group_codes,
    group_mean,
    weekday,
)
from pricing_assets.core.forecast.price_response import PriceResponse
from pricing_assets.core.panel import FuturePlan, Panel

Floats = NDArray[np.float64]

WINDOW_WEEKS = (1, 2, 4, 8, 13, 26, 52)
SAME_WEEKDAY_WEEKS = (4, 8, 13)
_RECENT_WEEKS = 13
_HOLIDAY_REACH = 7
_SMALL = 0.05
_SLOW_SHARE = 0.02
_BASE_FLOOR = 0.02


@dataclass(frozen=True, slots=True)
class Design:
    """Rows of one origin.

    Attributes:
        features: (S, H, F) float32, NaN unknown, columns as :func:`feature_names`.
        base: (S, H) SES x weekday x price effect, above zero, to which a model's ratio applies.
    """

    features: NDArray[np.float32]
    base: Floats


def feature_names() -> tuple[str, ...]:
    """Names of the F features, in the order of :attr:`Design.features`."""
    return (*_HISTORY_NAMES, *_TARGET_NAMES, *CATEGORICAL)


ANNUAL = ("week_of_year", "last_year", "group_last_year")
"""Features of the time of year."""

_HISTORY_NAMES = (
    "log_level",
    *(f"ladder_{alpha}" for alpha in ALPHAS),
    *(f"mean_{weeks}w" for weeks in WINDOW_WEEKS),
    "last_1",
    "last_2",
    "last_3",
    "zero_share_4w",
    "zero_share_13w",
    "variation_13w",
    "log_age",
    "on_sale_share_4w",
    "periods_since_sale",
    "group_trend",
    "promo_share_13w",
    "log_mean_price",
    "log_rival_gap",
    "censored_share_4w",
)

_TARGET_NAMES = (
    "step",
    "weekday",
    "week_of_year",
    "day_of_month",
    "log_base",
    *(f"same_weekday_{weeks}w" for weeks in SAME_WEEKDAY_WEEKS),
    "last_year",
    "group_last_year",
    "price_to_mean",
    "price_to_last",
    "price_to_regular",
    "price_to_low",
    "price_to_group",
    "group_price_to_mean",
    "group_promo",
    "promo",
    "display",
    "feature",
    "rival_gap_change",
    "holiday",
    "days_to_holiday",
    "days_from_holiday",
    "log_effect",
)


def build_design(
    panel: Panel,
    *,
    demand: Floats,
    state: LevelState,
    response: PriceResponse,
    plan: FuturePlan,
    codes: AttributeCodes,
) -> Design:
    """Design of the plan's H periods as of the panel's end.

    Args:
        panel: what is known; its T is the origin.
        demand: (S, T) de-censored demand without the effect of price and promotion.
        state: levels as of the origin.
        response: effect of price and promotion.
    """
    log_effect = response.log_effect(plan)
    base = steady_base(state, panel, plan) * np.exp(log_effect)
    series, horizon = base.shape
    history = _history_features(panel, demand, state)
    target = [
        *_target_features(panel, demand=demand, state=state, plan=plan, base=base),
        log_effect,
    ]
    attributes = codes.encode(panel)
    features = np.empty(
        (series, horizon, history.shape[1] + len(target) + attributes.shape[1]), np.float32
    )
    features[:, :, : history.shape[1]] = history[:, None, :]
    for number, column in enumerate(target, start=history.shape[1]):
        features[:, :, number] = column
    features[:, :, -attributes.shape[1] :] = attributes[:, None, :]
    return Design(features=features, base=base)


def steady_base(state: LevelState, panel: Panel, plan: FuturePlan) -> Floats:
    """SES x weekday kept off zero by the slowest level, so that no ratio to it is extreme."""
    base = level_forecast(state, panel, plan.dates)
    slowest = state.ladder[:, :1]
    return np.asarray(base + _SLOW_SHARE * slowest + _BASE_FLOOR)


def _history_features(panel: Panel, demand: Floats, state: LevelState) -> Floats:
    """(S, F_h) columns as :data:`_HISTORY_NAMES`."""
    cycle = 7 if panel.grain == "day" else 1
    level = state.level
    recent = _tail(demand, _RECENT_WEEKS * cycle)
    month = _tail(demand, 4 * cycle)
    price = _tail(panel.price, _RECENT_WEEKS * cycle)
    group = group_codes(panel)
    short, long = _mean(_tail(demand, 2 * cycle)), _mean(recent)
    weight = np.ones_like(level)
    columns = [
        np.log(level),
        *(_log_ratio(rung, level) for rung in state.ladder.T),
        *(_log_ratio(_mean(_tail(demand, weeks * cycle)), level) for weeks in WINDOW_WEEKS),
        *(_log_ratio(_last(demand, back), level) for back in (1, 2, 3)),
        _share(month <= 0, np.isfinite(month)),
        _share(recent <= 0, np.isfinite(recent)),
        _variation(recent),
        np.log1p(state.observations),
        _tail(panel.on_sale, 4 * cycle).mean(axis=1),
        _periods_since_sale(panel),
        _log_ratio(
            group_mean(np.nan_to_num(short), weight, group),
            group_mean(np.nan_to_num(long), weight, group),
        ),
        _tail(panel.promo, _RECENT_WEEKS * cycle).mean(axis=1),
        _safe_log(_mean(price)),
        _safe_log(_last(panel.rival_price, 1)) - _safe_log(_last(panel.price, 1)),
        _tail(panel.censored, 4 * cycle).mean(axis=1),
    ]
    return np.column_stack(columns)


def _target_features(
    panel: Panel, *, demand: Floats, state: LevelState, plan: FuturePlan, base: Floats
) -> list[Floats]:
    """Columns as :data:`_TARGET_NAMES` but the last, each broadcastable to (S, H)."""
    horizon = base.shape[1]
    days = plan.dates.astype("datetime64[D]")
    year_start = days.astype("datetime64[Y]").astype("datetime64[D]")
    month_start = days.astype("datetime64[M]").astype("datetime64[D]")
    before, after = _holiday_distance(panel, plan)
    rows = [
        np.arange(1, horizon + 1),
        weekday(days),
        (days - year_start).astype(np.int64) // 7,
        (days - month_start).astype(np.int64) + 1,
    ]
    calendar = [np.broadcast_to(row.astype(np.float64), base.shape) for row in rows]
    ends = [np.broadcast_to(row, base.shape) for row in (plan.holiday, before, after)]
    return [
        *calendar,
        np.log(base),
        *_same_weekday(panel, demand=demand, level=state.level, horizon=horizon),
        *_last_year(panel, demand=demand, horizon=horizon),
        *_price_features(panel, demand=demand, plan=plan),
        *ends,
    ]


def _price_features(panel: Panel, *, demand: Floats, plan: FuturePlan) -> list[Floats]:
    cycle = 7 if panel.grain == "day" else 1
    planned = _safe_log(plan.price)
    past = _tail(panel.price, _RECENT_WEEKS * cycle)
    mean = _safe_log(_mean(past))[:, None]
    regular = _safe_log(_mean(_tail(panel.regular_price, _RECENT_WEEKS * cycle)))[:, None]
    low = _safe_log(_least(past))[:, None]
    last = _safe_log(_last(panel.price, 1))[:, None]
    gap = planned - mean
    others_gap = _others_mean(gap, panel=panel, demand=demand)
    others_promo = _others_mean(plan.promo + plan.feature, panel=panel, demand=demand)
    rival_then = _safe_log(_mean(_tail(panel.rival_price, _RECENT_WEEKS * cycle)))[:, None] - mean
    rival_now = _safe_log(plan.rival_price) - planned
    return [
        gap,
        planned - last,
        planned - regular,
        planned - low,
        gap - others_gap,
        others_gap,
        others_promo,
        plan.promo,
        plan.display,
        plan.feature,
        rival_now - rival_then,
    ]


def _others_mean(values: Floats, *, panel: Panel, demand: Floats) -> Floats:
    """Volume-weighted mean over the other series of the category in the store, (S, H)."""
    cycle = 7 if panel.grain == "day" else 1
    group = group_codes(panel)
    volume = np.nan_to_num(_mean(_tail(demand, _RECENT_WEEKS * cycle))) + 1e-6
    known = np.isfinite(values)
    weight = volume[:, None] * known
    size = int(group.max()) + 1
    total = np.zeros((size, values.shape[1]))
    mass = np.zeros((size, values.shape[1]))
    weighted = np.where(known, values, 0.0) * weight
    np.add.at(total, group, weighted)
    np.add.at(mass, group, weight)
    rest = mass[group] - weight
    others = (total[group] - weighted) / np.where(rest > 1e-9, rest, 1.0)
    return np.asarray(np.where(rest > 1e-9, others, np.nan))


def _same_weekday(panel: Panel, *, demand: Floats, level: Floats, horizon: int) -> list[Floats]:
    """Mean of the target's weekday over recent weeks, against the level, each (S, H)."""
    cycle = 7 if panel.grain == "day" else 1
    phase = np.arange(horizon) % cycle
    columns = []
    for weeks in SAME_WEEKDAY_WEEKS:
        tail = _tail(demand, weeks * cycle)
        whole = tail.shape[1] // cycle
        if whole == 0:
            columns.append(np.full((len(level), horizon), np.nan))
            continue
        cube = tail[:, -whole * cycle :].reshape(len(level), whole, cycle)
        known = np.isfinite(cube)
        total = np.where(known, cube, 0.0).sum(axis=1)
        count = known.sum(axis=1)
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        columns.append(_log_ratio(mean, level[:, None])[:, phase])
    return columns


def _last_year(panel: Panel, *, demand: Floats, horizon: int) -> list[Floats]:
    """Demand around the target a year ago against the quarter before it, own and group's."""
    cycle = 7 if panel.grain == "day" else 1
    series, origin = demand.shape
    year, quarter = 52 * cycle, _RECENT_WEEKS * cycle
    start = origin - year
    if start < quarter:
        empty = np.full((series, horizon), np.nan)
        return [empty, empty]
    reach = 3 if cycle == 7 else 1
    known = np.isfinite(demand[:, : start + min(horizon, year) + reach])
    total = np.cumsum(np.where(known, demand[:, : known.shape[1]], 0.0), axis=1)
    count = np.cumsum(known, axis=1)
    steps = np.arange(horizon) % year
    high = np.minimum(start + steps + reach, known.shape[1] - 1)
    low = start + steps - reach - 1
    near, near_count = total[:, high] - total[:, low], count[:, high] - count[:, low]
    back = start - quarter
    past = total[:, start - 1] - (total[:, back - 1] if back > 0 else 0.0)
    past_count = count[:, start - 1] - (count[:, back - 1] if back > 0 else 0)
    group = group_codes(panel)
    pooled = [_group_sum(value, group) for value in (near, near_count)]
    pooled_past = [_group_sum(value[:, None], group) for value in (past, past_count)]
    return [
        _season_ratio(near, near_count, past[:, None], past_count[:, None]),
        _season_ratio(*pooled, *pooled_past),
    ]


def _season_ratio(near: Floats, near_count: Floats, past: Floats, past_count: Floats) -> Floats:
    now = np.where(near_count > 0, near / np.maximum(near_count, 1), np.nan)
    then = np.where(past_count > 0, past / np.maximum(past_count, 1), np.nan)
    return _log_ratio(now, then)


def _group_sum(values: Floats, group: Integers) -> Floats:
    total = np.zeros((int(group.max()) + 1, values.shape[1]))
    np.add.at(total, group, values)
    return np.asarray(total[group])


def _holiday_distance(panel: Panel, plan: FuturePlan) -> tuple[Floats, Floats]:
    """Days to the next and from the last holiday of each target, clipped, each (H,)."""
    step = panel.period_days
    flags = np.concatenate([_tail(panel.holiday[None, :], _HOLIDAY_REACH)[0], plan.holiday]) > 0
    position = np.arange(len(flags)) * float(step)
    days = position[flags]
    offset = position[len(flags) - len(plan.dates) :]
    limit = float(_HOLIDAY_REACH * step)
    gaps = days[None, :] - offset[:, None] if days.size else np.full((len(offset), 1), limit)
    ahead = np.where(gaps >= 0, gaps, limit).min(axis=1)
    behind = np.where(gaps <= 0, -gaps, limit).min(axis=1)
    return np.minimum(ahead, limit), np.minimum(behind, limit)


def _tail(values: NDArray[np.generic], width: int) -> Floats:
    """Last ``width`` columns as floats (one column of NaN where there is none)."""
    part = values[:, -width:].astype(np.float64)
    return part if part.shape[1] else np.full((values.shape[0], 1), np.nan)


def _mean(values: Floats) -> Floats:
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _least(values: Floats) -> Floats:
    lowest = np.where(np.isfinite(values), values, np.inf).min(axis=1)
    return np.asarray(np.where(np.isfinite(lowest), lowest, np.nan))


def _variation(values: Floats) -> Floats:
    mean = _mean(values)
    spread = np.sqrt(_mean((values - mean[:, None]) ** 2))
    return np.asarray(spread / np.where(mean > 0, mean, np.nan))


def _last(values: Floats, back: int) -> Floats:
    if values.shape[1] < back:
        return np.full(values.shape[0], np.nan)
    return np.asarray(values[:, -back], np.float64)


def _share(flag: NDArray[np.bool_], known: NDArray[np.bool_]) -> Floats:
    count = known.sum(axis=1)
    return np.asarray(
        np.where(count > 0, (flag & known).sum(axis=1) / np.maximum(count, 1), np.nan)
    )


def _periods_since_sale(panel: Panel) -> Floats:
    sold = np.nan_to_num(panel.units) > 0
    since = np.argmax(sold[:, ::-1], axis=1).astype(np.float64)
    return np.asarray(np.where(sold.any(axis=1), np.log1p(since), np.nan))


def _safe_log(values: Floats) -> Floats:
    return np.asarray(np.log(np.where(values > 0, values, np.nan)))


def _log_ratio(values: Floats, level: Floats) -> Floats:
    return np.asarray(np.log((values + _SMALL) / (level + _SMALL)))
