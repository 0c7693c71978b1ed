"""Why this price, in words: one line a product, made of ``code: sentence`` joined by "; ".

Belongs here: sentences about a price that is already chosen. Nothing here changes a number. A
million rows are worded by column (``core.row_texts``), never row by row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_endings import CandidatePrices
from pricing_assets.core.price_rules import REFUSALS, Rule, sentence
from pricing_assets.core.row_rails import PublishedRails
from pricing_assets.core.row_texts import (
    Case,
    Indices,
    Sentence,
    code_texts,
    decimal_texts,
    few_texts,
    fixed_texts,
    joined,
    percent_texts,
    sentence_lines,
    spliced,
    whole_texts,
)
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
) -> pa.StringArray:
    """One line a product, the decision first, then the rules that shaped it, then cautions.

    Args:
        frame: n rows of curves and facts, for elasticity, rival price and current price.
        rows: what was chosen.
        inside: (n,) the chosen price is within the prices seen.
        outcome: expected results by column of the price table.
        settings: for the rules' figures.
    """
    noun = OBJECTIVE_NOUN[settings.objective]
    cautions = _cautions(frame, rows, inside, outcome, noun=noun)
    return joined(_decisions(frame, rows, outcome, settings), _rules(rows, settings), *cautions)


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
) -> pa.StringArray:
    stops = _stops(rows, settings)
    free = ~np.logical_or.reduce([where for where, _ in stops])
    same = rows.minor == rows.bounds.current
    cases = [Case.at(where, text) for where, text in stops]
    cases += _held(rows, free & same, settings=settings)
    moved = _moved(frame, rows, outcome, settings)
    cases.append(Case.at(free & ~same, moved))
    return sentence_lines(len(rows.minor), cases)


def _moved(
    frame: pd.DataFrame, rows: PricedRows, outcome: dict[str, Floats], settings: PricingSettings
) -> Sentence:
    """The sentence of prices that change."""
    noun, goals = OBJECTIVE_NOUN[settings.objective], _goals(settings)
    alone = f" {noun} by itself" if goals else ""
    mean, sd = (frame[f"elasticity_{name}"].to_numpy(float) for name in ("mean", "sd"))

    def say(part: Indices) -> pa.StringArray:
        up = (rows.minor[part] > rows.bounds.current[part]).astype(np.int64)
        shape = (mean[part] > -1).astype(np.int64)
        return spliced(
            code_texts(up, ("cut: demand is ", "raise: demand is ")),
            code_texts(shape, ("elastic (", "inelastic (")),
            fixed_texts(mean[part]),
            " ± ",
            fixed_texts(sd[part]),
            code_texts(up, ("), so a lower price", "), so a higher price")),
            f" is expected to bring more {noun}{goals}, with a ",
            percent_texts(outcome["p_worse"][part]),
            f" chance of less{alone}",
        )

    return say


def _stops(rows: PricedRows, settings: PricingSettings) -> list[tuple[Flags, str]]:
    """Why the search was not free: which rows (n,), and the sentence; no row twice."""
    outside = Rule.CURRENT_PRICE_OUTSIDE
    conditions = [rows.bounds.refusal == rule for rule in REFUSALS]
    conditions += [rows.cost_missing, ~rows.usable, ~rows.bounds.current_inside]
    texts = [f"{rule.code}: {sentence(rule, settings=settings)}" for rule in REFUSALS]
    texts += [
        "missing_cost: the unit cost is unknown, so profit cannot be weighed",
        "no_demand_curve: there is no valid demand curve with a falling demand",
        f"{outside.code}: {sentence(outside, settings=settings)}",
    ]
    first = np.select(conditions, list(range(len(texts))), len(texts))
    return [(first == place, text) for place, text in enumerate(texts)]


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


def _held(rows: PricedRows, held: Flags, *, settings: PricingSettings) -> list[Case]:
    """The sentences of the ``held`` rows (n,): proposed for a test, risky, small, or best."""
    noun, limit = OBJECTIVE_NOUN[settings.objective], settings.price_table.hold_above_p_worse
    least = settings.price_table.min_relative_uplift
    test, rises = held & tested(rows, settings), held & (rows.best_gain > 0)
    risky = rises & ~test & (rows.best_p_worse > limit)
    small, best = rises & ~test & ~risky, held & ~test & ~rises

    def price(part: Indices) -> pa.StringArray:
        return decimal_texts(rows.best_price[part], decimals=rows.bounds.exponent)

    def as_test(part: Indices) -> pa.StringArray:
        return spliced(
            "test: held, but ",
            price(part),
            " is worth an experiment: it is expected to bring ",
            percent_texts(rows.best_gain[part], decimals=1),
            f" more {noun}, with a ",
            percent_texts(rows.best_p_worse[part]),
            f" chance of less (allowed {limit:.0%} without one)",
        )

    def as_risk(part: Indices) -> pa.StringArray:
        return spliced(
            "hold_risk: held, as ",
            price(part),
            " has a ",
            percent_texts(rows.best_p_worse[part]),
            f" chance of less {noun} (allowed {limit:.0%}) and no other price is both safe and "
            "better",
        )

    few = f"hold_small_gain: held, as no safe price is expected to add {least:.1%} of {noun}"
    top = f"hold_best: held, as no other allowed price is expected to bring more {noun}"
    return [
        Case.at(test, as_test),
        Case.at(risky, as_risk),
        Case.at(small, few),
        Case.at(best, top),
    ]


def _rules(rows: PricedRows, settings: PricingSettings) -> pa.StringArray:
    """The guard rails that the chosen price leans on, in the rules' order; null for none."""
    bounds, found = rows.bounds, rows.found
    grid = found.prices[:, 1:]
    lowest, highest = grid.min(axis=1), grid.max(axis=1)
    up, down = rows.minor > bounds.current, rows.minor < bounds.current
    at_floor = (up | down) & (rows.minor == bounds.floor) | down & (rows.minor == lowest)
    at_ceiling = (up | down) & (rows.minor == bounds.ceiling) | up & (rows.minor == highest)
    hits = (
        bounds.conflict,
        np.where(at_floor, bounds.floor_rule, int(Rule.NONE)),
        np.where(at_ceiling, bounds.ceiling_rule, int(Rule.NONE)),
        np.where(found.ending_missed & (up | down), int(Rule.NO_PRICE_WITH_ENDING), 0),
        np.where(found.step_missed & (up | down), int(Rule.NO_PRICE_ON_STEP), 0),
        rows.published.tight,
        rows.published.relaxed,
    )
    text = {rule: f"{rule.code}: {sentence(rule, settings=settings)}" for rule in Rule}

    def say(*codes: int) -> str | None:
        named = dict.fromkeys(Rule(code) for code in codes if code != Rule.NONE)
        return "; ".join(text[rule] for rule in named) or None

    return few_texts(hits, say)


