"""The outermost layer by itself: who may ask, what may come in, and what is refused under load."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from pricing_assets.core.errors import (
    AuditUnavailableError,
    GuardRailError,
    InputError,
    IntegrityError,
    MissingTableError,
    NotPublishedError,
    UnknownProductError,
    UnknownQuoteError,
)
from pricing_assets.core.serving_parameters import ServingParameters
from serving.admission import Admission, Limits
from serving.gate import Gate
from serving.wire import encode_json, price_request

FAILURES: dict[str, tuple[Exception, int]] = {
    "unknown product": (UnknownProductError("no such product"), 404),
    "unknown quote": (UnknownQuoteError("no such quote"), 404),
    "input": (InputError("wrong"), 400),
    "a kind of input": (MissingTableError("absent"), 400),
    "guard rails": (GuardRailError("outside"), 503),
    "nothing published": (NotPublishedError("nothing"), 503),
    "no record": (AuditUnavailableError("full"), 503),
    "damage": (IntegrityError("flipped"), 503),
    "a fault of ours": (ZeroDivisionError("secret detail"), 500),
}
JSON = {"content-type": "application/json"}


class EchoDesk:
    """A desk that answers with what it was asked, when it is let."""

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.answer: dict[str, Any] = {}
        self.failure: Exception | None = None
        self.readiness = SimpleNamespace(ready=True)

    async def price_json(self, value: Any) -> bytes:
        request = price_request(value)
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return encode_json({"product_id": request.product_id, **self.answer})

    async def prices_json(self, items: list[Any]) -> bytes:
        await self.may_answer.wait()
        return encode_json({"prices": items})

    async def explain(self, quote_id: str) -> dict[str, Any]:
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return {"quote_id": quote_id}


def gate_of(desk: object, *, token: str | None = None, **parameters: object) -> Gate:
    async def inner(scope: Any, receive: Any, send: Any) -> None:
        raise AssertionError(f"{scope['path']} was passed on")

    limits = ServingParameters(**parameters)
    admission = Admission.of_worker(limits)
    return Gate(inner, desk, admission, token=token, parameters=limits)


def client_of(gate: Gate, *, caller: str = "127.0.0.1") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(gate, client=(caller, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1")


@pytest.fixture
def desk() -> EchoDesk:
    return EchoDesk()


@pytest.fixture
async def client(desk: EchoDesk) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(gate_of(desk)) as made:
        yield made


async def scene(gate: Gate, messages: list[dict[str, Any]], **headers: str) -> dict[str, Any]:
    """Drive the gate with raw ASGI messages; the status, headers and how many were taken."""
    left = list(messages)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    given = {"host": "127.0.0.1", **JSON, **headers}
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/get_price",
        "query_string": b"",
        "client": ("127.0.0.1", 1),
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }
    await gate(scope, receive, send)
    return {**sent[0], "taken": len(messages) - len(left)}


async def test_identifiers_that_look_alike_never_meet(client: httpx.AsyncClient) -> None:
    composed, decomposed = (unicodedata.normalize(form, "Café") for form in ("NFC", "NFD"))
    for name in (composed, decomposed, "\u202eSKU", "SKU\u200b", "SKU ", "SKU\u00a0"):
        response = await client.post("/get_price", json={"product_id": name})
        assert response.status_code == 200
        assert response.json()["product_id"] == name


@pytest.mark.parametrize("letter", ["\x00", "\x1f", "\x7f", "\x9f", "\n"])
async def test_control_characters_are_refused(client: httpx.AsyncClient, letter: str) -> None:
    for field in ("product_id", "store_id", "segment"):
        body = {"product_id": "SKU", field: f"a{letter}b"}
        assert (await client.post("/get_price", json=body)).status_code == 400


async def test_a_huge_identifier_is_one_short_sentence(client: httpx.AsyncClient) -> None:
    response = await client.post("/get_price", json={"product_id": "x" * 1_000_000})
    assert response.status_code == 400
    assert len(response.content) < 400


@pytest.mark.parametrize("number", ["1e400", "-1e400", "NaN", "Infinity", "-Infinity", "-1"])
@pytest.mark.parametrize("field", ["comp_price", "current_stock", "current_price", "unit_cost"])
async def test_no_number_but_a_finite_positive_one_comes_in(
    client: httpx.AsyncClient, number: str, field: str
) -> None:
    body = f'{{"product_id": "SKU", "{field}": {number}}}'
    response = await client.post("/get_price", content=body, headers=JSON)
    assert response.status_code == 400


async def test_no_number_but_a_finite_one_goes_out(
    client: httpx.AsyncClient, desk: EchoDesk
) -> None:
    for number in (float("nan"), float("inf")):
        desk.answer = {"recommended_price": number}
        response = await client.post("/get_price", json={"product_id": "SKU"})
        assert response.status_code == 500
        assert b"NaN" not in response.content and b"null" not in response.content


async def test_a_body_is_never_taken_beyond_the_cap(desk: EchoDesk) -> None:
    gate = gate_of(desk, max_body_bytes=2048)
    part = {"type": "http.request", "body": b" " * 1024, "more_body": True}
    streamed = await scene(gate, [part] * 60_000)
    assert streamed["status"] == 413
    assert streamed["taken"] == 3
    declared = await scene(gate, [part] * 60_000, **{"content-length": str(60 * 2**20)})
    assert declared["status"] == 413
    assert declared["taken"] == 0
    assert (b"connection", b"close") in declared["headers"]


async def test_a_body_that_does_not_come_is_not_waited_for(desk: EchoDesk) -> None:
    gate = gate_of(desk, request_timeout_seconds=0.05)
    part = {"type": "http.request", "body": b"{", "more_body": True}
    assert (await scene(gate, [part]))["status"] == 408


async def test_an_answer_that_does_not_come_is_not_waited_for(desk: EchoDesk) -> None:
    desk.may_answer.clear()
    async with client_of(gate_of(desk, request_timeout_seconds=0.05)) as client:
        response = await client.post("/get_price", json={"product_id": "SKU"})
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"


async def test_the_connection_stays_open_after_a_request_that_was_read(
    client: httpx.AsyncClient, desk: EchoDesk
) -> None:
    desk.failure = UnknownProductError("none")
    unknown = await client.post("/get_price", json={"product_id": "SKU"})
    assert unknown.status_code == 404
    assert "connection" not in unknown.headers
    refused = await client.post("/get_price", content=b"x", headers={"content-type": "text/plain"})
    assert refused.status_code == 415
    assert refused.headers["connection"] == "close"


@pytest.mark.parametrize("name", FAILURES)
async def test_each_error_has_its_status_and_says_no_more_than_its_sentence(
    client: httpx.AsyncClient, desk: EchoDesk, name: str
) -> None:
    desk.failure, status = FAILURES[name]
    for asked in (
        client.post("/get_price", json={"product_id": "SKU"}),
        client.get("/explain/0123456789abcdef"),
    ):
        response = await asked
        assert response.status_code == status
        assert list(response.json()) == ["error"]
        assert "secret" not in response.text


async def test_explain_is_read_only_and_waits_behind_single_quotes(desk: EchoDesk) -> None:
    async with client_of(gate_of(desk, max_requests=2)) as client:
        assert (await client.get("/explain/abc")).json() == {"quote_id": "abc"}
        assert (await client.post("/explain/abc")).status_code == 405
        desk.may_answer.clear()
        asked = await waiting(client, "/get_price", 1)
        assert (await client.get("/explain/abc")).status_code == 429
        desk.may_answer.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def waiting(client: httpx.AsyncClient, path: str, count: int) -> list[asyncio.Task]:
    bodies = {"/get_price": {"product_id": "SKU"}, "/get_prices": {"items": []}}
    asked = [asyncio.create_task(client.post(path, json=bodies[path])) for _ in range(count)]
    for _ in range(50):
        await asyncio.sleep(0)
    return asked


async def test_bulk_is_shed_before_single_quotes(desk: EchoDesk) -> None:
    desk.may_answer.clear()
    async with client_of(gate_of(desk, max_requests=6, max_batches=2)) as client:
        asked = await waiting(client, "/get_prices", 2)
        bulk = await client.post("/get_prices", json={"items": []})
        assert bulk.status_code == 429
        assert int(bulk.headers["retry-after"]) >= 1
        assert "connection" not in bulk.headers
        asked += await waiting(client, "/get_price", 4)
        single = await client.post("/get_price", json={"product_id": "SKU"})
        assert single.status_code == 429
        assert list(single.json()) == ["error"]
        desk.may_answer.set()
        answers = await asyncio.gather(*asked)
        assert [answer.status_code for answer in answers] == [200] * 6
        assert (await client.post("/get_prices", json={"items": []})).status_code == 200


async def test_half_of_the_room_is_for_single_quotes_only(desk: EchoDesk) -> None:
    desk.may_answer.clear()
    async with client_of(gate_of(desk, max_requests=4, max_batches=4)) as client:
        asked = await waiting(client, "/get_price", 2)
        assert (await client.post("/get_prices", json={"items": []})).status_code == 429
        asked += await waiting(client, "/get_price", 2)
        desk.may_answer.set()
        assert {answer.status_code for answer in await asyncio.gather(*asked)} == {200}


async def test_room_is_given_back_whatever_the_answer(desk: EchoDesk) -> None:
    async with client_of(gate_of(desk, max_requests=1)) as client:
        for body in (b"{", b"[]", b'{"product_id": ""}', b'{"product_id": "SKU"}') * 3:
            response = await client.post("/get_price", content=body, headers=JSON)
            assert response.status_code in (200, 400)


@dataclass
class Loop:
    """An event loop whose turns and time pass when the test says so."""

    now: float = 0.0
    waiting: Callable[[], None] | None = None

    def next_turn(self, callback: Callable[[], None]) -> None:
        assert self.waiting is None, "one callback a turn is enough"
        self.waiting = callback

    def turn(self) -> None:
        if self.waiting is not None:
            callback, self.waiting = self.waiting, None
            callback()

    def admission(self, **limits: float) -> Admission:
        wanted = {"requests": 1000, "batches": 100, "per_second": 0.0, "wait_seconds": 0.04}
        return Admission(
            Limits(**{**wanted, **limits}),  # type: ignore[arg-type]
            clock=lambda: self.now,
            next_turn=self.next_turn,
        )


def let_in(admission: Admission, *, batch: bool = False) -> bool:
    if admission.enter(batch=batch):
        return False
    admission.leave(batch=batch)
    return True


def test_a_rate_is_kept_over_a_second_and_leaves_single_quotes_their_share() -> None:
    loop = Loop()
    admission = loop.admission(per_second=20.0)
    batches = sum(let_in(admission, batch=True) for _ in range(40))
    singles = sum(let_in(admission) for _ in range(40))
    assert (batches, singles) == (15, 5)
    assert admission.enter(batch=False) == 1
    loop.now = 0.5
    assert sum(let_in(admission) for _ in range(40)) == 10


def test_the_rate_is_for_all_workers_together() -> None:
    parameters = ServingParameters(workers=4, max_requests_per_second=100)
    assert Limits.of(parameters).per_second == 25


def test_one_long_turn_is_no_overload() -> None:
    loop = Loop()
    admission = loop.admission()
    assert let_in(admission)
    loop.now = 0.3
    assert let_in(admission)


def test_after_a_long_turn_those_who_waited_too_long_are_refused() -> None:
    loop = Loop()
    admission = loop.admission()
    assert let_in(admission)
    loop.now = 0.1
    loop.turn()
    assert let_in(admission)
    loop.now += 0.03
    assert let_in(admission)
    assert not let_in(admission, batch=True)
    loop.now += 0.02
    assert not let_in(admission)
    loop.turn()
    assert let_in(admission)
    loop.turn()
    assert let_in(admission)
    loop.now += 0.05
    assert let_in(admission)


def caller(headers: dict[str, str]) -> Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]:
    async def ask(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/get_price", json={"product_id": "SKU"}, headers=headers)

    return ask


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer wrong", "secret", "bearer secret", "Basic secret"]
)
async def test_anything_but_the_token_is_401(desk: EchoDesk, given: str) -> None:
    async with client_of(gate_of(desk, token="secret"), caller="10.0.0.9") as client:
        response = await caller({"authorization": given})(client)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"


async def test_the_token_opens_the_door_from_anywhere(desk: EchoDesk) -> None:
    async with client_of(gate_of(desk, token="secret"), caller="10.0.0.9") as client:
        response = await caller({"authorization": "Bearer secret", "host": "a.example"})(client)
        assert response.status_code == 200


@pytest.mark.parametrize(
    ("host", "address"), [("evil.example", "127.0.0.1"), ("localhost", "10.0.0.9"), ("", "::2")]
)
async def test_without_a_token_only_this_machine_is_answered(
    desk: EchoDesk, host: str, address: str
) -> None:
    async with client_of(gate_of(desk), caller=address) as client:
        assert (await caller({"host": host})(client)).status_code == 403


async def test_the_page_is_bound_to_itself(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert page.headers["x-content-type-options"] == "nosniff"
