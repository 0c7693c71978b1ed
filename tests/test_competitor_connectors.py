"""Rivals' prices over HTTP from a local server: retries, rate limit, schema check, and sending."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import EntryPoint
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from pricing_assets.core.errors import InputError
from pricing_assets.core.events import RawEvents, TimeLimits, check_events
from resources import competitor_connectors
from resources.competitor_connectors import (
    CompetitorPrice,
    ConnectorError,
    HttpConnector,
    HttpConnectorSettings,
    RateLimit,
    collect,
    load_connector,
)

ROW = {"product_id": "tea", "price": 9.5, "seen_at": "2026-03-02T12:00:00Z"}
Answer = tuple[int, dict[str, str], bytes]


class Shop:
    """A rival's server: gives its answers in order, then the last one again."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, str | None]] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                shop.asked.append((self.path, self.headers.get("x-token")))
                status, headers, body = shop.answers[min(len(shop.asked), len(shop.answers)) - 1]
                if status == 0:  # break the connection
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/prices?key=secret"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def open_shop() -> Iterator[Any]:
    shops: list[Shop] = []

    def opened(*answers: Answer) -> Shop:
        shops.append(Shop(*answers))
        return shops[-1]

    yield opened
    for shop in shops:
        shop.close()


def page(*rows: object, after: str | None = None, status: int = 200, **headers: str) -> Answer:
    body = json.dumps({"prices": list(rows), "next": after}).encode()
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, body


class Time:
    """A clock that only waits move."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


def connector(shop: Shop, time: Time | None = None, **changes: Any) -> HttpConnector:
    settings = {"url": shop.url, "competitor": "acme", "requests_per_second": 1000.0, **changes}
    clock = time or Time()
    return HttpConnector(
        HttpConnectorSettings(**settings),
        clock=lambda: clock.now,
        sleep=clock.sleep,
        rng=random.Random(1),
    )


class Sent:
    """A producer that remembers."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []

    def send(self, table: str, events: Sequence[Mapping[str, Any]]) -> None:
        assert table == "competitor_prices"
        self.events += events


def test_all_pages_become_right_events(open_shop: Any) -> None:
    shop = open_shop(
        page(ROW, {**ROW, "product_id": "milk", "store_id": "7"}, after="/prices?page=2"),
        page({**ROW, "competitor": "other"}),
    )
    sent = Sent()
    done = collect(connector(shop, headers={"x-token": "t"}), sent)
    assert (done.sent, done.refused) == (3, {})
    assert [path for path, _ in shop.asked] == ["/prices?key=secret", "/prices?page=2"]
    assert {token for _, token in shop.asked} == {"t"}
    raw = RawEvents(
        "competitor_prices", ["1", "2", "3"], [json.dumps(event).encode() for event in sent.events]
    )
    checked = check_events(raw, limits=TimeLimits(now=2e9, oldest=0, newest=2e9))
    assert checked.dead.num_rows == 0
    assert checked.accepted["competitor"].to_pylist() == ["acme", "acme", "other"]
    assert checked.accepted["store_id"].to_pylist() == ["", "7", ""]


def test_the_same_observation_is_the_same_event(open_shop: Any) -> None:
    shop, sent = open_shop(page(ROW)), Sent()
    for _ in range(2):
        collect(connector(shop), sent)
    assert sent.events[0] == sent.events[1]
    other = CompetitorPrice.model_validate({**ROW, "competitor": "acme", "price": 9.6}).event()
    assert other["event_id"] != sent.events[0]["event_id"]


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"price": 0}, "price: greater_than"),
        ({"price": "9.5"}, "price: float_type"),
        ({"price": None}, "price: float_type"),
        ({"product_id": ""}, "product_id: string_too_short"),
        ({"product_id": "a\u001fb"}, "product_id: string_pattern_mismatch"),
        ({"product_id": 7}, "product_id: string_type"),
        ({"seen_at": "2026-03-02T12:00:00"}, "seen_at: timezone_aware"),
        ({"seen_at": "soon"}, "seen_at: datetime_from_date_parsing"),
    ],
)
def test_a_row_that_does_not_fit_is_counted_and_spoils_no_other(
    open_shop: Any, change: dict[str, Any], fault: str
) -> None:
    shop, sent = open_shop(page(ROW, {**ROW, **change}, ROW)), Sent()
    done = collect(connector(shop), sent)
    assert (done.sent, done.refused) == (2, {fault: 1})


