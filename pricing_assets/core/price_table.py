r"""The optimizer: one price for each product from its demand curve, inside its guard rails.

The NumPy reference, and the oracle of any faster engine. Belongs here: the search and the frame of
the price table. Bounds and endings are ``core.guardrails``, expectations ``core.expected_sales``,
sentences ``core.price_reasons``.

Equation. Over the allowed prices p of a product (endings applied, bounds obeyed),

.. math:: p^* = \arg\max_p\; m(p)\, E\min(D(p), A)
          \quad\text{subject to}\quad P(m(p) S(p) < m(b) S(b)) \le \alpha ,

with m(p) = p - c for profit, p for revenue, 1 for market share (units), S sales, b the current
price and alpha ``hold_above_p_worse``. Where no price qualifies, the current price is held: a
smaller step that is safe is preferred to the best step that is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.currency import to_major, to_minor
from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.errors import MissingCostError
from pricing_assets.core.expected_sales import (
    expected_sales,
    objective_margin,
    probability_worse,
    select,
    uplift_interval,
)
from pricing_assets.core.guardrails import (
    CandidatePrices,
    PriceBounds,
    Rule,
    candidate_prices,
    enforce,
    price_bounds,
)
from pricing_assets.core.price_confidence import confidence
from pricing_assets.core.price_reasons import PricedRows, reasons
from pricing_assets.core.settings import Objective, PriceTableParameters, PricingSettings
from pricing_assets.core.tables import PRICE_TABLE_COLUMNS

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Flags = NDArray[np.bool_]

STAMP_COLUMNS = ("table_version", "model_version", "data_version", "valid_from", "valid_until")
"""Columns of the contract that publication adds."""

CHUNK_CELLS = 1 << 18
"""Products times candidates valued at once; bounds memory whatever the catalogue's size."""


@dataclass(frozen=True, slots=True)
class PriceChoice:
    """Chosen prices of n products, each array of shape (n,), prices in currency units.

    Attributes:
        price: the price chosen.
        best_price: the best price if risk did not matter.
        best_p_worse: probability that best_price gives less of the objective than the
            least-change price.
        best_gain: relative gain in the objective expected at best_price.
    """

    price: Floats
    best_price: Floats
    best_p_worse: Floats
    best_gain: Floats


@dataclass(frozen=True, slots=True)
class PriceFacts:
    """What a price needs beside its curve, each array of shape (n,).

    Attributes:
        unit_cost: currency units, NaN unknown.
        available: units that can be sold over the horizon; infinite where replenished.
        changeable: the search may leave the least-change price.
    """

    unit_cost: Floats
    available: Floats
    changeable: Flags


