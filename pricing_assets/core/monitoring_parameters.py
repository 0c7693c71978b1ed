"""What is watched after promotion, and when it starts a new training.

Belongs here: windows and alarm limits. The thresholds that a candidate must meet before it is
promoted are ``settings.GateParameters``.
"""

from __future__ import annotations

from pydantic import Field

from pricing_assets.core.parameters import Parameters


class MonitoringParameters(Parameters):
    """Drift, decay, the sensor that trains again, and shadow scoring."""

    window_days: int = Field(
        28, ge=7, le=365, description="Days of the last window, whose features are compared."
    )
    reference_days: int = Field(
        182, ge=28, le=1460, description="Days before a window that it is compared with, at most."
    )
    psi_alarm: float = Field(
        0.25,
        gt=0,
        le=10,
        description="Population stability index of a feature above which it has drifted; more "
        "where earlier windows moved further.",
    )
    concept_false_alarms: float = Field(
        0.01,
        gt=0,
        le=0.2,
        description="How often the test of the residuals may alarm when nothing has changed.",
    )
    min_concept_shift: float = Field(
        0.1,
        ge=0,
        le=1,
        description="Change of the mean relative residual below which no alarm is given.",
    )
    response_window_days: int = Field(
        91,
        ge=28,
        le=730,
        description="Days of the last window, whose price response is compared with before.",
    )
    response_false_alarms: float = Field(
        0.01,
        gt=0,
        le=0.2,
        description="How often the test of the price response may alarm by chance.",
    )
    min_response_change: float = Field(
        0.5, ge=0, le=10, description="Change of the elasticity below which no alarm is given."
    )
    min_live_days: int = Field(
        7, ge=1, le=365, description="Days of new sales before the live accuracy is judged."
    )
    max_live_wape_ratio: float = Field(
        1.25,
        ge=1,
        le=10,
        description="Live WAPE over the validated WAPE above which accuracy has decayed, if it is "
        "more than noise.",
    )
    cool_down_hours: float = Field(
        72,
        ge=0,
        le=8760,
        description="Hours since the last run of the pipeline before an alarm starts another.",
    )
    shadow_quotes: int = Field(
        500,
        ge=0,
        le=100_000,
        description="Latest served quotes that a candidate's table answers in shadow; 0 for none.",
    )
