"""How the service writes its log: lines for people, or one JSON object each.

Belongs here: the format, for structlog and for the libraries that use ``logging``. Events are
named where they happen.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Any, Literal

import structlog

_LIBRARIES = ("bentoml", "uvicorn", "circus", "grpc")


def configure_logs(log_format: Literal["console", "json"]) -> None:
    """Set the format of this process; json covers the libraries' own lines as well."""
    structlog.configure(
        processors=[*_shared(), *_ends(log_format)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
    )
    # uvicorn writes a line for each request where anybody listens; here requests are counted.
    logging.getLogger("uvicorn.access").propagate = False
    if log_format == "json":
        for name in ("", *_LIBRARIES):
            for handler in logging.getLogger(name).handlers:
                handler.setFormatter(_json_formatter())


def _shared() -> list[Any]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_process,
    ]


def _ends(log_format: str) -> list[Any]:
    if log_format == "json":
        return [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _add_process(_logger: object, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    """Which of the workers speaks."""
    return {**event, "pid": os.getpid()}


def _json_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared(), structlog.stdlib.add_logger_name],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *_ends("json"),
        ],
    )
