"""The price table: each product's price with what it is expected to bring, its risk and reasons.

The NumPy reference, and the oracle of any faster engine. Belongs here: the frame of the table.
The search is ``core.price_search``, bounds and endings ``core.guardrails``, expectations
``core.expected_sales``, sentences ``core.price_reasons``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.currency import to_major, to_minor
from pricing_assets.core.demand import DemandCurves, is_extrapolation
from pricing_assets.core.expected_sales import scaled
from pricing_assets.core.guardrails import enforce
from pricing_assets.core.price_confidence import confidence
from pricing_assets.core.price_inputs import SearchInputs, curves_with_facts, search_inputs
from pricing_assets.core.price_outcome import OutcomeFunction, price_outcome
from pricing_assets.core.price_reasons import PricedRows, reasons, tested
from pricing_assets.core.price_search import (
    PriceChoice,
    PriceFacts,
    RowChooser,
    choose_prices,
    present_turn,
    spillover,
)
from pricing_assets.core.row_rails import numbers
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import PRICE_RAIL_COLUMNS, PRICED_COLUMNS
from pricing_assets.core.unit_worth import UnitWorth, needs_cost

Floats = NDArray[np.float64]
Names = NDArray[np.str_]


def build_price_table(
    curve_frame: pd.DataFrame,
    *,
    panel_facts: pd.DataFrame,
    settings: PricingSettings,
    chooser: RowChooser | None = None,
) -> pd.DataFrame:
    """The price table, one row for each row of ``curve_frame``, without publication's stamps.

    The contract's columns, then ``tables.PRICE_RAIL_COLUMNS``, which only the service reads.

    Expectations are over the horizon, with all recommended prices in force. Profit columns
    always mean profit, whatever the objective, and are NaN where the unit cost is unknown;
    ``p_worse`` is about the objective (profit, revenue, or units for market_share).

    Substitutes (one category and store, column ``cross_elasticity``) are priced together. Then
    ``expected_profit_at_current``, the uplift interval and ``p_worse`` answer one question: what
    if this price alone stayed? The first is the product's profit at its current price less what
    its substitutes gain by the change, so that each row's uplift is what its own price adds,
    a held price adds nothing, and uplifts add up to the catalogue's to first order.

    ``recommended_price`` is NaN only for a product that has no valid current price (reason
    ``invalid_current_price``).

    Args:
        curve_frame: columns of ``tables.DEMAND_CURVE_COLUMNS``.
        panel_facts: one row a product and store: product_id, store_id, current_price,
            unit_cost, map_price, on_hand, replenished, and what there is of
            ``row_rails.OPTIONAL_FACTS``.
        settings: objective, horizon, guard rails and risk.
        chooser: the search on another device (``core.price_table_torch``); NumPy where None.

    Raises:
        MissingCostError: the objective is profit and no product has a unit cost.
        GuardRailError: never, unless a rule is broken by this module itself.
    """
    inputs = search_inputs(curves_with_facts(curve_frame, panel_facts), settings=settings)
    return _priced(inputs, settings=settings, chooser=chooser)


def _floats(frame: pd.DataFrame, column: str) -> Floats:
    return frame[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _priced(
    inputs: SearchInputs, *, settings: PricingSettings, chooser: RowChooser | None
) -> pd.DataFrame:
    """Choose, check, value and explain the price of every row."""
    choice = choose_prices(
        inputs.curves,
        inputs.candidates,
        facts=inputs.facts,
        parameters=settings.price_table,
        chooser=chooser,
        rails=inputs.rails.linked,
    )
    keys = {name: inputs.frame[name].astype(str) for name in ("product_id", "store_id")}
    columns = table_columns(inputs, choice=choice, settings=settings)
    columns["reasons"] = columns["reasons"].to_pylist()
    return pd.DataFrame(keys | columns)[[*PRICED_COLUMNS, *PRICE_RAIL_COLUMNS]]


def table_columns(
    inputs: SearchInputs,
    *,
    choice: PriceChoice,
    settings: PricingSettings,
    weigh: OutcomeFunction = price_outcome,
) -> dict[str, Any]:
    """The table of chosen prices by column, without keys and stamps; checked before it is said.

    NumPy arrays (n,), one string where it is the same for every row, ``reasons`` in Arrow.

    Args:
        inputs: n rows.
        choice: their prices.
        settings: as they were searched with.
        weigh: what gives sales, risk and interval of rows that have no substitutes.

    Raises:
        GuardRailError: a price breaks a rule.
    """
    facts, bounds = inputs.facts, inputs.bounds
    ready = bounds.priceable
    minor = np.rint(to_minor(choice.price, exponent=bounds.exponent)).astype(np.int64)
    enforce(minor[ready], bounds.rows(ready))
    published = inputs.rails.published(np.where(ready, minor, 0))
    outcome, spilled = _outcome(inputs, price=choice.price, settings=settings, weigh=weigh)
    rows = PricedRows(
        minor=np.where(ready, minor, 0),
        bounds=bounds,
        found=inputs.found,
        published=published,
        usable=inputs.usable,
        cost_missing=np.isnan(facts.unit_cost) & needs_cost(settings),
        available=facts.available,
        best_price=choice.best_price,
        best_p_worse=choice.best_p_worse,
        best_gain=choice.best_gain,
        spillover=spilled,
    )
    return _columns(inputs.frame, rows=rows, outcome=outcome, settings=settings)


def _outcome(
    inputs: SearchInputs, *, price: Floats, settings: PricingSettings, weigh: OutcomeFunction
) -> tuple[dict[str, Floats], Floats]:
    """Expected results by column, and what substitutes gain of the objective, (n,).

    The objective is meant without the multipliers of goals.
    """
    curves, baseline, facts = inputs.curves, inputs.current_price, inputs.facts
    worth, gain = inputs.objective_worth(settings), np.zeros(len(price))
    profit_gain, rest = gain, {}
    if facts.substitutes.linked.any():
        weigh = price_outcome
        factor, gain = _spilled(curves, price, baseline, facts=replace(facts, worth=worth))
        profit_facts = replace(facts, worth=_profit(facts))
        profit_gain = _spilled(curves, price, baseline, facts=profit_facts)[1]
        curves, rest = scaled(curves, factor), {"spillover": gain}
    brings = weigh(
        curves,
        price=price,
        baseline=baseline,
        worth=worth,
        unit_cost=facts.unit_cost,
        available=facts.available,
        **rest,
    )
    units = np.where(inputs.known, brings.units, np.nan)
    profit = (price - facts.unit_cost) * units
    unknown = np.isnan(profit)
    now = np.where(inputs.known, (baseline - facts.unit_cost) * brings.baseline_units, np.nan)
    weighed = ~np.isnan(worth.intercept) | (price == baseline)
    columns = {
        "expected_units": units,
        "expected_revenue": price * units,
        "expected_profit": profit,
        "expected_profit_at_current": now - profit_gain,
        "profit_uplift_low_90": np.where(unknown, np.nan, brings.low + profit_gain),
        "profit_uplift_high_90": np.where(unknown, np.nan, brings.high + profit_gain),
        "p_worse": np.where(inputs.known & weighed, brings.p_worse, np.nan),
    }
    return columns, gain


def _profit(facts: PriceFacts) -> UnitWorth:
    """Profit as the worth of a unit, whatever the objective."""
    return UnitWorth(slope=np.ones_like(facts.unit_cost), intercept=facts.unit_cost)


def _spilled(
    curves: DemandCurves, price: Floats, baseline: Floats, *, facts: PriceFacts
) -> tuple[Floats, Floats]:
    """Demand factor of the substitutes' prices, and what they gain by this price, (n,) each."""
    turn = present_turn(curves, price, facts=facts)
    elasticity = facts.substitutes.elasticity
    gain = spillover(price[:, None], baseline, turn=turn, elasticity=elasticity)[:, 0]
    return turn.demand_factor, gain


