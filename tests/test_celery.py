"""Dagster steps on Celery workers: one configuration for both ends, and a worker that is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest
import yaml
from catalogues import catalogue

from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.price_shards import shard_price_function, split_catalogue
from pricing_assets.core.scale_parameters import OrchestrationParameters
from pricing_assets.core.settings import PricingSettings
from resources.celery_steps import celery_settings, executor, worker_app
from resources.shard_store import ShardStore
from serving.redis_server import redis_for

pytest.importorskip("dagster_celery", reason="needs: the extra 'scale' (dagster-celery)")

REPOSITORY = Path(__file__).resolve().parent.parent
BROKER = "redis://127.0.0.1:6379/1"
SHARDS = 4
REDELIVERY_SECONDS = 5
PATIENCE_SECONDS = 100


def test_the_executor_and_the_workers_share_one_configuration() -> None:
    orchestration = OrchestrationParameters(
        executor="celery", celery_broker=BROKER, celery_redelivery_seconds=77
    )
    conf = worker_app(orchestration).conf
    assert conf.broker_url == BROKER
    assert conf.result_backend == BROKER
    for name, value in celery_settings(orchestration).items():
        assert conf[name] == value
    assert conf.task_acks_late
    assert conf.broker_transport_options["visibility_timeout"] == 77
    assert isinstance(executor(orchestration), dg.ExecutorDefinition)


def test_results_may_take_another_redis() -> None:
    orchestration = OrchestrationParameters(celery_broker=BROKER, celery_backend=f"{BROKER}2")
    assert worker_app(orchestration).conf.result_backend == f"{BROKER}2"


def test_a_missing_broker_is_named() -> None:
    with pytest.raises(InvalidSettingError, match="celery_broker is empty"):
        executor(OrchestrationParameters(executor="celery"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dagster_celery", None)
    with pytest.raises(InvalidSettingError, match=r"pricing-assets\[scale\]"):
        executor(OrchestrationParameters(executor="celery", celery_broker=BROKER))


def test_the_setting_chooses_the_executor(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pricing_assets.definitions import build_definitions

    monkeypatch.setenv("PRICING_CONFIG", str(written_config(tmp_path, broker=BROKER)))
    chosen = build_definitions().executor
    assert isinstance(chosen, dg.ExecutorDefinition)
    assert chosen.name == "celery"


def written_config(folder: Path, *, broker: str) -> Path:
    path = folder / "config.yaml"
    orchestration = {
        "executor": "celery",
        "celery_broker": broker,
        "celery_redelivery_seconds": REDELIVERY_SECONDS,
    }
    path.write_text(yaml.safe_dump({"orchestration": orchestration}))
    return path


@dataclass
class Cluster:
    """Redis, two workers and what they share; every process in a group of its own."""

    folder: Path
    environment: dict[str, str]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=REPOSITORY,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def worker(self, name: str) -> subprocess.Popen[bytes]:
        app = ("celery", "-A", "resources.celery_worker", "worker")
        return self.start(name, *app, "-Q", "dagster", "-c", "1", "-n", f"{name}@%h")

    def logs(self) -> str:
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    store = ShardStore(tmp_path / "shards")
    store.write_catalogue(split_catalogue(catalogue(400), shards=SHARDS).items())
    (tmp_path / "dagster").mkdir()
    (tmp_path / "dagster" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with ExitStack() as stack:
        url = stack.enter_context(redis_for(url=None, log_folder=tmp_path))
        if url is None:
            pytest.skip("needs: a redis-server")
        broker = url.replace("unix://", "redis+socket://")
        made = {
            "PRICING_CONFIG": str(written_config(tmp_path, broker=broker)),
            "DAGSTER_HOME": str(tmp_path / "dagster"),
            "SHARDS_ROOT": str(tmp_path / "shards"),
            "MARKER": str(tmp_path / "marker"),
            "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{REPOSITORY / 'tests'}",
        }
        started = Cluster(tmp_path, {**os.environ, **made})
        try:
            yield started
        finally:
            for process in started.processes:
                kill(process)


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and its children, as a machine does that loses its power."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(condition: Callable[[], bool], *, cluster: Cluster, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen:\n{cluster.logs()}")
        time.sleep(0.1)


@pytest.mark.timeout(250)
def test_a_run_survives_the_death_of_a_worker_in_the_middle_of_a_step(cluster: Cluster) -> None:
    workers = {worker.pid: worker for worker in (cluster.worker("one"), cluster.worker("two"))}
    run = cluster.start("run", "dagster", "job", "execute", "-m", "celery_job")
    marker = cluster.folder / "marker"
    wait_for(lambda: marker.exists() and bool(marker.read_text()), cluster=cluster, what="the step")
    holder = os.getpgid(int(marker.read_text()))
    assert holder in workers
    kill(workers[holder])
    wait_for(lambda: run.poll() is not None, cluster=cluster, what="the end of the run")
    assert run.returncode == 0, cluster.logs()
    assert_priced_as_on_one_machine(ShardStore(cluster.folder / "shards"))


def assert_priced_as_on_one_machine(store: ShardStore) -> None:
    whole = shard_price_function(PricingSettings())(catalogue(400))
    parts = pa.concat_tables(store.prices(shard) for shard in store.shards())
    assert parts.sort_by("product_id").equals(whole.sort_by("product_id"))
