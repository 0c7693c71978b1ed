"""``pricing stream`` as a process, the days as Dagster's partitions, and the rivals it knows."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import orjson
import pandas as pd
import pytest
from redis import Redis

from pricing_assets.assets.streaming import STREAM_DAYS, known_rival_prices, stream_day
from pricing_assets.core.events import RawEvents, TimeLimits, check_events
from pricing_assets.stream_automation import closed_stream_days, stream_days
from resources.streams.landed_events import LandedEventsResource
from resources.streams.redis_streams import RedisProducer, connect
from resources.streams.stream_store import StreamStore
from serving.redis_server import redis_for

REPOSITORY = Path(__file__).resolve().parent.parent
DAY = 86_400.0
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
SALE = {"product_id": "tea", "units": 1, "price": 2.0}


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_for(url=None, log_folder=tmp_path_factory.mktemp("redis")) as url:
        assert url is not None
        yield url


def land(folder: Path, *moments: float) -> None:
    contents = [orjson.dumps({**SALE, "at": at}) for at in moments]
    ids = [f"{at}-{i}" for i, at in enumerate(moments)]
    limits = TimeLimits(now=NOON, oldest=0, newest=NOON + 99 * DAY)
    checked = check_events(RawEvents("sales", ids, contents), limits=limits)
    StreamStore(str(folder)).land("sales", checked.accepted)


def pricing(*arguments: str, **environment: str) -> list[str]:
    return [sys.executable, "-m", "pricing_assets.cli", "stream", *arguments]


def test_the_command_stops_gracefully_and_says_what_it_did(redis_url: str, tmp_path: Path) -> None:
    """SIGTERM in the middle of gathering: what was read has landed when it ends."""
    now = datetime.now(UTC).timestamp()
    client = connect(redis_url)
    RedisProducer(client, max_entries=1000).send("sales", [{**SALE, "at": now}, {**SALE, "at": 1}])
    config = tmp_path / "config.yaml"
    config.write_text("serving: {log_format: json}\nstreaming: {land_seconds: 600}\n")
    command = pricing("--home", str(tmp_path / "home"), "--config", str(config))
    environment = {**os.environ, "PRICING_REDIS_URL": redis_url}
    with subprocess.Popen(
        command, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        assert orjson.loads(process.stderr.readline())["event"] == "stream_started"
        while client.xpending("pricing:events:sales", "pricing")["pending"] < 2:
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        output, log = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.decode().splitlines()[-1] == "1 events landed, 1 dead letters"
    events = [orjson.loads(line) for line in log.splitlines()]
    assert [event["event"] for event in events] == ["landed", "stream_stopped"]
    assert client.xpending("pricing:events:sales", "pricing")["pending"] == 0
    client.close()


def test_without_a_redis_the_home_has_its_own_which_keeps_events(tmp_path: Path) -> None:
    """Stopped and started again, the embedded server has what was sent and not consumed."""
    home = tmp_path / "home"
    with redis_for(url=None, log_folder=tmp_path, kept_in=home / "streams" / "redis") as url:
        assert url is not None
        client = connect(url)
        now = datetime.now(UTC).timestamp()
        RedisProducer(client, max_entries=1000).send("sales", [{**SALE, "at": now}] * 3)
        client.close()
    done = subprocess.run(
        pricing("--home", str(home), "--until-empty"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("PRICING_REDIS_URL=unix://")
    assert lines[-1] == "3 events landed, 0 dead letters"


def test_wrong_settings_end_with_two_and_one_line(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("streaming: {transport: kafka}\n")
    done = subprocess.run(
        pricing("--home", str(tmp_path), "--config", str(config)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 2
    assert "kafka" in done.stderr.splitlines()[-1]


def landed_events(folder: Path) -> LandedEventsResource:
    return LandedEventsResource(root=str(folder))


def tick(instance: dg.DagsterInstance, folder: Path, cursor: str | None) -> Any:
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"landed_events": landed_events(folder)}
    ) as context:
        return closed_stream_days(context)


def test_a_closed_day_becomes_a_partition_and_is_compacted_once(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        land(tmp_path, NOON, NOON + 1)
        assert isinstance(tick(instance, tmp_path, None), dg.SkipReason)  # the day is open
        land(tmp_path, NOON + 2)
        land(tmp_path, NOON + DAY)
        result = tick(instance, tmp_path, None)
        (request,) = result.run_requests
        assert request.partition_key == "2026-03-02"
        instance.add_dynamic_partitions(str(STREAM_DAYS.name), ["2026-03-02"])
        run = dg.materialize(
            [stream_day],
            partition_key=request.partition_key,
            instance=instance,
            resources={"landed_events": landed_events(tmp_path)},
        )
        metadata = run.asset_materializations_for_node("stream_day")[0].metadata
        assert metadata["sales_events"].value == 3
        assert run.get_asset_check_evaluations()[0].passed
        assert [p.name[:4] for p in (tmp_path / "sales" / "date=2026-03-02").iterdir()] == ["day-"]
        settled = tick(instance, tmp_path, result.cursor)
        assert settled.run_requests == []
        assert isinstance(tick(instance, tmp_path, settled.cursor), dg.SkipReason)
        land(tmp_path, NOON + 3)  # late
        again = tick(instance, tmp_path, settled.cursor)
        assert [one.partition_key for one in again.run_requests] == ["2026-03-02"]
        assert again.run_requests[0].run_key != request.run_key


def test_a_folder_without_events_asks_for_nothing(tmp_path: Path) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        assert isinstance(tick(instance, tmp_path / "none", None), dg.SkipReason)
    assert stream_days.name == "stream_days"


def test_rivals_of_the_raw_tables_count_in_the_mean(redis_url: str, tmp_path: Path) -> None:
    """So one rival's event moves the mean, and is not taken for it."""
    from resources.streams.rival_prices import RivalPrice, rival_updates

    frame = pd.DataFrame(
        {
            "date": pd.to_datetime(["2026-03-01", "2026-03-02", "2026-03-02"]),
            "product_id": ["tea"] * 3,
            "competitor": ["x", "x", "y"],
            "price": [5.0, 10.0, 20.0],
        }
    )
    resource = LandedEventsResource(root=str(tmp_path), redis_url=redis_url)
    with dg.build_asset_context() as context:
        known_rival_prices(context, frame, resource)
        assert context.get_output_metadata("result") == {
            "rival_prices": 2,
            "feature_store": "1 products written",
        }
    client = Redis.from_url(redis_url)
    seen = [RivalPrice("tea", "", "x", 12.0, NOON)]
    (update,) = rival_updates(client, seen, max_age_seconds=7 * DAY)
    client.close()
    assert update.values == {"rival_price": 16.0}
    assert resource.model_copy(update={"redis_url": ""}).remember_rivals([]).startswith("not")
