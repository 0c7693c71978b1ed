"""All estimators side by side on one panel: the table of methods that the report shows.

Belongs here: running them all and one row each. The rule that chooses is in ``choice``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pricing_assets.core.demand import Z90
from pricing_assets.core.elasticity.choice import (
    LABELS,
    MethodChoice,
    data_evidence,
    run_method,
)
from pricing_assets.core.elasticity.design import price_design
from pricing_assets.core.elasticity.estimate import (
    ElasticityEstimates,
    estimate_elasticities,
)
from pricing_assets.core.elasticity.raw_estimates import (
    MethodName,
    RawEstimates,
    random_effects_mean,
)
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

METHOD_COLUMNS = (
    "method",
    "chosen",
    "series",
    "common_slope",
    "common_standard_error",
    "pooled_mean",
    "pooled_sd",
    "low_90",
    "high_90",
    "first_stage_f",
    "identified_by",
    "reason",
)
OTHERS: tuple[MethodName, ...] = ("double_ml", "fixed_effects", "instrumental")


def methods_table(
    panel: Panel, *, settings: PricingSettings, estimates: ElasticityEstimates | None = None
) -> pd.DataFrame:
    """One row a method, columns ``METHOD_COLUMNS``: the chosen one marked, refusals explained.

    Pooled means and errors are before the prior: what each method says of the assortment by
    itself. ``estimates`` saves the time of making them again.
    """
    design = price_design(panel)
    estimates = estimates or estimate_elasticities(panel, settings=settings)
    choice = estimates.choice
    evidence = data_evidence(panel, design, settings=settings)
    raws = [_default_raw(panel, estimates, settings)]
    for method in OTHERS:
        if choice.raw is not None and choice.method == method:
            raws.append(choice.raw)
        else:
            run = run_method(method, panel, design, evidence=evidence, settings=settings)
            raws.append(run)
    return pd.DataFrame([_row(raw, choice) for raw in raws], columns=list(METHOD_COLUMNS))


def _default_raw(
    panel: Panel, estimates: ElasticityEstimates, settings: PricingSettings
) -> RawEstimates:
    """The default's own figures, whatever was chosen."""
    if estimates.choice.raw is not None:
        forced = settings.elasticity.model_copy(update={"method": "local_level_gls"})
        changed = settings.model_copy(update={"elasticity": forced})
        estimates = estimate_elasticities(panel, settings=changed)
    frame = estimates.frame
    words = {
        "cost_control_function": "promotions and cost-driven prices",
        "regular_price_control": "promotions against the regular price",
        "none": "all price moves that slow demand does not explain",
    }
    return RawEstimates(
        method="local_level_gls",
        identified_by=words[estimates.control],
        slope=frame["raw_estimate"].to_numpy(),
        standard_error=frame["raw_standard_error"].to_numpy(),
        first_stage_f=estimates.first_stage_f,
        refused="" if frame["raw_estimate"].notna().any() else "no series says anything by itself",
    )


def _row(raw: RawEstimates, choice: MethodChoice) -> dict[str, object]:
    found = random_effects_mean(slope=raw.slope, standard_error=raw.standard_error)
    mean, error = found.mean, float(np.hypot(found.standard_error, raw.shared_standard_error))
    if not np.isfinite(mean) and not raw.refused:
        mean, error = raw.common, raw.common_standard_error
    chosen = raw.method == choice.method
    return {
        "method": raw.method,
        "chosen": chosen,
        "series": int(np.isfinite(raw.slope).sum()),
        "common_slope": raw.common,
        "common_standard_error": raw.common_standard_error,
        "pooled_mean": mean,
        "pooled_sd": error,
        "low_90": mean - Z90 * error,
        "high_90": mean + Z90 * error,
        "first_stage_f": raw.first_stage_f,
        "identified_by": raw.identified_by,
        "reason": _reason(raw, choice, chosen=chosen),
    }


def _reason(raw: RawEstimates, choice: MethodChoice, *, chosen: bool) -> str:
    if chosen:
        return f"chosen: {choice.reason}"
    if raw.refused:
        return f"refused: {raw.refused}"
    return f"not needed: {LABELS[raw.method]}"
