"""The tables of evidence that a report shows beside its counts, as plain records.

Belongs here: which tables, and their columns. Drawing them is ``report_accuracy``,
``report_robustness`` and ``report_decision``.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, fields
from typing import Any

import pandas as pd

Records = list[dict[Hashable, Any]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Frames that the stages made; a part without its frame is left out of the page.

    Attributes:
        slices: ``accuracy_slices``.
        calibration: ``calibration_table``.
        sensitivity: columns ``SENSITIVITY_COLUMNS``.
        methods: columns ``METHOD_COLUMNS``.
        goals: ``PortfolioPlan.frame``.
        frontier: ``price_frontier``.
        off_policy: the policies' values from logged prices, a row an estimate.
    """

    slices: pd.DataFrame | None = None
    calibration: pd.DataFrame | None = None
    sensitivity: pd.DataFrame | None = None
    methods: pd.DataFrame | None = None
    goals: pd.DataFrame | None = None
    frontier: pd.DataFrame | None = None
    off_policy: pd.DataFrame | None = None

    def records(self) -> dict[str, Records]:
        """Each frame's rows by name; none where there is no frame."""
        frames = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: [] if frame is None else frame.to_dict("records")
            for name, frame in frames.items()
        }
