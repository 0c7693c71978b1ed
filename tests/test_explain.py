"""Served prices explained: recomputed to the last bit from what their record names."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from pricing_assets.core.errors import AuditUnavailableError, UnknownQuoteError
from pricing_assets.core.serving_parameters import AuditParameters
from pricing_assets.core.settings import PricingSettings
from serving.audit_format import segments
from serving.audit_reader import verify
from serving.desk import Desk
from serving.price_store import PriceStore
from serving.wire import price_request
from tests.published_tables import NOW, curve_table, price_table, stamps
from tests.test_desk import a_cache

COUNT = 30
CURVES = curve_table(COUNT)
SETTINGS = PricingSettings(audit=AuditParameters(flush_ms=1))


@pytest.fixture
def store(tmp_path: Path) -> PriceStore:
    store = PriceStore(tmp_path / "tables")
    store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(), now=NOW)
    return store


@pytest.fixture
async def desk(store: PriceStore) -> AsyncIterator[Desk]:
    desk = Desk(
        store, a_cache(), settings=SETTINGS, now=lambda: NOW, audit=store.root.parent / "audit"
    )
    await desk.refresh()
    yield desk
    await desk.stop()


async def explained(desk: Desk, quote_id: str) -> dict[str, Any]:
    """The explanation, once the writer has written."""
    for _ in range(500):
        try:
            found = await desk.explain(quote_id)
            if found["audit"]["block_intact"]:
                return found
        except UnknownQuoteError:
            pass
        await asyncio.sleep(0.005)
    raise AssertionError("the record did not come")


def random_bodies(count: int, *, seed: int = 3) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    bodies = []
    for _ in range(count):
        body: dict[str, Any] = {"product_id": f"SKU-{rng.integers(COUNT + 2)}"}
        reference = 20.0 if body["product_id"] in ("SKU-30", "SKU-31") else None
        choices = {
            "current_stock": float(np.round(rng.uniform(0, 200), 1)),
            "day_of_week": str(rng.choice(["Friday", "mon"])),
            "comp_price": float(np.round(rng.uniform(3, 50), 2)),
            "is_promo": bool(rng.integers(2)),
            "unit_cost": float(np.round(rng.uniform(2, 12), 2)),
            "objective": str(rng.choice(["profit", "revenue", "market_share"])),
        }
        body |= {name: value for name, value in choices.items() if rng.random() < 0.4}
        if reference is not None:
            body["current_price"] = reference
        bodies.append(body)
    return bodies


async def test_every_kind_of_quote_is_reproduced(desk: Desk, store: PriceStore) -> None:
    """Singles and batches, of two table versions, frozen and not, from every rung."""
    answers: list[dict[str, Any]] = []
    bodies = random_bodies(150)
    for body in bodies[:60]:
        answers.append(orjson.loads(await desk.price_json(body)))
    answers += await desk.prices(bodies[40:100])
    for body in bodies[:30]:
        answers.append(await desk.price(price_request(body)))
    changed = price_table(CURVES, factor=0.97)
    store.publish(prices=changed, curves=CURVES, stamps=stamps(model_version="2"), now=NOW)
    store.freeze("SKU-4")
    await desk.refresh()
    answers += orjson.loads(await desk.prices_json(bodies[60:]))["prices"]
    served = [answer for answer in answers if "error" not in answer]
    assert {answer["source"] for answer in served} == {"table", "live", "cache", "rule", "frozen"}
    assert len({answer["table_version"] for answer in served}) == 2
    await explained(desk, served[-1]["quote_id"])
    for answer in served:
        found = await desk.explain(answer["quote_id"])
        assert found["served"] == answer
        assert found["reproduced"], found["differences"]
        assert found["lineage"]["table_version"] == answer["table_version"]
        assert found["lineage"]["dagster_run_id"] == "dagster-1"
    await desk.stop()
    (report,) = verify(store.root.parent / "audit")
    assert report.intact and report.closed
    assert report.quotes == len(served)


async def test_the_way_to_the_price_adds_up_and_names_its_reasons(desk: Desk) -> None:
    body = {"product_id": "SKU-3", "current_stock": 5.0, "comp_price": 40.0, "day_of_week": "Fri"}
    answer = orjson.loads(await desk.price_json(body))
    found = await explained(desk, answer["quote_id"])
    assert found["request"] == body
    steps = found["drivers"]
    assert steps[0]["step"] == "current price"
    total = steps[0]["price"] + sum(step["move"] for step in steps[1:])
    assert total == pytest.approx(answer["recommended_price"])
    assert steps[-1]["price"] == answer["recommended_price"]
    assert any("must last" in step["because"] for step in steps)
    assert found["guard_rails"]["floor"] <= answer["recommended_price"]
    assert found["expected"]["at_served_price"]["units"] == pytest.approx(answer["expected_units"])


async def test_the_guard_rail_that_a_price_leans_on_is_named(desk: Desk) -> None:
    body = {"product_id": "SKU-3", "current_stock": 0.0, "current_price": 20.0}
    row = CURVES["reference_price"][3].as_py()
    body["current_price"] = round(row * 1.01, 2)
    answer = orjson.loads(await desk.price_json(body))
    found = await explained(desk, answer["quote_id"])
    assert found["guard_rails"]["ceiling_rule"] == "largest_increase"
    at_ceiling = answer["recommended_price"] == answer["price_ceiling"]
    named = [rule["rule"] for rule in found["guard_rails"]["hit"]]
    assert ("largest_increase" in named) == at_ceiling


async def test_a_price_that_was_not_this_one_is_not_reproduced(
    desk: Desk, store: PriceStore
) -> None:
    """An edited record still parses: the price does not come out again, the block is not whole."""
    answer = orjson.loads(await desk.price_json({"product_id": "SKU-3"}))
    quote_id = answer["quote_id"]
    await explained(desk, quote_id)
    (file,) = segments(store.root.parent / "audit")
    old = orjson.dumps(answer["recommended_price"])
    file.path.write_bytes(file.path.read_bytes().replace(b":" + old, b":1.01"))
    found = await desk.explain(quote_id)
    assert not found["reproduced"]
    assert "recommended_price was 1.01" in found["differences"][0]
    assert not found["audit"]["block_intact"]


async def test_a_table_that_is_gone_or_damaged_is_said(desk: Desk, store: PriceStore) -> None:
    answer = orjson.loads(await desk.price_json({"product_id": "SKU-3"}))
    version = answer["table_version"]
    damaged = store.root / "versions" / version / "price_table.parquet"
    damaged.write_bytes(b"?")
    found = await explained(desk, answer["quote_id"])
    assert not found["reproduced"]
    assert "SHA-256" in found["differences"][0]


async def test_an_unknown_quote_is_unknown(desk: Desk) -> None:
    with pytest.raises(UnknownQuoteError):
        await desk.explain("0" * 32)


async def test_the_command_line_explains_a_quote_and_checks_the_log(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from pricing_assets.cli import main
    from serving.home import Home

    home = Home.at(tmp_path / "home")
    now = datetime.now(UTC)
    PriceStore(home.tables).publish(
        prices=price_table(CURVES), curves=CURVES, stamps=stamps(now=now), now=now
    )
    desk = Desk.of_home(home, settings=SETTINGS, redis_url=None)
    await desk.refresh()
    body = {"product_id": "SKU-3", "current_stock": 5.0, "comp_price": 40.0}
    quote_id = orjson.loads(await desk.price_json(body))["quote_id"]
    await desk.stop()
    at = ["--home", str(home.root)]

    def run(*arguments: str) -> tuple[int, str]:
        code = main([*arguments, *at])
        return code, capsys.readouterr().out

    code, text = await asyncio.to_thread(run, "explain", quote_id)
    assert code == 0
    for part in ("reproduced: yes", "block intact", "published price", "dagster-1", "SKU-3"):
        assert part in text
    code, text = await asyncio.to_thread(run, "explain", quote_id, "--json")
    assert code == 0 and orjson.loads(text)["reproduced"] is True
    assert (await asyncio.to_thread(run, "explain", "0" * 32))[0] == 2
    code, text = await asyncio.to_thread(run, "audit", "verify")
    assert code == 0 and "1 quotes on record: intact" in text
    (file,) = segments(home.audit)
    file.path.write_bytes(file.path.read_bytes().replace(b'"SKU-3"', b'"SKU-4"', 1))
    code, text = await asyncio.to_thread(run, "audit", "verify")
    assert code == 1 and "NOT INTACT" in text


async def test_what_cannot_be_put_on_record_is_not_served(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk: single prices and batches are refused once the buffer is full, then served."""
    full = [True]
    original = os.pwrite

    def pwrite(descriptor: int, content: memoryview, at: int) -> int:
        if full[0]:
            raise OSError(28, "No space left on device")
        return original(descriptor, content, at)

    monkeypatch.setattr("serving.audit.os.pwrite", pwrite)
    monkeypatch.setattr("serving.audit.RETRY_SECONDS", 0.005)
    small = PricingSettings(audit=AuditParameters(flush_ms=1, buffer_megabytes=0.02))
    folder = store.root.parent / "audit"
    desk = Desk(store, a_cache(), settings=small, now=lambda: NOW, audit=folder)
    await desk.refresh()
    served: list[str] = []

    async def fill() -> None:
        for i in range(1000):
            body = {"product_id": f"SKU-{i % COUNT}"}
            served.append(orjson.loads(await desk.price_json(body))["quote_id"])

    with pytest.raises(AuditUnavailableError):
        await fill()
    for refused in (
        desk.prices([{"product_id": "SKU-1"}]),
        desk.price(price_request({"product_id": "SKU-1"})),
    ):
        with pytest.raises(AuditUnavailableError):
            await refused
    full[0] = False
    await explained(desk, served[-1])
    served.append(orjson.loads(await desk.price_json({"product_id": "SKU-2"}))["quote_id"])
    await desk.stop()
    (report,) = verify(folder)
    assert report.intact and report.quotes == len(served)


async def test_without_a_log_nothing_is_written_and_no_quote_is_explained(
    store: PriceStore,
) -> None:
    off = PricingSettings(audit=AuditParameters(enabled=False))
    folder = store.root.parent / "audit"
    desk = Desk(store, a_cache(), settings=off, now=lambda: NOW, audit=folder)
    await desk.refresh()
    quote_id = orjson.loads(await desk.price_json({"product_id": "SKU-1"}))["quote_id"]
    await desk.stop()
    assert not folder.exists()
    with pytest.raises(UnknownQuoteError):
        await desk.explain(quote_id)


async def test_an_item_that_orjson_cannot_write_spoils_no_record(desk: Desk) -> None:
    """Half a surrogate pair, and an integer beyond 64 bits, in a batch with a good item."""
    items = [{"product_id": "\ud800"}, {"product_id": "SKU-1", "current_stock": 10**30}]
    answers = await desk.prices([*items, {"product_id": "SKU-1"}])
    assert ["error" in answer for answer in answers] == [True, True, False]
    assert (await explained(desk, answers[2]["quote_id"]))["reproduced"]
