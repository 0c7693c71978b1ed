"""Looking through a price table: what a query selects, against a plain loop; and acts over HTTP."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_assets.core.errors import (
    DecisionConflictError,
    InputError,
    InvalidSettingError,
    UnnamedUserError,
)
from pricing_assets.core.serving_parameters import ServingParameters
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import PRICE_TABLE_COLUMNS
from serving.actors import Actors
from serving.approvals import Approvals, Decision, Decisions, act
from serving.decision_log import DecisionLog
from serving.desk import Desk
from serving.freeze import Freeze
from serving.pages import Asked
from serving.price_store import PriceStore
from serving.table_api import TableData
from serving.table_view import STATES, RowFilter, RowOrder, TableColumns
from tests.published_tables import NOW, curve_table, price_table, stamps
from tests.test_desk import a_cache

COUNT = 40
CURVES = curve_table(COUNT)
REASONS = ["raise: demand is inelastic; rival: rivals are 5% cheaper", "hold_risk: too risky", "x"]
CATEGORIES = ["snacks", "drinks"]


def mixed_tables() -> tuple[pa.Table, pa.Table]:
    """Prices of two categories, with holds, several reasons and one row that has no price."""
    category = [CATEGORIES[i % 2] for i in range(COUNT)]
    curves = CURVES.set_column(2, "category", pa.array(category))
    prices = price_table(curves).to_pylist()
    for i, row in enumerate(prices):
        row["reasons"] = REASONS[i % 3]
        if i % 5 == 0:
            row |= {"decision": "hold", "recommended_price": row["current_price"]}
    unpriced = ("current_price", "recommended_price", "price_floor", "price_ceiling")
    prices[7] |= dict.fromkeys(unpriced)
    return pa.Table.from_pylist(prices), curves


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> PriceStore:
    store = PriceStore(tmp_path_factory.mktemp("published"))
    prices, curves = mixed_tables()
    store.publish(prices=prices, curves=curves, stamps=stamps(), now=NOW)
    return store


@pytest.fixture(scope="module")
def columns(published: PriceStore) -> TableColumns:
    return TableColumns.of(published.read_current())


decisions = st.dictionaries(
    st.integers(0, COUNT - 1),
    st.sampled_from([("propose", "ann"), ("reject", "ann"), ("approve", "ben")]),
    max_size=12,
)


def decided(columns: TableColumns, acts: dict[int, Any], threshold: float) -> Approvals:
    entries: dict[str, Decision] = {}
    for place, (action, by) in acts.items():
        row = columns.prices[place]
        if action == "approve":
            proposed = act("propose", [row], by="cid", entries=entries, threshold=threshold)
            entries |= proposed.changed
        entries |= act(action, [row], by=by, entries=entries, threshold=threshold).changed
    return Approvals(True, threshold, Decisions(version=1, entries=entries))


@given(
    text=st.sampled_from(["", "sku-1", "7", "SKU-23", ".*", "é"]),
    category=st.sampled_from([None, *CATEGORIES, "none"]),
    decision=st.sampled_from([None, "hold", "change"]),
    reason=st.sampled_from([None, "rival", "hold_risk", "rivals"]),
    state=st.sampled_from([None, *STATES]),
    acts=decisions,
    frozen=st.sets(st.integers(0, COUNT - 1), max_size=3),
)
def test_a_filter_selects_what_a_plain_loop_does(
    columns: TableColumns,
    text: str,
    category: str | None,
    decision: str | None,
    reason: str | None,
    state: str | None,
    acts: dict[int, Any],
    frozen: set[int],
) -> None:
    freeze = Freeze(products=frozenset(f"SKU-{i}" for i in frozen))
    view = columns.view(decided(columns, acts, 0.02), freeze)
    wanted = RowFilter(text=text, category=category, decision=decision, reason=reason, state=state)
    rows = view.rows.to_pylist()
    expected = [
        i
        for i, row in enumerate(rows)
        if text.lower() in row["product_id"].lower()
        and category in (None, row["category"])
        and decision in (None, row["decision"])
        and state in (None, row["state"])
        and (reason is None or any(p.split(":")[0] == reason for p in row["reasons"].split("; ")))
    ]
    assert view.select(wanted, RowOrder()).tolist() == expected


@given(
    column=st.sampled_from(["recommended_price", "category", "change", "state", "profit_gain"]),
    descending=st.booleans(),
)
def test_the_order_is_by_value_then_by_the_table_and_unknown_is_last(
    columns: TableColumns, column: Any, descending: bool
) -> None:
    view = columns.view(Approvals(), Freeze())
    order = RowOrder(column=column, descending=descending)
    values = view.rows[column].to_pylist()
    found = view.select(RowFilter(), order).tolist()
    known = [i for i, value in enumerate(values) if value is not None]
    expected = sorted(known, key=lambda i: values[i], reverse=descending)
    if descending:  # a reversed sort would turn ties around
        expected = sorted(known, key=lambda i: i)
        expected.sort(key=lambda i: values[i], reverse=True)
    assert found == expected + [i for i, value in enumerate(values) if value is None]


@given(acts=decisions, threshold=st.sampled_from([0.0, 0.02, 0.05, 1.0]))
def test_the_state_of_a_row_is_what_the_service_would_answer(
    columns: TableColumns, published: PriceStore, acts: dict[int, Any], threshold: float
) -> None:
    """The columns say of every row what the ladder's own judgement says."""
    from serving.catalog import Catalog
    from serving.context import EMPTY

    approvals = decided(columns, acts, threshold)
    view = columns.view(approvals, Freeze())
    catalog = Catalog(published.read_current(), settings=PricingSettings())
    for place, row in enumerate(view.rows.to_pylist()):
        if row["state"] == "unpriced":
            assert row["served_price"] is None and row["recommended_price"] is None
            continue
        priced = catalog.row(place)
        held = approvals.held_quote(priced, EMPTY)
        served = priced.recommended_price if held is None else held.recommended_price
        assert row["served_price"] == pytest.approx(served, abs=1e-9)
        assert row["state"] == approvals.judged(priced).status


