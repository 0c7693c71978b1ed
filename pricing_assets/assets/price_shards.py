"""The price table of a catalogue too large for one step: one partition a shard.

Belongs here: the asset of the group ``price_shards``, its partitions and its check. Which rows
make a shard is ``core.price_shards``; files are ``resources.shard_store``.

A backfill over the partitions may be stopped anywhere: run again, it materializes what is
missing, and a shard that is priced already is recognised by its checksums and left alone.
"""

import dagster as dg

from resources.asset_metadata import check_metadata
from resources.price_shards import PriceShardsResource
from resources.settings import SettingsResource

CATALOGUE_SHARDS = dg.DynamicPartitionsDefinition(name="catalogue_shards")

PRICE_ENGINE_POOL = "price_engine"
"""Steps that use a machine's whole price engine, its GPU or all its cores: one slot each."""


@dg.asset(
    group_name="price_shards",
    owners=["team:pricing"],
    kinds={"parquet"},
    code_version="1",
    partitions_def=CATALOGUE_SHARDS,
    pool=PRICE_ENGINE_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            "shard_obeys_guard_rails",
            asset="price_table_shard",
            blocking=True,
            description="Every recommended price of the shard is inside its floor and ceiling.",
        )
    ],
    retry_policy=dg.RetryPolicy(max_retries=2, delay=1.0, backoff=dg.Backoff.EXPONENTIAL),
)
def price_table_shard(
    context: dg.AssetExecutionContext,
    settings: SettingsResource,
    price_shards: PriceShardsResource,
) -> dg.MaterializeResult:
    """Prices of one catalogue shard, stored whole with a manifest, or recognised as right."""
    priced = price_shards.store().price(context.partition_key, settings=settings.settings())
    count = priced.summary.outside_rails
    return dg.MaterializeResult(
        metadata={
            "dagster/partition_row_count": priced.summary.rows,
            "reused": priced.reused,
            "prices_sha256": priced.prices_sha256,
            **priced.summary.as_json(),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=count == 0, metadata=check_metadata(value=count, threshold=0)
            )
        ],
        data_version=dg.DataVersion(priced.prices_sha256[:16]),
    )
