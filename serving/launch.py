"""Starting the service with its Redis, and stopping both.

Belongs here: processes and their environment. The service itself is ``service``.
"""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from pricing_assets.core.errors import InputError
from pricing_assets.core.serving_parameters import ServingParameters
from pricing_assets.core.settings import PricingSettings
from serving.durable import replace_durably
from serving.home import Home, read_environment
from serving.redis_server import redis_for
from serving.tracing import bentoml_tracing

SERVICE = "serving.service:PricingService"
STOP_SECONDS = 15.0


def serve(home: Home, settings: PricingSettings) -> int:
    """Run the service until it ends or a signal stops it; returns its exit code.

    Raises:
        InputError: as in ``serving_process``.
    """
    with serving_process(home, settings) as process, _forwarding_signals(process):
        sys.stdout.write(addresses(settings.serving))
        sys.stdout.flush()
        return process.wait()


def addresses(parameters: ServingParameters) -> str:
    """Where the service answers, for people."""
    host = f"[{parameters.host}]" if ":" in parameters.host else parameters.host
    return (
        f"HTTP  http://{host}:{parameters.port}\n"
        f"gRPC  {host}:{parameters.grpc_port}  pricing.v1.PricingService\n"
    )


@contextmanager
def serving_process(home: Home, settings: PricingSettings) -> Iterator[subprocess.Popen[bytes]]:
    """The service as a child process, with a Redis, while the block runs.

    Raises:
        InputError: the host is not loopback and no PRICING_API_TOKEN is set; or the gRPC port is
            taken; or tracing is wanted and not installed.
    """
    environment, parameters = read_environment(), settings.serving
    check_exposure(parameters.host, has_token=environment.api_token is not None)
    check_port_free(parameters.host, parameters.grpc_port)
    bentoml_tracing(parameters)
    with redis_for(url=environment.redis_url, log_folder=home.logs) as redis_url:
        process = subprocess.Popen(
            _command(settings), env=_environment(home, settings, redis_url), cwd=_source_root()
        )
        try:
            yield process
        finally:
            _stop(process)


def check_exposure(host: str, *, has_token: bool) -> None:
    """Refuse to listen beyond this machine without a token.

    Raises:
        InputError: ``host`` is no IP address, or not loopback and there is no token.
    """
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InputError(f"serving.host '{host}' is no IP address; use 127.0.0.1") from None
    if not loopback and not has_token:
        raise InputError(
            f"serving.host {host} is reachable from other machines; set PRICING_API_TOKEN, or "
            "serve on 127.0.0.1"
        )


def check_port_free(host: str, port: int) -> None:
    """Refuse a port that another service has: workers share theirs, and would share with it too.

    Raises:
        InputError: something listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as failure:
            raise InputError(
                f"serving.grpc_port: cannot listen on {host}:{port} ({failure.strerror}); stop "
                "what is there or set another port"
            ) from None


def _command(settings: PricingSettings) -> list[str]:
    serving = settings.serving
    address = ["--host", serving.host, "--port", str(serving.port)]
    return [sys.executable, "-m", "bentoml", "serve", SERVICE, *address]


def _environment(home: Home, settings: PricingSettings, redis_url: str | None) -> dict[str, str]:
    """The child's environment: this home, these settings, this Redis, no telemetry."""
    state = home.root / "serving"
    state.mkdir(parents=True, exist_ok=True)
    config = state / "settings.json"
    replace_durably(config, settings.model_dump_json(indent=2).encode())
    return {
        **os.environ,
        "PRICING_HOME": str(home.root),
        "PRICING_CONFIG": str(config),
        "PRICING_REDIS_URL": redis_url or "",
        "BENTOML_HOME": str(state / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": os.pathsep.join([str(_source_root()), os.environ.get("PYTHONPATH", "")]),
    }


def _source_root() -> Path:
    return Path(__file__).resolve().parent.parent


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def _forwarding_signals(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A SIGTERM to this process stops the service, so that Redis is stopped after it."""

    def forward(_number: int, _frame: FrameType | None) -> None:
        process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, forward) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
