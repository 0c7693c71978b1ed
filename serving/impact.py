"""The impact page's data: the report that the pipeline wrote, and what the table in use expects.

Belongs here: reading that file and putting the present table beside it. The numbers are
``core.evaluation.impact``.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from pricing_assets.core.errors import IntegrityError, NotPublishedError
from serving.desk import Desk
from serving.home import Home
from serving.pages import Asked, DataRoute
from serving.price_store import PriceStore
from serving.wire import encode_json

IMPACT_FILE = "impact.json"


class ImpactData:
    """The data of the impact page, over one worker's desk and home."""

    def __init__(self, desk: Desk, home: Home) -> None:
        self._desk = desk
        self._store = PriceStore(home.tables)
        self._report = home.reports / IMPACT_FILE

    def routes(self) -> Mapping[str, DataRoute]:
        """The addresses of the page's data."""
        return {"/impact_report": DataRoute("GET", self.report, heavy=True)}

    async def report(self, _: Asked) -> bytes:
        """The report, and the table in use: what it expects and what is under test.

        Raises:
            NotPublishedError: no report was written in this home.
            IntegrityError: the report cannot be read.
        """
        catalog = self._desk.loaded()
        report = await asyncio.to_thread(_read, self._report)
        table = await asyncio.to_thread(_expected, self._store, catalog.version)
        # A model's expectation of a gain is shown beside a simulated market's truth, never for
        # real sales, where it would read as an uplift.
        if not report["simulated"]:
            table.pop("expected_gain")
        manifest = catalog.manifest
        return encode_json(
            {
                **report,
                "table": {
                    "table_version": manifest.table_version,
                    "published_at": manifest.published_at.isoformat(),
                    "currency": manifest.currency,
                    **table,
                },
            }
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        report: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise NotPublishedError(
            "no impact report is written yet; the next 'pricing run' writes it"
        ) from None
    except (OSError, ValueError) as failure:
        raise IntegrityError(f"{path.name} cannot be read: {failure}; run again") from None
    return report


def _expected(store: PriceStore, version: str) -> dict[str, Any]:
    """Counts of the table, and what its model expects of it against the current prices."""
    names = ("decision", "expected_profit", "expected_profit_at_current", "horizon_days")
    rows = store.read_prices(version, columns=names)
    gain = np.asarray(pc.subtract(rows["expected_profit"], rows["expected_profit_at_current"]))
    counts = {one["values"]: one["counts"] for one in pc.value_counts(rows["decision"]).to_pylist()}
    return {
        "rows": rows.num_rows,
        "decisions": counts,
        "tested": counts.get("test", 0),
        "horizon_days": rows["horizon_days"][0].as_py() if rows.num_rows else None,
        "expected_gain": float(np.nansum(gain.astype(np.float64))),
    }
