"""The cells of a panel as rows for the regressions beside the default: outcome, price, controls.

Belongs here: which cells count, and on which scale. Counts without zeros and without empty
shelves go in as logarithms; others as the working response of ``linearised``, whose weights carry
the noise of small counts. Where the price is known only when something was sold, a cell without
a sale has no price of its own and is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.design import PriceDesign
from pricing_assets.core.elasticity.linearised import linearise_counts

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
MAX_ZERO_SHARE = 0.05
MAX_SOLD_OUT_SHARE = 0.01
MIN_UNPRICED_SHARE = 0.1
"""Share of usable cells without a sale from which a price known only at sales matters."""
MIN_EXPECTED_CHANGES = 5.0
CONTROLS = ("promo", "display", "feature", "rival")


@dataclass(frozen=True, slots=True)
class RegressionRows:
    """N cells in row-major order.

    Attributes:
        series, period: (N,) position in the panel.
        outcome: (N,) log units or working response.
        log_price: (N,) log of price over the current price.
        weight: (N,) one over the outcome's noise variance, up to scale.
        names: names of the controls.
        controls: (N, k).
        shape: (S, T) of the panel.
    """

    series: Integers
    period: Integers
    outcome: Floats
    log_price: Floats
    weight: Floats
    names: tuple[str, ...]
    controls: Floats
    shape: tuple[int, int]


def regression_rows(design: PriceDesign, *, block: int, transactions: bool) -> RegressionRows:
    """The rows of a design.

    Args:
        design: the panel's arrays.
        block: periods of the blocks around which counts are linearised.
        transactions: the price is known only where something was sold.
    """
    usable = design.usable
    count = max(int(usable.sum()), 1)
    zeros = float((design.units[usable] <= 0).sum()) / count
    emptied = float(design.sold_out.sum()) / count
    if transactions or (zeros <= MAX_ZERO_SHARE and emptied <= MAX_SOLD_OUT_SHARE):
        keep = usable & (design.units > 0)
        outcome, weight = np.log(np.maximum(design.units, 1e-12)), np.ones(usable.shape)
    else:
        linear = linearise_counts(design, block=block)
        keep = usable & np.isfinite(linear.outcome)
        outcome, weight = linear.outcome, 1.0 / linear.variance
    names = tuple(name for name in design.names if name in CONTROLS)
    chosen = [design.covariates[design.names.index(name)][keep] for name in names]
    series, period = np.nonzero(keep)
    return RegressionRows(
        series=series.astype(np.int64),
        period=period.astype(np.int64),
        outcome=outcome[keep],
        log_price=design.log_price[keep],
        weight=weight[keep],
        names=names,
        controls=np.stack(chosen, axis=1) if chosen else np.zeros((len(series), 0)),
        shape=(usable.shape[0], usable.shape[1]),
    )


def priced_only_at_sales(design: PriceDesign) -> bool:
    """Whether a cell's price is known only if something was sold (transaction data).

    Then no price ever changes in a cell without a sale, though many cells are without one; with
    recorded shelf prices, changes fall on such cells as on any other.
    """
    both = design.usable[:, 1:] & design.usable[:, :-1]
    changed = both & (np.abs(np.diff(design.log_price, axis=1)) > 1e-9)
    unsold = design.usable & (design.units <= 0)
    share = float(unsold.sum()) / max(int(design.usable.sum()), 1)
    if share < MIN_UNPRICED_SHARE or changed.sum() * share < MIN_EXPECTED_CHANGES:
        return False
    return bool((changed & unsold[:, 1:]).sum() < 1e-3 * changed.sum())
