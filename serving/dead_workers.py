"""Gauges of workers that have ended must not speak for those that live.

With several workers prometheus_client keeps one file a worker and kind of metric. Counts of a dead
worker stay true; its gauges do not, and BentoML leaves them.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import multiprocess


def forget_dead_workers(folder: Path | None = None) -> set[int]:
    """Remove the live gauges of processes that have ended; returns their ids.

    Args:
        folder: where prometheus_client keeps its files; None takes PROMETHEUS_MULTIPROC_DIR, and
            does nothing where that is not set.
    """
    named = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    chosen = folder or (Path(named) if named else None)
    if chosen is None:
        return set()
    workers = {int(path.stem.rsplit("_", 1)[1]) for path in chosen.glob("gauge_live*_*.db")}
    dead = {pid for pid in workers if not Path(f"/proc/{pid}").exists() and not _lives(pid)}
    for pid in dead:
        multiprocess.mark_process_dead(pid, str(chosen))
    return dead


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