def test_a_refusal_that_may_pass_is_tried_again_with_growing_waits(open_shop: Any) -> None:
    shop = open_shop(page(status=503), page(status=500), (0, {}, b""), page(ROW))
    time, sent = Time(), Sent()
    assert collect(connector(shop, time, first_wait_seconds=8.0), sent).sent == 1
    waits = [wait for wait in time.waits if wait > 0.001]
    assert len(waits) == 3
    assert all(0 < wait <= 8.0 * 2**i for i, wait in enumerate(waits))


def test_retry_after_is_heeded_within_bounds(open_shop: Any) -> None:
    shop = open_shop(
        page(status=429, retry_after="7"),
        page(status=429, retry_after="9999"),
        page(status=429, retry_after="Mon, 02 Mar 2020 12:00:00 GMT"),
        page(ROW),
    )
    time = Time()
    assert collect(connector(shop, time, longest_wait_seconds=20.0), Sent()).sent == 1
    assert [wait for wait in time.waits if wait >= 1] == [7.0, 20.0]


def test_it_gives_up_after_its_attempts_and_keeps_what_it_had(open_shop: Any) -> None:
    shop, sent = open_shop(page(ROW, after="/2"), page(status=503)), Sent()
    with pytest.raises(ConnectorError, match="status 503"):
        collect(connector(shop, attempts=3), sent)
    assert len(shop.asked) == 4
    assert len(sent.events) == 1


@pytest.mark.parametrize("status", [301, 401, 404])
def test_a_refusal_that_stays_is_not_tried_again(open_shop: Any, status: int) -> None:
    shop = open_shop(page(status=status, location="http://127.0.0.1:9/"))
    with pytest.raises(ConnectorError, match=f"status {status}") as refused:
        collect(connector(shop), Sent())
    assert len(shop.asked) == 1
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"prices": [1]}', b'{"prices": null}'])
def test_something_else_than_prices_is_said(open_shop: Any, body: bytes) -> None:
    with pytest.raises(ConnectorError, match="something else than prices"):
        collect(connector(open_shop((200, {}, body))), Sent())


def test_a_page_of_another_host_is_not_followed(open_shop: Any) -> None:
    shop, sent = open_shop(page(ROW, after="http://127.0.0.1:9/steal")), Sent()
    with pytest.raises(ConnectorError, match="another host"):
        collect(connector(shop), sent)
    assert len(sent.events) == 1


def test_pages_in_a_circle_end(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competitor_connectors, "MAX_PAGES", 4)
    with pytest.raises(ConnectorError, match="a circle"):
        collect(connector(open_shop(page(ROW, after="/again"))), Sent())


def test_a_page_too_large_is_refused(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competitor_connectors, "MAX_BODY_BYTES", 100)
    with pytest.raises(ConnectorError, match="more than 100 bytes"):
        collect(connector(open_shop(page(*[ROW] * 9))), Sent())


def test_requests_are_evenly_spread() -> None:
    time = Time()
    limit = RateLimit(4.0, clock=lambda: time.now, sleep=time.sleep)
    turns = []
    for _ in range(5):
        limit.wait()
        turns.append(time.now)
    assert turns == [0.0, 0.25, 0.5, 0.75, 1.0]
    time.now = 9.0
    limit.wait()
    assert time.now == 9.0  # what was not used is not saved up


def test_a_plug_in_is_found_by_its_name(open_shop: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("acme", "tests.test_competitor_connectors:plug_in", "group")
    monkeypatch.setattr(competitor_connectors, "entry_points", lambda group: [point])
    made = load_connector("acme", {"url": open_shop(page(ROW)).url})
    assert collect(made, Sent()).sent == 1
    with pytest.raises(InputError, match="found: acme"):
        load_connector("other", {})


def plug_in(settings: Mapping[str, Any]) -> HttpConnector:
    return HttpConnector(HttpConnectorSettings(competitor="acme", **settings))


def test_wrong_settings_are_refused_and_headers_never_shown() -> None:
    with pytest.raises(ValidationError):
        HttpConnectorSettings(url="file:///etc/passwd", competitor="x")
    settings = HttpConnectorSettings(
        url="http://127.0.0.1/", competitor="x", headers={"authorization": "secret"}
    )
    assert "secret" not in repr(settings)
    assert isinstance(httpx.URL(settings.url), httpx.URL)
