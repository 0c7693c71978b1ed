"""Gates of what stands around a candidate: its data, drift, noise, fairness, logged prices, age.

Belongs here: turning each measurement into gates. Measuring is ``core.evaluation``; the gates of
accuracy and guard rails are ``core.promotion``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pricing_assets.core.evaluation.skill import Skill
from pricing_assets.core.promotion import Gate
from pricing_assets.core.settings import GateParameters

UNKNOWN = float("nan")

GATES = (
    "quarantined_share",
    "unpriced_share",
    "price_level_shift",
    "units_level_shift",
    "leaking_column",
    "personal_features",
    "model_age_days",
    "data_age_days",
    "forecast_wape_ratio",
    "interval_coverage",
    "guard_rail_violations",
    "priced_products",
    "skill_low_90",
    "error_over_floor",
    "price_gap",
    "margin_gap",
    "proxy_exposure",
    "off_policy_difference_low_90",
)
"""Every gate by name; each is a check in Dagster's page."""


@dataclass(frozen=True, slots=True)
class DataEvidence:
    """What is known of the data behind a candidate.

    Attributes:
        quarantined: share of each raw table's rows that was set aside.
        unpriced: share of the last window's cells on sale without a price.
        level_shifts: change of the level of each feature, in logarithms; NaN where unmeasured.
        leaks: (column, correlation with the same day's units) of each column known ahead.
        features: names of everything that a price follows from.
        personal: those of ``features`` that point at a person.
        model_age_days, data_age_days: at the time of promotion.
    """

    quarantined: Mapping[str, float]
    unpriced: float
    level_shifts: Mapping[str, float]
    leaks: Mapping[str, float]
    features: Sequence[str]
    personal: Sequence[str]
    model_age_days: float
    data_age_days: float


def data_gates(evidence: DataEvidence, *, parameters: GateParameters) -> tuple[Gate, ...]:
    """Data contract, drift, leaks, personal data and age."""
    column, leak = _worst(evidence.leaks)
    personal = ", ".join(evidence.personal) or f"none of {len(evidence.features)} features"
    return (
        *_contract_gates(evidence, parameters=parameters),
        *_drift_gates(evidence.level_shifts, parameters=parameters),
        Gate(
            "leaking_column",
            leak,
            parameters.max_leak_correlation,
            "at most",
            f"correlation of {column} with the same day's units" if column else "nothing varies",
            optional=True,
        ),
        Gate("personal_features", float(len(evidence.personal)), 0.0, "at most", personal),
        *_age_gates(evidence, parameters=parameters),
    )


def _contract_gates(evidence: DataEvidence, *, parameters: GateParameters) -> tuple[Gate, ...]:
    """What was set aside, and what is missing."""
    table, share = _worst(evidence.quarantined)
    return (
        Gate(
            "quarantined_share",
            share,
            parameters.max_quarantined_share,
            "at most",
            f"rows of {table} that were set aside",
        ),
        Gate(
            "unpriced_share",
            evidence.unpriced,
            parameters.max_unpriced_share,
            "at most",
            "cells on sale in the last window without a price",
        ),
    )


def _age_gates(evidence: DataEvidence, *, parameters: GateParameters) -> tuple[Gate, ...]:
    """How old the model and the last sale are."""
    oldest = parameters.max_data_age_days
    return (
        Gate(
            "model_age_days",
            evidence.model_age_days,
            parameters.max_model_age_days,
            "at most",
            "days since the demand model was trained",
        ),
        Gate(
            "data_age_days",
            evidence.data_age_days,
            np.inf if oldest is None else oldest,
            "at most",
            "days since the last sale" + ("; no limit is set" if oldest is None else ""),
        ),
    )


def _drift_gates(shifts: Mapping[str, float], *, parameters: GateParameters) -> tuple[Gate, ...]:
    """How far the levels of prices and of sales moved, as factors."""
    factors = {name: float(np.exp(abs(shift))) for name, shift in shifts.items()}
    units = {name: factors.pop(name) for name in ("log_units",) if name in factors}
    found = []
    for name, group, limit in (
        ("price_level_shift", factors, parameters.max_price_level_shift),
        ("units_level_shift", units, parameters.max_units_level_shift),
    ):
        feature, factor = _worst(group)
        why = f"factor by which {feature} moved" if feature else "too short a history"
        found.append(Gate(name, factor, limit, "at most", why, optional=True))
    return tuple(found)


