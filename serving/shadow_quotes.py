"""Shadow scoring: the latest served requests, asked again of a table that is not published.

Belongs here: from the audit log and a candidate's tables to pairs of prices. Nothing is served or
written, and the published table is not touched. Comparing is ``core.evaluation.shadow``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from pricing_assets.core.errors import GuardRailError, InputError, UnknownProductError
from pricing_assets.core.settings import PricingSettings
from serving.audit_format import QUOTES_PREFIX, segments
from serving.audit_reader import FoundQuote
from serving.catalog import Catalog
from serving.context import Context
from serving.explain import recomputed
from serving.published_table import (
    Manifest,
    PublishedTable,
    Stamps,
    as_arrow,
    content_hash,
    ordered_curves,
    stamped,
    unstamped,
)
from serving.quote import check_plausible
from serving.wire import price_request

SHADOW_VERSION = "000000-00000000"
"""Version that a table carries which was never published."""


@dataclass(frozen=True, slots=True)
class ShadowQuote:
    """One served quote and the shadow's answer.

    Attributes:
        quote_id, product_id, source: of the served quote.
        served_price: currency units.
        shadow_price: currency units; NaN where the shadow gives none.
        why_none: the reason for that; empty otherwise.
    """

    quote_id: str
    product_id: str
    source: str
    served_price: float
    shadow_price: float
    why_none: str = ""

    @property
    def relative_difference(self) -> float:
        """Shadow over served price, less one."""
        return self.shadow_price / self.served_price - 1


def shadow_catalog(prices: Any, curves: Any, *, stamps: Stamps, now: datetime) -> Catalog:
    """The table of a candidate, ready to answer, without publishing it.

    Args:
        prices, curves: as ``PriceStore.publish`` takes them.
        stamps: origin, currency and settings of the candidate.
        now: time, with a zone.

    Raises:
        MissingColumnError: a column is missing.
    """
    plain, ordered = unstamped(as_arrow(prices)), ordered_curves(as_arrow(curves))
    manifest = Manifest(
        **stamps.model_dump(exclude={"settings"}),
        settings=stamps.settings,
        table_version=SHADOW_VERSION,
        published_at=now,
        content_sha256=content_hash(plain, ordered, stamps),
        files={},
    )
    table = stamped(plain, version=SHADOW_VERSION, stamps=stamps)
    found = PublishedTable(manifest=manifest, prices=table, curves=ordered)
    return Catalog(found, settings=stamps.settings or PricingSettings())


def shadow_quotes(folder: Path, catalog: Catalog, *, limit: int) -> list[ShadowQuote]:
    """The latest ``limit`` served quotes and what ``catalog`` answers to the same requests.

    Quotes of frozen products are left out: a freeze holds whatever is published.
    """
    found: list[ShadowQuote] = []
    for served in latest_quotes(folder):
        if len(found) >= limit:
            break
        if served.answer["source"] != "frozen":
            found.append(_asked(served, catalog))
    return found


def latest_quotes(folder: Path) -> Iterator[FoundQuote]:
    """Every quote on record, the latest chain and file first, the latest of a file first.

    A line that is cut off, at the end of a file that is being written, is passed over. Whether the
    log is whole is ``audit_reader.verify``'s question.
    """
    for segment in reversed(segments(folder)):
        lines = segment.path.read_bytes().splitlines()
        for line in reversed(lines):
            if line.startswith(QUOTES_PREFIX):
                yield from _quotes_of(line, segment.path.name)


def _quotes_of(line: bytes, segment: str) -> Iterator[FoundQuote]:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return
    for position in reversed(range(len(record["answers"]))):
        if record["answers"][position].get("quote_id"):
            yield FoundQuote(record, position, segment, block_intact=False)


def _asked(served: FoundQuote, catalog: Catalog) -> ShadowQuote:
    price, why_none = float("nan"), ""
    try:
        price = _price(served, catalog)
    except (GuardRailError, InputError, UnknownProductError) as refusal:
        why_none = str(refusal)
    answer = served.answer
    return ShadowQuote(
        quote_id=str(answer["quote_id"]),
        product_id=str(answer["product_id"]),
        source=str(answer["source"]),
        served_price=float(answer["recommended_price"]),
        shadow_price=price,
        why_none=why_none,
    )


def _price(served: FoundQuote, catalog: Catalog) -> float:
    """The shadow's price, by the rung that would answer from its own table."""
    request = price_request(served.request)
    added = (served.context or {}).get("used", {})
    context: Context = replace(request.context, **added)
    match = catalog.find(request.product_id, request.store_id, request.segment)
    source = "rule"
    if match is not None and match.row.has_price:
        check_plausible(match.row, context)
        source = "table" if match.row.meaning(context).is_empty else "live"
    again = recomputed(source, match=match, request=request, context=context, catalog=catalog)
    return float(again.recommended_price)
