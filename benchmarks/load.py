"""Load on an HTTP service: wrk where it is installed, for the fastest and for a paced rate.

Belongs here: driving and reading off what the driver saw. What is compared is ``serving``; checking
every answer under faults is ``checked_load``.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

CONNECTIONS = 64
SCRIPT = Path(__file__).with_name("load.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """What 64 connections saw; times in milliseconds."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    failed: int

    @property
    def per_second(self) -> float:
        """Requests a second that were answered with a price."""
        return (self.requests - self.failed) / self.seconds


def find_wrk() -> str:
    """The load generator.

    Raises:
        RuntimeError: it is not installed.
    """
    found = shutil.which("wrk")
    if found is None:
        raise RuntimeError("the load generator wrk is not on PATH; install the package 'wrk'")
    return found


def drive(
    url: str,
    *,
    path: str,
    bodies: Path,
    seconds: float,
    core: int,
    pause_ms: float = 0.0,
    connections: int = CONNECTIONS,
) -> Load:
    """POST ``bodies`` (one JSON a line) in turn over ``connections`` connections.

    Args:
        url: of the service, without a path.
        path: that is asked.
        bodies: file of request bodies.
        seconds: of load, rounded up to whole ones.
        core: CPU that the generator is pinned to.
        pause_ms: mean pause of a connection between an answer and its next request.
        connections: that are open at once.
    """
    command = [
        *("taskset", "-c", str(core), find_wrk(), "-t1", f"-c{connections}"),
        *(f"-d{math.ceil(seconds)}s", "--timeout", "10s", "-s", str(SCRIPT), url),
    ]
    environment = {
        **os.environ,
        "LOAD_BODIES": str(bodies),
        "LOAD_PATH": path,
        "LOAD_PAUSE_MS": str(pause_ms),
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return Load(**json.loads(done.stdout.strip().splitlines()[-1]))


def drive_at(
    url: str, *, path: str, bodies: Path, seconds: float, core: int, per_second: float
) -> Load:
    """``drive`` at about ``per_second``: the pauses are found in one short trial."""
    turn_ms = 1000.0 * CONNECTIONS / per_second
    trial = drive(url, path=path, bodies=bodies, seconds=1, core=core, pause_ms=turn_ms)
    answer_ms = max(1000.0 * CONNECTIONS / trial.per_second - turn_ms, 0.0)
    pause = max(turn_ms - answer_ms, 1.0)
    return drive(url, path=path, bodies=bodies, seconds=seconds, core=core, pause_ms=pause)
