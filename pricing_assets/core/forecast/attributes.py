"""Integer codes of the series attributes, as trees take them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.panel import Panel

Floats = NDArray[np.float64]

CATEGORICAL = ("category", "brand", "store")
"""Integer-coded series attributes."""


@dataclass(frozen=True, slots=True)
class AttributeCodes:
    """Integer codes of the series attributes; an unseen value is -1 (unknown).

    Attributes:
        values: attribute -> known values, position is the code.
    """

    values: dict[str, tuple[str, ...]]

    @classmethod
    def learn(cls, panel: Panel) -> AttributeCodes:
        """Codes of the values that the panel holds."""
        columns = {"category": "category", "brand": "brand", "store": "store_id"}
        return cls(
            {
                name: tuple(sorted(panel.series[column].astype(str).unique()))
                for name, column in columns.items()
            }
        )

    def encode(self, panel: Panel) -> Floats:
        """(S, 3) codes, NaN where unseen."""
        columns = {"category": "category", "brand": "brand", "store": "store_id"}
        coded = []
        for name in CATEGORICAL:
            lookup = {value: float(code) for code, value in enumerate(self.values[name])}
            texts = panel.series[columns[name]].astype(str)
            coded.append([lookup.get(text, np.nan) for text in texts])
        return np.asarray(coded, np.float64).T
