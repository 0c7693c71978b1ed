"""Publication: all or nothing, one pointer, nothing damaged is ever parsed or served."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pricing_assets.core.errors import (
    EmptyTableError,
    GuardRailError,
    IntegrityError,
    MissingColumnError,
    NotPublishedError,
    PublicationConflictError,
)
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.tables import PRICE_RAIL_COLUMNS, PRICE_TABLE_COLUMNS
from serving.price_store import PriceStore
from serving.published_table import CURVE_FILE, PRICE_FILE, Manifest, as_arrow
from tests.published_tables import NOW, curve_table, price_table, stamps

CURVES = curve_table(20)


@pytest.fixture
def store(tmp_path: Path) -> PriceStore:
    return PriceStore(tmp_path / "tables", lock_timeout_seconds=0.2)


def publish(store: PriceStore, factor: float = 1.05, **more: object) -> Manifest:
    prices = price_table(CURVES, factor=factor)
    return store.publish(prices=prices, curves=CURVES, stamps=stamps(), now=NOW, **more)  # type: ignore[arg-type]


def with_column(prices: pa.Table, name: str, values: list[object]) -> pa.Table:
    position = prices.column_names.index(name)
    return prices.set_column(position, name, pa.array(values))


def test_a_published_table_reads_back_with_its_stamps(store: PriceStore) -> None:
    assert store.current() is None
    manifest = publish(store)
    table = store.read_current()
    assert store.current() == manifest.table_version == table.version
    assert tuple(table.prices.column_names) == (*PRICE_TABLE_COLUMNS, *PRICE_RAIL_COLUMNS)
    assert table.curves.equals(as_arrow(CURVES))
    row = table.prices.slice(0, 1).to_pylist()[0]
    assert row["table_version"] == manifest.table_version
    assert row["valid_until"] == NOW + timedelta(hours=48)
    assert manifest.files[PRICE_FILE].rows == 20
    assert manifest.stamps == stamps()


def test_pandas_and_arrow_publish_the_same_content(store: PriceStore) -> None:
    first = publish(store)
    frame = price_table(CURVES).to_pandas()
    again = store.publish(prices=frame, curves=CURVES.to_pandas(), stamps=stamps(), now=NOW)
    assert again.table_version == first.table_version
    assert store.versions() == [first.table_version]


def test_the_same_content_after_it_expired_is_a_new_version(store: PriceStore) -> None:
    first = publish(store)
    later = NOW + timedelta(hours=50)
    again = store.publish(
        prices=price_table(CURVES), curves=CURVES, stamps=stamps(now=later), now=later
    )
    assert again.table_version.split("-") == ["000002", first.table_version.split("-")[1]]


def test_rollback_moves_forward_and_twice_goes_back_twice(store: PriceStore) -> None:
    versions = [publish(store, factor) for factor in (1.0, 1.05, 1.1)]
    later = NOW + timedelta(hours=1)
    back = store.rollback(now=later)
    assert back.table_version.startswith("000004-")
    assert back.restored_from == versions[1].table_version
    assert back.valid_until == later + timedelta(hours=48)
    prices = store.read_current().prices["recommended_price"]
    assert prices.equals(store.read(versions[1].table_version).prices["recommended_price"])
    twice = store.rollback(now=later)
    assert twice.restored_from == versions[0].table_version
    with pytest.raises(NotPublishedError, match="no earlier"):
        store.rollback(now=later)
    assert store.rollback(versions[2].table_version, now=later).restored_from == (
        versions[2].table_version
    )
    assert len(store.versions()) == 6


def test_rollback_to_an_unknown_or_hostile_version_changes_nothing(store: PriceStore) -> None:
    current = publish(store).table_version
    for name in ("000009-deadbeef", "../../etc", ""):
        with pytest.raises(NotPublishedError, match="no table version"):
            store.rollback(name, now=NOW)
    assert store.current() == current


def test_a_second_publisher_with_an_old_view_is_refused(store: PriceStore) -> None:
    first = publish(store, expected=None)
    publish(store, 1.1, expected=first.table_version)
    for stale in (None, first.table_version):
        with pytest.raises(PublicationConflictError, match="another publication came first"):
            publish(store, 1.0, expected=stale)
    assert len(store.versions()) == 2


def test_concurrent_publishers_leave_one_chain(tmp_path: Path) -> None:
    store = PriceStore(tmp_path)
    factors = [0.95, 1.0, 1.05, 1.1]
    threads = [threading.Thread(target=publish, args=(store, factor)) for factor in factors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = store.versions()
    assert [name[:6] for name in names] == ["000001", "000002", "000003", "000004"]
    assert [store.manifest(name).previous for name in names] == [None, *names[:-1]]
    assert store.current() == names[-1]


def test_a_held_lock_is_a_conflict_and_not_a_wait_for_ever(store: PriceStore) -> None:
    with store._lock(), pytest.raises(PublicationConflictError, match="held"):
        publish(store)


@pytest.mark.parametrize("name", [PRICE_FILE, CURVE_FILE, "manifest.json"])
def test_any_flipped_bit_is_refused(store: PriceStore, name: str) -> None:
    version = publish(store).table_version
    path = store.root / "versions" / version / name
    good = path.read_bytes()
    for position in np.random.default_rng(1).integers(0, len(good), 60):
        damaged = bytearray(good)
        damaged[position] ^= 1
        path.write_bytes(bytes(damaged))
        with pytest.raises(IntegrityError):
            store.read_current()
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(IntegrityError):
        store.read_current()
    path.unlink()
    with pytest.raises(IntegrityError):
        store.read_current()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"table_version": "../x"}', "\x00"])
def test_a_damaged_pointer_is_refused(store: PriceStore, content: str) -> None:
    publish(store)
    (store.root / "current.json").write_text(content)
    with pytest.raises(IntegrityError, match="damaged"):
        store.read_current()


def test_a_publication_that_failed_half_way_changes_nothing(
    store: PriceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish(store)

    def fail(path: Path, content: bytes) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("serving.price_store.replace_durably", fail)
    with pytest.raises(OSError, match="disk full"):
        publish(store, 1.1)
    monkeypatch.undo()
    assert store.read_current().version == first.table_version
    third = publish(store, 1.1)
    assert third.table_version.startswith("000003-")
    assert third.previous == first.table_version


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("recommended_price", float("nan"), "not finite"),
        ("recommended_price", float("inf"), "not finite"),
        ("recommended_price", None, "not finite"),
        ("recommended_price", 0.0, "not above zero"),
        ("recommended_price", 1e6, "outside its floor and ceiling"),
        ("recommended_price", 0.01, "outside its floor and ceiling"),
        ("price_floor", None, "not finite"),
        ("price_ceiling", float("nan"), "not finite"),
        ("currency", "EUR", "currency is not USD"),
        ("product_id", "SKU-4", "twice"),
    ],
)
def test_a_price_that_may_not_be_served_is_not_published(
    store: PriceStore, column: str, value: object, why: str
) -> None:
    prices = price_table(CURVES)
    values = prices[column].to_pylist()
    values[3] = value
    with pytest.raises(GuardRailError, match=why):
        store.publish(
            prices=with_column(prices, column, values), curves=CURVES, stamps=stamps(), now=NOW
        )
    assert store.versions() == []


def test_a_product_without_a_price_is_published_without_one(store: PriceStore) -> None:
    prices = price_table(CURVES)
    for name in ("recommended_price", "price_floor", "price_ceiling"):
        values = prices[name].to_pylist()
        values[3] = None
        prices = with_column(prices, name, values)
    store.publish(prices=prices, curves=CURVES, stamps=stamps(), now=NOW)
    assert store.read_current().prices["recommended_price"].null_count == 1


def test_the_settings_of_a_table_are_part_of_it(store: PriceStore) -> None:
    first = publish(store)
    made_with = stamps().model_copy(update={"settings": PricingSettings(min_margin=0.2)})
    second = store.publish(prices=price_table(CURVES), curves=CURVES, stamps=made_with, now=NOW)
    assert second.table_version != first.table_version
    manifest = store.read_current().manifest
    assert manifest.settings_or(PricingSettings()).min_margin == 0.2
    assert manifest.stamps == made_with


def test_an_empty_table_or_a_missing_column_is_refused(store: PriceStore) -> None:
    with pytest.raises(EmptyTableError):
        store.publish(
            prices=price_table(CURVES).slice(0, 0), curves=CURVES, stamps=stamps(), now=NOW
        )
    prices = price_table(CURVES).drop_columns(["price_floor"])
    with pytest.raises(MissingColumnError, match="price_floor"):
        store.publish(prices=prices, curves=CURVES, stamps=stamps(), now=NOW)


def test_another_currency_needs_another_home(store: PriceStore) -> None:
    publish(store)
    euros = price_table(CURVES, currency="EUR")
    with pytest.raises(GuardRailError, match="home of its own"):
        store.publish(prices=euros, curves=CURVES, stamps=stamps(currency="EUR"), now=NOW)


def test_the_pointer_stamp_moves_with_each_publication(store: PriceStore) -> None:
    seen = [store.pointer_stamp()]
    for factor in (1.0, 1.1):
        publish(store, factor)
        seen.append(store.pointer_stamp())
    assert seen[0] is None
    assert len(set(seen)) == 3


def test_freeze_holds_and_fails_closed(store: PriceStore) -> None:
    assert not store.frozen().holds("SKU-1")
    store.freeze("SKU-1")
    store.freeze("SKU-2")
    store.unfreeze("SKU-2")
    assert store.frozen().holds("SKU-1")
    assert not store.frozen().holds("SKU-2")
    store.freeze()
    assert store.frozen().holds("anything")
    (store.root / "freeze.json").write_text("{")
    assert store.frozen().holds("anything")
    with pytest.raises(IntegrityError, match="unfreeze everything"):
        store.unfreeze("SKU-1")
    store.unfreeze()
    assert not store.frozen().holds("SKU-1")


WRITER = """
import sys
from pathlib import Path
from serving.price_store import PriceStore
from tests.published_tables import NOW, curve_table, price_table, stamps

