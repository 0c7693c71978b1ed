"""The published table in memory: which row answers which product, store and segment.

Belongs here: one verified table as columns and an index, built once a version. Reading files is
``price_store``; prices are ``quote`` and ``live_quote``.
"""

from __future__ import annotations

import contextlib
import copy
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.errors import GuardRailError
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import PRICE_RAIL_COLUMNS
from serving.answer import Prepared, noted, prepared
from serving.approvals import NOT_REQUIRED, Approvals
from serving.live_demand import CurveRow
from serving.published_table import Manifest, PublishedTable
from serving.quote import PricedRow, Quote, published_quote
from serving.ready_answers import ReadyAnswers

Key = tuple[str, str, str]

_CURVE_NUMBERS = tuple(name for name in CurveRow.__slots__ if name != "weekday_index")
_PRICE_NUMBERS = (
    "current_price",
    "recommended_price",
    "price_floor",
    "price_ceiling",
    "expected_units",
    "confidence",
    *PRICE_RAIL_COLUMNS,
)
_PRICE_TEXTS = ("product_id", "store_id", "segment", "currency", "objective")
_FLAT_WEEK = (1.0,) * 7
MIN_MARKUPS = 3
"""Priced products of a category with a known cost from which its usual markup is taken."""
ROWS_KEPT = 65_536
"""Rows and answers kept ready; the rest of a large table is made from its columns when asked."""


@dataclass(frozen=True, slots=True)
class Found:
    """A row, and what must be said where it is not exactly the one asked for."""

    row: PricedRow
    note: str = ""


