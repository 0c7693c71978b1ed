"""What a worker puts on record of the quotes that leave: the desk's side of the audit log.

Belongs here: turning requests, answers and the table behind them into records. The log itself is
``audit``. Without a log quotes are numbered only.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from pricing_assets.core.serving_parameters import AuditParameters
from pricing_assets.core.settings import PricingSettings
from serving.answer import QuoteIds
from serving.audit import AuditLog
from serving.audit_format import any_json
from serving.catalog import Catalog


class Recorder:
    """Numbers quotes and puts them on record."""

    def __init__(self, log: AuditLog | None) -> None:
        self._log = log
        self._ids: QuoteIds | AuditLog = QuoteIds() if log is None else log
        self._origin: tuple[Catalog, orjson.Fragment] | None = None

    @classmethod
    def under(cls, folder: Path | None, *, settings: AuditParameters) -> Recorder:
        """The recorder with its log in ``folder``; without a log where that is None or is off."""
        if folder is None or not settings.enabled:
            return cls(None)
        return cls(AuditLog(folder, settings=settings))

    def next(self) -> str:
        """The id of the next quote."""
        return self._ids.next()

    @property
    def has_room(self) -> bool:
        """A price may be served at once: ``admit`` would not wait."""
        return self._log is None or self._log.has_room

    async def admit(self) -> None:
        """Return when a price may be served.

        Raises:
            AuditUnavailableError: it could not be put on record.
        """
        if self._log is not None:
            await self._log.admit()

    def one(
        self, catalog: Catalog, request: Any, answer: bytes, *, added: dict[str, Any] | None = None
    ) -> None:
        """Record one quote: its request (a model or a decoded body), its answer as sent."""
        if self._log is not None:
            self._log.append(
                origin=self._origin_of(catalog),
                requests=[request],
                answers=[orjson.Fragment(answer)],
                context=None if added is None else [added],
            )

    def batch(
        self,
        catalog: Catalog,
        requests: list[Any],
        answers: bytes,
        *,
        added: list[dict[str, Any] | None] | None = None,
    ) -> None:
        """Record the quotes of one batch; ``answers`` is the JSON list that is sent."""
        if self._log is not None:
            self._log.append(
                origin=self._origin_of(catalog),
                requests=any_json(requests),
                answers=orjson.Fragment(answers),
                context=added,
            )

    def close(self) -> None:
        """Write what is left; blocks."""
        if self._log is not None:
            self._log.close()

    def _origin_of(self, catalog: Catalog) -> orjson.Fragment:
        if self._origin is None or self._origin[0] is not catalog:
            self._origin = (catalog, orjson.Fragment(orjson.dumps(_versions(catalog))))
        return self._origin[1]


def settings_version(settings: PricingSettings) -> str:
    """A name of these settings: the first 16 hexadecimal digits of their SHA-256."""
    return hashlib.sha256(settings.model_dump_json().encode()).hexdigest()[:16]


def _versions(catalog: Catalog) -> dict[str, Any]:
    """Everything that a quote of this table follows from, by name."""
    manifest, approvals = catalog.manifest, catalog.approvals
    return {
        "table_version": manifest.table_version,
        "content_sha256": manifest.content_sha256,
        "model_version": manifest.model_version,
        "data_version": manifest.data_version,
        "rules_version": manifest.rules_version,
        "settings_version": settings_version(catalog.settings),
        **({"approvals": approvals.on_record} if approvals.required else {}),
    }
