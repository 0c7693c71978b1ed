"""When shards of a large catalogue are priced: a run for each file that is new or has changed.

Belongs here: the sensor of the catalogue's folder. The asset is ``assets.price_shards``.
"""

import hashlib

import dagster as dg

from pricing_assets.assets.price_shards import CATALOGUE_SHARDS
from pricing_assets.automation import price_shards as price_shards_job
from pricing_assets.core.errors import MissingFolderError
from resources.price_shards import PriceShardsResource


@dg.sensor(
    job=price_shards_job,
    minimum_interval_seconds=60,
    description="A run for each catalogue shard that is new or has changed.",
)
def new_catalogue_shards(
    context: dg.SensorEvaluationContext, price_shards: dg.ResourceParam[PriceShardsResource]
) -> dg.SensorResult | dg.SkipReason:
    """Make the partitions the folder's shards, and ask for those whose file is not known.

    The cursor is the folder as it was seen last; Dagster starts no second run for a run key, so
    nothing is asked for twice even where the cursor is reset.
    """
    try:
        shards = price_shards.sync(context.instance, partitions=str(CATALOGUE_SHARDS.name))
    except MissingFolderError as nothing:
        return dg.SkipReason(str(nothing))
    stamps = {shard: price_shards.store().catalogue_stamp(shard) for shard in shards}
    seen = hashlib.sha256(repr(sorted(stamps.items())).encode()).hexdigest()
    if seen == context.cursor:
        return dg.SkipReason("no catalogue shard has changed")
    requests = [
        dg.RunRequest(run_key=f"{shard}:{stamp}", partition_key=shard)
        for shard, stamp in stamps.items()
    ]
    return dg.SensorResult(run_requests=requests, cursor=seen)


SENSORS = [new_catalogue_shards]