curves = curve_table(400)
store = PriceStore(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    factor = 1 + (number * 7 + int(sys.argv[2])) % 41 / 400
    prices = price_table(curves, factor=factor)
    store.publish(prices=prices, curves=curves, stamps=stamps(), now=NOW)
    print(number, flush=True)
"""
"""A writer in a process of its own: root, seed, how many tables."""


def writer(root: Path, *, seed: int, tables: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(root), str(seed), str(tables)],
        cwd=Path(__file__).parent.parent,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_readers_see_whole_tables_while_processes_write_and_one_is_killed(tmp_path: Path) -> None:
    """Two writers in processes; the second is killed at work; every read is of one version."""
    first, second = writer(tmp_path, seed=1, tables=12), writer(tmp_path, seed=2, tables=10_000)
    store, seen = PriceStore(tmp_path), []
    try:
        assert second.stdout is not None
        for _ in range(3):
            second.stdout.readline()
        second.send_signal(signal.SIGKILL)
        while first.poll() is None:
            table = store.read_current()
            assert set(table.prices["table_version"].to_pylist()) == {table.version}
            seen.append(table.version)
        assert first.returncode == 0
    finally:
        for process in (first, second):
            process.kill()
            process.communicate()
    assert seen == sorted(seen)
    names = store.versions()
    assert store.current() in names
    assert len({name[:6] for name in names}) == len(names)
    curves = curve_table(400)
    after = store.publish(
        prices=price_table(curves, factor=1.07), curves=curves, stamps=stamps(), now=NOW
    )
    assert store.read_current().version == after.table_version
    assert not any((tmp_path / "incoming").iterdir())


@pytest.mark.parametrize("step", ["write_durably", "sync_folder", "replace_durably"])
def test_a_writer_that_dies_at_any_step_leaves_the_old_table(tmp_path: Path, step: str) -> None:
    """The process ends at once, as by a power cut, inside each step that touches the disk."""
    store = PriceStore(tmp_path)
    old = publish(store)
    dying = WRITER.replace(
        "from serving.price_store import PriceStore",
        "import os\nimport serving.price_store as module\n"
        "from serving.price_store import PriceStore\n"
        f"module.{step} = lambda *given: os._exit(9)",
    )
    ended = subprocess.run(
        [sys.executable, "-c", dying, str(tmp_path), "3", "1"],
        cwd=Path(__file__).parent.parent,
        check=False,
    )
    assert ended.returncode == 9
    assert store.read_current().version == old.table_version
    new = publish(store, 1.02)
    assert store.read_current().version == new.table_version
    assert store.rollback(now=NOW).restored_from == old.table_version
