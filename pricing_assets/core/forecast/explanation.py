r"""What drives each forecast, in units: SHAP values of the trees, grouped into drivers.

Belongs here: taking a fitted forecaster's mean apart. A global model's mean is a ratio to the base
(level x weekday x price effect, ``design``), so on the log scale it is a sum,

.. math:: \log m = \underbrace{\log \ell + \phi_0}_{\text{start}}
          + \underbrace{\log w}_{\text{weekday}}
          + \underbrace{\beta^\top z}_{\text{price, promotion}}
          + \sum_f \phi_f ,

with :math:`\ell` the recent level and :math:`\phi` the exact SHAP values of LightGBM's mean booster
(``pred_contrib``; Lundberg et al. 2020), whose sum is its raw prediction. A mean of several models
or periods is no product, so effects are carried to units by the logarithmic mean
:math:`L(a, b) = (a - b)/\log(a/b)`: a driver's effect is :math:`\sum_k w_k L(m_k, s_k)\,\phi_{kd}`,
and start and effects add up to the forecast without a rest (Ang 2005). A model without trees is
shown as far as it starts from the same level, and as a whole beyond that.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.forecast.attributes import CATEGORICAL
from pricing_assets.core.forecast.baselines import BASELINES, level_forecast
from pricing_assets.core.forecast.ensemble import BASE, FittedEnsemble
from pricing_assets.core.forecast.global_model import FittedGlobal, feature_columns
from pricing_assets.core.forecast.interface import FittedForecaster
from pricing_assets.core.forecast.levels import trace_levels
from pricing_assets.core.forecast.lightgbm import MEAN_FILE, FittedLightGbm
from pricing_assets.core.forecast.price_response import PriceResponse, fit_price_response
from pricing_assets.core.forecast.training_rows import PlannedDesign, plan_design
from pricing_assets.core.panel import FuturePlan, Panel

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

DRIVERS: dict[str, str] = {
    "recent_sales": "recent sales",
    "season_calendar": "season and calendar",
    "own_price": "own price",
    "promotion": "promotion",
    "rival": "rival's price",
    "similar_products": "similar products",
    "attributes": "product attributes",
    "model_as_a_whole": "models without trees",
}
"""Driver -> its name in words."""

DRIVER_OF = {
    "step": "season_calendar",
    "weekday": "season_calendar",
    "week_of_year": "season_calendar",
    "day_of_month": "season_calendar",
    "same_weekday_4w": "season_calendar",
    "same_weekday_8w": "season_calendar",
    "same_weekday_13w": "season_calendar",
    "last_year": "season_calendar",
    "group_last_year": "season_calendar",
    "holiday": "season_calendar",
    "days_to_holiday": "season_calendar",
    "days_from_holiday": "season_calendar",
    "log_mean_price": "own_price",
    "price_to_mean": "own_price",
    "price_to_last": "own_price",
    "price_to_regular": "own_price",
    "price_to_low": "own_price",
    "price_to_group": "own_price",
    "promo": "promotion",
    "display": "promotion",
    "feature": "promotion",
    "promo_share_13w": "promotion",
    "log_rival_gap": "rival",
    "rival_gap_change": "rival",
    "group_price_to_mean": "similar_products",
    "group_promo": "similar_products",
    "group_trend": "similar_products",
    **dict.fromkeys(CATEGORICAL, "attributes"),
}
"""Feature of the design -> driver; one that is not named here counts to ``recent_sales``."""
_EFFECT = "log_effect"
_LEAST_UNITS = 1e-9


@dataclass(frozen=True, slots=True)
class TreeContributions:
    """SHAP values of a booster for N rows, on the scale of its raw prediction.

    Attributes:
        base: (N,) expected raw prediction over the training rows.
        values: (N, F) contribution of each feature; base + their sum is the raw prediction.
    """

    base: Floats
    values: Floats


@dataclass(frozen=True, slots=True)
class ForecastExplanation:
    """Effects of D drivers on n series over H periods, in units a period.

    Attributes:
        model: name of the forecaster.
        note: how far its models could be taken apart.
        series: (n,) rows of the panel.
        dates: (H,).
        start: (n, H) what the recent level alone gives.
        effects: (n, H, D) in the order of :data:`DRIVERS`.
        expected: (n, H) the forecast's mean; start and effects add up to it.
    """

    model: str
    note: str
    series: Integers
    dates: NDArray[np.datetime64]
    start: Floats
    effects: Floats
    expected: Floats

    def to_frame(self, series: pd.DataFrame) -> pd.DataFrame:
        """One row a series, in units over the horizon.

        Columns: product_id, store_id, model, start_units, one a driver, expected_units, sentence.

        Args:
            series: the panel's rows with product_id and store_id.
        """
        names = series.iloc[self.series][["product_id", "store_id"]].reset_index(drop=True)
        effects = self.effects.sum(axis=1)
        columns = {name: effects[:, place] for place, name in enumerate(DRIVERS)}
        frame = names.assign(
            model=self.model,
            start_units=self.start.sum(axis=1),
            **columns,
            expected_units=self.expected.sum(axis=1),
        )
        return frame.assign(sentence=[_sentence(row) for row in frame.to_dict("records")])


def tree_contributions(booster: lgb.Booster, rows: NDArray[np.float32]) -> TreeContributions:
    """Exact SHAP values of a booster of one output for rows (N, F)."""
    values = np.asarray(booster.predict(rows, pred_contrib=True, num_threads=1), np.float64)
    return TreeContributions(base=values[:, -1], values=values[:, :-1])


def driver_of(feature: str) -> str:
    """The driver that a feature of the design counts to; ``recent_sales`` unless named.

    ``log_effect`` holds price and promotion and is shared between the two.
    """
    return DRIVER_OF.get(feature, "recent_sales")


def explain_forecast(
    fitted: FittedForecaster, panel: Panel, plan: FuturePlan, *, series: Integers | None = None
) -> ForecastExplanation:
    """Take the mean of a forecast apart into the effects of :data:`DRIVERS`.

    Args:
        fitted: a trained forecaster, for example from ``load_forecaster``.
        panel: what is known.
        plan: prices, promotions and calendar of the H periods.
        series: rows of the panel to explain; all where None. SHAP values take about 1.5 ms a
            series and period.
    """
    chosen = np.arange(panel.shape[0]) if series is None else np.asarray(series, np.int64)
    shares = _shares(fitted)
    globals_ = [model for model, _ in shares if isinstance(model, FittedGlobal)]
    planned = plan_design(panel, plan, codes=globals_[0].codes) if globals_ else None
    base = None if planned is None else _base_parts(planned, plan, chosen)
    start = np.zeros((len(chosen), len(plan.dates)))
    expected, effects = start.copy(), np.zeros((*start.shape, len(DRIVERS)))
    for model, share in shares:
        parts = _parts(model, panel, plan, base=base, chosen=chosen)
        first, last = np.exp(parts.start), np.exp(parts.start + parts.effects.sum(axis=2))
        start += share * first
        expected += share * last
        effects += share * logarithmic_mean(last, first)[:, :, None] * parts.effects
    return ForecastExplanation(
        model=fitted.name,
        note=_note(fitted, shares),
        series=chosen,
        dates=plan.dates,
        start=start,
        effects=effects,
        expected=expected,
    )


def logarithmic_mean(first: Floats, second: Floats) -> Floats:
    """L(a, b) = (a - b) / log(a / b) of values above zero, a where they are equal."""
    gap = np.log(first) - np.log(second)
    near = np.abs(gap) < 1e-6
    return np.asarray(
        np.where(near, (first + second) / 2, (first - second) / np.where(near, 1.0, gap))
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """One model's log mean: start (n, H), and effects (n, H, D) that are added to it."""

    start: Floats
    effects: Floats

    def plus(self, driver: str, value: Floats) -> _Parts:
        effects = self.effects.copy()
        effects[:, :, list(DRIVERS).index(driver)] += value
        return _Parts(self.start, effects)


