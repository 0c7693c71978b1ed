"""Published price tables: versions written once, one pointer moved by compare-and-swap.

A version is a folder written aside, fsynced, read back, and renamed into ``versions/``; then
``current.json`` is replaced in one step. Nothing is ever changed in place. A rollback moves
forward under a new number with the old content.

Layout: ``versions/<version>/{price_table.parquet,demand_curves.parquet,manifest.json}``,
``current.json``, ``freeze.json``, ``.lock``, ``incoming/`` (unfinished work, cleared by the next
publication).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pricing_assets.core.errors import (
    GuardRailError,
    IntegrityError,
    NotPublishedError,
    PublicationConflictError,
)
from pricing_assets.core.settings import PricingSettings
from serving.durable import exclusive_lock, replace_durably, sync_folder, write_durably
from serving.freeze import (
    Freeze,
    add_to_freeze,
    read_freeze,
    replace_products,
    take_from_freeze,
)
from serving.published_table import (
    CURVE_FILE,
    PRICE_FILE,
    VERSION_PATTERN,
    Manifest,
    PublishedTable,
    Stamps,
    as_arrow,
    check_guard_rails,
    content_hash,
    decode_columns,
    encode_parquet,
    file_entry,
    ordered_curves,
    stamped,
    unstamped,
)
from serving.table_gate import GATE_COLUMNS, require_unbroken
from serving.version_folder import (
    first_line,
    read_bytes,
    read_folder,
    read_manifest,
    verify_folder,
)

ANY = "any"
"""Passed as ``expected``: replace whatever is current."""


class Pointer(BaseModel):
    """The content of ``current.json``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    table_version: str = Field(pattern=VERSION_PATTERN)
    manifest_sha256: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True)
class PointerStamp:
    """What the file system says of the pointer; it differs whenever the pointer was replaced."""

    inode: int
    modified_ns: int
    size: int