def _cautions(
    frame: pd.DataFrame,
    rows: PricedRows,
    inside: Flags,
    outcome: dict[str, Floats],
    *,
    noun: str,
) -> list[pa.StringArray]:
    """Substitutes, rivals, stock and extrapolation; null where there is nothing to say."""
    rival = frame["reference_rival_price"].to_numpy(float)
    current = frame["current_price"].to_numpy(float)
    gap = np.divide(rival, current, out=np.full(len(rival), np.nan), where=current > 0) - 1
    scale = outcome["expected_units" if noun == "units" else "expected_revenue"]

    def shared(part: Indices) -> pa.StringArray:
        gains = (rows.spillover[part] > 0).astype(np.int64)
        verb = code_texts(gains, (" lose ", " gain "))
        amount = pa.array([_amount(value) for value in rows.spillover[part]], pa.string())
        return spliced("substitutes: similar products", verb, amount, f" of {noun}")

    def near(part: Indices) -> pa.StringArray:
        side = code_texts((gap[part] > 0).astype(np.int64), (" cheaper", " dearer"))
        return spliced("rival: rivals are ", percent_texts(np.abs(gap[part])), side)

    def scarce(part: Indices) -> pa.StringArray:
        return spliced(
            "stock: ",
            whole_texts(rows.available[part]),
            " units are left and not replenished, ",
            whole_texts(outcome["expected_units"][part]),
            " are expected to sell",
        )

    limit = SPILLOVER_SHARE * np.nan_to_num(scale, nan=np.inf)
    cases: list[tuple[Flags, Sentence]] = [
        (np.abs(rows.spillover) > limit, shared),
        (np.isfinite(gap) & (np.abs(gap) >= RIVAL_GAP), near),
        (np.isfinite(rows.available), scarce),
        (~inside & rows.bounds.priceable, _UNSEEN),
    ]
    return [
        sentence_lines(len(frame), [Case.at(where, say)]) for where, say in cases if where.any()
    ]


_UNSEEN = "extrapolation: the price is outside the prices seen so far"


def _amount(value: float) -> str:
    """A size without sign: whole numbers from ten up, two digits below."""
    size = abs(value)
    return f"{size:,.0f}" if size >= 10 else f"{size:.2g}"
