"""The whole graph on a small market: what a run stores, publishes and says of itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pandas as pd
import pytest
from upath import UPath

from pricing_assets.cli import main
from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.evaluation.report import REAL_DATA_CLAIM
from pricing_assets.core.forecast.training import load_forecaster
from pricing_assets.core.market import MarketParameters, simulate_market
from pricing_assets.core.panel import Panel
from pricing_assets.core.promotion import CHALLENGER, CHAMPION
from pricing_assets.core.tables import PRICE_RAIL_COLUMNS, PRICE_TABLE_COLUMNS
from pricing_assets.pipeline_run import FinishedRun, environment, home_environment, run_job
from resources.asset_store import load_value
from resources.market_file import write_market
from resources.registry import MODEL_NAME
from resources.tracking import MLFLOW_RUN_TAG
from serving.home import Home
from serving.price_store import PriceStore

FAST = "forecast: {n_estimators: 10, training_origins: 2, backtest_origins: 1}\nseed: 3\n"
APART = {
    dg.AssetKey(name)
    for name in ("tuned_forecast_parameters", "price_table_shard", "drift_watch", "stream_day")
}
"""Made by jobs of their own, in test_tuning, _price_shards, _drift_automation and _streaming."""
TABLES = (
    "products",
    "costs",
    "inventory",
    "competitor_prices",
    "calendar",
    "planned_prices",
    "stores",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def raw(folder: Path) -> Path:
    market = simulate_market(MarketParameters(products=12, days=150, seed=3))
    tables = market.raw_tables()
    broken = tables["sales"].copy()
    broken["price"] = broken["price"].astype(object)
    broken.loc[broken.index[:3], "price"] = "free"
    tables["sales"] = broken
    write_market(
        folder / "raw",
        tables=tables,
        parameters=market.parameters.model_dump(),
        file_format="csv",
    )
    return folder / "raw"


@pytest.fixture(scope="module")
def config(folder: Path) -> Path:
    path = folder / "pricing.yaml"
    path.write_text(FAST)
    return path


@pytest.fixture(scope="module")
def home(folder: Path) -> Home:
    return Home.at(folder / "home")


@pytest.fixture(scope="module")
def finished(home: Home, raw: Path, config: Path) -> FinishedRun:
    return run_job("pricing_pipeline", home=home, data=str(raw), config=str(config))


@pytest.fixture
def instance(home: Home, finished: FinishedRun) -> Iterator[dg.DagsterInstance]:
    with environment(home_environment(home=home)), dg.DagsterInstance.get() as found:
        yield found


def stored(home: Home, asset: str) -> object:
    return load_value(UPath(home.assets) / asset)


def materialization(instance: dg.DagsterInstance, asset: str) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event is not None
    assert event.asset_materialization is not None
    return event.asset_materialization


def test_one_run_publishes_a_table_of_the_contract(home: Home, finished: FinishedRun) -> None:
    table = PriceStore(home.tables).read_current()
    prices = table.prices.to_pandas()
    assert finished.table_version == table.version
    assert tuple(prices.columns) == (*PRICE_TABLE_COLUMNS, *PRICE_RAIL_COLUMNS)
    assert len(prices) == 12
    priced = prices["recommended_price"].notna()
    assert priced.any()
    inside = prices[priced]
    assert (inside["recommended_price"] >= inside["price_floor"] - 1e-9).all()
    assert (inside["recommended_price"] <= inside["price_ceiling"] + 1e-9).all()
    assert table.manifest.dagster_run_id == finished.run_id
    assert table.manifest.mlflow_run_id == finished.mlflow_run_id


def test_every_asset_is_materialized_by_the_one_run(
    instance: dg.DagsterInstance, finished: FinishedRun
) -> None:
    from pricing_assets.definitions import build_definitions

    keys = build_definitions().resolve_asset_graph().get_all_asset_keys()
    for key in keys - APART:
        event = instance.get_latest_materialization_event(key)
        assert event is not None, key
        assert event.run_id == finished.run_id, key
    run = instance.get_run_by_id(finished.run_id)
    assert run is not None
    assert run.status == dg.DagsterRunStatus.SUCCESS


def test_the_models_say_where_their_parameters_come_from(
    instance: dg.DagsterInstance, finished: FinishedRun
) -> None:
    for asset in ("forecast_backtest", "demand_model"):
        source = materialization(instance, asset).metadata["parameters_from"].value
        assert source == "the configuration (never tuned)"


def test_sales_are_partitioned_by_month(home: Home, instance: dg.DagsterInstance) -> None:
    months = ["2023-01", "2023-02", "2023-03", "2023-04", "2023-05"]
    assert sorted(instance.get_materialized_partitions(dg.AssetKey("sales"))) == months
    march = load_value(UPath(home.assets) / "sales" / "2023-03")
    assert set(march["date"].dt.strftime("%Y-%m")) == {"2023-03"}


def test_wrong_rows_are_in_the_quarantine_with_a_reason(home: Home, finished: FinishedRun) -> None:
    quarantine = stored(home, "quarantine")
    assert isinstance(quarantine, pd.DataFrame)
    assert quarantine["table"].tolist() == ["sales"] * 3
    assert quarantine["reason"].nunique() == 1
    snapshot = stored(home, "data_snapshot")
    assert isinstance(snapshot, dict)
    assert snapshot["tables"]["sales"]["quarantined"] == 3


def test_absent_tables_are_empty_with_the_contracts_columns(
    home: Home, finished: FinishedRun
) -> None:
    for name in TABLES:
        assert isinstance(stored(home, name), pd.DataFrame), name
    planned = stored(home, "planned_prices")
    assert isinstance(planned, pd.DataFrame)
    assert planned.empty
    assert list(planned.columns)[:4] == ["date", "product_id", "store_id", "price"]


def test_a_person_finds_metadata_in_the_page(instance: dg.DagsterInstance) -> None:
    for asset, wanted in {
        "products": ("dagster/row_count", "dagster/column_schema", "preview", "path"),
        "quarantine": ("by_table", "by_reason"),
        "sales_panel": ("series", "periods", "units_by_period"),
        "forecast_backtest": ("chosen", "reason", "overall", "wape_by_model"),
        "own_price_elasticity": ("by_method", "distribution"),
        "price_table": ("largest_uplifts", "changes", "decision_change"),
        "price_drivers": ("gain", "gain_from_price", "mean_own_data_weight"),
        "forecast_drivers": ("how", "plot"),
        "evaluation_report": ("page", "claim", "truth_share_of_oracle_uplift"),
        "registered_model": ("mlflow_run", "model_version", "alias", "gates"),
        "drift_report": ("alarms", "checks", "report"),
        "price_fairness": ("widest",),
        "shadow_scores": ("quotes", "furthest"),
        "published_price_table": ("table_version", "rows_changed", "largest_changes"),
    }.items():
        found = materialization(instance, asset).metadata
        assert set(wanted) <= set(found), asset
    plot = materialization(instance, "sales_panel").metadata["units_by_period"].value
    assert "data:image/png;base64," in str(plot)


def test_a_published_price_is_explained_in_lines(
    home: Home, finished: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    prices = PriceStore(home.tables).read_current().prices.to_pandas()
    product = str(prices["product_id"].iloc[0])
    assert main(["explain", "--product", product, "--home", str(home.root)]) == 0
    told = capsys.readouterr().out
    assert f"product {product}, table {finished.table_version}" in told
    assert "units fall" in told and "together" in told and "last run's" not in told
    assert main(["explain", "--product", product.lower(), "--home", str(home.root)]) == 2
    assert f"did you mean '{product}'" in capsys.readouterr().err


def test_blocking_checks_show_value_and_threshold(instance: dg.DagsterInstance) -> None:
    from pricing_assets.definitions import build_definitions

    specs = [spec for check in build_definitions().asset_checks or () for spec in check.check_specs]
    for spec in specs:
        if spec.asset_key in APART:
            continue
        (record,) = instance.event_log_storage.get_asset_check_execution_history(
            check_key=spec.key, limit=1
        )
        assert record.event is not None
        assert record.event.dagster_event is not None
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        assert evaluation.passed or not spec.blocking, spec.key
        names = " ".join(evaluation.metadata)
        assert "value" in names, spec.key
        assert "threshold" in names, spec.key


def test_the_dagster_run_and_the_mlflow_run_name_each_other(
    home: Home, instance: dg.DagsterInstance, finished: FinishedRun
) -> None:
    from mlflow import MlflowClient

    run = instance.get_run_by_id(finished.run_id)
    assert run is not None
    assert run.tags[MLFLOW_RUN_TAG] == finished.mlflow_run_id
    client = MlflowClient(f"sqlite:///{home.mlflow_database}")
    tracked = client.get_run(str(finished.mlflow_run_id))
    assert tracked.info.status == "FINISHED"
    assert tracked.data.tags["dagster_run_id"] == finished.run_id
    assert tracked.data.params["forecast.n_estimators"] == "10"
    assert "truth.share_of_oracle_uplift" in tracked.data.metrics
    assert any(name.startswith("wape.") for name in tracked.data.metrics)


def test_the_registered_model_is_native_files_with_their_sha256(
    home: Home, finished: FinishedRun
) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{home.mlflow_database}"
    client = MlflowClient(uri, registry_uri=uri)
    version = client.get_model_version_by_alias(MODEL_NAME, CHAMPION)
    assert version.run_id == finished.mlflow_run_id
    files = {path.name: path.read_bytes() for path in _local(version.source).iterdir()}
    manifest = json.loads(files.pop("manifest.json"))
    bundle = ModelBundle(files)
    bundle.verify(manifest)
    panel = stored(home, "sales_panel")
    assert isinstance(panel, Panel)
    assert load_forecaster(bundle).name


def _local(uri: str) -> Path:
    return Path(uri.removeprefix("file://"))


def test_the_report_is_a_page_of_its_own(home: Home, finished: FinishedRun) -> None:
    page = (home.reports / f"{finished.run_id}.html").read_text()
    assert "<script src" not in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    numbers = json.loads((home.reports / f"{finished.run_id}.json").read_text())
    assert numbers == stored(home, "evaluation_report")


def test_the_exports_have_the_contracts_columns(
    home: Home, finished: FinishedRun, tmp_path: Path
) -> None:
    place = ["--home", str(home.root)]
    for command in ("export", "forecast", "elasticities"):
        assert main([command, *place, "--out", str(tmp_path / f"{command}.csv")]) == 0
    prices = pd.read_csv(tmp_path / "export.csv")
    assert tuple(prices.columns) == PRICE_TABLE_COLUMNS
    forecast = pd.read_csv(tmp_path / "forecast.csv")
    assert list(forecast.columns) == ["date", "product_id", "q10", "q50", "q90", "mean"]
    assert forecast.groupby("product_id").size().eq(28).all()
    elasticities = pd.read_csv(tmp_path / "elasticities.csv")
    assert {"product_id", "own_price_elasticity", "sd", "low_90", "high_90", "method"} <= set(
        elasticities.columns
    )


def test_status_says_what_is_published(
    home: Home, finished: FinishedRun, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert str(finished.table_version) in said
    assert finished.run_id in said


@pytest.fixture(scope="module")
def published_again(home: Home, finished: FinishedRun, folder: Path) -> str:
    """``pricing publish`` under another rule: new prices, no new model."""
    config = folder / "cautious.yaml"
    config.write_text(FAST + "max_price_change: 0.05\n")
    again = run_job("price_update", home=home, config=str(config))
    assert again.table_version is not None
    return again.table_version


def test_publish_makes_prices_again_under_new_rules(
    home: Home, finished: FinishedRun, published_again: str
) -> None:
    table = PriceStore(home.tables).read(published_again)
    prices = table.prices.to_pandas()
    change = (prices["recommended_price"] / prices["current_price"] - 1).abs()
    assert change.max() < 0.06
    assert published_again != finished.table_version
    assert table.manifest.mlflow_run_id == finished.mlflow_run_id


def test_rollback_brings_the_earlier_table_back(
    home: Home, finished: FinishedRun, published_again: str
) -> None:
    store = PriceStore(home.tables)
    assert main(["rollback", "--home", str(home.root)]) == 0
    first = store.read(str(finished.table_version)).prices.to_pandas()
    now = store.read_current().prices.to_pandas()
    assert store.current() not in (finished.table_version, published_again)
    assert now["recommended_price"].tolist() == first["recommended_price"].tolist()


@pytest.fixture(scope="module")
def blocked(folder: Path, raw: Path) -> tuple[int, Home]:
    """A run whose gate no forecast can pass, on data that is not known to be simulated."""
    (raw / "market.json").rename(folder / "market.json")
    config = folder / "strict.yaml"
    config.write_text(FAST + "gate: {min_coverage: 1.0, max_wape_ratio: 0.01}\n")
    home = Home.at(folder / "blocked")
    place = ["--home", str(home.root), "--data", str(raw)]
    return main(["run", *place, "--config", str(config)]), home


def test_a_failed_gate_publishes_nothing_and_leaves_a_challenger(
    finished: FinishedRun, blocked: tuple[int, Home]
) -> None:
    from mlflow import MlflowClient

    code, home = blocked
    assert code == 1
    assert PriceStore(home.tables).current() is None
    uri = f"sqlite:///{home.mlflow_database}"
    client = MlflowClient(uri, registry_uri=uri)
    model = client.get_registered_model(MODEL_NAME)
    assert set(model.aliases) == {CHALLENGER}
    version = client.get_model_version_by_alias(MODEL_NAME, CHALLENGER)
    assert client.get_run(version.run_id).info.status == "FAILED"


def test_a_challenger_is_not_published_by_the_price_update_either(
    blocked: tuple[int, Home], capsys: pytest.CaptureFixture[str]
) -> None:
    _, home = blocked
    assert main(["publish", "--home", str(home.root)]) == 1
    assert "champion" in capsys.readouterr().err.splitlines()[-1]
    assert PriceStore(home.tables).current() is None


def test_a_failed_gate_leaves_the_champion_serving_and_says_why(
    home: Home,
    finished: FinishedRun,
    blocked: tuple[int, Home],
    raw: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from mlflow import MlflowClient

    before = PriceStore(home.tables).current()
    config = ["--config", str(folder / "strict.yaml")]
    assert main(["run", "--home", str(home.root), "--data", str(raw), *config]) == 1
    assert PriceStore(home.tables).current() == before
    uri = f"sqlite:///{home.mlflow_database}"
    client = MlflowClient(uri, registry_uri=uri)
    assert client.get_model_version_by_alias(MODEL_NAME, CHAMPION).run_id == finished.mlflow_run_id
    assert str(client.get_model_version_by_alias(MODEL_NAME, CHALLENGER).version) == "2"
    gate = json.loads((home.reports / "gate.json").read_text())
    assert gate["alias"] == CHALLENGER
    assert {one["name"] for one in gate["alarms"]} >= {"forecast_wape_ratio", "interval_coverage"}
    capsys.readouterr()
    assert main(["status", "--home", str(home.root)]) == 0
    said = capsys.readouterr().out
    assert "model version 2 is challenger" in said
    assert "held by" in said and "must be at most 0.01" in said
    assert str(before) in said


def test_no_uplift_is_claimed_on_real_data(blocked: tuple[int, Home]) -> None:
    report = stored(blocked[1], "evaluation_report")
    assert isinstance(report, dict)
    assert report["truth"] is None
    assert report["claim"] == REAL_DATA_CLAIM
