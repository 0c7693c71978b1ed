"""Shards of a catalogue: the same prices as in one piece, stored whole, resumed after a stop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from catalogues import catalogue

from pricing_assets.assets import price_shards as asset_module
from pricing_assets.assets.price_shards import CATALOGUE_SHARDS, price_table_shard
from pricing_assets.core.errors import (
    IntegrityError,
    InvalidSettingError,
    MissingColumnError,
    MissingFolderError,
    NotPublishedError,
)
from pricing_assets.core.price_shards import (
    ShardSummary,
    link_key,
    price_settings_sha256,
    shard_of,
    shard_price_function,
    split_catalogue,
    summarize,
    total,
)
from pricing_assets.core.scale_parameters import OrchestrationParameters
from pricing_assets.core.settings import PricingSettings
from pricing_assets.shard_automation import new_catalogue_shards
from resources.price_shards import PriceShardsResource
from resources.settings import SettingsResource
from resources.shard_store import PricedShard, ShardStore

ROWS, SHARDS = 600, 5
SETTINGS = PricingSettings()
STAMP = price_settings_sha256(SETTINGS)


@pytest.fixture(scope="module")
def whole() -> pa.Table:
    return shard_price_function(SETTINGS)(catalogue(ROWS)).sort_by("product_id")


@pytest.fixture
def store(tmp_path: Path) -> ShardStore:
    made = ShardStore(tmp_path / "shards")
    made.write_catalogue(split_catalogue(catalogue(ROWS), shards=SHARDS).items())
    return made


def joined(store: ShardStore) -> pa.Table:
    return pa.concat_tables(store.prices(shard) for shard in store.shards()).sort_by("product_id")


def test_a_split_holds_every_row_once_and_keeps_categories_whole() -> None:
    parts = split_catalogue(catalogue(ROWS), shards=SHARDS)
    assert sum(part.num_rows for part in parts.values()) == ROWS
    together = pa.concat_tables(parts.values()).sort_by("product_id").to_pandas()
    assert together.equals(catalogue(ROWS).to_pandas())
    seen = [set(link_key(part).to_pylist()) for part in parts.values()]
    assert sum(len(keys) for keys in seen) == len(set().union(*seen))


def test_a_product_keeps_its_shard_when_the_catalogue_changes() -> None:
    """The numbers below were computed once: another machine or release must find them too."""
    keys = pa.chunked_array([["category 1", "category 2", "SKU-000008"]])
    assert shard_of(keys, shards=1000).tolist() == [560, 730, 182]
    half = split_catalogue(catalogue(ROWS).slice(0, ROWS // 2), shards=SHARDS)
    full = split_catalogue(catalogue(ROWS), shards=SHARDS)
    for name, part in half.items():
        assert set(part["product_id"].to_pylist()) <= set(full[name]["product_id"].to_pylist())


def test_shards_are_priced_as_the_whole_catalogue(store: ShardStore, whole: pa.Table) -> None:
    done = [store.price(name, settings=SETTINGS) for name in store.shards()]
    assert joined(store).equals(whole)
    summary = total(shard.summary for shard in done)
    assert summary.rows == ROWS
    assert summary.outside_rails == 0
    assert summary.changed == summarize(whole).changed > 0
    assert summary.expected_profit == pytest.approx(summarize(whole).expected_profit)


def test_a_summary_counts_prices_outside_their_rails(whole: pa.Table) -> None:
    position = whole.schema.get_field_index("recommended_price")
    above = pa.array(np.asarray(whole["price_ceiling"]) + 0.01)
    broken = whole.set_column(position, "recommended_price", above)
    assert summarize(broken).outside_rails == ROWS
    assert summarize(whole.slice(0, 0)) == ShardSummary()


def test_a_priced_shard_is_left_alone_until_something_changes(store: ShardStore) -> None:
    name = store.shards()[0]
    first = store.price(name, settings=SETTINGS)
    again = store.price(name, settings=SETTINGS)
    assert (first.reused, again.reused) == (False, True)
    assert again.prices_sha256 == first.prices_sha256
    other = store.price(name, settings=PricingSettings(min_margin=0.5))
    assert not other.reused
    assert other.prices_sha256 != first.prices_sha256
    files = list((store.root / "prices" / name).glob("*.parquet"))
    assert [path.name for path in files] == [other.file]


def test_rules_across_categories_are_refused(store: ShardStore) -> None:
    for rule in ({"kvi_max_mean_index": 1.0}, {"ladders": ["SKU-000001 < SKU-000002"]}):
        settings = PricingSettings.model_validate({"guardrails": rule})
        with pytest.raises(InvalidSettingError, match="several categories"):
            store.price(store.shards()[0], settings=settings)


@pytest.mark.parametrize("victim", ["prices", "manifest"])
def test_damage_is_found_and_priced_again(store: ShardStore, victim: str) -> None:
    name = store.shards()[0]
    priced = store.price(name, settings=SETTINGS)
    file = priced.file if victim == "prices" else "manifest.json"
    path = Path(str(store.root)) / "prices" / name / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x08
    path.write_bytes(content if victim == "prices" else b"{}")
    with pytest.raises(IntegrityError):
        store.prices(name)
    assert not store.price(name, settings=SETTINGS).reused
    assert store.prices(name).num_rows == priced.summary.rows


def test_mistakes_are_named(tmp_path: Path, store: ShardStore) -> None:
    with pytest.raises(MissingFolderError, match=r"no catalogue shard"):
        ShardStore(tmp_path / "nothing").shards()
    with pytest.raises(NotPublishedError):
        store.prices("part-00000")
    with pytest.raises(NotPublishedError):
        store.price("part-09999", settings=SETTINGS)
    with pytest.raises(InvalidSettingError):
        split_catalogue(catalogue(8), shards=0)
    with pytest.raises(MissingColumnError):
        link_key(pa.table({"sku": ["1"]}))
    damaged = tmp_path / "shards" / "catalogue" / "part-00001.parquet"
    damaged.write_bytes(b"PAR1 and no more")
    with pytest.raises(IntegrityError, match="part-00001"):
        store.price("part-00001", settings=SETTINGS)


def test_only_what_moves_prices_makes_them_old() -> None:
    elsewhere = OrchestrationParameters(executor="multiprocess")
    assert price_settings_sha256(PricingSettings(orchestration=elsewhere)) == STAMP
    assert price_settings_sha256(PricingSettings(min_margin=0.2)) != STAMP


Materialize = Callable[[str], dg.ExecuteInProcessResult]


@pytest.fixture
def instance() -> dg.DagsterInstance:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


@pytest.fixture
def materialize(store: ShardStore, instance: dg.DagsterInstance) -> Materialize:
    shards = PriceShardsResource(root=str(store.root))
    shards.sync(instance, partitions=str(CATALOGUE_SHARDS.name))
    resources = {"settings": SettingsResource.of(SETTINGS), "price_shards": shards}

    def run(shard: str) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [price_table_shard],
            instance=instance,
            resources=resources,
            partition_key=shard,
            raise_on_error=False,
        )

    return run


def missing(instance: dg.DagsterInstance) -> list[str]:
    """What a backfill of missing partitions would run."""
    done = instance.get_materialized_partitions(dg.AssetKey("price_table_shard"))
    name = str(CATALOGUE_SHARDS.name)
    return [key for key in instance.get_dynamic_partitions(name) if key not in done]


def test_a_backfill_that_was_stopped_goes_on_where_it_stopped(
    store: ShardStore,
    instance: dg.DagsterInstance,
    materialize: Materialize,
    whole: pa.Table,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shards = store.shards()
    assert tuple(missing(instance)) == shards
    assert all(materialize(shard).success for shard in shards[:2])

    def stopped(*_: object, **__: object) -> pa.Table:
        raise dg.Failure("the machine went away", allow_retries=False)

    with monkeypatch.context() as patch:
        patch.setattr(ShardStore, "price", stopped)
        assert not materialize(shards[2]).success
    assert missing(instance) == list(shards[2:])
    before = {shard: store.manifest(shard) for shard in shards[:2]}
    assert all(materialize(shard).success for shard in missing(instance))
    assert missing(instance) == []
    assert {shard: store.manifest(shard) for shard in shards[:2]} == before
    assert joined(store).equals(whole)


def test_a_partition_shows_what_it_did(materialize: Materialize, store: ShardStore) -> None:
    shard = store.shards()[0]
    metadata = [shown(materialize(shard)) for _ in range(2)]
    assert [item["reused"] for item in metadata] == [False, True]
    assert metadata[0]["dagster/partition_row_count"] == store.prices(shard).num_rows
    assert metadata[0]["outside_rails"] == 0


def shown(result: dg.ExecuteInProcessResult) -> dict[str, object]:
    assert result.success
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed
    (event,) = result.asset_materializations_for_node("price_table_shard")
    return {name: value.value for name, value in event.metadata.items()}


def test_partitions_follow_the_folder(store: ShardStore, instance: dg.DagsterInstance) -> None:
    name, resource = str(CATALOGUE_SHARDS.name), PriceShardsResource(root=str(store.root))
    resource.sync(instance, partitions=name)
    (store.root / "catalogue" / "part-00003.parquet").unlink()
    extra = pq.read_table(str(store.root / "catalogue" / "part-00000.parquet"))
    store.write_catalogue([("part-00009", extra)])
    shards = resource.sync(instance, partitions=name)
    assert "part-00009" in shards
    assert sorted(instance.get_dynamic_partitions(name)) == list(shards)


def test_the_asset_takes_one_slot_of_the_engine() -> None:
    assert price_table_shard.op.pool == asset_module.PRICE_ENGINE_POOL


def test_a_machine_s_engine_prices_one_shard_at_a_time(
    store: ShardStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the project's dagster.yaml a step waits while another machine's run has the slot."""
    from threading import Timer

    from pricing_assets.pipeline_run import prepare_home
    from serving.home import Home

    place = Home.at(tmp_path / "home")
    prepare_home(place)
    shards, order = PriceShardsResource(root=str(store.root)), []

    price = ShardStore.price

    def recorded(store: ShardStore, shard: str, *, settings: PricingSettings) -> PricedShard:
        order.append("priced")
        return price(store, shard, settings=settings)

    monkeypatch.setattr(ShardStore, "price", recorded)
    with dg.DagsterInstance.from_config(str(place.dagster)) as instance:
        slots = instance.event_log_storage
        pool, run = asset_module.PRICE_ENGINE_POOL, "a run of another machine"

        def free() -> None:
            order.append("freed")
            slots.free_concurrency_slots_for_run(run)

        slots.initialize_concurrency_limit_to_default(pool)
        assert slots.claim_concurrency_slot(pool, run, "step").is_claimed
        Timer(2.0, free).start()
        result = materialized(instance, shards)
    assert result.success
    assert order == ["freed", "priced"]


