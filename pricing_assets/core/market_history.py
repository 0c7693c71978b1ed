"""The past of a simulated market: unseen demand, costs, rivals, price setting, stock, sales.

Prices follow unseen demand (that is what makes history misleading), costs, rivals and promotions
timed with the season. Sales are negative-binomial and cut by the shelf.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.market_demand import DemandStructure, Floats

SHOCK_PERSISTENCE = 0.985
SHOCK_SD = 0.22
CATEGORY_SHOCK_SD = 0.1
PROMOTION_LIFT, DISPLAY_LIFT, FEATURE_LIFT = 0.12, 0.22, 0.15
HOLIDAYS = ((1, 1), (2, 14), (5, 1), (7, 4), (10, 31), (11, 25), (12, 24), (12, 25))
"""Month and day of each holiday."""


@dataclass(frozen=True, slots=True)
class RowTraits:
    """Constants of each row, (n,) unless stated.

    Attributes:
        start_cost, base_price: currency units.
        level: mean daily units at the base price.
        weekday: (n, 7) multipliers, Monday first, mean one.
        season_amplitude, season_phase: of the yearly sine, log scale, radians.
        holiday_lift: log lift on and before a holiday.
        trend: log change of demand a day.
        pass_through: of log cost into log price.
        rival_following: of the rival's log price into ours.
        rival_reaction: of our log price into the rival's.
        review_days: days between price reviews.
        first_day: first day on sale.
        noise: negative-binomial size; smaller is noisier.
        category: category index.
    """

    start_cost: Floats
    base_price: Floats
    level: Floats
    weekday: Floats
    season_amplitude: Floats
    season_phase: Floats
    holiday_lift: Floats
    trend: Floats
    pass_through: Floats
    rival_following: Floats
    rival_reaction: Floats
    review_days: NDArray[np.int64]
    first_day: NDArray[np.int64]
    noise: Floats
    category: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class MarketHistory:
    """Everything that happened, (n, T) unless stated.

    Attributes:
        dates: (T,) datetime64[D].
        unit_cost, regular_price, price: currency units.
        rival_level: mean log-price of the rivals, as a price; rival_price (2, n, T) as seen.
        promo, display, feature: 0/1.
        shock: unseen log demand; drift: multiplier of the price sensitivity.
        units: (g, n, T) sold by segment; on_hand: stock at opening.
    """

    dates: NDArray[np.datetime64]
    unit_cost: Floats
    regular_price: Floats
    price: Floats
    rival_level: Floats
    rival_price: Floats
    promo: Floats
    display: Floats
    feature: Floats
    shock: Floats
    drift: Floats
    units: Floats
    on_hand: Floats

    def expected_shock(self, steps: NDArray[np.int64]) -> Floats:
        """E exp(shock) ``steps`` days after the last one, given the last one, (n, len(steps))."""
        decay = SHOCK_PERSISTENCE**steps
        variance = (SHOCK_SD**2 + CATEGORY_SHOCK_SD**2) * (1 - decay**2)
        return np.asarray(np.exp(self.shock[:, -1:] * decay + 0.5 * variance))


def is_holiday(dates: NDArray[np.datetime64]) -> NDArray[np.bool_]:
    """Which dates are holidays, (T,)."""
    month = dates.astype("datetime64[M]").astype(int) % 12 + 1
    day = (dates - dates.astype("datetime64[M]")).astype(int) + 1
    flags = [(month == when[0]) & (day == when[1]) for when in HOLIDAYS]
    return np.asarray(np.any(flags, axis=0))


def near_holiday(dates: NDArray[np.datetime64]) -> Floats:
    """1 on a holiday, falling to 0 over the five days before it, (T,)."""
    offsets = np.arange(6)
    ahead = np.stack([is_holiday(dates + offset) for offset in offsets])
    return np.asarray((ahead * (1 - offsets / 6)[:, None]).max(axis=0))


def season_scale(traits: RowTraits, dates: NDArray[np.datetime64]) -> Floats:
    """Demand level by row and date from level, weekday, year, holiday and trend, (n, T)."""
    weekday = (dates.astype("datetime64[D]").astype(int) + 3) % 7
    year_day = (dates - dates.astype("datetime64[Y]")).astype(int)
    angle = 2 * np.pi * year_day / 365.25 + traits.season_phase[:, None]
    elapsed = (dates - np.datetime64("2024-01-01")).astype(int)
    log_scale = (
        traits.season_amplitude[:, None] * np.sin(angle)
        + traits.holiday_lift[:, None] * near_holiday(dates)
        + np.clip(traits.trend[:, None] * elapsed, -1.0, 1.0)
    )
    return np.asarray(traits.level[:, None] * traits.weekday[:, weekday] * np.exp(log_scale))


def simulate_history(
    *,
    structure: DemandStructure,
    traits: RowTraits,
    days: int,
    start: np.datetime64,
    endogeneity: float,
    rng: np.random.Generator,
) -> MarketHistory:
    """Live through ``days`` days: shocks and costs first, then prices, then sales."""
    n = len(traits.level)
    dates = start + np.arange(days)
    shock = _unseen_demand(traits.category, days, rng)
    drift = np.exp(_random_walk(n, days, 0.08, rng))
    cost = traits.start_cost[:, None] * np.exp(_cost_path(n, days, rng))
    rival_own = _random_walk(n, days, 0.08, rng) + _rival_promotions(n, days, rng)
    prices = _set_prices(traits, cost, shock, rival_own, endogeneity, dates, rng)
    seen = np.exp(rng.normal(0, 0.02, (2, n, 1)) + rng.normal(0, 0.01, (2, n, days)))
    lift = (
        PROMOTION_LIFT * prices.promo
        + DISPLAY_LIFT * prices.display
        + FEATURE_LIFT * prices.feature
    )
    scale = season_scale(traits, dates) * np.exp(shock + lift)
    demand = scale * np.moveaxis(
        structure.segment_response(price=prices.price.T, rival=prices.rival.T, drift=drift.T), 1, 2
    )
    demand *= structure.segment_share[:, None, None]
    units, on_hand = _sell(demand, traits, rng)
    return MarketHistory(
        dates=dates,
        unit_cost=cost,
        regular_price=prices.regular,
        price=prices.price,
        rival_level=prices.rival,
        rival_price=prices.rival * seen,
        promo=prices.promo,
        display=prices.display,
        feature=prices.feature,
        shock=shock,
        drift=drift,
        units=units,
        on_hand=on_hand,
    )


@dataclass(frozen=True, slots=True)
class _Prices:
    regular: Floats
    price: Floats
    rival: Floats
    promo: Floats
    display: Floats
    feature: Floats


def _set_prices(
    traits: RowTraits,
    cost: Floats,
    shock: Floats,
    rival_own: Floats,
    endogeneity: float,
    dates: NDArray[np.datetime64],
    rng: np.random.Generator,
) -> _Prices:
    n, days = cost.shape
    depth, display, feature = _promotions(n, near_holiday(dates + 7), rng)
    log_base = np.log(traits.base_price)
    log_regular = np.empty((n, days))
    log_rival = np.empty((n, days))
    now, rival_answer = log_base.copy(), np.zeros(n)
    phase = rng.integers(0, 21, n)
    for day in range(days):
        rival_answer += (traits.rival_reaction * (now - log_base) - rival_answer) / 10.0
        log_rival[:, day] = log_base + rival_own[:, day] + rival_answer
        belief = shock[:, max(day - 7, 0) : day + 1].mean(axis=1)
        target = (
            log_base
            + traits.pass_through * np.log(cost[:, day] / traits.start_cost)
            + endogeneity * (belief + rng.normal(0, 0.05, n))
            + traits.rival_following * (log_rival[:, day] - log_base)
            + rng.normal(0, 0.05, n)
        )
        review = (day + phase) % traits.review_days == 0
        moved = review & (np.abs(target - now) > 0.015)
        now = np.where(moved, np.log(_charm(np.exp(target))), now)
        log_regular[:, day] = now
    regular = np.exp(log_regular)
    price = np.where(depth > 0, _charm(regular * (1 - depth)), regular)
    promo = (depth > 0).astype(float)
    return _Prices(regular, price, np.exp(log_rival), promo, display, feature)


def _charm(price: Floats) -> Floats:
    """The nearest price that ends in 9 minor units."""
    return np.asarray(np.maximum(np.round((price * 100 - 9) / 10) * 10 + 9, 9) / 100)


def _promotions(
    n: int, holiday_ahead: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats, Floats]:
    """Depth, display and feature by row and day, each (n, T): a week at a time."""
    days = len(holiday_ahead)
    depth, display, feature = (np.zeros((n, days)) for _ in range(3))
    rate = rng.uniform(0.0, 0.14, n)
    for week in range(0, days, 7):
        chance = rate * (1.0 + 2.0 * holiday_ahead[week])
        on = rng.random(n) < chance
        cut = np.where(on, rng.choice([0.1, 0.15, 0.2, 0.25, 0.3], n), 0.0)
        depth[:, week : week + 7] = cut[:, None]
        display[:, week : week + 7] = (on & (rng.random(n) < 0.5))[:, None]
        feature[:, week : week + 7] = (on & (rng.random(n) < 0.4))[:, None]
    return depth, display, feature


def _unseen_demand(category: NDArray[np.int64], days: int, rng: np.random.Generator) -> Floats:
    own = _autoregressive(len(category), days, SHOCK_SD, rng)
    shared = _autoregressive(int(category.max()) + 1, days, CATEGORY_SHOCK_SD, rng)
    return np.asarray(own + shared[category])


def _autoregressive(n: int, days: int, sd: float, rng: np.random.Generator) -> Floats:
    values = np.empty((n, days))
    values[:, 0] = rng.normal(0, sd, n)
    innovation = sd * np.sqrt(1 - SHOCK_PERSISTENCE**2)
    for day in range(1, days):
        values[:, day] = SHOCK_PERSISTENCE * values[:, day - 1] + rng.normal(0, innovation, n)
    return values


def _random_walk(n: int, days: int, yearly_sd: float, rng: np.random.Generator) -> Floats:
    return np.cumsum(rng.normal(0, yearly_sd / np.sqrt(365.0), (n, days)), axis=1)


def _cost_path(n: int, days: int, rng: np.random.Generator) -> Floats:
    """Log cost in steps: about one change in six weeks, sd 6 %."""
    jump = (rng.random((n, days)) < 1 / 42.0) * rng.normal(0.002, 0.06, (n, days))
    jump[:, 0] = 0.0
    return np.cumsum(jump, axis=1)


def _rival_promotions(n: int, days: int, rng: np.random.Generator) -> Floats:
    weeks = -(-days // 7)
    cut = (rng.random((n, weeks)) < 0.08) * rng.uniform(-0.25, -0.08, (n, weeks))
    return np.repeat(cut, 7, axis=1)[:, :days]


def _sell(demand: Floats, traits: RowTraits, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Units by segment, (g, n, T), and stock at opening, (n, T), under an order-up-to rule."""
    _, n, days = demand.shape
    units, on_hand = np.zeros(demand.shape), np.zeros((n, days))
    forecast = np.maximum(demand[:, :, :7].sum(axis=0).mean(axis=1), 0.05)
    lead, cover = rng.integers(2, 8, n), rng.uniform(7, 18, n)
    stock = np.ceil(forecast * (lead + cover))
    arriving = np.zeros((n, days + 16))
    for day in range(days):
        live = day >= traits.first_day
        stock = stock + arriving[:, day]
        on_hand[:, day] = stock
        mean = np.where(live, demand[:, :, day], 0.0)
        wanted = rng.poisson(mean * rng.gamma(traits.noise, 1 / traits.noise))
        sold = _cut_by_stock(wanted.astype(float), stock)
        units[:, :, day] = sold
        stock = stock - sold.sum(axis=0)
        forecast = np.where(live, 0.93 * forecast + 0.07 * sold.sum(axis=0), forecast)
        pipeline = arriving[:, day + 1 :].sum(axis=1)
        short = stock + pipeline < forecast * lead
        supplied = short & (rng.random(n) < 0.8)
        order = np.ceil(np.maximum(forecast * (lead + cover) - stock - pipeline, 1.0))
        arriving[np.arange(n), day + lead] += np.where(supplied, order, 0.0)
    return units, on_hand


def _cut_by_stock(wanted: Floats, stock: Floats) -> Floats:
    """Sales of each segment, (g, n), first come first served, no more than the stock."""
    before = np.cumsum(wanted, axis=0) - wanted
    return np.asarray(np.clip(stock - before, 0.0, wanted))
