"""The gates before promotion: what a model and its price table must meet to become champion.

Belongs here: the thresholds' comparison, each with its value. What happens to a candidate that
fails is the registration asset's and the publication's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from pricing_assets.core.errors import NotPromotedError
from pricing_assets.core.settings import GateParameters

CHAMPION = "champion"
CHALLENGER = "challenger"


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


def all_passed(gates: Iterable[Gate]) -> bool:
    """Every gate holds."""
    return all(gate.passed for gate in gates)


def require_champion(registered: Mapping[str, Any]) -> None:
    """Refuse to publish prices of a model that was not promoted.

    Args:
        registered: name, version, alias, and gates as :meth:`Gate.as_json` gives them.

    Raises:
        NotPromotedError: the version is not the champion.
    """
    if registered["alias"] == CHAMPION:
        return
    failed = [
        f"{gate['name']} is {gate['value']}, must be {gate['bound']} {gate['threshold']}"
        for gate in registered["gates"]
        if not gate["passed"]
    ]
    raise NotPromotedError(
        f"version {registered['version']} of '{registered['name']}' is not the champion "
        f"({'; '.join(failed)}), so its prices are not published. Mend the data or the model, or "
        "set the thresholds under 'gate', and run the pipeline again"
    )