def choose_prices(
    curves: DemandCurves,
    candidates: Floats,
    *,
    facts: PriceFacts,
    objective: Objective,
    parameters: PriceTableParameters,
) -> PriceChoice:
    """Search the candidates of n products, in chunks.

    Args:
        curves: n demand curves.
        candidates: (n, k) allowed prices, currency units; column 0 is the least-change price,
            against which gain and risk are measured.
        facts: costs, stock and which rows may change.
        objective: what is maximised.
        parameters: risk and least gain.
    """
    rows = max(1, CHUNK_CELLS // candidates.shape[1])
    chunks = []
    for start in range(0, max(len(curves), 1), rows):
        part = slice(start, start + rows)
        chunks.append(
            _choose_chunk(
                select(curves, part),
                candidates[part],
                facts=_select_facts(facts, part),
                objective=objective,
                parameters=parameters,
            )
        )
    names = PriceChoice.__slots__
    joined = {name: np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in names}
    return PriceChoice(**joined)


def build_price_table(
    curve_frame: pd.DataFrame, *, panel_facts: pd.DataFrame, settings: PricingSettings
) -> pd.DataFrame:
    """The price table, one row for each row of ``curve_frame``, without publication's stamps.

    Profit columns always mean profit, whatever the objective, and are NaN where the unit cost
    is unknown; ``p_worse`` is about the objective (profit, revenue, or units for market_share).
    All expectations are over the horizon. ``recommended_price`` is NaN only for a product that
    has no valid current price (reason ``invalid_current_price``).

    Args:
        curve_frame: columns of ``tables.DEMAND_CURVE_COLUMNS``.
        panel_facts: one row a product and store: product_id, store_id, current_price,
            unit_cost, map_price, on_hand, replenished.
        settings: objective, horizon, guard rails and risk.

    Raises:
        MissingCostError: the objective is profit and no product has a unit cost.
        GuardRailError: never, unless a rule is broken by this module itself.
    """
    frame = _joined(curve_frame, panel_facts)
    if settings.objective == "profit" and len(frame) and frame["unit_cost"].isna().all():
        raise MissingCostError(
            "the objective is profit, but no product has a unit cost. Provide one of: a column "
            "unit_cost in products; a costs table (date, product_id, unit_cost); a mapping of "
            'your own heading, columns: {products: {unit_cost: "Your heading"}}; or set '
            "objective: revenue"
        )
    bounds = price_bounds(
        current_price=_floats(frame, "current_price"),
        unit_cost=_floats(frame, "unit_cost"),
        map_price=_floats(frame, "map_price"),
        settings=settings,
    )
    found = candidate_prices(
        bounds, ending=settings.guardrails.price_ending, k=settings.price_table.candidates
    )
    return _priced(frame, bounds=bounds, found=found, settings=settings)


def _choose_chunk(
    curves: DemandCurves,
    candidates: Floats,
    *,
    facts: PriceFacts,
    objective: Objective,
    parameters: PriceTableParameters,
) -> PriceChoice:
    hold = candidates[:, 0]
    margin = objective_margin(candidates, unit_cost=facts.unit_cost[:, None], objective=objective)
    value = margin * expected_sales(curves, price=candidates, available=facts.available)
    worse = probability_worse(
        curves,
        price=candidates,
        baseline=hold,
        unit_cost=facts.unit_cost,
        available=facts.available,
        objective=objective,
    )
    base = value[:, :1]
    least = base + parameters.min_relative_uplift * np.abs(base)
    worth = (value > least) & facts.changeable[:, None]
    safe = worth & (worse <= parameters.hold_above_p_worse)
    rows = np.arange(len(hold))
    picked = np.argmax(np.where(safe, value, -np.inf), axis=1)
    best = np.argmax(np.where(facts.changeable[:, None], value, -np.inf), axis=1)
    scale = np.where(base[:, 0] == 0, np.nan, np.abs(base[:, 0]))
    return PriceChoice(
        price=np.where(safe.any(axis=1), candidates[rows, picked], hold),
        best_price=np.where(facts.changeable, candidates[rows, best], hold),
        best_p_worse=worse[rows, best],
        best_gain=(value[rows, best] - base[:, 0]) / scale,
    )


def _select_facts(facts: PriceFacts, rows: slice) -> PriceFacts:
    return PriceFacts(
        unit_cost=facts.unit_cost[rows],
        available=facts.available[rows],
        changeable=facts.changeable[rows],
    )


def _joined(curve_frame: pd.DataFrame, panel_facts: pd.DataFrame) -> pd.DataFrame:
    """Curves with their facts, in the curves' order; cost and MAP are the facts' own."""
    key = ["product_id", "store_id"]
    curves = curve_frame.drop(columns=["unit_cost", "map_price"], errors="ignore")
    columns = [*key, "current_price", "unit_cost", "map_price", "on_hand", "replenished"]
    return curves.merge(panel_facts[columns], on=key, how="left", validate="one_to_one")


def _floats(frame: pd.DataFrame, column: str) -> Floats:
    return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _usable_curves(frame: pd.DataFrame) -> tuple[DemandCurves, Flags]:
    """Curves of the frame, with a neutral one in place of any that is not a demand curve."""
    names = DemandCurves.__slots__
    raw = {name: _floats(frame, name) for name in names}
    usable = np.logical_and.reduce([np.isfinite(values) for values in raw.values()])
    usable &= (raw["reference_price"] > 0) & (raw["reference_units"] >= 0)
    usable &= (raw["elasticity_mean"] < 0) & (raw["elasticity_sd"] >= 0)
    usable &= raw["reference_units_cv"] >= 0
    neutral = dict.fromkeys(names, 0.0) | {"reference_price": 1.0, "elasticity_mean": -1.0}
    return DemandCurves(**{n: np.where(usable, raw[n], neutral[n]) for n in names}), usable


def _price_facts(
    frame: pd.DataFrame, *, bounds: PriceBounds, usable: Flags, objective: Objective
) -> PriceFacts:
    """Cost, stock (where it is not replenished) and whether each row's price may change."""
    refused = bounds.refusal != Rule.NONE
    cost = np.where(refused, np.nan, _floats(frame, "unit_cost"))
    restocked = frame["replenished"].isin([True]) | frame["replenished"].isna()
    on_hand = np.where(restocked, np.nan, _floats(frame, "on_hand"))
    known = ~np.isnan(cost) | (objective != "profit")
    return PriceFacts(
        unit_cost=cost,
        available=np.where(np.isfinite(on_hand), np.maximum(on_hand, 0), np.inf),
        changeable=usable & known & ~refused & bounds.priceable,
    )


def _priced(
    frame: pd.DataFrame, *, bounds: PriceBounds, found: CandidatePrices, settings: PricingSettings
) -> pd.DataFrame:
    """Choose, check, value and explain the price of every row."""
    curves, usable = _usable_curves(frame)
    facts = _price_facts(frame, bounds=bounds, usable=usable, objective=settings.objective)
    choice = choose_prices(
        curves,
        to_major(np.maximum(found.prices, 1), exponent=bounds.exponent),
        facts=facts,
        objective=settings.objective,
        parameters=settings.price_table,
    )
    ready = bounds.priceable
    minor = np.rint(to_minor(choice.price, exponent=bounds.exponent)).astype(np.int64)
    enforce(minor[ready], bounds.rows(ready))
    rows = PricedRows(
        minor=np.where(ready, minor, 0),
        bounds=bounds,
        found=found,
        usable=usable,
        cost_missing=np.isnan(facts.unit_cost) & (settings.objective == "profit"),
        available=facts.available,
        best_price=choice.best_price,
        best_p_worse=choice.best_p_worse,
        best_gain=choice.best_gain,
    )
    outcome = _outcome(
        curves, price=choice.price, bounds=bounds, facts=facts, usable=usable, settings=settings
    )
    return _frame(frame, rows=rows, outcome=outcome, settings=settings)


def _outcome(
    curves: DemandCurves,
    *,
    price: Floats,
    bounds: PriceBounds,
    facts: PriceFacts,
    usable: Flags,
    settings: PricingSettings,
) -> dict[str, Floats]:
    """Expected results of the chosen price, and their difference from the current price."""
    baseline = to_major(np.maximum(bounds.current, 1), exponent=bounds.exponent)
    both = np.stack([price, baseline], axis=1)
    sales = expected_sales(curves, price=both, available=facts.available)
    sales = np.where(usable[:, None] & bounds.priceable[:, None], sales, np.nan)
    profit = (both - facts.unit_cost[:, None]) * sales
    worse = probability_worse(
        curves,
        price=price[:, None],
        baseline=baseline,
        unit_cost=facts.unit_cost,
        available=facts.available,
        objective=settings.objective,
    )[:, 0]
    known = ~np.isnan(facts.unit_cost) | (settings.objective != "profit") | (price == baseline)
    low, high = _interval(curves, price=price, baseline=baseline, facts=facts)
    return {
        "expected_units": sales[:, 0],
        "expected_revenue": price * sales[:, 0],
        "expected_profit": profit[:, 0],
        "expected_profit_at_current": profit[:, 1],
        "profit_uplift_low_90": np.where(np.isnan(profit[:, 0]), np.nan, low),
        "profit_uplift_high_90": np.where(np.isnan(profit[:, 0]), np.nan, high),
        "p_worse": np.where(usable & known & bounds.priceable, worse, np.nan),
    }


def _interval(
    curves: DemandCurves, *, price: Floats, baseline: Floats, facts: PriceFacts
) -> tuple[Floats, Floats]:
    """90 % interval of the profit uplift, (n,) each: 0 where the price does not change."""
    low, high = np.zeros(len(curves)), np.zeros(len(curves))
    changed = np.flatnonzero((price != baseline) & ~np.isnan(facts.unit_cost))
    rows = max(1, CHUNK_CELLS // 64)
    for start in range(0, len(changed), rows):
        part = changed[start : start + rows]
        low[part], high[part] = uplift_interval(
            select(curves, part),
            price=price[part],
            baseline=baseline[part],
            unit_cost=facts.unit_cost[part],
            available=facts.available[part],
            objective="profit",
        )
    return low, high


def _frame(
    frame: pd.DataFrame,
    *,
    rows: PricedRows,
    outcome: dict[str, Floats],
    settings: PricingSettings,
) -> pd.DataFrame:
    bounds = rows.bounds
    price = np.where(bounds.priceable, to_major(rows.minor, exponent=bounds.exponent), np.nan)
    inside = (price >= _floats(frame, "support_low") * (1 - 1e-9)) & (
        price <= _floats(frame, "support_high") * (1 + 1e-9)
    )
    changed = bounds.priceable & (rows.minor != bounds.current)
    trust = confidence(
        elasticity_sd=_floats(frame, "elasticity_sd"),
        p_worse=outcome["p_worse"],
        observations=_floats(frame, "observations"),
        inside=inside,
        prior_sd=settings.elasticity.prior_sd,
    )
    limits = {
        name: np.where(bounds.priceable, to_major(edge, exponent=bounds.exponent), np.nan)
        for name, edge in (("price_floor", bounds.floor), ("price_ceiling", bounds.ceiling))
    }
    table = pd.DataFrame(
        {
            "product_id": frame["product_id"].astype(str),
            "store_id": frame["store_id"].astype(str),
            "segment": "",
            "currency": settings.currency,
            "current_price": _floats(frame, "current_price"),
            "recommended_price": price,
            **limits,
            "decision": np.where(changed, "change", "hold"),
            "reasons": reasons(frame, rows=rows, inside=inside, outcome=outcome, settings=settings),
            **outcome,
            "own_price_elasticity": _floats(frame, "elasticity_mean"),
            "own_price_elasticity_sd": _floats(frame, "elasticity_sd"),
            "confidence": trust,
            "objective": settings.objective,
            "horizon_days": settings.horizon_days,
        }
    )
    return table[[name for name in PRICE_TABLE_COLUMNS if name not in STAMP_COLUMNS]]