def test_damaged_decisions_show_every_price_as_held(columns: TableColumns) -> None:
    view = columns.view(Approvals(True, 0.0, Decisions(damaged=True)), Freeze())
    assert set(view.facets().states) == {"waiting", "unpriced"}


def test_a_row_is_shown_beside_its_price_in_another_version(columns: TableColumns) -> None:
    before = columns.rows.select(["product_id", "store_id", "segment", "recommended_price"])
    before = before.slice(1)
    view = columns.view(Approvals(), Freeze(), before=before)
    assert view.rows["price_before"][0].as_py() is None
    assert view.rows["change_from_before"][1].as_py() == 0
    assert len(view.select(RowFilter(moved=True), RowOrder())) == 0


# -- over the page's own routes ------------------------------------------------------------------


async def data_of(store: PriceStore, *, approval: Any = "required", tokens: str = "") -> TableData:
    settings = PricingSettings(serving=ServingParameters(approval=approval))
    desk = Desk(store, a_cache(), settings=settings, now=lambda: NOW)
    await desk.refresh()
    actors = Actors.of("x-pricing-user", tokens)
    return TableData(desk, store, settings=settings, actors=actors, now=lambda: NOW)


def asking(body: Any = None, *, headers: dict[bytes, bytes] | None = None, **query: str) -> Asked:
    content = b"" if body is None else orjson.dumps(body)
    return Asked(query, content, lambda name: (headers or {}).get(name, b""))


def by(name: str) -> dict[bytes, bytes]:
    return {b"x-pricing-user": name.encode()}


@pytest.fixture
def store(tmp_path: Path) -> PriceStore:
    store = PriceStore(tmp_path)
    prices, curves = mixed_tables()
    store.publish(prices=prices, curves=curves, stamps=stamps(), now=NOW)
    return store


async def acting(data: TableData, action: str, name: str, **body: Any) -> dict[str, Any]:
    version = (
        body.pop("table_version", None) or orjson.loads(await data.rows(asking()))["table_version"]
    )
    body = {"action": action, "table_version": version, **body}
    return orjson.loads(await data.act(asking(body, headers=by(name))))


async def test_two_people_move_all_that_fit_a_filter(store: PriceStore) -> None:
    data = await data_of(store)
    fitting = {"category": "snacks", "state": "waiting"}
    page = orjson.loads(await data.rows(asking(**fitting, limit="2")))
    count = page["found"]
    assert 2 < count < COUNT and len(page["rows"]) == 2
    done = await acting(data, "propose", "Ann", filter=fitting, expected_rows=count)
    assert done == {"changed": count, "skipped": {}}
    proposed = {"category": "snacks", "state": "proposed"}
    own = await acting(data, "approve", "ann", filter=proposed, expected_rows=count)
    assert own == {"changed": 0, "skipped": {"proposed by you; somebody else must approve": count}}
    other = await acting(data, "approve", "Ben", filter=proposed, expected_rows=count)
    assert other["changed"] == count
    page = orjson.loads(await data.rows(asking(category="snacks", state="approved")))
    assert all(row["served_price"] == row["recommended_price"] for row in page["rows"])
    acts = orjson.loads(await data.acts(asking()))["acts"]
    assert [(one["action"], one["by"], one["rows"]) for one in acts] == [
        ("approve", "ben", count),
        ("propose", "ann", count),
    ]


