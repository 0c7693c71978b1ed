"""Why a served price is what it is: its record, recomputed exactly, taken apart and traced back.

Belongs here: from a quote id to an explanation in words and numbers, from the audit log and the
table version that the record names, whatever is published now. Pricing itself is ``quote`` and
``live_quote``, the same code that served it; finding the record is ``audit_reader``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pricing_assets.core.errors import (
    GuardRailError,
    InputError,
    IntegrityError,
    NotPublishedError,
    UnknownProductError,
    UnknownQuoteError,
)
from pricing_assets.core.guardrails import RULES_VERSION, PriceBounds
from pricing_assets.core.price_rules import Rule, sentence
from pricing_assets.core.settings import PricingSettings
from serving.audit_reader import FoundQuote, find_quote
from serving.catalog import Catalog, Found
from serving.context import Context
from serving.decision_log import DecisionLog
from serving.live_demand import LiveDemand
from serving.live_quote import quote
from serving.price_store import PriceStore
from serving.quote import (
    PricedRow,
    Quote,
    bounds_at,
    bounds_of,
    finite_or_none,
    frozen_quote,
    in_minor,
    published_quote,
)
from serving.recorder import settings_version
from serving.rule_quote import current_quote, rule_quote
from serving.wire import PriceRequest, price_request

KEPT_TABLES = 4
"""Table versions kept in memory, the latest asked for."""
COMPARED = (
    "recommended_price",
    "price_floor",
    "price_ceiling",
    "currency",
    "confidence",
    "expected_units",
)
"""Fields of an answer that must come out again, to the last bit."""

_RULES: dict[str, Rule] = {rule.code: rule for rule in Rule if rule.value}


@dataclass(frozen=True, slots=True)
class _Case:
    """One served quote with the table that it came from."""

    found: FoundQuote
    catalog: Catalog
    request: PriceRequest
    context: Context
    match: Found | None

    @property
    def row(self) -> PricedRow | None:
        return self.match.row if self.match and self.match.row.has_price else None

    @property
    def settings(self) -> PricingSettings:
        return self.catalog.settings

    @property
    def source(self) -> str:
        return str(self.found.answer["source"])


class Explainer:
    """Explains quotes of one home; reads only."""

    def __init__(self, *, store: PriceStore, audit: Path | None, settings: PricingSettings) -> None:
        self._store = store
        self._audit = audit
        self._settings = settings
        self._decisions = DecisionLog(store.root)
        self._tables: OrderedDict[str, Catalog] = OrderedDict()

    def explain(self, quote_id: str) -> dict[str, Any]:
        """The explanation of one quote, ready for JSON; it blocks on files.

        Raises:
            UnknownQuoteError: the quote is not on record.
        """
        if self._audit is None:
            raise UnknownQuoteError("no audit log is kept here, so no quote can be explained")
        found = find_quote(self._audit, quote_id)
        head = _head(found)
        try:
            case = self._case(found)
        except (NotPublishedError, IntegrityError) as failure:
            return {**head, "reproduced": False, "differences": [str(failure)]}
        return {**head, **_reproduction(case), **_account(case)}

    def reproduction(self, found: FoundQuote) -> dict[str, Any]:
        """Whether the quote of a record comes out the same again, and what differs.

        Raises:
            NotPublishedError, IntegrityError: its table cannot be read.
        """
        return _reproduction(self._case(found))

    def _case(self, found: FoundQuote) -> _Case:
        catalog = self._table(str(found.answer["table_version"]))
        catalog = catalog.under(self._decisions.recorded(found.record["origin"].get("approvals")))
        request = price_request(found.request)
        added = found.context or {}
        context = replace(request.context, **added.get("used", {}))
        match = catalog.find(request.product_id, request.store_id, request.segment)
        return _Case(found, catalog, request, context, match)

    def _table(self, version: str) -> Catalog:
        """The table of a version, verified; an old one stays readable in the store."""
        catalog = self._tables.pop(version, None)
        if catalog is None:
            catalog = Catalog(self._store.read(version), settings=self._settings)
        self._tables[version] = catalog
        while len(self._tables) > KEPT_TABLES:
            self._tables.popitem(last=False)
        return catalog


def recomputed(
    source: str,
    *,
    match: Found | None,
    request: PriceRequest,
    context: Context,
    catalog: Catalog,
) -> Quote:
    """The quote that the rung ``source`` gives for a request, from one table.

    Raises:
        GuardRailError, InputError, UnknownProductError: it gives none.
    """
    settings, product = catalog.settings, request.product_id
    row = match.row if match else None
    if source == "frozen":
        return frozen_quote(product, row, context, currency=catalog.manifest.currency)
    held = catalog.approvals.held_quote(row, context)
    if held is not None:
        return held
    if source == "held":
        raise GuardRailError("the decisions on record do not hold this price")
    if source == "rule" or row is None or not row.has_price:
        markup = catalog.markup(row) if row is not None else None
        return rule_quote(product, context, settings=settings, row=row, markup=markup)
    if source == "current":
        return current_quote(row, context, settings=settings)
    if source == "table" and row.curve is not None and row.curve.usable:
        return published_quote(row)
    return quote(row, context, settings=settings)


def _head(found: FoundQuote) -> dict[str, Any]:
    """What is on record, as it was asked and answered."""
    record, answer = found.record, found.answer
    return {
        "quote_id": answer["quote_id"],
        "product_id": answer["product_id"],
        "quoted_at": datetime.fromtimestamp(record["time"], tz=UTC).isoformat(),
        "served": answer,
        "request": found.request,
        "context": found.context,
        "policy": record["policy"],
        "propensity": record["propensity"],
        "versions": record["origin"],
        "audit": {"segment": found.segment, "block_intact": found.block_intact},
    }


def _reproduction(case: _Case) -> dict[str, Any]:
    """The same price again, and what differs where it does."""
    try:
        again = recomputed(
            case.source,
            match=case.match,
            request=case.request,
            context=case.context,
            catalog=case.catalog,
        )
    except (GuardRailError, InputError, UnknownProductError) as failure:
        return {"reproduced": False, "recomputed_price": None, "differences": [str(failure)]}
    served = case.found.answer
    differences = [
        f"{name} was {served[name]!r} and is {getattr(again, name)!r}"
        for name in COMPARED
        if served[name] != getattr(again, name)
    ]
    if case.catalog.manifest.rules_version not in ("", RULES_VERSION):
        made, now = case.catalog.manifest.rules_version, RULES_VERSION
        differences += [f"the guard rails were version {made} and are {now}"] if differences else []
    return {
        "reproduced": not differences,
        "recomputed_price": again.recommended_price,
        "differences": differences,
    }


def _account(case: _Case) -> dict[str, Any]:
    return {
        "how": _HOW.get(case.source, case.source),
        "drivers": list(_drivers(case)),
        "expected": _expected(case),
        "guard_rails": _guard_rails(case),
        "lineage": _lineage(case.catalog),
    }


_HOW = {
    "table": "the published price, as it is",
    "live": "re-optimised for the request from the published demand curve",
    "cache": "re-optimised for the same request shortly before, and kept",
    "rule": "a rule on cost, current price and rival: no published price could be used",
    "current": "the current price: no rung above could answer",
    "frozen": "the current price: the product is frozen",
    "held": "the price that stands: the recommended one is not approved",
}


def _drivers(case: _Case) -> Iterator[dict[str, Any]]:
    """The way from the current to the served price: each step's price, move and reason.

    The steps are the context's parts, added one after the other, each priced in full; so the moves
    add up to the whole.
    """
    served = float(case.found.answer["recommended_price"])
    row = case.row
    if row is None:
        yield _step("rule", None, served, " ".join(case.found.answer["reasons"]))
        return
    before = row.current_price
    yield _step("current price", None, before, "the price that changes are counted from")
    for name, price, reasons in _way(case, row):
        if price != before or name == "published price":
            yield _step(name, before, price, "; ".join(reasons))
        before = price
    if served != before:
        yield _step("served price", before, served, _HOW.get(case.source, case.source))


def _way(case: _Case, row: PricedRow) -> Iterator[tuple[str, float, tuple[str, ...]]]:
    yield "published price", row.recommended_price, row.reasons
    if case.source not in ("live", "cache", "table"):
        return
    said: set[str] = set(row.reasons)
    for name, context in _growing(case.context):
        priced = quote(row, context, settings=case.settings)
        new = tuple(reason for reason in priced.reasons if reason not in said)
        said.update(priced.reasons)
        yield name, priced.recommended_price, new


def _growing(context: Context) -> Iterator[tuple[str, Context]]:
    """The context with one part more each time."""
    terms = Context(
        current_price=context.current_price,
        unit_cost=context.unit_cost,
        objective=context.objective,
    )
    rival = replace(terms, comp_price=context.comp_price)
    yield "the request's own terms", terms
    yield "rival", rival
    yield "stock, day and promotion", context


def _step(name: str, before: float | None, price: float, because: str) -> dict[str, Any]:
    move = None if before is None else round(price - before, 6)
    return {"step": name, "price": price, "move": move, "because": because}


def _expected(case: _Case) -> dict[str, Any] | None:
    """What the demand curve expects over the horizon at the current and the served price."""
    row = case.row
    if row is None or row.curve is None or not row.curve.usable:
        return None
    curve, cost = row.curve, case.context.unit_cost
    cost = curve.unit_cost if cost is None else cost
    prices = np.array([row.current_price, float(case.found.answer["recommended_price"])])
    units = LiveDemand.of(curve, row.meaning(case.context)).units(prices)
    names = ("at_current_price", "at_served_price")
    return {
        "horizon_days": row.horizon_days,
        "own_price_elasticity": curve.elasticity_mean,
        "own_price_elasticity_sd": curve.elasticity_sd,
        "unit_cost": finite_or_none(cost),
        **{
            name: {
                "price": float(price),
                "units": float(count),
                "revenue": float(price * count),
                "profit": finite_or_none(float((price - cost) * count)),
            }
            for name, price, count in zip(names, prices, units, strict=True)
        },
    }


def _guard_rails(case: _Case) -> dict[str, Any]:
    """Floor and ceiling, the rules that set them, and those that the price leans on."""
    answer = case.found.answer
    codes = [reason.split(":", 1)[0] for reason in answer["reasons"]]
    hit: list[Rule] = [_RULES[code] for code in codes if code in _RULES]
    bounds = _bounds(case)
    rules: dict[str, Rule] = {}
    if bounds is not None:
        rules = {
            "floor": Rule(int(bounds.floor_rule[0])),
            "ceiling": Rule(int(bounds.ceiling_rule[0])),
        }
        minor = in_minor(float(answer["recommended_price"]), bounds.exponent)
        ends = {"floor": int(bounds.floor[0]), "ceiling": int(bounds.ceiling[0])}
        hit += [rules[end] for end, value in ends.items() if minor == value]
    named = {end: rule.code for end, rule in rules.items() if rule != Rule.NONE}
    return {
        "floor": answer["price_floor"],
        "ceiling": answer["price_ceiling"],
        "floor_rule": named.get("floor"),
        "ceiling_rule": named.get("ceiling"),
        "hit": [
            {"rule": rule.code, "sentence": sentence(rule, settings=case.settings)}
            for rule in dict.fromkeys(hit)
            if rule.value
        ],
    }


def _bounds(case: _Case) -> PriceBounds | None:
    """The bounds with the rules that set them, where these are the bounds that were served."""
    row = case.row
    if row is None:
        return None
    bounds = bounds_of(row, row.meaning(case.context), settings=case.settings)
    if not bounds.floor_rule[0] and not bounds.ceiling_rule[0]:
        curve = row.curve
        bounds = bounds_at(
            current_price=row.current_price,
            unit_cost=finite_or_none(curve.unit_cost) if curve else None,
            map_price=finite_or_none(curve.map_price) if curve else None,
            settings=case.settings,
        )
    answer, scale = case.found.answer, 10.0**bounds.exponent
    ends = (bounds.floor[0] / scale, bounds.ceiling[0] / scale)
    return bounds if ends == (answer["price_floor"], answer["price_ceiling"]) else None


def _lineage(catalog: Catalog) -> dict[str, Any]:
    """Price → table → model → MLflow run → Dagster run → data."""
    manifest = catalog.manifest
    names = (
        "table_version",
        "restored_from",
        "published_at",
        "valid_from",
        "valid_until",
        "model_version",
        "mlflow_run_id",
        "dagster_run_id",
        "data_version",
        "rules_version",
    )
    known = {name: getattr(manifest, name) for name in names}
    moments = {
        name: value.isoformat() for name, value in known.items() if isinstance(value, datetime)
    }
    files = {name: entry.sha256 for name, entry in manifest.files.items()}
    return {
        **known,
        **moments,
        "settings_version": settings_version(catalog.settings),
        "file_sha256": files,
    }
