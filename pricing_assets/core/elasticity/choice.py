"""The written rule that chooses between the estimators, from the data.

The rule, first match wins:

1. A method named in the settings is used where it is identified; where it is refused (a weak
   instrument, too few cells), the rule goes on and the reason says so.
2. **Transaction data with noisy prices** -> ``double_ml`` on lasting prices. Prices are known
   only where something was sold, no promotions are recorded, no cost is usable as an instrument,
   and at least half of the variance of price changes is taken back in the next period: what was
   paid is then a noisy reading of what was asked. Refused where the lasting prices are a weak
   instrument (first-stage F) or do not say that noise had pulled the slope towards zero.
3. **local_level_gls**, the default, wherever it says anything: one series with enough price
   variation, or a pooled mean known better than the prior. Weekly data, large units, few series,
   no promotions and no cost all stay here: without cost its control is the regular price against
   promotions, and without both it rests on the filter of slow demand alone.
4. **fixed_effects** where no series says anything by itself but all of them together do (very slow
   sellers): the common slope becomes the prior of the pooling.
5. Else ``local_level_gls``: the posterior is the stated prior, and every row is flagged.

``instrumental`` is never chosen by the rule: a strong cost already enters the default as a control
function, which keeps the promotional variation that 2SLS throws away; it stands in the table of
methods as a check. Cost that is derived from the price is refused in both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.design import PriceDesign
from pricing_assets.core.elasticity.double_ml import Identification, Nuisance, double_ml
from pricing_assets.core.elasticity.fixed_effects import fixed_effects
from pricing_assets.core.elasticity.instrumental import cost_follows_price, instrumental
from pricing_assets.core.elasticity.raw_estimates import MethodName, RawEstimates
from pricing_assets.core.elasticity.regression_rows import (
    priced_only_at_sales,
    regression_rows,
)
from pricing_assets.core.elasticity.shared_effects import SharedFit
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
NOISY_SHARE = 0.5
MIN_PROMOTION_SHARE = 0.02
LABELS: dict[MethodName, str] = {
    "local_level_gls": "filter of slow demand, with a control for prices that followed it",
    "double_ml": "double machine learning, cross-fitted",
    "fixed_effects": "series and period effects",
    "instrumental": "two-stage least squares on cost",
}


@dataclass(frozen=True, slots=True)
class MethodChoice:
    """What was chosen, and why.

    Attributes:
        method: the estimator whose own slopes are pooled.
        reason: the rule's words.
        raw: its raw estimates; None for the default, whose fit the caller has.
    """

    method: MethodName
    reason: str
    raw: RawEstimates | None = None

    @property
    def shared_standard_error(self) -> float:
        """Error that all own slopes have in common; zero for the default."""
        return 0.0 if self.raw is None else self.raw.shared_standard_error

    def label(self, control: str) -> str:
        """Name of the whole path, for the table of elasticities; ``control`` is the default's."""
        path = f"+{control}" if self.method == "local_level_gls" else ""
        return f"{self.method}{path}+empirical_bayes"


@dataclass(frozen=True, slots=True)
class DataEvidence:
    """What the rule looks at.

    Attributes:
        transactions: prices are known only where something was sold.
        price_noise_share: share of the variance of price changes taken back a period later.
        promotion_share: share of usable cells with a promotion.
        cost_usable: a cost is known and not derived from the price.
    """

    transactions: bool
    price_noise_share: float
    promotion_share: float
    cost_usable: bool


def data_evidence(panel: Panel, design: PriceDesign, *, settings: PricingSettings) -> DataEvidence:
    """Read the rule's evidence off the data."""
    usable = max(int(design.usable.sum()), 1)
    transactions = priced_only_at_sales(design)
    cost = np.isfinite(panel.unit_cost).any() and not cost_follows_price(panel)
    return DataEvidence(
        transactions=transactions,
        price_noise_share=price_noise_share(design, transactions=transactions),
        promotion_share=float((panel.promo[design.usable] > 0).sum()) / usable,
        cost_usable=bool(cost and not settings.ingestion.cost_is_derived_from_price),
    )


def price_noise_share(design: PriceDesign, *, transactions: bool) -> float:
    """-2 cov(d_t, d_(t-1)) / var(d) of log price changes d between neighbouring cells.

    Zero for prices that stay where they are put, one for pure noise around a fixed price
    (noise e gives changes of variance 2 var(e) and autocovariance -var(e)).
    """
    seen = design.usable & (design.units > 0) if transactions else design.usable
    change = np.diff(np.where(seen, design.log_price, np.nan), axis=1)
    now, before = change[:, 1:], change[:, :-1]
    known = np.isfinite(now) & np.isfinite(before)
    variance = float(np.mean(now[known] ** 2)) if known.any() else 0.0
    if variance < 1e-12:
        return 0.0
    return float(np.clip(-2.0 * np.mean(now[known] * before[known]) / variance, 0.0, 1.0))


