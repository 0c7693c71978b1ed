"""The batch breaker: what stops a whole price table although each of its prices is allowed.

Pure. Guard rails look at one price; accidents show in many: one figure typed over a whole shop, a
feed in cents, a rule that moves everything at once. Belongs here: the measures and their limits.
Reading the table before is ``serving.table_gate``; guard rails are ``core.guardrails``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.price_parameters import BatchBreakerParameters

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_ROUNDING = 1e-9
"""Relative difference of two prices below which they are one."""


@dataclass(frozen=True, slots=True)
class PriceMoves:
    """The prices of a new table and what they replace.

    Attributes:
        before: (n,) price in force of each priced row: the last table's, or the row's current
            price where that table has none; NaN unknown.
        after: (n,) the new price, same unit.
        rows_before: priced rows of the last table; 0 without one.
        rows_shared: rows of the new table that the last one also prices.
        currency_before, currency_after: ISO 4217; empty before the first table.
    """

    before: Floats
    after: Floats
    rows_before: int
    rows_shared: int
    currency_before: str
    currency_after: str


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a table: what was found and what is allowed.

    Attributes:
        name: stable name.
        value: what was measured; NaN where there is nothing to measure.
        threshold: the limit.
        tripped: the table is stopped.
        sentence: what was found, for a person.
    """

    name: str
    value: float
    threshold: float
    tripped: bool
    sentence: str


def breaker_measures(moves: PriceMoves, parameters: BatchBreakerParameters) -> tuple[Measure, ...]:
    """Every measure of a new price table; it is stopped where one has tripped.

    Args:
        moves: new prices and those in force.
        parameters: the limits.
    """
    known = np.isfinite(moves.before) & np.isfinite(moves.after)
    known &= (moves.before > 0) & (moves.after > 0)
    before, after = moves.before[known], moves.after[known]
    log_ratio = np.log(after / before)
    changed = np.abs(log_ratio) > _ROUNDING
    return (
        _currency(moves),
        _jumps(log_ratio, parameters),
        _convergence(before, after, changed, parameters),
        _mean_shift(log_ratio, parameters),
        _changed(changed, parameters),
        _kept(moves, parameters),
    )


def tripped(measures: Iterable[Measure]) -> tuple[str, ...]:
    """One sentence for each measure that stops the table."""
    return tuple(f"{one.name}: {one.sentence}" for one in measures if one.tripped)


def _currency(moves: PriceMoves) -> Measure:
    changed = moves.currency_before not in ("", moves.currency_after)
    return Measure(
        name="currency_change",
        value=float(changed),
        threshold=0.0,
        tripped=changed,
        sentence=f"the table goes from {moves.currency_before} to {moves.currency_after}",
    )


def _jumps(log_ratio: Floats, parameters: BatchBreakerParameters) -> Measure:
    largest = float(np.exp(np.abs(log_ratio).max(initial=0.0)))
    limit = parameters.max_jump_ratio
    over = int((np.abs(log_ratio) >= np.log(limit) - _ROUNDING).sum())
    return Measure(
        name="jump",
        value=largest,
        threshold=limit,
        tripped=over > 0,
        sentence=f"{over} price(s) move by a factor of {limit:g} or more, the largest by "
        f"{largest:.3g}",
    )


def _convergence(
    before: Floats, after: Floats, changed: Flags, parameters: BatchBreakerParameters
) -> Measure:
    """Different prices before that become one price, as a share of all different ones before.

    Prices before are counted once each, so that a product that many stores sell at one price, or
    a shelf of like prices, is no convergence.
    """
    origins = np.unique(before).size
    share, price = 0.0, float("nan")
    if changed.any() and origins >= parameters.min_converging_prices:
        targets, sources = np.unique(
            _distinct_targets(before[changed], after[changed]), return_counts=True
        )
        share = float(sources.max() / origins)
        price = float(targets[np.argmax(sources)])
    return Measure(
        name="convergence",
        value=share,
        threshold=parameters.max_converging_share,
        tripped=share > parameters.max_converging_share,
        sentence=f"{share:.0%} of {origins} different prices become the one price {price:g}",
    )


def _distinct_targets(before: Floats, after: Floats) -> Floats:
    """The price after of each different pair (before, after)."""
    order = np.lexsort((before, after))
    before, after = before[order], after[order]
    first = np.r_[True, (np.diff(before) != 0) | (np.diff(after) != 0)]
    return after[first]


def _mean_shift(log_ratio: Floats, parameters: BatchBreakerParameters) -> Measure:
    shift = float(np.expm1(log_ratio.mean())) if log_ratio.size else 0.0
    limit = parameters.max_mean_shift
    return Measure(
        name="mean_shift",
        value=shift,
        threshold=limit,
        tripped=abs(shift) > limit + _ROUNDING,
        sentence=f"the mean of {log_ratio.size} prices moves by {shift:+.1%} (allowed {limit:.0%})",
    )


def _changed(changed: Flags, parameters: BatchBreakerParameters) -> Measure:
    share = float(changed.mean()) if changed.size else 0.0
    limit = parameters.max_changed_share
    return Measure(
        name="changed_share",
        value=share,
        threshold=limit,
        tripped=share > limit,
        sentence=f"{share:.0%} of the prices change at once (allowed {limit:.0%})",
    )


def _kept(moves: PriceMoves, parameters: BatchBreakerParameters) -> Measure:
    rows = int(np.isfinite(moves.after).sum())
    share = rows / moves.rows_before if moves.rows_before else float("nan")
    same_catalogue = moves.rows_shared > 0
    return Measure(
        name="rows_kept",
        value=share,
        threshold=parameters.min_kept_share,
        tripped=same_catalogue and share < parameters.min_kept_share,
        sentence=f"{rows} rows have a price where the table before had {moves.rows_before}",
    )
