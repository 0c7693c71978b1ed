"""The example configurations, and their readers on the real data sets where these are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from numpy.typing import NDArray

from pricing_assets.core.features import build_panel
from pricing_assets.core.ingestion import CheckedTable
from pricing_assets.core.settings import PricingSettings
from resources.raw_tables import read_raw_tables

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FOLDERS = {
    "orange_juice": "oj_dominicks",
    "uci_online_retail": "uci_online_retail",
    "m5_foods": "m5_foods3_tx3",
}
Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


def example_settings(example: str) -> PricingSettings:
    return PricingSettings.model_validate(
        yaml.safe_load((EXAMPLES / example / "config.yaml").read_text())
    )


def read_example(example: str, public_data: Path) -> dict[str, CheckedTable]:
    folder = public_data / FOLDERS[example]
    if not folder.is_dir():
        pytest.skip(f"the data set of examples/{example} is not in {folder}")
    return read_raw_tables(str(folder), settings=example_settings(example))


@pytest.fixture(scope="module")
def orange_juice(public_data: Path) -> dict[str, CheckedTable]:
    return read_example("orange_juice", public_data)


@pytest.mark.parametrize("example", FOLDERS)
def test_every_example_has_a_valid_configuration_and_a_note(example: str) -> None:
    settings = example_settings(example)
    assert settings.ingestion.reader != "contract"
    note = (EXAMPLES / example / "README.md").read_text()
    assert f"--config examples/{example}/config.yaml" in note


def test_orange_juice_tables_account_for_every_row(orange_juice: dict[str, CheckedTable]) -> None:
    sales, costs = orange_juice["sales"], orange_juice["costs"]
    assert sales.rows_read == len(sales.accepted) == 106_139
    assert costs.rows_read == 106_139
    assert costs.reasons() == {"implausible_margin": 182}
    units = sales.accepted["units"]
    assert np.abs(units - np.rint(units)).max() < 1e-9
    panel = build_panel(
        {name: table.accepted for name, table in orange_juice.items()},
        example_settings("orange_juice"),
    )
    assert panel.shape == (913, 121)
    assert panel.grain == "week"
    assert int(panel.on_sale.sum()) == 106_139


@pytest.mark.parametrize(
    ("effects", "controls", "elasticity"),
    [
        ((), (), -1.51),
        (("series",), (), -3.10),
        (("series", "date"), (), -3.97),
        (("series", "date"), ("promo", "feature"), -3.29),
    ],
)
def test_orange_juice_reproduces_the_fixed_effects_anchors(
    orange_juice: dict[str, CheckedTable],
    effects: tuple[str, ...],
    controls: tuple[str, ...],
    elasticity: float,
) -> None:
    """Published anchors have two digits, so the estimate must round to them."""
    rows = _log_log(orange_juice)
    groups = [pd.factorize(rows[name])[0] for name in effects]
    columns = rows[["log_ounces", "log_price", *controls]].to_numpy(dtype=np.float64)
    slope, standard_error = _within_slope(
        columns, groups=groups, cluster=pd.factorize(rows["store_id"])[0]
    )
    assert round(slope, 2) == elasticity
    if controls:
        assert round(standard_error, 2) == 0.05


def test_uci_lines_are_all_accounted_for(public_data: Path) -> None:
    tables = read_example("uci_online_retail", public_data)
    sales = tables["sales"]
    assert sales.reasons() == {
        "cancellation": 7856,
        "duplicate_row": 5135,
        "return": 1336,
        "non_product_code": 1169,
        "not_positive": 1146,
        "reversed_order": 600,
    }
    assert len(sales.accepted) + len(sales.quarantined) == sales.rows_read
    assert sales.accepted["units"].max() < 10_000
    assert sales.accepted["product_id"].str.match(r"\d{5}").all()


def test_uci_weekly_median_prices_reproduce_the_anchor(public_data: Path) -> None:
    """Item and week effects, median line price: -1.46 (revenue over units would say -1.89)."""
    rows = read_example("uci_online_retail", public_data)["sales"].accepted
    columns = np.log(rows[["units", "price"]].to_numpy(dtype=np.float64))
    item = pd.factorize(rows["product_id"])[0]
    week = pd.factorize(rows["date"])[0]
    slope, _ = _within_slope(columns, groups=[item, week], cluster=item)
    assert round(slope, 2) == -1.46


def test_m5_days_without_a_price_are_not_on_sale(public_data: Path) -> None:
    tables = read_example("m5_foods", public_data)
    sales = tables["sales"].accepted
    assert tables["sales"].quarantined.empty
    assert sales["date"].max() == pd.Timestamp("2016-05-22")
    assert sales["product_id"].nunique() == 823
    assert (sales["units"] == 0).mean() == pytest.approx(0.52, abs=0.01)
    assert len(sales) / (823 * 1941) == pytest.approx(0.795, abs=0.001)
    assert tables["planned_prices"].accepted["date"].min() == pd.Timestamp("2016-05-23")


def _log_log(tables: dict[str, CheckedTable]) -> pd.DataFrame:
    """Log ounces and log price per ounce from the contract's packs."""
    packs = tables["products"].accepted[["product_id", "pack_size"]]
    rows = tables["sales"].accepted.merge(packs, on="product_id")
    return rows.assign(
        log_ounces=np.log(rows["units"] * rows["pack_size"]),
        log_price=np.log(rows["price"] / rows["pack_size"]),
        series=rows["store_id"] + "|" + rows["product_id"],
    )


def _within_slope(columns: Floats, *, groups: list[Codes], cluster: Codes) -> tuple[float, float]:
    """First slope of least squares after removing group means, and its clustered error.

    Alternating projections (Guimaraes and Portugal 2010); cluster-robust sandwich variance.
    """
    data = columns - columns.mean(axis=0)
    for _ in range(200):
        before = data
        for codes in groups:
            size = np.bincount(codes)
            means = [np.bincount(codes, column) / size for column in data.T]
            data = data - np.column_stack(means)[codes]
        if np.abs(data - before).max() < 1e-9:
            break
    outcome, regressors = data[:, 0], data[:, 1:]
    bread = np.linalg.inv(regressors.T @ regressors)
    slopes = bread @ regressors.T @ outcome
    scores = regressors * (outcome - regressors @ slopes)[:, None]
    summed = np.column_stack([np.bincount(cluster, column) for column in scores.T])
    variance = bread @ summed.T @ summed @ bread
    return float(slopes[0]), float(np.sqrt(variance[0, 0]))
