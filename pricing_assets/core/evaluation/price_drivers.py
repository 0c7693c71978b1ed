r"""What drives each price, in numbers: one record a row of the price table.

Belongs here: taking apart what the price table has decided, by the same demand curves, guard rails
and search. Sentences are ``price_driver_words``. Equations. With u the worth of a unit (p - c for
profit) and Q the expected sales at the new (1) and the current price (0), all others' new prices
in force, the gain in the objective is

.. math:: u_1 Q_1 - u_0 Q_0 + H = (u_1 - u_0)\,Q_1 + u_0\,(Q_1 - Q_0) + H,

what each unit sold adds, what units gained or lost are worth, and what substitutes gain. The
weight of a series' own estimate in its posterior is the posterior over the estimate's variance: in
a Gaussian tree the rest of the precision is what the others say (exact but where the truncation at
zero binds).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.currency import currency_exponent, to_major
from pricing_assets.core.demand import DemandCurves, is_extrapolation
from pricing_assets.core.evaluation.price_driver_words import driver_sentences
from pricing_assets.core.evaluation.report import reason_codes
from pricing_assets.core.expected_sales import expected_sales, scaled, select
from pricing_assets.core.guardrails import PriceBounds, price_bounds
from pricing_assets.core.price_confidence import confidence_parts
from pricing_assets.core.price_endings import candidate_prices
from pricing_assets.core.price_inputs import curves_with_facts, price_facts, usable_curves
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.price_search import (
    PriceFacts,
    Turn,
    choose_rows,
    chunks,
    present_turn,
    some_facts,
    spillover,
)
from pricing_assets.core.price_windows import within_published
from pricing_assets.core.row_rails import numbers, row_windows
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import UnitWorth, objective_worth

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

KEY = ["product_id", "store_id"]
WIDER = 2.0
"""The largest change is not lifted but made this many times as wide, to ask what it costs."""
RISK = "risk"
"""Name of the risk rule (``hold_above_p_worse``) where it, and no guard rail, binds."""

RAILS: tuple[Rule, ...] = (
    Rule.MARGIN_FLOOR,
    Rule.MAP_FLOOR,
    Rule.ABSOLUTE_CEILING,
    Rule.PRIOR_PRICE,
    Rule.DAY_DECREASE,
    Rule.DAY_INCREASE,
    Rule.ONLY_DOWN,
    Rule.LARGEST_DECREASE,
    Rule.LARGEST_INCREASE,
    Rule.PRICE_LADDER,
    Rule.SIZE_PARITY,
    Rule.ZONE_PARITY,
    Rule.KVI_INDEX,
    Rule.KVI_MEAN_INDEX,
)
"""Guard rails whose cost can be asked, in the order in which they yield; cost is never lifted."""

BETWEEN_PRODUCTS = (*RAILS[-5:], Rule.ONLY_DOWN)
"""Rails that the table publishes as bounds of the product; the cost of one is asked without all."""

_SWITCHED_OFF: dict[Rule | None, dict[str, object]] = {
    Rule.ABSOLUTE_CEILING: {"absolute_ceiling": None},
    Rule.PRIOR_PRICE: {"prior_price_rule": False},
    Rule.DAY_DECREASE: {"max_daily_change": 10.0},
    Rule.DAY_INCREASE: {"max_daily_change": 10.0},
    Rule.ONLY_DOWN: {"only_down_statuses": []},
}
"""What lifts a guard rail that has a setting of its own."""


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """The n priced rows as the search saw them; prices in currency units, arrays (n,).

    Attributes:
        curves: demand at the substitutes' new prices.
        price, baseline: recommended and current price.
        known: a price is recommended and the demand curve is valid.
        facts: what the search was given, worth with the multipliers of goals.
        worth: of a unit, without them: gains are those of the objective.
        turn: what each row sees of the rest at the new prices.
    """

    frame: pd.DataFrame
    curves: DemandCurves
    facts: PriceFacts
    worth: UnitWorth
    bounds: PriceBounds
    price: Floats
    baseline: Floats
    known: Flags
    turn: Turn
    settings: PricingSettings

    def value(self, price: Floats, rows: Indices) -> Floats:
        """The objective expected at prices (m,) of some rows, with what substitutes gain, (m,)."""
        own = self.margin(price, rows) * self.sales(price, rows)
        return own + self.spilled(price, rows)

    def sales(self, price: Floats, rows: Indices) -> Floats:
        available = self.facts.available[rows]
        curves = select(self.curves, rows)
        return expected_sales(curves, price=price[:, None], available=available)[:, 0]

    def margin(self, price: Floats, rows: Indices) -> Floats:
        return self.worth.rows(rows).at(price)

    def spilled(self, price: Floats, rows: Indices) -> Floats:
        """What substitutes gain of the objective when the price leaves the current one, (m,)."""
        kappa = self.facts.substitutes.elasticity[rows]
        turn, base = self.turn.rows(rows), self.baseline[rows]
        return spillover(price[:, None], base, turn=turn, elasticity=kappa)[:, 0]


def price_drivers(
    price_table: pd.DataFrame,
    *,
    curve_frame: pd.DataFrame,
    panel_facts: pd.DataFrame,
    elasticities: pd.DataFrame,
    settings: PricingSettings,
) -> pd.DataFrame:
    """The drivers of every price, one row for each row of ``price_table``, in its order.

    Columns (currency units, units over the horizon; NaN unknown): product_id, store_id, decision,
    current_price, recommended_price, price_change (relative); own_price_elasticity,
    elasticity_low_90, elasticity_high_90, own_data_weight (0..1), raw_estimate,
    elasticity_method; margin_now, margin_after (of price); units_now, units_change,
    revenue_change, profit_change with its 90 % interval, p_worse; gain (in the objective) =
    gain_from_price + gain_from_units + gain_from_substitutes; binding_rail (a ``Rule`` code,
    "risk" or ""), rail_price, rail_cost, rail_extrapolates: the best price without it, what it
    would add and whether it lies outside the prices seen (the largest change is made ``WIDER``
    times as wide); rival_gap (relative to the recommended price); available_units (NaN where
    replenished); confidence with confidence_elasticity, _history, _safety, _support;
    extrapolation; objective, currency, horizon_days; sentence.

    Args:
        price_table: from ``build_price_table``.
        curve_frame, panel_facts, settings: what it was built from.
        elasticities: from ``estimate_elasticities``.
    """
    catalogue = _catalogue(price_table, curve_frame, panel_facts, settings)
    drivers = pd.concat(
        [
            _decision(price_table),
            _elasticity(price_table, elasticities),
            _gains(price_table, catalogue),
            _rails(price_table, catalogue),
            _position(price_table, catalogue),
        ],
        axis=1,
    )
    return drivers.assign(sentence=driver_sentences(drivers, settings=settings))


def _catalogue(
    table: pd.DataFrame,
    curve_frame: pd.DataFrame,
    panel_facts: pd.DataFrame,
    settings: PricingSettings,
) -> _Catalogue:
    joined = curves_with_facts(curve_frame, panel_facts)
    frame = table[KEY].merge(joined, on=KEY, how="left", validate="one_to_one")
    rails = {name: numbers(table, name) for name in ("rail_low", "rail_high")}
    frame = frame.assign(**rails)
    curves, usable = usable_curves(frame)
    bounds = _bounds(frame, settings)
    facts = price_facts(frame, bounds=bounds, usable=usable, settings=settings)
    least = 10.0**-bounds.exponent
    recommended = _floats(table, "recommended_price")
    price = np.where(np.isfinite(recommended), recommended, least)
    worth = objective_worth(
        unit_cost=facts.unit_cost,
        current_price=_floats(frame, "current_price"),
        settings=settings,
    )
    turn = present_turn(curves, price, facts=replace(facts, worth=worth))
    return _Catalogue(
        frame=frame,
        curves=scaled(curves, turn.demand_factor),
        facts=facts,
        worth=worth,
        bounds=bounds,
        price=price,
        baseline=to_major(np.maximum(bounds.current, 1), exponent=bounds.exponent),
        known=np.isfinite(recommended) & usable,
        turn=turn,
        settings=settings,
    )


def _bounds(
    frame: pd.DataFrame, settings: PricingSettings, *, without: Rule | None = None
) -> PriceBounds:
    """Guard rails of the rows, without one rule; those between products as the table has them."""
    map_price = _floats(frame, "map_price")
    windows = row_windows(frame, settings=settings)
    if without not in BETWEEN_PRODUCTS:
        windows = within_published(
            windows,
            rail_low=_floats(frame, "rail_low"),
            rail_high=_floats(frame, "rail_high"),
            exponent=currency_exponent(settings.currency),
        )
    return price_bounds(
        current_price=_floats(frame, "current_price"),
        unit_cost=_floats(frame, "unit_cost"),
        map_price=np.full_like(map_price, np.nan) if without == Rule.MAP_FLOOR else map_price,
        settings=settings,
        windows=windows,
    )


def _decision(table: pd.DataFrame) -> pd.DataFrame:
    columns = [*KEY, "decision", "current_price", "recommended_price"]
    change = table["recommended_price"] / table["current_price"] - 1
    return table[columns].reset_index(drop=True).assign(price_change=change.to_numpy(float))


def _elasticity(table: pd.DataFrame, elasticities: pd.DataFrame) -> pd.DataFrame:
    found = table[KEY].merge(elasticities, on=KEY, how="left", validate="one_to_one")
    pooled = _floats(found, "sd") ** 2 - _floats(found, "drift_sd") ** 2
    error = _floats(found, "raw_standard_error")
    weight = np.divide(pooled, error**2, out=np.zeros(len(found)), where=np.isfinite(error))
    return pd.DataFrame(
        {
            "own_price_elasticity": _floats(found, "own_price_elasticity"),
            "elasticity_low_90": _floats(found, "low_90"),
            "elasticity_high_90": _floats(found, "high_90"),
            "own_data_weight": np.clip(weight, 0.0, 1.0),
            "raw_estimate": _floats(found, "raw_estimate"),
            "elasticity_method": found["method"].fillna("").astype(str),
        }
    )


def _gains(table: pd.DataFrame, catalogue: _Catalogue) -> pd.DataFrame:
    rows = np.arange(len(table))
    price, baseline = catalogue.price, catalogue.baseline
    new, now = catalogue.sales(price, rows), catalogue.sales(baseline, rows)
    margin, margin_now = catalogue.margin(price, rows), catalogue.margin(baseline, rows)
    cost = catalogue.facts.unit_cost
    columns = {
        "margin_now": (baseline - cost) / baseline,
        "margin_after": (price - cost) / price,
        "units_now": now,
        "units_change": new - now,
        "revenue_change": price * new - baseline * now,
        "gain_from_price": (margin - margin_now) * new,
        "gain_from_units": margin_now * (new - now),
        "gain_from_substitutes": catalogue.spilled(price, rows),
    }
    frame = pd.DataFrame(columns).where(pd.Series(catalogue.known), np.nan)
    parts = ["gain_from_price", "gain_from_units", "gain_from_substitutes"]
    profit = _floats(table, "expected_profit") - _floats(table, "expected_profit_at_current")
    return frame.assign(
        gain=frame[parts].sum(axis=1, skipna=False),
        profit_change=profit,
        profit_change_low_90=_floats(table, "profit_uplift_low_90"),
        profit_change_high_90=_floats(table, "profit_uplift_high_90"),
        p_worse=_floats(table, "p_worse"),
    )


def _rails(table: pd.DataFrame, catalogue: _Catalogue) -> pd.DataFrame:
    """What binds each price, and what it costs against the best price without it."""
    count = len(table)
    name = np.full(count, "", dtype=object)
    price, cost = np.full(count, np.nan), np.full(count, np.nan)
    codes = [reason_codes(text) for text in table["reasons"].astype(str)]
    free = np.flatnonzero(catalogue.known & catalogue.facts.changeable)
    for rail in RAILS:
        held = np.array([rail.code in row for row in codes], dtype=bool)
        rows = free[held[free] & (name[free] == "")]
        if rows.size:
            name[rows] = rail.code
            price[rows], cost[rows] = _without(catalogue, rows, rail=rail)
    rest = free[name[free] == ""]
    best, gain = _without(catalogue, rest, rail=None)
    risky = gain > 1e-9 * np.abs(catalogue.value(catalogue.price[rest], rest))
    name[rest[risky]], price[rest[risky]], cost[rest[risky]] = RISK, best[risky], gain[risky]
    seen = is_extrapolation(
        price,
        support_low=_floats(catalogue.frame, "support_low"),
        support_high=_floats(catalogue.frame, "support_high"),
    )
    return pd.DataFrame(
        {
            "binding_rail": name.astype(str),
            "rail_price": price,
            "rail_cost": cost,
            "rail_extrapolates": seen & np.isfinite(price),
        }
    )


def _without(catalogue: _Catalogue, rows: Indices, *, rail: Rule | None) -> tuple[Floats, Floats]:
    """Best price without a rail (None: without the risk rule), and what it adds, (m,) each.

    All other rules, and all other products' prices, stay. Nothing is added where the present
    price is already the best.
    """
    settings = _relaxed(catalogue.settings, rail)
    best = catalogue.price[rows].copy()
    for part in chunks(np.arange(len(rows)), width=settings.price_table.candidates):
        here = rows[part]
        bounds = _bounds(catalogue.frame.iloc[here], settings, without=rail)
        grid = candidate_prices(
            bounds, ending=settings.guardrails.price_ending, k=settings.price_table.candidates
        )
        turn = replace(catalogue.turn.rows(here), demand_factor=np.ones(len(here)))
        best[part] = choose_rows(
            select(catalogue.curves, here),
            to_major(np.maximum(grid.prices, 1), exponent=bounds.exponent),
            facts=some_facts(catalogue.facts, here),
            turn=turn,
            parameters=settings.price_table,
        ).price
    present = catalogue.price[rows]
    gain = catalogue.value(best, rows) - catalogue.value(present, rows)
    better = gain > 0
    return np.where(better, best, present), np.where(better, gain, 0.0)


def _relaxed(settings: PricingSettings, rail: Rule | None) -> PricingSettings:
    """The settings without one rail; None is the risk rule."""
    if rail is None:
        table = settings.price_table.model_copy(update={"hold_above_p_worse": 1.0})
        return settings.model_copy(update={"price_table": table})
    if rail == Rule.MARGIN_FLOOR:
        return settings.model_copy(update={"min_margin": 0.0})
    if rail in _SWITCHED_OFF:
        rails = settings.guardrails.model_copy(update=_SWITCHED_OFF[rail])
        return settings.model_copy(update={"guardrails": rails})
    if rail in (Rule.LARGEST_DECREASE, Rule.LARGEST_INCREASE):
        wider = min(WIDER * settings.max_price_change, 1.0)
        return settings.model_copy(update={"max_price_change": wider})
    return settings


def _position(table: pd.DataFrame, catalogue: _Catalogue) -> pd.DataFrame:
    """Rival, stock, and the parts of the confidence."""
    frame, settings = catalogue.frame, catalogue.settings
    price, available = _floats(table, "recommended_price"), catalogue.facts.available
    outside = is_extrapolation(
        price,
        support_low=_floats(frame, "support_low"),
        support_high=_floats(frame, "support_high"),
    )
    parts = confidence_parts(
        elasticity_sd=_floats(table, "own_price_elasticity_sd"),
        p_worse=_floats(table, "p_worse"),
        observations=_floats(frame, "observations"),
        inside=~outside,
        prior_sd=settings.elasticity.prior_sd,
    )
    return pd.DataFrame(
        {
            "rival_gap": _floats(frame, "reference_rival_price") / price - 1,
            "available_units": np.where(np.isfinite(available), available, np.nan),
            "confidence": _floats(table, "confidence"),
            "confidence_elasticity": parts.elasticity,
            "confidence_history": parts.history,
            "confidence_safety": parts.safety,
            "confidence_support": parts.support,
            "extrapolation": outside & np.isfinite(price),
            "objective": settings.objective,
            "currency": settings.currency,
            "horizon_days": settings.decision_days,
        }
    )


def _floats(frame: pd.DataFrame, column: str) -> Floats:
    return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
