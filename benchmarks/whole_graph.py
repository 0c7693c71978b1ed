"""One seed through the whole graph, from raw tables to the published one, as a user runs it.

Time and memory are those of the process ``pricing run`` with all that it starts. The worth of the
prices is the evaluation report's comparison with the market's own truth.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class GraphResult:
    """What one seed took and gave.

    Attributes:
        seed: of the simulated market.
        seconds: wall time of ``pricing run``, imports among it.
        peak_mebibytes: largest resident memory of one of its processes.
        share_of_oracle_uplift: profit won over what the oracle wins, by the market's truth.
        regret: what the oracle earns more, as a share of its profit.
        elasticity_rmse: error of the estimated own-price elasticities.
        coverage_90: share of true elasticities inside their 90 % interval.
    """

    seed: int
    seconds: float
    peak_mebibytes: float
    share_of_oracle_uplift: float
    regret: float
    elasticity_rmse: float
    coverage_90: float

    def as_json(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def measure_graph(folder: Path, *, products: int, days: int, seed: int) -> GraphResult:
    """Simulate into ``folder``, run the graph on it, and read what the report says.

    Raises:
        RuntimeError: a command did not end with 0; its own message has been printed.
    """
    data, home = folder / "data", folder / "home"
    simulate = ("--products", str(products), "--days", str(days), "--seed", str(seed))
    _pricing("simulate", "--out", str(data), *simulate)
    seconds, peak = _pricing("run", "--data", str(data), "--home", str(home))
    truth = _truth(home)
    return GraphResult(
        seed=seed,
        seconds=seconds,
        peak_mebibytes=peak,
        share_of_oracle_uplift=truth["share_of_oracle_uplift"],
        regret=truth["regret"],
        elasticity_rmse=truth["elasticity_rmse"],
        coverage_90=truth["coverage_90"],
    )


def _truth(home: Path) -> dict[str, float]:
    """What the run's evaluation report, the one with a page, says of the market's truth."""
    (page,) = (home / "reports").glob("*.html")
    report = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    truth: dict[str, float] = report["truth"]
    return truth


def _pricing(*arguments: str) -> tuple[float, float]:
    """Run ``pricing`` to its end; (seconds, peak MiB)."""
    program = Path(sys.executable).with_name("pricing")
    start = time.perf_counter()
    child = subprocess.Popen([str(program), *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise RuntimeError(f"pricing {' '.join(arguments)} ended with {child.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 2**20
