"""The fallback ladder: which rung answers, each guarded, tagged and with its age; and swaps."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pricing_assets.core.errors import GuardRailError, InputError
from pricing_assets.core.settings import PricingSettings
from serving import metrics, tallies
from serving.carried_quotes import is_same
from serving.catalog import Catalog
from serving.context import EMPTY, Context
from serving.desk import Desk
from serving.freeze import Freeze
from serving.ladder import Ladder, PlainPrices
from serving.price_store import PriceStore
from serving.published_table import Manifest, PublishedTable
from serving.quote import Quote
from serving.wire import price_request
from tests.published_tables import NOW, curve_table, price_table, stamps
from tests.test_desk import a_cache
from tests.test_price_store import with_column
from tests.test_quote import CONTEXTS

CURVES = curve_table(12)
SETTINGS = PricingSettings()
PLAIN = price_request({"product_id": "SKU-3"})
SCARCE = price_request({"product_id": "SKU-3", "current_stock": 12.0})


@pytest.fixture
def store(tmp_path: Path) -> PriceStore:
    store = PriceStore(tmp_path)
    store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(), now=NOW)
    return store


async def desk_at(store: PriceStore, *, hours_overdue: float = -1.0) -> Desk:
    moment = NOW + timedelta(hours=48 + hours_overdue)
    desk = Desk(store, a_cache(), settings=SETTINGS, now=lambda: moment)
    await desk.refresh()
    return desk


def inside(answer: dict[str, Any]) -> bool:
    return bool(answer["price_floor"] <= answer["recommended_price"] <= answer["price_ceiling"])


def failures(rung: str) -> float:
    return float(metrics.RUNG_FAILURES.labels(rung=rung)._value.get())


async def test_age_moves_down_the_ladder(store: PriceStore) -> None:
    """Valid: live. A day over: the published price. A week over: a rule on cost."""
    expected = [(-1.0, "live"), (23.0, "live"), (25.0, "table"), (167.0, "table"), (169.0, "rule")]
    for hours, source in expected:
        desk = await desk_at(store, hours_overdue=hours)
        answer = await desk.price(SCARCE)
        assert (answer["source"], inside(answer)) == (source, True)
        assert any("expired" in reason for reason in answer["reasons"]) == (hours > 0)
    answer = await desk.price(PLAIN)
    assert answer["source"] == "rule"
    assert any("too old" in reason for reason in answer["reasons"])


async def test_the_rule_takes_the_category_s_own_markup(store: PriceStore) -> None:
    catalog = Catalog(store.read_current(), settings=SETTINGS)
    found = catalog.find("SKU-3", None, None)
    assert found is not None and found.row.curve is not None
    prices = price_table(CURVES)["recommended_price"].to_numpy()
    usual = float(np.median(prices / CURVES["unit_cost"].to_numpy() - 1))
    assert catalog.markup(found.row) == pytest.approx(usual)
    desk = await desk_at(store, hours_overdue=200)
    answer = await desk.price(PLAIN)
    assert any(f"markup of {usual:.0%}" in reason for reason in answer["reasons"])
    target = found.row.curve.unit_cost * (1 + usual)
    wanted = np.clip(target, answer["price_floor"], answer["price_ceiling"])
    assert answer["recommended_price"] == pytest.approx(wanted, abs=0.6)
    rival = float(np.round(wanted * 0.97, 2))
    clamped = await desk.price(price_request({"product_id": "SKU-3", "comp_price": rival}))
    assert clamped["recommended_price"] <= answer["recommended_price"]
    assert any("clamps" in reason for reason in clamped["reasons"])


async def test_too_small_a_category_teaches_no_markup(tmp_path: Path) -> None:
    curves = with_column(CURVES, "category", ["few", "few", *[""] * 10])
    store = PriceStore(tmp_path)
    store.publish(prices=price_table(curves), curves=curves, stamps=stamps(), now=NOW)
    catalog = Catalog(store.read_current(), settings=SETTINGS)
    for product in ("SKU-0", "SKU-5"):
        found = catalog.find(product, None, None)
        assert found is not None and catalog.markup(found.row) is None
    desk = await desk_at(store, hours_overdue=200)
    reasons = (await desk.price(PLAIN))["reasons"]
    assert any(f"{SETTINGS.serving.markup_cold_start:.0%}" in reason for reason in reasons)


async def test_without_a_cost_and_a_rival_the_current_price_is_last(tmp_path: Path) -> None:
    costs = [None, None, None, None, *CURVES["unit_cost"].to_pylist()[4:]]
    curves = with_column(CURVES, "unit_cost", costs)
    store = PriceStore(tmp_path)
    store.publish(prices=price_table(CURVES), curves=curves, stamps=stamps(), now=NOW)
    desk = await desk_at(store, hours_overdue=200)
    answer = await desk.price(PLAIN)
    assert answer["source"] == "current"
    assert answer["recommended_price"] == CURVES["reference_price"][3].as_py()
    assert inside(answer)
    dear = price_request({"product_id": "SKU-3", "comp_price": 1.0})
    assert (await desk.price(dear))["source"] == "rule"


@pytest.mark.parametrize(
    "fault", [GuardRailError("x"), ZeroDivisionError(), ValueError(), KeyError("x"), TypeError()]
)
async def test_a_failing_rung_yields_to_the_next_and_is_counted(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def broken(*_: object, **__: object) -> Quote:
        raise fault

    before = {rung: failures(rung) for rung in ("live", "table", "rule")}
    desk = await desk_at(store)
    monkeypatch.setattr("serving.ladder.quote", broken)
    assert (await desk.price(SCARCE))["source"] == "table"
    monkeypatch.setattr("serving.ladder.published_quote", broken)
    assert (await desk.price(SCARCE))["source"] == "rule"
    monkeypatch.setattr("serving.ladder.rule_quote", broken)
    answer = await desk.price(SCARCE)
    assert answer["source"] == "current" and inside(answer)
    assert {rung: failures(rung) - n for rung, n in before.items()} == {
        "live": 3,
        "table": 2,
        "rule": 1,
    }
    monkeypatch.setattr("serving.ladder.current_quote", broken)
    with pytest.raises(GuardRailError, match="no price that may be served"):
        await desk.price(SCARCE)


async def test_what_the_caller_got_wrong_is_no_failing_rung(store: PriceStore) -> None:
    before = failures("live")
    desk = await desk_at(store)
    with pytest.raises(InputError):
        await desk.price(price_request({"product_id": "SKU-3", "current_price": 1e6}))
    assert failures("live") == before


async def test_a_kept_quote_answers_longer_where_the_live_one_fails(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = Catalog(store.read_current(), settings=SETTINGS)
    clock = [0.0]
    ladder = Ladder(a_cache(), serving=SETTINGS.serving)
    monkeypatch.setattr(ladder._here, "_clock", lambda: clock[0])

    async def asked() -> Quote:
        answer = await ladder.answer(catalog, Freeze(), SCARCE, remote=False)
        return answer.quote

    live = await asked()
    assert live.source == "live"

    def broken(*_: object, **__: object) -> Quote:
        raise GuardRailError("x")

    monkeypatch.setattr("serving.ladder.quote", broken)
    clock[0] = SETTINGS.serving.cache_ttl_seconds + 1.0
    kept = await asked()
    assert (kept.source, kept.recommended_price) == ("cache", live.recommended_price)
    clock[0] = SETTINGS.serving.cache_max_age_seconds + 1.0
    assert (await asked()).source == "table"


def damaged(row: int, column: str, value: float) -> Catalog:
    """A table in memory whose row holds what no publication would let through."""
    prices = price_table(CURVES)
    values = prices[column].to_pylist()
    values[row] = value
    prices = with_column(prices, column, values)
    manifest = _manifest()
    return Catalog(
        PublishedTable(manifest=manifest, prices=prices, curves=CURVES), settings=SETTINGS
    )


def _manifest() -> Manifest:
    return Manifest(
        **dict(stamps()),
        table_version="000001-00000000",
        published_at=NOW,
        content_sha256="",
        files={},
    )


@pytest.mark.parametrize(
    ("column", "value"),
    [("recommended_price", 0.01), ("recommended_price", 1e9), ("price_ceiling", float("nan"))],
)
async def test_a_corrupt_row_is_never_served(column: str, value: float) -> None:
    catalog = damaged(3, column, value)
    ladder = Ladder(a_cache(), serving=SETTINGS.serving)
    assert PlainPrices(catalog, Freeze()).find({"product_id": "SKU-3"}) is None
    for request in (PLAIN, SCARCE):
        answer = await ladder.answer(catalog, Freeze(), request, remote=False)
        answer.check()
        current = CURVES["reference_price"][3].as_py()
        assert 0.79 * current <= answer.quote.recommended_price <= 1.21 * current


async def test_a_frozen_product_bypasses_every_rung(store: PriceStore) -> None:
    store.freeze("SKU-3")
    for hours in (-1.0, 30.0, 200.0):
        desk = await desk_at(store, hours_overdue=hours)
        for request in (PLAIN, SCARCE):
            answer = await desk.price(request)
            assert answer["source"] == "frozen"
            assert answer["recommended_price"] == CURVES["reference_price"][3].as_py()
            assert inside(answer)


async def two_desks(store: PriceStore) -> tuple[Desk, Desk]:
    desks = (await desk_at(store), await desk_at(store))
    for desk in desks:
        await desk.start()
    return desks


async def until(true: Callable[[], bool], *, seconds: float) -> None:
    """Wait for it; the bar is the contract's, far above what it takes."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not come true in time"
        await asyncio.sleep(0.02)


