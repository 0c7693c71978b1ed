"""Parameters of the price engine: guard rails, search, risk."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pricing_assets.core.parameters import Parameters

Objective = Literal["profit", "revenue", "market_share"]


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
