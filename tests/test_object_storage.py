"""Object storage: shards in s3:// as on disk, against a real S3 server on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from catalogues import catalogue

from pricing_assets.core.errors import InputError, IntegrityError, NotPublishedError
from pricing_assets.core.price_shards import shard_price_function, split_catalogue
from pricing_assets.core.settings import PricingSettings
from resources.object_storage import digest, read_checked, storage_path, write_whole
from resources.shard_store import ShardStore

START_SECONDS = 60
SETTINGS = PricingSettings()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a bucket on a moto server that runs as a process of its own."""
    pytest.importorskip("s3fs", reason="needs: the extra 'scale' (s3fs)")
    pytest.importorskip("moto.server", reason="needs: moto[server]")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    endpoint = f"http://127.0.0.1:{port}"
    log = (tmp_path_factory.mktemp("s3") / "moto.log").open("wb")
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=log, stderr=log)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", "testing"),
            ("AWS_SECRET_ACCESS_KEY", "testing"),
            ("AWS_DEFAULT_REGION", "us-east-1"),
        ):
            patch.setenv(name, value)
        try:
            wait_until_up(endpoint, server)
            yield made_bucket(endpoint)
        finally:
            server.kill()
            server.wait()
            log.close()


def wait_until_up(endpoint: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{endpoint}/moto-api/", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    pytest.fail("the S3 server did not start")


def made_bucket(endpoint: str) -> str:
    request = urllib.request.Request(f"{endpoint}/prices", method="PUT")
    urllib.request.urlopen(request, timeout=10).close()
    return "s3://prices"


def test_shards_in_a_bucket_are_priced_as_on_disk(s3: str, tmp_path: Path) -> None:
    parts = split_catalogue(catalogue(400), shards=3)
    remote, local = ShardStore(f"{s3}/market"), ShardStore(tmp_path)
    for store in (remote, local):
        store.write_catalogue(parts.items())
        assert store.shards() == tuple(parts)
        for name in store.shards():
            assert not store.price(name, settings=SETTINGS).reused
    for name in parts:
        assert remote.prices(name).equals(local.prices(name))
        assert remote.manifest(name) == local.manifest(name)
        assert remote.price(name, settings=SETTINGS).reused


def test_another_process_reads_what_was_written(s3: str) -> None:
    store = ShardStore(f"{s3}/other")
    store.write_catalogue(split_catalogue(catalogue(50), shards=1).items())
    store.price("part-00000", settings=SETTINGS)
    program = (
        "from resources.shard_store import ShardStore; "
        f"print(ShardStore('{s3}/other').prices('part-00000').num_rows)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ
    )
    assert done.stdout.strip() == "50"


def test_new_prices_replace_old_ones_and_damage_is_found(s3: str) -> None:
    store, name = ShardStore(f"{s3}/changing"), "part-00000"
    store.write_catalogue(split_catalogue(catalogue(60), shards=1).items())
    first = store.price(name, settings=SETTINGS)
    store.write_catalogue(split_catalogue(catalogue(60, seed=6), shards=1).items())
    second = store.price(name, settings=SETTINGS)
    assert (second.reused, second.file != first.file) == (False, True)
    folder = storage_path(f"{s3}/changing/prices/{name}")
    assert {path.name for path in folder.iterdir()} == {second.file, "manifest.json"}
    (folder / second.file).write_bytes(b"nothing of the kind")
    with pytest.raises(IntegrityError):
        store.prices(name)


def test_bytes_come_back_as_written(s3: str) -> None:
    path = storage_path(f"{s3}/files/one.bin")
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert read_checked(path, sha256=digest(b"two")) == b"two"
    with pytest.raises(NotPublishedError):
        read_checked(path.with_name("absent.bin"), sha256=digest(b""))


def test_the_shards_asset_reads_and_writes_a_bucket(s3: str) -> None:
    import dagster as dg

    from pricing_assets.assets.price_shards import CATALOGUE_SHARDS, price_table_shard
    from resources.price_shards import PriceShardsResource
    from resources.settings import SettingsResource

    root = f"{s3}/dagster"
    ShardStore(root).write_catalogue(split_catalogue(catalogue(80), shards=2).items())
    shards = PriceShardsResource(root=root)
    with dg.DagsterInstance.ephemeral() as instance:
        names = shards.sync(instance, partitions=str(CATALOGUE_SHARDS.name))
        for name in names:
            resources = {"settings": SettingsResource.of(SETTINGS), "price_shards": shards}
            assert dg.materialize(
                [price_table_shard], instance=instance, resources=resources, partition_key=name
            ).success
    parts = pa.concat_tables(ShardStore(root).prices(name) for name in names)
    whole = shard_price_function(SETTINGS)(catalogue(80))
    assert parts.sort_by("product_id").equals(whole.sort_by("product_id"))


def test_an_address_without_its_package_is_refused() -> None:
    with pytest.raises(InputError, match="nosuchscheme"):
        storage_path("nosuchscheme://bucket/folder")


def test_a_changed_object_is_seen(s3: str) -> None:
    store, name = ShardStore(f"{s3}/stamps"), "part-00000"
    store.write_catalogue(split_catalogue(catalogue(10), shards=1).items())
    first = store.catalogue_stamp(name)
    assert store.catalogue_stamp(name) == first
    store.write_catalogue(split_catalogue(catalogue(20), shards=1).items())
    assert store.catalogue_stamp(name) != first


def test_raw_tables_are_read_from_a_bucket(s3: str, market_folder: Path) -> None:
    from resources.raw_table_cache import CachedRawTables

    for path in market_folder.iterdir():
        write_whole(storage_path(f"{s3}/raw/{path.name}"), path.read_bytes())
    here, there = (CachedRawTables(root=root) for root in (str(market_folder), f"{s3}/raw"))
    wanted = here.read(SETTINGS)["sales"].accepted
    assert there.read(SETTINGS)["sales"].accepted.equals(wanted)
