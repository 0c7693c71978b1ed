"""The consumer of the streams as a process: ``pricing stream``.

Belongs here: what a home's settings connect, the signals that stop it, and where events may be
sent. What a consumer does is ``resources.streams.stream_consumer``.
"""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Event
from types import FrameType

import structlog
from redis import Redis

from pricing_assets.core.errors import InputError
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.streaming_parameters import StreamingParameters
from resources.streams.event_features import RedisFeatures
from resources.streams.event_source import EventSource
from resources.streams.redis_streams import TIMEOUT_SECONDS, RedisStreams, connect
from resources.streams.stream_consumer import StreamConsumer, Totals
from resources.streams.stream_metrics import StreamMetrics, served_metrics
from resources.streams.stream_store import StreamStore
from serving.home import Home, load_settings, read_environment
from serving.logs import configure_logs
from serving.redis_server import redis_for

_log = structlog.get_logger(__name__)


def stream(
    home: Home, *, config: str | None = None, consumer: str | None = None, until_empty: bool = False
) -> Totals:
    """Consume the streams of a home until a signal stops it, and land what was read.

    Args:
        home: where events land, and whose embedded Redis carries them where none is named.
        config: YAML settings; None takes PRICING_CONFIG.
        consumer: name in the group, the same after a restart; None takes the machine's.
        until_empty: end by itself when nothing waits.

    Raises:
        InputError: the settings are wrong, or there is no Redis to be had.
        StreamUnavailableError: what carries the events does not answer at the start.
    """
    settings = load_settings(config)
    configure_logs(settings.serving.log_format)
    parameters, metrics = settings.streaming, StreamMetrics()
    store = StreamStore(
        parameters.folder or str(home.streams / "events"), time_zone=parameters.time_zone
    )
    with ExitStack() as stack:
        url = stack.enter_context(_redis(home, parameters))
        stack.enter_context(served_metrics(metrics, port=parameters.metrics_port))
        source = _source(parameters, url, consumer=consumer or socket.gethostname())
        stack.callback(source.close)
        stop = stack.enter_context(_stopped_by_signals())
        _log.info(
            "stream_started",
            transport=parameters.transport,
            redis=_shown(url),
            root=str(store.root),
        )
        one = StreamConsumer(
            source,
            store,
            parameters=parameters,
            features=_features(settings, url),
            metrics=metrics,
        )
        return one.run(stop, until_empty=until_empty)


@contextmanager
def _redis(home: Home, parameters: StreamingParameters) -> Iterator[str | None]:
    """The Redis of the environment; the home's own, where Redis is to carry the events."""
    named = read_environment().redis_url
    if named is None and parameters.transport == "kafka":
        yield None
        return
    with redis_for(url=named, log_folder=home.logs, kept_in=home.streams / "redis") as url:
        if url is None:
            raise InputError(
                "no Redis carries the events: set PRICING_REDIS_URL, or put redis-server on PATH"
            )
        if named is None:
            sys.stdout.write(f"PRICING_REDIS_URL={url}\n")
            sys.stdout.flush()
        yield url


def _source(parameters: StreamingParameters, url: str | None, *, consumer: str) -> EventSource:
    if parameters.transport == "kafka":
        from resources.streams.kafka_streams import KafkaStreams

        return KafkaStreams(parameters.kafka_servers, group=parameters.group)
    assert url is not None
    return RedisStreams(
        connect(url),
        group=parameters.group,
        consumer=consumer,
        claim_seconds=parameters.claim_seconds,
    )


def _features(settings: PricingSettings, url: str | None) -> RedisFeatures | None:
    if url is None:
        return None
    client = Redis.from_url(
        url, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS
    )
    return RedisFeatures(
        client, rival_max_age_seconds=settings.streaming.rival_max_age_hours * 3600
    )


def _shown(url: str | None) -> str:
    """The address without its user and password."""
    if url is None or "@" not in url:
        return url or ""
    return f"{url.partition('://')[0]}://{url.rpartition('@')[2]}"


@contextmanager
def _stopped_by_signals() -> Iterator[Event]:
    """An event that SIGTERM and SIGINT set; a second signal ends the process at once."""
    stop = Event()

    def ask(number: int, _frame: FrameType | None) -> None:
        stop.set()
        signal.signal(number, signal.SIG_DFL)

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
