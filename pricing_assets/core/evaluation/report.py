"""The numbers of a run's evaluation report, as one JSON-able dictionary.

Belongs here: counting and summarising what the stages made. Drawing is
``core.evaluation.report_page``; comparing with a simulated truth is ``core.evaluation.truth``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from pricing_assets.core.evaluation.report_drivers import largest_drivers
from pricing_assets.core.evaluation.report_evidence import Evidence
from pricing_assets.core.evaluation.truth import TruthComparison
from pricing_assets.core.guardrails import RULES_VERSION
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.settings import PricingSettings

ALL_ORIGINS = "all"
"""Value of ``origin`` in a backtest's row of means."""

LARGEST_CHANGES = 10
FOREST_ROWS = 24
HISTOGRAM_BINS = 24

GUARD_RAIL_CODES = frozenset(rule.code for rule in Rule if rule != Rule.NONE)

REAL_DATA_CLAIM = (
    "These are real data, so no profit uplift is claimed: what other prices would have earned was "
    "never seen. The expected figures are the model's own; only a price experiment can measure "
    "them."
)
SIMULATED_CLAIM = (
    "These are simulated data: the market knows its own demand, so the recommended prices are "
    "valued by its truth. Nothing here says what real customers would do."
)

_CODE = re.compile(r"(?:^|; )([a-z_]+): ")


def evaluation_numbers(
    *,
    backtest: pd.DataFrame,
    elasticities: pd.DataFrame,
    price_table: pd.DataFrame,
    quarantine: pd.DataFrame,
    truth: TruthComparison | None,
    settings: PricingSettings,
    price_drivers: pd.DataFrame | None = None,
    forecast_drivers: pd.DataFrame | None = None,
    evidence: Evidence | None = None,
) -> dict[str, Any]:
    """All numbers of the report; every NaN becomes None, so that the result is strict JSON.

    Args:
        backtest: columns model, origin (a date, or ``all`` for the mean) and one column a
            metric, among them wape.
        elasticities: product_id, store_id, own_price_elasticity, sd, low_90, high_90, method.
        price_table: columns of ``tables.PRICE_TABLE_COLUMNS``, stamps not needed.
        quarantine: table, reason, count.
        truth: the comparison on simulated data; None on real data.
        settings: of the run.
        price_drivers: from ``price_drivers``; shown for the changes that matter most.
        forecast_drivers: from ``ForecastExplanation.to_frame``, some or all products.
        evidence: further tables; those that are not there are left out.

    Returns:
        accuracy, elasticity, prices, drivers, guard_rails, held, quarantine, truth, claim,
        settings, gates (empty; see :func:`with_gates`), and the tables of ``evidence``.
    """
    prices = _prices(price_table)
    codes = [reason_codes(text) for text in price_table["reasons"].astype(str)]
    held = (price_table["decision"] == "hold").to_numpy()
    return _strict(
        {
            "claim": REAL_DATA_CLAIM if truth is None else SIMULATED_CLAIM,
            "accuracy": _accuracy(backtest),
            "elasticity": _elasticity(elasticities),
            "prices": prices,
            "drivers": largest_drivers(
                prices["largest_changes"],
                price_drivers=price_drivers,
                forecast_drivers=forecast_drivers,
            ),
            "guard_rails": _count(code for row in codes for code in row & GUARD_RAIL_CODES),
            "held": _count(
                _holding_code(row) for row, hold in zip(codes, held, strict=True) if hold
            ),
            "quarantine": quarantine[["table", "reason", "count"]].to_dict("records"),
            "truth": None if truth is None else asdict(truth),
            "settings": {
                "objective": settings.objective,
                "currency": settings.currency,
                "horizon_days": settings.horizon_days,
                "min_margin": settings.min_margin,
                "max_price_change": settings.max_price_change,
                "hold_above_p_worse": settings.price_table.hold_above_p_worse,
                "price_ending": settings.guardrails.price_ending,
                "rules_version": RULES_VERSION,
            },
            "gates": [],
            **(evidence or Evidence()).records(),
        }
    )


