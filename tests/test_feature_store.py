"""Online features: equal to the offline ones, one round trip, used only where they are news."""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import orjson
import pytest
from redis import Redis

from pricing_assets.core.errors import InputError
from pricing_assets.core.online_features import online_features, panel_end
from pricing_assets.core.serving_parameters import AuditParameters
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import ONLINE_FEATURES
from serving.audit_reader import verify
from serving.desk import Desk
from serving.feature_store import FeatureStore, FeatureUpdate, write_features
from serving.price_store import PriceStore
from serving.redis_server import redis_for
from tests.panels import synthetic_panel
from tests.published_tables import NOW, curve_table, price_table, stamps
from tests.test_desk import a_cache
from tests.test_explain import explained

CURVES = curve_table(12)
SETTINGS = PricingSettings(audit=AuditParameters(flush_ms=1))
SEEN = NOW.timestamp()
LATER = SEEN + 60.0
SOON = NOW + timedelta(minutes=5)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_for(url=None, log_folder=tmp_path_factory.mktemp("logs")) as url:
        assert url is not None
        yield url


@pytest.fixture
def raw(redis_url: str) -> Iterator[Redis]:
    client = Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
async def features(redis_url: str, raw: Redis) -> AsyncIterator[FeatureStore]:
    store = FeatureStore.at(redis_url, timeout_ms=500)
    assert store is not None
    yield store
    await store.close()


def update(product: str = "SKU-3", at: float = LATER, **values: float) -> FeatureUpdate:
    return FeatureUpdate(product_id=product, store_id="", at=at, values=values)


def publish(root: Path, **changes: Any) -> PriceStore:
    store = PriceStore(root / "tables")
    known = stamps().model_copy(update={"data_until": NOW, **changes})
    store.publish(prices=price_table(CURVES), curves=CURVES, stamps=known, now=NOW)
    return store


@pytest.fixture
async def desk(tmp_path: Path, features: FeatureStore) -> AsyncIterator[Desk]:
    desk = Desk(
        publish(tmp_path),
        a_cache(),
        settings=SETTINGS,
        now=lambda: SOON,
        audit=tmp_path / "audit",
        features=features,
    )
    await desk.refresh()
    yield desk
    await desk.stop()


async def asked(desk: Desk, **body: Any) -> dict[str, Any]:
    """One answer, after the desk has looked how new the features are."""
    await desk._online.look()
    return dict(orjson.loads(await desk.price_json({"product_id": "SKU-3", **body})))


@pytest.mark.parametrize("weekly", [False, True])
async def test_online_and_offline_features_are_equal_row_by_row(
    features: FeatureStore, raw: Redis, weekly: bool
) -> None:
    """Bit for bit: what the service reads is what the panel says, unknown for unknown."""
    panel = synthetic_panel(40, 60, 3, weekly=weekly)
    panel.on_hand[3], panel.rival_price[5], panel.units[7] = np.nan, np.nan, np.nan
    offline = online_features(panel)
    seen = panel_end(panel).timestamp()
    updates = [
        FeatureUpdate(r["product_id"], r["store_id"], seen, {n: r[n] for n in ONLINE_FEATURES})
        for r in offline.to_dict("records")
    ]
    assert write_features(raw, updates) == 40
    keys = list(zip(offline["product_id"], offline["store_id"], strict=True))
    online = await features.read(keys)
    assert online is not None
    for found, row in zip(online, offline.to_dict("records"), strict=True):
        assert (found.product_id, found.store_id) == (row["product_id"], row["store_id"])
        for name in ONLINE_FEATURES:
            if math.isnan(row[name]):
                assert name not in found.readings
            else:
                assert found.readings[name].value == row[name]
                assert found.readings[name].at == seen
    days = 4 if weekly else 28
    np.testing.assert_array_equal(
        offline["units_28"].drop(7), np.delete(panel.units[:, -days:].sum(axis=1), 7)
    )


async def test_all_products_of_a_request_are_one_round_trip(
    features: FeatureStore, raw: Redis
) -> None:
    write_features(raw, (update(f"SKU-{i}", stock=float(i)) for i in range(1500)))
    raw.config_resetstat()
    found = await features.read([(f"SKU-{i}", "") for i in range(1500)])
    assert found is not None
    assert [one.readings["stock"].value for one in found] == [float(i) for i in range(1500)]
    assert raw.info("commandstats")["cmdstat_eval"]["calls"] == 1


