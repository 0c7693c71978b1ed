"""The real service on a free port, with a real Redis, driven over HTTP as a stranger would."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from pricing_assets.core.errors import InputError
from pricing_assets.core.serving_parameters import ServingParameters
from serving.launch import check_exposure
from tests.published_tables import price_table
from tests.running_service import CURVES, Running, running_service

CONTEXT = {"current_stock": 40, "day_of_week": "Friday", "comp_price": 21.5, "is_promo": True}
FIELDS = {
    "product_id",
    "recommended_price",
    "confidence",
    "currency",
    "price_floor",
    "price_ceiling",
    "expected_units",
    "source",
    "reasons",
    "table_version",
    "model_version",
    "quote_id",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_service(tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture(scope="module")
def published(service: Running) -> Running:
    """The service with a table, after it was seen to have none."""
    before = service.client.get("/readyz")
    assert before.status_code == 503
    assert before.json()["ready"] is False
    assert service.ask(product_id="SKU-1").status_code == 503
    version = service.publish(1.05)
    service.until(lambda: service.ready_version() == version)
    return service


def test_without_context_the_published_price_comes_exactly(published: Running) -> None:
    table = published.store.read_current()
    for row in table.prices.to_pylist():
        answer = published.price(row["product_id"])
        assert set(answer) == FIELDS
        assert answer["recommended_price"] == row["recommended_price"]
        assert answer["price_floor"] == row["price_floor"]
        assert answer["price_ceiling"] == row["price_ceiling"]
        assert answer["table_version"] == table.version
        assert answer["source"] == "table"


def test_the_contract_s_example_is_answered_live_then_from_the_cache(published: Running) -> None:
    first = published.price("SKU-1", **CONTEXT)
    second = published.price("SKU-1", **CONTEXT)
    assert first["source"] == "live"
    assert second["source"] == "cache"
    same = FIELDS - {"source", "quote_id"}
    assert {name: first[name] for name in same} == {name: second[name] for name in same}
    assert first["quote_id"] != second["quote_id"]


def test_less_stock_and_a_dearer_rival_never_lower_a_price(published: Running) -> None:
    for product in (f"SKU-{i}" for i in range(8)):
        known = published.price(product)["recommended_price"]
        stocks = [published.price(product, current_stock=s) for s in (1000, 60, 20, 5, 0)]
        rivals = [published.price(product, comp_price=known * f) for f in (0.6, 0.9, 1.1, 1.5)]
        for answers in (stocks, rivals):
            prices = [answer["recommended_price"] for answer in answers]
            assert prices == sorted(prices)
            for answer in answers:
                assert answer["price_floor"] <= answer["recommended_price"]
                assert answer["recommended_price"] <= answer["price_ceiling"]


def test_a_poisoned_cache_is_never_served(published: Running) -> None:
    good = published.price("SKU-2", **CONTEXT)
    with Redis.from_url(published.redis_url) as redis:
        keys = [key for key in redis.keys("pricing:*") if b"SKU-2\x1f" in key]
        assert keys
        for key in keys:
            entry = json.loads(redis.get(key))
            entry["quote"]["recommended_price"] = 0.01
            redis.set(key, json.dumps(entry))
    version = published.publish(1.02)
    published.until(lambda: published.ready_version() == version)
    published.store.rollback(now=datetime.now(UTC))
    published.until(lambda: published.ready_version() != version)
    again = published.price("SKU-2", **CONTEXT)
    assert again["recommended_price"] == good["recommended_price"]


def test_an_unknown_product_gets_the_rule_or_404(published: Running) -> None:
    answer = published.price("NEW-1", unit_cost=10.0)
    assert answer["source"] == "rule"
    assert answer["confidence"] <= 0.1
    assert answer["expected_units"] is None
    missing = published.ask(product_id="NEW-1")
    assert missing.status_code == 404
    assert "current_price or unit_cost" in missing.json()["error"]
    assert published.ask(product_id="SKU-1", store_id="nowhere").status_code == 404


WRONG_BODIES = [
    b"",
    b"{",
    b"[]",
    b'"SKU-1"',
    b"null",
    b"{}",
    b'{"product_id": ""}',
    b'{"product_id": null}',
    b'{"product_id": 5}',
    b'{"product_id": "a\\u0000b"}',
    b'{"product_id": "\\ud800"}',
    b'{"product_id": "' + b"x" * 201 + b'"}',
    b'{"product_id": "SKU-1", "product_id": "SKU-2"}',
    b'{"product_id": "SKU-1", "comp_price": NaN}',
    b'{"product_id": "SKU-1", "comp_price": Infinity}',
    b'{"product_id": "SKU-1", "comp_price": 1e400}',
    b'{"product_id": "SKU-1", "comp_price": -1}',
    b'{"product_id": "SKU-1", "comp_price": 0}',
    b'{"product_id": "SKU-1", "comp_price": "21.5"}',
    b'{"product_id": "SKU-1", "comp_price": true}',
    b'{"product_id": "SKU-1", "comp_price": [1]}',
    b'{"product_id": "SKU-1", "comp_price": 1e300}',
    b'{"product_id": "SKU-1", "current_stock": -1}',
    b'{"product_id": "SKU-1", "current_price": 100000}',
    b'{"product_id": "SKU-1", "day_of_week": "Someday"}',
    b'{"product_id": "SKU-1", "day_of_week": 5}',
    b'{"product_id": "SKU-1", "is_promo": "yes"}',
    b'{"product_id": "SKU-1", "objective": "fame"}',
    b'{"product_id": "SKU-1", "curent_stock": 5}',
    b"\xff\xfe",
    b"[" * 100_000,
    b'{"product_id": "SKU-1", "current_stock": ' + b"9" * 5000 + b"}",
]


@pytest.mark.parametrize("body", WRONG_BODIES)
def test_wrong_input_is_one_clear_sentence(published: Running, body: bytes) -> None:
    headers = {"content-type": "application/json"}
    response = published.client.post("/get_price", content=body, headers=headers)
    assert response.status_code == 400
    assert list(response.json()) == ["error"]
    sentence = response.json()["error"]
    assert 10 < len(sentence) < 400
    assert "\n" not in sentence and "Traceback" not in sentence


def test_a_misspelt_field_names_the_nearest(published: Running) -> None:
    error = published.ask(product_id="SKU-1", curent_stock=5).json()["error"]
    assert "did you mean 'current_stock'" in error


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/vnd.bentoml+pickle",
        "application/octet-stream",
        "",
    ],
)
def test_only_json_is_taken(published: Running, kind: str) -> None:
    for path in ("/get_price", "/get_prices"):
        response = published.client.post(
            path, content=b'{"product_id": "SKU-1"}', headers={"content-type": kind}
        )
        assert response.status_code == 415


def test_a_large_body_is_refused(published: Running) -> None:
    headers = {"content-type": "application/json"}
    limit = ServingParameters().max_body_bytes
    declared = published.client.post("/get_prices", content=b" " * (limit + 1), headers=headers)
    assert declared.status_code == 413

    def chunks() -> Iterator[bytes]:
        for _ in range(limit // 65536 + 2):
            yield b" " * 65536

    streamed = published.client.post("/get_prices", content=chunks(), headers=headers)
    assert streamed.status_code == 413


def test_a_foreign_host_is_refused(published: Running) -> None:
    response = published.client.post(
        "/get_price", json={"product_id": "SKU-1"}, headers={"host": "evil.example"}
    )
    assert response.status_code == 403
    for host in ("localhost:1", "127.0.0.1", "[::1]:8080"):
        assert published.client.get("/products", headers={"host": host}).status_code == 200


def test_the_demand_curve_falls_and_holds_the_served_price(published: Running) -> None:
    body = {"product_id": "SKU-3", "is_promo": True}
    response = published.client.post("/demand_curve", json=body)
    assert response.status_code == 200
    curve = response.json()
    units = [point["units"] for point in curve["points"]]
    assert units == sorted(units, reverse=True)
    for point in curve["points"]:
        assert point["units_low_90"] < point["units"] < point["units_high_90"]
        assert point["profit_low_90"] <= point["profit"] <= point["profit_high_90"]
        assert point["revenue"] == pytest.approx(point["price"] * point["units"])
    assert curve["recommended"]["price"] == published.price(**body)["recommended_price"]
    assert curve["current"]["price"] == price_table(CURVES)["current_price"][3].as_py()
    unknown = published.client.post("/demand_curve", json={"product_id": "NOBODY"})
    assert unknown.status_code == 404


def test_other_methods_and_paths_are_refused(published: Running) -> None:
    assert published.client.get("/get_price").status_code == 405
    assert published.client.options("/get_price").status_code == 405
    for path in ("/nothing", "/static_content/index.html", "/get_price/submit"):
        response = published.client.get(path)
        assert response.status_code == 404
        assert "error" in response.json()


def test_a_bad_item_spoils_no_other(published: Running) -> None:
    items = [
        {"product_id": "SKU-1"},
        {"product_id": "SKU-2", "comp_price": -1},
        {"product_id": "NOBODY"},
        "not an item",
        {"product_id": "SKU-3", **CONTEXT},
        {"product_id": "NOBODY", "unit_cost": 4},
    ]
    response = published.client.post("/get_prices", json={"items": items})
    assert response.status_code == 200
    prices = response.json()["prices"]
    assert ["error" in price for price in prices] == [False, True, True, True, False, False]
    assert prices[1]["product_id"] == "SKU-2"
    single = published.price("SKU-3", **CONTEXT)
    assert prices[4]["recommended_price"] == single["recommended_price"]
    assert len({price["quote_id"] for price in prices if "quote_id" in price}) == 3


def test_ten_thousand_items_and_no_more(published: Running) -> None:
    items = [{"product_id": f"SKU-{i % 30}"} for i in range(10_000)]
    response = published.client.post("/get_prices", json={"items": items})
    assert len(response.json()["prices"]) == 10_000
    too_many = published.client.post("/get_prices", json={"items": [*items, items[0]]})
    assert too_many.status_code == 400
    assert "at most 10000" in too_many.json()["error"]
    assert published.client.post("/get_prices", json={"items": []}).json() == {"prices": []}
    assert published.client.post("/get_prices", json=items).status_code == 400


def test_a_new_table_is_taken_up_without_a_failed_request(published: Running) -> None:
    before = published.ready_version()
    version = published.publish(1.11, model_version="2")
    seen = set()
    deadline = time.monotonic() + 20
    while version not in seen and time.monotonic() < deadline:
        seen.add(published.price("SKU-1")["table_version"])
    assert seen == {before, version} or seen == {version}
    answer = published.price("SKU-1", **CONTEXT)
    assert answer["model_version"] == "2"
    assert answer["source"] == "live"


def test_a_damaged_table_is_refused_and_the_old_one_keeps_serving(published: Running) -> None:
    good = published.ready_version()
    pointer = published.store.root / "current.json"
    content = pointer.read_bytes()
    refused = published.metric('pricing_table_loads_total{outcome="refused"}')
    pointer.write_bytes(b"{broken")
    published.until(
        lambda: published.metric('pricing_table_loads_total{outcome="refused"}') > refused
    )
    assert published.price("SKU-1")["table_version"] == good
    assert published.ready_version() == good
    pointer.write_bytes(content)
    version = published.publish(1.07)
    published.until(lambda: published.ready_version() == version)


def test_a_frozen_product_answers_its_current_price(published: Running) -> None:
    current = price_table(CURVES).slice(4, 1).to_pylist()[0]["current_price"]
    published.store.freeze("SKU-4")
    published.until(lambda: published.price("SKU-4", **CONTEXT)["source"] == "frozen")
    assert published.price("SKU-4")["recommended_price"] == current
    assert published.price("SKU-5")["source"] == "table"
    freeze = published.store.root / "freeze.json"
    freeze.write_text("{broken")
    published.until(lambda: published.price("SKU-5")["source"] == "frozen")
    published.store.unfreeze()
    published.until(lambda: published.price("SKU-4")["source"] == "table")


def test_the_service_answers_with_redis_down(published: Running) -> None:
    with Redis.from_url(published.redis_url) as redis:
        redis.execute_command("CLIENT", "PAUSE", "3000")
    for stock in range(10):
        answer = published.price("SKU-7", current_stock=100 + stock)
        assert answer["source"] in ("live", "cache")
    with Redis.from_url(published.redis_url) as redis:
        redis.execute_command("CLIENT", "UNPAUSE")


def test_the_metrics_carry_the_contract_s_names(published: Running) -> None:
    items = [{"product_id": "SKU-1"}, {"product_id": "SKU-1", "current_stock": 7}]
    published.client.post("/get_prices", json={"items": items})
    text = published.client.get("/metrics").text
    for name in (
        "pricing_api_latency_seconds",
        "gpu_batch_processing_time",
        "cache_hit_ratio",
        "model_inference_time",
        "price_change_magnitude",
        "revenue_impact",
        "pricing_table_valid_until_seconds",
        "pricing_guard_rail_refusals",
        "pricing_quotes_total",
    ):
        assert f"# TYPE {name}" in text or re.search(f"^{name}", text, re.MULTILINE), name
    assert 0 < published.metric("cache_hit_ratio") < 1


def test_the_page_and_the_api_description_load_nothing_from_outside(published: Running) -> None:
    page = published.client.get("/")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert not re.search(r"https?://|@import|<style|onclick=", page.text)
    for address in re.findall(r'(?:src|href)="(ui/[^"]+)"', page.text):
        assert published.client.get(f"/{address}").status_code == 200, address
    found = published.client.get("/products", params={"q": "sku-1"}).json()["products"]
    assert "SKU-1" in found and "SKU-12" in found and "SKU-2" not in found
    api = published.client.get("/docs.json").json()
    for path in ("/get_price", "/get_prices", "/demand_curve"):
        assert path in api["paths"]
    schema = json.dumps(api)
    assert "current_stock" in schema and "recommended_price" in schema


def test_ids_that_look_alike_are_not_the_same(published: Running) -> None:
    for other in ("sku-1", "SKU-1 ", "SKU\u20111", "\u202eSKU-1"):
        assert published.ask(product_id=other).status_code == 404


def test_beyond_loopback_a_token_is_required() -> None:
    check_exposure("127.0.0.1", has_token=False)
    check_exposure("::1", has_token=False)
    check_exposure("0.0.0.0", has_token=True)
    with pytest.raises(InputError, match="PRICING_API_TOKEN"):
        check_exposure("0.0.0.0", has_token=False)
    with pytest.raises(InputError, match="no IP address"):
        check_exposure("localhost", has_token=True)


def test_the_program_refuses_bad_settings_in_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "serving", "--home", str(tmp_path), "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert len(ended.stderr.strip().splitlines()) == 1
    assert "PRICING_API_TOKEN" in ended.stderr
