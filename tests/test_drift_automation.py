"""Training again where something drifted: the sensor, its cool-down, and the look it rests on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest

from pricing_assets.assets.monitoring import drift_watch
from pricing_assets.automation import PIPELINE
from pricing_assets.core.market import MarketParameters, simulate_market
from pricing_assets.definitions import build_definitions
from pricing_assets.drift_automation import BECAUSE_TAG, retrain_on_drift
from resources.market_file import write_market
from resources.monitoring import MonitoringResource
from resources.raw_table_cache import CachedRawTables
from resources.settings import SettingsResource


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> CachedRawTables:
    folder = tmp_path_factory.mktemp("raw")
    _write(folder, scale=1.0)
    return CachedRawTables(root=str(folder))


def _write(folder: Path, *, scale: float) -> None:
    """Ten products over 200 days, whose last 28 days' prices are ``scale`` times as high."""
    market = simulate_market(MarketParameters(products=10, days=200, seed=3))
    tables = market.raw_tables()
    sales = tables["sales"].copy()
    last = sales["date"] > sales["date"].max() - pd.Timedelta(days=28)
    sales["price"] = sales["price"].where(~last, sales["price"] * scale).round(2)
    write_market(
        folder,
        tables={**tables, "sales": sales},
        parameters=market.parameters.model_dump(),
        file_format="parquet",
    )


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.instance_for_test() as found:
        yield found


def look(instance: dg.DagsterInstance, *, alarms: int) -> None:
    """A look at the market that found so many alarms."""
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            "drift_watch", metadata={"alarms": alarms, "alarm_names": "live_wape_ratio"}
        )
    )


def sense(
    instance: dg.DagsterInstance, raw: CachedRawTables, *, hours: float = 72
) -> dg.RunRequest | dg.SkipReason:
    settings = SettingsResource(monitoring={"cool_down_hours": hours})
    with dg.build_sensor_context(
        instance=instance, resources={"raw_tables": raw, "settings": settings}
    ) as context:
        found = retrain_on_drift(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def pipeline_ran(instance: dg.DagsterInstance) -> None:
    """The instance remembers a run of the pipeline, made now."""
    job = dg.GraphDefinition(name=PIPELINE).to_job()
    instance.create_run_for_job(job)


def skipped(found: dg.RunRequest | dg.SkipReason) -> str:
    assert isinstance(found, dg.SkipReason)
    return str(found.skip_message)


def test_an_alarm_starts_a_run_over_every_month_and_says_why(
    instance: dg.DagsterInstance, raw: CachedRawTables
) -> None:
    look(instance, alarms=2)
    found = sense(instance, raw)
    assert isinstance(found, dg.RunRequest)
    assert found.tags[BECAUSE_TAG] == "live_wape_ratio"
    assert "2023-01" in found.tags.values()
    again = sense(instance, raw)
    assert isinstance(again, dg.RunRequest)
    assert again.run_key == found.run_key, "Dagster starts one run a key"


def test_nothing_starts_without_a_look_or_an_alarm(
    instance: dg.DagsterInstance, raw: CachedRawTables
) -> None:
    assert "never looked" in skipped(sense(instance, raw))
    look(instance, alarms=0)
    assert skipped(sense(instance, raw)) == "no alarm"


def test_an_alarm_that_the_pipeline_has_answered_starts_no_second_run(
    instance: dg.DagsterInstance, raw: CachedRawTables
) -> None:
    look(instance, alarms=1)
    pipeline_ran(instance)
    assert "since the alarm" in skipped(sense(instance, raw))


def test_the_cool_down_holds_an_alarm_soon_after_a_run(
    instance: dg.DagsterInstance, raw: CachedRawTables
) -> None:
    pipeline_ran(instance)
    look(instance, alarms=1)
    assert "less than 72 hours" in skipped(sense(instance, raw))
    assert isinstance(sense(instance, raw, hours=0), dg.RunRequest)


def test_the_sensor_is_off_until_someone_turns_it_on() -> None:
    sensors = {sensor.name: sensor for sensor in build_definitions().sensors or ()}
    assert sensors["retrain_on_drift"].default_status == dg.DefaultSensorStatus.STOPPED


@pytest.mark.parametrize(("scale", "alarmed"), [(1.0, False), (3.0, True)])
def test_the_look_reads_the_raw_tables_and_writes_its_report(
    tmp_path: Path, instance: dg.DagsterInstance, scale: float, alarmed: bool
) -> None:
    _write(tmp_path / "raw", scale=scale)
    dates = pd.date_range("2023-05-01", periods=48)
    residuals = pd.DataFrame(
        {
            "model": "lightgbm",
            "date": dates,
            "expected": 100.0,
            "sold": 100 + np.random.default_rng(1).normal(0, 10, 48),
        }
    )
    backtest = pd.DataFrame({"model": ["lightgbm"], "origin": ["all"], "chosen": [True]})
    monitoring = MonitoringResource(
        assets=str(tmp_path / "assets"),
        reports=str(tmp_path / "reports"),
        audit=str(tmp_path / "audit"),
    )
    with dg.build_asset_context(
        instance=instance,
        resources={
            "settings": SettingsResource(),
            "raw_tables": CachedRawTables(root=str(tmp_path / "raw")),
            "monitoring": monitoring,
        },
    ) as context:
        report = drift_watch(context, forecast_backtest=backtest, forecast_residuals=residuals)
    assert (tmp_path / "reports" / "drift.json").exists()
    named = {one["name"] for one in report["alarms"]}
    assert ("drift_log_price" in named) is alarmed
    assert alarmed or not named
