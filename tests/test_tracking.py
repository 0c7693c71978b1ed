"""One Dagster run is one MLflow run, and each names the other."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from resources.tracking import MLFLOW_RUN_TAG, TrackingResource


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> TrackingResource:
    tmp_path: Path = tmp_path_factory.mktemp("tracking")
    return TrackingResource(
        tracking_uri=f"sqlite:///{tmp_path}/mlflow/mlflow.db",
        artifact_location=f"file://{tmp_path}/mlflow/artifacts",
    )


@dg.asset
def first(tracking: TrackingResource) -> str:
    tracking.run().log(params={"a": 1}, metrics={"x": 1.0})
    return tracking.run().run_id


@dg.asset
def second(first: str, tracking: TrackingResource) -> str:
    tracking.run().log(params={"a": 1, "b": 2}, metrics={"y": 2.0})
    tracking.run().log_files({"note.txt": b"native"}, folder="notes")
    return tracking.run().run_id


@dg.asset
def failing(tracking: TrackingResource) -> None:
    tracking.run()
    raise ValueError("told to fail")


def materialize(
    *assets: dg.AssetsDefinition, tracking: TrackingResource, instance: dg.DagsterInstance
) -> dg.ExecuteInProcessResult:
    resources = {"tracking": tracking, "io_manager": dg.InMemoryIOManager()}
    return dg.materialize(assets, resources=resources, instance=instance, raise_on_error=False)


def test_two_runs_in_a_process_are_two_mlflow_runs_that_name_each_other(
    tracking: TrackingResource,
) -> None:
    with dg.instance_for_test() as instance:
        runs = [materialize(first, second, tracking=tracking, instance=instance) for _ in range(2)]
        ids = [(run.output_for_node("first"), run.output_for_node("second")) for run in runs]
        tags = [instance.get_run_by_id(run.run_id).tags[MLFLOW_RUN_TAG] for run in runs]
    assert ids[0][0] == ids[0][1] != ids[1][0] == ids[1][1]
    assert tags == [ids[0][0], ids[1][0]]
    from mlflow import MlflowClient

    client = MlflowClient(tracking.tracking_uri)
    for run, (run_id, _) in zip(runs, ids, strict=True):
        tracked = client.get_run(run_id)
        assert tracked.data.tags["dagster_run_id"] == run.run_id
        assert tracked.data.params == {"a": "1", "b": "2"}
        assert tracked.data.metrics == {"x": 1.0, "y": 2.0}
        assert tracked.info.status == "FINISHED"
        assert [item.path for item in client.list_artifacts(run_id, "notes")] == ["notes/note.txt"]


def test_a_failed_dagster_run_is_a_failed_mlflow_run(tracking: TrackingResource) -> None:
    with dg.instance_for_test() as instance:
        result = materialize(first, failing, tracking=tracking, instance=instance)
        tag = instance.get_run_by_id(result.run_id).tags[MLFLOW_RUN_TAG]
    from mlflow import MlflowClient

    assert not result.success
    assert MlflowClient(tracking.tracking_uri).get_run(tag).info.status == "FAILED"
