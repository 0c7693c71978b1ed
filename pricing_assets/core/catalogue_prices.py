"""From a catalogue to its price table: what ``BatchPriceOptimizer`` and each shard ask.

Belongs here: a catalogue's missing columns, its parts, and Arrow at both ends. Products without
substitutes are priced in parts of ``PART_ROWS`` by ``core.catalogue_search``, the others together
by ``core.price_table``; which rows make a shard is ``core.price_shards``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pricing_assets.core.catalogue_search import (
    CatalogueEngine,
    cpu_engine,
    kernel_choice,
    one_by_one,
)
from pricing_assets.core.errors import InputError, MissingColumnError
from pricing_assets.core.price_inputs import require_costs, row_inputs, substitutes_of
from pricing_assets.core.price_table import build_price_table, table_columns
from pricing_assets.core.row_rails import OPTIONAL_FACTS
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import DEMAND_CURVE_COLUMNS, PRICE_RAIL_COLUMNS, PRICED_COLUMNS

PART_ROWS = 1 << 15
"""Products of one part: its columns stay in the second-level cache, and memory is bounded."""

REQUIRED = ("product_id", "current_price", "reference_units")
FACTS = ("current_price", "unit_cost", "map_price", "on_hand", *OPTIONAL_FACTS)
_TEXTS = ("product_id", "store_id", "category", "brand", "zone")
_SAID = frozenset({"segment", "currency", "decision", "reasons", "objective"})
_WHOLE = frozenset({"horizon_days"})


def _kind(name: str) -> pa.DataType:
    if name in _SAID or name in _TEXTS:
        return pa.string()
    return pa.int64() if name in _WHOLE else pa.float64()


PRICE_SCHEMA = pa.schema([(name, _kind(name)) for name in PRICED_COLUMNS])
"""Columns of a catalogue's prices: the price table without the stamps of publication."""


def price_frame(
    frame: pd.DataFrame, *, settings: PricingSettings, engine: CatalogueEngine | None = None
) -> pd.DataFrame:
    """``price_catalogue`` from pandas to pandas."""
    _require_columns(frame.columns)
    known = [n for n in frame.columns if n in FACTS or n in DEMAND_CURVE_COLUMNS]
    texts = {n: frame[n].fillna("").astype(str) for n in known if n in (*_TEXTS, "status")}
    read = [name for name in known if name != "weekday_index"]
    catalogue = pa.Table.from_pandas(frame[read].assign(**texts), preserve_index=False)
    return price_catalogue(catalogue, settings=settings, engine=engine).to_pandas()


def price_catalogue(
    catalogue: pa.Table, *, settings: PricingSettings, engine: CatalogueEngine | None = None
) -> pa.Table:
    """The price table of a catalogue, one row a product and store, in the catalogue's order.

    Args:
        catalogue: product_id, current_price, reference_units, and what else is known; see
            ``pricing_assets.engine.BatchPriceOptimizer.optimize``.
        settings: objective, horizon, guard rails, risk and prior.
        engine: what searches; the compiled one on one thread where None.

    Raises:
        MissingColumnError: a required column is absent.
        MissingCostError: the objective is profit and no product has a unit cost.
        InputError: a product and store is there twice.
    """
    engine = cpu_engine() if engine is None else engine
    if "weekday_index" in catalogue.column_names:
        catalogue = catalogue.drop_columns(["weekday_index"])
    full = _completed(catalogue, settings=settings, unread=("weekday_index",))
    _require_single(full)
    require_costs(_numbers(full, "unit_cost"), settings=settings)
    if not one_by_one(settings):
        return _together(full, settings=settings, engine=engine)
    linked = _linked(full)
    if not linked.any():
        return _apart(full, settings=settings, engine=engine)
    rows = [np.flatnonzero(linked), np.flatnonzero(~linked)]
    parts = [
        price(full.take(part), settings=settings, engine=engine)
        for price, part in zip((_together, _apart), rows, strict=True)
    ]
    order = np.argsort(np.concatenate(rows))
    return pa.concat_tables(parts).take(pa.array(order))


def complete_catalogue(catalogue: pa.Table, *, settings: PricingSettings) -> pa.Table:
    """A catalogue with every column that a demand curve and a price table read.

    Defaults say "unknown", never more: the prior's elasticity, no rival, no stock limit, only the
    current price ever seen.
    """
    return _completed(catalogue, settings=settings)


