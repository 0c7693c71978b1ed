"""The IO manager: each asset's value as checked files, replaced all at once.

Each asset is a folder under ``base``, and each partition a folder in it. What such a folder holds
is ``resources.asset_store``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dagster as dg
import pandas as pd
from pydantic import Field
from upath import UPath

from resources.asset_store import load_value, store_value


class ParquetIOManager(dg.ConfigurableIOManager):
    """Stores frames, panels, model bundles and JSON under a folder or an fsspec address."""

    base: str = Field(description="Folder or fsspec address under which each asset has a folder.")

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Store ``obj``; a partitioned asset gives a mapping of partition key to value."""
        if obj is None:
            return
        folder = UPath(self.base).joinpath(*context.asset_key.path)
        if not context.has_asset_partitions:
            context.add_output_metadata(_metadata(folder, store_value(folder, obj)))
            return
        _refuse_other_keys(obj, context.asset_partition_keys)
        stored = [store_value(folder / key, value) for key, value in obj.items()]
        context.add_output_metadata(_metadata(folder, sum(stored)))

    def load_input(self, context: dg.InputContext) -> Any:
        """The stored value; the frames of several partitions come as one frame."""
        folder = UPath(self.base).joinpath(*context.asset_key.path)
        if not context.has_asset_partitions:
            return load_value(folder)
        values = [load_value(folder / key) for key in sorted(context.asset_partition_keys)]
        return values[0] if len(values) == 1 else pd.concat(values, ignore_index=True)


def _refuse_other_keys(obj: object, keys: Any) -> None:
    if not isinstance(obj, Mapping) or set(obj) != set(keys):
        given = sorted(obj) if isinstance(obj, Mapping) else type(obj).__name__
        raise TypeError(f"a partitioned asset gave {given} for the partitions {sorted(keys)}")


def _metadata(folder: UPath, size: int) -> dict[str, dg.MetadataValue[Any]]:
    return {
        "path": dg.MetadataValue.path(str(folder)),
        "stored_bytes": dg.MetadataValue.int(size),
    }
