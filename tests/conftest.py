"""Fixtures that every test may use, and an environment that no developer's settings reach."""

from __future__ import annotations

import json
import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from pricing_assets.core.market import Market
    from pricing_assets.pipeline_run import FinishedRun
    from serving.home import Home

# Set before any product module is imported, and inherited by the processes that tests start.
os.environ.update(
    {
        "BENTOML_DO_NOT_TRACK": "True",
        "DAGSTER_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MPLBACKEND": "Agg",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
)
_OWN_PREFIXES = ("PRICING_", "DAGSTER_HOME", "MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
_KEPT = frozenset({"PRICING_TEST_DATA"})

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class PipelineHome:
    """A home with one finished run, its raw tables and its configuration file."""

    home: Home
    data: Path
    config: Path
    finished: FinishedRun


@pytest.fixture(scope="session", autouse=True)
def _clean_environment() -> Iterator[None]:
    """Take the developer's own settings out of the environment for the whole session."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(_OWN_PREFIXES) and name not in _KEPT:
                patch.delenv(name)
        yield


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder, named by PRICING_HOME while the test runs."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("PRICING_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def market() -> Market:
    """A small simulated market: 24 products, 200 days, one store."""
    from pricing_assets.core.market import MarketParameters, simulate_market

    return simulate_market(MarketParameters(products=24, days=200, seed=1))


@pytest.fixture(scope="session")
def market_folder(market: Market, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The raw tables of ``market`` as CSV, with market.json beside them; do not write into it."""
    folder = tmp_path_factory.mktemp("market")
    for name, table in market.raw_tables().items():
        table.to_csv(folder / f"{name}.csv", index=False)
    (folder / "market.json").write_text(json.dumps(market.parameters.model_dump()))
    return folder


@pytest.fixture(scope="session")
def pipeline_home(tmp_path_factory: pytest.TempPathFactory) -> PipelineHome:
    """A home in which the whole graph has run once on a small simulated market."""
    from pricing_assets.core.market import MarketParameters, simulate_market
    from pricing_assets.pipeline_run import run_job
    from resources.market_file import write_market
    from serving.home import Home

    folder = tmp_path_factory.mktemp("pipeline_home")
    market = simulate_market(MarketParameters(products=12, days=150, seed=5))
    write_market(
        folder / "raw",
        tables=market.raw_tables(),
        parameters=market.parameters.model_dump(),
        file_format="parquet",
    )
    config = folder / "pricing.yaml"
    config.write_text("forecast: {n_estimators: 10, training_origins: 2, backtest_origins: 1}\n")
    home = Home.at(folder / "home")
    finished = run_job("pricing_pipeline", home=home, data=str(folder / "raw"), config=str(config))
    return PipelineHome(home=home, data=folder / "raw", config=config, finished=finished)


@pytest.fixture(scope="session")
def public_data() -> Path:
    """The folder of the public data sets (PRICING_TEST_DATA), or a skip that names it."""
    folder = Path(os.environ.get("PRICING_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no public data sets in {folder}; set PRICING_TEST_DATA to their folder")
    return folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that was skipped in spite of CI_STRICT=1 fails."""
    report = yield
    return _strict(report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """So does a module."""
    report = yield
    return _strict(report)


def _strict(report: Report) -> Report:
    """Turn a "needs: ..." skip into a failure where CI_STRICT=1 promises what it needs."""
    if os.environ.get("CI_STRICT") == "1" and report.skipped:
        reason = _skip_reason(report)
        if reason.startswith("needs:"):
            report.outcome = "failed"
            report.longrepr = f"CI_STRICT=1, and yet this was skipped: {reason}"
    return report


def _skip_reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    """The reason of a skip, without pytest's own prefix."""
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return reason.removeprefix("Skipped: ")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, or a skip where there is none."""
    from tests.browser import chromium

    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the screenshots."""
    from tests.browser import screenshot_folder

    return screenshot_folder(tmp_path_factory)