def choose_method(
    panel: Panel, design: PriceDesign, default: SharedFit, *, settings: PricingSettings
) -> MethodChoice:
    """Apply the rule of this module; ``default`` is the fit of ``local_level_gls``."""
    named, note = settings.elasticity.method, ""
    if named == "local_level_gls":
        return MethodChoice("local_level_gls", "named in the settings")
    evidence = data_evidence(panel, design, settings=settings)
    if named != "auto":
        raw = run_method(named, panel, design, evidence=evidence, settings=settings)
        if not raw.refused:
            return MethodChoice(named, "named in the settings", raw)
        note = f"{named} is named in the settings but refused: {raw.refused}; "
    if noisy_transactions(evidence):
        raw = run_method("double_ml", panel, design, evidence=evidence, settings=settings)
        if not raw.refused:
            share = f"{evidence.price_noise_share:.0%}"
            reason = f"prices are known only at sales and {share} of their moves are noise"
            return MethodChoice("double_ml", note + reason, raw)
        note += f"double_ml is refused: {raw.refused}; "
    if np.isfinite(default.slope).any():
        return MethodChoice("local_level_gls", note + "identified: the default")
    raw = run_method("fixed_effects", panel, design, evidence=evidence, settings=settings)
    if not raw.refused and raw.common_standard_error < settings.elasticity.prior_sd:
        reason = "no series says anything by itself, all together do"
        return MethodChoice("fixed_effects", note + reason, raw)
    return MethodChoice("local_level_gls", note + "nothing is identified: the prior stands")


def noisy_transactions(evidence: DataEvidence) -> bool:
    """Whether rule 2 holds."""
    return (
        evidence.transactions
        and not evidence.cost_usable
        and evidence.promotion_share < MIN_PROMOTION_SHARE
        and evidence.price_noise_share >= NOISY_SHARE
    )


def run_method(
    method: MethodName,
    panel: Panel,
    design: PriceDesign,
    *,
    evidence: DataEvidence,
    settings: PricingSettings,
) -> RawEstimates:
    """Run one estimator other than the default."""
    parameters = settings.elasticity
    block = max(parameters.block_days // panel.period_days, 2)
    noisy = noisy_transactions(evidence)
    lasting: Identification = "lasting_prices" if noisy else "innovations"
    all_cells = method == "double_ml" and noisy
    rows = regression_rows(
        design, block=block, transactions=evidence.transactions and not all_cells
    )

    def machine_learning() -> RawEstimates:
        return double_ml(
            design,
            rows,
            period_days=panel.period_days,
            identification=lasting,
            min_first_stage_f=parameters.min_first_stage_f,
            nuisance=Nuisance(seed=settings.seed, threads=settings.forecast.threads),
        )

    runs: dict[str, Callable[[], RawEstimates]] = {
        "fixed_effects": lambda: fixed_effects(rows),
        "double_ml": machine_learning,
        "instrumental": lambda: instrumental(
            panel,
            rows,
            min_first_stage_f=parameters.min_first_stage_f,
            cost_is_instrument=not settings.ingestion.cost_is_derived_from_price,
        ),
    }
    return runs[method]()


def with_choice(fit: SharedFit, choice: MethodChoice) -> SharedFit:
    """The default's fit with the own slopes of the chosen method in place of its own.

    The shared effects (promotion, rivals, substitutes) stay the default's. Drift over time is the
    default's finding on its own slopes; the error that the chosen slopes share takes its place.
    """
    if choice.raw is None:
        return fit
    return replace(
        fit,
        slope=choice.raw.slope,
        standard_error=choice.raw.standard_error,
        instability=np.full(len(fit.slope), choice.raw.shared_standard_error),
    )


def informed_prior(
    choice: MethodChoice, *, prior_mean: float, prior_sd: float
) -> tuple[float, float]:
    """Prior of the assortment's mean: the stated one, and the common slope where it stands alone.

    A common slope counts here only if no series has an own one, so that nothing counts twice.
    """
    raw = choice.raw
    if raw is None or np.isfinite(raw.slope).any():
        return prior_mean, prior_sd
    stated, found = prior_sd**-2.0, raw.common_standard_error**-2.0
    mean = (stated * prior_mean + found * raw.common) / (stated + found)
    return mean, float((stated + found) ** -0.5)
