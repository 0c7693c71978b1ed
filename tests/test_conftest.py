"""The test suite's own promises: strict skips in continuous integration, no developer settings."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CASES = """
import os
import pytest

def test_needs():
    pytest.skip("needs: chromium (apt-get install chromium)")

@pytest.mark.skipif(True, reason="needs: java")
def test_needs_by_mark():
    raise AssertionError

def test_optional():
    pytest.skip("no public data sets here")

def test_environment():
    assert "PRICING_CONFIG" not in os.environ
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
"""


MODULE = 'import pytest; pytest.skip("needs: postgresql", allow_module_level=True)'


def outcome(folder: Path, *, strict: bool) -> str:
    """Closing line of pytest on ``CASES``, run beside a copy of our conftest."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder / "conftest.py")
    (folder / "test_cases.py").write_text(CASES)
    (folder / "test_module.py").write_text(MODULE)
    environment = {**os.environ, "PRICING_CONFIG": "/of/a/developer.yaml"}
    environment.pop("CI_STRICT", None)
    if strict:
        environment["CI_STRICT"] = "1"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
        str(folder),
    ]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )
    return done.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("strict", "expected"),
    [(False, "1 passed, 4 skipped"), (True, "1 failed, 1 passed, 1 skipped, 2 errors")],
)
def test_a_promised_program_that_is_missing_fails(
    tmp_path: Path, strict: bool, expected: str
) -> None:
    assert expected in outcome(tmp_path, strict=strict)
