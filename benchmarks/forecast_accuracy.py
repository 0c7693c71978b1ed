"""Forecast accuracy: M5 (one store and department), Dominick's orange juice, and the simulator.

    python -m benchmarks.forecast_accuracy FOLDER [--only m5|orange_juice] [--out FILE.json]
        [--models lightgbm lstm transformer ...] [--last N] [--forecast '{"torch_epochs": 12}']
    python -m benchmarks.forecast_accuracy --only simulator --models lightgbm lstm transformer

FOLDER holds ``m5_foods3_tx3`` and ``oj_dominicks`` (see examples/). A table each is printed:

- M5: 28 days ahead from four origins, the last one the last 28 days given; RMSSE of each item
  weighted by its dollar sales of the 28 days before, scaled from its first sale on (days off sale
  count as zero units, as in the competition).
- Orange juice: the ten rounds of github.com/microsoft/forecasting (weeks 137-138 to 155-156, two
  weeks ahead with a gap of two after the last training week), MAPE over the scanned rows, prices
  and advertisements of the weeks ahead known. The point scored is the one that is best for MAPE
  under a log-normal, median * exp(-s^2), with s from the 80 % interval.
- Simulator: 240 products by 730 days, 28 days ahead from two origins of each of two seeds.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.features import build_panel
from pricing_assets.core.forecast.ensemble import FittedEnsemble
from pricing_assets.core.forecast.interface import Forecast, Forecaster
from pricing_assets.core.forecast.metrics import (
    coverage,
    forecast_metrics,
    mape,
    naive_scale,
    rmsse,
    wape,
)
from pricing_assets.core.forecast.training import make_forecaster
from pricing_assets.core.forecast.windows import actual_plan, usable_cells
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.market import MarketParameters, simulate_market
from pricing_assets.core.panel import Panel
from pricing_assets.core.readers import dominicks, m5
from pricing_assets.core.settings import IngestionParameters, PricingSettings

Floats = NDArray[np.float64]

M5_ORIGINS = (1829, 1857, 1885, 1913)
M5_DAYS = 28
JUICE_FIRST_WEEK = 40
JUICE_TRAIN_ENDS = tuple(range(135, 154, 2))
JUICE_WEEKS = 3
SEEDS = (1, 2)
SIMULATED = {"products": 240, "days": 730}
SIMULATED_ORIGINS = (674, 702)
MODELS = ("seasonal_naive", "ses_weekday", "ensemble")
_NORMAL_80 = 2.563
"""Width of a normal's central 80 % in standard deviations."""

Row = dict[str, str | float]


@dataclass(frozen=True, slots=True)
class Run:
    """What is measured: models, the number of last origins (None: all), and forecast settings."""

    models: tuple[str, ...]
    last: int | None
    forecast: dict[str, Any]

    def settings(self, **defaults: Any) -> PricingSettings:
        """Settings of one benchmark; ``forecast`` among them gives way to the run's own."""
        forecast = ForecastParameters(**{**defaults.pop("forecast", {}), **self.forecast})
        return PricingSettings(forecast=forecast, **defaults)

    def kept(self, origins: Sequence[int]) -> Sequence[int]:
        """The last origins."""
        return origins if self.last is None else origins[-self.last :]


