"""Parameters of portfolio goals: what the whole catalogue must bring, and their multipliers."""

from __future__ import annotations

from pydantic import Field

from pricing_assets.core.parameters import Parameters


class PortfolioParameters(Parameters):
    """Goals of the whole catalogue over the horizon; unset is no goal.

    Where they clash, the later of max_profit_given_up, min_margin_rate, min_revenue, min_units,
    max_price_index yields first, to the best that the earlier ones leave, and the run says so.
    """

    min_revenue: float | None = Field(
        None, gt=0, description="Revenue over the horizon, at least, in currency units."
    )
    min_margin_rate: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="Profit as a share of revenue, at least, over products with a known cost.",
    )
    min_units: float | None = Field(
        None, gt=0, description="Units sold over the horizon, at least."
    )
    max_price_index: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Own prices over rivals' prices, each weighted by the expected units, at most; "
        "products with a known rival price count.",
    )
    max_profit_given_up: float | None = Field(
        None,
        ge=0,
        description="Budget: profit over the horizon that may be given up against the prices of "
        "highest profit, in currency units.",
    )
    frontier_points: int = Field(
        9, ge=0, le=50, description="Points of the frontier of profit against revenue; 0 for none."
    )


class GoalMultipliers(Parameters):
    """What one unit of each goal is worth, in the objective; found by the portfolio stage.

    A value above 0 given here holds where the goals are unset; with goals set they are found anew.
    """

    min_revenue: float = Field(0.0, ge=0, description="For each currency unit of revenue.")
    min_margin_rate: float = Field(
        0.0,
        ge=0,
        description="For each currency unit of profit above portfolio.min_margin_rate of revenue.",
    )
    min_units: float = Field(0.0, ge=0, description="For each unit sold.")
    max_price_index: float = Field(
        0.0,
        ge=0,
        description="For each currency unit of sales below portfolio.max_price_index of what they "
        "cost at the rivals' prices.",
    )
    max_profit_given_up: float = Field(0.0, ge=0, description="For each currency unit of profit.")


GOALS = (
    "max_profit_given_up",
    "min_margin_rate",
    "min_revenue",
    "min_units",
    "max_price_index",
)
"""All goals; where they clash, the later ones yield first."""
