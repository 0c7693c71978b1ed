"""Parameters of the demand forecasters and of their walk-forward test."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pricing_assets.core.parameters import Parameters


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
