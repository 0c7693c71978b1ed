"""Why this price, in words: one line a product, made of ``code: sentence`` joined by "; ".

Belongs here: sentences about a price that is already chosen. Nothing here changes a number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_endings import CandidatePrices
from pricing_assets.core.price_rules import REFUSALS, Rule, sentence
from pricing_assets.core.row_rails import PublishedRails
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]
Flags = NDArray[np.bool_]

RIVAL_GAP = 0.02
"""Relative gap to the rival's price from which it is named."""

SPILLOVER_SHARE = 0.005
"""Share of a product's own revenue from which what substitutes gain or lose is named."""

OBJECTIVE_NOUN = {
    "profit": "profit",
    "revenue": "revenue",
    "market_share": "units",
    "weighted": "weighted value",
    "sell_through": "revenue with salvage",
}


@dataclass(frozen=True, slots=True)
class PricedRows:
    """The state of n chosen prices that their reasons need; arrays (n,).

    Attributes:
        minor: chosen price, minor units.
        bounds, found: its guard rails and the prices that were searched.
        published: rails that hold for every request, and the rules between products behind them.
        usable: the demand curve is valid.
        cost_missing: the objective needs a unit cost and there is none.
        available: units that can be sold, infinite where replenished.
        best_price, best_p_worse, best_gain: the best price if risk did not matter.
        spillover: what substitutes gain of the objective by leaving the current price.
    """

    minor: Minors
    bounds: PriceBounds
    found: CandidatePrices
    published: PublishedRails
    usable: Flags
    cost_missing: Flags
    available: Floats
    best_price: Floats
    best_p_worse: Floats
    best_gain: Floats
    spillover: Floats


def reasons(
    frame: pd.DataFrame,
    *,
    rows: PricedRows,
    inside: Flags,
    outcome: dict[str, Floats],
    settings: PricingSettings,
) -> list[str]:
    """One line a product, the decision first, then the rules that shaped it, then cautions.

    Args:
        frame: n rows of curves and facts, for elasticity, rival price and current price.
        rows: what was chosen.
        inside: (n,) the chosen price is within the prices seen.
        outcome: expected results by column of the price table.
        settings: for the rules' figures.
    """
    parts = [
        _decisions(frame, rows, outcome, settings),
        _rules(rows, settings),
        _cautions(frame, rows, inside, outcome, noun=OBJECTIVE_NOUN[settings.objective]),
    ]
    return ["; ".join(part for part in row if part) for row in zip(*parts, strict=True)]


def rule_counts(lines: pd.Series) -> pd.DataFrame:
    """How many rows each rule shaped, most first: columns rule (its code), rows.

    Args:
        lines: the ``reasons`` of a price table.
    """
    codes = {rule.code for rule in Rule if rule != Rule.NONE}
    named = lines.astype(str).str.split("; ").explode().str.split(":").str[0]
    counts = named[named.isin(codes)].value_counts()
    return pd.DataFrame({"rule": counts.index.astype(str), "rows": counts.to_numpy()})


def _decisions(
    frame: pd.DataFrame, rows: PricedRows, outcome: dict[str, Floats], settings: PricingSettings
) -> list[str]:
    noun = OBJECTIVE_NOUN[settings.objective]
    mean = frame["elasticity_mean"].to_numpy(float)
    sd = frame["elasticity_sd"].to_numpy(float)
    stops, tests = _stops(rows, settings), tested(rows, settings)
    goals = _goals(settings)
    alone = f" {noun} by itself" if goals else ""
    lines = []
    for row in range(len(frame)):
        if stops[row]:
            lines.append(stops[row])
        elif rows.minor[row] == rows.bounds.current[row]:
            lines.append(_held(rows, row, noun=noun, test=bool(tests[row]), settings=settings))
        else:
            up = rows.minor[row] > rows.bounds.current[row]
            shape = "inelastic" if mean[row] > -1 else "elastic"
            lines.append(
                f"{'raise' if up else 'cut'}: demand is {shape} ({mean[row]:.1f} ± {sd[row]:.1f}), "
                f"so a {'higher' if up else 'lower'} price is expected to bring more {noun}{goals}"
                f", with a {outcome['p_worse'][row]:.0%} chance of less{alone}"
            )
    return lines


def _stops(rows: PricedRows, settings: PricingSettings) -> list[str]:
    """Why the search was not free, for each row; empty where it was."""
    outside = Rule.CURRENT_PRICE_OUTSIDE
    conditions = [rows.bounds.refusal == rule for rule in REFUSALS]
    conditions += [rows.cost_missing, ~rows.usable, ~rows.bounds.current_inside]
    texts = [f"{rule.code}: {sentence(rule, settings=settings)}" for rule in REFUSALS]
    texts += [
        "missing_cost: the unit cost is unknown, so profit cannot be weighed",
        "no_demand_curve: there is no valid demand curve with a falling demand",
        f"{outside.code}: {sentence(outside, settings=settings)}",
    ]
    return list(np.select(conditions, texts, ""))


def _goals(settings: PricingSettings) -> str:
    """Which goals of the catalogue count beside the objective; empty where none does."""
    times = settings.multipliers.model_dump()
    counted = [f"{goal} at {value:.3g}" for goal, value in times.items() if value > 0]
    return f" counted with the catalogue's goals ({', '.join(counted)})" if counted else ""