async def test_a_swap_and_a_rollback_reach_every_worker_with_no_failed_request(
    store: PriceStore,
) -> None:
    """Two workers under load: each answer whole from one version, the new one within 2 s."""
    first, second = await two_desks(store)
    old = first.readiness.table_version
    prices = {old: price_table(CURVES)["recommended_price"].to_pylist()}
    answers: list[dict[str, Any]] = []
    running = True

    async def load(desk: Desk) -> None:
        while running:
            answers.extend(await desk.prices([{"product_id": f"SKU-{i}"} for i in range(12)]))
            await asyncio.sleep(0.001)

    tasks = [asyncio.create_task(load(desk)) for desk in (first, second)]
    await until(lambda: len(answers) > 100, seconds=10)
    changed = price_table(CURVES, factor=1.1)
    store.publish(prices=changed, curves=CURVES, stamps=stamps(model_version="2"), now=NOW)
    new = str(store.current())
    prices[new] = changed["recommended_price"].to_pylist()
    desks = (first, second)
    await until(lambda: all(d.readiness.table_version == new for d in desks), seconds=2)
    assert all(d.readiness.model_version == "2" for d in desks)
    store.rollback(now=NOW)
    back = str(store.current())
    prices[back] = prices[old]
    await until(lambda: all(d.readiness.table_version == back for d in desks), seconds=2)
    await until(lambda: answers[-1]["table_version"] == back, seconds=2)
    running = False
    await asyncio.gather(*tasks)
    assert {answer["table_version"] for answer in answers} == {old, new, back}
    for answer in answers:
        row = int(answer["product_id"].removeprefix("SKU-"))
        assert answer["recommended_price"] == prices[answer["table_version"]][row]
    for position in range(0, len(answers), 12):
        batch = answers[position : position + 12]
        assert len({answer["table_version"] for answer in batch}) == 1
    for desk in desks:
        await desk.stop()


