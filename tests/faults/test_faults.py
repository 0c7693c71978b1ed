"""Short versions of the fault run: nobody is failed and nothing wrong is served.

How fast things heal depends on the machine: ``python -m benchmarks.faults`` holds that against
bars.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("psutil")

from benchmarks import request_faults, service_faults
from benchmarks.fault_report import Finding, Lengths

BRIEF = Lengths(base=0.5, outage=1, overload=1, swaps=2)
NEEDS_WRK = {"overload"}


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "fault",
    [*service_faults.FAULTS, *request_faults.FAULTS],
    ids=lambda fault: fault.__name__,
)
def test_nothing_wrong_is_served(fault: object, tmp_path: Path) -> None:
    if fault.__name__ in NEEDS_WRK and shutil.which("wrk") is None:
        pytest.skip("needs: wrk (apt-get install wrk)")
    missed = [one for one in fault(tmp_path, BRIEF) if not one.timing and not one.holds]
    assert missed == []


def test_a_missed_bar_shows() -> None:
    assert not Finding("fault", "errors", 1, 0).holds
    assert Finding("fault", "errors", 0, 0).holds
    assert not Finding("fault", "prices", 0, 1, at_least=True).holds
    assert not Finding("fault", "p99", float("nan"), 2).holds
