"""BentoML's typed APIs against the lean lane: every case through both, the same bytes out."""

from __future__ import annotations

import asyncio
import json
import re
import warnings
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import pytest_asyncio

from serving.price_store import PriceStore
from tests.published_tables import curve_table, price_table, stamps
from tests.running_service import free_port

pytestmark = [
    # BentoML's application counts in the one registry of the process, so there is one of it.
    pytest.mark.asyncio(loop_scope="module"),
    # BentoML imports a name that pathspec has deprecated.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

JSON = {"content-type": "application/json"}
CURVES = curve_table(8)
ITEMS = [
    {"product_id": "SKU-1"},
    {"product_id": "SKU-2", "comp_price": -1},
    {"product_id": "NOBODY"},
    {"curent_stock": 1},
    "not an item",
    None,
    {"product_id": "SKU-3", "current_stock": 4, "day_of_week": "Friday"},
]
PRICE_BODIES: list[bytes] = [
    *(
        json.dumps(body).encode()
        for body in (
            {"product_id": "SKU-1"},
            {"product_id": "SKU-1", "current_stock": 40, "comp_price": 21.5, "is_promo": True},
            {"product_id": "SKU-2", "current_stock": 1e-9, "day_of_week": "MON"},
            {"product_id": "SKU-3", "objective": "revenue", "current_price": 20},
            {"product_id": "SKU-4", "segment": "loyal"},
            {"product_id": "NEW", "unit_cost": 1e-7},
            {"product_id": "NEW", "current_price": 123456789.25},
            {"product_id": "NEW"},
            {"product_id": "Café \u202e"},
            {"product_id": "SKU-1", "store_id": "nowhere"},
            {"product_id": ""},
            {"product_id": 5},
            {"product_id": "a\x00b"},
            {"product_id": "x" * 1_000_000},
            {"product_id": "SKU-1", "curent_stock": 5},
            {"product_id": "SKU-1", "comp_price": 0},
            {"product_id": "SKU-1", "comp_price": "21.5"},
            {"product_id": "SKU-1", "comp_price": True},
            {"product_id": "SKU-1", "current_price": 100000},
            {"product_id": "SKU-1", "day_of_week": "Someday"},
            {"product_id": "SKU-1", "objective": "fame"},
            {"product_id": "SKU-1", "is_promo": "yes"},
        )
    ),
    b"",
    b"{",
    b"[]",
    b"{}",
    b"null",
    b'"SKU-1"',
    b'{"product_id": "SKU-1", "product_id": "SKU-2"}',
    b'{"product_id": "SKU-1", "comp_price": NaN}',
    b'{"product_id": "SKU-1", "comp_price": 1e400}',
    b'{"product_id": "\\ud800"}',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"product_id": "SKU-1", "current_stock": ' + b"9" * 5000 + b"}",
]
BATCH_BODIES: list[bytes] = [
    json.dumps({"items": ITEMS}).encode(),
    json.dumps({"items": []}).encode(),
    json.dumps({"items": [{"product_id": "SKU-1"}] * 10_001}).encode(),
    json.dumps(ITEMS).encode(),
    b'{"items": 5}',
    b'{"items": [], "more": 1}',
    b'{"items": [{"product_id": "SKU-1", "comp_price": Infinity}]}',
    b"{",
]
POSTS = ("/get_price", "/get_prices", "/demand_curve")
GETS = (
    "/",
    "/explain/{quote_id}",
    "/products",
    "/livez",
    "/readyz",
    "/healthz",
    "/metrics",
    "/docs.json",
    "/schema.json",
)
CASES = [
    *(("/get_price", body) for body in PRICE_BODIES),
    *(("/demand_curve", body) for body in PRICE_BODIES),
    *(("/get_prices", body) for body in BATCH_BODIES),
]


class Pair(NamedTuple):
    """The lane, and BentoML's application without the gate before it."""

    lane: httpx.AsyncClient
    typed: httpx.AsyncClient


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("typed")
    config = folder / "pricing.yaml"
    config.write_text(f"serving: {{grpc_port: {free_port()}}}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PRICING_HOME", str(folder / "home"))
        patch.setenv("PRICING_CONFIG", str(config))
        patch.setenv("BENTOML_HOME", str(folder / "bentoml"))
        yield folder / "home"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(home: Path) -> AsyncIterator[Pair]:
    """Both, seen to say the same before anything is published, and after that published."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from serving.service import PricingService

    gate = PricingService.to_asgi()
    inner: Any = gate._inner
    async with (
        inner.router.lifespan_context(inner),
        client_of(gate) as lane,
        client_of(inner) as typed,
    ):
        answers = [await client.post("/get_price", json=ITEMS[0]) for client in (lane, typed)]
        assert [answer.status_code for answer in answers] == [503, 503]
        assert answers[0].content == answers[1].content
        await publish(home, lane)
        yield Pair(lane, typed)


def client_of(application: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application, client=("127.0.0.1", 1))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


def comparable(body: bytes) -> bytes:
    """The body without what no two answers share."""
    return re.sub(rb'"quote_id":"[0-9a-f]{32}"', b'"quote_id":""', body)


async def test_every_case_gets_the_same_bytes(both: Pair) -> None:
    lane, typed = both
    for path, body in CASES:
        # Asked once before: a live quote is then kept, and both take it from there.
        await lane.post(path, content=body, headers=JSON)
        expected = await lane.post(path, content=body, headers=JSON)
        answered = await typed.post(path, content=body, headers=JSON)
        case = f"{path} {body[:80]!r}"
        assert answered.status_code == expected.status_code, case
        assert answered.status_code in (200, 400, 404), case
        assert comparable(answered.content) == comparable(expected.content), case
        assert answered.headers["content-type"] == expected.headers["content-type"], case


async def publish(home: Path, client: httpx.AsyncClient) -> None:
    now = datetime.now(UTC)
    store = PriceStore(home / "tables")
    store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(now=now), now=now)
    async with asyncio.timeout(20):
        while (await client.get("/readyz")).status_code != 200:
            await asyncio.sleep(0.05)


async def test_the_description_says_what_is_answered(both: Pair) -> None:
    lane = both.lane
    api = (await lane.get("/docs.json")).json()
    assert api["openapi"].startswith("3.1")
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(api))
    assert set(references) <= set(api["components"]["schemas"])
    assert set(api["components"]["schemas"]) <= set(references)
    assert set(api["paths"]) == {*POSTS, *GETS}
    for path, operations in api["paths"].items():
        if path == "/metrics":
            continue  # BentoML counts in files of its own worker processes, not in a test's
        (method,) = operations
        asked = path.replace("{quote_id}", "0" * 32)
        kwargs = {"json": {}} if method == "post" else {}
        response = await lane.request(method.upper(), asked, **kwargs)
        described = operations[method]["responses"][str(response.status_code)]
        (kind,) = described["content"]
        assert response.headers["content-type"].split(";")[0] == kind, path


async def test_the_description_names_every_field_of_an_answer(both: Pair) -> None:
    lane = both.lane
    api = (await lane.get("/docs.json")).json()
    for path, name in (("/get_price", "PriceAnswer"), ("/demand_curve", "DemandCurveAnswer")):
        answer = (await lane.post(path, json={"product_id": "SKU-1"})).json()
        schema = api["components"]["schemas"][name]
        assert set(answer) == set(schema["properties"])
        assert set(schema["required"]) <= set(answer)
    request = api["components"]["schemas"]["PriceRequest"]
    assert request["additionalProperties"] is False
    assert request["required"] == ["product_id"]
    day = re.compile(request["properties"]["day_of_week"]["anyOf"][0]["pattern"])
    for text in ("Friday", "fri", " SUNDAY ", "Fr", "Someday", "", "Mondays"):
        asked = await lane.post("/get_price", json={"product_id": "SKU-1", "day_of_week": text})
        assert (asked.status_code == 200) is bool(day.search(text)), text
    units = api["components"]["schemas"]["PriceAnswer"]["properties"]["expected_units"]
    assert {"type": "null"} in units["anyOf"]