async def test_the_old_table_answers_while_the_new_one_loads(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await desk_at(store)
    old = desk.readiness.table_version
    original, gate, begun = PriceStore.read_current, threading.Event(), threading.Event()

    def slow(self: PriceStore) -> PublishedTable:
        begun.set()
        assert gate.wait(timeout=10)
        return original(self)

    monkeypatch.setattr(PriceStore, "read_current", slow)
    changed = price_table(CURVES, factor=1.1)
    store.publish(prices=changed, curves=CURVES, stamps=stamps(), now=NOW)
    loading = asyncio.create_task(desk.refresh())
    assert await asyncio.to_thread(begun.wait, 10)
    assert (await desk.price(PLAIN))["table_version"] == old
    assert desk.readiness.ready and desk.readiness.table_version == old
    gate.set()
    await loading
    assert (await desk.price(PLAIN))["table_version"] == store.current() != old


ROWS = 400


def a_catalog(seed: int) -> Catalog:
    """A random catalogue, some of it without cost, curve or sound bounds for its curve."""
    curves = curve_table(ROWS, seed=seed)
    rng = np.random.default_rng(seed)
    for name in ("unit_cost", "rival_elasticity", "reference_rival_price"):
        values = curves[name].to_numpy().copy()
        values[rng.random(ROWS) < 0.1] = np.nan
        curves = with_column(curves, name, values)
    elasticity = curves["elasticity_mean"].to_numpy().copy()
    elasticity[rng.random(ROWS) < 0.05] = 0.3
    prices = price_table(curve_table(ROWS, seed=seed), factor=float(rng.uniform(0.9, 1.1)))
    curves = with_column(curves, "elasticity_mean", elasticity)
    table = PublishedTable(manifest=_manifest(), prices=prices, curves=curves)
    return Catalog(table, settings=SETTINGS)


async def answered(ladder: Ladder, catalog: Catalog, body: dict[str, Any], hours: float) -> float:
    request = price_request({k: v for k, v in body.items() if v is not None})
    answer = await ladder.answer(catalog, Freeze(), request, remote=False, overdue_hours=hours)
    answer.check()
    return answer.quote.recommended_price


@pytest.mark.parametrize(("seed", "hours"), [(0, 0.0), (1, 0.0), (2, 0.0), (3, 0.0), (4, 200.0)])
async def test_through_the_whole_ladder_over_thousands_of_products(seed: int, hours: float) -> None:
    """Less stock, or a dearer rival, never lowers the price: cache, buckets and all rungs."""
    catalog, rng, moved = a_catalog(seed), np.random.default_rng(seed), 0
    ladder = Ladder(a_cache(), serving=SETTINGS.serving)
    for position in rng.permutation(ROWS):
        row = catalog.row(int(position))
        body: dict[str, Any] = {
            "product_id": row.product_id,
            "day_of_week": rng.choice([None, "Friday"]),
            "is_promo": rng.choice([None, True]),
            "objective": rng.choice([None, "revenue", "market_share"], p=[0.6, 0.2, 0.2]),
        }
        base = max(row.expected_units, 1.0)
        stocks = np.sort(base * np.exp(rng.normal(-1.4, 1.5, 3)))
        stocks[1] = stocks[0] * (1 + 10.0 ** -rng.integers(2, 8))
        rivals = np.sort(row.current_price * np.exp(rng.normal(0, 0.4, 3)))
        rivals[1] = rivals[0] * (1 + 10.0 ** -rng.integers(2, 8))
        fixed_rival, fixed_stock = rng.choice([None, rivals[-1]]), rng.choice([None, stocks[-1]])
        by_stock = [
            await answered(
                ladder, catalog, {**body, "current_stock": s, "comp_price": fixed_rival}, hours
            )
            for s in sorted(stocks)
        ]
        by_rival = [
            await answered(
                ladder, catalog, {**body, "comp_price": r, "current_stock": fixed_stock}, hours
            )
            for r in sorted(rivals)
        ]
        assert by_stock == sorted(by_stock, reverse=True)
        assert by_rival == sorted(by_rival)
        moved += (by_stock[0] > by_stock[-1]) + (by_rival[0] < by_rival[-1])
    assert moved > ROWS / 10, "the contexts move too few prices for the test to say anything"


@settings(max_examples=300, deadline=None)
@given(CONTEXTS, st.none() | st.floats(0.01, 1e6), st.none() | st.floats(0, 1e6))
def test_a_context_comes_out_of_its_key(
    context: Context, current: float | None, cost: float | None
) -> None:
    full = replace(context, current_price=current, unit_cost=cost)
    assert Context.of_key(full.key()) == full
    assert Context.of_key(EMPTY.key()) == EMPTY


@pytest.mark.parametrize("text", ["", "|||||", "x||||||", "||||||pickle"])
def test_what_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"unpack|convert|objective"):
        Context.of_key(text)


