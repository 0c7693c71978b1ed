"""Parameters of off-policy evaluation: the log that is read, the smoothing, when it refuses."""

from __future__ import annotations

from pydantic import Field

from pricing_assets.core.parameters import Parameters


class OffPolicyParameters(Parameters):
    """How a new price table is valued from logged prices, and when no value is given."""

    history_days: int = Field(
        365, ge=28, le=3650, description="Last days of sales that count as the log."
    )
    bandwidth: float = Field(
        0.05,
        gt=0,
        le=0.5,
        description="Log price either side of a price within which a logged price speaks for it.",
    )
    block_days: int = Field(
        28,
        ge=1,
        le=365,
        description="Days that are drawn together in the bootstrap; longer than unseen demand "
        "stays away from its level.",
    )
    max_weight: float = Field(
        10.0, gt=1, description="Importance weight above which switch leaves a cell to the model."
    )
    confounding_sd: float = Field(
        0.4,
        ge=0,
        le=3,
        description="Where propensities are estimated: standard deviation of what unseen demand "
        "may have added to the elasticity seen in the log, for all products and again for each. "
        "It widens the intervals; 0 takes the contexts to explain all.",
    )
    draws: int = Field(400, ge=50, le=10_000, description="Bootstrap draws.")
    min_overlap: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of the moved products' profit at prices that the log supports, at "
        "least; below it no value is given.",
    )
    min_effective_spells: float = Field(
        30.0, ge=0, description="Effective sample size in price spells, at least."
    )
    max_weight_share: float = Field(
        0.25, gt=0, le=1, description="Share of all weight on one price spell, at most."
    )
