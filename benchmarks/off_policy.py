"""Off-policy evaluation against a market that knows its truth: does the interval cover it?

Four cases of many small simulated markets:

- ``randomised``: after the market's history, prices are drawn anew each week from a known policy
  (held with probability 0.3, else log-normal about the present price), and the log carries the
  propensities. The value is that of the logged weeks, their unseen demand as it came.
- ``history``: the market's own past, in which prices followed unseen demand. The new prices are
  ones that each product has had in the last year.
- ``trusted``: the same, with the contexts taken to explain all that moved prices
  (``confounding_sd: 0``); what it misses is what unseen demand did.
- ``far``: the same past, and every price raised by 25 %, where a refusal is right.

All other truths are ``Market.expected_profit`` over the horizon. ``tests/test_off_policy.py`` reads
this module too.

Run: ``OMP_NUM_THREADS=1 python -m benchmarks.off_policy --runs 100``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.evaluation.logged_prices import (
    LoggedPrices,
    Propensities,
    log_of_panel,
    others_mean,
    price_spells,
    time_blocks,
)
from pricing_assets.core.evaluation.off_policy import (
    Interval,
    OffPolicyEvaluation,
    evaluate_policy,
    price_policies,
)
from pricing_assets.core.evaluation.off_policy_draws import ESTIMATORS
from pricing_assets.core.features import build_panel
from pricing_assets.core.market import Market, MarketParameters, simulate_market
from pricing_assets.core.market_history import CATEGORY_SHOCK_SD, SHOCK_PERSISTENCE, SHOCK_SD
from pricing_assets.core.off_policy_parameters import OffPolicyParameters
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import UnitWorth

Floats = NDArray[np.float64]

WEEKS = 26
HOLD, PRICE_SD = 0.3, 0.1
HORIZON = 28


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run: what was said and what is true, profit a day."""

    said: OffPolicyEvaluation
    value: float
    difference: float


def randomised(
    seed: int,
    *,
    products: int = 48,
    weeks: int = WEEKS,
    parameters: OffPolicyParameters | None = None,
) -> Outcome:
    """A price experiment with logged propensities; ``parameters`` None are the defaults."""
    market = simulate_market(MarketParameters(products=products, days=180, seed=seed))
    rng = np.random.default_rng([seed, 1])
    growth = _growth(market, weeks)
    log, unseen = experiment(market, growth, rng=rng)
    shift = rng.normal(0.03, 0.08, products) * (rng.random(products) < 0.8)
    shift = np.clip(shift, -0.2, 0.2)
    said = _said(market, log, shift, days=7.0, rng=rng, parameters=parameters)
    price = market.current_price * np.exp(shift)
    week = _weekly_units(market, np.repeat(shift[:, None], weeks, axis=1), growth)
    value = ((price - market.unit_cost) @ (week * unseen)).sum() / (7 * weeks)
    return Outcome(said, float(value), _true_gain(market, price, horizon_days=7 * weeks))


def history(
    seed: int,
    *,
    products: int = 36,
    days: int = 620,
    parameters: OffPolicyParameters | None = None,
) -> Outcome:
    """The market's own past; new prices out of each product's own price range."""
    market, log, rng = _past(seed, products, days)
    seen = np.where(log.usable, log.step, np.nan)
    share = rng.uniform(0.2, 0.8, products)
    shift = np.array([np.nanquantile(row, at) for row, at in zip(seen, share, strict=True)])
    return _compare(market, log, shift, rng, parameters)


def trusted(seed: int) -> Outcome:
    """``history`` without allowance for unseen demand."""
    return history(seed, parameters=OffPolicyParameters(confounding_sd=0.0))


def far(seed: int, *, products: int = 36, days: int = 620) -> Outcome:
    """The market's own past, and prices a quarter above the present ones."""
    market, log, rng = _past(seed, products, days)
    shift = np.full(products, np.log(1.25))
    return _compare(market, log, shift, rng)


CASES: dict[str, Callable[[int], Outcome]] = {
    "randomised": randomised,
    "history": history,
    "trusted": trusted,
    "far": far,
}


