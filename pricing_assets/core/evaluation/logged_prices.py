"""Logged prices with their sales and contexts: what off-policy evaluation reads.

Belongs here: the log itself, its making from a panel, and price spells. A context holds what was
known before the price: the demand level as forecast the day before, and the rivals' price. Cost is
left out on purpose: it moves prices and not demand, so that controlling for it would only take
overlap away. Promoted, censored and off-sale cells are no part of the log, because the policy
sets regular prices. Densities are ``core.evaluation.price_density``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.elasticity.design import group_index
from pricing_assets.core.forecast.levels import trace_levels, weekday
from pricing_assets.core.forecast.price_response import fit_price_response
from pricing_assets.core.panel import Panel, carry_forward

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]

CONTEXTS = ("demand_level", "rival_price")
SAME_PRICE = 1e-4
"""Log distance under which two prices are one price point."""
_WARM_UP_DAYS = 56
_RESPONSE_DAYS = 91


@dataclass(frozen=True, slots=True)
class Propensities:
    """How likely each logged price was, as the log itself carries it.

    Attributes:
        value: (S, T) probability of the held price where ``held``, else the density of the log
            price at the price drawn (the chance of not holding included).
        held: (S, T) the price is the point mass, not a draw of the density.
        held_step: (S,) where the point mass sits, log price against the present one; NaN none.
    """

    value: Floats
    held: Flags
    held_step: Floats


@dataclass(frozen=True, slots=True)
class LoggedPrices:
    """S series over T periods; cells that are not ``usable`` count nowhere.

    Attributes:
        units: (S, T) sold.
        base: (S, T) units expected for the period from the past alone, above zero.
        step: (S, T) log of the price over the present price of the series.
        usable: (S, T) cells of the log.
        context: (S, T, 2) :data:`CONTEXTS`, log deviations from the series' mean.
        control: (S, T) what of ``step`` the cost does not explain (a control function), for the
            outcome model alone; 0 where cost cannot serve.
        others: (S, T) mean ``step`` of the other products of the category and store.
        group: (S,) code of category and store.
        importance: (S,) weight of a series in the mean of the others.
        spell: (S, T) number of the price spell within the series, growing.
        block: (T,) code of the period's time block, from 0.
        level: (S,) units a period that values are stated at.
        level_cv: (S,) relative error of that level; 0 where it is known.
        logged: propensities, where the log carries them.
    """

    units: Floats
    base: Floats
    step: Floats
    usable: Flags
    context: Floats
    control: Floats
    others: Floats
    group: Integers
    importance: Floats
    spell: Integers
    block: Integers
    level: Floats
    level_cv: Floats
    logged: Propensities | None = None

    @property
    def blocks(self) -> int:
        """Number of time blocks."""
        return int(self.block.max()) + 1


def log_of_panel(
    panel: Panel, *, history_days: int, block_days: int, min_first_stage_f: float
) -> LoggedPrices:
    """The last ``history_days`` of a panel as a log, prices against each series' present one.

    The demand level of a period is what smoothing knew the period before; the price effect taken
    out of it is estimated on the periods before the log alone, where there are enough.
    """
    periods, days = panel.shape[1], panel.period_days
    warm = min(_WARM_UP_DAYS // days, periods // 2)
    start = max(periods - history_days // days, warm)
    level, index, level_now = _base(panel, start)
    known = _usable(panel)[:, start:]
    step = carry_forward(np.log(_positive(panel.price / panel.current_price()[:, None])))[:, start:]
    rival = np.log(_positive(panel.rival_price / panel.current_price()[:, None]))[:, start:]
    group = np.asarray(group_index(panel.series, "category", "store_id"), dtype=np.int64)
    importance = np.where(np.isfinite(level_now), level_now, 0.0)
    usable = known & np.isfinite(step) & (level > 0)
    clean = np.where(np.isfinite(step), step, 0.0)
    log_cost = np.log(_positive(panel.unit_cost))[:, start:]
    block = time_blocks(periods - start, length=max(1, block_days // days))
    control = cost_control(clean, log_cost, usable, min_first_stage_f=min_first_stage_f)
    return LoggedPrices(
        units=np.where(usable, np.nan_to_num(panel.units[:, start:]), 0.0),
        base=np.where(usable, level * index, 1.0),
        step=clean,
        usable=usable,
        context=np.stack([_deviation(np.log(level), usable), _deviation(rival, usable)], axis=2),
        control=control,
        others=others_mean(clean, group=group, importance=importance),
        group=group,
        importance=importance,
        spell=price_spells(clean, usable),
        block=block,
        level=level_now,
        level_cv=level_error(panel.units[:, start:], level * index, level, usable, block=block),
    )


def others_mean(step: Floats, *, group: Integers, importance: Floats) -> Floats:
    """Mean of ``step``, (S,) or (S, T), over the others of a group; 0 for one that is alone."""
    size = int(group.max()) + 1
    shape = (importance[:, None] if step.ndim == 2 else importance) * np.ones_like(step)
    total, weight = np.zeros((size, *step.shape[1:])), np.zeros((size, *step.shape[1:]))
    np.add.at(total, group, shape * step)
    np.add.at(weight, group, shape)
    rest = weight[group] - shape
    return np.asarray(np.where(rest > 0, (total[group] - shape * step) / np.maximum(rest, 1e-9), 0))


def cost_control(
    step: Floats, log_cost: Floats, usable: Flags, *, min_first_stage_f: float
) -> Floats:
    """What of the log price the log cost does not explain, (S, T); 0 where cost is too weak.

    The residual of a pooled first stage within series. Kept beside the price in the outcome model
    it stands for what else moved the price, unseen demand among it (control function; Petrin and
    Train 2010). Its F is robust to any dependence within a series.
    """
    seen = usable & np.isfinite(log_cost)
    if not seen.any():
        return np.zeros_like(step)
    cost, price = _deviation(log_cost, seen), _deviation(step, seen)
    power = float((cost**2).sum())
    slope = float((cost * price).sum()) / max(power, 1e-12)
    rest = np.where(seen, price - slope * cost, 0.0)
    noise = float(((cost * rest).sum(axis=1) ** 2).sum())
    strength = (slope * power) ** 2 / max(noise, 1e-12)
    return rest if power > 0 and strength >= min_first_stage_f else np.zeros_like(step)


def level_error(
    units: Floats, base: Floats, level: Floats, usable: Flags, *, block: Integers
) -> Floats:
    """Relative error of a level that must last a block, from the log's own blocks, (S,).

    Root mean square of the log of a block's units over what the level as of its first period
    gave, half of it the series' own and half that of all.
    """
    first = np.searchsorted(block, np.arange(block.max() + 1))[block]
    then = np.where(usable, base * level[:, first] / level, 0.0)
    sold = np.where(usable, units, 0.0)
    ratio = np.stack(
        [
            (sold[:, here].sum(axis=1) + 1.0) / (then[:, here].sum(axis=1) + 1.0)
            for here in (block == number for number in range(int(block.max()) + 1))
        ],
        axis=1,
    )
    own = (np.log(ratio) ** 2).mean(axis=1)
    return np.asarray(np.sqrt(0.5 * own + 0.5 * own.mean()))


def price_spells(step: Floats, usable: Flags) -> Integers:
    """Number of the run of equal prices that each cell is in, (S, T); unusable cells end none."""
    seen = carry_forward(np.where(usable, step, np.nan))
    moved = np.abs(np.diff(seen, axis=1, prepend=seen[:, :1])) > SAME_PRICE
    return np.cumsum(moved, axis=1, dtype=np.int64)


def time_blocks(periods: int, *, length: int) -> Integers:
    """Code of each period's block of ``length``, (T,); the last block ends with the log."""
    reverse = (np.arange(periods)[::-1]) // min(length, periods)
    return np.asarray(reverse.max() - reverse, dtype=np.int64)


