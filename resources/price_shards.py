"""The shards of a catalogue as a Dagster resource.

Belongs here: the address; reading, pricing and writing are ``resources.shard_store``.
"""

from __future__ import annotations

import dagster as dg
from pydantic import Field

from resources.shard_store import ShardStore


class PriceShardsResource(dg.ConfigurableResource):
    """Catalogue shards and their prices, in a folder or in object storage."""

    root: str = Field(description="Folder or fsspec address of the shards (s3://bucket/folder).")

    def store(self) -> ShardStore:
        """The plain store."""
        return ShardStore(self.root)

    def sync(self, instance: dg.DagsterInstance, *, partitions: str) -> tuple[str, ...]:
        """Make the dynamic partitions exactly the catalogue's shards, and name them.

        Raises:
            MissingFolderError: the catalogue has no shard.
        """
        shards = self.store().shards()
        known = set(instance.get_dynamic_partitions(partitions))
        for gone in sorted(known - set(shards)):
            instance.delete_dynamic_partition(partitions, gone)
        instance.add_dynamic_partitions(partitions, sorted(set(shards) - known))
        return shards