def main() -> None:
    """Run every case and print its coverage table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(CASES))
    options = parser.parse_args()
    for case in options.cases:
        outcomes = [CASES[case](seed) for seed in range(1, options.runs + 1)]
        print(f"\n{case}: {options.runs} markets")
        print(table(outcomes))


def table(outcomes: list[Outcome]) -> str:
    """Coverage of 90 % intervals, bias and RMSE of each estimator over the runs not refused."""
    given = [row for row in outcomes if not row.said.refused]
    overlap = np.mean([row.said.overlap.overlap for row in outcomes])
    sample = np.median([row.said.overlap.effective_sample_size for row in outcomes])
    lines = [
        f"refused {len(outcomes) - len(given)} of {len(outcomes)}; mean overlap {overlap:.2f}, "
        f"median effective sample size {sample:.0f} price spells"
    ]
    if not given:
        return lines[0]
    scale = float(np.mean([abs(row.value) for row in given]))
    lines += [
        f"mean true profit {scale:.1f} a day; sd of the true difference "
        f"{np.std([row.difference for row in given]) / scale:.2%}; errors in % of the profit",
        f"{'':<20}{'value':>30}{'difference':>40}",
        f"{'estimator':<20}{'covers':>8}{'bias':>8}{'rmse':>8}{'width':>8}"
        f"{'covers':>16}{'bias':>8}{'rmse':>8}{'width':>8}",
    ]
    for name in ESTIMATORS:
        value = [(row.said.value[name], row.value) for row in given]
        gain = [(row.said.difference[name], row.difference) for row in given]
        cells = [_cells(pairs, scale) for pairs in (value, gain)]
        lines.append(f"{name:<20}{cells[0]}{'':>8}{cells[1]}")
    return "\n".join(lines)


def covers(outcome: Outcome, name: str) -> tuple[bool, bool]:
    """Whether the intervals of the value and of the difference hold the truth."""
    value, gain = outcome.said.value[name], outcome.said.difference[name]
    return (
        value.low_90 <= outcome.value <= value.high_90,
        gain.low_90 <= outcome.difference <= gain.high_90,
    )


def experiment(
    market: Market, growth: Floats, *, rng: np.random.Generator
) -> tuple[LoggedPrices, Floats]:
    """A log of weekly random prices with their propensities, and its unseen demand.

    Demand is the market's own at these prices, grown by (n, weeks), times unseen demand that goes
    on from today as an AR(1) of mean one, with negative-binomial noise.
    """
    rows, weeks = growth.shape
    held = rng.random((rows, weeks)) < HOLD
    draw = rng.normal(0, PRICE_SD, (rows, weeks))
    step = np.where(held, 0.0, draw)
    density = np.exp(-0.5 * (draw / PRICE_SD) ** 2) / (PRICE_SD * np.sqrt(2 * np.pi))
    expected = _weekly_units(market, step, growth)
    size = 7 * market.traits.noise[:, None]
    unseen = _unseen(market, weeks, rng)
    mean = expected * unseen
    units = rng.poisson(mean * rng.gamma(size, 1 / size, mean.shape)).astype(float)
    base = np.maximum(market.history.units.sum(axis=0)[:, -56:].mean(axis=1) * 7, 0.1)
    group = market.rows["block"].to_numpy(dtype=np.int64)
    log = LoggedPrices(
        units=units,
        base=np.repeat(base[:, None], weeks, axis=1),
        step=step,
        usable=np.ones((rows, weeks), dtype=bool),
        context=np.zeros((rows, weeks, 2)),
        control=np.zeros((rows, weeks)),
        others=others_mean(step, group=group, importance=base),
        group=group,
        importance=base,
        spell=price_spells(step, np.ones((rows, weeks), dtype=bool)),
        block=time_blocks(weeks, length=2),
        level=base,
        level_cv=np.zeros(rows),
        logged=Propensities(np.where(held, HOLD, (1 - HOLD) * density), held, np.zeros(rows)),
    )
    return log, unseen


def _weekly_units(market: Market, step: Floats, growth: Floats) -> Floats:
    """Expected units of each week at that week's log prices over the present ones, (n, weeks).

    A rival has a week to answer a week's price, as in the market's own past.
    """
    price = market.current_price[:, None] * np.exp(step)
    return np.asarray(market.expected_units(price.T, horizon_days=7).T * growth)


def _growth(market: Market, weeks: int) -> Floats:
    """Expected units of each week over the first one's at the present prices, (n, weeks)."""
    now, fortnights = market.current_price, -(-weeks // 2)
    until = [market.expected_units(now, horizon_days=14 * at) for at in range(1, fortnights + 1)]
    grown = np.diff(np.stack(until, axis=1), axis=1, prepend=0.0) / 2
    first = market.expected_units(now, horizon_days=7)[:, None]
    return np.repeat(grown / first, 2, axis=1)[:, :weeks]


def _unseen(market: Market, weeks: int, rng: np.random.Generator) -> Floats:
    """Unseen demand over what today's lets expect, mean one, (n, weeks)."""
    keep = SHOCK_PERSISTENCE**7
    category = market.traits.category
    path = np.zeros((len(category), weeks + 1))
    for week in range(1, weeks + 1):
        own = rng.normal(0, SHOCK_SD, len(category))
        shared = rng.normal(0, CATEGORY_SHOCK_SD, int(category.max()) + 1)[category]
        path[:, week] = keep * path[:, week - 1] + np.sqrt(1 - keep**2) * (own + shared)
    variance = (SHOCK_SD**2 + CATEGORY_SHOCK_SD**2) * (1 - keep ** (2 * np.arange(weeks + 1)))
    return np.asarray(np.exp(path - variance / 2)[:, 1:])


def _past(seed: int, products: int, days: int) -> tuple[Market, LoggedPrices, np.random.Generator]:
    market = simulate_market(MarketParameters(products=products, days=days, seed=seed))
    panel = build_panel(market.raw_tables(), PricingSettings())
    chosen = OffPolicyParameters()
    log = log_of_panel(
        panel,
        history_days=chosen.history_days,
        block_days=chosen.block_days,
        min_first_stage_f=PricingSettings().elasticity.min_first_stage_f,
    )
    return market, log, np.random.default_rng([seed, 2])


def _compare(
    market: Market,
    log: LoggedPrices,
    shift: Floats,
    rng: np.random.Generator,
    parameters: OffPolicyParameters | None = None,
) -> Outcome:
    """Evaluate on the market's past, and look the truth of the next weeks up."""
    price = market.current_price * np.exp(shift)
    value = market.expected_profit(price, horizon_days=HORIZON).sum() / HORIZON
    said = _said(market, log, shift, days=1.0, rng=rng, parameters=parameters)
    return Outcome(said, float(value), _true_gain(market, price, horizon_days=HORIZON))


def _said(
    market: Market,
    log: LoggedPrices,
    shift: Floats,
    *,
    days: float,
    rng: np.random.Generator,
    parameters: OffPolicyParameters | None = None,
) -> OffPolicyEvaluation:
    """The evaluation in currency units a day; a period of the log has ``days``."""
    now = market.current_price
    worth = UnitWorth(np.ones(len(now)), market.unit_cost)
    new, present = price_policies(present_price=now, new_price=now * np.exp(shift), worth=worth)
    return evaluate_policy(
        replace(log, level=log.level / days),
        new=new,
        present=present,
        parameters=parameters or OffPolicyParameters(),
        rng=rng,
    )


def _true_gain(market: Market, price: Floats, *, horizon_days: int) -> float:
    """Expected profit a day at ``price`` over that at the present prices."""
    both = (
        market.expected_profit(at, horizon_days=horizon_days).sum()
        for at in (price, market.current_price)
    )
    new, present = both
    return float(new - present) / horizon_days


def _cells(pairs: list[tuple[Interval, float]], scale: float) -> str:
    rows = np.array([(said.value, said.low_90, said.high_90, true) for said, true in pairs])
    covered = np.mean((rows[:, 1] <= rows[:, 3]) & (rows[:, 3] <= rows[:, 2]))
    error = (rows[:, 0] - rows[:, 3]) / scale
    width = (rows[:, 2] - rows[:, 1]).mean() / scale
    return f"{covered:>8.0%}{error.mean():>8.2%}{np.sqrt((error**2).mean()):>8.2%}{width:>8.2%}"


if __name__ == "__main__":
    main()
