"""The check of one raw table: what is accepted, and what is set aside under which reason."""

from __future__ import annotations

import json
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pricing_assets.core.errors import (
    EmptyTableError,
    InvalidSettingError,
    MissingColumnError,
    QuarantineLimitError,
    UnknownKeyError,
    UnreadableTableError,
)
from pricing_assets.core.headings import is_single_sheet, split_single_sheet
from pricing_assets.core.ingestion import QUARANTINE_COLUMNS, CheckedTable, check_table
from pricing_assets.core.settings import PricingSettings

LENIENT = PricingSettings.model_validate({"ingestion": {"max_quarantined_share": 1.0}})
GOOD = {"date": "2024-01-01", "product_id": "good", "units": "1", "price": "2"}


def settings(**values: object) -> PricingSettings:
    merged = {"ingestion": {"max_quarantined_share": 1.0}, **values}
    return PricingSettings.model_validate(merged)


def check(*rows: dict[str, object], table: str = "sales") -> CheckedTable:
    return check_table(pd.DataFrame(list(rows)), table=table, settings=LENIENT)


def reason_of(**changes: object) -> str:
    """The reason that one changed row gets beside a good one; "" where it is accepted."""
    checked = check(GOOD, {**GOOD, "product_id": "tested", **changes})
    assert checked.rows_read == 2 == len(checked.accepted) + len(checked.quarantined)
    return "".join(checked.quarantined["reason"])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"price": "nan"}, "missing_value"),
        ({"price": ""}, "missing_value"),
        ({"price": None}, "missing_value"),
        ({"price": float("nan")}, "missing_value"),
        ({"price": "inf"}, "not_finite"),
        ({"price": float("-inf")}, "not_finite"),
        ({"price": "1e300"}, "too_large"),
        ({"price": "0"}, "not_positive"),
        ({"price": "-1"}, "not_positive"),
        ({"price": "two"}, "not_a_number"),
        ({"price": "0x10"}, "not_a_number"),
        ({"price": "1_0"}, "not_a_number"),
        ({"price": "$2"}, "not_a_number"),
        ({"price": "1,234"}, "not_a_number"),
        ({"units": "-3"}, "return"),
        ({"units": "0"}, ""),
        ({"regular_price": "0"}, "not_positive"),
        ({"regular_price": ""}, ""),
        ({"promo": "maybe"}, "bad_flag"),
        ({"promo": "0.5"}, "bad_flag"),
        ({"promo": "TRUE"}, ""),
        ({"promo": ""}, ""),
        ({"feature": "0.5"}, ""),
        ({"feature": "1.5"}, "bad_flag"),
        ({"product_id": ""}, "missing_value"),
        ({"product_id": None}, "missing_value"),
        ({"product_id": "x" * 10_000}, "id_too_long"),
        ({"product_id": "a\x00b"}, "id_control_character"),
        ({"product_id": "a\ud800b"}, "id_control_character"),
        ({"product_id": "NA"}, ""),
        ({"product_id": "crème brûlée 漢字"}, ""),
        ({"date": "not a day"}, "unreadable_date"),
        ({"date": "2024-02-30"}, "unreadable_date"),
        ({"date": "2024-01"}, "unreadable_date"),
        ({"date": "2024"}, "unreadable_date"),
        ({"date": "45292"}, "unreadable_date"),
        ({"date": ""}, "missing_value"),
        ({"date": "1066-10-14"}, "date_out_of_range"),
        ({"date": "9999-12-31"}, "date_out_of_range"),
        ({"date": "2024-01-02T23:59:59Z"}, ""),
        ({"date": "20240102"}, ""),
    ],
)
def test_a_wrong_value_gets_its_reason(changes: dict[str, object], reason: str) -> None:
    assert reason_of(**changes) == reason