def with_gates(numbers: Mapping[str, Any], gates: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The report's numbers with the promotion's outcome: each gate as ``Gate.as_json`` gives it."""
    return {**numbers, "gates": [_strict(dict(gate)) for gate in gates]}


def reason_codes(text: str) -> set[str]:
    """Stable codes named in a price's ``reasons``."""
    return set(_CODE.findall(text))


def _holding_code(codes: set[str]) -> str:
    """Why a price is held: the first code that is neither a rule's limit nor a caution."""
    refusals = {rule.code for rule in (Rule.INVALID_CURRENT_PRICE, Rule.INVALID_COST)}
    refusals |= {Rule.INVALID_MAP.code, "missing_cost", "no_demand_curve"}
    holding = sorted(code for code in codes if code in refusals or code.startswith("hold_"))
    return holding[0] if holding else "other"


def _accuracy(backtest: pd.DataFrame) -> dict[str, Any]:
    mean = backtest[backtest["origin"].astype(str) == ALL_ORIGINS]
    models = mean.drop(columns="origin").sort_values("wape", kind="stable")
    origins = backtest[backtest["origin"].astype(str) != ALL_ORIGINS]["origin"].astype(str)
    summary: dict[str, Any] = {
        "origins": sorted(origins.unique()),
        "models": models.to_dict("records"),
    }
    if len(models):
        best = models.iloc[0]
        summary |= {"best_model": str(best["model"]), "best_wape": float(best["wape"])}
    return summary


def _elasticity(frame: pd.DataFrame) -> dict[str, Any]:
    values = frame["own_price_elasticity"].to_numpy(dtype=np.float64)
    known = values[np.isfinite(values)]
    if not known.size:
        return {"rows": len(frame), "known": 0, "histogram": [], "forest": [], "methods": {}}
    counts, edges = np.histogram(known, bins=HISTOGRAM_BINS)
    return {
        "rows": len(frame),
        "known": int(known.size),
        "median": float(np.median(known)),
        "low": float(np.quantile(known, 0.05)),
        "high": float(np.quantile(known, 0.95)),
        "median_sd": float(np.nanmedian(frame["sd"].to_numpy(dtype=np.float64))),
        "inelastic_share": float(np.mean(known > -1)),
        "methods": _count(frame["method"].astype(str)),
        "histogram": [
            {"from": float(left), "to": float(right), "count": int(count)}
            for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True)
        ],
        "forest": _forest(frame[np.isfinite(values)]),
    }


def _forest(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Rows evenly spaced through the sorted elasticities, the extremes among them."""
    ordered = frame.sort_values("own_price_elasticity", kind="stable")
    places = np.unique(np.linspace(0, len(ordered) - 1, min(FOREST_ROWS, len(ordered))).astype(int))
    columns = ["product_id", "store_id", "own_price_elasticity", "low_90", "high_90"]
    return ordered.iloc[places][columns].to_dict("records")


def _prices(table: pd.DataFrame) -> dict[str, Any]:
    change = (table["recommended_price"] / table["current_price"] - 1).to_numpy(dtype=np.float64)
    changed = (table["decision"] == "change").to_numpy()
    raised = changed & (table["recommended_price"] > table["current_price"]).to_numpy()
    uplift = table["expected_profit"] - table["expected_profit_at_current"]
    known = uplift.notna().to_numpy()
    return {
        "rows": len(table),
        "changed": int(changed.sum()),
        "raised": int(raised.sum()),
        "cut": int((changed & ~raised).sum()),
        "held": int((table["decision"] == "hold").sum()),
        "unpriced": int(table["recommended_price"].isna().sum()),
        "mean_change_of_changed": _mean(change[changed]),
        "mean_confidence": _mean(table["confidence"].to_numpy(dtype=np.float64)),
        "mean_p_worse_of_changed": _mean(table["p_worse"].to_numpy(dtype=np.float64)[changed]),
        "expected_revenue": float(table["expected_revenue"].sum()),
        "with_profit": int(known.sum()),
        "expected_profit": float(table["expected_profit"][known].sum()),
        "expected_profit_at_current": float(table["expected_profit_at_current"][known].sum()),
        "expected_uplift": float(uplift[known].sum()),
        "largest_changes": _largest_changes(table.assign(change=change, uplift=uplift)),
    }


def _largest_changes(table: pd.DataFrame) -> list[dict[Hashable, Any]]:
    columns = [
        "product_id",
        "store_id",
        "current_price",
        "recommended_price",
        "change",
        "uplift",
        "profit_uplift_low_90",
        "profit_uplift_high_90",
        "p_worse",
        "reasons",
    ]
    size = table["uplift"].abs().fillna(0.0)
    order = table.assign(size=size, step=table["change"].abs())
    order = order[order["decision"] == "change"]
    return order.nlargest(LARGEST_CHANGES, ["size", "step"])[columns].to_dict("records")


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else float("nan")


def _count(codes: Iterable[str]) -> dict[str, int]:
    return dict(Counter(codes).most_common())


def _strict(value: Any) -> Any:
    """The value in plain JSON types: NaN and infinity become None, NumPy scalars Python's."""
    if isinstance(value, dict):
        return {str(key): _strict(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_strict(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
