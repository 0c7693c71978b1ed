"""What the playground asks: a product's facts, its history, and what-ifs.

Belongs here: from a query to JSON over one worker's desk. Prices are ``what_if``'s, files are
``sales_history``'s.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from pricing_assets.core.errors import InputError, UnknownProductError
from serving.catalog import Catalog, Found
from serving.desk import Desk
from serving.home import Home
from serving.pages import Asked, DataRoute
from serving.quote import PricedRow, finite_or_none
from serving.sales_history import SalesHistory
from serving.what_if import what_if, what_if_request
from serving.wire import decode_json, encode_json

_ROW_TEXTS = ("product_id", "store_id", "segment", "currency", "objective")
_ROW_NUMBERS = (
    "current_price",
    "recommended_price",
    "price_floor",
    "price_ceiling",
    "expected_units",
    "confidence",
)
_CURVE_FACTS = (
    "elasticity_mean",
    "elasticity_sd",
    "rival_elasticity",
    "reference_rival_price",
    "promo_lift",
    "unit_cost",
    "map_price",
    "support_low",
    "support_high",
)
_HISTORY_DIGITS = {"units": 3, "price": 4, "promo": 2, "rival_price": 4, "on_hand": 2}


class PlaygroundData:
    """Answers the playground from the table in use."""

    def __init__(self, desk: Desk, home: Home) -> None:
        self._desk = desk
        self._history = SalesHistory(home.tables / "history")

    def routes(self) -> Mapping[str, DataRoute]:
        """Its addresses."""
        return {
            "/product": DataRoute("GET", self._product),
            "/history": DataRoute("GET", self._sales, heavy=True),
            "/what_if": DataRoute("POST", self._what_if),
        }

    async def _product(self, asked: Asked) -> bytes:
        catalog = self._desk.loaded()
        row, settings = _found(catalog, asked.query).row, catalog.settings
        return encode_json(
            {
                **_facts(row),
                "others": catalog.variants(row.product_id),
                "frozen": self._desk.tables.freeze.holds(row.product_id),
                "min_margin": settings.min_margin,
                "max_price_change": settings.max_price_change,
                "cover_days": settings.serving.cover_days,
                "table_version": catalog.version,
            }
        )

    async def _sales(self, asked: Asked) -> bytes:
        catalog = self._desk.loaded()
        row = _found(catalog, asked.query).row
        version = catalog.manifest.data_version
        table = await asyncio.to_thread(
            self._history.read,
            data_version=version,
            product_id=row.product_id,
            store_id=row.store_id,
        )
        kept = None if table is None else _columns(table)
        return encode_json({"data_version": version, "currency": row.currency, "history": kept})

    async def _what_if(self, asked: Asked) -> bytes:
        request = what_if_request(decode_json(asked.body))
        catalog = self._desk.loaded()
        found = _priced(
            catalog.find(request.product_id, request.store_id, request.segment), request.product_id
        )
        (online,) = await self._desk.enriched(catalog, [request])
        answer = what_if(found, request, online.context, settings=catalog.settings)
        return encode_json(
            {
                **asdict(answer),
                "reasons": [*answer.reasons, *([online.note] if online.note else [])],
                "frozen": self._desk.tables.freeze.holds(request.product_id),
                "held": catalog.approvals.held_quote(found.row, online.context) is not None,
                "table_version": catalog.version,
            }
        )


def _facts(row: PricedRow) -> dict[str, Any]:
    """What is published and known of a product; null where it is not."""
    curve = row.curve
    return {
        **{name: getattr(row, name) for name in _ROW_TEXTS},
        **{name: finite_or_none(getattr(row, name)) for name in _ROW_NUMBERS},
        **{name: finite_or_none(getattr(curve, name)) if curve else None for name in _CURVE_FACTS},
        "minor_unit": 10.0**-row.exponent,
        "horizon_days": row.horizon_days,
        "has_curve": curve is not None and curve.usable,
        "weekday_index": list(curve.weekday_index) if curve else None,
    }


def _found(catalog: Catalog, query: Mapping[str, str]) -> Found:
    product_id = query.get("product_id", "")
    if not product_id:
        raise InputError("name a product, as in ?product_id=SKU12345")
    found = catalog.find(product_id, query.get("store_id"), query.get("segment"))
    return _priced(found, product_id)


def _priced(found: Found | None, product_id: str) -> Found:
    if found is None or not found.row.has_price:
        raise UnknownProductError(f"product '{product_id[:200]}' has no published price")
    return found


def _columns(table: pa.Table) -> dict[str, list[Any]]:
    """The history as lists; what is not known is null."""
    days = [day.isoformat() for day in table["date"].to_pylist()]
    numbers = {
        name: [_rounded(value, digits) for value in table[name].to_pylist()]
        for name, digits in _HISTORY_DIGITS.items()
    }
    return {"date": days, **numbers}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, digits)