@dataclass(frozen=True, slots=True)
class PriceStore:
    """The published tables under ``root`` (``Home.tables``)."""

    root: Path
    lock_timeout_seconds: float = 60.0

    def publish(
        self,
        *,
        prices: Any,
        curves: Any,
        stamps: Stamps,
        now: datetime,
        expected: str | None = ANY,
    ) -> Manifest:
        """Publish a price table and its demand curves as the new current version.

        Args:
            prices: pandas or Arrow, ``PRICE_TABLE_COLUMNS`` (the five stamps may be absent).
            curves: pandas or Arrow, ``DEMAND_CURVE_COLUMNS``.
            stamps: origin, currency and validity.
            now: the time of publication, with a time zone.
            expected: the version that must be current (None: no table yet); by default any.

        Returns:
            The manifest of the new version, or of the current one where the content is the same
            and still valid at ``now``.

        Raises:
            GuardRailError: a price may not be served, or the currency changed.
            BatchBreakerError: the table as a whole moves as accidents do, and the settings in
                ``stamps`` hold no override.
            PublicationConflictError: another version is current than ``expected``.
            EmptyTableError, MissingColumnError: there is nothing to publish.
        """
        plain, ordered = unstamped(as_arrow(prices)), ordered_curves(as_arrow(curves))
        check_guard_rails(plain, currency=stamps.currency)
        digest = content_hash(plain, ordered, stamps)
        with self._lock():
            before = self._current_manifest()
            self._check_expected(expected, before)
            if before and before.content_sha256 == digest and before.valid_until > now:
                return before
            if before and before.currency != stamps.currency:
                raise GuardRailError(
                    f"the current table is in {before.currency} and this one in "
                    f"{stamps.currency}; publish another currency in a home of its own"
                )
            passed = self._pass_breaker(plain, stamps, before=before)
            return self._write_version(
                plain, ordered, stamps, digest=digest, now=now, overridden=passed
            )

    def rollback(
        self, to: str | None = None, *, now: datetime, expected: str | None = ANY
    ) -> Manifest:
        """Publish the content of an earlier version again, under a new number.

        ``to`` None takes the version before the content that is current; rolling back twice goes
        back two contents. Validity keeps its length and starts at ``now``. The batch breaker does
        not stand in the way of the cure.

        Raises:
            NotPublishedError: there is no such version.
            IntegrityError: that version is damaged; nothing changes.
        """
        with self._lock():
            self._check_expected(expected, self._current_manifest())
            source = self._origin(to) if to is not None else self._version_before()
            table = self.read(source)
            length = table.manifest.valid_until - table.manifest.valid_from
            stamps = table.manifest.stamps.model_copy(
                update={"valid_from": now, "valid_until": now + length}
            )
            plain, ordered = unstamped(table.prices), ordered_curves(table.curves)
            check_guard_rails(plain, currency=stamps.currency)
            digest = table.manifest.content_sha256
            return self._write_version(
                plain, ordered, stamps, digest=digest, now=now, restored_from=source
            )

    def current(self) -> str | None:
        """The current version; None before the first publication.

        Raises:
            IntegrityError: the pointer is damaged.
        """
        pointer = self._pointer()
        return pointer.table_version if pointer else None

    def read_current(self) -> PublishedTable:
        """The current table, verified.

        Raises:
            NotPublishedError: no table was published.
            IntegrityError: the pointer, the manifest or a file is damaged.
        """
        pointer = self._pointer()
        if pointer is None:
            raise NotPublishedError(
                f"no price table is published under {self.root}; run 'pricing run' first"
            )
        return self.read(pointer.table_version, manifest_sha256=pointer.manifest_sha256)

    def read(self, version: str, *, manifest_sha256: str | None = None) -> PublishedTable:
        """One version; the SHA-256 of every file is checked before it is parsed."""
        return read_folder(self._folder(version), manifest_sha256=manifest_sha256)

    def prices_to_replace(self) -> pa.Table | None:
        """What the batch breaker reads of the current table; None without one.

        A damaged one is none, so that it cannot stop the table that cures it; the breaker then
        compares with the current prices that the new table states.
        """
        with contextlib.suppress(IntegrityError):
            version = self.current()
            return self.read_prices(version, columns=GATE_COLUMNS) if version else None
        return None

    def read_prices(self, version: str, *, columns: Sequence[str]) -> pa.Table:
        """Some columns of one version's prices, verified; null where an older one lacks them."""
        folder = self._folder(version)
        entry = read_manifest(folder).files[PRICE_FILE]
        content = read_bytes(folder / PRICE_FILE)
        return decode_columns(content, name=PRICE_FILE, entry=entry, columns=columns)

    def manifest(self, version: str) -> Manifest:
        """The manifest of one version."""
        return read_manifest(self._folder(version))

    def versions(self) -> list[str]:
        """All version names, oldest first."""
        folder = self.root / "versions"
        if not folder.is_dir():
            return []
        names = [entry.name for entry in folder.iterdir() if re.match(VERSION_PATTERN, entry.name)]
        return sorted(names, key=_number)

    def pointer_stamp(self) -> PointerStamp | None:
        """A cheap mark of the pointer, for noticing that it moved; None where there is none."""
        try:
            status = (self.root / "current.json").stat()
        except FileNotFoundError:
            return None
        return PointerStamp(status.st_ino, status.st_mtime_ns, status.st_size)

    def frozen(self) -> Freeze:
        """What is frozen now; an unreadable file freezes everything."""
        return read_freeze(self.root / "freeze.json")

    def freeze(self, product_id: str | None = None) -> Freeze:
        """Hold the price of one product, or of all for None."""
        with self._lock():
            return add_to_freeze(self.root / "freeze.json", product_id)

    def unfreeze(self, product_id: str | None = None) -> Freeze:
        """Release one product, or everything for None."""
        with self._lock():
            return take_from_freeze(self.root / "freeze.json", product_id)

    def refreeze(
        self, *, add: frozenset[str] = frozenset(), take: frozenset[str] = frozenset()
    ) -> Freeze:
        """Hold the products ``add`` and release ``take``, in one step."""
        with self._lock():
            return replace_products(self.root / "freeze.json", add=add, take=take)

    def _lock(self) -> Any:
        return exclusive_lock(self.root / ".lock", timeout_seconds=self.lock_timeout_seconds)

    def _folder(self, version: str) -> Path:
        folder = self.root / "versions" / version
        if not re.match(VERSION_PATTERN, version) or not folder.is_dir():
            known = ", ".join(self.versions()[-5:]) or "none"
            raise NotPublishedError(f"there is no table version '{version}'; the latest: {known}")
        return folder

    def _pointer(self) -> Pointer | None:
        path = self.root / "current.json"
        try:
            return Pointer.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as failure:
            raise IntegrityError(f"{path} is damaged ({first_line(failure)})") from None

    def _current_manifest(self) -> Manifest | None:
        version = self.current()
        return self.manifest(version) if version else None

    def _check_expected(self, expected: str | None, before: Manifest | None) -> None:
        found = before.table_version if before else None
        if expected not in (ANY, found):
            raise PublicationConflictError(
                f"the current table is {found or 'none'}, not {expected or 'none'}: another "
                "publication came first; build on it and publish again"
            )

    def _pass_breaker(
        self, prices: pa.Table, stamps: Stamps, *, before: Manifest | None
    ) -> tuple[str, ...]:
        """What the breaker's override lets through."""
        settings = stamps.settings or PricingSettings()
        last = self.prices_to_replace() if before else None
        return require_unbroken(last, prices, parameters=settings.batch_breaker)

    def _origin(self, version: str) -> str:
        """The version whose content ``version`` holds: itself, unless it is a rollback."""
        restored = self.manifest(version).restored_from
        return self._origin(restored) if restored else version

    def _version_before(self) -> str:
        current = self.current()
        before = self.manifest(self._origin(current)).previous if current else None
        if before is None:
            raise NotPublishedError("there is no earlier table to roll back to")
        return self._origin(before)

    def _write_version(
        self,
        prices: pa.Table,
        curves: pa.Table,
        stamps: Stamps,
        *,
        digest: str,
        now: datetime,
        restored_from: str | None = None,
        overridden: tuple[str, ...] = (),
    ) -> Manifest:
        names = self.versions()
        version = f"{(_number(names[-1]) if names else 0) + 1:06d}-{digest[:8]}"
        full = stamped(prices, version=version, stamps=stamps)
        with ThreadPoolExecutor(2) as pool:
            encoded = pool.map(encode_parquet, (full, curves))
            files = dict(zip((PRICE_FILE, CURVE_FILE), encoded, strict=True))
        rows = {PRICE_FILE: full.num_rows, CURVE_FILE: curves.num_rows}
        manifest = Manifest(
            **dict(stamps),
            table_version=version,
            previous=self.current(),
            restored_from=restored_from,
            published_at=now,
            content_sha256=digest,
            overridden=overridden,
            files={name: file_entry(files[name], rows=rows[name]) for name in files},
        )
        self._install(manifest, files)
        return manifest

    def _install(self, manifest: Manifest, files: dict[str, bytes]) -> None:
        """Write aside, fsync, read back, rename, then move the pointer. The lock is held."""
        incoming = self.root / "incoming"
        shutil.rmtree(incoming, ignore_errors=True)
        aside = incoming / uuid.uuid4().hex
        aside.mkdir(parents=True)
        encoded = manifest.encode()
        for name, content in {**files, "manifest.json": encoded}.items():
            write_durably(aside / name, content)
        sync_folder(aside)
        digest = hashlib.sha256(encoded).hexdigest()
        verify_folder(aside, manifest_sha256=digest)
        target = self.root / "versions" / manifest.table_version
        target.parent.mkdir(exist_ok=True)
        aside.rename(target)
        sync_folder(target.parent)
        pointer = Pointer(table_version=manifest.table_version, manifest_sha256=digest)
        replace_durably(self.root / "current.json", pointer.model_dump_json().encode())


def _number(version: str) -> int:
    return int(version.split("-", 1)[0])
