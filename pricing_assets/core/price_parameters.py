"""Parameters of the price engine: guard rails, search, risk."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

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
        description="Share of the stock to be sold, reached by counting each unit sold for more. "
        "Unset: no target.",
    )


class GuardRailParameters(Parameters):
    """Rules that every price obeys, in batch and at serving."""

    price_ending: Literal["none", "auto", "99", "95", "9", "round"] = Field(
        "auto",
        description="Ending in minor units of the last two digits (9: the last digit; round: "
        "whole currency units). auto: 99 where at least eight such prices lie inside the bounds, "
        "else 9.",
    )
    price_step: float | None = Field(
        None,
        gt=0,
        description="Prices are multiples of this, in currency units (0.05); it comes before the "
        "ending.",
    )
    absolute_ceiling: float | None = Field(
        None, gt=0, description="No price above this, in currency units."
    )
    max_daily_change: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Largest relative change against the price in force 24 hours before, so that "
        "publishing often cannot compound. Unset: as max_price_change.",
    )
    prior_price_rule: bool = Field(
        False,
        description="A promoted price stays below the lowest price of the prior_price_days before "
        "the promotion (EU Directive 98/6/EC, Article 6a).",
    )
    prior_price_days: int = Field(
        30, ge=1, le=365, description="Days before a promotion that give its prior price."
    )
    held_statuses: list[str] = Field(
        ["expired", "recalled", "withdrawn", "delisted"],
        description="Values of products.status under which no price is changed.",
    )
    only_down_statuses: list[str] = Field(
        ["clearance", "markdown"],
        description="Values of products.status under which a price only falls.",
    )
    size_parity: bool = Field(
        False,
        description="Within a brand, category and store, a larger pack_size is never dearer for "
        "each unit of it. Off by default: a brand's lines of different quality share its name.",
    )
    ladders: list[str] = Field(
        [],
        description="Price ladders from the cheapest up, as in 'OWN-1 < NATIONAL-1 < PREMIUM-1', "
        "by product_id; kept in each store.",
    )
    ladder_min_gap: float = Field(
        0.0, ge=0, le=10, description="Least relative gap from one rung of a ladder to the next."
    )
    zone_parity: float | None = Field(
        None,
        ge=0,
        le=10,
        description="Largest relative difference of a product's prices over the stores of a zone; "
        "0: one price.",
    )
    kvi_max_index: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Largest price of a key value item (kvi 1) over the rivals' price.",
    )
    kvi_max_mean_index: float | None = Field(
        None,
        gt=0,
        le=10,
        description="Largest mean of that ratio over the key value items of a store.",
    )

    @field_validator("ladders")
    @classmethod
    def _rungs(cls, ladders: list[str]) -> list[str]:
        for ladder in ladders:
            rungs = rungs_of(ladder)
            if len(rungs) < 2 or "" in rungs or len(set(rungs)) < len(rungs):
                raise ValueError(
                    f"'{ladder}' is no ladder; write product ids from the cheapest up: 'A < B < C'"
                )
        return ladders

    def daily_change(self, max_price_change: float) -> float:
        """Largest relative change in a day, in force: ``max_price_change`` where none is set."""
        return max_price_change if self.max_daily_change is None else self.max_daily_change


def rungs_of(ladder: str) -> list[str]:
    """The product ids of a ladder written 'A < B < C', cheapest first."""
    return [rung.strip() for rung in ladder.split("<")]


class BatchBreakerParameters(Parameters):
    """What stops a whole price table, whatever its single prices obey."""

    max_converging_share: float = Field(
        0.3,
        gt=0,
        le=1,
        description="Share of the different prices before that may move to one price.",
    )
    min_converging_prices: int = Field(
        20, ge=2, description="Different prices before, below which convergence is not judged."
    )
    max_jump_ratio: float = Field(
        10.0, gt=1, le=1000, description="No price moves to this many times itself, or one over it."
    )
    max_mean_shift: float = Field(
        0.35, gt=0, le=10, description="Largest relative move of the geometric mean of all prices."
    )
    max_changed_share: float = Field(
        1.0, gt=0, le=1, description="Largest share of the prices that may change at once."
    )
    min_kept_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Least number of priced rows over those of the table before. A table that "
        "shares no row with it is another catalogue, and is not judged by this.",
    )
    override: str = Field(
        "",
        max_length=500,
        description="Who lets a stopped table through, and why; recorded in its manifest. Empty: "
        "nothing is let through.",
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
    risk: Literal["mean", "quantile", "mean_variance"] = Field(
        "mean",
        description="What is maximised of the objective's posterior: its mean, its quantile at "
        "risk_quantile, or its mean less risk_aversion standard deviations.",
    )
    risk_quantile: float = Field(
        0.25, gt=0, lt=1, description="Probability of the quantile with risk: quantile."
    )
    risk_aversion: float = Field(
        0.5,
        ge=0,
        le=10,
        description="Standard deviations taken off the mean with risk: mean_variance.",
    )
    test_when_uncertain: bool = Field(
        False,
        description="Propose an experiment (decision test, the current price stays) where the best "
        "price is expected to gain test_min_gain or more, but is held for its risk.",
    )
    test_min_gain: float = Field(
        0.01,
        ge=0,
        le=1,
        description="Least expected gain worth an experiment, as a share of what the product "
        "brings now.",
    )
    test_up_to_p_worse: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Probability of less than now above which the best price is not worth an "
        "experiment.",
    )
