"""A job for tests/test_celery.py: one step a catalogue shard, sent to Celery workers.

Loaded by the test, by Dagster and by the workers, each a process of its own. The step of the
first shard waits the first time it runs, so that the test can kill the worker that holds it.
"""

import os
import time
from pathlib import Path

import dagster as dg

from resources.celery_steps import executor
from resources.shard_store import ShardStore
from serving.home import load_settings

SHARDS = 4
PATIENCE_SECONDS = 200


def shard_step(number: int) -> dg.OpDefinition:
    @dg.op(name=f"price_shard_{number}")
    def price_shard() -> None:
        settings, store = load_settings(), ShardStore(os.environ["SHARDS_ROOT"])
        marker = Path(os.environ["MARKER"])
        if number == 0 and not marker.exists():
            marker.write_text(str(os.getpid()))
            time.sleep(PATIENCE_SECONDS)
        store.price(f"part-{number:05d}", settings=settings)

    return price_shard


def definitions() -> dg.Definitions:
    @dg.job
    def price_all_shards() -> None:
        for number in range(SHARDS):
            shard_step(number)()

    orchestration = load_settings().orchestration
    return dg.Definitions(
        jobs=[price_all_shards],
        executor=executor(orchestration),
    )


defs = definitions()
