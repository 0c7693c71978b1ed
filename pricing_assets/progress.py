"""The lines that a person sees while a run goes on: one as each step starts, one as it ends.

Belongs here: turning Dagster's events into short lines. Starting the run is ``pipeline_run``.
"""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import dagster as dg

PROGRESS = "progress"
"""Name of the logger; a run that chooses it shows these lines in place of Dagster's own."""


class ProgressHandler(logging.Handler):
    """Writes to a file descriptor of its own, which a step's log capture does not redirect."""

    def __init__(self, *, descriptor: int, quiet_steps: frozenset[str]) -> None:
        super().__init__(logging.DEBUG)
        self._descriptor = descriptor
        self._quiet_steps = quiet_steps
        self._began = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record's line, if it has one."""
        line = line_of(record, quiet_steps=self._quiet_steps)
        if line is not None:
            passed = time.monotonic() - self._began
            os.write(self._descriptor, f"{passed:6.1f} s  {line}\n".encode())


def line_of(record: logging.LogRecord, *, quiet_steps: frozenset[str]) -> str | None:
    """The line of one log record; None for what a person need not see."""
    event = getattr(record, "dagster_meta", {}).get("dagster_event")
    if event is not None:
        return _event_line(event, quiet=event.step_key in quiet_steps)
    if record.levelno < logging.INFO:
        return None
    return f"    {record.getMessage().rsplit(' - ', 1)[-1]}"


def _event_line(event: dg.DagsterEvent, *, quiet: bool) -> str | None:
    kind = event.event_type
    if kind == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        return _check_line(event)
    if kind == dg.DagsterEventType.STEP_FAILURE:
        return f"{event.step_key} FAILED"
    if quiet:
        return None
    if kind == dg.DagsterEventType.STEP_START:
        return f"{event.step_key} ..."
    if kind == dg.DagsterEventType.STEP_SUCCESS:
        return f"{event.step_key} done in {event.step_success_data.duration_ms / 1000:.1f} s"
    return None


def _check_line(event: dg.DagsterEvent) -> str:
    evaluation = event.asset_check_evaluation_data
    outcome = "holds" if evaluation.passed else "FAILED"
    values: dict[str, Any] = {
        name: evaluation.metadata[name].value
        for name in ("value", "threshold")
        if name in evaluation.metadata
    }
    found = ", ".join(f"{name} {value}" for name, value in values.items())
    return f"    check {evaluation.check_name} {outcome}" + (f" ({found})" if found else "")


@dg.logger(
    {
        "descriptor": dg.Field(int, default_value=2, description="File descriptor to write to."),
        "quiet_steps": dg.Field(
            [str], default_value=[], description="Steps whose start and end are not told."
        ),
    },
    description="One line a step, with seconds.",
)
def progress_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """A logger with one :class:`ProgressHandler`, new for each run."""
    config = context.logger_config
    handler = ProgressHandler(
        descriptor=config["descriptor"], quiet_steps=frozenset(config["quiet_steps"])
    )
    logger = logging.Logger(PROGRESS, logging.DEBUG)
    logger.addHandler(handler)
    return logger
