"""MLflow behind one door: one Dagster run is one MLflow run, and each names the other.

Belongs here: opening, naming and closing the MLflow run, and the plain client that assets use.
What is logged is the registration asset's. ``mlflow`` takes seconds to import, so it is imported
when the first asset asks for the run.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr

from pricing_assets.core.settings import PricingSettings

if TYPE_CHECKING:
    from mlflow import MlflowClient

MLFLOW_RUN_TAG = "mlflow_run_id"
_MLFLOW_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "GIT_PYTHON_REFRESH": "quiet",
}


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """The MLflow run of this Dagster run.

    Attributes:
        client: the MLflow client, set to the tracking store.
        run_id: the MLflow run.
        experiment_id: its experiment.
        url: its page in ``make dev``.
    """

    client: MlflowClient
    run_id: str
    experiment_id: str
    url: str

    def log(self, *, params: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Log parameters and metrics in one batch; a parameter set before keeps its value."""
        from mlflow.entities import Metric, Param

        now = self.client.get_run(self.run_id)
        new = {name: str(value) for name, value in params.items() if name not in now.data.params}
        self.client.log_batch(
            self.run_id,
            metrics=[
                Metric(name, value, now.info.start_time, 0) for name, value in metrics.items()
            ],
            params=[Param(name, value[:6000]) for name, value in new.items()],
        )

    def log_files(self, files: Mapping[str, bytes], *, folder: str | None = None) -> None:
        """Log named bytes as artifacts under ``folder``."""
        import tempfile

        with tempfile.TemporaryDirectory() as scratch:
            for name, content in files.items():
                (Path(scratch) / name).write_bytes(content)
            self.client.log_artifacts(self.run_id, scratch, folder)


class TrackingResource(dg.ConfigurableResource):
    """The MLflow tracking store and registry of a home."""

    tracking_uri: str = Field(description="MLflow tracking and registry store.")
    artifact_location: str = Field(description="Address under which artifacts are written.")
    experiment: str = Field(default="pricing-assets", description="MLflow experiment.")
    page: str = Field(default="http://127.0.0.1:5000", description="Where MLflow's page answers.")

    _dagster: Any = PrivateAttr(default=None)
    _run: TrackedRun | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[TrackingResource]:
        """Close the MLflow run with the Dagster run (with the last step, across processes)."""
        self._dagster, self._run = context, None
        try:
            yield self
        finally:
            if self._run is not None:
                _close(context, self._run)
                self._run = None

    def run(self) -> TrackedRun:
        """The MLflow run of this Dagster run, made at the first call."""
        if self._run is None:
            self._run = self._open()
        return self._run

    def _open(self) -> TrackedRun:
        for name, value in _MLFLOW_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        import mlflow

        _make_folder(self.tracking_uri)
        mlflow.set_tracking_uri(self.tracking_uri)
        mlflow.set_registry_uri(self.tracking_uri)
        client = mlflow.MlflowClient()
        if client.get_experiment_by_name(self.experiment) is None:
            client.create_experiment(
                self.experiment,
                artifact_location=self.artifact_location,
                tags={"mlflow.experimentKind": "custom_model_development"},
            )
        wrapped = self._enter(mlflow)
        run_id, experiment_id = wrapped.mlflow_run_id, wrapped.experiment.experiment_id
        url = f"{self.page}/#/experiments/{experiment_id}/runs/{run_id}"
        self._dagster.instance.add_run_tags(self._dagster.run.run_id, {MLFLOW_RUN_TAG: run_id})
        return TrackedRun(client, run_id, experiment_id, url)

    def _enter(self, mlflow: Any) -> Any:
        """dagster-mlflow's object, which finds this Dagster run's MLflow run or starts it.

        It joins whatever MLflow run is active in the process, so another one is left first.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package is beta and says so at every use
            from dagster_mlflow.resources import MlFlow

            mlflow.end_run()
            config = {
                "mlflow_tracking_uri": self.tracking_uri,
                "experiment_name": self.experiment,
                "extra_tags": {"dagster_job": self._dagster.run.job_name},
            }
            wrapped = MlFlow(
                SimpleNamespace(
                    log=self._dagster.log,
                    dagster_run=self._dagster.run,
                    run_id=self._dagster.run.run_id,
                    resource_config=config,
                )
            )
        active = mlflow.active_run()
        wrapped.mlflow_run_id = active.info.run_id
        return wrapped


def flat_settings(settings: PricingSettings) -> dict[str, Any]:
    """Every setting under its dotted path, as MLflow's parameters."""
    flat: dict[str, Any] = {}
    for name, value in settings.model_dump().items():
        if isinstance(value, dict) and name != "columns":
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _make_folder(tracking_uri: str) -> None:
    if tracking_uri.startswith("sqlite:///"):
        Path(tracking_uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)


def _close(context: dg.InitResourceContext, run: TrackedRun) -> None:
    """End the MLflow run; it failed if any step of the Dagster run has."""
    import mlflow

    assert context.instance is not None and context.run is not None
    failures = context.instance.all_logs(
        context.run.run_id, of_type=dg.DagsterEventType.STEP_FAILURE
    )
    mlflow.end_run()
    run.client.set_terminated(run.run_id, "FAILED" if failures else "FINISHED")
