"""The shards of a catalogue under one address: catalogue in, prices and manifest out.

Belongs here: names, checksums and the manifest that makes a priced shard count. Which rows make a
shard is ``core.price_shards``; engines that run over shards are ``resources.spark_shards`` and
Dagster's partitions.

Layout, on disk or in object storage::

    <root>/catalogue/part-00007.parquet
    <root>/prices/part-00007/<digest>.parquet
    <root>/prices/part-00007/manifest.json     replaced last, in one step

A shard is priced when its manifest names the catalogue's bytes and the settings as they are now
and its prices match their SHA-256. So a step may run twice, or be stopped anywhere, and a
backfill that is run again prices only what is missing or out of date.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from upath import UPath

from pricing_assets.core.errors import IntegrityError, MissingFolderError, NotPublishedError
from pricing_assets.core.price_shards import (
    ShardSummary,
    price_settings_sha256,
    shard_price_function,
    summarize,
)
from pricing_assets.core.settings import PricingSettings
from resources.object_storage import digest, read_checked, read_whole, storage_path, write_whole

_MANIFEST = "manifest.json"
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class PricedShard:
    """A shard whose prices are stored.

    Attributes:
        shard: its name.
        file: name of the prices' Parquet file.
        catalogue_sha256, settings_sha256: what the prices were made from.
        prices_sha256: of the Parquet bytes.
        summary: what the prices come to.
        reused: the stored prices were still right, and nothing was computed.
    """

    shard: str
    file: str
    catalogue_sha256: str
    settings_sha256: str
    prices_sha256: str
    summary: ShardSummary
    reused: bool


class ShardStore:
    """Reads and writes the shards under one address."""

    def __init__(self, root: str | Path | UPath) -> None:
        self.root = storage_path(root)

    def shards(self) -> tuple[str, ...]:
        """Names of the catalogue's shards, in order.

        Raises:
            MissingFolderError: there is no folder of catalogue shards, or nothing is in it.
        """
        folder = self.root / "catalogue"
        names = sorted(path.stem for path in folder.glob("*.parquet"))
        if not names:
            raise MissingFolderError(
                f"'{folder}' holds no catalogue shard (*.parquet); write the catalogue there, one "
                "file a shard, whole categories in each"
            )
        return tuple(names)

    def catalogue_stamp(self, shard: str) -> str:
        """Size and time of a catalogue shard's file, which change when it does."""
        stat = self._catalogue(shard).stat()
        return f"{stat.st_size}-{stat.st_mtime}"

    def write_catalogue(self, shards: Iterable[tuple[str, pa.Table]]) -> None:
        """Store catalogue shards by name, one at a time."""
        for shard, table in shards:
            write_whole(self._catalogue(shard), _parquet(table))

    def price(self, shard: str, *, settings: PricingSettings) -> PricedShard:
        """Price one shard and store the result, unless the stored one is right already.

        Raises:
            NotPublishedError: the catalogue has no such shard.
            IntegrityError: the catalogue's file is damaged.
            PricingError: what ``shard_price_function`` refuses.
        """
        price = shard_price_function(settings)
        content = read_whole(self._catalogue(shard))
        stored = self._stored(shard)
        sources = (digest(content), price_settings_sha256(settings))
        if stored and sources == (stored.catalogue_sha256, stored.settings_sha256):
            return stored
        prices = price(_table(content, self._catalogue(shard)))
        return self._store(shard, prices, sources=sources)

    def manifest(self, shard: str) -> PricedShard:
        """What is stored of a shard's prices.

        Raises:
            NotPublishedError: it was never priced.
            IntegrityError: its manifest is damaged.
        """
        path = self._prices(shard) / _MANIFEST
        try:
            found: dict[str, Any] = json.loads(read_whole(path))
            found.pop("format")
            summary = ShardSummary(**found.pop("summary"))
            return PricedShard(**found, summary=summary, reused=True)
        except (ValueError, TypeError, KeyError) as failure:
            raise IntegrityError(f"damaged manifest {path}: {failure!r}") from None

    def prices(self, shard: str) -> pa.Table:
        """The stored prices of a shard, every byte checked before it is parsed.

        Raises:
            NotPublishedError: it was never priced.
            IntegrityError: the manifest or the prices are damaged.
        """
        found = self.manifest(shard)
        try:
            return self._read(found)
        except NotPublishedError:  # replaced since the manifest was read
            return self._read(self.manifest(shard))

    def _read(self, found: PricedShard) -> pa.Table:
        path = self._prices(found.shard) / found.file
        return _table(read_checked(path, sha256=found.prices_sha256), path)

    def _stored(self, shard: str) -> PricedShard | None:
        """The manifest where the prices it names are there and whole, else None."""
        try:
            found = self.manifest(shard)
            read_checked(self._prices(shard) / found.file, sha256=found.prices_sha256)
        except (NotPublishedError, IntegrityError):
            return None
        return found

    def _store(self, shard: str, prices: pa.Table, *, sources: tuple[str, str]) -> PricedShard:
        content, folder = _parquet(prices), self._prices(shard)
        sha256 = digest(content)
        priced = PricedShard(
            shard=shard,
            file=f"{sha256[:16]}.parquet",
            catalogue_sha256=sources[0],
            settings_sha256=sources[1],
            prices_sha256=sha256,
            summary=summarize(prices),
            reused=False,
        )
        write_whole(folder / priced.file, content)
        write_whole(folder / _MANIFEST, _manifest_bytes(priced))
        for path in folder.glob("*.parquet"):
            if path.name != priced.file:
                path.unlink(missing_ok=True)
        return priced

    def _catalogue(self, shard: str) -> UPath:
        return self.root / "catalogue" / f"{shard}.parquet"

    def _prices(self, shard: str) -> UPath:
        return self.root / "prices" / shard


def _manifest_bytes(priced: PricedShard) -> bytes:
    names = ("shard", "file", "catalogue_sha256", "settings_sha256", "prices_sha256")
    fields = {name: getattr(priced, name) for name in names}
    content = {"format": _FORMAT, **fields, "summary": priced.summary.as_json()}
    return json.dumps(content, indent=1, sort_keys=True, allow_nan=False).encode()


def _parquet(table: pa.Table) -> bytes:
    """Parquet bytes, each page with a checksum."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _table(content: bytes, path: UPath) -> pa.Table:
    try:
        return pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as failure:
        raise IntegrityError(f"{path} is damaged: {failure}; write it again") from None
