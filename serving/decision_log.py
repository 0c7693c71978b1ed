"""The decisions on published prices on disk: the log that is their truth, and its snapshot.

``decisions.log`` is append-only: one line an act and a seal chained to the one before, as in the
audit log. ``decisions.json`` is what all acts together come to, replaced in one step, for readers.
An act is in force once it is in both; one that a crash left in the log alone is taken up by the
next. Belongs here: writing, reading, checking and replaying; what a decision means is
``approvals``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from pydantic import TypeAdapter, ValidationError

from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.serving_parameters import ServingParameters
from serving.approvals import NOT_REQUIRED, Approvals, Decision, Decisions, Outcome
from serving.audit_format import GENESIS, SEAL_PREFIX, block_hash, is_hash, line_of, seal_line
from serving.durable import exclusive_lock, replace_durably

SNAPSHOT = "decisions.json"
LOG = "decisions.log"
_ENTRIES = TypeAdapter(dict[str, Decision])


@dataclass(frozen=True, slots=True)
class Act:
    """One act on record: who did what, when, to how many rows, and its note."""

    version: int
    time: str
    action: str
    by: str
    note: str
    table_version: str
    rows: int
    products: tuple[str, ...]
    digest: str
    entries: dict[str, Decision]


@dataclass(frozen=True, slots=True)
class DecisionLog:
    """The decisions beside the published tables under ``root`` (``Home.tables``)."""

    root: Path
    lock_timeout_seconds: float = 60.0

    def read(self) -> Decisions:
        """The decisions in force; none where there is no file, damaged where it is unreadable."""
        try:
            return Decisions.model_validate_json((self.root / SNAPSHOT).read_bytes())
        except FileNotFoundError:
            # A log without its snapshot has lost it: nothing may be read as "nothing decided".
            lost = (self.root / LOG).exists()
            return Decisions(damaged=lost)
        except (OSError, ValidationError):
            return Decisions(damaged=True)

    def write(
        self,
        action: str,
        decide: Callable[[Decisions], Outcome],
        *,
        by: str,
        note: str,
        table_version: str,
        now: datetime,
        products: tuple[str, ...] = (),
    ) -> Outcome:
        """Put one act on record and in force; nothing is written where it changes nothing.

        Args:
            action: its name.
            decide: what it makes of the decisions in force; called under the lock.
            by, note: who acts, and why.
            table_version: the table whose prices were judged.
            now: the time, with a time zone.
            products: product ids of an act that changes no decision, such as a freeze.

        Raises:
            IntegrityError: the log is broken; the decisions in force stay.
            PublicationConflictError: the lock was held by others for too long.
        """
        with exclusive_lock(self.root / ".lock", timeout_seconds=self.lock_timeout_seconds):
            before = self._recovered()
            outcome = decide(before)
            if not outcome.changed and not products:
                return outcome
            record = {
                "kind": "decision",
                "version": before.version + 1,
                "time": now.isoformat(),
                "action": action,
                "by": by,
                "note": note,
                "table_version": table_version,
                "products": products,
                "entries": {key: tuple(one) for key, one in outcome.changed.items()},
            }
            head = self._append(record, before=before)
            after = Decisions(
                version=before.version + 1,
                head=head,
                entries={**before.entries, **outcome.changed},
            )
            replace_durably(self.root / SNAPSHOT, after.model_dump_json().encode())
            return outcome

    def at(self, version: int) -> Decisions:
        """The decisions that were in force at a version, replayed from the log.

        Raises:
            IntegrityError: the log is broken before it, or does not reach it.
        """
        state = self._replayed(until=version)
        if state.version != version:
            raise IntegrityError(f"{LOG} ends at version {state.version}, before {version}")
        return state

    def recorded(self, said: dict[str, Any] | None) -> Approvals:
        """The approvals that a served price's record names (``Approvals.on_record``).

        Raises:
            IntegrityError: as in ``at``.
        """
        if said is None:
            return NOT_REQUIRED
        version = said["version"]
        decisions = Decisions(damaged=True) if version is None else self.at(version)
        return Approvals(required=True, threshold=said["threshold"], decisions=decisions)

    def acts(self) -> list[Act]:
        """Every act, oldest first.

        Raises:
            IntegrityError: the log is broken.
        """
        return list(self._acts())

    def _recovered(self) -> Decisions:
        """The decisions in force; from the log where the snapshot is behind it or damaged."""
        kept = self.read()
        tail = _last_seal(self.root / LOG)
        if not kept.damaged and kept.head == tail:
            return kept
        replayed = self._replayed()
        if replayed.version < kept.version:
            raise IntegrityError(
                f"{LOG} ends at version {replayed.version} and {SNAPSHOT} is at {kept.version}: "
                "restore the log from a backup"
            )
        return replayed

    def _replayed(self, *, until: int | None = None) -> Decisions:
        version, head, entries = 0, GENESIS, dict[str, Decision]()
        for act in self._acts():
            if until is not None and act.version > until:
                break
            version, head = act.version, act.digest
            entries.update(act.entries)
        return Decisions(version=version, head=head, entries=entries)

    def _append(self, record: dict[str, Any], *, before: Decisions) -> str:
        """Write the act and its seal behind the last seal; returns the seal's hash."""
        line = line_of(record)
        digest = block_hash(before.head, line)
        seal = seal_line(block=before.version, records=1, previous=before.head, digest=digest)
        path = self.root / LOG
        with path.open("ab") as stream:
            os.ftruncate(stream.fileno(), _sealed_size(path))  # what a crash left half written
            stream.write(line + seal)
            stream.flush()
            os.fsync(stream.fileno())
        return digest

    def _acts(self) -> Iterator[Act]:
        path, previous = self.root / LOG, GENESIS
        if not path.exists():
            return
        lines = path.read_bytes()[: _sealed_size(path)].splitlines(keepends=True)
        for number in range(len(lines) // 2):
            line, seal = lines[2 * number], lines[2 * number + 1]
            act = _act(line, seal, previous=previous, number=number)
            previous = act.digest
            yield act
        if len(lines) % 2:
            raise IntegrityError(f"{LOG} holds an act without its seal")


def _act(line: bytes, seal: bytes, *, previous: str, number: int) -> Act:
    """One act, checked against its seal and its place.

    Raises:
        IntegrityError: a byte was changed, or a line left out, put in or moved.
    """
    try:
        record, ends = orjson.loads(line), orjson.loads(seal)
        digest = block_hash(previous, line)
        if (
            ends["hash"] != digest
            or ends["previous"] != previous
            or record["version"] != number + 1
        ):
            raise IntegrityError(f"{LOG} is broken at act {number + 1}: restore it from a backup")
        entries = _ENTRIES.validate_python(record["entries"])
        names = ("version", "time", "action", "by", "note", "table_version")
        products = tuple(record["products"])
        return Act(
            **{name: record[name] for name in names},
            rows=len(entries) or len(products),
            products=products or tuple(key.split("\x1f")[0] for key in list(entries)[:5]),
            digest=digest,
            entries=entries,
        )
    except (orjson.JSONDecodeError, ValidationError, KeyError, TypeError) as failure:
        raise IntegrityError(f"act {number + 1} of {LOG} cannot be read: {failure}") from None


def _sealed_size(path: Path) -> int:
    """Bytes up to the end of the last seal; what follows was never in force."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    start = content.rfind(b"\n" + SEAL_PREFIX)
    end = content.find(b"\n", start + 1) if start >= 0 else -1
    return end + 1


def _last_seal(path: Path) -> str:
    """The hash of the last seal; GENESIS where the log holds none."""
    size = _sealed_size(path)
    if not size:
        return GENESIS
    with path.open("rb") as stream:
        stream.seek(max(0, size - 4096))
        line = stream.read(size - stream.tell()).splitlines()[-1]
    digest = orjson.loads(line).get("hash")
    if not is_hash(digest):
        raise IntegrityError(f"the last seal of {LOG} holds no hash")
    return digest


@dataclass(slots=True)
class ApprovalsReader:
    """The approvals of one home as a service's settings ask, read anew when the file changed."""

    log: DecisionLog
    parameters: ServingParameters
    _stamp: tuple[int, ...] = ()
    _known: Approvals | None = field(default=None)

    def read(self) -> Approvals:
        """The approvals now."""
        if self.parameters.approval == "off":
            return NOT_REQUIRED
        stamp = self._look()
        if self._known is None or stamp != self._stamp:
            self._known = Approvals(
                required=True,
                threshold=self.parameters.approval_threshold,
                decisions=self.log.read(),
            )
            self._stamp = stamp
        return self._known

    def _look(self) -> tuple[int, ...]:
        """What differs whenever the snapshot was replaced, or lost while there is a log."""
        try:
            status = (self.log.root / SNAPSHOT).stat()
        except OSError:
            return (int((self.log.root / LOG).exists()),)
        return status.st_ino, status.st_mtime_ns, status.st_size
