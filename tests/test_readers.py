"""The readers of public data sets, on small frames worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pricing_assets.core.errors import MissingTableError
from pricing_assets.core.ingestion import check_table
from pricing_assets.core.readers import dominicks, m5, uci_online_retail
from pricing_assets.core.settings import IngestionParameters, PricingSettings

STRICT = PricingSettings.model_validate({"ingestion": {"max_quarantined_share": 0.0}})


def as_texts(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a CSV file gives it: every value text, nothing missing."""
    return frame.astype(object).where(frame.notna(), "").astype(str)


def orange_juice(**changes: list[object]) -> pd.DataFrame:
    columns: dict[str, list[object]] = {
        "store": [2, 2],
        "brand": [1, 11],
        "week": [1, 40],
        "logmove": [float(np.log(64 * 129)), float(np.log(128 * 7))],
        "price": [0.06, 0.03],
        "deal": [1, 0],
        "feat": [0.0, 0.25],
        "profit": [40.0, 25.0],
    }
    return pd.DataFrame({**columns, **changes})


def test_ounces_become_packs_and_weeks_dates() -> None:
    tables = dominicks.read({"any name": orange_juice()})
    sales = tables["sales"]
    assert sales["units"].tolist() == pytest.approx([129, 7])
    assert sales["price"].tolist() == pytest.approx([0.06 * 64, 0.03 * 128])
    assert sales["date"].tolist() == [pd.Timestamp("1989-09-14"), pd.Timestamp("1990-06-14")]
    assert sales["product_id"].tolist() == ["Tropicana Premium 64", "Dominicks 128"]
    assert sales[["promo", "feature"]].to_numpy().tolist() == [[1, 0], [0, 0.25]]
    assert tables["costs"]["unit_cost"].tolist() == pytest.approx([3.84 * 0.6, 3.84 * 0.75])
    assert tables["products"]["pack_size"].tolist() == [64, 128]
    assert tables["products"]["brand"].tolist() == ["Tropicana Premium", "Dominicks"]


def test_the_wide_prices_of_the_r_package_give_the_same_tables() -> None:
    long = orange_juice()
    wide = long.drop(columns="price").assign(**{f"price{k}": 9.0 for k in range(1, 12)})
    wide.loc[0, "price1"], wide.loc[1, "price11"] = 0.06, 0.03
    expected, found = dominicks.read({"a": long}), dominicks.read({"yx": as_texts(wide)})
    for name in ("sales", "products", "costs"):
        pd.testing.assert_frame_equal(found[name], expected[name])


def test_implausible_margins_are_set_aside_from_costs_only() -> None:
    tables = dominicks.read({"a": orange_juice(profit=[0.0, 75.0])})
    assert len(tables["sales"]) == 2
    assert tables["costs"].empty
    assert tables["set_aside"]["reason"].tolist() == ["implausible_margin"] * 2
    assert tables["set_aside"]["row_number"].tolist() == [1, 2]


def test_an_unknown_brand_reaches_the_quarantine() -> None:
    sales = dominicks.read({"a": orange_juice(brand=[1, 12])})["sales"]
    lenient = PricingSettings.model_validate({"ingestion": {"max_quarantined_share": 1.0}})
    assert check_table(sales, table="sales", settings=lenient).reasons() == {"missing_value": 1}


def invoices(*lines: tuple[str, str, float, str, float]) -> pd.DataFrame:
    names = ["InvoiceNo", "StockCode", "Quantity", "InvoiceDate", "UnitPrice"]
    frame = pd.DataFrame(lines, columns=names)
    return frame.assign(Description="x", CustomerID=7.0, Country="United Kingdom")


def reasons(tables: dict[str, pd.DataFrame]) -> list[tuple[int, str]]:
    aside = tables["set_aside"]
    return list(zip(aside["row_number"], aside["reason"], strict=True))


def test_lines_become_one_row_a_product_and_day_at_the_median_price() -> None:
    raw = invoices(
        ("1", "85123A", 6, "2010-12-01 08:26", 3.0),
        ("2", "85123a", 600, "2010-12-01 09:00", 2.0),
        ("3", "85123A", 1, "2010-12-01 09:05", 4.0),
        ("4", "22720", 1, "2010-12-03 09:05", 5.0),
    )
    tables = uci_online_retail.read({"online_retail": raw})
    assert tables["sales"]["product_id"].tolist() == ["85123A", "22720"]
    assert tables["sales"]["units"].tolist() == [607, 1]
    assert tables["sales"]["price"].tolist() == [3.0, 5.0]
    assert tables["set_aside"].empty
    assert tables["calendar"]["date"].tolist() == [pd.Timestamp("2010-12-02")]


