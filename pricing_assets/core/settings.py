"""Every parameter of the platform, written once, with bounds, units and a description.

Frozen pydantic models only; reading YAML and the environment happens in ``serving.home``.
The Dagster resource inherits these models, so they are editable in the launchpad.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.monitoring_parameters import MonitoringParameters
from pricing_assets.core.off_policy_parameters import OffPolicyParameters
from pricing_assets.core.parameters import Parameters
from pricing_assets.core.portfolio_parameters import GoalMultipliers, PortfolioParameters
from pricing_assets.core.price_parameters import (
    BatchBreakerParameters,
    GuardRailParameters,
    Objective,
    ObjectiveWeights,
    PriceTableParameters,
    SellThroughParameters,
)
from pricing_assets.core.scale_parameters import OrchestrationParameters, SparkParameters
from pricing_assets.core.serving_parameters import AuditParameters, ServingParameters
from pricing_assets.core.streaming_parameters import StreamingParameters


class IngestionParameters(Parameters):
    """How raw tables are read and checked."""

    reader: Literal["contract", "dominicks", "uci_online_retail", "m5"] = Field(
        "contract", description="Raw format: the contract's tables, or a public data set's own."
    )
    max_quarantined_share: float = Field(
        0.2, ge=0, le=1, description="Share of a table's rows set aside above which the run stops."
    )
    absent_rows: Literal["auto", "zero", "not_on_sale"] = Field(
        "auto",
        description="What a date without a row means between a series' first and last row: no "
        "sale, or not on sale. auto: not on sale if the table itself records zero-unit rows.",
    )
    grain: Literal["auto", "day", "week"] = Field(
        "auto", description="Spacing of the sales dates; auto takes it from their median gap."
    )
    max_series: int = Field(
        200_000, ge=1, description="Product-store series above which a run is refused."
    )
    max_cells: int = Field(
        200_000_000, ge=1, description="Series x periods above which a run is refused."
    )
    uci_country: str = Field(
        "", description="Reader uci_online_retail: keep this country's invoices; empty keeps all."
    )
    m5_store: str = Field("TX_3", description="Reader m5: the store to read.")
    m5_department: str = Field("FOODS_3", description="Reader m5: the department to read.")
    cost_is_derived_from_price: bool = Field(
        False,
        description="The costs were computed from the price (a margin taken off it), so that "
        "they carry its errors: never to be used as an instrument for price.",
    )


class ElasticityParameters(Parameters):
    """Own-price elasticity: estimator, prior and pooling."""

    method: Literal["auto", "local_level_gls", "double_ml", "fixed_effects", "instrumental"] = (
        Field(
            "auto",
            description="Estimator of the own slopes; auto chooses by the rule written in "
            "core/elasticity/choice.py. One that the data refuse gives way to the rule.",
        )
    )
    prior_mean: float = Field(
        -1.5,
        ge=-10,
        le=0,
        description="Mean of the prior of the assortment's own-price elasticity.",
    )
    prior_sd: float = Field(0.5, gt=0, le=5, description="Standard deviation of that prior.")
    block_days: int = Field(
        14,
        ge=7,
        le=365,
        description="Length in days of the product-by-time blocks around whose mean counts are "
        "linearised; longer for slow sellers.",
    )
    curve_shape: Literal["auto", "constant", "semi_log"] = Field(
        "auto",
        description="Shape of the demand curve: chosen by likelihood for each category, or one of "
        "constant elasticity and elasticity in proportion to price.",
    )
    endogeneity_control: Literal["auto", "regular_price", "none"] = Field(
        "auto",
        description="How prices that followed unseen demand are corrected for: auto takes a "
        "strong cost instrument first, then promotions against the regular price.",
    )
    max_diversion: float = Field(
        0.4,
        ge=0,
        le=1,
        description="Largest share of the units that a dearer product loses which its substitutes "
        "are taken to win.",
    )
    min_first_stage_f: float = Field(
        20.0, ge=0, description="First-stage F below which cost is refused as an instrument."
    )


class GateParameters(Parameters):
    """Thresholds of the blocking checks that stand before promotion."""

    max_wape_ratio: float = Field(
        1.0, gt=0, description="Forecast WAPE over the better baseline's WAPE, at most."
    )
    min_coverage: float = Field(
        0.6, ge=0, le=1, description="Share of actuals inside the 80 % interval, at least."
    )
    min_skill_low: float = Field(
        0.0,
        ge=-1,
        le=1,
        description="Lower end of the 90 % interval of 1 - WAPE / baseline's WAPE over series, at "
        "least; a baseline itself passes.",
    )
    min_error_over_floor: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Forecast error over the least error that random counts allow, at least: far "
        "below it the model has seen the sales that it forecasts.",
    )
    max_leak_correlation: float = Field(
        0.97,
        gt=0,
        le=1,
        description="Correlation within series of a column known ahead with the same day's units, "
        "at most.",
    )
    max_quarantined_share: float = Field(
        0.2, ge=0, le=1, description="Share of a raw table's rows set aside, at most."
    )
    max_unpriced_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="Share of the last window's cells on sale that have no price, at most.",
    )
    max_price_level_shift: float = Field(
        1.5,
        gt=1,
        description="Factor by which the products' prices, costs or gaps to rivals moved from the "
        "months before to the last weeks, in the median, at most. Less is an alarm of drift, "
        "whose cure is a new training; more is another unit or currency.",
    )
    max_units_level_shift: float = Field(
        4.0, gt=1, description="The same for units sold, whose seasons move them further."
    )
    require_off_policy: bool = Field(
        False,
        description="Whether a policy that logged prices cannot judge, for poor overlap, is held.",
    )
    max_off_policy_loss: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Loss against the present policy that the lower 90 % bound from logged prices "
        "may show, as a share of the present policy's value. 0 asks for proof that nothing is "
        "lost, for which a small market's log is too thin.",
    )
    max_price_gap: float = Field(
        0.25,
        gt=0,
        description="Price gap of a zone or segment for the same products that is beyond noise "
        "(90 %), relative, at most.",
    )
    max_margin_gap: float = Field(
        0.15,
        gt=0,
        le=1,
        description="Margin gap of a zone or segment for the same products that is beyond noise "
        "(90 %), at most; margins are shares of price.",
    )
    max_proxy_exposure: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Share of the variance of stores' price changes that their zone or segment "
        "explains beyond chance, at most.",
    )
    max_model_age_days: float = Field(
        90, gt=0, description="Age of the demand model behind a table in days, at most."
    )
    max_data_age_days: float | None = Field(
        None,
        gt=0,
        description="Age of the last sale in days, at most; null leaves data of the past usable.",
    )
    max_table_age_hours: float = Field(
        48, gt=0, description="Validity of a published table in hours after publication."
    )


class PricingSettings(Parameters):
    """All settings of a home; every key has a default."""

    objective: Objective = Field("profit", description="What a price maximises.")
    horizon_days: int = Field(28, ge=1, le=365, description="Days that a price is chosen for.")
    min_margin: float = Field(
        0.15, ge=0, lt=1, description="Least margin, as a share of price: (price - cost) / price."
    )
    max_price_change: float = Field(
        0.20, gt=0, le=1, description="Largest relative change against the current price."
    )
    currency: str = Field("USD", pattern="^[A-Z]{3}$", description="ISO 4217 code.")
    seed: int = Field(7, ge=0, description="Seed of everything random.")
    columns: dict[str, str | dict[str, str]] = Field(
        default_factory=dict,
        description="Headings: {contract name: heading} or the reverse, flat or by table.",
    )
    ingestion: IngestionParameters = Field(default_factory=IngestionParameters)
    forecast: ForecastParameters = Field(default_factory=ForecastParameters)
    elasticity: ElasticityParameters = Field(default_factory=ElasticityParameters)
    objective_weights: ObjectiveWeights = Field(default_factory=ObjectiveWeights)
    sell_through: SellThroughParameters = Field(default_factory=SellThroughParameters)
    portfolio: PortfolioParameters = Field(default_factory=PortfolioParameters)
    multipliers: GoalMultipliers = Field(default_factory=GoalMultipliers)
    guardrails: GuardRailParameters = Field(default_factory=GuardRailParameters)
    batch_breaker: BatchBreakerParameters = Field(default_factory=BatchBreakerParameters)
    price_table: PriceTableParameters = Field(default_factory=PriceTableParameters)
    off_policy: OffPolicyParameters = Field(default_factory=OffPolicyParameters)
    gate: GateParameters = Field(default_factory=GateParameters)
    monitoring: MonitoringParameters = Field(default_factory=MonitoringParameters)
    serving: ServingParameters = Field(default_factory=ServingParameters)
    audit: AuditParameters = Field(default_factory=AuditParameters)
    orchestration: OrchestrationParameters = Field(default_factory=OrchestrationParameters)
    spark: SparkParameters = Field(default_factory=SparkParameters)
    streaming: StreamingParameters = Field(default_factory=StreamingParameters)

    @property
    def decision_days(self) -> int:
        """Days that sales are counted over: the horizon, or less where stock must be sold by."""
        days = self.sell_through.days if self.objective == "sell_through" else None
        return self.horizon_days if days is None else days

    @model_validator(mode="after")
    def _sold_within_horizon(self) -> Self:
        if self.decision_days > self.horizon_days:
            raise ValueError(
                f"sell_through.days is {self.decision_days}, but demand is forecast for "
                f"horizon_days: {self.horizon_days}; raise horizon_days to at least as many"
            )
        return self
