"""The Python face: one price from a home, and many prices from a frame. It delegates.

Belongs here: arguments that people have at hand, turned into the platform's own. Single prices
are ``serving.live_quote``, the same that HTTP answers with; many are ``core.price_table``.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.price_parameters import Objective
from pricing_assets.core.settings import PricingSettings
from serving.catalog import Catalog
from serving.decision_log import ApprovalsReader, DecisionLog
from serving.home import Home, load_settings
from serving.live_demand import LiveDemand
from serving.live_quote import quote
from serving.price_store import PriceStore
from serving.quote import PricedRow, Quote, frozen_quote
from serving.rule_quote import rule_quote
from serving.wire import PriceRequest, price_request

if TYPE_CHECKING:
    from pricing_assets.core.catalogue_search import CatalogueEngine

Device = Literal["auto", "cuda", "mps", "cpu"]


@dataclass(frozen=True, slots=True)
class OptimalPrice:
    """A price with its evidence; currency units, None where unknown."""

    product_id: str
    recommended_price: float
    confidence: float
    currency: str
    price_floor: float
    price_ceiling: float
    expected_units: float | None
    source: str
    reasons: tuple[str, ...]
    table_version: str
    model_version: str


class DynamicPricingEngine:
    """Prices from the published table of a home, as the service gives them."""

    def __init__(self, store: PriceStore, *, settings: PricingSettings) -> None:
        self._store = store
        self._settings = settings
        self._approvals = ApprovalsReader(DecisionLog(store.root), settings.serving)
        self._catalog = Catalog(store.read_current(), settings=settings)

    @classmethod
    def from_home(cls, home: str | Path | None = None) -> DynamicPricingEngine:
        """The engine of a home, by default ``PRICING_HOME``.

        Raises:
            NotPublishedError: no price table is published there yet.
            IntegrityError: the published table is damaged.
        """
        return cls(PriceStore(Home.at(home).tables), settings=load_settings())

    @property
    def table_version(self) -> str:
        """Version of the table in use."""
        return self._catalog.version

    def refresh(self) -> None:
        """Take up the table that is current now."""
        if self._store.current() != self._catalog.version:
            self._catalog = Catalog(self._store.read_current(), settings=self._settings)

    def get_optimal_price(
        self,
        *,
        product_id: str,
        store_id: str | None = None,
        segment: str | None = None,
        current_price: float | None = None,
        inventory_level: float | None = None,
        competitor_prices: Sequence[float] = (),
        demand_forecast: float | None = None,
        day_of_week: str | None = None,
        is_promo: bool | None = None,
        unit_cost: float | None = None,
        objective: Objective | None = None,
    ) -> OptimalPrice:
        """The best allowed price of one product now.

        Args:
            product_id, store_id, segment: the row of the published table.
            current_price: price that changes are counted from, currency units.
            inventory_level: units on hand; must last ``serving.cover_days``.
            competitor_prices: rivals' prices now; their mean is compared with the data's.
            demand_forecast: expected units over the table's horizon at the current price; in
                place of the published forecast.
            day_of_week: Monday to Sunday.
            is_promo: whether a promotion runs.
            unit_cost: currency units; prices a product that the table does not know.
            objective: profit, revenue or market_share; the table's where it is silent.

        Raises:
            UnknownProductError: neither the table nor the arguments say what it costs.
            InputError: an argument is not what it should be; the message names it.
        """
        rival = float(np.mean(competitor_prices)) if len(competitor_prices) else None
        given = {
            "product_id": product_id,
            "store_id": store_id,
            "segment": segment,
            "current_price": _number(current_price),
            "current_stock": _number(inventory_level),
            "comp_price": rival,
            "day_of_week": day_of_week,
            "is_promo": is_promo,
            "unit_cost": _number(unit_cost),
            "objective": objective,
        }
        request = price_request({name: value for name, value in given.items() if value is not None})
        return self._optimal(self._quote(request, demand_forecast), request)

    def _quote(self, request: PriceRequest, demand_forecast: float | None) -> Quote:
        catalog, context = self._catalog, request.context
        found = catalog.find(request.product_id, request.store_id, request.segment)
        row = found.row if found else None
        if self._store.frozen().holds(request.product_id):
            currency = catalog.manifest.currency
            return frozen_quote(request.product_id, row, context, currency=currency)
        if found is None or row is None or not row.has_price:
            return rule_quote(request.product_id, context, settings=catalog.settings)
        held = self._approvals.read().held_quote(row, context)
        if held is not None:
            return held
        if demand_forecast is not None:
            row = _with_forecast(row, demand_forecast, at=request.current_price)
        answer = quote(row, context, settings=catalog.settings)
        notes = (found.note,) if found.note else ()
        return replace(answer, reasons=(*notes, *answer.reasons))

    def _optimal(self, found: Quote, request: PriceRequest) -> OptimalPrice:
        fields = {name: getattr(found, name) for name in Quote.__slots__}
        return OptimalPrice(
            **{**fields, "product_id": request.product_id},
            table_version=self._catalog.version,
            model_version=self._catalog.manifest.model_version,
        )


class BatchPriceOptimizer:
    """Prices for a whole catalogue at once, on a device of this machine.

    ``auto`` takes CUDA, then MPS, then the CPU. All give the same prices. Products without
    substitutes are searched by ``core.price_kernel`` (compiled on the CPU), part by part on every
    core; the others together by ``core.price_search``.

    >>> import pandas as pd
    >>> from pricing_assets.core.settings import PricingSettings
    >>> catalogue = pd.DataFrame(
    ...     {
    ...         "product_id": ["A", "B"],
    ...         "current_price": [10.0, 20.0],
    ...         "reference_units": [100.0, 50.0],
    ...         "unit_cost": [6.0, 15.0],
    ...         "elasticity_mean": [-3.0, -4.5],
    ...         "elasticity_sd": [0.1, 0.1],
    ...     }
    ... )
    >>> optimizer = BatchPriceOptimizer(device="cpu", settings=PricingSettings())
    >>> priced = optimizer.optimize(catalogue, objective="profit")
    >>> priced[["product_id", "recommended_price", "decision"]].to_dict("records")
    [{'product_id': 'A', 'recommended_price': 8.99, 'decision': 'change'}, \
{'product_id': 'B', 'recommended_price': 19.29, 'decision': 'change'}]

    Raises:
        InvalidSettingError: the machine has no such device.
    """

    def __init__(self, device: Device = "auto", *, settings: PricingSettings | None = None) -> None:
        self.device: Device = device
        if device != "cpu":
            from pricing_assets.core.price_table_torch import pick_device

            self.device = pick_device(device).type
        self._settings = settings

    def optimize(self, catalog_frame: Any, objective: Objective | None = None) -> Any:
        """The price table of ``catalog_frame``; pandas in, pandas out, and Arrow likewise.

        Args:
            catalog_frame: one row a product, with product_id, current_price, reference_units
                (expected units over the horizon at the reference price), and for profit
                unit_cost. Optional: store_id, category, reference_price (default: the current
                price), elasticity_mean and elasticity_sd (default: the prior of the settings),
                map_price, on_hand (stock that is not replenished), and all else of
                ``tables.DEMAND_CURVE_COLUMNS``.
            objective: profit, revenue or market_share; default that of the settings.

        Returns:
            ``tables.PRICE_TABLE_COLUMNS`` without the stamps that publication adds.

        Raises:
            MissingColumnError: a required column is absent.
            MissingCostError: the objective is profit and no product has a unit cost.
        """
        import pyarrow as pa

        from pricing_assets.core.catalogue_prices import price_catalogue, price_frame

        settings = self._settings or load_settings()
        if objective is not None:
            settings = settings.model_copy(update={"objective": objective})
        price = price_catalogue if isinstance(catalog_frame, pa.Table) else price_frame
        return price(catalog_frame, settings=settings, engine=self._engine())

    def _engine(self) -> CatalogueEngine:
        """What searches, on every core; the search on the device where there is one."""
        from pricing_assets.core.catalogue_search import cpu_engine

        engine = cpu_engine(threads=_usable_cores())
        if self.device == "cpu":
            return engine
        from pricing_assets.core.price_kernel_torch import torch_solver
        from pricing_assets.core.price_table_torch import torch_chooser

        on_device = torch_solver(self.device), torch_chooser(self.device)
        return replace(engine, solve=on_device[0], chooser=on_device[1], threads=1)


def _usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _number(value: float | None) -> float | None:
    """A Python number from a Python or NumPy one; the request is strict about types."""
    return None if value is None else float(value)


def _with_forecast(row: PricedRow, units: float, *, at: float | None) -> PricedRow:
    """``row`` with its curve scaled to sell ``units`` at the price ``at`` (its current price)."""
    if not np.isfinite(units) or units < 0:
        raise InvalidSettingError(f"demand_forecast is {units}; it must be a number of units >= 0")
    curve = row.curve
    if curve is None or not curve.usable or curve.reference_units == 0:
        return row
    from serving.context import EMPTY

    prices = np.array([row.current_price if at is None else at])
    scale = units / float(LiveDemand.of(curve, EMPTY).units(prices)[0])
    return replace(
        row,
        curve=replace(curve, reference_units=curve.reference_units * scale),
        expected_units=row.expected_units * scale,
    )
