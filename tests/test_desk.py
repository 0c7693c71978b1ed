"""The desk's ladder and the gate's door, in process."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import orjson
import pytest

from pricing_assets.core.errors import GuardRailError, NotPublishedError
from pricing_assets.core.serving_parameters import ServingParameters
from pricing_assets.core.settings import PricingSettings
from serving.admission import Admission
from serving.answer import prepared
from serving.catalog import Catalog
from serving.desk import Desk
from serving.gate import Gate
from serving.live_quote import quote
from serving.price_cache import PriceCache
from serving.price_store import PriceStore
from serving.quote import Quote
from serving.wire import price_request
from tests.published_tables import NOW, curve_table, price_table, stamps

CURVES = curve_table(12)
REQUEST = price_request({"product_id": "SKU-3", "current_stock": 12.0})


QUOTE = Quote(
    product_id="SKU-3",
    recommended_price=20.0,
    confidence=0.8,
    currency="USD",
    price_floor=10.0,
    price_ceiling=30.0,
    expected_units=5.0,
    source="live",
    reasons=("one", "two"),
)


def a_cache() -> PriceCache:
    return PriceCache(None, ttl_seconds=60, timeout_seconds=0.02)


class PoisonedCache(PriceCache):
    """Finds one quote under every key."""

    def __init__(self, poison: Quote) -> None:
        super().__init__(None, ttl_seconds=60, timeout_seconds=0.02)
        self._poison = poison

    async def find(self, key: str) -> Quote | None:
        return self._poison


@pytest.fixture
def store(tmp_path: Path) -> PriceStore:
    store = PriceStore(tmp_path)
    store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(), now=NOW)
    return store


async def open_desk(store: PriceStore, cache: PriceCache | None = None) -> Desk:
    desk = Desk(store, cache or a_cache(), settings=PricingSettings(), now=lambda: NOW)
    await desk.refresh()
    return desk


async def test_before_a_table_is_loaded_nothing_is_priced(tmp_path: Path) -> None:
    desk = await open_desk(PriceStore(tmp_path))
    assert not desk.readiness.ready
    with pytest.raises(NotPublishedError):
        await desk.price(REQUEST)
    with pytest.raises(NotPublishedError):
        await desk.prices([{"product_id": "SKU-3"}])


async def test_a_cached_price_outside_the_guard_rails_is_never_served(store: PriceStore) -> None:
    desk = await open_desk(store)
    honest = await desk.price(REQUEST)
    catalog = Catalog(store.read_current(), settings=PricingSettings())
    found = catalog.find("SKU-3", None, None)
    assert found is not None
    kept = quote(found.row, REQUEST.context, settings=PricingSettings())
    for poisoned in (
        replace(kept, recommended_price=0.01),
        replace(kept, recommended_price=1e9),
        replace(kept, recommended_price=0.01, price_floor=0.01),
        replace(kept, product_id="SKU-4"),
        replace(kept, currency="JPY"),
    ):
        again = await (await open_desk(store, PoisonedCache(poisoned))).price(REQUEST)
        assert again["recommended_price"] == honest["recommended_price"]
        assert again["source"] == "live"
    fine = await (await open_desk(store, PoisonedCache(kept))).price(REQUEST)
    assert fine["source"] == "cache"


def test_an_answer_outside_its_guard_rails_does_not_leave() -> None:
    good = prepared(QUOTE, current_price=20.0, table_version="1", model_version="1")
    good.check()
    for price in (9.99, 30.01, 0.0):
        outside = replace(QUOTE, recommended_price=price)
        answer = prepared(outside, current_price=20.0, table_version="1", model_version="1")
        with pytest.raises(GuardRailError):
            answer.check()
    frozen = replace(QUOTE, recommended_price=99.0, source="frozen")
    prepared(frozen, current_price=20.0, table_version="1", model_version="1").check()


async def test_the_encoded_answers_are_the_typed_ones(store: PriceStore) -> None:
    store.freeze("SKU-5")
    desk = await open_desk(store)
    bodies = [
        {"product_id": "SKU-3"},
        {"product_id": "SKU-3", "is_promo": None},
        {"product_id": "SKU-4", "current_stock": 12.0},
        {"product_id": "SKU-4", "current_stock": 12.0},
        {"product_id": "SKU-5"},
        {"product_id": "NEW", "unit_cost": 3.0},
        {"product_id": "NEW"},
        {"product_id": 7},
        "nothing",
    ]
    typed = await desk.prices(bodies)
    encoded = orjson.loads(await desk.prices_json(bodies))["prices"]
    ids = [answer.pop("quote_id") for answer in (*typed, *encoded) if "quote_id" in answer]
    assert len(set(ids)) == len(ids) == 12
    assert all(re.fullmatch("[0-9a-f]{32}", name) for name in ids)
    for one, other in zip(typed, encoded, strict=True):
        sources = {answer.pop("source", None) for answer in (one, other)}
        assert one == other
        assert len(sources - {"live", "cache"}) < 2
    for body, known in zip(bodies[:6], encoded, strict=False):
        single = orjson.loads(await desk.price_json(body))
        assert {**known, "source": single["source"], "quote_id": single["quote_id"]} == single


async def test_a_live_price_that_breaks_a_rule_yields_to_the_published_one(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> Quote:
        raise GuardRailError("outside")

    desk = await open_desk(store)
    published = await desk.price(price_request({"product_id": "SKU-3"}))
    monkeypatch.setattr("serving.ladder.quote", broken)
    answer = await desk.price(REQUEST)
    assert answer["source"] == "table"
    assert answer["recommended_price"] == published["recommended_price"]


async def test_an_expired_table_says_so(store: PriceStore) -> None:
    late = NOW + timedelta(hours=49)
    desk = Desk(store, a_cache(), settings=PricingSettings(), now=lambda: late)
    await desk.refresh()
    answer = await desk.price(REQUEST)
    assert any("expired" in reason for reason in answer["reasons"])
    assert desk.readiness.expired


async def test_a_table_is_loaded_once_and_a_damaged_one_is_not_retried_at_once(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await open_desk(store)
    good = desk.readiness.table_version
    store.publish(prices=price_table(CURVES, factor=1.1), curves=CURVES, stamps=stamps(), now=NOW)
    damaged = store.root / "versions" / str(store.current()) / "price_table.parquet"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"?")
    reads = []
    original = PriceStore.read_current

    def counted(self: PriceStore) -> object:
        reads.append(1)
        return original(self)

    monkeypatch.setattr(PriceStore, "read_current", counted)
    for _ in range(5):
        await desk.refresh()
    assert len(reads) == 1
    assert desk.readiness.table_version == good


async def test_stores_and_segments_find_their_row(tmp_path: Path) -> None:
    from tests.test_price_store import with_column

    store = PriceStore(tmp_path)
    curves = curve_table(4)
    curves = with_column(curves, "product_id", ["A", "A", "B", "C"])
    curves = with_column(curves, "store_id", ["1", "2", "1", ""])
    prices = price_table(curves)
    prices = with_column(prices, "expected_units", [10.0, 20.0, 5.0, 5.0])
    store.publish(prices=prices, curves=curves, stamps=stamps(), now=NOW)
    desk = await open_desk(store)
    expected = prices["recommended_price"].to_pylist()

    async def price(**request: str) -> tuple[float, list[str]]:
        answer = await desk.price(price_request(request))
        return answer["recommended_price"], answer["reasons"]

    assert (await price(product_id="A", store_id="1"))[0] == expected[0]
    assert (await price(product_id="A", store_id="2"))[0] == expected[1]
    biggest, reasons = await price(product_id="A")
    assert biggest == expected[1]
    assert "store '2'" in reasons[0]
    only, reasons = await price(product_id="B")
    assert only == expected[2]
    assert not any("store" in reason for reason in reasons)
    assert (await price(product_id="C", segment="loyal"))[0] == expected[3]


async def client_of(
    store: PriceStore, *, token: str | None, client: str = "127.0.0.1"
) -> httpx.AsyncClient:
    async def inner(scope: dict, receive: object, send: object) -> None:
        raise AssertionError(f"{scope['path']} was passed on")

    desk = await open_desk(store)
    parameters = ServingParameters()
    admission = Admission.of_worker(parameters)
    gate = Gate(inner, desk, admission, token=token, parameters=parameters)  # type: ignore[arg-type]
    transport = httpx.ASGITransport(gate, client=(client, 1234))  # type: ignore[arg-type]
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


@pytest.fixture
async def guarded_client(store: PriceStore) -> AsyncIterator[httpx.AsyncClient]:
    async with await client_of(store, token="secret", client="10.0.0.9") as client:
        yield client


async def test_a_token_opens_the_door_to_any_machine(guarded_client: httpx.AsyncClient) -> None:
    body = {"product_id": "SKU-3"}
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "secret"}):
        response = await guarded_client.post("/get_price", json=body, headers=headers)
        assert response.status_code == 401
        assert (await guarded_client.get("/metrics", headers=headers)).status_code == 401
    right = {"authorization": "Bearer secret", "host": "prices.example"}
    assert (await guarded_client.post("/get_price", json=body, headers=right)).status_code == 200
    for path in ("/", "/livez", "/readyz"):
        assert (await guarded_client.get(path)).status_code == 200


async def test_without_a_token_other_machines_are_refused(store: PriceStore) -> None:
    async with await client_of(store, token=None, client="10.0.0.9") as client:
        response = await client.post("/get_price", json={"product_id": "SKU-3"})
        assert response.status_code == 403
        assert "PRICING_API_TOKEN" in response.json()["error"]


# BentoML imports a name that pathspec has deprecated.
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_the_typed_api_gives_the_same_answer(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from serving.service import PricingService

    now = datetime.now(UTC)
    home = tmp_path / "home"
    made = PriceStore(home / "tables")
    made.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(now=now), now=now)
    monkeypatch.setenv("PRICING_HOME", str(home))
    gate = PricingService.to_asgi()
    await gate._desk.refresh()
    body = {"product_id": "SKU-3", "current_stock": 12.0}
    instance = PricingService.inner()
    lane = await gate._desk.price(price_request(body))
    typed = await PricingService.inner.get_price.func(instance, price_request(body))
    again = typed.model_dump()
    for name in set(lane) - {"quote_id", "source"}:
        assert again[name] == lane[name]
    await gate._desk.stop()
