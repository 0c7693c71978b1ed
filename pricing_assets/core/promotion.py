"""The gates before promotion: what a model and its price table must meet to become champion.

Belongs here: what a gate is, and those of the forecast and the prices. The gates of data, drift,
fairness and logged prices are ``core.promotion_evidence``; what happens to a candidate that fails
is the registration asset's and the publication's.
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
        why: what the value is of, in words.
        optional: a value that could not be measured (NaN) passes, and ``why`` says so.
    """

    name: str
    value: float
    threshold: float
    bound: Literal["at most", "at least"]
    why: str = ""
    optional: bool = False

    @property
    def measured(self) -> bool:
        """The value is known."""
        return bool(np.isfinite(self.value))

    @property
    def passed(self) -> bool:
        """The value meets the threshold, or is allowed to be unknown."""
        if self.optional and not self.measured:
            return True
        if self.bound == "at most":
            return bool(self.value <= self.threshold)
        return bool(self.value >= self.threshold)

    def as_json(self) -> dict[str, Any]:
        """The gate and its outcome; a value that is unknown and a limit that is none are null."""
        value = float(self.value) if self.measured else None
        threshold = float(self.threshold) if np.isfinite(self.threshold) else None
        return {**asdict(self), "value": value, "threshold": threshold, "passed": self.passed}


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
        Gate(
            "forecast_wape_ratio",
            ratio,
            parameters.max_wape_ratio,
            "at most",
            f"WAPE {chosen['wape']:.3f} against {plain:.3f} of the better plain forecaster",
        ),
        Gate(
            "interval_coverage",
            float(chosen["coverage_80"]),
            parameters.min_coverage,
            "at least",
            "share of held-out sales inside the 80 % interval",
        ),
        Gate(
            "guard_rail_violations",
            float(violations(price_table)),
            0.0,
            "at most",
            "prices outside their floor and ceiling",
        ),
        Gate(
            "priced_products",
            float(price_table["recommended_price"].notna().sum()),
            1,
            "at least",
            "rows of the table that have a price",
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


def gate_report(gates: Mapping[str, Any], *, version: str, alias: str) -> dict[str, Any]:
    """What the service and ``pricing status`` show of the last candidate.

    Args:
        gates: generated_at, and checks as :meth:`Gate.as_json` gives them.
        version: the candidate's, in the registry.
        alias: what it became.

    Returns:
        generated_at, model_version, alias, checks, alarms (name and why of each that failed).
    """
    failed = [gate for gate in gates["checks"] if not gate["passed"]]
    alarms = [{"name": gate["name"], "why": gate_sentence(gate)} for gate in failed]
    return {**gates, "model_version": version, "alias": alias, "alarms": alarms}


def gate_sentence(gate: Mapping[str, Any]) -> str:
    """One gate, as :meth:`Gate.as_json` gives it, in words."""
    value = gate["value"]
    shown = "unknown" if value is None else f"{value:.4g}"
    limit = "any" if gate["threshold"] is None else f"{gate['threshold']:.4g}"
    text = f"{gate['name']} is {shown}, must be {gate['bound']} {limit}"
    return f"{text} ({gate['why']})" if gate.get("why") else text


def require_champion(registered: Mapping[str, Any]) -> None:
    """Refuse to publish prices of a model that was not promoted.

    Args:
        registered: name, version, alias, and gates as :meth:`Gate.as_json` gives them.

    Raises:
        NotPromotedError: the version is not the champion.
    """
    if registered["alias"] == CHAMPION:
        return
    failed = [gate_sentence(gate) for gate in registered["gates"] if not gate["passed"]]
    raise NotPromotedError(
        f"version {registered['version']} of '{registered['name']}' is not the champion "
        f"({'; '.join(failed)}), so its prices are not published. Mend the data or the model, or "
        "set the thresholds under 'gate', and run the pipeline again"
    )
