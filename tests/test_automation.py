"""What starts a run: months as partitions, the sensor of new files, the nightly schedule."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

from pricing_assets.automation import new_raw_data, nightly, sync_sales_months
from pricing_assets.definitions import build_definitions
from resources.raw_table_cache import CachedRawTables, fingerprint
from resources.settings import SettingsResource

SETTINGS = SettingsResource()


def write_sales(folder: Path, *, first: str, days: int) -> CachedRawTables:
    folder.mkdir(exist_ok=True)
    sales = pd.DataFrame(
        {
            "date": pd.date_range(first, periods=days),
            "product_id": "A",
            "units": 1.0,
            "price": 2.0,
        }
    )
    sales.to_csv(folder / "sales.csv", index=False)
    return CachedRawTables(root=str(folder))


def test_months_become_partitions_in_order_even_when_older_ones_come_later(tmp_path: Path) -> None:
    with dg.instance_for_test() as instance:
        tables = write_sales(tmp_path / "raw", first="2024-03-10", days=40)
        tags = sync_sales_months(instance, tables, SETTINGS)
        assert instance.get_dynamic_partitions("sales_month") == ["2024-03", "2024-04"]
        tables = write_sales(tmp_path / "raw", first="2024-01-10", days=100)
        tags = sync_sales_months(instance, tables, SETTINGS)
        months = ["2024-01", "2024-02", "2024-03", "2024-04"]
        assert instance.get_dynamic_partitions("sales_month") == months
    assert sorted(tags.values()) == ["2024-01", "2024-04"]


def test_the_sensor_runs_once_for_each_state_of_the_folder(tmp_path: Path) -> None:
    tables = write_sales(tmp_path / "raw", first="2024-01-01", days=40)
    with dg.instance_for_test() as instance:
        first = _sense(instance, tables, cursor=None)
        assert isinstance(first, dg.RunRequest)
        assert first.run_key == fingerprint(tables.root)
        again = _sense(instance, tables, cursor=first.run_key)
        assert isinstance(again, dg.SkipReason)
        write_sales(tmp_path / "raw", first="2024-01-01", days=41)
        assert isinstance(_sense(instance, tables, cursor=first.run_key), dg.RunRequest)


def _sense(
    instance: dg.DagsterInstance, tables: CachedRawTables, *, cursor: str | None
) -> dg.RunRequest | dg.SkipReason:
    with dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources={"raw_tables": tables, "settings": SETTINGS},
    ) as context:
        result = new_raw_data(context)
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return result


def test_the_nightly_run_covers_every_month(tmp_path: Path) -> None:
    tables = write_sales(tmp_path / "raw", first="2024-01-01", days=70)
    with (
        dg.instance_for_test() as instance,
        dg.build_schedule_context(
            instance=instance, resources={"raw_tables": tables, "settings": SETTINGS}
        ) as context,
    ):
        request = nightly(context)
    assert isinstance(request, dg.RunRequest)
    assert sorted(request.tags.values()) == ["2024-01", "2024-03"]


def test_nothing_runs_by_itself_until_someone_turns_it_on() -> None:
    built = build_definitions()
    stopped = dg.DefaultScheduleStatus.STOPPED
    assert all(item.default_status == stopped for item in built.schedules or ())
    running = [
        sensor.name
        for sensor in built.sensors or ()
        if sensor.default_status == dg.DefaultSensorStatus.RUNNING
    ]
    assert running == ["log_failed_run"]


def test_the_folder_is_read_again_only_when_it_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from resources import raw_table_cache

    readings: list[str] = []
    read = raw_table_cache.read_raw_tables

    def counted(root: str, *, settings: object) -> object:
        readings.append(root)
        return read(root, settings=settings)

    monkeypatch.setattr(raw_table_cache, "read_raw_tables", counted)
    tables = write_sales(tmp_path / "raw", first="2024-01-01", days=40)
    for _ in range(3):
        tables.read(SETTINGS.settings())
    write_sales(tmp_path / "raw", first="2024-01-01", days=50)
    assert len(tables.read(SETTINGS.settings())["sales"].accepted) == 50
    assert len(readings) == 2