async def test_the_later_reading_wins_whatever_the_order(
    features: FeatureStore, raw: Redis
) -> None:
    write_features(raw, [update(at=LATER, stock=5.0), update(at=SEEN, stock=9.0, rival_price=7.5)])
    (found,) = await features.read([("SKU-3", "")]) or []
    assert found.readings["stock"].value == 5.0
    assert found.readings["rival_price"].value == 7.5
    assert await features.newest() == LATER
    write_features(raw, [update(at=LATER, stock=4.0), update(stock=math.nan, at=LATER + 1)])
    (found,) = await features.read([("SKU-3", "")]) or []
    assert found.readings["stock"].value == 4.0


@pytest.mark.parametrize(
    "values", [{"stock": -1.0}, {"stock": math.inf}, {"rival_price": 0.0}, {"colour": 1.0}]
)
def test_an_impossible_feature_is_refused(raw: Redis, values: dict[str, float]) -> None:
    with pytest.raises(InputError):
        write_features(raw, [update(**values)])


async def test_news_prices_a_silent_request_as_if_it_had_said_so(desk: Desk, raw: Redis) -> None:
    published = await asked(desk)
    assert published["source"] == "table"
    write_features(raw, [update(stock=5.0, rival_price=30.0)])
    silent = await asked(desk)
    told = await asked(desk, current_stock=5.0, comp_price=30.0)
    assert silent["recommended_price"] == told["recommended_price"]
    assert silent["recommended_price"] != published["recommended_price"]
    assert silent["reasons"][-1].startswith("from the feature store: stock of 5")
    assert told["reasons"][-1] != silent["reasons"][-1]
    (batch,) = await desk.prices([{"product_id": "SKU-3"}])
    assert batch["recommended_price"] == silent["recommended_price"]


async def test_what_the_request_says_itself_stands(desk: Desk, raw: Redis) -> None:
    write_features(raw, [update(stock=5.0)])
    full = await asked(desk, current_stock=1e6, comp_price=20.0)
    assert not any("feature store" in reason for reason in full["reasons"])


async def test_what_the_table_knew_is_not_counted_twice(
    desk: Desk, raw: Redis, tmp_path: Path
) -> None:
    """Readings no later than the data's end were weighed in the published price."""
    write_features(raw, [update(at=SEEN, stock=1.0), update("SKU-4", at=SEEN - 9, stock=1.0)])
    assert (await asked(desk))["source"] == "table"
    write_features(raw, [update("SKU-4", stock=1.0)])
    assert (await asked(desk))["source"] == "table"  # news of another product
    assert (await asked(desk, product_id="SKU-4"))["source"] == "live"


async def test_an_old_reading_is_not_used(
    raw: Redis, tmp_path: Path, features: FeatureStore
) -> None:
    write_features(raw, [update(stock=1.0)])
    late = NOW + timedelta(hours=25)
    desk = Desk(
        publish(tmp_path), a_cache(), settings=SETTINGS, now=lambda: late, features=features
    )
    await desk.refresh()
    assert (await asked(desk))["source"] == "table"
    await desk.stop()


async def test_a_poisoned_feature_counts_as_unknown(desk: Desk, raw: Redis) -> None:
    write_features(raw, [update("SKU-4", stock=3.0), update(stock=3.0)])
    key = "pricing:features:1:SKU-3\x1f"
    for field, value in [
        ("stock", "-5@" + repr(LATER)),
        ("stock", "nan@" + repr(LATER)),
        ("stock", "1e400@" + repr(LATER)),
        ("stock", "x"),
        ("stock", b"\xff\xfe@1"),
        ("id", "SKU-4\x1f"),
    ]:
        raw.hset(key, field, value)
        assert (await asked(desk))["source"] == "table"


