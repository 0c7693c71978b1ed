"""The published price tables as a Dagster resource.

Belongs here: the address; publishing and reading are ``serving.price_store``.
"""

from __future__ import annotations

from pathlib import Path

import dagster as dg
from pydantic import Field

from serving.price_store import PriceStore
from serving.sales_history import SalesHistory


class PriceStoreResource(dg.ConfigurableResource):
    """The price store of a home, and the folder of its reports."""

    root: str = Field(description="Folder of the published tables.")
    reports: str = Field(description="Folder of the evaluation reports.")

    def store(self) -> PriceStore:
        """The plain store."""
        return PriceStore(Path(self.root))

    def history(self) -> SalesHistory:
        """The sales histories that the service's pages read."""
        return SalesHistory(Path(self.root) / "history")

    def write_report(self, name: str, content: bytes) -> Path:
        """Write one report file whole and return its path."""
        from serving.durable import replace_durably

        path = Path(self.reports) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(path, content)
        return path