def _decision(rows: PricedRows, settings: PricingSettings) -> Names:
    """change, hold or test, (n,)."""
    changed = rows.bounds.priceable & (rows.minor != rows.bounds.current)
    return np.where(changed, "change", np.where(tested(rows, settings), "test", "hold"))


def _limits(rows: PricedRows) -> dict[str, Floats]:
    """The floor and ceiling that hold for every request, currency units, (n,) each."""
    bounds, allowed = rows.bounds, rows.published.narrowed(rows.bounds)
    edges = {"price_floor": allowed.floor, "price_ceiling": allowed.ceiling}
    return {
        name: np.where(bounds.priceable, to_major(edge, exponent=bounds.exponent), np.nan)
        for name, edge in edges.items()
    }


def _columns(
    frame: pd.DataFrame,
    *,
    rows: PricedRows,
    outcome: dict[str, Floats],
    settings: PricingSettings,
) -> dict[str, Any]:
    bounds = rows.bounds
    price = np.where(bounds.priceable, to_major(rows.minor, exponent=bounds.exponent), np.nan)
    inside = ~is_extrapolation(
        price,
        support_low=_floats(frame, "support_low"),
        support_high=_floats(frame, "support_high"),
    )
    trust = confidence(
        elasticity_sd=_floats(frame, "elasticity_sd"),
        p_worse=outcome["p_worse"],
        observations=_floats(frame, "observations"),
        inside=inside,
        prior_sd=settings.elasticity.prior_sd,
    )
    return {
        "segment": "",
        "currency": settings.currency,
        "current_price": _floats(frame, "current_price"),
        "recommended_price": price,
        **_limits(rows),
        "decision": _decision(rows, settings),
        "reasons": reasons(frame, rows=rows, inside=inside, outcome=outcome, settings=settings),
        **outcome,
        "own_price_elasticity": _floats(frame, "elasticity_mean"),
        "own_price_elasticity_sd": _floats(frame, "elasticity_sd"),
        "confidence": trust,
        "objective": settings.objective,
        "horizon_days": settings.decision_days,
        **rows.published.columns,
        "reference_price_24h": numbers(frame, "reference_price_24h"),
        "prior_price": numbers(frame, "prior_price"),
    }
