"""The price table's page: what it asks to look through a table and to decide on its prices.

Belongs here: queries and acts from JSON to JSON over one worker's table. What a query selects is
``table_view``, what an act means ``approvals``, its record ``decision_log``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar, cast

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pricing_assets.core.errors import DecisionConflictError, InputError
from pricing_assets.core.settings import PricingSettings
from serving.actors import Actors
from serving.approvals import Action, Outcome, act, row_key
from serving.decision_log import DecisionLog
from serving.desk import Desk
from serving.home import Home, load_settings, read_environment
from serving.pages import Asked, DataRoute
from serving.price_store import PriceStore
from serving.table_export import csv_bytes, parquet_bytes
from serving.table_gate import KEY
from serving.table_view import (
    MAX_PAGE,
    Indices,
    RowFilter,
    RowOrder,
    TableColumns,
    TableView,
)
from serving.wire import decode_json, encode_json

MAX_VERSIONS = 50
MAX_ROWS = 100_000
MAX_ACTS = 200
Now = Callable[[], datetime]
Body = TypeVar("Body", bound=BaseModel)
_RowName = Annotated[list[str], Field(min_length=3, max_length=3)]


class RowsQuery(RowFilter):
    """The query of ``/table_rows`` and the exports."""

    sort: str = Field("", max_length=40)
    descending: bool = False
    before: str = Field("", max_length=40, description="Version to compare with.")
    offset: int = Field(0, ge=0)
    limit: int = Field(100, ge=0, le=MAX_PAGE)

    @property
    def filter(self) -> RowFilter:
        """The part that says which rows."""
        return RowFilter(**{name: getattr(self, name) for name in RowFilter.model_fields})

    @property
    def order(self) -> RowOrder:
        """The part that says in what order."""
        return _checked(RowOrder, {"column": self.sort or None, "descending": self.descending})


class ActBody(BaseModel):
    """The body of ``/table_act``: what to do with which rows of the table that was looked at."""

    model_config = ConfigDict(extra="forbid")

    action: Literal["propose", "approve", "reject", "freeze", "unfreeze"]
    table_version: str = Field(max_length=40)
    rows: list[_RowName] | None = Field(None, max_length=MAX_ROWS)
    filter: RowFilter | None = Field(None, description="In place of rows: all that fit.")
    before: str = Field("", max_length=40, description="Version that the filter compares with.")
    expected_rows: int = Field(ge=1, description="How many rows the sender means.")
    note: str = Field("", max_length=500)


class TableData:
    """The data of the price table's page, over one worker's desk and home."""

    def __init__(
        self,
        desk: Desk,
        store: PriceStore,
        *,
        settings: PricingSettings,
        actors: Actors,
        now: Now = lambda: datetime.now(UTC),
    ) -> None:
        self._desk = desk
        self._store = store
        self._log = DecisionLog(store.root)
        self._settings = settings
        self._actors = actors
        self._now = now
        self._columns: TableColumns | None = None
        self._view: tuple[tuple[Any, ...], TableView] | None = None
        self._building = asyncio.Lock()

    @classmethod
    def of_home(cls, desk: Desk, home: Home) -> TableData:
        """The data of a home, as its environment and settings are now."""
        settings, tokens = load_settings(), read_environment().user_tokens
        secret = tokens.get_secret_value() if tokens else None
        actors = Actors.of(settings.serving.user_header, secret)
        return cls(desk, PriceStore(home.tables), settings=settings, actors=actors)

    def routes(self) -> Mapping[str, DataRoute]:
        """The addresses of the page's data."""
        return {
            "/table_rows": DataRoute("GET", self.rows),
            "/table_facets": DataRoute("GET", self.facets),
            "/table_compare": DataRoute("GET", self.compare, heavy=True),
            "/table_acts": DataRoute("GET", self.acts, heavy=True),
            "/table_act": DataRoute("POST", self.act, heavy=True),
            "/table.csv": DataRoute("GET", self.csv, heavy=True, content_type=b"text/csv"),
            "/table.parquet": DataRoute(
                "GET", self.parquet, heavy=True, content_type=b"application/vnd.apache.parquet"
            ),
        }

    async def rows(self, asked: Asked) -> bytes:
        """A page of the rows that a query selects, their number and their sums."""
        query = _checked(RowsQuery, _given(asked.query))
        view, found = await self._selected(query)
        page = found[query.offset : query.offset + query.limit]
        return encode_json(
            {
                "table_version": view.version,
                "total": view.rows.num_rows,
                "found": len(found),
                "offset": query.offset,
                "rows": view.page(page),
                "sums": view.sums(found),
            }
        )

    async def facets(self, asked: Asked) -> bytes:
        """What can be filtered by, the versions there are, and how decisions are made here."""
        query = _checked(RowsQuery, _given(asked.query))
        view = await self._viewed(query.before)
        catalog, serving = self._desk.loaded(), self._settings.serving
        versions = await asyncio.to_thread(self._versions)
        return encode_json(
            {
                "table_version": view.version,
                "currency": catalog.manifest.currency,
                "published_at": catalog.manifest.published_at.isoformat(),
                "facets": asdict(view.facets()),
                "versions": versions,
                "approval": serving.approval,
                "approval_threshold": serving.approval_threshold,
                "decisions_version": catalog.approvals.decisions.version,
                "decisions_damaged": catalog.approvals.decisions.damaged,
                "user_header": serving.user_header,
                "user_tokens": bool(self._actors.digests),
            }
        )

    async def compare(self, asked: Asked) -> bytes:
        """What changes from the version ``before`` to ``after``, by how much, and its worth."""
        query = _checked(_Comparison, _given(asked.query))
        after = query.after or self._desk.loaded().version
        return await asyncio.to_thread(self._compared, query.before, after)

    async def acts(self, _: Asked) -> bytes:
        """The latest acts on record, newest first; the whole log is checked on the way."""
        acts = await asyncio.to_thread(self._log.acts)
        names = ("version", "time", "action", "by", "note", "table_version", "rows", "products")
        latest = [
            {name: getattr(one, name) for name in names} for one in acts[: -MAX_ACTS - 1 : -1]
        ]
        return encode_json({"acts": latest, "count": len(acts), "intact": True})

    async def csv(self, asked: Asked) -> bytes:
        """The rows that a query selects, as CSV in the contract's columns."""
        view, found = await self._selected(_checked(RowsQuery, _given(asked.query)))
        return await asyncio.to_thread(csv_bytes, view, found, store=self._store)

    async def parquet(self, asked: Asked) -> bytes:
        """The same as Parquet."""
        view, found = await self._selected(_checked(RowsQuery, _given(asked.query)))
        return await asyncio.to_thread(parquet_bytes, view, found, store=self._store)

    async def act(self, asked: Asked) -> bytes:
        """Decide on rows, put it on record, and bring it into force in this worker."""
        by = self._actors.name(asked.header)
        body = _checked(ActBody, decode_json(asked.body))
        view = await self._viewed(body.before)
        if body.table_version != view.version:
            raise DecisionConflictError(
                f"the table is {view.version} now, not {body.table_version}: look again"
            )
        places = self._meant(view, body)
        if body.action in ("freeze", "unfreeze"):
            outcome = await asyncio.to_thread(self._freeze, view, places, body, by)
        else:
            outcome = await asyncio.to_thread(self._decide, view, places, body, by)
        await self._desk.refresh()
        return encode_json(outcome)

    def _meant(self, view: TableView, body: ActBody) -> list[int]:
        """Positions of the rows that an act is about.

        Raises:
            InputError: it names no rows, or one that is not there.
            DecisionConflictError: other rows fit its filter than its sender saw.
        """
        if (body.rows is None) == (body.filter is None):
            raise InputError("name the rows, or give a filter: one of the two")
        if body.rows is None:
            places = view.select(body.filter or RowFilter(), RowOrder()).tolist()
        else:
            known = view.places()
            wanted = [row_key(*names) for names in body.rows]
            if any(key not in known for key in wanted):
                raise InputError("a row that is named is not in this table")
            places = sorted({known[key] for key in wanted})
        if len(places) != body.expected_rows:
            raise DecisionConflictError(
                f"{len(places)} rows fit now, not {body.expected_rows}: look again"
            )
        return places

    def _decide(self, view: TableView, places: list[int], body: ActBody, by: str) -> dict[str, Any]:
        serving = self._settings.serving
        if serving.approval == "off":
            raise InputError(
                "approvals are off, so a published price is served; set serving.approval to "
                "required to decide on prices, or freeze products"
            )
        action = cast(Action, body.action)
        priced = [row for row in map(view.prices.__getitem__, places) if row.recommended > 0]
        outcome = self._log.write(
            action,
            lambda now: act(
                action,
                priced,
                by=by,
                entries=now.entries,
                threshold=serving.approval_threshold,
            ),
            by=by,
            note=body.note,
            table_version=view.version,
            now=self._now(),
        )
        return {"changed": len(outcome.changed), "skipped": outcome.skipped}

    def _freeze(self, view: TableView, places: list[int], body: ActBody, by: str) -> dict[str, Any]:
        """Hold or release the rows' products; a hold is made first, a release recorded first."""
        products = frozenset(view.page_column("product_id", places))
        frozen = self._store.frozen().products
        changed = products - frozen if body.action == "freeze" else products & frozen
        if body.action == "freeze":
            self._store.refreeze(add=changed)
        self._log.write(
            body.action,
            lambda _: Outcome({}, {}),
            by=by,
            note=body.note,
            table_version=view.version,
            now=self._now(),
            products=tuple(sorted(changed)),
        )
        if body.action == "unfreeze":
            self._store.refreeze(take=changed)
        why, left = (
            "frozen already" if body.action == "freeze" else "not frozen",
            products - changed,
        )
        return {"changed": len(changed), "skipped": {why: len(left)} if left else {}}

    async def _selected(self, query: RowsQuery) -> tuple[TableView, Indices]:
        order = query.order
        view = await self._viewed(query.before)
        return view, await asyncio.to_thread(view.select, query.filter, order)

    async def _viewed(self, before: str) -> TableView:
        """The view of the table in use; built anew when the table or a decision changed."""
        await self._desk.refresh()  # what another worker has just written
        catalog = self._desk.loaded()
        freeze = await asyncio.to_thread(self._store.frozen)
        key = (catalog.version, id(catalog.approvals), freeze, before)
        async with self._building:
            if self._view is None or self._view[0] != key:
                if self._columns is None or self._columns.version != catalog.version:
                    self._columns = await asyncio.to_thread(self._read, catalog.version)
                old = await asyncio.to_thread(self._prices_of, before) if before else None
                view = await asyncio.to_thread(
                    self._columns.view, catalog.approvals, freeze, before=old
                )
                self._view = (key, view)
            return self._view[1]

    def _read(self, version: str) -> TableColumns:
        return TableColumns.of(self._store.read(version))

    def _prices_of(self, version: str) -> pa.Table:
        return self._store.read_prices(version, columns=(*KEY, "recommended_price"))

    def _versions(self) -> list[dict[str, Any]]:
        """The latest versions, newest first."""
        manifests = [self._store.manifest(name) for name in self._store.versions()[-MAX_VERSIONS:]]
        return [
            {
                "table_version": one.table_version,
                "published_at": one.published_at.isoformat(),
                "model_version": one.model_version,
                "restored_from": one.restored_from,
            }
            for one in reversed(manifests)
        ]

    def _compared(self, before: str, after: str) -> bytes:
        # pandas is loaded by whoever compares, not by a worker that only answers with prices.
        from pricing_assets.core.table_changes import table_changes

        old, new = self._store.read(before), self._store.read(after)
        changes = table_changes(
            old.prices.to_pandas(), new.prices.to_pandas(), curves=new.curves.to_pandas()
        )
        names = ("added", "removed", "raised", "cut", "mean_change", "revenue", "profit")
        return encode_json(
            {
                "before": old.version,
                "after": new.version,
                "currency": new.manifest.currency,
                **{name: getattr(changes, name) for name in names},
                "largest": changes.largest.to_dict("records"),
            }
        )


class _Comparison(BaseModel):
    model_config = ConfigDict(extra="forbid")

    before: str = Field(min_length=1, max_length=40)
    after: str = Field("", max_length=40)


def _given(query: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value != ""}


def _checked(model: type[Body], values: Any) -> Body:
    """``values`` as ``model``.

    Raises:
        InputError: they are not; one sentence says what.
    """
    try:
        return model.model_validate(values)
    except ValidationError as failure:
        error = failure.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in error["loc"]) or "the body"
        raise InputError(f"{where}: {error['msg'][:200]}") from None