def accuracy_gates(
    found: Skill, *, error_over_floor: float, model_is_baseline: bool, parameters: GateParameters
) -> tuple[Gate, ...]:
    """Better than the baselines by more than noise, and not too good to be true.

    Args:
        found: skill of the chosen model against the better baseline.
        error_over_floor: as ``skill.error_over_floor``.
        model_is_baseline: a plain forecaster was chosen, so there is nothing to beat.
        parameters: thresholds.
    """
    if model_is_baseline:
        low, why = UNKNOWN, "a plain forecaster was chosen: nothing beat it beyond noise"
    elif not np.isfinite(found.low_90):
        low, why = UNKNOWN, f"{found.series} series are too few for an interval"
    else:
        low = found.low_90
        why = (
            f"{found.value:.1%} less error than {found.baseline}, 90 % interval "
            f"{found.low_90:.1%} to {found.high_90:.1%} over {found.series} series"
        )
    return (
        Gate("skill_low_90", low, parameters.min_skill_low, "at least", why, optional=True),
        Gate(
            "error_over_floor",
            error_over_floor,
            parameters.min_error_over_floor,
            "at least",
            "forecast error over the least that random counts allow"
            if np.isfinite(error_over_floor)
            else "units are no counts, or too few",
            optional=True,
        ),
    )


def fairness_gates(fairness: pd.DataFrame, *, parameters: GateParameters) -> tuple[Gate, ...]:
    """Gaps beyond noise and exposure of zones and segments.

    Args:
        fairness: as ``fairness.fairness_frame`` gives it.
        parameters: thresholds.
    """
    limits = {
        "price": ("price_gap", parameters.max_price_gap),
        "margin": ("margin_gap", parameters.max_margin_gap),
        "exposure": ("proxy_exposure", parameters.max_proxy_exposure),
    }
    found = []
    for measure, (name, limit) in limits.items():
        rows = fairness[(fairness["measure"] == measure) & fairness["certain"].notna()]
        if rows.empty:
            why = "one zone and segment, or none is known"
            found.append(Gate(name, UNKNOWN, limit, "at most", why, optional=True))
            continue
        worst = rows.iloc[int(rows["certain"].to_numpy().argmax())]
        found.append(Gate(name, float(worst["certain"]), limit, "at most", _gap_text(worst)))
    return tuple(found)


def _gap_text(row: pd.Series) -> str:
    if row["measure"] == "exposure":
        return f"{row['attribute']} over {row['count']} stores"
    if not np.isfinite(row["low_90"]):
        return f"{row['attribute']} {row['group']}: {row['count']} products are too few to tell"
    return (
        f"{row['attribute']} {row['group']}: {row['gap']:+.1%}, 90 % interval "
        f"{row['low_90']:+.1%} to {row['high_90']:+.1%} over {row['count']} products"
    )


def off_policy_gate(
    evaluation: pd.DataFrame | None, *, estimator: str, parameters: GateParameters
) -> Gate:
    """The lower bound of the candidate's prices against the present ones, from logged prices.

    Args:
        evaluation: rows by estimator: present_value, difference_low_90, refused, reason; None
            where nothing was evaluated.
        estimator: whose row counts, if it did not refuse.
        parameters: thresholds.
    """
    name, limit = "off_policy_difference_low_90", 0.0 - parameters.max_off_policy_loss
    optional = not parameters.require_off_policy
    if evaluation is None or evaluation.empty:
        return Gate(name, UNKNOWN, limit, "at least", "not evaluated", optional=optional)
    rows = evaluation[evaluation["estimator"] == estimator]
    row = (rows if len(rows) else evaluation).iloc[0]
    if bool(row["refused"]):
        why = f"not measured: {row['reason']}"
        return Gate(name, UNKNOWN, limit, "at least", why, optional=optional)
    scale = abs(float(row["present_value"])) or 1.0
    low = float(row["difference_low_90"]) / scale
    why = f"by {row['estimator']} from logged prices, as a share of the present policy's value"
    return Gate(name, low, limit, "at least", why, optional=optional)


def known(value: float | None) -> float:
    """A number out of JSON, where null is unknown."""
    return UNKNOWN if value is None else float(value)


def _worst(measures: Mapping[str, float]) -> tuple[str, float]:
    """Name and value of the largest known measure; NaN without one."""
    measured = {name: value for name, value in measures.items() if np.isfinite(value)}
    if not measured:
        return "", UNKNOWN
    name = max(measured, key=lambda one: measured[one])
    return name, float(measured[name])