def test_other_tables_have_their_own_bounds() -> None:
    row = {"date": "2024-01-01", "product_id": "A"}
    costs = check({**row, "unit_cost": "-1"}, {**row, "unit_cost": "0"}, table="costs")
    assert costs.reasons() == {"negative": 1}
    stock = check({**row, "on_hand": "-1"}, {**row, "on_hand": "0"}, table="inventory")
    assert stock.reasons() == {"negative": 1}
    days = check({"date": "2024-01-01", "holiday": ""}, table="calendar")
    assert days.reasons() == {"missing_value": 1}


def test_of_repeated_keys_the_first_good_row_stays() -> None:
    checked = check({**GOOD, "price": "0"}, {**GOOD, "price": "5"}, {**GOOD, "price": "6"})
    assert checked.accepted["price"].tolist() == [5.0]
    assert checked.reasons() == {"not_positive": 1, "duplicate_key": 1}
    assert checked.quarantined["row_number"].tolist() == [1, 3]


def test_segments_and_customers_are_part_of_the_key() -> None:
    checked = check({**GOOD, "segment": "a"}, {**GOOD, "segment": "b"})
    assert checked.quarantined.empty
    same = check({**GOOD, "store_id": ""}, {**GOOD, "store_id": None})
    assert same.reasons() == {"duplicate_key": 1}


def test_accepted_rows_bear_the_contracts_types_and_order() -> None:
    frame = pd.DataFrame(
        {
            "units": [3],
            "promo": [True],
            "product_id": ["00123"],
            "extra": [1],
            "price": [Decimal("1.50")],
            "date": [pd.Timestamp("2024-01-01 13:45", tz="Europe/Paris")],
        }
    )
    checked = check_table(frame, table="sales", settings=LENIENT)
    assert checked.accepted.to_dict("records") == [
        {
            "date": pd.Timestamp("2024-01-01"),
            "product_id": "00123",
            "units": 3.0,
            "price": 1.5,
            "promo": 1.0,
        }
    ]
    assert str(checked.accepted["date"].dtype) == "datetime64[ns]"
    assert checked.ignored_columns == ("extra",)


def test_whole_number_ids_lose_the_point_that_a_float_gave_them() -> None:
    frame = pd.DataFrame([GOOD, GOOD]).assign(product_id=[7.0, 12345678.0])
    checked = check_table(frame, table="sales", settings=LENIENT)
    assert checked.accepted["product_id"].tolist() == ["7", "12345678"]


def test_the_quarantine_keeps_the_row_as_json() -> None:
    checked = check(GOOD, {**GOOD, "product_id": "a\x00" + "x" * 500, "units": float("inf")})
    assert tuple(checked.quarantined.columns) == QUARANTINE_COLUMNS
    record = json.loads(checked.quarantined["record"][0])
    assert record["product_id"].startswith("a\x00x")
    assert len(record["product_id"]) == 200
    assert record["units"] == "inf"
    assert record["price"] == "2"


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["1,99", "12,5", "3"], [1.99, 12.5, 3.0]),
        (["1.234,50", "2,00"], [1234.5, 2.0]),
        (["1,234.50", "2.00"], [1234.5, 2.0]),
        (["1,234", "1,5"], [1.234, 1.5]),
        ([" 1.5 ", "2e1"], [1.5, 20.0]),
    ],
)
def test_commas_are_read_as_the_whole_column_uses_them(
    texts: list[str], numbers: list[float]
) -> None:
    frame = pd.DataFrame([{**GOOD, "product_id": str(i)} for i in range(len(texts))])
    checked = check_table(frame.assign(price=texts), table="sales", settings=LENIENT)
    assert checked.accepted["price"].tolist() == numbers


def test_mixed_commas_are_set_aside_and_not_guessed() -> None:
    frame = pd.DataFrame([{**GOOD, "product_id": i, "price": p} for i, p in enumerate("abc")])
    checked = check_table(
        frame.assign(price=["1,99", "1.99", "2"]), table="sales", settings=LENIENT
    )
    assert checked.accepted["price"].tolist() == [1.99, 2.0]
    assert checked.reasons() == {"not_a_number": 1}