def materialized(
    instance: dg.DagsterInstance, shards: PriceShardsResource
) -> dg.ExecuteInProcessResult:
    names = shards.sync(instance, partitions=str(CATALOGUE_SHARDS.name))
    resources = {"settings": SettingsResource.of(SETTINGS), "price_shards": shards}
    return dg.materialize(
        [price_table_shard], instance=instance, resources=resources, partition_key=names[0]
    )


def test_the_sensor_asks_once_for_each_state_of_a_shard(store: ShardStore) -> None:
    resource = PriceShardsResource(root=str(store.root))
    with dg.DagsterInstance.ephemeral() as instance:
        first = asked(instance, resource, cursor=None)
        assert sorted(first.partitions) == list(store.shards())
        assert asked(instance, resource, cursor=first.cursor).partitions == []
        store.write_catalogue([("part-00002", catalogue(30))])
        second = asked(instance, resource, cursor=first.cursor)
        assert set(second.keys) - set(first.keys) == {second.keys[2]}
    empty = PriceShardsResource(root=str(store.root / "nothing"))
    with dg.DagsterInstance.ephemeral() as instance:
        assert asked(instance, empty, cursor=None).partitions == []


class Asked(NamedTuple):
    partitions: list[str | None]
    keys: list[str | None]
    cursor: str | None


def asked(
    instance: dg.DagsterInstance, resource: PriceShardsResource, *, cursor: str | None
) -> Asked:
    with dg.build_sensor_context(
        instance=instance, cursor=cursor, resources={"price_shards": resource}
    ) as context:
        result = new_catalogue_shards(context)
    if isinstance(result, dg.SkipReason):
        return Asked([], [], cursor)
    requests = result.run_requests or []
    partitions = [request.partition_key for request in requests]
    return Asked(partitions, [request.run_key for request in requests], result.cursor)
