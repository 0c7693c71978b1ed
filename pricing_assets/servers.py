"""Starting and stopping the servers of a home: the price service, Dagster's page, MLflow's.

Belongs here: child processes, loopback only, each in a group of its own that is stopped whole.
What the service answers is ``serving``.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.pipeline_run import ROOT, home_environment, prepare_home
from serving import launch
from serving.home import Home, load_settings

LOOPBACK = "127.0.0.1"
_STOP_SECONDS = 15.0
_QUIET = ("--log-level", "warning")
_BETA_NOTICE = "ignore:Parameter `backfill_policy`"
"""Dagster says at each load that a parameter is beta; nobody can act on it."""


def serve(home: Home, *, host: str | None, port: int | None) -> int:
    """Run the price service in the foreground until it is stopped; return its exit code.

    Raises:
        InputError: the settings are wrong, the port is taken, or the host is not loopback and
            no token is set.
    """
    settings = load_settings()
    given = {"host": host, "port": port}
    address = {name: value for name, value in given.items() if value is not None}
    serving = settings.serving.model_copy(update=address)
    refuse_taken_port(serving.port, host=serving.host)
    return launch.serve(home, settings.model_copy(update={"serving": serving}))


def dev(home: Home, *, data: str | None, dagster_port: int, mlflow_port: int) -> int:
    """Run Dagster's page with its daemon and MLflow's page until Ctrl-C stops both."""
    prepare_home(home)
    home.mlflow_artifacts.mkdir(parents=True, exist_ok=True)
    for port in (dagster_port, mlflow_port):
        refuse_taken_port(port)
    values = {**home_environment(home=home, data=data), "PYTHONWARNINGS": _BETA_NOTICE}
    sys.stdout.write(
        f"Dagster  http://{LOOPBACK}:{dagster_port}\nMLflow   http://{LOOPBACK}:{mlflow_port}\n"
        "Ctrl-C stops both\n"
    )
    sys.stdout.flush()
    with (
        _child(_dagster_command(dagster_port), values) as dagster,
        _child(_mlflow_command(home, mlflow_port), values) as mlflow,
    ):
        return _wait([dagster, mlflow])


@contextmanager
def service(
    home: Home, *, host: str, port: int, grpc_port: int, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The price service as a child process, stopped at the end; output to ``log`` if given."""
    for taken in (port, grpc_port):
        refuse_taken_port(taken, host=host)
    command = [
        *(sys.executable, "-m", "serving"),
        *("--home", str(home.root), "--host", host),
        *("--port", str(port), "--grpc-port", str(grpc_port)),
    ]
    with _child(command, home_environment(home=home), log=log) as process:
        yield process


def free_port(preferred: int) -> int:
    """``preferred`` if nothing listens there, else one that the system chooses."""
    for port in (preferred, 0):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOOPBACK, port))
            return int(probe.getsockname()[1])
    raise InvalidSettingError("no free port on 127.0.0.1")


def refuse_taken_port(port: int, *, host: str = LOOPBACK) -> None:
    """Raise InvalidSettingError where something listens on the port already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            raise InvalidSettingError(
                f"cannot listen on {host}:{port} ({failure.strerror}); stop what is there or name "
                "another port"
            ) from None


def _dagster_command(port: int) -> list[str]:
    workspace = str(ROOT / "workspace.yaml")
    return [*_module("dagster"), "dev", "-w", workspace, "-h", LOOPBACK, "-p", str(port), *_QUIET]


def _mlflow_command(home: Home, port: int) -> list[str]:
    return [
        *_module("mlflow"),
        "server",
        *("--backend-store-uri", f"sqlite:///{home.mlflow_database}"),
        *("--artifacts-destination", str(home.mlflow_artifacts)),
        *("--host", LOOPBACK, "--port", str(port), "--workers", "1"),
    ]


def _module(name: str) -> list[str]:
    return [sys.executable, "-m", name]


@contextmanager
def _child(
    command: Sequence[str], values: Mapping[str, str], *, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("wb"))
        process = subprocess.Popen(
            command,
            env={**os.environ, **values},
            stdout=output,
            stderr=subprocess.STDOUT if output else None,
            start_new_session=True,
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a child and all that it started: asked first, then killed."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        try:
            process.wait(_STOP_SECONDS if number != signal.SIGKILL else None)
        except subprocess.TimeoutExpired:
            continue
        break
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _wait(processes: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait until one of the children ends, or a signal tells this process to stop."""
    stopping = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, _interrupt) for number in stopping}
    try:
        while True:
            for process in processes:
                code = process.poll()
                if code is not None:
                    return code
            time.sleep(0.2)
    except KeyboardInterrupt:
        return 0
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
