"""The gates before promotion: what a model and its price table must meet to become champion.

Belongs here: the thresholds' comparison, each with its value. What happens to a candidate that
fails is the registration asset's and the publication's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pricing_assets.core.settings import GateParameters


@dataclass(frozen=True, slots=True)
class Gate:
    """One condition of promotion.

    Attributes:
        name: what is measured.
        value: what was measured; NaN fails.
        threshold: what it must meet.
        bound: whether the value may be at most or at least the threshold.
    """

    name: str
    value: float
    threshold: float
    bound: Literal["at most", "at least"]

    @property
    def passed(self) -> bool:
        """The value meets the threshold."""
        if self.bound == "at most":
            return bool(self.value <= self.threshold)
        return bool(self.value >= self.threshold)

    def as_json(self) -> dict[str, Any]:
        """The gate and its outcome; a NaN becomes null."""
        value = self.value if np.isfinite(self.value) else None
        return {**asdict(self), "value": value, "passed": self.passed}

    def sentence(self) -> str:
        """The gate in words, for a log line or an error."""
        return f"{self.name} is {self.value:.4g}, must be {self.bound} {self.threshold:.4g}"


def promotion_gates(
    *,
    backtest: pd.DataFrame,
    price_table: pd.DataFrame,
    baselines: tuple[str, ...],
    parameters: GateParameters,
) -> tuple[Gate, ...]:
    """The gates of one candidate.

    Args:
        backtest: columns model, origin, wape, coverage_80, chosen; rows of origin 'all' count.
        price_table: the proposed prices.
        baselines: names of the plain forecasters.
        parameters: thresholds.
    """
    overall = backtest[backtest["origin"] == "all"].set_index("model")
    chosen = overall[overall["chosen"]].iloc[0]
    plain = overall.loc[overall.index.isin(baselines), "wape"].min()
    ratio = float(chosen["wape"] / plain) if plain > 0 else float("nan")
    return (
        Gate("forecast_wape_ratio", ratio, parameters.max_wape_ratio, "at most"),
        Gate(
            "interval_coverage",
            float(chosen["coverage_80"]),
            parameters.min_coverage,
            "at least",
        ),
        Gate("guard_rail_violations", float(violations(price_table)), 0.0, "at most"),
        Gate(
            "priced_products", float(price_table["recommended_price"].notna().sum()), 1, "at least"
        ),
    )


def violations(price_table: pd.DataFrame) -> int:
    """Rows whose recommended price is outside [price_floor, price_ceiling] by over 1e-6."""
    price = price_table["recommended_price"].to_numpy(dtype=np.float64)
    low = price_table["price_floor"].to_numpy(dtype=np.float64)
    high = price_table["price_ceiling"].to_numpy(dtype=np.float64)
    return int(((price < low - 1e-6) | (price > high + 1e-6) | (price <= 0)).sum())


def all_passed(gates: tuple[Gate, ...] | list[Mapping[str, Any]]) -> bool:
    """Every gate holds."""
    return all(gate.passed if isinstance(gate, Gate) else gate["passed"] for gate in gates)