def _base(panel: Panel, start: int) -> tuple[Floats, Floats, Floats]:
    """Demand level and weekday multiplier as of each period from ``start`` on, (S, T) each.

    The third is the level as of the end, (S,).
    """
    periods = panel.shape[1]
    enough = start * panel.period_days >= _RESPONSE_DAYS
    response = fit_price_response(panel.until(start)) if enough else None
    states = trace_levels(panel, range(start, periods + 1), response=response).states
    phase = weekday(panel.dates) if panel.grain == "day" else np.zeros(periods, np.int64)
    log = range(start, periods)
    level = np.stack([states[at].level for at in log], axis=1)
    index = np.stack([states[at].weekday_index[:, phase[at]] for at in log], axis=1)
    return level, index, states[periods].level


def _usable(panel: Panel) -> Flags:
    plain = panel.on_sale & ~panel.censored & (panel.promo <= 0)
    return np.asarray(plain & np.isfinite(panel.units) & (panel.price > 0))


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)


def _deviation(values: Floats, usable: Flags) -> Floats:
    """Values less their mean over the usable cells of the series; 0 where unknown."""
    seen = usable & np.isfinite(values)
    total = np.where(seen, values, 0.0).sum(axis=1)
    mean = total / np.maximum(seen.sum(axis=1), 1)
    return np.asarray(np.where(seen, values - mean[:, None], 0.0))