def test_weeks_end_with_the_last_day_at_the_median_price_of_their_lines() -> None:
    raw = invoices(
        ("1", "22720", 1, "2011-01-03", 9.0),
        ("2", "22720", 2, "2011-01-04", 1.0),
        ("3", "22720", 4, "2011-01-04", 2.0),
        ("4", "22720", 8, "2011-01-10", 4.0),
    )
    sales = uci_online_retail.read({"a": raw}, IngestionParameters(grain="week"))["sales"]
    assert sales["date"].tolist() == [pd.Timestamp("2010-12-28"), pd.Timestamp("2011-01-04")]
    assert sales["units"].tolist() == [1, 14]
    assert sales["price"].tolist() == [9.0, 2.0]


def test_lines_that_are_no_sale_are_set_aside_with_their_reason() -> None:
    raw = invoices(
        ("1", "85123A", 6, "12/13/2010 8:26", 2.55),
        ("C2", "85123A", -1, "12/14/2010 8:26", 2.55),
        ("3", "85123A", -5, "12/14/2010 8:26", 2.55),
        ("4", "85123A", 5, "12/14/2010 8:26", 0.0),
        ("5", "POST", 1, "12/14/2010 8:26", 18.0),
        ("6", "gift_0001_20", 1, "12/14/2010 8:26", 20.0),
        ("1", "85123A", 6, "12/13/2010 8:26", 2.55),
        ("7", "85123A", 5, "12/14/2010 8:26", float("nan")),
    )
    tables = uci_online_retail.read({"a": as_texts(raw)})
    assert reasons(tables) == [
        (2, "cancellation"),
        (3, "return"),
        (4, "not_positive"),
        (5, "non_product_code"),
        (6, "non_product_code"),
        (7, "duplicate_row"),
        (8, "missing_value"),
    ]
    assert tables["sales"]["units"].tolist() == [6]


def test_an_order_cancelled_in_full_on_its_day_is_no_demand() -> None:
    raw = invoices(
        ("1", "23843", 80995, "2011-12-09 09:15", 2.08),
        ("C2", "23843", -80995, "2011-12-09 09:27", 2.08),
        ("3", "22720", 10, "2011-12-08 09:00", 1.0),
        ("C4", "22720", -10, "2011-12-09 09:00", 1.0),
        ("5", "22720", 12, "2011-12-09 09:00", 1.0),
    )
    tables = uci_online_retail.read({"a": raw})
    assert reasons(tables) == [(1, "reversed_order"), (2, "cancellation"), (4, "cancellation")]
    assert tables["sales"]["units"].tolist() == [10, 12]


def test_one_country_may_be_kept_and_rows_keep_the_files_numbers() -> None:
    raw = invoices(
        ("1", "22720", 1, "2011-01-03", 1.0),
        ("2", "POST", 1, "2011-01-03", 1.0),
        ("3", "22720", 4, "2011-01-03", 1.0),
    )
    raw.loc[0, "Country"] = "France"
    tables = uci_online_retail.read({"a": raw}, IngestionParameters(uci_country="United Kingdom"))
    assert tables["sales"]["units"].tolist() == [4]
    assert reasons(tables) == [(2, "non_product_code")]


CALENDAR = pd.DataFrame(
    {
        "date": pd.date_range("2016-05-20", periods=6).astype(str),
        "wm_yr_wk": [1, 1, 2, 2, 2, 3],
        "d": [f"d_{day}" for day in range(1939, 1945)],
        "event_name_1": [None, "NBAFinalsStart", None, None, None, None],
        "event_name_2": [None] * 6,
        "snap_TX": [1, 1, 0, 0, 0, 0],
    }
)
PRICES = pd.DataFrame(
    {
        "store_id": ["TX_3"] * 3 + ["CA_1"],
        "item_id": ["FOODS_3_001"] * 3 + ["FOODS_3_001"],
        "wm_yr_wk": [1, 2, 3, 2],
        "sell_price": [2.0, 3.0, 4.0, 99.0],
    }
)


def long_sales() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": ["FOODS_3_001"] * 4 + ["FOODS_3_002"] * 2,
            "d": ["d_1939", "d_1940", "d_1941", "d_1942", "d_1940", "d_1941"],
            "units": [0, 5, 1, 7, 0, 3],
            "sell_price": [2.0, 2.0, 3.0, 3.0, None, 1.5],
        }
    )


