"""Files of a folder as checked tables: encodings, separators, damage, and what is missing."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

from pricing_assets.core.errors import (
    EmptyTableError,
    InputError,
    MissingFolderError,
    MissingTableError,
    UnreadableTableError,
)
from pricing_assets.core.settings import PricingSettings
from resources.raw_tables import RawTablesResource, read_frame, read_raw_tables

SETTINGS = PricingSettings()
SALES = "date,product_id,units,price\n2024-01-01,00123,2,1.99\n2024-01-02,00123,3,1.99\n"
SHEET = (
    "Product_ID,Date,Sales,Price,Competitor_Price,Inventory\n"
    "1,2024-01-01,3,9.5,9,10\n1,2024-01-02,4,9.5,,6\n"
)


def write(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def prices(folder: Path) -> list[float]:
    return list(read_raw_tables(str(folder), settings=SETTINGS)["sales"].accepted["price"])


def test_csv_tables_are_read_by_name_and_ids_stay_text(tmp_path: Path) -> None:
    write(tmp_path, "sales.csv", SALES)
    write(tmp_path, "Products.CSV", "product_id,category\n00123,tea\n")
    write(tmp_path, "market.json", "{}")
    tables = RawTablesResource(root=str(tmp_path)).read(SETTINGS)
    assert sorted(tables) == ["products", "sales"]
    assert tables["sales"].accepted["product_id"].tolist() == ["00123", "00123"]
    assert tables["products"].accepted["category"].tolist() == ["tea"]


def test_parquet_with_an_index_column_is_read(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "date": pd.date_range("2024-01-01", periods=2).date,
            "product_id": [1, 2],
            "units": pd.array([1, None], dtype="Int32"),
            "price": [2.0, 3.0],
        }
    )
    frame.set_index("date").to_parquet(tmp_path / "sales.parquet")
    settings = PricingSettings.model_validate({"ingestion": {"max_quarantined_share": 0.5}})
    sales = read_raw_tables(str(tmp_path), settings=settings)["sales"]
    assert sales.accepted["product_id"].tolist() == ["1"]
    assert sales.reasons() == {"missing_value": 1}


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbf" + SALES.encode(),
        SALES.encode("utf-16"),
        SALES.replace("\n", "\r\n").encode(),
        SALES.replace(",", "\t").encode(),
        SALES.replace(",", ";").replace("1.99", "1,99").encode(),
        SALES.replace("00123", "caf\u00e9").encode("cp1252"),
        SALES.replace("1.99", '"1,99"').encode(),
    ],
)
def test_boms_encodings_separators_and_decimal_commas(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, "sales.csv", content)
    assert prices(tmp_path) == [1.99, 1.99]


def test_columns_without_a_heading_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, "sales.csv", SALES.replace("\n", ",,\n"))
    sales = read_raw_tables(str(tmp_path), settings=SETTINGS)["sales"]
    assert len(sales.accepted) == 2
    assert sales.ignored_columns == ()


def test_a_nul_or_a_line_break_inside_a_value_does_not_hide_rows(tmp_path: Path) -> None:
    write(tmp_path, "sales.csv", SALES + '2024-01-03,a\x00b,1,1\n2024-01-03,"a\nb",1,1\n')
    settings = PricingSettings.model_validate({"ingestion": {"max_quarantined_share": 0.5}})
    sales = read_raw_tables(str(tmp_path), settings=settings)["sales"]
    assert sales.rows_read == 4
    assert sales.reasons() == {"id_control_character": 2}


def test_the_single_sheet_is_accepted_under_any_name(tmp_path: Path) -> None:
    write(tmp_path, "my export.csv", SHEET)
    tables = read_raw_tables(str(tmp_path), settings=SETTINGS)
    assert sorted(tables) == ["competitor_prices", "inventory", "sales"]
    assert tables["sales"].accepted["units"].tolist() == [3.0, 4.0]
    assert tables["competitor_prices"].rows_read == 1
    assert tables["inventory"].accepted["on_hand"].tolist() == [10.0, 6.0]


def test_the_single_sheet_is_accepted_as_sales_with_mapped_headings(tmp_path: Path) -> None:
    write(tmp_path, "sales.csv", SHEET.replace("Sales", "Sold").replace("Inventory", "Stock"))
    settings = PricingSettings(
        columns={
            "units": "Sold",
            "Stock": "inventory",
            "product_id": "Product_ID",
            "competitor_price": "Competitor_Price",
        }
    )
    tables = read_raw_tables(str(tmp_path), settings=settings)
    assert sorted(tables) == ["competitor_prices", "inventory", "sales"]


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFolderError, match="nowhere' does not exist"):
        read_raw_tables(str(tmp_path / "nowhere"), settings=SETTINGS)
    path = write(tmp_path, "sales.csv", SALES)
    with pytest.raises(MissingFolderError, match="is a file"):
        read_raw_tables(str(path), settings=SETTINGS)


def test_only_sales_is_required_and_its_absence_names_what_was_found(tmp_path: Path) -> None:
    with pytest.raises(MissingTableError, match="found: nothing"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)
    write(tmp_path, "products.csv", "product_id\n1\n")
    with pytest.raises(MissingTableError, match=r"found: products\.csv"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)


def test_near_names_and_twins_are_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "sales.csv", SALES)
    product = write(tmp_path, "product.csv", "product_id\n1\n")
    with pytest.raises(InputError, match="did you mean 'products'"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)
    product.unlink()
    read_frame(UPath(tmp_path / "sales.csv")).to_parquet(tmp_path / "sales.parquet")
    with pytest.raises(InputError, match="there twice"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)


@pytest.mark.parametrize("name", ["sales.csv", "sales.parquet"])
def test_an_empty_file(tmp_path: Path, name: str) -> None:
    write(tmp_path, name, "")
    with pytest.raises(EmptyTableError, match="is empty"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)


def test_a_file_with_headings_only(tmp_path: Path) -> None:
    write(tmp_path, "sales.csv", SALES.split("\n")[0] + "\n")
    with pytest.raises(EmptyTableError, match="0 read"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_truncated_parquet(tmp_path: Path, share: float) -> None:
    path = tmp_path / "sales.parquet"
    pd.DataFrame({"date": ["2024-01-01"] * 50}).to_parquet(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UnreadableTableError, match="cannot be read"):
        read_raw_tables(str(tmp_path), settings=SETTINGS)


@pytest.mark.parametrize(
    "text", [SALES + "2024-01-03,only,two\n", "\n\n" + SALES, "date,date\n1,2\n"]
)
def test_a_csv_that_cannot_be_parsed(tmp_path: Path, text: str) -> None:
    write(tmp_path, "sales.csv", text)
    with pytest.raises(UnreadableTableError):
        read_raw_tables(str(tmp_path), settings=SETTINGS)


def test_a_table_may_lie_at_an_fsspec_address() -> None:
    folder = UPath("memory://raw-tables-test")
    folder.mkdir(exist_ok=True)
    (folder / "sales.csv").write_text(SALES)
    tables = read_raw_tables("memory://raw-tables-test", settings=SETTINGS)
    assert len(tables["sales"].accepted) == 2