def tested(rows: PricedRows, settings: PricingSettings) -> Flags:
    """(n,) which rows are proposed for an experiment: worth learning about, too risky to change.

    The price is held for its risk alone, the best price is expected to gain ``test_min_gain`` of
    what the product brings, and it brings less with a probability of at most
    ``test_up_to_p_worse``: an experiment can then turn into a change, whose gain is expected to be
    positive, while a held price never learns.
    """
    parameters = settings.price_table
    gain, worse = np.nan_to_num(rows.best_gain), rows.best_p_worse
    worth_it = gain > max(parameters.test_min_gain, parameters.min_relative_uplift)
    risky = (worse > parameters.hold_above_p_worse) & (worse <= parameters.test_up_to_p_worse)
    held = (rows.minor == rows.bounds.current) & rows.bounds.priceable
    free = rows.usable & ~rows.cost_missing & rows.bounds.current_inside
    return np.asarray(parameters.test_when_uncertain & worth_it & risky & held & free)


def _held(rows: PricedRows, row: int, *, noun: str, test: bool, settings: PricingSettings) -> str:
    limit = settings.price_table.hold_above_p_worse
    worse, best = rows.best_p_worse[row], rows.best_price[row]
    decimals = rows.bounds.exponent
    if test:
        return (
            f"test: held, but {best:.{decimals}f} is worth an experiment: it is expected to bring "
            f"{rows.best_gain[row]:.1%} more {noun}, with a {worse:.0%} chance of less (allowed "
            f"{limit:.0%} without one)"
        )
    if rows.best_gain[row] > 0 and worse > limit:
        return (
            f"hold_risk: held, as {best:.{decimals}f} has a {worse:.0%} chance of less {noun} "
            f"(allowed {limit:.0%}) and no other price is both safe and better"
        )
    if rows.best_gain[row] > 0:
        return (
            f"hold_small_gain: held, as no safe price is expected to add "
            f"{settings.price_table.min_relative_uplift:.1%} of {noun}"
        )
    return f"hold_best: held, as no other allowed price is expected to bring more {noun}"


def _rules(rows: PricedRows, settings: PricingSettings) -> list[str]:
    """The guard rails that the chosen price leans on, in the rules' order."""
    text = {rule: f"{rule.code}: {sentence(rule, settings=settings)}" for rule in Rule}
    bounds = rows.bounds
    grid = rows.found.prices[:, 1:]
    lowest, highest = grid.min(axis=1), grid.max(axis=1)
    up, down = rows.minor > bounds.current, rows.minor < bounds.current
    at_floor = (up | down) & (rows.minor == bounds.floor) | down & (rows.minor == lowest)
    at_ceiling = (up | down) & (rows.minor == bounds.ceiling) | up & (rows.minor == highest)
    lines = []
    for row in range(len(rows.minor)):
        hit = [Rule(int(bounds.conflict[row]))]
        hit.append(Rule(int(bounds.floor_rule[row])) if at_floor[row] else Rule.NONE)
        hit.append(Rule(int(bounds.ceiling_rule[row])) if at_ceiling[row] else Rule.NONE)
        missed = rows.found.ending_missed[row] and bool(up[row] | down[row])
        hit.append(Rule.NO_PRICE_WITH_ENDING if missed else Rule.NONE)
        missed = rows.found.step_missed[row] and bool(up[row] | down[row])
        hit.append(Rule.NO_PRICE_ON_STEP if missed else Rule.NONE)
        hit += [Rule(int(rows.published.tight[row])), Rule(int(rows.published.relaxed[row]))]
        lines.append("; ".join(text[rule] for rule in dict.fromkeys(hit) if rule != Rule.NONE))
    return lines


def _cautions(
    frame: pd.DataFrame,
    rows: PricedRows,
    inside: Flags,
    outcome: dict[str, Floats],
    *,
    noun: str,
) -> list[str]:
    rival = frame["reference_rival_price"].to_numpy(float)
    current = frame["current_price"].to_numpy(float)
    gap = np.divide(rival, current, out=np.full(len(rival), np.nan), where=current > 0) - 1
    near = np.isfinite(gap) & (np.abs(gap) >= RIVAL_GAP)
    outside = ~inside & rows.bounds.priceable
    scarce = np.isfinite(rows.available)
    scale = outcome["expected_units" if noun == "units" else "expected_revenue"]
    shared = np.abs(rows.spillover) > SPILLOVER_SHARE * np.nan_to_num(scale, nan=np.inf)
    lines = []
    for row in range(len(frame)):
        parts = []
        if shared[row]:
            verb = "gain" if rows.spillover[row] > 0 else "lose"
            parts.append(
                f"substitutes: similar products {verb} {_amount(rows.spillover[row])} of {noun}"
            )
        if near[row]:
            side = "dearer" if gap[row] > 0 else "cheaper"
            parts.append(f"rival: rivals are {abs(gap[row]):.0%} {side}")
        if scarce[row]:
            parts.append(
                f"stock: {rows.available[row]:.0f} units are left and not replenished, "
                f"{outcome['expected_units'][row]:.0f} are expected to sell"
            )
        if outside[row]:
            parts.append("extrapolation: the price is outside the prices seen so far")
        lines.append("; ".join(parts))
    return lines


def _amount(value: float) -> str:
    """A size without sign: whole numbers from ten up, two digits below."""
    size = abs(value)
    return f"{size:,.0f}" if size >= 10 else f"{size:.2g}"
