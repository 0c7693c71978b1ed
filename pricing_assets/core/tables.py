"""The contract in code: raw tables, their columns and units, and the price table's columns.

Only names and types belong here (no pandas, so that the service can import it); checking rows
against them is ``core.ingestion``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["date", "id", "text", "number", "flag", "share"]
"""flag is 0 or 1; share lies in [0, 1] (a feature in part of a brand's packs or of a week)."""

MAX_ID_LENGTH = 200
"""Characters of a product or store id; a longer one is quarantined."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its kind, whether it is required, and the open or closed bounds of a number."""

    name: str
    kind: Kind
    required: bool = False
    minimum: float | None = None
    minimum_is_open: bool = False


@dataclass(frozen=True, slots=True)
class TableSchema:
    """One raw table: its columns and the key that may not repeat."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the columns that must be there."""
        return tuple(column.name for column in self.columns if column.required)

    def column(self, name: str) -> Column | None:
        """The column of that name, or None where the contract does not know it."""
        return next((column for column in self.columns if column.name == name), None)


def _price(name: str, *, required: bool = False) -> Column:
    return Column(name, "number", required, minimum=0.0, minimum_is_open=True)


_DATE = Column("date", "date", required=True)
_PRODUCT = Column("product_id", "id", required=True)
_STORE = Column("store_id", "id")
_COST = Column("unit_cost", "number", minimum=0.0)

SALES = TableSchema(
    "sales",
    (
        _DATE,
        _PRODUCT,
        Column("units", "number", required=True, minimum=0.0),
        _price("price", required=True),
        _STORE,
        _price("regular_price"),
        Column("promo", "flag"),
        Column("display", "share"),
        Column("feature", "share"),
        Column("segment", "id"),
        Column("customer_id", "id"),
    ),
    key=("date", "product_id", "store_id", "segment", "customer_id"),
)
PRODUCTS = TableSchema(
    "products",
    (
        _PRODUCT,
        Column("category", "text"),
        Column("brand", "text"),
        _COST,
        _price("list_price"),
        _price("map_price"),
        Column("pack_size", "number", minimum=0.0, minimum_is_open=True),
        Column("kvi", "flag"),
        Column("status", "text"),
    ),
    key=("product_id",),
)
COSTS = TableSchema(
    "costs",
    (_DATE, _PRODUCT, _STORE, Column("unit_cost", "number", True, minimum=0.0)),
    key=("date", "product_id", "store_id"),
)
INVENTORY = TableSchema(
    "inventory",
    (_DATE, _PRODUCT, _STORE, Column("on_hand", "number", True, minimum=0.0)),
    key=("date", "product_id", "store_id"),
)
COMPETITOR_PRICES = TableSchema(
    "competitor_prices",
    (_DATE, _PRODUCT, _STORE, Column("competitor", "id", True), _price("price", required=True)),
    key=("date", "product_id", "store_id", "competitor"),
)
CALENDAR = TableSchema(
    "calendar",
    (_DATE, Column("holiday", "flag", required=True), Column("event", "text")),
    key=("date",),
)
PLANNED_PRICES = TableSchema(
    "planned_prices",
    (
        _DATE,
        _PRODUCT,
        _STORE,
        _price("price", required=True),
        Column("promo", "flag"),
        Column("display", "share"),
        Column("feature", "share"),
    ),
    key=("date", "product_id", "store_id"),
)
STORES = TableSchema(
    "stores",
    (Column("store_id", "id", required=True), Column("zone", "text"), Column("segment", "text")),
    key=("store_id",),
)

RAW_TABLES: dict[str, TableSchema] = {
    schema.name: schema
    for schema in (
        SALES,
        PRODUCTS,
        COSTS,
        INVENTORY,
        COMPETITOR_PRICES,
        CALENDAR,
        PLANNED_PRICES,
        STORES,
    )
}

SINGLE_SHEET = {
    "Product_ID": "product_id",
    "Date": "date",
    "Sales": "units",
    "Price": "price",
    "Competitor_Price": "competitor_price",
    "Inventory": "inventory",
}
"""Headings of the single sheet accepted as ``sales``; the last two become tables of their own."""

PRICE_TABLE_COLUMNS: tuple[str, ...] = (
    "product_id",
    "store_id",
    "segment",
    "currency",
    "current_price",
    "recommended_price",
    "price_floor",
    "price_ceiling",
    "decision",
    "reasons",
    "expected_units",
    "expected_revenue",
    "expected_profit",
    "expected_profit_at_current",
    "profit_uplift_low_90",
    "profit_uplift_high_90",
    "p_worse",
    "own_price_elasticity",
    "own_price_elasticity_sd",
    "confidence",
    "objective",
    "horizon_days",
    "table_version",
    "model_version",
    "data_version",
    "valid_from",
    "valid_until",
)

STAMP_COLUMNS = ("table_version", "model_version", "data_version", "valid_from", "valid_until")
"""Columns of the price table that publication adds."""

PRICED_COLUMNS = tuple(name for name in PRICE_TABLE_COLUMNS if name not in STAMP_COLUMNS)
"""Columns of the price table before publication."""

PRICE_RAIL_COLUMNS: tuple[str, ...] = (
    "rail_low",
    "rail_high",
    "reference_price_24h",
    "prior_price",
)
"""Stored beside the price table for the service, not exported: bounds that hold for every request
(rules between products, held and falling products), the durable reference of the day's largest
change, and the lowest price of the days before a promotion; currency units, NaN for none."""

ONLINE_FEATURES: tuple[str, ...] = ("stock", "rival_price", "units_7", "units_28", "price")
"""Last known state of a product and store: units on hand, rivals' mean price, units sold in the
last 7 and 28 days, the last price paid; currency units, NaN unknown."""

DEMAND_CURVE_COLUMNS: tuple[str, ...] = (
    "product_id",
    "store_id",
    "category",
    "reference_price",
    "reference_units",
    "reference_units_cv",
    "elasticity_mean",
    "elasticity_sd",
    "curvature",
    "rival_elasticity",
    "cross_elasticity",
    "reference_rival_price",
    "promo_lift",
    "weekday_index",
    "unit_cost",
    "map_price",
    "support_low",
    "support_high",
    "observations",
)
"""One row a product and store: all that a price needs live (see ``core.demand.DemandCurves``).

``cross_elasticity`` is the elasticity of every other product of the same category and store with
respect to this product's price. ``weekday_index`` is a list of seven multipliers, Monday first,
with mean one; NaN stands for an unknown cost, rival price or MAP."""