def _completed(
    catalogue: pa.Table, *, settings: PricingSettings, unread: tuple[str, ...] = ()
) -> pa.Table:
    """``complete_catalogue`` but for the columns that are not read."""
    _require_columns(catalogue.column_names)
    prior, price = settings.elasticity, catalogue["current_price"]
    unknown = float("nan")
    defaults: dict[str, Any] = {
        "store_id": "",
        "category": "",
        "reference_price": price,
        "reference_units_cv": 0.0,
        "elasticity_mean": prior.prior_mean,
        "elasticity_sd": prior.prior_sd,
        "curvature": 0.0,
        "rival_elasticity": 0.0,
        "cross_elasticity": 0.0,
        "reference_rival_price": unknown,
        "promo_lift": 1.0,
        "weekday_index": [1.0] * 7,
        "unit_cost": unknown,
        "map_price": unknown,
        "support_low": price,
        "support_high": price,
        "observations": 0.0,
        "on_hand": unknown,
    }
    for name in _TEXTS:
        if name in catalogue.column_names and catalogue[name].type != pa.string():
            place = catalogue.column_names.index(name)
            texts = [chunk.cast(pa.string()) for chunk in catalogue[name].chunks]
            column = pa.chunked_array(texts, pa.string())
            catalogue = catalogue.set_column(place, name, column)
    for name in (n for n in defaults if n not in catalogue.column_names and n not in unread):
        value = defaults[name]
        column = value if value is price else _repeated(pa.scalar(value), catalogue.num_rows)
        catalogue = catalogue.append_column(name, column)
    return catalogue


def _require_columns(found: Any) -> None:
    for name in REQUIRED:
        if name not in found:
            raise MissingColumnError(table="catalog_frame", column=name, found=found)


def _require_single(full: pa.Table) -> None:
    """Refuse a product and store that is there twice."""
    counts = full.group_by(["product_id", "store_id"]).aggregate([([], "count_all")])
    if counts.num_rows < full.num_rows:
        twice = counts.filter(pc.greater(counts["count_all"], 1))["product_id"][0]
        raise InputError(f"the catalogue names product '{twice}' twice in one store; one row each")


def _numbers(full: pa.Table, name: str) -> NDArray[np.float64]:
    return full[name].cast(pa.float64()).to_numpy()


def _linked(full: pa.Table) -> NDArray[np.bool_]:
    """(n,) rows that have substitutes, which are priced together."""
    if not (_numbers(full, "cross_elasticity") > 0).any():
        return np.zeros(full.num_rows, dtype=bool)
    frame = full.select(["category", "store_id", "cross_elasticity"]).to_pandas()
    return substitutes_of(frame, usable=np.ones(len(frame), dtype=bool)).linked


def _together(full: pa.Table, *, settings: PricingSettings, engine: CatalogueEngine) -> pa.Table:
    """Rows that are priced together."""
    frame = full.to_pandas()
    frame = frame.assign(replenished=frame["on_hand"].isna())
    curves = frame[[name for name in DEMAND_CURVE_COLUMNS if name in frame]]
    priced = build_price_table(
        curves, panel_facts=frame, settings=settings, chooser=engine.chooser
    ).drop(columns=list(PRICE_RAIL_COLUMNS))
    return pa.Table.from_pandas(priced, preserve_index=False).cast(PRICE_SCHEMA)


def _apart(full: pa.Table, *, settings: PricingSettings, engine: CatalogueEngine) -> pa.Table:
    """Rows that are priced one by one, part by part."""
    names = [*dict.fromkeys((*FACTS, *DEMAND_CURVE_COLUMNS))]
    unread = ("category", "brand", "zone", "weekday_index", "cross_elasticity")
    read = full.select([n for n in names if n in full.column_names and n not in unread])
    parts = [read.slice(start, PART_ROWS) for start in range(0, max(len(read), 1), PART_ROWS)]
    priced = _mapped(
        lambda part: _priced_part(part, settings=settings, engine=engine),
        parts,
        threads=engine.threads,
    )
    return pa.Table.from_batches(priced, schema=PRICE_SCHEMA)


def _mapped(
    price: Callable[[pa.Table], pa.RecordBatch], parts: list[pa.Table], *, threads: int
) -> list[pa.RecordBatch]:
    if threads < 2 or len(parts) < 2:
        return [price(part) for part in parts]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(price, parts))


def _priced_part(
    part: pa.Table, *, settings: PricingSettings, engine: CatalogueEngine
) -> pa.RecordBatch:
    """The price table of some rows, none of which has substitutes."""
    keys = {name: _one_array(part[name]) for name in ("product_id", "store_id")}
    frame = part.drop_columns(list(keys)).to_pandas()
    frame = frame.assign(replenished=frame["on_hand"].isna())
    inputs = row_inputs(frame, settings=settings, candidates=3)
    choice = kernel_choice(inputs, settings=settings, solve=engine.solve)
    columns = table_columns(inputs, choice=choice, settings=settings, weigh=engine.weigh)
    arrays = [
        _array((keys | columns)[field.name], field.type, len(frame)) for field in PRICE_SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=PRICE_SCHEMA)


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _array(values: Any, kind: pa.DataType, count: int) -> pa.Array:
    if isinstance(values, pa.Array):
        return values
    if isinstance(values, (str, int)):
        return _repeated(pa.scalar(values, kind), count)
    return pa.array(values, kind, from_pandas=True)


def _repeated(value: pa.Scalar, count: int) -> pa.Array:
    """``pa.repeat``, which refuses to repeat nothing."""
    return pa.repeat(value, max(count, 1)).slice(0, count)
