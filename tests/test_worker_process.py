"""What surrounds the answers in a worker: its log, its traces, its gauges, its configuration."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from pricing_assets.core.errors import InputError
from pricing_assets.core.serving_parameters import ServingParameters
from serving import tracing
from serving.dead_workers import forget_dead_workers
from serving.launch import addresses, check_port_free
from serving.logs import configure_logs
from tests.running_service import free_port

# BentoML imports a name that pathspec has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def _restored_logs() -> Iterator[None]:
    formatters = {handler: handler.formatter for handler in logging.getLogger().handlers}
    yield
    structlog.reset_defaults()
    for handler, formatter in formatters.items():
        handler.setFormatter(formatter)


@pytest.mark.usefixtures("_restored_logs")
def test_json_logs_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    library = logging.getLogger("bentoml")
    handler = logging.StreamHandler(sys.stderr)
    library.addHandler(handler)
    try:
        configure_logs("json")
        structlog.get_logger("serving.desk").info("table_loaded", rows=4)
        try:
            raise ValueError("a reason\nin two lines")
        except ValueError:
            structlog.get_logger("serving.gate").exception("fault", path="/get_price")
        library.warning("from a library")
    finally:
        library.removeHandler(handler)
    loaded, fault, foreign = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (loaded["event"], loaded["rows"], loaded["level"]) == ("table_loaded", 4, "info")
    assert loaded["pid"] == os.getpid() and loaded["timestamp"].endswith("Z")
    assert fault["exception"][0]["exc_type"] == "ValueError"
    assert foreign["event"] == "from a library" and foreign["logger"] == "bentoml"


@pytest.mark.usefixtures("_restored_logs")
def test_console_logs_are_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("console")
    structlog.get_logger("serving.desk").info("table_loaded", rows=4)
    (line,) = capsys.readouterr().err.splitlines()
    assert "table_loaded" in line and "rows=4" in line and not line.startswith("{")


def test_tracing_is_off_unless_a_collector_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing.bentoml_tracing(ServingParameters()) == {}
    wanted = ServingParameters(tracing_endpoint="http://127.0.0.1:4318/v1/traces")
    monkeypatch.setattr(tracing, "_EXPORTER", "no.such.exporter")
    with pytest.raises(InputError, match=r"pricing-assets\[tracing\]"):
        tracing.bentoml_tracing(wanted)
    monkeypatch.setattr(tracing, "_EXPORTER", "opentelemetry.sdk")
    made = tracing.bentoml_tracing(wanted)["tracing"]
    assert made["otlp"]["endpoint"] == wanted.tracing_endpoint


async def test_a_traced_gate_has_a_span_for_each_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    from bentoml._internal.configuration.containers import BentoMLContainer

    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    monkeypatch.setattr(BentoMLContainer.tracer_provider, "get", lambda: provider)

    async def gate(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def nothing(*_: Any) -> None: ...

    scope = {"type": "http", "method": "POST", "path": "/get_price", "headers": []}
    scope |= {"query_string": b"", "scheme": "http", "server": ("127.0.0.1", 1)}
    await tracing.traced(gate)(scope, nothing, nothing)
    assert any("/get_price" in span.name for span in spans.get_finished_spans())


_COUNT = """
import os
from serving import metrics
metrics.PUBLISHED_AT.set({value})
metrics.TABLE_LOADS.labels(outcome="loaded").inc()
print(os.getpid(), flush=True)
input()
"""
_READ = """
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
registry = CollectorRegistry()
MultiProcessCollector(registry)
print(generate_latest(registry).decode())
"""


def worker(folder: Path, value: float) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _COUNT.format(value=value)],
        env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def exposition(folder: Path) -> str:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(folder)}
    command = [sys.executable, "-c", _READ]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout


def test_a_dead_worker_speaks_no_more_but_its_counts_stay(tmp_path: Path) -> None:
    name = "pricing_table_published_at_seconds"
    with worker(tmp_path, 1000.0) as old, worker(tmp_path, 2000.0) as young:
        assert old.stdout is not None and young.stdout is not None
        pid = int(old.stdout.readline())
        young.stdout.readline()
        assert f"{name} 1000.0" in exposition(tmp_path)
        assert forget_dead_workers(tmp_path) == set()
        old.kill()
        old.wait()
        assert forget_dead_workers(tmp_path) == {pid}
        text = exposition(tmp_path)
        assert f"{name} 2000.0" in text
        assert 'pricing_table_loads_total{outcome="loaded"} 2.0' in text
        young.kill()


def test_without_several_workers_there_is_nothing_to_forget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PROMETHEUS_MULTIPROC_DIR", raising=False)
    assert forget_dead_workers() == set()


def test_a_port_that_another_service_has_is_refused() -> None:
    port = free_port()
    check_port_free("127.0.0.1", port)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(InputError, match=r"serving\.grpc_port"):
            check_port_free("127.0.0.1", port)


def test_the_addresses_are_told() -> None:
    said = addresses(ServingParameters(host="::1", port=1, grpc_port=2))
    assert said.splitlines() == ["HTTP  http://[::1]:1", "gRPC  [::1]:2  pricing.v1.PricingService"]


def test_workers_of_the_settings_reach_bentoml(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from bentoml._internal.configuration.containers import BentoMLContainer

    from serving.service import PricingService

    config = tmp_path / "pricing.yaml"
    config.write_text("serving: {workers: 3}\n")
    monkeypatch.setenv("PRICING_CONFIG", str(config))
    PricingService.inject_config()
    assert BentoMLContainer.config.services["pricing"].get()["workers"] == 3
