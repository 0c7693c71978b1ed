"""What is watched of a market and a promoted model, as checks with value, limit and reason.

Belongs here: from the measurements of drift and decay to checks and alarms. An alarm starts a new
training (``drift_automation``); what stops a promotion is ``core.promotion_evidence``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from pricing_assets.core.evaluation.decay import LiveAccuracy
from pricing_assets.core.evaluation.drift import FeatureDrift, ResidualBreak
from pricing_assets.core.evaluation.price_response_drift import ResponseDrift
from pricing_assets.core.monitoring_parameters import MonitoringParameters
from pricing_assets.core.panel import Panel
from pricing_assets.core.promotion import Gate


def drift_checks(found: Iterable[FeatureDrift]) -> tuple[Gate, ...]:
    """One check a feature: its PSI against its limit."""
    return tuple(
        Gate(
            f"drift_{one.feature}",
            one.psi,
            one.limit,
            "at most",
            f"PSI; KS {one.ks:.3f}; earlier windows up to {one.usual_psi:.3f}"
            if np.isfinite(one.psi)
            else "too little is known of it",
            optional=True,
        )
        for one in found
    )


def concept_check(found: ResidualBreak, *, parameters: MonitoringParameters) -> Gate:
    """The change of the mean residual where it is beyond chance; 0 where it is not."""
    significant = found.p_value < parameters.concept_false_alarms
    value = abs(found.shift) * significant if np.isfinite(found.p_value) else float("nan")
    why = (
        f"mean of (sold - expected) / expected moved by {found.shift:+.1%}, p {found.p_value:.3f}"
        if np.isfinite(found.p_value)
        else "too few held-out periods"
    )
    limit = parameters.min_concept_shift
    return Gate("concept_drift", value, limit, "at most", why, optional=True)


def response_check(found: ResponseDrift, *, parameters: MonitoringParameters) -> Gate:
    """The change of the elasticity where it is beyond chance; 0 where it is not."""
    significant = found.p_value < parameters.response_false_alarms
    value = abs(found.change) * significant if np.isfinite(found.p_value) else float("nan")
    why = (
        f"elasticity {found.now:.2f} (se {found.now_se:.2f}) after {found.before:.2f} "
        f"(se {found.before_se:.2f}), p {found.p_value:.3f}"
        if np.isfinite(found.p_value)
        else "too short a history, or no price varied"
    )
    limit = parameters.min_response_change
    return Gate("price_response_drift", value, limit, "at most", why, optional=True)


def decay_check(found: LiveAccuracy | None, *, parameters: MonitoringParameters) -> Gate:
    """Live over validated WAPE where it is above 1 beyond noise; at most 1 where it is not."""
    name, limit = "live_wape_ratio", parameters.max_live_wape_ratio
    if found is None or found.days < parameters.min_live_days or not np.isfinite(found.ratio_low):
        days = 0 if found is None else found.days
        why = f"{days} days of sales since the promoted forecast; {parameters.min_live_days} needed"
        return Gate(name, float("nan"), limit, "at most", why, optional=True)
    value = found.ratio if found.ratio_low > 1 else min(found.ratio, 1.0)
    why = (
        f"WAPE {found.wape:.3f} over {found.days} days against {found.validated:.3f} validated, "
        f"ratio {found.ratio:.2f}, lower bound {found.ratio_low:.2f}, bias {found.bias:+.1%}"
    )
    return Gate(name, value, limit, "at most", why, optional=True)


def relative_residuals(residuals: pd.DataFrame, *, model: str) -> np.ndarray:
    """(n,) of (sold - expected) / expected of one model's held-out periods, in time order."""
    rows = residuals[(residuals["model"] == model) & (residuals["expected"] > 0)].sort_values(
        "date", kind="stable"
    )
    return ((rows["sold"] - rows["expected"]) / rows["expected"]).to_numpy(dtype=np.float64)


def unpriced_share(panel: Panel, *, window_days: int) -> float:
    """Share of the last window's cells on sale that have no price; 1 where none is on sale."""
    window = -(-window_days // panel.period_days)
    there = panel.on_sale[:, -window:]
    unknown = there & ~np.isfinite(panel.price[:, -window:])
    return float(unknown.sum() / there.sum()) if there.any() else 1.0


def watch_report(
    checks: Iterable[Gate], features: Iterable[FeatureDrift], *, now: datetime, **facts: Any
) -> dict[str, Any]:
    """The report as JSON values: generated_at, checks, alarms (name and why), features, facts."""
    listed = [check.as_json() for check in checks]
    return {
        "generated_at": now.isoformat(timespec="seconds"),
        "checks": listed,
        "alarms": [
            {"name": one["name"], "why": alarm_text(one)} for one in listed if not one["passed"]
        ],
        "features": [
            {name: plain(value) for name, value in asdict(one).items()} for one in features
        ],
        **facts,
    }


def alarm_text(check: dict[str, Any]) -> str:
    """A failed check in words."""
    return f"{check['value']:.3g} against {check['threshold']:.3g} at most: {check['why']}"


def plain(value: Any) -> Any:
    """A number that JSON can hold; null where it is not finite."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