async def test_what_was_not_looked_at_is_not_decided_on(store: PriceStore) -> None:
    data = await data_of(store)
    row = ["SKU-1", "", ""]
    with pytest.raises(DecisionConflictError, match="look again"):
        await acting(data, "reject", "ann", rows=[row], expected_rows=2)
    with pytest.raises(DecisionConflictError, match="look again"):
        await acting(
            data, "reject", "ann", rows=[row], expected_rows=1, table_version="000009-00000000"
        )
    with pytest.raises(InputError, match="not in this table"):
        await acting(data, "reject", "ann", rows=[["SKU-999", "", ""]], expected_rows=1)
    with pytest.raises(InputError, match="one of the two"):
        await acting(data, "reject", "ann", expected_rows=1)
    with pytest.raises(UnnamedUserError, match="who you are"):
        await acting(data, "reject", "", rows=[row], expected_rows=1)
    assert DecisionLog(store.root).acts() == []


async def test_without_approvals_a_product_can_only_be_frozen(store: PriceStore) -> None:
    data = await data_of(store, approval="off")
    rows = {"rows": [["SKU-1", "", ""]], "expected_rows": 1}
    with pytest.raises(InputError, match="approvals are off"):
        await acting(data, "propose", "ann", **rows)
    assert (await acting(data, "freeze", "ann", **rows))["changed"] == 1
    assert (await acting(data, "freeze", "ben", **rows))["skipped"] == {"frozen already": 1}
    assert store.frozen().products == {"SKU-1"}
    page = orjson.loads(await data.rows(asking(state="frozen")))
    assert (
        page["found"] == 1 and page["rows"][0]["served_price"] == page["rows"][0]["current_price"]
    )
    assert (await acting(data, "unfreeze", "ben", **rows))["changed"] == 1
    assert not store.frozen().products
    assert [one.action for one in DecisionLog(store.root).acts()] == ["freeze", "unfreeze"]


async def test_two_versions_are_compared(store: PriceStore) -> None:
    data = await data_of(store)
    first = store.current() or ""
    prices, curves = mixed_tables()
    dearer = price_table(curves, factor=1.08)
    store.publish(prices=dearer, curves=curves, stamps=stamps(model_version="2"), now=NOW)
    await data._desk.refresh()
    found = orjson.loads(await data.compare(asking(before=first)))
    assert found["before"] == first and found["raised"] > 20 and len(found["largest"]) == 10
    rows = orjson.loads(await data.rows(asking(before=first, moved="1", sort="change_from_before")))
    changes = [row["change_from_before"] for row in rows["rows"]]
    assert rows["found"] == found["raised"] + found["cut"] and changes == sorted(changes)
    assert prices.num_rows == COUNT


async def test_the_selected_rows_are_exported_with_what_was_decided(store: PriceStore) -> None:
    data = await data_of(store)
    query = {"category": "drinks", "sort": "recommended_price", "descending": "1"}
    lines = list(csv.DictReader(io.StringIO((await data.csv(asking(**query))).decode())))
    table = pq.read_table(pa.BufferReader(await data.parquet(asking(**query))))
    assert table.column_names == [*PRICE_TABLE_COLUMNS, "state", "served_price"]
    assert [line["product_id"] for line in lines] == table["product_id"].to_pylist()
    known = [price for price in table["recommended_price"].to_pylist() if price is not None]
    assert known == sorted(known, reverse=True) and len(lines) == COUNT // 2


async def test_a_wrong_query_is_refused_in_one_sentence(store: PriceStore) -> None:
    data = await data_of(store)
    for query in ({"sort": "nothing"}, {"limit": "9999"}, {"colour": "red"}, {"decision": "no"}):
        with pytest.raises(InputError) as failure:
            await data.rows(asking(**query))
        assert "\n" not in str(failure.value)


def test_a_name_is_proven_where_people_have_tokens() -> None:
    actors = Actors.of("x-pricing-user", "ann=0123456789abcdef, ben=fedcba9876543210")
    token = {b"x-pricing-user-token": b"fedcba9876543210", b"x-pricing-user": b"ann"}
    assert actors.name(lambda name: token.get(name, b"")) == "ben"
    with pytest.raises(UnnamedUserError, match="token"):
        actors.name(lambda name: by("ann").get(name, b""))
    for wrong in ("ann", "ann=short", "ann=0123456789abcdef,bob=0123456789abcdef"):
        with pytest.raises(InvalidSettingError, match="PRICING_USER_TOKENS"):
            Actors.of("x-pricing-user", wrong)
