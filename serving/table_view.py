"""A published price table to look through: filtered, sorted and paged as columns in memory.

Pure: Arrow and NumPy in, rows out. A table of 100,000 rows is filtered in some
milliseconds and its order is kept while a reader scrolls. Belongs here: queries and what they
select. Where the table comes from and who may act on it is ``table_api``.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pricing_assets.core.currency import currency_exponent
from pricing_assets.core.tables import PRICED_COLUMNS
from serving.approvals import Approvals, RowPrice, judge, row_key
from serving.freeze import Freeze
from serving.published_table import PublishedTable
from serving.table_gate import matching_rows

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Column = Literal[
    "product_id",
    "store_id",
    "segment",
    "category",
    "state",
    "decision",
    "current_price",
    "recommended_price",
    "served_price",
    "change",
    "price_before",
    "change_from_before",
    "price_floor",
    "price_ceiling",
    "expected_units",
    "expected_revenue",
    "expected_profit",
    "profit_gain",
    "p_worse",
    "own_price_elasticity",
    "confidence",
]
STATES = (
    "published",
    "within",
    "waiting",
    "proposed",
    "approved",
    "rejected",
    "frozen",
    "unpriced",
)
"""``published``: no approval is asked for; ``within``: the change is below the threshold."""
HELD_STATES = frozenset({"waiting", "proposed", "rejected"})
MAX_PAGE = 500
SELECTIONS_KEPT = 8

_SHOWN = [name for name in PRICED_COLUMNS if name != "currency"]


class RowFilter(BaseModel):
    """Which rows; every field that is given must hold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field("", max_length=200, description="In the product or store id, any case.")
    category: str | None = Field(None, max_length=500)
    decision: Literal["change", "hold", "test"] | None = None
    reason: str | None = Field(None, max_length=100, description="A reason's code.")
    state: Literal[STATES] | None = None  # type: ignore[valid-type]
    moved: bool = Field(False, description="Only rows whose price differs from the one before.")


