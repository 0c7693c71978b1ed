"""The whole chain against a market that knows its truth: uplift won, regret, elasticity error.

Belongs here: comparisons that only a simulated market allows. What can be said of real data is
``core.evaluation.report``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.currency import to_major
from pricing_assets.core.demand import Z90
from pricing_assets.core.guardrails import price_bounds
from pricing_assets.core.market import Market
from pricing_assets.core.price_endings import candidate_prices
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

KEY = ["product_id", "store_id"]


@dataclass(frozen=True, slots=True)
class TruthComparison:
    """What the recommended prices are truly worth, in currency units over the horizon.

    Attributes:
        horizon_days: days of the profits.
        products: rows compared (product x store).
        profit_at_current, profit_at_recommended, profit_at_oracle: true expected profit, summed;
            the oracle obeys the same guard rails and endings.
        share_of_oracle_uplift: (recommended - current) / (oracle - current); NaN where the
            oracle gains nothing.
        regret: oracle - recommended, as a share of the oracle's profit.
        elasticity_rmse, elasticity_bias: error of the estimated own-price elasticities; the
            bias is estimate minus truth, so above zero means that too little response is seen.
        coverage_90: share of true elasticities inside the posterior's 90 % interval.
    """

    horizon_days: int
    products: int
    profit_at_current: float
    profit_at_recommended: float
    profit_at_oracle: float
    share_of_oracle_uplift: float
    regret: float
    elasticity_rmse: float
    elasticity_bias: float
    coverage_90: float


def compare_with_truth(
    market: Market, *, price_table: pd.DataFrame, settings: PricingSettings
) -> TruthComparison:
    """Value the price table's prices by the market's own truth.

    A row of the market that the table lacks, or for which it sets no price, keeps its current
    price.

    Args:
        market: the simulated market that made the raw tables.
        price_table: product_id, store_id, recommended_price, own_price_elasticity,
            own_price_elasticity_sd.
        settings: guard rails, price endings and horizon, the same for the oracle.
    """
    table = market.rows[KEY].merge(price_table, on=KEY, how="left", validate="one_to_one")
    priced = table["recommended_price"].to_numpy(dtype=np.float64)
    current = market.current_price
    recommended = np.where(np.isfinite(priced), priced, current)
    profits = [
        float(market.expected_profit(price, horizon_days=settings.horizon_days).sum())
        for price in (current, recommended, _oracle(market, settings))
    ]
    gain, best_gain = profits[1] - profits[0], profits[2] - profits[0]
    error, covered = _elasticity_errors(market, table)
    return TruthComparison(
        horizon_days=settings.horizon_days,
        products=len(table),
        profit_at_current=profits[0],
        profit_at_recommended=profits[1],
        profit_at_oracle=profits[2],
        share_of_oracle_uplift=gain / best_gain if best_gain > 0 else float("nan"),
        regret=(profits[2] - profits[1]) / abs(profits[2]) if profits[2] else float("nan"),
        elasticity_rmse=float(np.sqrt(np.mean(error**2))) if error.size else float("nan"),
        elasticity_bias=float(np.mean(error)) if error.size else float("nan"),
        coverage_90=float(np.mean(covered)) if error.size else float("nan"),
    )


def _oracle(market: Market, settings: PricingSettings) -> Floats:
    """Best prices by the truth among the same allowed prices, (n,)."""
    current = market.current_price
    bounds = price_bounds(
        current_price=current,
        unit_cost=market.unit_cost,
        map_price=np.full(len(current), np.nan),
        settings=settings,
    )
    found = candidate_prices(
        bounds, ending=settings.guardrails.price_ending, k=settings.price_table.candidates
    )
    candidates = to_major(found.prices, exponent=bounds.exponent)
    return market.oracle_prices(candidates, horizon_days=settings.horizon_days)


def _elasticity_errors(market: Market, table: pd.DataFrame) -> tuple[Floats, NDArray[np.bool_]]:
    """Estimate minus truth, and whether the 90 % interval holds it, of the rows estimated."""
    estimate = table["own_price_elasticity"].to_numpy(dtype=np.float64)
    sd = table["own_price_elasticity_sd"].to_numpy(dtype=np.float64)
    known = np.isfinite(estimate) & np.isfinite(sd)
    error = (estimate - market.own_price_elasticity())[known]
    return error, np.abs(error) <= Z90 * sd[known]
