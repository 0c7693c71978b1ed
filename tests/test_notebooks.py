"""The notebooks run from top to bottom on a small home, and are committed without outputs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import REPOSITORY, PipelineHome

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))

EXECUTE = """
import sys
import nbformat
from nbclient import NotebookClient

source, folder, target = sys.argv[1:]
notebook = nbformat.read(source, as_version=4)
place = {"metadata": {"path": folder}}
NotebookClient(notebook, timeout=200, startup_timeout=200, resources=place).execute()
nbformat.write(notebook, target)
"""
"""Run in a child process: the kernel's client leaves sockets to the garbage collector."""


def executed(path: Path, target: Path, *, home: Path) -> Any:
    """The notebook with its outputs."""
    done = subprocess.run(
        [sys.executable, "-c", EXECUTE, str(path), str(path.parent), str(target)],
        env={
            **os.environ,
            "PRICING_HOME": str(home),
            "PYTHONPATH": str(REPOSITORY),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "PYTHONWARNINGS": "error::FutureWarning",
        },
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return nbformat.read(target, as_version=4)


def outputs(notebook: Any) -> list[Any]:
    """What all cells gave."""
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, pipeline_home: PipelineHome, tmp_path: Path) -> None:
    notebook = executed(path, tmp_path / path.name, home=pipeline_home.home.root)
    found = outputs(notebook)
    assert "simulated" in "".join(output.get("text", "") for output in found)
    assert [output for output in found if "image/png" in output.get("data", {})]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_holds_no_output(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert not outputs(notebook)
    assert not [cell for cell in notebook.cells if cell.get("execution_count")]


def test_there_is_one_for_the_data_scientist_and_one_for_the_manager() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["explore_market", "impact"]
