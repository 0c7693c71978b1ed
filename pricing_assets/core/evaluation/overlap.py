"""Whether a log can speak of a policy: support, effective sample size, and the refusal.

Belongs here: diagnostics of importance weights. The days of one price spell are one draw of the
price, so that everything is counted in spells; counting days would promise many times the evidence
there is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.evaluation.logged_prices import SAME_PRICE, LoggedPrices
from pricing_assets.core.off_policy_parameters import OffPolicyParameters

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_SPELLS = 2
"""Price spells near a price before the log supports it."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """How far the log supports a policy.

    Attributes:
        overlap: share of the moved products' stake whose new and present prices are both
            supported; 1 where nothing moves.
        effective_sample_size: Kish's, of the moved and supported products' price spells,
            weighted by stake; infinite where nothing moves.
        max_weight: largest importance weight of a cell.
        max_weight_share: largest share of all weight on one price spell.
        moved: products whose price changes; supported: those of them that the log supports.
    """

    overlap: float
    effective_sample_size: float
    max_weight: float
    max_weight_share: float
    moved: int
    supported: int


def supported_rows(log: LoggedPrices, weights: Floats) -> Flags:
    """Series with :data:`LEAST_SPELLS` spells of positive weight, (S,); weights (S, T)."""
    return np.asarray((spell_weights(log, weights) > 0).sum(axis=1) >= LEAST_SPELLS)


def spell_weights(log: LoggedPrices, weights: Floats) -> Floats:
    """Base-weighted weight of each spell of each series, (S, spells)."""
    series = len(weights)
    width = int(log.spell.max()) + 1
    cell = np.arange(series)[:, None] * width + log.spell
    total = np.bincount(cell.ravel(), (weights * log.base).ravel(), minlength=series * width)
    return np.asarray(total.reshape(series, width))


def measure_overlap(
    log: LoggedPrices, *, target: Floats, stake: Floats, weights: Floats, supported: Flags
) -> Overlap:
    """Diagnostics of the constant log prices ``target``, (S,).

    Args:
        target: log of the new price over the present one.
        stake: (S,) what each series brings a period, currency units; not negative.
        weights: (S, T) importance weights for ``target``.
        supported: (S,) series whose new and present price the log supports.
    """
    moved = (np.abs(target) > SAME_PRICE) & (stake > 0)
    counted = moved & supported
    if not moved.any():
        return Overlap(1.0, float("inf"), 0.0, 0.0, 0, 0)
    spells = spell_weights(log, np.where(counted[:, None], weights, 0.0))
    total = spells.sum(axis=1, keepdims=True)
    shares = np.where(total > 0, spells / np.where(total > 0, total, 1.0), 0.0) * stake[:, None]
    mass, square = shares.sum(), (shares**2).sum()
    return Overlap(
        overlap=float(stake[counted].sum() / stake[moved].sum()),
        effective_sample_size=float(mass**2 / square) if square > 0 else 0.0,
        max_weight=float(weights[counted].max(initial=0.0)),
        max_weight_share=float(shares.max() / mass) if mass > 0 else 1.0,
        moved=int(moved.sum()),
        supported=int(counted.sum()),
    )


def refusal(found: Overlap, parameters: OffPolicyParameters) -> str:
    """Why no value may be given, with figure and threshold; empty where one may."""
    if found.moved == 0:
        return ""
    broken = []
    if found.overlap < parameters.min_overlap:
        broken.append(
            f"overlap {found.overlap:.2f} is below {parameters.min_overlap:g}: only "
            f"{found.supported} of {found.moved} moved products have logged prices near both "
            "their new and their present price"
        )
    if found.effective_sample_size < parameters.min_effective_spells:
        broken.append(
            f"effective sample size {found.effective_sample_size:.1f} price spells is below "
            f"{parameters.min_effective_spells:g}"
        )
    if found.max_weight_share > parameters.max_weight_share:
        broken.append(
            f"one price spell has {found.max_weight_share:.0%} of all weight, above "
            f"{parameters.max_weight_share:.0%}"
        )
    return "; ".join(broken)
