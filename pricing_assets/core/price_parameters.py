"""Parameters of the price engine: guard rails, search, risk."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pricing_assets.core.parameters import Parameters

Objective = Literal["profit", "revenue", "market_share", "weighted", "sell_through"]


class ObjectiveWeights(Parameters):
    """Weights of the objective ``weighted``; a unit sold at p counts their sum."""

    profit: float = Field(1.0, ge=0, le=1000, description="Weight of profit, p - c a unit.")
    revenue: float = Field(0.0, ge=0, le=1000, description="Weight of revenue, p a unit.")
    units: float = Field(
        0.0, ge=0, le=1e9, description="What a unit counts beside, in currency units."
    )

    @model_validator(mode="after")
    def _some_weight(self) -> Self:
        if self.profit + self.revenue + self.units <= 0:
            raise ValueError("all weights are 0; give profit, revenue or units a weight above 0")
        return self


class SellThroughParameters(Parameters):
    """The objective ``sell_through``: revenue of the stock until a date plus what is left over."""

    days: int | None = Field(
        None,
        ge=1,
        le=365,
        description="Days until the stock must be sold; at most horizon_days. Unset: horizon_days.",
    )
    salvage_share: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Value of a unit left over, as a share of its current price.",
    )
    target_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the stock that is to be sold: among the searched prices those that "
        "reach it are preferred. Unset: no target.",
    )


class GuardRailParameters(Parameters):
    """Rules that every price obeys, in batch and at serving."""

    price_ending: Literal["none", "auto", "99", "95", "9"] = Field(
        "auto",
        description="Ending in minor units of the last two digits (9: the last digit). auto: 99 "
        "where at least eight such prices lie inside the bounds, else 9.",
    )
    absolute_ceiling: float | None = Field(
        None, gt=0, description="No price above this, in currency units."
    )


class PriceTableParameters(Parameters):
    """How a price is chosen from its demand curve."""

    candidates: int = Field(64, ge=8, le=2000, description="Candidate prices searched a product.")
    hold_above_p_worse: float = Field(
        0.4,
        gt=0,
        le=1,
        description="Hold the current price when the posterior probability of less profit than "
        "at the current price is above this.",
    )
    min_relative_uplift: float = Field(
        0.0, ge=0, le=1, description="Hold when the expected gain is below this share of profit."
    )