def main() -> int:
    """Run the chosen benchmarks, print their tables and write them where asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("folder", type=Path, nargs="?", help="folder of the public data sets")
    parser.add_argument("--only", choices=tuple(BENCHMARKS), help="one of them")
    parser.add_argument("--models", nargs="+", default=MODELS, help="forecasters")
    parser.add_argument("--last", type=int, help="only that many of the last origins")
    parser.add_argument("--forecast", type=json.loads, default={}, help="JSON of forecast settings")
    parser.add_argument("--out", type=Path, help="JSON file for the rows")
    chosen = parser.parse_args()
    if chosen.folder is None and chosen.only != "simulator":
        parser.error("the folder of the public data sets is needed, or --only simulator")
    run = Run(tuple(chosen.models), chosen.last, chosen.forecast)
    results: dict[str, list[Row]] = {}
    for name in [chosen.only] if chosen.only else ["m5", "orange_juice"]:
        rows = list(BENCHMARKS[name](chosen.folder, run))
        results[name] = [*rows, *_means(rows)]
        table = pd.DataFrame(results[name])
        print(f"\n{name}\n{table.to_string(index=False, float_format='%.4f')}", flush=True)
    if chosen.out is not None:
        chosen.out.write_text(json.dumps(results, indent=1))
    return 0


def m5_rows(folder: Path, run: Run) -> Iterator[Row]:
    """One row an origin and model: weighted RMSSE, WAPE, coverage, seconds."""
    source = folder / "m5_foods3_tx3"
    files = {
        "sales": pd.read_parquet(source / "sales_long.parquet"),
        "calendar": pd.read_csv(source / "calendar.csv"),
    }
    settings = run.settings(
        horizon_days=M5_DAYS,
        ingestion=IngestionParameters(reader="m5"),
        forecast={"max_rows": 600_000, "num_leaves": 63},
    )
    panel = build_panel(m5.read(files, settings.ingestion), settings)
    for origin in run.kept(M5_ORIGINS):
        for name in run.models:
            forecaster = make_forecaster(name, settings=settings)
            for model, forecast, seconds in _forecasts(panel, forecaster, origin, M5_DAYS):
                yield {
                    "origin": str(panel.dates[origin]),
                    "model": model,
                    "weighted_rmsse": weighted_rmsse(panel, forecast.mean, origin=origin),
                    **_plain_scores(panel, forecast, origin=origin, skip=0),
                    "seconds": seconds,
                }


def juice_rows(folder: Path, run: Run) -> Iterator[Row]:
    """One row a round and model: MAPE of the MAPE-optimal point and of the median."""
    files = {"scans": pd.read_parquet(folder / "oj_dominicks" / "oj_weekly.parquet")}
    settings = run.settings(
        horizon_days=7 * JUICE_WEEKS,
        ingestion=IngestionParameters(reader="dominicks"),
    )
    panel = build_panel(dominicks.read(files, settings.ingestion), settings)
    for train_end in run.kept(JUICE_TRAIN_ENDS):
        origin = train_end - JUICE_FIRST_WEEK + 1
        for name in run.models:
            forecaster = make_forecaster(name, settings=settings)
            for model, forecast, seconds in _forecasts(panel, forecaster, origin, JUICE_WEEKS):
                span = slice(origin + 1, origin + JUICE_WEEKS)
                actual, usable = panel.units[:, span], usable_cells(panel)[:, span]
                yield {
                    "origin": str(train_end),
                    "model": model,
                    "mape": 100 * mape(actual, mape_point(forecast)[:, 1:], usable),
                    "mape_median": 100 * mape(actual, forecast.q50[:, 1:], usable),
                    **_plain_scores(panel, forecast, origin=origin, skip=1),
                    "seconds": seconds,
                }


def simulator_rows(folder: Path | None, run: Run) -> Iterator[Row]:
    """One row a seed, origin and model: WAPE, RMSLE, pinball loss, coverage, bias, seconds."""
    del folder
    settings = run.settings()
    for seed in SEEDS:
        market = simulate_market(MarketParameters(**SIMULATED, seed=seed))
        panel = build_panel(market.raw_tables(), settings)
        for origin in run.kept(SIMULATED_ORIGINS):
            span = slice(origin, origin + M5_DAYS)
            actual, usable = panel.units[:, span], usable_cells(panel)[:, span]
            scale = naive_scale(panel.units[:, :origin])
            for name in run.models:
                forecaster = make_forecaster(name, settings=settings)
                for model, forecast, seconds in _forecasts(panel, forecaster, origin, M5_DAYS):
                    scores = forecast_metrics(actual, forecast, usable, scale=scale)
                    kept = ("wape", "rmsle", "rmsse", "pinball_q50", "coverage_80", "bias")
                    yield {
                        "origin": f"seed {seed}, day {origin}",
                        "model": model,
                        **{measure: scores[measure] for measure in kept},
                        "seconds": seconds,
                    }


def weighted_rmsse(panel: Panel, mean: Floats, *, origin: int) -> float:
    """RMSSE of the items weighted by the dollar sales of the 28 days before ``origin``."""
    units, price = np.nan_to_num(panel.units), np.nan_to_num(panel.price)
    before, after = slice(origin - M5_DAYS, origin), slice(origin, origin + M5_DAYS)
    return rmsse(
        units[:, after],
        np.where(panel.on_sale[:, after], mean, 0.0),
        np.ones(mean.shape, dtype=bool),
        scale=naive_scale(units[:, :origin]),
        weights=(units * price)[:, before].sum(axis=1),
    )


def mape_point(forecast: Forecast) -> Floats:
    """The point of least expected MAPE under a log-normal: median * exp(-s^2), (S, H)."""
    low, high = np.maximum(forecast.q10, 0.1), np.maximum(forecast.q90, 0.1)
    spread = np.log(high / low) / _NORMAL_80
    return np.asarray(forecast.q50 * np.exp(-(spread**2)))


def _forecasts(
    panel: Panel, forecaster: Forecaster, origin: int, horizon: int
) -> Iterator[tuple[str, Forecast, float]]:
    """Model name, forecast and seconds; the ensemble's members come with it."""
    print(f"  {forecaster.name} from {panel.dates[origin]}", file=sys.stderr, flush=True)
    known, plan = panel.until(origin), actual_plan(panel, origin=origin, horizon=horizon)
    start = time.perf_counter()
    fitted = forecaster.fit(known)
    forecast = fitted.predict(known, plan)
    yield fitted.name, forecast, time.perf_counter() - start
    for member in fitted.members if isinstance(fitted, FittedEnsemble) else ():
        yield member.name, member.predict(known, plan), time.perf_counter() - start


def _plain_scores(
    panel: Panel, forecast: Forecast, *, origin: int, skip: int
) -> Mapping[str, float]:
    span = slice(origin + skip, origin + forecast.mean.shape[1])
    actual, usable = panel.units[:, span], usable_cells(panel)[:, span]
    low, high = forecast.q10[:, skip:], forecast.q90[:, skip:]
    return {
        "wape": wape(actual, forecast.mean[:, skip:], usable),
        "coverage_80": coverage(actual, low, high, usable),
    }


def _means(rows: list[Row]) -> list[Row]:
    """Mean over origins of each model's figures."""
    means = pd.DataFrame(rows).drop(columns="origin").groupby("model", sort=False).mean()
    return [
        {"origin": "mean", "model": str(name), **{key: float(row[key]) for key in means.columns}}
        for name, row in means.iterrows()
    ]


BENCHMARKS: dict[str, Callable[[Any, Run], Iterator[Row]]] = {
    "m5": m5_rows,
    "orange_juice": juice_rows,
    "simulator": simulator_rows,
}


if __name__ == "__main__":
    sys.exit(main())
