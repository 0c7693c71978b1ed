"""A simulated market that knows its own truth: the project's yardstick, hard on purpose.

Prices follow unseen demand, costs move and move prices, substitutes and rivals matter, half of the
categories have no constant elasticity, shelves empty, products are new, demand drifts. The market
tells the expected profit of any prices over a horizon, and the best prices under given guard rails
(the oracle). The response is in ``core.market_demand``, the past in ``core.market_history``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from pricing_assets.core.market_demand import DemandStructure, Floats
from pricing_assets.core.market_history import (
    MarketHistory,
    RowTraits,
    season_scale,
    simulate_history,
)
from pricing_assets.core.parameters import Parameters


class MarketParameters(Parameters):
    """What a simulated market is made of; the same parameters give the same market."""

    products: int = Field(240, ge=1, le=1_000_000, description="Products in the assortment.")
    days: int = Field(730, ge=30, le=5000, description="Days of history.")
    seed: int = Field(7, ge=0, description="Seed of everything random.")
    stores: int = Field(1, ge=1, le=1000, description="Stores; 1 writes no store_id.")
    segments: int = Field(1, ge=1, le=3, description="Customer segments; 1 writes no segment.")
    category_size: int = Field(12, ge=1, le=200, description="Products in a category.")
    endogeneity: float = Field(
        0.1, ge=0, le=2, description="Log price change per unit of unseen log demand."
    )
    start: str = Field("2023-01-02", description="First day, ISO date.")


@dataclass(frozen=True, slots=True)
class Market:
    """A drawn market: n rows (product x store) with their past and their truth.

    Attributes:
        parameters: what it was drawn from.
        rows: n rows; columns product_id, store_id, category, brand, zone, block.
        structure: true demand response.
        traits: per-row constants of level, season and price setting.
        history: everything that happened.
    """

    parameters: MarketParameters
    rows: pd.DataFrame
    structure: DemandStructure
    traits: RowTraits
    history: MarketHistory

    @property
    def current_price(self) -> Floats:
        """Last regular price of each row, (n,), currency units."""
        return self.history.regular_price[:, -1]

    @property
    def unit_cost(self) -> Floats:
        """Last unit cost of each row, (n,), currency units."""
        return self.history.unit_cost[:, -1]

    def expected_units(self, price: Floats, *, horizon_days: int) -> Floats:
        """Expected units over the next ``horizon_days`` at constant prices.

        Args:
            price: (..., n) currency units, one for each row; substitutes answer each other.
            horizon_days: days from the day after the last of the history.

        Returns:
            (..., n) expected demand: no promotion, rivals answering with their lag, unseen
            demand decaying to its mean as an AR(1) does, costs staying where they are.
        """
        scale = self._expected_scale(horizon_days)
        total = np.zeros(np.broadcast_shapes(price.shape, self.current_price.shape))
        for day in range(horizon_days):
            total = total + scale[:, day] * self._response(price, day)
        return total

    def expected_profit(self, price: Floats, *, horizon_days: int) -> Floats:
        """Expected profit of each row at constant prices, (..., n); see expected_units."""
        units = self.expected_units(price, horizon_days=horizon_days)
        return np.asarray((price - self.unit_cost) * units)

    def own_price_elasticity(self, *, step: float = 1e-4) -> Floats:
        """True elasticity at the current prices, rivals' and substitutes' prices held, (n,)."""
        values = np.zeros(len(self.rows))
        position = self._position()
        for slot in range(int(position.max()) + 1):
            here = position == slot
            up = np.where(here, self.current_price * np.exp(step), self.current_price)
            down = np.where(here, self.current_price * np.exp(-step), self.current_price)
            gap = np.log(self._now(up)) - np.log(self._now(down))
            values[here] = gap[here] / (2 * step)
        return values

    def oracle_prices(self, candidates: Floats, *, horizon_days: int, sweeps: int = 6) -> Floats:
        """Best prices under the same guard rails, by coordinate ascent on true total profit.

        Args:
            candidates: (n, k) allowed prices of each row, padded by repetition.
            horizon_days: horizon whose true expected profit is maximised.
            sweeps: passes over each block's products; stops early when nothing moves.

        Returns:
            (n,) prices, each one of its row's candidates.
        """
        start = np.argmin(np.abs(candidates - self.current_price[:, None]), axis=1)
        price = candidates[np.arange(len(start)), start]
        position = self._position()
        for _ in range(sweeps):
            before = price.copy()
            for slot in range(int(position.max()) + 1):
                price = self._best_in_slot(price, candidates, position == slot, horizon_days)
            if np.array_equal(before, price):
                break
        return price

    def raw_tables(self) -> dict[str, pd.DataFrame]:
        """The market's past as the contract's raw tables, by name."""
        from pricing_assets.core.market_tables import raw_tables

        return raw_tables(self)

    def _best_in_slot(
        self, price: Floats, candidates: Floats, here: NDArray[np.bool_], horizon_days: int
    ) -> Floats:
        """Best candidate of one product a block, the others held."""
        trial = np.where(here, candidates.T, price)
        profit = self.expected_profit(trial, horizon_days=horizon_days)
        block = self.structure.block
        starts = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
        total = np.add.reduceat(profit, starts, axis=1)
        best = np.argmax(total, axis=0)[block]
        return np.where(here, candidates[np.arange(len(price)), best], price)

    def _position(self) -> NDArray[np.int64]:
        block = self.structure.block
        starts = np.flatnonzero(np.r_[True, block[1:] != block[:-1]])
        return np.arange(len(block)) - starts[block - block[0]]

    def _now(self, price: Floats) -> Floats:
        return self.structure.response(
            price=price, rival=self.history.rival_level[:, -1], drift=self.history.drift[:, -1]
        )

    def _response(self, price: Floats, day: int) -> Floats:
        lag = 1.0 - np.exp(-(day + 1) / 10.0)
        answer = (price / self.current_price) ** (self.traits.rival_reaction * lag)
        return self.structure.response(
            price=price,
            rival=self.history.rival_level[:, -1] * answer,
            drift=self.history.drift[:, -1],
        )

    def _expected_scale(self, horizon_days: int) -> Floats:
        """Expected demand multiplier by row and future day without prices, (n, horizon)."""
        future = np.arange(horizon_days) + self.parameters.days
        dates = np.datetime64(self.parameters.start) + future
        season = season_scale(self.traits, dates)
        steps = np.arange(1, horizon_days + 1)
        return np.asarray(self.history.expected_shock(steps) * season)


def simulate_market(parameters: MarketParameters) -> Market:
    """Draw a market and live through its past; the same parameters give the same market."""
    rng = np.random.default_rng(parameters.seed)
    rows = _draw_rows(parameters, rng)
    is_logit, sensitivity = _draw_sensitivity(parameters, rows, rng)
    traits = _draw_traits(parameters, rows, sensitivity, rng)
    structure = _draw_structure(
        parameters, rows, traits, is_logit=is_logit, sensitivity=sensitivity, rng=rng
    )
    history = simulate_history(
        structure=structure,
        traits=traits,
        days=parameters.days,
        start=np.datetime64(parameters.start),
        endogeneity=parameters.endogeneity,
        rng=rng,
    )
    return Market(parameters, rows, structure, traits, history)


def _draw_rows(parameters: MarketParameters, rng: np.random.Generator) -> pd.DataFrame:
    product = np.arange(parameters.products)
    category = product // parameters.category_size
    brand = rng.integers(0, 8, parameters.products)
    store = np.repeat(np.arange(parameters.stores), parameters.products)
    product, category = np.tile(product, parameters.stores), np.tile(category, parameters.stores)
    several = parameters.stores > 1
    return pd.DataFrame(
        {
            "product_id": [f"SKU-{number + 1:05d}" for number in product],
            "store_id": [f"STORE-{number + 1:03d}" if several else "" for number in store],
            "category": [f"CAT-{number + 1:03d}" for number in category],
            "brand": [f"BRAND-{number + 1}" for number in np.tile(brand, parameters.stores)],
            "zone": [f"ZONE-{number % 3 + 1}" if several else "" for number in store],
            "block": store * (int(category.max()) + 1) + category,
            "product_index": product,
            "category_index": category,
            "store_index": store,
        }
    )


def _draw_sensitivity(
    parameters: MarketParameters, rows: pd.DataFrame, rng: np.random.Generator
) -> tuple[NDArray[np.bool_], Floats]:
    """Which rows choose by logit, and the price sensitivity of each, both (n,)."""
    item = rows["product_index"].to_numpy()
    category = rows["category_index"].to_numpy()
    categories = int(category.max()) + 1
    is_logit = (np.arange(categories) % 2 == 1)[category]
    mean = rng.uniform(1.4, 3.0, categories)[category]
    spread = rng.normal(0, 0.45, parameters.products)[item]
    several = parameters.stores > 1
    store_shift = rng.normal(0, 0.1, len(rows)) if several else np.zeros(len(rows))
    value = np.where(is_logit, 1.15 * mean, mean) + spread + store_shift
    return is_logit, np.maximum(value, 0.6)


def _markup(sensitivity: Floats, category: Floats, item: Floats) -> Floats:
    """Price over cost of a shop that knows little of its demand; ``category``, ``item``: log noise.

    What is left of the sensitivity when a whole category and its rivals move together sets the
    markup that would be best; the shop goes a third of the way to it from a common one of 2.1.
    """
    joint = np.maximum(sensitivity - 0.3, 0.5)
    best = np.clip(joint / np.maximum(joint - 1.0, 0.2), 1.3, 3.6)
    return np.asarray(np.exp(0.3 * np.log(best) + 0.7 * np.log(2.1) + category + item))


def _draw_traits(
    parameters: MarketParameters,
    rows: pd.DataFrame,
    sensitivity: Floats,
    rng: np.random.Generator,
) -> RowTraits:
    n, products = len(rows), parameters.products
    item = rows["product_index"].to_numpy()
    category = rows["category_index"].to_numpy()
    store = rows["store_index"].to_numpy()
    categories = int(category.max()) + 1
    zone_factor = np.exp(rng.normal(0, 0.03, 3))[store % 3] if parameters.stores > 1 else 1.0
    cost = np.exp(rng.normal(2.0, 0.8, categories))[category] * np.exp(
        rng.normal(0, 0.25, products)[item]
    )
    markup = _markup(
        sensitivity, rng.normal(0, 0.1, categories)[category], rng.normal(0, 0.1, products)[item]
    )
    newcomer = rng.random(products) < 0.1
    age = rng.integers(5, 90, products)
    first = np.where(newcomer & (age < parameters.days), parameters.days - age, 0)[item]
    return RowTraits(
        start_cost=cost,
        base_price=cost * markup * zone_factor,
        level=np.exp(rng.normal(1.9, 0.9, products)[item])
        * np.exp(rng.normal(0, 0.4, parameters.stores)[store] if parameters.stores > 1 else 0.0),
        weekday=_weekday_index(rng, categories)[category],
        season_amplitude=rng.uniform(0.0, 0.35, categories)[category],
        season_phase=rng.uniform(0, 2 * np.pi, categories)[category],
        holiday_lift=rng.normal(0.3, 0.25, categories)[category],
        trend=rng.normal(0, 0.12, products)[item] / 365.0,
        pass_through=rng.uniform(0.5, 1.0, n),
        rival_following=rng.uniform(0.0, 0.35, n),
        rival_reaction=rng.uniform(0.05, 0.15, n),
        review_days=rng.choice([7, 14, 21], size=n),
        first_day=first,
        noise=rng.uniform(3.0, 20.0, products)[item],
        category=category,
    )


def _weekday_index(rng: np.random.Generator, categories: int) -> Floats:
    shape = np.array([-0.12, -0.12, -0.08, 0.0, 0.12, 0.2, 0.0])
    index = np.exp(shape + rng.normal(0, 0.08, (categories, 7)))
    return np.asarray(index / index.mean(axis=1, keepdims=True))


def _draw_structure(
    parameters: MarketParameters,
    rows: pd.DataFrame,
    traits: RowTraits,
    *,
    is_logit: NDArray[np.bool_],
    sensitivity: Floats,
    rng: np.random.Generator,
) -> DemandStructure:
    n, products = len(rows), parameters.products
    item = rows["product_index"].to_numpy()
    category = rows["category_index"].to_numpy()
    categories = int(category.max()) + 1
    sizes = np.linspace(0.6, 0.4, parameters.segments) if parameters.segments > 1 else np.ones(1)
    return DemandStructure(
        block=rows["block"].to_numpy(),
        is_logit=is_logit,
        base_price=traits.base_price,
        sensitivity=sensitivity,
        substitution=rng.uniform(0.05, 0.25, categories)[category],
        rival_pull=np.where(is_logit, rng.normal(-0.5, 0.3, n), rng.uniform(0.1, 0.6, n)),
        attraction=rng.normal(0, 0.5, products)[item]
        - np.where(is_logit, np.log(parameters.category_size) + 1.6, 0.0),
        segment_share=sizes / sizes.sum(),
        segment_factor=np.linspace(0.75, 1.35, parameters.segments)
        if parameters.segments > 1
        else np.ones(1),
    )