class Catalog:
    """One published version, ready to answer; immutable after construction.

    ``data_end`` is when the data behind it end, Unix seconds; where it does not say, its start.
    """

    def __init__(self, table: PublishedTable, *, settings: PricingSettings) -> None:
        self.manifest: Manifest = table.manifest
        self.settings = table.manifest.settings_or(settings)
        self.approvals = NOT_REQUIRED
        self.data_end = (self.manifest.data_until or self.manifest.valid_from).timestamp()
        self._texts = {name: table.prices[name].to_pylist() for name in _PRICE_TEXTS}
        self._numbers = {name: _floats(table.prices, name) for name in _PRICE_NUMBERS}
        self._reasons = table.prices["reasons"].combine_chunks()
        self._horizon = _floats(table.prices, "horizon_days")
        self._curves = {name: _floats(table.curves, name) for name in _CURVE_NUMBERS}
        self._weekdays = table.curves["weekday_index"].combine_chunks()
        self._curve_of = _curve_positions(table)
        self._categories = table.curves["category"].combine_chunks()
        self._rows = {key: i for i, key in enumerate(self._keys())}
        self._of_product = self._group_by_product()
        self._made_rows: ReadyAnswers[int, PricedRow] = ReadyAnswers(ROWS_KEPT)
        self._made_answers: ReadyAnswers[str, Prepared] = ReadyAnswers(ROWS_KEPT)

    def under(self, approvals: Approvals) -> Catalog:
        """This table under other approvals; the rows and answers kept ready are shared."""
        other = copy.copy(self)
        other.approvals = approvals
        return other

    @property
    def version(self) -> str:
        """The table version."""
        return self.manifest.table_version

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, product_id: str, store_id: str | None, segment: str | None) -> Found | None:
        """The row that answers; None where no row does.

        A product sold in one store needs no store_id; without one, the store that sells most
        answers, and the note says so. A segment without a price of its own takes the price for
        all. A store that is not in the table has no row.
        """
        position = self._rows.get((product_id, store_id or "", segment or ""))
        if position is None and segment:
            position = self._rows.get((product_id, store_id or "", ""))
        if position is not None:
            return Found(self.row(position))
        if store_id is not None:
            return None
        return self._best_store(product_id, segment or "")

    def prepare(self, found: Quote, row: PricedRow | None) -> Prepared:
        """``found`` as an answer of this table, ready to leave."""
        manifest = self.manifest
        return prepared(
            found,
            current_price=row.current_price if row is not None and row.has_price else None,
            table_version=manifest.table_version,
            model_version=manifest.model_version,
        )

    def published(self, product_id: str) -> Prepared | None:
        """The published price of a product as it is; None without one. The latest stay ready."""
        made = self._made_answers.get(product_id)
        if made is not None:
            return made
        found = self.find(product_id, None, None)
        if found is None or not found.row.has_price:
            return None
        answer = self.prepare(noted(published_quote(found.row), found.note), found.row)
        return self._made_answers.keep(product_id, answer)

    def row(self, position: int) -> PricedRow:
        """Row number ``position``. The latest stay ready."""
        made = self._made_rows.get(position)
        return made or self._made_rows.keep(position, self._row(position))

    def _row(self, position: int) -> PricedRow:
        texts: dict[str, Any] = {name: self._texts[name][position] for name in _PRICE_TEXTS}
        numbers: dict[str, Any] = {
            name: float(self._numbers[name][position]) for name in _PRICE_NUMBERS
        }
        reasons = self._reasons[position].as_py() or ""
        return PricedRow(
            **texts,
            **numbers,
            reasons=tuple(part for part in reasons.split("; ") if part),
            horizon_days=int(self._horizon[position]),
            curve=self._curve(int(self._curve_of[position])),
        )

    def products(self, containing: str, *, limit: int) -> list[str]:
        """The first ``limit`` product ids that contain a text, ignoring case."""
        wanted = containing.casefold()
        found: list[str] = []
        for product_id in self._of_product:
            if wanted in product_id.casefold():
                found.append(product_id)
                if len(found) == limit:
                    break
        return found

    def variants(self, product_id: str) -> list[dict[str, str]]:
        """Store and segment of each row of a product, in the table's order."""
        texts = self._texts
        return [
            {name: texts[name][position] for name in ("store_id", "segment")}
            for position in self._of_product.get(product_id, [])
        ]

    def markup(self, row: PricedRow) -> float | None:
        """The markup on cost that is usual in the row's category; None where none is learned."""
        position = self._rows.get((row.product_id, row.store_id, row.segment), -1)
        curve = int(self._curve_of[position]) if position >= 0 else -1
        return self._markups.get(self._categories[curve].as_py()) if curve >= 0 else None

    @cached_property
    def _markups(self) -> dict[str, float]:
        """Median of published price over cost, less one, by category."""
        rows = np.flatnonzero(self._curve_of >= 0)
        curves = self._curve_of[rows]
        cost = self._curves["unit_cost"][curves]
        with np.errstate(divide="ignore", invalid="ignore"):
            markup = self._numbers["recommended_price"][rows] / cost - 1
        categories = np.array(self._categories.to_pylist(), dtype=object)[curves]
        learned: dict[str, list[float]] = {}
        for category, value in zip(categories, markup, strict=True):
            if np.isfinite(value) and value >= 0:
                learned.setdefault(category, []).append(float(value))
        return {
            name: float(np.median(values))
            for name, values in learned.items()
            if name and len(values) >= MIN_MARKUPS
        }

    def warm_up(self, count: int) -> None:
        """Make the answers of the ``count`` rows that sell most, as their products are asked."""
        units = np.nan_to_num(self._numbers["expected_units"], nan=-1.0)
        for position in np.argsort(-units, kind="stable")[:count].tolist():
            # A row that cannot be answered from is the ladder's to answer when it is asked for.
            with contextlib.suppress(GuardRailError, ArithmeticError, TypeError, ValueError):
                self.published(self._texts["product_id"][position])
            time.sleep(0)  # lets the requests of this worker in

    def revenue_impact(self) -> float:
        """Expected revenue at the recommended less that at the current prices, one horizon."""
        rows = np.flatnonzero(self._curve_of >= 0)
        position = self._curve_of[rows]
        curves = DemandCurves(
            **{name: self._curves[name][position] for name in DemandCurves.__slots__}
        )
        names = ("recommended_price", "current_price")
        prices = np.stack([self._numbers[name][rows] for name in names], axis=1)
        revenue = prices * curves.expected_units(prices)
        return float(np.nansum(revenue[:, 0] - revenue[:, 1]))

    def _keys(self) -> Iterable[Key]:
        return zip(
            self._texts["product_id"], self._texts["store_id"], self._texts["segment"], strict=True
        )

    def _group_by_product(self) -> dict[str, list[int]]:
        groups: dict[str, list[int]] = {}
        for position, product_id in enumerate(self._texts["product_id"]):
            groups.setdefault(product_id, []).append(position)
        return groups

    def _best_store(self, product_id: str, segment: str) -> Found | None:
        rows = self._of_product.get(product_id, [])
        segments = self._texts["segment"]
        fitting = [i for i in rows if segments[i] == segment] or [
            i for i in rows if not segments[i]
        ]
        if not fitting:
            return None
        units = np.nan_to_num(self._numbers["expected_units"][fitting], nan=-1.0)
        best = fitting[int(np.argmax(units))]
        store = self._texts["store_id"][best]
        note = f"no store_id is given: the price of store '{store}', which sells most"
        return Found(self.row(best), note if len(fitting) > 1 else "")

    def _curve(self, position: int) -> CurveRow | None:
        if position < 0:
            return None
        numbers = {name: float(self._curves[name][position]) for name in _CURVE_NUMBERS}
        week = self._weekdays[position].as_py()
        usable = week is not None and len(week) == 7 and None not in week
        return CurveRow(**numbers, weekday_index=tuple(week) if usable else _FLAT_WEEK)


def _curve_positions(table: PublishedTable) -> NDArray[np.int64]:
    """For each price row the position of its curve, -1 without one."""
    curves, prices = table.curves, table.prices
    pairs = zip(curves["product_id"].to_pylist(), curves["store_id"].to_pylist(), strict=True)
    position = {pair: i for i, pair in enumerate(pairs)}
    asked = zip(prices["product_id"].to_pylist(), prices["store_id"].to_pylist(), strict=True)
    return np.array([position.get(pair, -1) for pair in asked], dtype=np.int64)


def _floats(table: pa.Table, name: str) -> NDArray[np.float64]:
    """A column of numbers; NaN throughout where a table of an older version lacks it."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column: Any = table[name].to_numpy()
    return np.asarray(column, dtype=np.float64)