@pytest.mark.parametrize(
    ("texts", "day"),
    [
        (["31/12/2023", "02/01/2024"], "2024-01-02"),
        (["12/31/2023", "1/2/2024 8:26"], "2024-01-02"),
        (["02.01.2024"], "2024-01-02"),
        (["2024/1/2"], "2024-01-02"),
        ([20240102], "2024-01-02"),
    ],
)
def test_dates_are_read_in_the_columns_own_order(texts: list[object], day: str) -> None:
    frame = pd.DataFrame([GOOD] * len(texts)).assign(date=texts)
    checked = check_table(frame, table="sales", settings=LENIENT)
    assert checked.accepted["date"].iloc[-1] == pd.Timestamp(day)


def test_dates_that_nothing_decides_are_refused() -> None:
    with pytest.raises(UnreadableTableError, match=r"table 'sales'.*03/04/2024.*2024-01-31"):
        check({**GOOD, "date": "03/04/2024"})


def test_a_missing_column_names_the_nearest_heading() -> None:
    frame = pd.DataFrame([GOOD]).rename(columns={"price": "pricee"})
    with pytest.raises(MissingColumnError, match="did you mean 'pricee'"):
        check_table(frame, table="sales", settings=LENIENT)


@pytest.mark.parametrize(
    "columns",
    [
        {"product_id": "SKU"},
        {"SKU": "product_id"},
        {"sales": {"product_id": "sku "}},
        {"sales": {"SKU": "product_id"}, "products": {"product_id": "Article"}},
    ],
)
def test_headings_are_mapped_either_way_flat_or_by_table(columns: dict[str, object]) -> None:
    frame = pd.DataFrame([GOOD]).rename(columns={"product_id": "SKU"})
    checked = check_table(frame, table="sales", settings=settings(columns=columns))
    assert checked.accepted["product_id"].tolist() == ["good"]


def test_headings_match_but_for_case_spaces_and_a_bom() -> None:
    frame = pd.DataFrame([GOOD])
    frame.columns = pd.Index(["\ufeffDate", " PRODUCT_ID", "Units ", "price"])
    assert len(check_table(frame, table="sales", settings=LENIENT).accepted) == 1


def test_a_mapped_heading_wins_over_the_contracts_own() -> None:
    frame = pd.DataFrame([{**GOOD, "net": "9"}])
    checked = check_table(frame, table="sales", settings=settings(columns={"price": "net"}))
    assert checked.accepted["price"].tolist() == [9.0]


def test_wrong_mappings_are_clear_errors() -> None:
    frame = pd.DataFrame([GOOD])
    with pytest.raises(UnknownKeyError, match=r"did you mean 'columns\.product_id'"):
        check_table(frame, table="sales", settings=settings(columns={"prodct_id": "SKU"}))
    with pytest.raises(UnknownKeyError, match=r"did you mean 'columns\.sales'"):
        check_table(frame, table="sales", settings=settings(columns={"sale": {"price": "p"}}))
    with pytest.raises(MissingColumnError, match="no column 'Prise'"):
        check_table(frame, table="sales", settings=settings(columns={"sales": {"price": "Prise"}}))
    double = frame.assign(a="1", b="2")
    with pytest.raises(InvalidSettingError, match="both 'a' and 'b'"):
        check_table(double, table="sales", settings=settings(columns={"a": "price", "b": "price"}))


def test_too_many_wrong_rows_stop_with_counts_by_reason() -> None:
    rows = [{**GOOD, "product_id": str(i), "price": "0" if i < 3 else "1"} for i in range(10)]
    frame = pd.DataFrame(rows)
    with pytest.raises(QuarantineLimitError, match=r"3 of 10 rows \(30.0%\).*not_positive 3"):
        check_table(frame, table="sales", settings=PricingSettings())
    checked = check_table(frame.iloc[2:], table="sales", settings=PricingSettings())
    assert checked.reasons() == {"not_positive": 1}


