"""What is kept between runs for watching a promoted model, as a Dagster resource.

Belongs here: the promoted model's forecast of an earlier run, the log of served prices, and the
reports that the service shows. Measuring is ``core.evaluation``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field
from upath import UPath

from pricing_assets.core.errors import NotPublishedError
from resources.asset_store import load_value
from serving.durable import replace_durably

PROMOTED_FORECAST = "promoted_forecast"
"""The asset that an earlier run stored: a run reads what the one before it promised."""


class MonitoringResource(dg.ConfigurableResource):
    """Addresses in a home."""

    assets: str = Field(description="Folder or address of the stored assets.")
    reports: str = Field(description="Folder of the reports.")
    audit: str = Field(description="Folder of the log of served prices.")

    def promoted_forecast(self) -> pd.DataFrame | None:
        """The forecast of the model promoted last; None before the first promotion."""
        try:
            frame = load_value(UPath(self.assets) / PROMOTED_FORECAST)
        except NotPublishedError:
            return None
        return frame if isinstance(frame, pd.DataFrame) and len(frame) else None

    def write_report(self, name: str, values: Mapping[str, Any]) -> Path:
        """Write ``<name>.json`` whole and return its path."""
        path = Path(self.reports) / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_durably(path, json.dumps(values, indent=1, allow_nan=False).encode())
        return path

    @property
    def audit_folder(self) -> Path:
        """Folder of the log of served prices; it need not exist."""
        return Path(self.audit)
