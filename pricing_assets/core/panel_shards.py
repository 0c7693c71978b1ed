"""Panels of a part of the products that are exactly the rows of the whole panel.

Belongs here: what a part must be told of the whole (its dates, what an absent row means), and a
panel's cells as rows that name their series and date, so that parts can be put together in any
order. Building a panel is ``core.features``; engines are ``resources.spark_shards``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pricing_assets.core.features import Tables, absent_rows_rule, build_panel
from pricing_assets.core.panel import PANEL_MATRICES, Panel
from pricing_assets.core.settings import IngestionParameters, PricingSettings

_FLAGS = frozenset({"on_sale", "censored"})

CELL_SCHEMA = pa.schema(
    [
        ("product_id", pa.string()),
        ("store_id", pa.string()),
        ("date", pa.date32()),
        *((name, pa.bool_() if name in _FLAGS else pa.float64()) for name in PANEL_MATRICES),
    ]
)
"""One row a series and period; numbers as in ``core.panel.Panel``, NaN where unknown."""


@dataclass(frozen=True, slots=True)
class WholeSales:
    """What a part of the sales cannot know of all of them.

    Attributes:
        days: (d,) datetime64[D], the distinct dates of all sales, ascending.
        zero_share: share of all sales rows with no unit sold.
    """

    days: NDArray[np.datetime64]
    zero_share: float

    def settings(self, settings: PricingSettings) -> PricingSettings:
        """The settings with what an absent row means decided by all sales."""
        rule = absent_rows_rule(settings.ingestion, zero_share=self.zero_share)
        decided = settings.ingestion.model_dump() | {"absent_rows": rule}
        ingestion = IngestionParameters.model_validate(decided)
        return settings.model_copy(update={"ingestion": ingestion})


def part_cells(tables: Tables, *, whole: WholeSales, settings: PricingSettings) -> pa.Table:
    """Rows of ``CELL_SCHEMA`` of some products, each with all its rows in every table.

    The rows of all parts together are those of the whole panel, provided that either every sale
    names its store or none does.

    Raises:
        MissingTableError: there is no ``sales`` table.
        EmptyTableError: ``sales`` has no row.
        InputError: more series or cells than the settings allow.
    """
    return panel_cells(build_panel(tables, whole.settings(settings), days=whole.days))


def panel_cells(panel: Panel) -> pa.Table:
    """The panel's cells as rows of ``CELL_SCHEMA``, series by series, dates ascending."""
    series, periods = panel.shape
    ids = {name: np.repeat(panel.series[name], periods) for name in ("product_id", "store_id")}
    dates = np.tile(panel.dates.astype("datetime64[D]"), series)
    cells = {name: getattr(panel, name).ravel() for name in PANEL_MATRICES}
    return pa.table({**ids, "date": dates, **cells}, schema=CELL_SCHEMA)