def test_sales_without_a_usable_row_are_refused_and_other_tables_may_be_empty() -> None:
    with pytest.raises(EmptyTableError, match="0 read"):
        check_table(pd.DataFrame([GOOD]).head(0), table="sales", settings=PricingSettings())
    with pytest.raises(EmptyTableError, match="1 read"):
        check({**GOOD, "price": "0"})
    empty = pd.DataFrame(columns=["product_id"])
    assert check_table(empty, table="products", settings=PricingSettings()).accepted.empty


def test_rows_that_a_reader_set_aside_are_counted() -> None:
    earlier = pd.DataFrame(
        {"table": "sales", "row_number": [9], "reason": "cancellation", "record": "{}"}
    )
    checked = check_table(pd.DataFrame([GOOD]), table="sales", settings=LENIENT, set_aside=earlier)
    assert checked.rows_read == 2
    assert checked.reasons() == {"cancellation": 1}
    with pytest.raises(QuarantineLimitError, match="cancellation 1"):
        check_table(
            pd.DataFrame([GOOD]), table="sales", settings=PricingSettings(), set_aside=earlier
        )


def test_the_single_sheet_is_sales_with_two_more_tables() -> None:
    sheet = pd.DataFrame(
        {
            "Product ID": ["1", "1"],
            "DATE": ["2024-01-01", "2024-01-02"],
            "sales": ["3", "4"],
            "Price": ["9", "9"],
            "Competitor_Price": ["8.5", "NaN"],
            "Inventory": ["10", "7"],
        }
    )
    assert is_single_sheet(sheet.columns)
    sales = check_table(sheet, table="sales", settings=LENIENT)
    assert sales.accepted["units"].tolist() == [3.0, 4.0]
    assert sales.ignored_columns == ()
    named = sheet.set_axis(
        ["product_id", "date", "units", "price", "competitor_price", "inventory"], axis=1
    )
    parts = split_single_sheet(named)
    assert list(parts) == ["sales", "competitor_prices", "inventory"]
    rivals = check_table(parts["competitor_prices"], table="competitor_prices", settings=LENIENT)
    assert rivals.accepted[["competitor", "price"]].to_numpy().tolist() == [["rival", 8.5]]
    stock = check_table(parts["inventory"], table="inventory", settings=LENIENT)
    assert stock.accepted["on_hand"].tolist() == [10.0, 7.0]


def test_the_input_frame_is_left_as_it_was() -> None:
    frame = pd.DataFrame([GOOD, {**GOOD, "price": "0"}])
    before = frame.copy(deep=True)
    check_table(frame, table="sales", settings=LENIENT)
    pd.testing.assert_frame_equal(frame, before)


VALUES = st.one_of(
    st.sampled_from(
        ["2024-01-01", "2024-01-02", "A", "B", "1", "1,5", "0", "-1", "", "nan", "inf"]
    ),
    st.text(max_size=6),
    st.floats(),
    st.integers(),
    st.none(),
    st.booleans(),
)


@hypothesis_settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(VALUES, VALUES, VALUES, VALUES, VALUES), min_size=1, max_size=12))
def test_every_row_read_is_accepted_or_quarantined(rows: list[tuple[object, ...]]) -> None:
    names = ["date", "product_id", "units", "price", "promo"]
    frame = pd.DataFrame([*rows, ("2024-01-31", "sure", 1, 1, 0)], columns=names, dtype=object)
    checked = check_table(frame, table="sales", settings=LENIENT)
    numbers = set(range(1, len(frame) + 1)) - set(checked.quarantined["row_number"])
    assert checked.rows_read == len(frame)
    assert len(checked.accepted) + len(checked.quarantined) == len(frame)
    assert len(numbers) == len(checked.accepted)
    assert (checked.quarantined["reason"] != "").all()
    accepted = checked.accepted
    assert np.isfinite(accepted[["units", "price", "promo"]].to_numpy()).all()
    assert (accepted["price"] > 0).all()
    assert accepted["date"].notna().all()
    assert not accepted.duplicated(["date", "product_id"]).any()
    for record in checked.quarantined["record"]:
        assert set(json.loads(record)) == set(names)
