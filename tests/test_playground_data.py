"""What the playground is told: the served price in any context; what-ifs change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.errors import InputError
from pricing_assets.core.serving_parameters import ServingParameters
from pricing_assets.core.settings import PricingSettings
from serving.admission import Admission
from serving.catalog import Catalog
from serving.context import Context
from serving.desk import Desk
from serving.gate import Gate
from serving.home import Home
from serving.live_demand import LiveDemand
from serving.live_quote import quote
from serving.page_routes import page_routes
from serving.pages import TITLES, Pages
from serving.price_cache import PriceCache
from serving.price_store import PriceStore
from serving.sales_history import SalesHistory
from serving.what_if import WhatIfRequest, what_if, what_if_request
from serving.wire import encode_json
from tests.published_tables import curve_table, price_table, stamps
from tests.test_sales_history import rows_of

SETTINGS = PricingSettings()
CONTEXTS = [
    {},
    {"current_stock": 30},
    {"comp_price": 60.0, "day_of_week": "Friday"},
    {"is_promo": True, "objective": "revenue"},
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    made = Home.at(tmp_path_factory.mktemp("home"))
    curves, now = curve_table(12), datetime.now(UTC)
    PriceStore(made.tables).publish(
        prices=price_table(curves), curves=curves, stamps=stamps(now=now), now=now
    )
    return made


@pytest.fixture(scope="module")
def catalog(home: Home) -> Catalog:
    return Catalog(PriceStore(home.tables).read_current(), settings=SETTINGS)


@pytest.fixture
async def desk(home: Home) -> Desk:
    cache = PriceCache.at(None, ttl_seconds=60, timeout_ms=50)
    made = Desk(PriceStore(home.tables), cache, settings=SETTINGS, audit=home.audit)
    await made.refresh()
    return made


@pytest.fixture
async def client(home: Home, desk: Desk) -> AsyncIterator[httpx.AsyncClient]:
    async def inner(scope: dict, receive: object, send: object) -> None:
        raise AssertionError(f"{scope['path']} was passed on")

    limits = ServingParameters()
    gate = Gate(
        inner,  # type: ignore[arg-type]
        desk,
        Admission.of_worker(limits),
        token=None,
        parameters=limits,
        pages=Pages(page_routes(desk, home)),
    )
    transport = httpx.ASGITransport(gate, client=("127.0.0.1", 1))  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as made:
        yield made


@pytest.mark.parametrize("context", CONTEXTS)
async def test_it_answers_as_the_service_serves(client: httpx.AsyncClient, context: dict) -> None:
    body = {"product_id": "SKU-3", **context}
    served = (await client.post("/get_price", json=body)).json()
    asked = (await client.post("/what_if", json=body)).json()
    for name in ("recommended_price", "price_floor", "price_ceiling", "expected_units", "reasons"):
        assert asked[name] == served[name], name
    curve = (await client.post("/demand_curve", json=body)).json()
    for name in ("current", "recommended"):
        assert asked[name] == curve[name]
    assert asked["rules_tried"] is False


def test_rules_that_are_tried_move_the_price_and_leave_the_table_alone(catalog: Catalog) -> None:
    for product in catalog.products("", limit=12):
        found = catalog.find(product, None, None)
        assert found is not None
        row, before = found.row, quote(found.row, Context(), settings=SETTINGS)
        for change in (0.01, 0.05, 0.5):
            request = WhatIfRequest(product_id=product, max_price_change=change)
            answer = what_if(found, request, Context(), settings=SETTINGS)
            step = abs(answer.recommended_price / row.current_price - 1)
            cost_floor = row.curve.unit_cost / (1 - SETTINGS.min_margin)  # type: ignore[union-attr]
            assert step <= change + 1e-9 or answer.price_floor >= cost_floor - 0.01
            assert answer.price_floor <= answer.recommended_price <= answer.price_ceiling
            assert answer.rules_tried
            assert any("guard rails" in reason for reason in answer.reasons)
        request = WhatIfRequest(product_id=product, min_margin=0.6)
        answer = what_if(found, request, Context(), settings=SETTINGS)
        cost = row.curve.unit_cost  # type: ignore[union-attr]
        assert (answer.recommended_price - cost) / answer.recommended_price >= 0.6 - 1e-3
        assert quote(found.row, Context(), settings=SETTINGS) == before


def test_the_table_s_own_rules_are_no_what_if() -> None:
    request = WhatIfRequest(product_id="A", min_margin=0.15, max_price_change=0.2)
    assert request.rules(SETTINGS) is SETTINGS


@given(
    product=st.integers(0, 11),
    asked=st.fixed_dictionaries(
        {},
        optional={
            "price": st.floats(1e-3, 1e9),
            "min_margin": st.floats(0, 0.95),
            "max_price_change": st.floats(0, 1, exclude_min=True),
            "current_stock": st.floats(0, 1e9),
            "comp_price": st.floats(1e-3, 1e9),
            "current_price": st.floats(1e-3, 1e9),
            "unit_cost": st.floats(0, 1e9),
            "day_of_week": st.sampled_from(["Monday", "Sunday"]),
            "is_promo": st.booleans(),
            "objective": st.sampled_from(["profit", "revenue", "market_share"]),
        },
    ),
)
@settings(max_examples=300, deadline=None)
def test_any_question_is_answered_in_finite_numbers_or_refused(
    catalog: Catalog, product: int, asked: dict[str, object]
) -> None:
    found = catalog.find(f"SKU-{product}", None, None)
    assert found is not None
    request = what_if_request({"product_id": f"SKU-{product}", **asked})
    try:
        answer = what_if(found, request, request.context, settings=SETTINGS)
    except InputError:
        assert "current_price" in asked
        return
    encode_json(asdict(answer))
    assert answer.price_floor <= answer.recommended_price <= answer.price_ceiling
    assert answer.recommended.price == answer.recommended_price


async def test_the_curve_reaches_beyond_the_guard_rails(client: httpx.AsyncClient) -> None:
    body = {"product_id": "SKU-3", "price": 200.0}
    answer = (await client.post("/what_if", json=body)).json()
    prices = [point["price"] for point in answer["points"]]
    assert prices == sorted(prices)
    assert prices[0] < answer["price_floor"] < answer["price_ceiling"] < prices[-1]
    assert prices[-1] > 200
    assert answer["tried"]["price"] == 200.0
    assert answer["tried_is_allowed"] is False
    units = [point["units"] for point in answer["points"]]
    assert np.all(np.diff(units) <= 0)
    inside = {**body, "price": answer["price_floor"]}
    assert (await client.post("/what_if", json=inside)).json()["tried_is_allowed"] is True


async def test_a_what_if_is_neither_recorded_nor_served(
    client: httpx.AsyncClient, home: Home, desk: Desk
) -> None:
    await client.post("/what_if", json={"product_id": "SKU-4", "min_margin": 0.3})
    answer = await client.post("/what_if", json={"product_id": "SKU-4"})
    assert "quote_id" not in answer.json()
    await desk.stop()
    records = b"".join(path.read_bytes() for path in home.audit.glob("*.jsonl"))
    assert b'"SKU-4"' not in records


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"product_id": "SKU-3", "min_margin": 1.0}, 400, "min_margin"),
        ({"product_id": "SKU-3", "max_price_change": 0}, 400, "max_price_change"),
        ({"product_id": "SKU-3", "prise": 3}, 400, "price"),
        ({"product_id": "nothing"}, 404, "no published price"),
        ([], 400, "JSON object"),
    ],
)
async def test_a_wrong_question_gets_a_sentence(
    client: httpx.AsyncClient, body: object, status: int, said: str
) -> None:
    answer = await client.post("/what_if", json=body)
    assert answer.status_code == status
    assert said in answer.json()["error"]


async def test_the_facts_of_a_product(client: httpx.AsyncClient) -> None:
    facts = (await client.get("/product", params={"product_id": "SKU-5"})).json()
    assert facts["product_id"] == "SKU-5"
    assert facts["price_floor"] <= facts["recommended_price"] <= facts["price_ceiling"]
    assert facts["min_margin"] == SETTINGS.min_margin
    assert facts["map_price"] is None
    assert len(facts["weekday_index"]) == 7
    assert facts["others"] == [{"store_id": "", "segment": ""}]
    assert (await client.get("/product")).status_code == 400
    assert (await client.get("/product", params={"product_id": "no"})).status_code == 404
    assert (await client.post("/product", json={})).status_code == 405


def test_the_stores_of_a_product_are_named(tmp_path: Path) -> None:
    curves, now = curve_table(4), datetime.now(UTC)
    stores = pa.array(["north", "south", "north", "south"])
    curves = curves.set_column(0, "product_id", pa.array(["A", "A", "B", "C"]))
    curves = curves.set_column(1, "store_id", stores)
    prices = price_table(curves)
    store = PriceStore(tmp_path)
    store.publish(prices=prices, curves=curves, stamps=stamps(now=now), now=now)
    catalog = Catalog(store.read_current(), settings=SETTINGS)
    assert [one["store_id"] for one in catalog.variants("A")] == ["north", "south"]
    assert catalog.variants("B") == [{"store_id": "north", "segment": ""}]
    assert catalog.variants("nothing") == []


async def test_the_history_of_a_product(client: httpx.AsyncClient, home: Home) -> None:
    query = {"product_id": "SKU-1"}
    assert (await client.get("/history", params=query)).json()["history"] is None
    rows = rows_of(3, 10)
    named = rows.set_column(0, "product_id", [[f"SKU-{i // 10}" for i in range(30)]])
    SalesHistory(home.tables / "history").write(named, data_version=stamps().data_version)
    found = (await client.get("/history", params=query)).json()["history"]
    assert found["date"][0] == "2025-01-01"
    assert found["units"] == [1000.0 + day for day in range(10)]
    assert found["price"] == [9.99] * 10
    assert found["rival_price"] == [None] * 10


async def test_the_files_of_the_pages_are_tagged_and_packed(client: httpx.AsyncClient) -> None:
    pages = Pages()
    assert {"/", "/health"} <= pages.addresses & set(TITLES)
    for address in sorted(pages.addresses):
        plain = await client.get(address, headers={"accept-encoding": "identity"})
        packed = await client.get(address, headers={"accept-encoding": "gzip"})
        assert plain.status_code == 200
        assert plain.content == packed.content
        assert plain.headers["cache-control"] == "no-cache"
        again = await client.get(address, headers={"if-none-match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert (await client.get("/ui/../pages.py")).status_code == 404
    assert (await client.get("/ui/shell.html")).status_code == 404
    assert (await client.post("/", json={})).status_code == 405


def test_the_band_is_the_curve_s_own_carried_along_by_the_context(catalog: Catalog) -> None:
    found = catalog.find("SKU-3", None, None)
    assert found is not None
    assert found.row.curve is not None
    demand = LiveDemand.of(found.row.curve, Context(is_promo=True, comp_price=50.0))
    prices = np.linspace(found.row.price_floor, found.row.price_ceiling, 9)
    own = demand.curves.expected_units(prices[None, :])[0]
    for probability in (0.05, 0.5, 0.95):
        expected = demand.curves.units_quantile(prices[None, :], probability)[0]
        expected = expected * demand.units(prices) / own
        assert demand.units_quantile(prices, probability) == pytest.approx(expected, rel=1e-12)


async def test_a_curve_far_from_its_data_stays_finite(client: httpx.AsyncClient) -> None:
    body = {"product_id": "SKU-3", "unit_cost": 1e9}
    assert (await client.post("/demand_curve", json=body)).status_code == 200
