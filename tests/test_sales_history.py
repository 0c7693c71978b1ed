"""The history that the pages show: cut from the panel, kept whole, read one product at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pricing_assets.core.errors import InputError, IntegrityError
from pricing_assets.core.features import build_panel
from pricing_assets.core.market import Market
from pricing_assets.core.sales_history import sales_history
from pricing_assets.core.settings import PricingSettings
from serving import sales_history as stored
from serving.sales_history import SalesHistory

VERSION = "0123456789abcdef"


def rows_of(products: int, days: int) -> pa.Table:
    """``products`` times ``days`` rows whose units name their product and day."""
    index = np.arange(products * days)
    day = index % days
    return pa.table(
        {
            "product_id": [f"P{i // days:05d}" for i in index],
            "store_id": [""] * len(index),
            "date": pa.array(np.datetime64("2025-01-01") + day),
            "units": (index // days * 1000 + day).astype(float),
            "price": np.full(len(index), 9.99),
            "promo": np.zeros(len(index)),
            "rival_price": np.full(len(index), np.nan),
            "on_hand": np.full(len(index), 40.0),
        }
    )


def test_the_last_year_is_cut_from_the_panel(market: Market) -> None:
    panel = build_panel(market.raw_tables(), PricingSettings())
    rows = sales_history(panel, days=30)
    assert rows["date"].min() == pd.Timestamp(panel.dates[-30])
    assert rows["date"].max() == pd.Timestamp(panel.dates[-1])
    assert len(rows) == int(panel.on_sale[:, -30:].sum())
    sold = sales_history(panel, days=10_000)["units"].sum()
    assert sold == pytest.approx(np.nansum(np.where(panel.on_sale, panel.units, 0)))
    assert rows["product_id"].is_monotonic_increasing


def test_one_product_is_read_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "ROWS_OF_A_GROUP", 100)
    history = SalesHistory(tmp_path)
    path = history.write(rows_of(50, 40), data_version=VERSION)
    found = history.read(data_version=VERSION, product_id="P00031", store_id="")
    assert found is not None
    assert found["units"].to_pylist() == [31_000.0 + day for day in range(40)]
    assert found["date"].to_pylist() == sorted(found["date"].to_pylist())
    metadata = pq.ParquetFile(path).metadata
    assert metadata.num_row_groups == 20
    assert len(stored._groups_with(metadata, "P00031")) <= 2
    absent = history.read(data_version=VERSION, product_id="nothing", store_id="")
    assert absent is not None
    assert absent.num_rows == 0


def test_what_is_not_there_or_damaged_is_said(tmp_path: Path) -> None:
    history = SalesHistory(tmp_path)
    assert history.read(data_version=VERSION, product_id="P00001", store_id="") is None
    path = history.write(rows_of(5, 40), data_version=VERSION)
    content = bytearray(path.read_bytes())
    content[200:260] = bytes(60)
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match="sales history"):
        history.read(data_version=VERSION, product_id="P00001", store_id="")
    with pytest.raises(InputError, match="data version"):
        history.read(data_version="../../etc/passwd", product_id="P00001", store_id="")


def test_old_histories_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "KEPT_FILES", 2)
    history = SalesHistory(tmp_path)
    for number in range(4):
        history.write(rows_of(1, 2), data_version=f"{number:016x}")
    assert sorted(path.stem for path in tmp_path.glob("*.parquet")) == [f"{i:016x}" for i in (2, 3)]