async def test_without_redis_prices_are_made_and_say_so(
    desk: Desk, raw: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.exceptions import ConnectionError as Gone

    write_features(raw, [update(stock=5.0)])
    assert (await asked(desk))["source"] == "live"
    calls = []

    async def gone(*_: object, **__: object) -> None:
        calls.append(1)
        raise Gone

    monkeypatch.setattr("redis.asyncio.Redis.execute_command", gone)
    for _ in range(5):
        answer = orjson.loads(await desk.price_json({"product_id": "SKU-3"}))
        assert answer["source"] == "table"
        assert any("does not answer" in reason for reason in answer["reasons"])
    assert len(calls) == 1  # then no request waits, until it was seen to be back
    monkeypatch.undo()
    assert (await asked(desk))["recommended_price"] != answer["recommended_price"]


async def test_a_desk_that_never_saw_redis_says_so(tmp_path: Path) -> None:
    nowhere = FeatureStore.at("redis://127.0.0.1:1/0", timeout_ms=20)
    desk = Desk(publish(tmp_path), a_cache(), settings=SETTINGS, now=lambda: SOON, features=nowhere)
    await desk.refresh()
    answer = await asked(desk)
    assert any("does not answer" in reason for reason in answer["reasons"])
    await desk.stop()


async def test_a_quote_with_features_is_on_record_and_reproduced(desk: Desk, raw: Redis) -> None:
    write_features(raw, [update(stock=5.0), update("SKU-4", rival_price=25.0)])
    await desk._online.look()
    single = await asked(desk)
    batch = await desk.prices(
        [{"product_id": "SKU-1"}, {"bad": 1}, {"product_id": "SKU-4"}, {"product_id": "SKU-3"}]
    )
    for answer in (single, batch[0], batch[2], batch[3]):
        found = await explained(desk, answer["quote_id"])
        assert found["reproduced"], found["differences"]
    found = await desk.explain(batch[2]["quote_id"])
    assert found["context"] == {"used": {"comp_price": 25.0}, "at": {"comp_price": LATER}}
    assert (await desk.explain(batch[0]["quote_id"]))["context"] is None
    await desk.stop()
    (report,) = verify(desk._explainer._audit)  # type: ignore[arg-type]
    assert report.intact


def test_the_asset_writes_what_it_returns(redis_url: str, raw: Redis) -> None:
    from pricing_assets.assets.online_features import online_features as asset
    from pricing_assets.assets.online_features import online_features_are_possible
    from resources.feature_store import FeatureStoreResource

    panel = synthetic_panel(5, 40, 1)
    with dg.build_asset_context() as context:
        frame = asset(context, panel, FeatureStoreResource(url=redis_url))
        assert context.get_output_metadata("result")["feature_store"] == "5 written"
    assert online_features_are_possible(frame).passed
    assert len(raw.keys("pricing:features:1:*")) == 5
    wrong = replace(panel, on_hand=panel.on_hand - 1e9)
    assert not online_features_are_possible(online_features(wrong)).passed


def test_without_a_redis_the_asset_says_so() -> None:
    from resources.feature_store import FeatureStoreResource

    assert "PRICING_REDIS_URL" in FeatureStoreResource().write([])
    gone = FeatureStoreResource(url="redis://127.0.0.1:1/0")
    assert "does not answer" in gone.write([update(stock=1.0)])


async def test_a_stopped_redis_costs_one_short_wait_and_mixes_up_no_answers(
    raw: Redis, redis_url: str
) -> None:
    """What was asked of it while it stood still is not taken for what is asked after."""
    store = FeatureStore.at(redis_url, timeout_ms=20)
    assert store is not None
    write_features(raw, [update("A", stock=1.0), update("B", stock=2.0)])
    assert await store.newest() == LATER
    process = raw.info("server")["process_id"]
    os.kill(process, signal.SIGSTOP)
    try:
        started = time.monotonic()
        assert await store.read([("A", "")]) is None
        assert time.monotonic() - started < 5
        assert await store.newest() is None
    finally:
        os.kill(process, signal.SIGCONT)
    for _ in range(100):
        if await store.newest() is not None:
            break
    for product, stock in (("B", 2.0), ("A", 1.0)):
        found = None
        while found is None:  # a busy machine may need more than 20 ms
            found = await store.read([(product, "")])
        assert found[0].readings["stock"].value == stock
    await store.close()