def test_zero_units_with_a_price_are_on_sale_and_without_one_are_not() -> None:
    tables = m5.read({"sales": long_sales(), "calendar": CALENDAR})
    assert tables["sales"].to_numpy().tolist() == [
        [pd.Timestamp("2016-05-20"), "FOODS_3_001", "TX_3", 0, 2.0],
        [pd.Timestamp("2016-05-21"), "FOODS_3_001", "TX_3", 5, 2.0],
        [pd.Timestamp("2016-05-22"), "FOODS_3_001", "TX_3", 1, 3.0],
        [pd.Timestamp("2016-05-22"), "FOODS_3_002", "TX_3", 3, 1.5],
    ]
    assert "planned_prices" not in tables
    assert tables["products"]["category"].tolist() == ["FOODS_3", "FOODS_3"]


def test_units_without_a_price_are_left_for_the_check() -> None:
    long = long_sales().assign(sell_price=None)
    sales = m5.read({"sales": long, "calendar": CALENDAR})["sales"]
    assert sales["units"].tolist() == [5, 1, 3]
    assert sales["price"].isna().all()


def test_kaggles_wide_sales_take_their_prices_from_the_list() -> None:
    wide = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            "item_id": ["FOODS_3_001", "FOODS_3_001", "HOBBIES_1_001"],
            "dept_id": ["FOODS_3", "FOODS_3", "HOBBIES_1"],
            "store_id": ["TX_3", "CA_1", "TX_3"],
            "d_1": ["0", "4", "4"],
            "d_1940": ["5", "4", "4"],
            "d_1941": ["0", "4", "4"],
        }
    )
    calendar = pd.concat([CALENDAR, CALENDAR.head(1).assign(d="d_1", wm_yr_wk=0)])
    files = {"sell_prices": as_texts(PRICES), "calendar": as_texts(calendar), "sales_train": wide}
    tables = m5.read(files)
    assert tables["sales"][["units", "price"]].to_numpy().tolist() == [[5, 2.0], [0, 3.0]]
    planned = tables["planned_prices"]
    assert planned["date"].dt.day.tolist() == [23, 24, 25]
    assert planned["price"].tolist() == [3.0, 3.0, 4.0]


def test_events_are_holidays_and_snap_is_named() -> None:
    calendar = m5.read({"sales": long_sales(), "calendar": CALENDAR})["calendar"]
    assert calendar["holiday"].tolist() == [0, 1, 0, 0, 0, 0]
    assert calendar["event"].tolist() == ["SNAP", "NBAFinalsStart; SNAP", "", "", "", ""]


def test_what_m5_lacks_is_named() -> None:
    with pytest.raises(MissingTableError, match="wm_yr_wk"):
        m5.read({"sales": long_sales()})
    unpriced = {"sales": long_sales().drop(columns="sell_price"), "calendar": CALENDAR}
    with pytest.raises(MissingTableError, match="sell_price of M5"):
        m5.read(unpriced)
    with pytest.raises(MissingTableError, match="store 'TX_3' and department 'FOODS_1'"):
        m5.read(
            {"sales": long_sales(), "calendar": CALENDAR},
            IngestionParameters(m5_department="FOODS_1"),
        )


@pytest.mark.parametrize("reader", [dominicks, m5, uci_online_retail])
def test_a_readers_missing_file_names_its_columns_and_what_was_found(reader: object) -> None:
    read = reader.read  # type: ignore[attr-defined]
    with pytest.raises(MissingTableError, match=r"found: notes: a\."):
        read({"notes": pd.DataFrame({"a": [1]})})


@pytest.mark.parametrize(
    ("reader", "files"),
    [
        (dominicks, {"a": orange_juice()}),
        (uci_online_retail, {"a": invoices(("1", "22720", 1, "2011-01-03", 1.0))}),
        (m5, {"a": long_sales(), "b": CALENDAR}),
    ],
)
def test_a_readers_tables_pass_the_check(reader: object, files: dict[str, pd.DataFrame]) -> None:
    tables = reader.read(files)  # type: ignore[attr-defined]
    tables.pop("set_aside", None)
    for name, frame in tables.items():
        checked = check_table(frame, table=name, settings=STRICT)
        assert checked.ignored_columns == ()
        assert len(checked.accepted) == len(frame)
