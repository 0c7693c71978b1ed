"""Lineage both ways: versions by content, from rows to quotes, and runs that change nothing."""

from __future__ import annotations

import json
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from conftest import PipelineHome

from pricing_assets.cli import main
from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.lineage import data_version, data_versions
from pricing_assets.lineage_walk import UnknownVersionError, Walk, lineage, lineage_lines
from pricing_assets.pipeline_run import environment, home_environment
from pricing_assets.unchanged_inputs import INPUTS_TAG, REUSED_TAG
from serving.audit_format import new_chain, segment_name
from serving.home import Home
from serving.lineage_record import LineageRecord, lineage_records, record_name
from serving.price_store import PriceStore


def tables() -> dict[str, pd.DataFrame]:
    dates = pd.to_datetime(["2024-01-05", "2024-02-01", "2024-01-06"])
    sales = pd.DataFrame({"date": dates, "product_id": "a", "units": [1.0, 2.0, 3.0]})
    return {"sales": sales, "products": pd.DataFrame({"product_id": ["a"]})}


def test_parts_are_months_and_change_with_their_own_rows_alone() -> None:
    before = data_versions(tables())
    assert {name: sorted(parts) for name, parts in before.parts.items()} == {
        "sales": ["2024-01", "2024-02"],
        "products": ["all"],
    }
    changed = tables()
    changed["sales"].loc[1, "units"] = 9.0
    after = data_versions(changed)
    assert after.whole != before.whole and after.whole == data_version(changed)
    assert after.parts["sales"]["2024-02"] != before.parts["sales"]["2024-02"]
    assert after.parts["sales"]["2024-01"] == before.parts["sales"]["2024-01"]
    assert after.parts["products"] == before.parts["products"]


# --- a home with one run


def test_a_table_leads_to_its_rows_and_the_rows_to_the_table(pipeline_home: PipelineHome) -> None:
    home, finished = pipeline_home.home, pipeline_home.finished
    (data,) = lineage(home, Walk(table_version=finished.table_version))
    (model,) = data["models"]
    assert model["mlflow_run_id"] == finished.mlflow_run_id
    assert model["dagster_run_id"] == finished.run_id
    back = lineage(home, Walk(data_version=data["data_version"], part="sales/2023-02"))
    assert back[0]["part"] == {"sales/2023-02": data["parts"]["sales"]["2023-02"]}
    served = [table["table_version"] for table in back[0]["models"][0]["tables"]]
    assert finished.table_version in served


def test_a_quote_is_found_from_its_tables_side(pipeline_home: PipelineHome) -> None:
    home, version = pipeline_home.home, str(pipeline_home.finished.table_version)
    home.audit.mkdir(parents=True, exist_ok=True)
    answers = [{"quote_id": f"q{i}", "table_version": version} for i in range(3)]
    other = {"quote_id": "x", "table_version": "000009-00000000"}
    record = {"kind": "quotes", "requests": [version], "answers": [*answers, other]}
    line = json.dumps(record, separators=(",", ":"))
    path = home.audit / segment_name(new_chain(1_700_000_000_000), first=0)
    path.write_text(f'{line}\n{{"kind":"quotes","answers":[{{"quote_id":"{version}')
    try:
        (data,) = lineage(home, Walk(table_version=version, quotes=2))
    finally:
        path.unlink()
    assert data["models"][0]["tables"][0]["quotes"] == {"count": 3, "latest": ["q1", "q2"]}


def test_the_pages_carry_the_versions(pipeline_home: PipelineHome) -> None:
    from mlflow import MlflowClient

    home, finished = pipeline_home.home, pipeline_home.finished
    (record,) = lineage_records(home.reports)
    uri = f"sqlite:///{home.mlflow_database}"
    client = MlflowClient(uri, registry_uri=uri)
    run = client.get_run(str(finished.mlflow_run_id))
    version = client.get_model_version(record.model_name, record.model_version)
    for name, value in record.versions().items():
        assert run.data.tags[name] == value
        assert version.tags[name] == value
    with environment(home_environment(home=home)), dg.DagsterInstance.get() as instance:
        tagged = instance.get_run_by_id(finished.run_id)
        assert tagged is not None
        assert tagged.tags["pricing/data_version"] == record.data_version
        assert tagged.tags["pricing/features_version"] == record.features_version
        event = instance.get_latest_materialization_event(dg.AssetKey("products"))
        assert event is not None and event.asset_materialization is not None
        assert event.asset_materialization.tags is not None
        assert event.asset_materialization.tags["dagster/data_version"]


