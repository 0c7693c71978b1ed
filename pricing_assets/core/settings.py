"""Every parameter of the platform, written once, with bounds, units and a description.

Frozen pydantic models only; reading YAML and the environment happens in ``serving.home``.
The Dagster resource inherits these models, so they are editable in the launchpad.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Objective = Literal["profit", "revenue", "market_share"]


class Parameters(BaseModel):
    """Base of all parameter models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


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


class ForecastParameters(Parameters):
    """Demand forecaster and its walk-forward validation."""

    model: Literal[
        "auto",
        "ensemble",
        "lightgbm",
        "lstm",
        "transformer",
        "svr",
        "elastic_net",
        "auto_ets",
        "seasonal_naive",
        "ses_weekday",
    ] = Field("auto", description="Forecaster used for prices; auto takes the walk-forward winner.")
    ensemble_members: list[str] = Field(
        ["lightgbm", "ses_price"],
        description="Forecasters that the ensemble weighs; ses_price is the base that every "
        "global model starts from.",
    )
    candidates: list[str] = Field(
        ["ensemble"],
        description="Forecasters tried in the walk-forward test beside the plain ones; the "
        "members of an ensemble are scored with it.",
    )
    failover_order: list[str] = Field(
        ["lstm", "transformer", "lightgbm", "svr", "elastic_net", "ses_weekday"],
        description="Who takes over when a forecaster cannot be loaded or its forecast is not "
        "sane: those after the chosen one, or all where it is not listed. A network is trained "
        "only where it is chosen or a member of the chosen ensemble.",
    )
    n_estimators: int = Field(120, ge=10, le=5000, description="Boosting rounds.")
    learning_rate: float = Field(0.1, gt=0, le=1, description="Boosting step.")
    num_leaves: int = Field(31, ge=2, le=1024, description="Leaves of a tree.")
    min_data_in_leaf: int = Field(40, ge=1, description="Rows in a leaf.")
    training_origins: int = Field(
        60, ge=1, le=200, description="Past origins that give training rows."
    )
    tuner: Literal["optuna", "grid"] = Field(
        "optuna",
        description="Search for LightGBM's parameters; grid where optuna cannot be used.",
    )
    tuning_trials: int = Field(
        30, ge=1, le=10_000, description="Trials of a search; one that was stopped goes on."
    )
    use_tuned: bool = Field(
        True,
        description="Train with the parameters of the home's last search where they beat the "
        "defaults by more than noise.",
    )
    explained_series: int = Field(
        100,
        ge=0,
        description="Series whose forecast is taken apart by SHAP values, those whose price change "
        "matters most first; about 0.04 s each for 28 days.",
    )
    backtest_origins: int = Field(3, ge=1, le=24, description="Walk-forward test origins.")
    threads: int = Field(
        1,
        ge=1,
        le=256,
        description="Threads of LightGBM; results repeat for a given number. More than the idle "
        "cores is slower than one, because its threads wait by spinning.",
    )
    max_rows: int = Field(
        80_000, ge=1000, description="Training rows above which cells are sampled."
    )
    torch_epochs: int = Field(
        6,
        ge=1,
        le=500,
        description="Passes of a network over its windows before the last horizons, which then "
        "calibrate it; a third as many more follow on everything.",
    )
    torch_hidden: int = Field(
        32, ge=8, le=512, multiple_of=4, description="Width of a network's layers."
    )
    torch_steps: int = Field(
        250_000,
        ge=1000,
        description="Recent weeks and periods ahead that a network reads in one pass: windows "
        "times their length, above which windows are sampled.",
    )
    torch_weeks: int = Field(
        13, ge=1, le=104, description="Recent weeks that a network reads beside its features."
    )
    torch_device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto",
        description="Where a network is trained; auto takes CUDA, then MPS, then CPU. Repeatable "
        "on a CPU.",
    )
    torch_precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Precision of a network's layers in training; bfloat16 is meant for CUDA, "
        "where neither was measured.",
    )
    torch_compile: bool = Field(
        False,
        description="Compile a network before training. On a CPU that alone takes longer than "
        "the training; on CUDA it was not measured.",
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


class GateParameters(Parameters):
    """Thresholds of the blocking checks that stand before promotion."""

    max_wape_ratio: float = Field(
        1.0, gt=0, description="Forecast WAPE over the better baseline's WAPE, at most."
    )
    min_coverage: float = Field(
        0.6, ge=0, le=1, description="Share of actuals inside the 80 % interval, at least."
    )
    max_table_age_hours: float = Field(
        48, gt=0, description="Validity of a published table in hours after publication."
    )


class ServingParameters(Parameters):
    """The HTTP service."""

    host: str = Field("127.0.0.1", description="Address to bind; loopback unless told otherwise.")
    port: int = Field(8080, ge=0, le=65535, description="HTTP port.")
    grpc_port: int = Field(50051, ge=0, le=65535, description="gRPC port.")
    cache_ttl_seconds: int = Field(300, ge=1, description="Life of a cached quote.")
    redis_timeout_ms: int = Field(20, ge=1, le=5000, description="Redis socket timeout.")
    cover_days: float = Field(
        7, gt=0, description="Days that the stock named in a request must last."
    )
    max_body_bytes: int = Field(
        8 * 1024 * 1024, ge=1024, description="Larger request bodies are refused."
    )
    markup_cold_start: float = Field(
        0.5, ge=0, description="Markup on cost for a product that no table knows."
    )


class OrchestrationParameters(Parameters):
    """How Dagster executes the steps of a run."""

    executor: Literal["in_process", "multiprocess"] = Field(
        "in_process",
        description="A process for each step costs seconds a step; choose it for isolation.",
    )
    max_concurrent: int = Field(
        2, ge=1, le=256, description="Steps at a time with the multiprocess executor."
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
    guardrails: GuardRailParameters = Field(default_factory=GuardRailParameters)
    price_table: PriceTableParameters = Field(default_factory=PriceTableParameters)
    gate: GateParameters = Field(default_factory=GateParameters)
    serving: ServingParameters = Field(default_factory=ServingParameters)
    orchestration: OrchestrationParameters = Field(default_factory=OrchestrationParameters)
