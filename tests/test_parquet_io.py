"""The IO manager: every kind comes back equal, and damage is seen."""

from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from upath import UPath

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.errors import IntegrityError, NotPublishedError
from pricing_assets.core.features import build_panel
from pricing_assets.core.panel import PANEL_MATRICES
from pricing_assets.core.settings import PricingSettings
from resources.asset_store import load_value, store_value
from resources.parquet_io import ParquetIOManager

MONTHS = dg.DynamicPartitionsDefinition(name="month")
FRAME = pd.DataFrame(
    {
        "date": pd.date_range("2024-01-01", periods=4),
        "product_id": ["a", "b", "ü", ""],
        "units": [1.0, np.nan, 0.0, 2.5],
        "weekday_index": [[1.0] * 7] * 4,
    }
)


@pytest.fixture
def folder(tmp_path: Path) -> UPath:
    return UPath(tmp_path / "asset")


def test_a_frame_comes_back_equal(folder: UPath) -> None:
    store_value(folder, FRAME)
    back = load_value(folder)
    pd.testing.assert_frame_equal(back.drop(columns="weekday_index"), FRAME.iloc[:, :3])
    assert [list(row) for row in back["weekday_index"]] == FRAME["weekday_index"].tolist()


def test_an_empty_frame_keeps_its_columns(folder: UPath) -> None:
    store_value(folder, FRAME.iloc[:0])
    assert list(load_value(folder).columns) == list(FRAME.columns)


def test_a_panel_comes_back_equal(folder: UPath) -> None:
    sales = pd.DataFrame(
        {
            "date": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-03"] * 2),
            "product_id": ["a"] * 3 + ["b"] * 3,
            "units": [3.0, 0.0, 5.0, 1.0, 2.0, 0.0],
            "price": [9.99, 9.99, 8.99, 4.0, 4.0, 4.5],
        }
    )
    panel = build_panel({"sales": sales}, PricingSettings())
    store_value(folder, panel)
    back = load_value(folder)
    assert back.grain == panel.grain
    for name in (*PANEL_MATRICES, "dates", "holiday"):
        np.testing.assert_array_equal(getattr(back, name), getattr(panel, name), err_msg=name)
    pd.testing.assert_frame_equal(back.series, panel.series)


def test_a_model_bundle_and_json_come_back_equal(tmp_path: Path) -> None:
    bundle = ModelBundle({"model.txt": b"tree\n", "meta.json": b"{}"})
    store_value(UPath(tmp_path / "model"), bundle)
    assert load_value(UPath(tmp_path / "model")) == bundle
    store_value(UPath(tmp_path / "report"), {"wape": 0.25, "gates": [1, None]})
    assert load_value(UPath(tmp_path / "report")) == {"wape": 0.25, "gates": [1, None]}


def test_json_refuses_nan(folder: UPath) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        store_value(folder, {"wape": float("nan")})


def test_an_object_of_another_type_is_refused_and_not_pickled(folder: UPath) -> None:
    with pytest.raises(TypeError, match="returned a set"):
        store_value(folder, {1, 2})


def test_a_new_value_replaces_the_old_and_leaves_nothing_behind(folder: UPath) -> None:
    store_value(folder, FRAME)
    store_value(folder, FRAME.head(1))
    store_value(folder, FRAME.head(1))
    assert len(load_value(folder)) == 1
    assert len([path for path in folder.iterdir() if path.is_dir()]) == 1


def test_a_failed_write_leaves_the_old_value(folder: UPath) -> None:
    store_value(folder, FRAME)
    with pytest.raises(ValueError, match="JSON"):
        store_value(folder, {"x": float("inf")})
    assert len(load_value(folder)) == len(FRAME)


@pytest.mark.parametrize("position", [0, 0.3, 0.6, 0.99])
def test_a_flipped_bit_is_an_integrity_error(folder: UPath, position: float) -> None:
    store_value(folder, FRAME)
    path = next(Path(folder).rglob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[int(position * len(content))] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(IntegrityError, match="SHA-256"):
        load_value(folder)


def test_a_missing_file_and_a_damaged_manifest_are_integrity_errors(folder: UPath) -> None:
    store_value(folder, FRAME)
    next(Path(folder).rglob("*.parquet")).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        load_value(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(IntegrityError, match="manifest"):
        load_value(folder)


def test_nothing_stored_says_what_to_do(folder: UPath) -> None:
    with pytest.raises(NotPublishedError, match="pricing run"):
        load_value(folder)


@dg.asset(partitions_def=MONTHS, backfill_policy=dg.BackfillPolicy.single_run())
def monthly(context: dg.AssetExecutionContext) -> dict[str, pd.DataFrame]:
    return {key: pd.DataFrame({"month": [key]}) for key in context.partition_keys}


@dg.asset
def all_months(monthly: pd.DataFrame) -> pd.DataFrame:
    return monthly


def test_partitions_are_files_of_their_own_and_load_as_one_frame(tmp_path: Path) -> None:
    keys = ["2024-01", "2024-02", "2024-03"]
    with dg.instance_for_test() as instance:
        instance.add_dynamic_partitions("month", keys)
        result = dg.materialize(
            [monthly, all_months],
            resources={"io_manager": ParquetIOManager(base=str(tmp_path))},
            instance=instance,
            tags={
                "dagster/asset_partition_range_start": keys[0],
                "dagster/asset_partition_range_end": keys[-1],
            },
        )
    assert result.output_for_node("all_months")["month"].tolist() == keys
    assert sorted(path.name for path in (tmp_path / "monthly").iterdir()) == keys


def test_other_addresses_than_folders_work() -> None:
    folder = UPath("memory://assets/table")
    store_value(folder, FRAME)
    assert len(load_value(folder)) == len(FRAME)
