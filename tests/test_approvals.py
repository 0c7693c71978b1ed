"""Approvals of published prices: two people to move one, and what is served until they have."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pricing_assets.core.errors import IntegrityError, UnknownQuoteError
from pricing_assets.core.serving_parameters import AuditParameters, ServingParameters
from pricing_assets.core.settings import PricingSettings
from pricing_assets.engine import DynamicPricingEngine
from serving.approvals import (
    Action,
    Approvals,
    Decision,
    Decisions,
    Outcome,
    RowPrice,
    act,
    judge,
    row_key,
)
from serving.decision_log import LOG, SNAPSHOT, DecisionLog
from serving.desk import Desk
from serving.price_store import PriceStore
from serving.quote import in_minor
from serving.wire import price_request
from tests.published_tables import NOW, curve_table, price_table, stamps
from tests.test_desk import a_cache

CURVES = curve_table(12)
SETTINGS = PricingSettings(
    serving=ServingParameters(approval="required"), audit=AuditParameters(flush_ms=1)
)
KEY = row_key("SKU-3", "", "")
ROW = RowPrice(KEY, current=1000, recommended=1050)


@pytest.fixture
def store(tmp_path: Path) -> PriceStore:
    store = PriceStore(tmp_path / "tables")
    store.publish(prices=price_table(CURVES), curves=CURVES, stamps=stamps(), now=NOW)
    return store


@pytest.fixture
def log(store: PriceStore) -> DecisionLog:
    return DecisionLog(store.root)


@pytest.fixture
async def desk(store: PriceStore) -> AsyncIterator[Desk]:
    audit = store.root.parent / "audit"
    desk = Desk(store, a_cache(), settings=SETTINGS, now=lambda: NOW, audit=audit)
    await desk.refresh()
    yield desk
    await desk.stop()


def taken(
    action: Action, by: str, entries: dict[str, Decision], row: RowPrice = ROW, limit: float = 0.0
) -> Outcome:
    return act(action, [row], by=by, entries=entries, threshold=limit)


def row_of(store: PriceStore, number: int = 3) -> RowPrice:
    prices = store.read_current().prices
    current, new = (prices[name][number].as_py() for name in ("current_price", "recommended_price"))
    return RowPrice(row_key(f"SKU-{number}", "", ""), in_minor(current, 2), in_minor(new, 2))


def decide(
    log: DecisionLog, action: Action, by: str, *rows: RowPrice, table: str = "000001-00000000"
) -> Outcome:
    return log.write(
        action,
        lambda now: act(action, rows, by=by, entries=now.entries, threshold=0.0),
        by=by,
        note="",
        table_version=table,
        now=NOW,
    )


async def served(desk: Desk, product: str = "SKU-3", **context: object) -> dict:
    return await desk.price(price_request({"product_id": product, **context}))


def test_moving_a_price_takes_two_people() -> None:
    assert taken("approve", "ben", {}).skipped == {"not proposed yet": 1}
    proposed = taken("propose", "ann", {}).changed
    alone = taken("approve", "ann", proposed)
    assert not alone.changed and "somebody else" in next(iter(alone.skipped))
    approved = taken("approve", "ben", proposed).changed
    assert approved[KEY] == Decision("approved", 1050, "ben", 1050, 1000)
    judged = judge(current=1000, recommended=1050, decision=approved[KEY], threshold=0.0)
    assert judged.status == "approved" and not judged.held


def test_holding_a_price_takes_one() -> None:
    rejected = taken("reject", "ann", {}).changed[KEY]
    judged = judge(current=1000, recommended=1050, decision=rejected, threshold=1.0)
    assert judged.held and judged.stands == 1000


def test_an_approval_taken_back_restores_what_stood_before_it() -> None:
    approved = {KEY: Decision("approved", 1050, "ben", 1050, 1000)}
    rejected = taken("reject", "ann", approved).changed[KEY]
    assert judge(current=1000, recommended=1050, decision=rejected, threshold=0).stands == 1000


def test_the_next_table_is_held_at_the_approved_price_until_the_shop_moves_on() -> None:
    approved = Decision("approved", 1050, "ben", stands=1050, since=1000)
    behind = judge(current=1000, recommended=1100, decision=approved, threshold=0.0)
    assert (behind.status, behind.stands) == ("waiting", 1050)
    moved = judge(current=1200, recommended=1100, decision=approved, threshold=0.0)
    assert (moved.status, moved.stands) == ("waiting", 1200)


def test_a_change_within_the_threshold_is_served_and_can_still_be_rejected() -> None:
    assert judge(current=1000, recommended=1050, decision=None, threshold=0.05).status == "within"
    assert taken("propose", "ann", {}, limit=0.05).skipped
    assert taken("reject", "ann", {}, limit=0.05).changed


prices = st.integers(1, 3000)


@given(
    current=prices,
    recommended=prices,
    threshold=st.sampled_from([0.0, 0.02, 0.5]),
    steps=st.lists(
        st.tuples(st.sampled_from(["propose", "approve", "reject"]), st.sampled_from("ab"), prices),
        max_size=8,
    ),
)
def test_no_price_is_served_beyond_the_threshold_without_two_names(
    current: int, recommended: int, threshold: float, steps: list[tuple[Action, str, int]]
) -> None:
    """Whatever one person alone does, under whatever tables, a far price is never served."""
    entries: dict[str, Decision] = {}
    for action, _, price in steps:
        row = RowPrice(KEY, current, price)
        entries |= act(action, [row], by="a", entries=entries, threshold=threshold).changed
    judged = judge(
        current=current, recommended=recommended, decision=entries.get(KEY), threshold=threshold
    )
    assert judged.stands == current
    far = abs(recommended - current) > threshold * current + 1e-9
    assert judged.held or not far
    both: dict[str, Decision] = {}
    for action, by, price in steps:
        row = RowPrice(KEY, current, price)
        both |= act(action, [row], by=by, entries=both, threshold=threshold).changed
    names = {by for _, by, _ in steps}
    assert len(names) == 2 or all(entry.state != "approved" for entry in both.values())


async def test_until_it_is_approved_the_current_price_is_served(
    desk: Desk, store: PriceStore, log: DecisionLog
) -> None:
    row = row_of(store)
    before = await served(desk)
    assert before["source"] == "held" and in_minor(before["recommended_price"], 2) == row.current
    assert "waits for approval" in before["reasons"][0]
    assert (await served(desk, comp_price=99.0))["source"] == "held"
    decide(log, "propose", "ann", row)
    decide(log, "approve", "ben", row)
    await desk.refresh()
    after = await served(desk)
    assert after["source"] == "table"
    assert in_minor(after["recommended_price"], 2) == row.recommended
    assert (await served(desk, "SKU-4"))["source"] == "held"
    assert (await served(desk, comp_price=99.0))["source"] == "live"


async def test_without_the_setting_a_published_price_is_served(store: PriceStore) -> None:
    desk = Desk(store, a_cache(), settings=PricingSettings(), now=lambda: NOW)
    await desk.refresh()
    (store.root / SNAPSHOT).write_bytes(b"damaged")
    await desk.refresh()
    assert (await served(desk))["source"] == "table"


@pytest.mark.parametrize("damage", ["damaged", "lost"])
async def test_unreadable_decisions_hold_every_price(
    damage: str, desk: Desk, store: PriceStore, log: DecisionLog
) -> None:
    row = row_of(store)
    decide(log, "propose", "ann", row)
    decide(log, "approve", "ben", row)
    if damage == "lost":
        (store.root / SNAPSHOT).unlink()
    else:
        (store.root / SNAPSHOT).write_bytes(b'{"version": 2, "entries": {"SKU')
    await desk.refresh()
    answer = await served(desk)
    assert answer["source"] == "held" and "cannot be read" in answer["reasons"][0]
    assert in_minor(answer["recommended_price"], 2) == row.current
    decide(log, "propose", "ann", row_of(store, 4))  # the next act restores them from the log
    await desk.refresh()
    assert (await served(desk))["source"] == "table"


async def test_an_explanation_reproduces_what_the_decisions_of_that_time_held(
    desk: Desk, store: PriceStore, log: DecisionLog
) -> None:
    row = row_of(store)
    quotes = [await served(desk)]
    decide(log, "propose", "ann", row)
    await desk.refresh()
    quotes.append(await served(desk, comp_price=20.0))
    decide(log, "approve", "ben", row)
    await desk.refresh()
    quotes += [await served(desk), await served(desk, comp_price=99.0)]
    decide(log, "reject", "ann", row)
    for quote, source in zip(quotes, ("held", "held", "table", "live"), strict=True):
        found = await explained(desk, quote["quote_id"])
        assert found["served"]["source"] == source
        assert found["reproduced"], found["differences"]


async def explained(desk: Desk, quote_id: str) -> dict:
    for _ in range(500):
        try:
            return await desk.explain(quote_id)
        except UnknownQuoteError:
            await asyncio.sleep(0.005)
    raise AssertionError("the record did not come")


def test_the_python_engine_holds_the_same_prices(store: PriceStore, log: DecisionLog) -> None:
    engine = DynamicPricingEngine(store, settings=SETTINGS)
    assert engine.get_optimal_price(product_id="SKU-3").source == "held"
    decide(log, "propose", "ann", row_of(store))
    decide(log, "approve", "ben", row_of(store))
    assert engine.get_optimal_price(product_id="SKU-3").source != "held"


def test_the_log_replays_to_every_version(store: PriceStore, log: DecisionLog) -> None:
    rows = [row_of(store, number) for number in range(4)]
    decide(log, "propose", "ann", *rows)
    decide(log, "approve", "ben", *rows[:2])
    decide(log, "reject", "ben", *rows[2:])
    assert log.at(3) == log.read()
    assert {entry.state for entry in log.at(1).entries.values()} == {"proposed"}
    assert log.at(0) == Decisions()
    assert [(one.action, one.by, one.rows) for one in log.acts()] == [
        ("propose", "ann", 4),
        ("approve", "ben", 2),
        ("reject", "ben", 2),
    ]


def test_an_act_that_changes_nothing_is_not_on_record(store: PriceStore, log: DecisionLog) -> None:
    assert not decide(log, "approve", "ben", row_of(store)).changed
    assert not (store.root / LOG).exists()


def test_a_changed_byte_of_the_log_is_noticed(store: PriceStore, log: DecisionLog) -> None:
    decide(log, "propose", "ann", row_of(store))
    path = store.root / LOG
    path.write_bytes(path.read_bytes().replace(b'"ann"', b'"bob"'))
    with pytest.raises(IntegrityError, match="broken at act 1"):
        log.acts()


def test_a_log_that_lost_its_end_stops_the_next_act(store: PriceStore, log: DecisionLog) -> None:
    decide(log, "propose", "ann", row_of(store))
    (store.root / LOG).write_bytes(b"")
    with pytest.raises(IntegrityError, match="ends at version 0"):
        decide(log, "approve", "ben", row_of(store))


def test_what_a_crash_left_is_taken_up_or_dropped(store: PriceStore, log: DecisionLog) -> None:
    """An act whole in the log counts though the snapshot lacks it; a torn one never was."""
    row = row_of(store)
    decide(log, "propose", "ann", row)
    kept = (store.root / SNAPSHOT).read_bytes()
    decide(log, "propose", "ann", row_of(store, 5))
    (store.root / SNAPSHOT).write_bytes(kept)
    with (store.root / LOG).open("ab") as stream:
        stream.write(b'{"kind":"decision","vers')
    decide(log, "approve", "ben", row)
    assert log.read().version == 3 and set(log.read().entries) == {row.key, "SKU-5\x1f\x1f"}
    assert len(log.acts()) == 3


def test_approvals_say_what_a_record_must_hold() -> None:
    assert Approvals(True, 0.1, Decisions(version=4)).on_record == {"version": 4, "threshold": 0.1}
    assert Approvals(True, 0.1, Decisions(damaged=True)).on_record["version"] is None
