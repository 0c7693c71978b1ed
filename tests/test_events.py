"""Events: what is accepted, what is a dead letter and why, what counts once, and a day's rows."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pricing_assets.core.event_merge import (
    closed_before,
    daily_rows,
    event_days,
    merged,
    unique_events,
    with_dead_letters,
)
from pricing_assets.core.events import (
    MAX_ENTRY_BYTES,
    STREAM_TABLES,
    RawEvents,
    TimeLimits,
    check_events,
    event_schema,
    ids_digest,
)
from pricing_assets.core.ingestion import QUARANTINE_COLUMNS, CheckedTable, check_table
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.streaming_parameters import StreamingParameters

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
HOUR, DAY = 3600.0, 86_400.0
LIMITS = TimeLimits(now=NOON, oldest=NOON - 7 * DAY, newest=NOON + 60)
SALE: dict[str, Any] = {"at": NOON, "product_id": "tea", "units": 2, "price": 3.5}


def checked(table: str, *events: Any, limits: TimeLimits = LIMITS) -> Any:
    contents = [event if isinstance(event, bytes) else orjson.dumps(event) for event in events]
    ids = [f"{i:06d}" for i in range(len(contents))]
    return check_events(RawEvents(table, ids, contents), limits=limits)


def accepted(table: str, *events: Any) -> pa.Table:
    found = checked(table, *events)
    assert found.dead.num_rows == 0, found.dead.to_pylist()
    return found.accepted


def test_a_right_event_is_a_typed_row() -> None:
    found = accepted("sales", {**SALE, "store_id": "7", "promo": True, "event_id": "e1"})
    assert found.schema == event_schema("sales")
    (row,) = found.to_pylist()
    assert (row["source_id"], row["event_id"], row["at"]) == ("000000", "e1", NOON)
    assert (row["product_id"], row["store_id"], row["units"], row["price"]) == ("tea", "7", 2, 3.5)
    assert row["promo"] == 1.0
    assert row["regular_price"] is None


def test_a_time_may_be_iso_8601_with_a_zone() -> None:
    found = accepted(
        "sales", {**SALE, "at": "2026-03-02T12:00:00Z"}, {**SALE, "at": "2026-03-02T13:00:00+01:00"}
    )
    assert found["at"].to_pylist() == [NOON, NOON]


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (b"{", "unreadable_json"),
        (b"", "unreadable_json"),
        (b"NaN", "unreadable_json"),
        (b"\xff\xfe", "unreadable_json"),
        (b"7", "not_an_object"),
        (b" " * (MAX_ENTRY_BYTES + 1), "too_large"),
        ({**SALE, "at": None}, "missing_value"),
        ({**SALE, "at": "2026-03-02 12:00"}, "unreadable_time"),
        ({**SALE, "at": "yesterday"}, "unreadable_time"),
        ({**SALE, "at": True}, "unreadable_time"),
        (json.dumps({**SALE, "at": 10**15}).encode(), "in_the_future"),
        ({**SALE, "at": NOON + 61}, "in_the_future"),
        ({**SALE, "at": NOON - 8 * DAY}, "too_late"),
        ({**SALE, "product_id": None}, "missing_value"),
        ({**SALE, "product_id": ""}, "missing_value"),
        ({**SALE, "product_id": ["tea"]}, "not_a_text"),
        ({**SALE, "product_id": "a\x1fb"}, "id_control_character"),
        ({**SALE, "product_id": "x" * 201}, "id_too_long"),
        ({**SALE, "event_id": 5}, "not_a_text"),
        ({**SALE, "event_id": "x" * 201}, "id_too_long"),
        ({**SALE, "units": "2"}, "not_a_number"),
        ({**SALE, "units": True}, "not_a_number"),
        ({**SALE, "units": None}, "missing_value"),
        ({**SALE, "units": -1}, "return"),
        ({**SALE, "price": 0}, "not_positive"),
        ({**SALE, "price": 1e13}, "too_large"),
        ({**SALE, "price": {"USD": 1}}, "not_a_number"),
        ({**SALE, "promo": "perhaps"}, "not_a_number"),
        ({**SALE, "promo": 0.5}, "bad_flag"),
    ],
)
def test_a_wrong_event_is_a_dead_letter_with_its_reason(event: Any, reason: str) -> None:
    """And spoils none of its neighbours."""
    found = checked("sales", SALE, event, SALE)
    assert found.accepted["source_id"].to_pylist() == ["000000", "000002"]
    (letter,) = found.dead.to_pylist()
    assert (letter["table"], letter["reason"]) == ("sales", reason)
    assert (letter["source_id"], letter["seen_at"]) == ("000001", NOON)


def test_numbers_beyond_floating_point_are_dead_letters() -> None:
    found = checked("sales", b'{"at":1e999,"product_id":"a","units":1,"price":1}', SALE)
    assert found.accepted.num_rows == 1
    assert found.dead.num_rows == 1


def test_an_entry_may_hold_several_events_and_each_stands_for_itself() -> None:
    found = checked("sales", [SALE, 7, {**SALE, "units": -1}, SALE])
    assert found.accepted["source_id"].to_pylist() == ["000000/0000", "000000/0003"]
    assert found.dead["source_id"].to_pylist() == ["000000/0001", "000000/0002"]
    assert found.dead["reason"].to_pylist() == ["not_an_object", "return"]


def test_nothing_read_is_nothing_found() -> None:
    for table in STREAM_TABLES:
        found = checked(table)
        assert found.accepted.schema == event_schema(table)
        assert found.accepted.num_rows == found.dead.num_rows == 0


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(st.lists(st.dictionaries(st.sampled_from([*SALE, "store_id", "promo"]), _JSON), max_size=6))
@settings(max_examples=50, deadline=None)
def test_whatever_comes_is_accepted_or_dead_and_never_both(events: list[dict[str, Any]]) -> None:
    contents = [json.dumps(event).encode() for event in events]
    found = checked("sales", *contents)
    ids = [*found.accepted["source_id"].to_pylist(), *found.dead["source_id"].to_pylist()]
    assert sorted(ids) == [f"{i:06d}" for i in range(len(events))]
    assert np.isfinite(found.accepted["units"].to_numpy()).all()


def test_an_event_counts_once_however_it_was_delivered() -> None:
    """Twice from one place (redelivered), and twice under one event_id (sent again)."""
    first = accepted("sales", {**SALE, "event_id": "a"}, SALE, {**SALE, "event_id": "a"})
    again = pa.concat_tables([first.slice(1), first])
    once = unique_events(again)
    assert once["source_id"].to_pylist() == ["000000", "000001"]
    assert unique_events(again.take([4, 3, 2, 1, 0])).equals(once)


def test_the_order_of_reading_does_not_count() -> None:
    events = [{**SALE, "at": NOON + i % 7, "units": i} for i in range(20)]
    found = accepted("sales", *events)
    shuffled = found.take(np.random.default_rng(1).permutation(20))
    assert unique_events(shuffled).equals(unique_events(found))


def test_a_days_sales_are_their_units_and_what_was_paid_a_unit() -> None:
    events = accepted(
        "sales",
        {**SALE, "units": 3, "price": 2.0},
        {**SALE, "units": 1, "price": 4.0, "promo": 1},
        {**SALE, "product_id": "milk", "units": 0, "price": 1.5},
        {**SALE, "at": NOON - DAY, "units": 5, "price": 3.0},
    )
    rows = daily_rows(unique_events(events), "sales", time_zone="UTC")
    assert list(rows["units"]) == [5.0, 0.0, 4.0]
    assert list(rows["price"]) == [3.0, 1.5, 2.5]
    assert list(rows["promo"]) == [0.0, 0.0, 1.0]
    assert list(rows["date"].dt.date) == [date(2026, 3, 1), date(2026, 3, 2), date(2026, 3, 2)]


def test_a_rivals_last_reading_is_the_days_price() -> None:
    rival = {"product_id": "tea", "competitor": "x"}
    events = accepted(
        "competitor_prices",
        {**rival, "at": NOON + 9, "price": 5.0},
        {**rival, "at": NOON, "price": 4.0},
        {**rival, "at": NOON, "price": 7.0, "competitor": "y"},
    )
    rows = daily_rows(unique_events(events), "competitor_prices", time_zone="UTC")
    assert dict(zip(rows["competitor"], rows["price"], strict=True)) == {"x": 5.0, "y": 7.0}


def test_a_days_last_stock_is_the_next_days_opening() -> None:
    events = accepted(
        "inventory",
        {"at": NOON, "product_id": "tea", "on_hand": 9},
        {"at": NOON - HOUR, "product_id": "tea", "on_hand": 12},
    )
    rows = daily_rows(unique_events(events), "inventory", time_zone="UTC")
    assert list(rows["on_hand"]) == [9.0]
    assert rows["date"].dt.date.item() == date(2026, 3, 3)


def test_a_day_is_the_markets_own() -> None:
    """23:30 in New York is the next day in UTC; clocks change on 2026-03-08 there."""
    late = datetime(2026, 3, 3, 4, 30, tzinfo=UTC).timestamp()
    limits = TimeLimits(now=late, oldest=0, newest=late + 30 * DAY)
    events = checked("sales", {**SALE, "at": late}, limits=limits).accepted
    assert event_days(events, time_zone="America/New_York").item() == "2026-03-02"
    assert event_days(events, time_zone="UTC").item() == "2026-03-03"
    after = datetime(2026, 3, 9, 3, 59, tzinfo=UTC).timestamp()
    events = checked("sales", {**SALE, "at": after}, limits=limits).accepted
    assert event_days(events, time_zone="America/New_York").item() == "2026-03-08"


def test_a_day_is_open_until_the_watermark_has_passed_its_end() -> None:
    midnight = datetime(2026, 3, 3, tzinfo=UTC).timestamp()
    open_day = closed_before(midnight + 59, allowed_lateness=60, time_zone="UTC")
    assert open_day == date(2026, 3, 2)
    assert closed_before(midnight + 60, allowed_lateness=60, time_zone="UTC") == date(2026, 3, 3)


def test_an_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="no IANA time zone"):
        StreamingParameters(time_zone="Mars/Olympus")


def batch(text: list[dict[str, Any]], table: str = "sales") -> CheckedTable:
    return check_table(pd.DataFrame(text), table=table, settings=PricingSettings())


def streamed(*events: Any, table: str = "sales") -> pd.DataFrame:
    return daily_rows(unique_events(accepted(table, *events)), table, time_zone="UTC")


def test_the_stream_fills_what_the_batch_does_not_say() -> None:
    table = batch([{"date": "2026-03-02", "product_id": "tea", "units": 10, "price": 3.0}])
    news = streamed(SALE, {**SALE, "product_id": "milk", "store_id": "7", "promo": 1})
    both = merged(table, news, table="sales")
    rows = both.accepted.set_index("product_id")
    assert rows.loc["tea", "units"] == 10
    assert rows.loc["milk", "units"] == 2
    assert rows["store_id"].to_dict() == {"tea": "", "milk": "7"}
    assert rows["promo"].to_dict() == {"tea": 0.0, "milk": 1.0}
    assert "regular_price" not in both.accepted
    assert both.rows_read == 2
    assert both.accepted["date"].dtype == table.accepted["date"].dtype


def test_a_batch_that_says_everything_stands_as_it_is() -> None:
    table = batch([{"date": "2026-03-02", "product_id": "tea", "units": 10, "price": 3.0}])
    assert merged(table, streamed(SALE), table="sales") is table


def test_a_stream_alone_is_a_table() -> None:
    found = merged(None, streamed(SALE), table="sales")
    assert list(found.accepted.columns) == ["date", "product_id", "units", "price"]
    assert found.quarantined.columns.tolist() == list(QUARANTINE_COLUMNS)


def test_dead_letters_are_quarantined_rows() -> None:
    dead = checked("sales", {**SALE, "units": -1}).dead.to_pandas()
    table = with_dead_letters(merged(None, streamed(SALE), table="sales"), dead)
    assert table.reasons() == {"return": 1}
    assert table.rows_read == 2
    assert json.loads(table.quarantined["record"].item())["units"] == -1
    assert list(table.quarantined.columns) == list(QUARANTINE_COLUMNS)


def test_a_name_is_of_the_entries_and_not_of_their_order() -> None:
    assert ids_digest(["a", "b"]) == ids_digest(["b", "a"])
    assert ids_digest(["a", "b"]) != ids_digest(["a"])