class RowOrder(BaseModel):
    """In what order; ties and what is unknown stay in the table's order, unknown last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: Column | None = None
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Facets:
    """What can be filtered by, each with its count of rows, the most frequent first."""

    categories: dict[str, int]
    decisions: dict[str, int]
    reasons: dict[str, int]
    states: dict[str, int]


@dataclass(slots=True)
class TableView:
    """One version's rows with the state that decisions give them now; immutable to its readers.

    ``rows`` holds the shown columns and, made here: category, change, profit_gain, state,
    served_price, price_before and change_from_before (null without a version to compare with).
    """

    version: str
    rows: pa.Table
    prices: tuple[RowPrice, ...]
    _codes: pa.ChunkedArray
    _selections: OrderedDict[tuple[RowFilter, RowOrder], Indices] = field(
        default_factory=OrderedDict
    )

    def select(self, wanted: RowFilter, order: RowOrder) -> Indices:
        """(m,) positions of the rows that fit, in order; the latest selections are kept."""
        key = (wanted, order)
        found = self._selections.pop(key, None)
        if found is None:
            found = self._selected(wanted, order)
        self._selections[key] = found
        while len(self._selections) > SELECTIONS_KEPT:
            self._selections.popitem(last=False)
        return found

    def page(self, positions: Indices) -> list[dict[str, Any]]:
        """Those rows as plain values; what is unknown is None."""
        return self.rows.take(pa.array(positions)).to_pylist()

    def sums(self, positions: Indices) -> dict[str, float]:
        """Expected units, revenue and profit of those rows over the horizon, and the gain."""
        names = ("expected_units", "expected_revenue", "expected_profit", "profit_gain")
        return {name: float(np.nansum(_floats(self.rows, name)[positions])) for name in names}

    def page_column(self, name: str, positions: list[int]) -> list[Any]:
        """One column of those rows."""
        found: list[Any] = self.rows[name].take(pa.array(positions, pa.int64())).to_pylist()
        return found

    def places(self) -> dict[str, int]:
        """The position of each row by its key."""
        return {row.key: place for place, row in enumerate(self.prices)}

    def facets(self) -> Facets:
        """What the rows can be filtered by."""
        return Facets(
            categories=_counts(self.rows["category"]),
            decisions=_counts(self.rows["decision"]),
            reasons=_counts(self._codes),
            states=_counts(self.rows["state"]),
        )

    def _selected(self, wanted: RowFilter, order: RowOrder) -> Indices:
        mask = np.ones(self.rows.num_rows, dtype=bool)
        for name in ("category", "decision", "state"):
            value = getattr(wanted, name)
            if value is not None:
                mask &= _flags(pc.equal(self.rows[name], value))
        if wanted.text:
            mask &= _flags(_containing(self.rows["product_id"], wanted.text)) | _flags(
                _containing(self.rows["store_id"], wanted.text)
            )
        if wanted.reason:
            mask &= _flags(_with_code(self.rows["reasons"], wanted.reason))
        if wanted.moved:
            moved = np.nan_to_num(_floats(self.rows, "change_from_before"))
            mask &= moved != 0
        found = np.flatnonzero(mask)
        return found if order.column is None else found[self._sorted(found, order)]

    def _sorted(self, found: Indices, order: RowOrder) -> Indices:
        """The stable order of the rows ``found`` by one column, unknown values last."""
        keys = self.rows.select([order.column]).take(pa.array(found))
        keys = keys.append_column("_place", pa.array(np.arange(len(found))))
        direction = "descending" if order.descending else "ascending"
        by = [(order.column, direction), ("_place", "ascending")]
        return np.asarray(pc.sort_indices(keys, sort_keys=by).to_numpy())


@dataclass(frozen=True, slots=True)
class TableColumns:
    """One published version as the columns of a view, before decisions and comparison."""

    version: str
    rows: pa.Table
    prices: tuple[RowPrice, ...]
    codes: pa.ChunkedArray
    exponent: int

    @classmethod
    def of(cls, table: PublishedTable) -> TableColumns:
        """The columns of ``table``; reads all of it once."""
        shown = table.prices.select(_SHOWN)
        current, price = _floats(shown, "current_price"), _floats(shown, "recommended_price")
        with np.errstate(divide="ignore", invalid="ignore"):
            change = price / current - 1
        gain = _floats(shown, "expected_profit") - _floats(shown, "expected_profit_at_current")
        exponent = currency_exponent(table.manifest.currency)
        rows = (
            shown.append_column("category", _categories(table))
            .append_column("change", _nullable(change))
            .append_column("profit_gain", _nullable(gain))
        )
        return cls(
            version=table.version,
            rows=rows,
            prices=_row_prices(shown, exponent=exponent),
            codes=_reason_codes(shown["reasons"]),
            exponent=exponent,
        )

    def view(
        self, approvals: Approvals, freeze: Freeze, *, before: pa.Table | None = None
    ) -> TableView:
        """The rows under these decisions, beside the prices ``before`` of another version."""
        states, served = self._states(approvals, freeze)
        rows = self.rows.append_column("state", pa.array(np.array(STATES, dtype=object)[states]))
        rows = rows.append_column("served_price", _nullable(served))
        old = np.full(rows.num_rows, np.nan)
        if before is not None:
            place = matching_rows(before, self.rows)
            old = np.where(place >= 0, _floats(before, "recommended_price")[place], np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            moved = _floats(rows, "recommended_price") / old - 1
        rows = rows.append_column("price_before", _nullable(old))
        rows = rows.append_column("change_from_before", _nullable(moved))
        return TableView(self.version, rows, self.prices, self.codes)

    def _states(self, approvals: Approvals, freeze: Freeze) -> tuple[NDArray[np.int8], Floats]:
        """(n,) positions in ``STATES``, and the price that each row is answered with."""
        current = np.array([one.current for one in self.prices])
        price = np.array([one.recommended for one in self.prices])
        served = price.copy()
        states = np.full(len(price), STATES.index("published"), dtype=np.int8)
        if approvals.required:
            held = np.abs(price - current) > approvals.threshold * current + 1e-9
            held |= approvals.decisions.damaged
            states[:] = np.where(held, STATES.index("waiting"), STATES.index("within"))
            served = np.where(held, current, price)
            self._apply(approvals, states, served)
        frozen = np.array([freeze.everything] * len(price))
        if freeze.products and not freeze.everything:
            held_ids = pa.array(sorted(freeze.products), pa.string())
            frozen = _flags(pc.is_in(self.rows["product_id"], value_set=held_ids))
        states[frozen] = STATES.index("frozen")
        served = np.where(frozen, current, served)
        unpriced = np.isnan(_floats(self.rows, "recommended_price"))
        states[unpriced] = STATES.index("unpriced")
        return states, np.where(unpriced, np.nan, served / 10.0**self.exponent)

    def _apply(
        self, approvals: Approvals, states: NDArray[np.int8], served: NDArray[np.int64]
    ) -> None:
        """Write what the decisions say of their rows; all others follow the threshold alone."""
        if approvals.decisions.damaged or not approvals.decisions.entries:
            return
        place = {row.key: number for number, row in enumerate(self.prices)}
        for key, decision in approvals.decisions.entries.items():
            number = place.get(key)
            if number is None:
                continue
            row = self.prices[number]
            judged = judge(
                current=row.current,
                recommended=row.recommended,
                decision=decision,
                threshold=approvals.threshold,
            )
            states[number] = STATES.index(judged.status)
            served[number] = judged.stands if judged.held else row.recommended


def _row_prices(rows: pa.Table, *, exponent: int) -> tuple[RowPrice, ...]:
    scale = 10.0**exponent
    minors = [
        np.rint(np.nan_to_num(_floats(rows, name)) * scale).astype(np.int64).tolist()
        for name in ("current_price", "recommended_price")
    ]
    keys = (rows[name].to_pylist() for name in ("product_id", "store_id", "segment"))
    return tuple(
        RowPrice(row_key(product, store or "", segment or ""), current, price)
        for product, store, segment, current, price in zip(*keys, *minors, strict=True)
    )


def _categories(table: PublishedTable) -> pa.ChunkedArray:
    """The category of each price row, from the curve of its product and store; "" unknown."""
    key = pc.binary_join_element_wise
    curves, prices = table.curves, table.prices
    known = key(curves["product_id"], curves["store_id"], "\x1f")
    place = pc.index_in(
        key(prices["product_id"], prices["store_id"], "\x1f"), value_set=known.combine_chunks()
    )
    return pc.fill_null(curves["category"].take(place), "")


def _reason_codes(reasons: pa.ChunkedArray) -> pa.ChunkedArray:
    """Every code that any row's reasons begin with, as often as it does."""
    parts = pc.list_flatten(pc.split_pattern(pc.fill_null(reasons, ""), "; "))
    found = pc.struct_field(pc.extract_regex(parts, r"^(?P<code>[a-z_0-9]+):"), "code")
    return pc.drop_null(found)


def _with_code(reasons: pa.ChunkedArray, code: str) -> pa.ChunkedArray:
    """Whether one of a row's reasons has this code."""
    text = pc.fill_null(reasons, "")
    return pc.or_(pc.starts_with(text, f"{code}:"), pc.match_substring(text, f"; {code}:"))


def _containing(column: pa.ChunkedArray, text: str) -> pa.ChunkedArray:
    return pc.match_substring(column, text, ignore_case=True)


def _counts(column: pa.ChunkedArray) -> dict[str, int]:
    pairs = [(one["values"] or "", one["counts"]) for one in pc.value_counts(column).to_pylist()]
    return dict(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _flags(values: pa.ChunkedArray) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(values, False).to_numpy(), dtype=bool)


def _floats(table: pa.Table, name: str) -> Floats:
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def _nullable(values: Floats) -> pa.Array:
    return pa.array(values, mask=~np.isfinite(values))