async def test_after_a_swap_the_latest_contexts_are_priced_before_they_are_asked(
    store: PriceStore,
) -> None:
    """Warm quotes are those that would be computed, of the new version; old keys are gone."""
    desk = await desk_at(store)
    bodies = [{"product_id": f"SKU-{i}", "current_stock": 5.0 + i} for i in range(12)]
    bodies.append({"product_id": "SKU-3", "current_price": 1e-3})
    before = await desk.prices(bodies)
    assert all("quote_id" in answer for answer in before[:12])
    changed = price_table(CURVES, factor=0.95)
    store.publish(prices=changed, curves=CURVES, stamps=stamps(), now=NOW)
    await desk.refresh()
    assert desk._warming is not None
    await desk._warming
    warm = await desk.prices(bodies[:12])
    cold = await (await desk_at(store)).prices(bodies[:12])
    assert {answer["source"] for answer in warm} == {"cache"}
    assert {answer["source"] for answer in cold} == {"live"}
    for answer, fresh in zip(warm, cold, strict=True):
        assert answer["table_version"] == store.current()
        assert answer["recommended_price"] == fresh["recommended_price"]
        assert answer["reasons"] == fresh["reasons"]
    await desk.stop()


async def test_a_quote_of_an_unchanged_row_is_taken_over_and_of_a_changed_one_is_not(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is taken over is what would be computed, under the new version, with nothing priced."""
    desk = await desk_at(store)
    bodies = [{"product_id": f"SKU-{i}", "current_stock": 5.0 + i} for i in range(12)]
    await desk.prices(bodies)
    row = CURVES.slice(3, 1).set_column(
        CURVES.schema.get_field_index("elasticity_mean"), "elasticity_mean", pa.array([-1.2])
    )
    curves = pa.concat_tables([CURVES.slice(0, 3), row.cast(CURVES.schema), CURVES.slice(4)])
    store.publish(prices=price_table(CURVES), curves=curves, stamps=stamps(), now=NOW)
    await desk.refresh()
    assert desk._warming is not None
    desk._warming.cancel()
    computed = tallies.CACHE_LOOKUPS["computed"].count
    answers = await desk.prices(bodies)
    assert tallies.CACHE_LOOKUPS["computed"].count == computed + 1
    assert [answer["source"] for answer in answers] == [
        "live" if i == 3 else "cache" for i in range(12)
    ]
    cold = await (await desk_at(store)).prices(bodies)
    for answer, fresh in zip(answers, cold, strict=True):
        different = {name for name in fresh if answer[name] != fresh[name]}
        assert different <= {"source", "quote_id"}
        assert answer["table_version"] == store.current()
    await desk.stop()


def test_rows_are_the_same_with_the_same_unknowns() -> None:
    catalog = damaged(3, "expected_units", float("nan"))
    again = damaged(3, "expected_units", float("nan"))
    assert is_same(catalog.row(3), again.row(3))
    assert not is_same(catalog.row(3), again.row(4))
    assert not is_same(catalog.row(3), replace(again.row(3), curve=None))
