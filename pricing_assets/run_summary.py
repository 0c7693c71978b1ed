"""What a run has learned and proposed, in a few lines for the command line and the demo.

Belongs here: reading stored results and laying them out as text. No Dagster is loaded.
"""

from __future__ import annotations

from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
from upath import UPath

from pricing_assets.core.errors import NotPublishedError
from pricing_assets.pipeline_run import FinishedRun
from resources.asset_store import load_value
from serving.home import Home
from serving.price_store import PriceStore

_TOP = 10


def summary_lines(home: Home, finished: FinishedRun) -> list[str]:
    """The run, what was learned, and what was published."""
    return [
        "",
        *learned_lines(home),
        "",
        *_reuse_lines(finished),
        f"published price table {finished.table_version}",
        f"Dagster run {finished.run_id}",
        f"MLflow run  {finished.mlflow_run_id or 'none'}",
    ]


def _reuse_lines(finished: FinishedRun) -> list[str]:
    if finished.reused is None:
        return []
    return [
        f"data, settings and code are those of run {finished.reused}, so its models and curves",
        "were taken, and prices alone made anew (pricing run --again makes everything)",
    ]


def learned_lines(home: Home) -> list[str]:
    """Accuracy against the baselines, elasticities, and the share of the oracle's uplift."""
    backtest = _stored(home, "forecast_backtest")
    return [
        *_accuracy_lines(backtest),
        *_elasticity_lines(_stored(home, "own_price_elasticity")),
        *_price_lines(PriceStore(home.tables).read_current().prices.to_pandas()),
        *_truth_lines(_stored(home, "evaluation_report")),
    ]


def largest_changes(home: Home, *, rows: int = _TOP) -> list[str]:
    """The published table's largest price changes with their evidence, as an aligned table.

    Raises:
        NotPublishedError: nothing was published in this home.
    """
    prices = PriceStore(home.tables).read_current().prices.to_pandas()
    relative = prices["recommended_price"] / prices["current_price"] - 1
    order = relative.abs().sort_values(ascending=False, kind="stable").index[:rows]
    shown = prices.loc[order].assign(change=relative.loc[order])
    heading = (
        f"{'product':<12} {'store':<8} {'now':>9} {'new':>9} {'change':>7} "
        f"{'profit':>10} {'gain':>9} {'90 % interval of gain':>22} {'P(worse)':>8}  reason"
    )
    return [heading, *(_change_line(row) for row in shown.to_dict(orient="records"))]


def _change_line(row: dict[str, Any]) -> str:
    gain = row["expected_profit"] - row["expected_profit_at_current"]
    low, high = row["profit_uplift_low_90"], row["profit_uplift_high_90"]
    interval = f"{low:+.1f} to {high:+.1f}" if np.isfinite(low) else "-"
    return (
        f"{str(row['product_id'])[:12]:<12} {str(row['store_id'])[:8]:<8} "
        f"{row['current_price']:>9.2f} {row['recommended_price']:>9.2f} {row['change']:>+7.1%} "
        f"{_known(row['expected_profit'], '.1f'):>10} {_known(gain, '+.1f'):>9} {interval:>22} "
        f"{_known(row['p_worse'], '.2f'):>8}  {_reason(row['reasons'])}"
    )


def _known(value: float, form: str) -> str:
    """The number, or a dash where it is not known (no cost, no profit)."""
    return format(value, form) if np.isfinite(value) else "-"


def _reason(reasons: object) -> str:
    """The first reason, short enough for a line."""
    listed = list(reasons) if isinstance(reasons, list | tuple | np.ndarray) else [str(reasons)]
    return shorten(str(listed[0]), width=60, placeholder="…") if listed else ""


def _accuracy_lines(backtest: pd.DataFrame) -> list[str]:
    overall = backtest[backtest["origin"] == "all"].sort_values("wape", kind="stable")
    return [
        "walk-forward accuracy (WAPE: share of units wrong; coverage of the 80 % interval)",
        *(
            f"  {row.model:<16} WAPE {row.wape:.3f}  coverage {row.coverage_80:.2f}"
            f"{'  <- used' if row.chosen else ''}"
            for row in overall.itertuples()
        ),
    ]


def _elasticity_lines(elasticities: pd.DataFrame) -> list[str]:
    mean = elasticities["own_price_elasticity"]
    low, high = elasticities["low_90"].mean(), elasticities["high_90"].mean()
    return [
        f"own-price elasticity: mean {mean.mean():.2f} (mean 90 % interval {low:.2f} to "
        f"{high:.2f}), from {mean.min():.2f} to {mean.max():.2f} over {len(mean)} series"
    ]


def _price_lines(prices: pd.DataFrame) -> list[str]:
    decisions = prices["decision"].value_counts()
    counts = ", ".join(f"{name} {count}" for name, count in decisions.items())
    return [f"prices: {counts}; {_expectation(prices)}"]


def _expectation(prices: pd.DataFrame) -> str:
    known = prices[prices["expected_profit"].notna()]
    if known.empty:
        revenue = prices["expected_revenue"].sum()
        return f"the model expects a revenue of {revenue:,.0f} (no cost is known, so no profit)"
    now, new = known["expected_profit_at_current"].sum(), known["expected_profit"].sum()
    relative = f" ({new / now - 1:+.1%})" if now > 0 else ""
    return (
        f"the model expects a profit of {new:,.0f} against {now:,.0f} at the current "
        f"prices{relative}"
    )


def _truth_lines(report: dict[str, Any]) -> list[str]:
    truth = report["truth"]
    if truth is None:
        return [report["claim"]]
    share, regret = truth["share_of_oracle_uplift"], truth["regret"]
    return [
        f"against the simulated truth: {_percent(share)} of the oracle's uplift, regret "
        f"{_percent(regret, digits=1)} of its profit; elasticity error "
        f"{truth['elasticity_rmse']:.2f}, in its 90 % interval {_percent(truth['coverage_90'])}"
    ]


def _percent(share: float | None, *, digits: int = 0) -> str:
    return "unknown" if share is None else f"{share:.{digits}%}"


def _stored(home: Home, asset: str) -> Any:
    try:
        return load_value(UPath(home.assets) / asset)
    except NotPublishedError:
        raise NotPublishedError(
            f"the home {home.root} holds no '{asset}'; run the pipeline first (pricing run)"
        ) from None