@dataclass(frozen=True, slots=True)
class _BaseParts:
    """The base of the global models: its design, its parts, and price's share of the effect."""

    planned: PlannedDesign
    parts: _Parts
    price_share: Floats


def _shares(fitted: FittedForecaster) -> list[tuple[FittedForecaster | None, float]]:
    """The models whose means are added up, with their weights; None is the base itself."""
    if not isinstance(fitted, FittedEnsemble):
        return [(fitted, 1.0)]
    members: dict[str, FittedForecaster | None] = {model.name: model for model in fitted.members}
    return [(members.get(name), share) for name, share in fitted.weights.items() if share > 0]


def _base_parts(planned: PlannedDesign, plan: FuturePlan, chosen: Integers) -> _BaseParts:
    """Log of the base: the level without its weekday, then weekday, price, and promotion."""
    state = planned.history.states[planned.panel.shape[1]]
    response = fit_price_response(planned.panel)
    log_effect = response.log_effect(plan)
    steady = np.log(planned.design.base) - log_effect
    by_weekday = level_forecast(state, planned.panel, plan.dates)
    start = np.log(np.exp(steady) - by_weekday + state.level[:, None])
    share = _price_share(response, plan)
    parts = _Parts(start[chosen], np.zeros((len(chosen), len(plan.dates), len(DRIVERS))))
    parts = parts.plus("season_calendar", (steady - start)[chosen])
    parts = parts.plus("own_price", (share * log_effect)[chosen])
    parts = parts.plus("promotion", ((1 - share) * log_effect)[chosen])
    return _BaseParts(planned, parts, np.clip(share, 0.0, 1.0)[chosen])


