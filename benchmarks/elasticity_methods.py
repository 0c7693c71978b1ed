"""Every estimator against the simulated market's truth, and on public data where it is at hand.

Each method's own slopes go through the same pooling, so that the table shows what the estimator is
worth, and ``raw`` what it says before pooling.

Run: ``python -m benchmarks.elasticity_methods --seeds 1 2 3 [--data FOLDER --config FILE]``.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pricing_assets.core.elasticity.estimate import estimate_elasticities
from pricing_assets.core.elasticity.methods_table import methods_table
from pricing_assets.core.features import build_panel
from pricing_assets.core.market import MarketParameters, simulate_market
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings
from resources.raw_tables import read_raw_tables
from serving.home import load_settings

METHODS = ("auto", "local_level_gls", "double_ml", "fixed_effects", "instrumental")
MEBIBYTE = 1024
Z90 = 1.645


@dataclass(frozen=True, slots=True)
class Accuracy:
    """One method on one market; ``coverage`` is of the 90 % intervals."""

    method: str
    used: str
    rmse: float
    bias: float
    coverage: float
    raw_rmse: float
    seconds: float


def main() -> None:
    """Print the table of the simulated markets, or that of a data set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=240)
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--without", choices=("nothing", "cost", "promotions"), default="nothing")
    parser.add_argument("--data", help="folder of raw tables, in place of simulated markets")
    parser.add_argument("--config", type=Path, help="YAML of that data set")
    options = parser.parse_args()
    if options.data:
        print(on_data(options.data, options.config))
        return
    rows = []
    for seed in options.seeds:
        print(f"seed {seed} ...", flush=True)
        parameters = MarketParameters(products=options.products, days=options.days, seed=seed)
        rows += on_market(parameters, without=options.without)
    print(accuracy_table(rows))


def on_market(parameters: MarketParameters, *, without: str) -> list[Accuracy]:
    """Every method on one simulated market; ``without`` hides costs or promotions."""
    market = simulate_market(parameters)
    tables = market.raw_tables()
    if without == "cost":
        tables = {**tables, "products": tables["products"].drop(columns="unit_cost")}
        tables.pop("costs")
    if without == "promotions":
        regular = tables["sales"]["promo"] == 0
        tables = {**tables, "sales": tables["sales"].loc[regular].drop(columns="promo")}
    panel = build_panel(tables, PricingSettings())
    truth = market.own_price_elasticity()
    return [accuracy(panel, truth, method) for method in METHODS]


def accuracy(panel: Panel, truth: np.ndarray, method: str) -> Accuracy:
    """One method against ``truth`` (S,)."""
    usual = PricingSettings()
    changed = usual.elasticity.model_copy(update={"method": method})
    start = time.perf_counter()
    found = estimate_elasticities(panel, settings=usual.model_copy(update={"elasticity": changed}))
    seconds = time.perf_counter() - start
    frame = found.frame
    error = frame["own_price_elasticity"].to_numpy() - truth
    raw = frame["raw_estimate"].to_numpy() - truth
    return Accuracy(
        method=method,
        used=found.choice.method,
        rmse=float(np.sqrt(np.mean(error**2))),
        bias=float(error.mean()),
        coverage=float(np.mean(np.abs(error) < Z90 * frame["sd"].to_numpy())),
        raw_rmse=float(np.sqrt(np.nanmean(raw**2))),
        seconds=seconds,
    )


def accuracy_table(rows: list[Accuracy]) -> str:
    """Means over the seeds, one line a method."""
    lines = [f"{'method':<18}{'used':<18}{'rmse':>7}{'bias':>7}{'in 90 %':>9}{'raw':>7}{'s':>7}"]
    for method in METHODS:
        own = [row for row in rows if row.method == method]
        used = "/".join(sorted({row.used for row in own}))
        numbers = np.array([[r.rmse, r.bias, r.coverage, r.raw_rmse, r.seconds] for r in own]).mean(
            axis=0
        )
        lines.append(
            f"{method:<18}{used:<18}{numbers[0]:>7.2f}{numbers[1]:>7.2f}{numbers[2]:>9.2f}"
            f"{numbers[3]:>7.2f}{numbers[4]:>7.1f}"
        )
    return "\n".join(lines)


def on_data(folder: str, config: Path | None) -> str:
    """The table of methods on raw tables, with the time and memory of the estimation."""
    settings = load_settings(config)
    tables = read_raw_tables(folder, settings=settings)
    accepted = {name: table.accepted for name, table in tables.items()}
    panel = build_panel(accepted, settings)
    start = time.perf_counter()
    estimates = estimate_elasticities(panel, settings=settings)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / MEBIBYTE
    frame = estimates.frame[["own_price_elasticity", "sd", "low_90", "high_90"]]
    wrong = int((~np.isfinite(frame.to_numpy(dtype=np.float64))).sum())
    table = methods_table(panel, settings=settings, estimates=estimates)
    low, high = (estimates.assortment_mean + z * estimates.assortment_sd for z in (-Z90, Z90))
    heading = (
        f"{panel.shape[0]} series x {panel.shape[1]} periods, {seconds:.1f} s, peak {peak:.0f} MiB,"
        f" {wrong} figures not finite\n"
        f"pooled elasticity {estimates.assortment_mean:.2f}, 90 % from {low:.2f} to {high:.2f}"
    )
    with pd.option_context("display.width", 200, "display.max_colwidth", 80):
        shown = table.drop(columns=["reason", "identified_by"]).round(3).to_string(index=False)
    reasons = "\n".join(f"{row.method}: {row.reason}" for row in table.itertuples())
    return "\n".join([heading, shown, reasons])


if __name__ == "__main__":
    main()