def test_a_model_versions_folder_holds_its_papers(pipeline_home: PipelineHome) -> None:
    from mlflow import MlflowClient

    home = pipeline_home.home
    (record,) = lineage_records(home.reports)
    uri = f"sqlite:///{home.mlflow_database}"
    client = MlflowClient(uri, registry_uri=uri)
    version = client.get_model_version(record.model_name, record.model_version)
    folder = Path(version.source.removeprefix("file://"))
    names = {path.name for path in folder.iterdir()}
    assert {"README.md", "features.json", "preprocessing.json", "metrics.json"} <= names
    assert {"manifest.json", "forecaster.json", "plot_calibration_of_quantiles.svg"} <= names
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".joblib"))]
    card = (folder / "README.md").read_text()
    assert record.data_version in card
    assert version.description == card[:5000]
    ModelBundle({name: (folder / name).read_bytes() for name in names - {"manifest.json"}}).verify(
        json.loads((folder / "manifest.json").read_bytes())
    )


def test_unchanged_inputs_are_not_made_again(
    pipeline_home: PipelineHome, capsys: pytest.CaptureFixture[str]
) -> None:
    home, first = pipeline_home.home, pipeline_home.finished
    place = ["--home", str(home.root), "--data", str(pipeline_home.data)]
    assert main(["run", *place, "--config", str(pipeline_home.config)]) == 0
    said = capsys.readouterr().out
    assert f"data, settings and code are those of run {first.run_id}" in said
    assert f"MLflow run  {first.mlflow_run_id}" in said
    with environment(home_environment(home=home)), dg.DagsterInstance.get() as instance:
        model = instance.get_latest_materialization_event(dg.AssetKey("demand_model"))
        prices = instance.get_latest_materialization_event(dg.AssetKey("price_table"))
        assert model is not None and prices is not None
        assert model.run_id == first.run_id != prices.run_id
        again = instance.get_run_by_id(prices.run_id)
        assert again is not None and again.tags[REUSED_TAG] == first.run_id


def test_another_setting_is_a_change(pipeline_home: PipelineHome, tmp_path: Path) -> None:
    """Only the version is compared: a second whole run would take too long."""
    from pricing_assets.definitions import build_definitions
    from pricing_assets.unchanged_inputs import inputs_version, unchanged_run

    home = pipeline_home.home
    other = tmp_path / "other.yaml"
    other.write_text(pipeline_home.config.read_text() + "min_margin: 0.2\n")
    versions = []
    for config in (pipeline_home.config, other):
        values = home_environment(home=home, data=str(pipeline_home.data), config=str(config))
        with environment(values), dg.DagsterInstance.get() as instance:
            version = inputs_version(build_definitions())
            versions.append(version)
            found = unchanged_run(instance, home, {INPUTS_TAG: version})
            assert (found is None) == (config is other)
    assert len(set(versions)) == 2


# --- several data versions on record


@pytest.fixture
def two_versions(tmp_path: Path) -> Home:
    """Two records; February's sales differ, and nothing was published."""
    home = Home.at(tmp_path)
    for number, february in (("2", "aa"), ("10", "bb")):
        record = LineageRecord(
            data_version=f"data-{number}",
            partitions={"sales": {"2024-01": "11", "2024-02": february}, "products": {"all": "1"}},
            features_version="f",
            model_name="pricing-demand",
            model_version=number,
            model_alias="challenger",
            model_sha256="0",
            curves_version="c",
            mlflow_run_id="m",
            dagster_run_id="d",
        )
        path = home.reports / record_name(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(record.model_dump_json())
    return home


def test_what_changed_between_data_versions_is_named(two_versions: Home) -> None:
    assert PriceStore(two_versions.tables).current() is None
    first, second = lineage(two_versions, Walk())
    assert first["data_version"] == "data-2" and first["differs_in"] == []
    assert second["differs_in"] == ["sales/2024-02"] and second["differs_from"] == "data-2"
    assert "  differs from data-2 in sales/2024-02" in lineage_lines(two_versions, Walk())
    (only,) = lineage(two_versions, Walk(model_version="10", part="sales/2024-02"))
    assert only["part"] == {"sales/2024-02": "bb"}


@pytest.mark.parametrize(
    ("walk", "said"),
    [
        (Walk(data_version="data-3"), "did you mean 'data-2'"),
        (Walk(part="stores"), "products, sales"),
        (Walk(table_version="000001-00000000"), "no table version"),
        (Walk(data_version="data-2", model_version="10"), "together"),
    ],
)
def test_an_unknown_version_is_refused_in_one_sentence(
    two_versions: Home, walk: Walk, said: str
) -> None:
    with pytest.raises(UnknownVersionError, match=said):
        lineage(two_versions, walk)