def _price_share(response: PriceResponse, plan: FuturePlan) -> Floats:
    """Share of the price in the log effect of price, promotion, display and feature, (S, H).

    It may lie outside 0..1 where they work against each other; one half where there is no effect.
    """
    with_price = np.where(plan.price > 0, plan.price, np.nan)
    step = np.nan_to_num(np.log(with_price) - response.log_reference[:, None])
    price = response.coefficients[:, :1] * step
    flags = np.stack([plan.promo, plan.display, plan.feature], axis=2)
    total = price + np.einsum("shk,sk->sh", flags, response.coefficients[:, 1:])
    known = np.abs(total) > 1e-12
    return np.asarray(np.where(known, price / np.where(known, total, 1.0), 0.5))


def _parts(
    model: FittedForecaster | None,
    panel: Panel,
    plan: FuturePlan,
    *,
    base: _BaseParts | None,
    chosen: Integers,
) -> _Parts:
    """One model's parts; ``model`` None is the base itself."""
    if base is not None and model is None:
        return base.parts
    if base is not None and isinstance(model, FittedGlobal):
        return _global_parts(model, base, chosen)
    if model is None:
        raise IntegrityError(f"the ensemble weighs '{BASE}' but holds no model that starts from it")
    return _level_parts(model, panel, plan, chosen)


def _global_parts(model: FittedGlobal, base: _BaseParts, chosen: Integers) -> _Parts:
    mean = np.maximum(model.points_of(base.planned).mean[chosen], _LEAST_UNITS)
    log_ratio = np.log(mean) - np.log(base.planned.design.base[chosen])
    if not isinstance(model, FittedLightGbm):
        return base.parts.plus("model_as_a_whole", log_ratio)
    return _tree_parts(model, base, log_ratio=log_ratio, chosen=chosen)


def _tree_parts(
    model: FittedLightGbm, base: _BaseParts, *, log_ratio: Floats, chosen: Integers
) -> _Parts:
    """The base's parts with the booster's SHAP values by driver.

    Where the ratio is bounded, all values shrink alike, so that they still add up.
    """
    if not model.texts:
        return base.parts
    booster = lgb.Booster(model_str=model.texts[MEAN_FILE])
    rows = base.planned.design.features[chosen][:, :, feature_columns(model.features)]
    found = tree_contributions(booster, rows.reshape(-1, rows.shape[2]))
    raw = found.base + found.values.sum(axis=1)
    shrink = np.where(np.abs(raw) > 1e-12, log_ratio.ravel() / np.where(raw, raw, 1.0), 1.0)
    values = (found.values * shrink[:, None]).reshape(rows.shape)
    start = base.parts.start + (found.base * shrink).reshape(log_ratio.shape)
    parts = _Parts(start, base.parts.effects)
    for place, feature in enumerate(model.features):
        value = values[:, :, place]
        if feature == _EFFECT:
            parts = parts.plus("own_price", base.price_share * value)
            parts = parts.plus("promotion", (1 - base.price_share) * value)
        else:
            parts = parts.plus(driver_of(feature), value)
    return parts


def _level_parts(
    model: FittedForecaster, panel: Panel, plan: FuturePlan, chosen: Integers
) -> _Parts:
    """A model that starts from no base: level, weekday index, and the rest as a whole."""
    origin = panel.shape[1]
    state = trace_levels(panel, [origin]).states[origin]
    start = np.repeat(np.log(state.level)[:, None], len(plan.dates), axis=1)[chosen]
    steady = np.log(np.maximum(level_forecast(state, panel, plan.dates), _LEAST_UNITS))[chosen]
    mean = np.log(np.maximum(model.predict(panel, plan).mean[chosen], _LEAST_UNITS))
    rest = "recent_sales" if model.name in BASELINES else "model_as_a_whole"
    parts = _Parts(start, np.zeros((*start.shape, len(DRIVERS))))
    return parts.plus("season_calendar", steady - start).plus(rest, mean - steady)


def _note(fitted: FittedForecaster, shares: list[tuple[FittedForecaster | None, float]]) -> str:
    if not isinstance(fitted, FittedEnsemble):
        return _how(fitted)
    texts = [
        f"{model.name if model else BASE} {share:.2f}: {_how(model)}" for model, share in shares
    ]
    return "weighted mean of " + "; ".join(texts)


def _how(model: FittedForecaster | None) -> str:
    if model is None:
        return "level, weekday index and price effect"
    if isinstance(model, FittedLightGbm):
        return "SHAP values of the mean's trees" if model.texts else "too little history for trees"
    if model.name in BASELINES:
        return "no trees: level and weekday index, prices play no part"
    return "no trees: shown as a whole beyond level and weekday"


def _sentence(row: dict[Hashable, Any]) -> str:
    """The forecast in words: the start, then the drivers by size, those above half a percent."""
    total = float(row["expected_units"])
    sizes = {name: float(row[name]) for name in DRIVERS}
    named = sorted(sizes, key=lambda name: -abs(sizes[name]))
    told = [
        f"{DRIVERS[name]} {sizes[name]:+,.1f}"
        for name in named
        if abs(sizes[name]) > 0.005 * max(total, _LEAST_UNITS)
    ]
    start = f"the recent level gives {float(row['start_units']):,.1f} units"
    return f"{total:,.1f} units expected: {start}" + "".join(f"; {text}" for text in told)
