"""Approvals: which published prices may be served, and which price stands until they may.

Pure. A decision is about one price of one row: approving 10.50 approves 10.50, in this table and
in the next, and nothing else. Holding a price takes one person, moving it takes two: who proposes
it cannot approve it. Belongs here: decisions, what follows from them for a row, and what an action
makes of them. Files and the log are ``decision_log``; the served answer's rung is ``ladder``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from pricing_assets.core.errors import UnknownProductError
from serving.audit_format import GENESIS
from serving.context import Context
from serving.quote import PricedRow, Quote, finite_or, in_minor

State = Literal["proposed", "approved", "rejected"]
Status = Literal["within", "waiting", "proposed", "approved", "rejected"]
Action = Literal["propose", "approve", "reject"]

_KEY = "\x1f"
_ROUNDING = 1e-9


class Decision(NamedTuple):
    """What was decided last on a row, prices in minor units.

    ``minor`` is the price that it is about and ``by`` who decided. ``stands`` is the price approved
    last, None before the first, and ``since`` the current price at that time: once the current
    price has moved on, it stands instead.
    """

    state: State
    minor: int
    by: str
    stands: int | None = None
    since: int | None = None


class Decisions(BaseModel):
    """Every decision in force, by :func:`row_key`; ``version`` counts the acts that led here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(0, ge=0)
    head: str = Field(GENESIS, description="Hash of the last act's seal in the log.")
    entries: dict[str, Decision] = Field(default_factory=dict)
    damaged: bool = Field(False, exclude=True, description="The file could not be read.")


@dataclass(frozen=True, slots=True)
class Judged:
    """What may happen to one row: its status, and the price that stands, minor units."""

    status: Status
    stands: int

    @property
    def held(self) -> bool:
        """The recommended price may not be served."""
        return self.status in ("waiting", "proposed", "rejected")


@dataclass(frozen=True, slots=True)
class Approvals:
    """The decisions in force and the rule that they serve.

    Attributes:
        required: whether a changed price needs an approval at all.
        threshold: relative change against the standing price up to which it needs none.
        decisions: those in force; damaged ones hold every price.
    """

    required: bool = False
    threshold: float = 0.0
    decisions: Decisions = field(default_factory=Decisions)

    def judged(self, row: PricedRow) -> Judged:
        """What may happen to ``row``."""
        key = row_key(row.product_id, row.store_id, row.segment)
        return judge(
            current=in_minor(row.current_price, row.exponent),
            recommended=row.published_minor,
            decision=self.decisions.entries.get(key),
            threshold=self.threshold,
        )

    def held_quote(self, row: PricedRow | None, context: Context) -> Quote | None:
        """The standing price of a row whose recommended price may not be served; else None.

        As for a frozen product, a current price that the request gives counts first, and the price
        has no guard rails but itself.

        Raises:
            UnknownProductError: no price is known to stand.
        """
        if not self.required or row is None or not row.has_price:
            return None
        if self.decisions.damaged:
            stands = in_minor(row.current_price, row.exponent)
            return _standing(row, context, stands, "the decisions on prices cannot be read")
        judged = self.judged(row)
        if not judged.held:
            return None
        wanted = f"{row.recommended_price:.{row.exponent}f} {row.currency}"
        verdict = "was rejected" if judged.status == "rejected" else "waits for approval"
        return _standing(row, context, judged.stands, f"the recommended price {wanted} {verdict}")

    @property
    def on_record(self) -> dict[str, Any]:
        """What a served price's record says of them; ``decisions_at`` leads back."""
        version = None if self.decisions.damaged else self.decisions.version
        return {"version": version, "threshold": self.threshold}


NOT_REQUIRED = Approvals()
"""The approvals of a service that asks for none."""


@dataclass(frozen=True, slots=True)
class RowPrice:
    """One row that an action is about, prices in minor units."""

    key: str
    current: int
    recommended: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action changes: new decisions by key; and what it leaves, counted by reason."""

    changed: dict[str, Decision]
    skipped: dict[str, int]


def row_key(product_id: str, store_id: str, segment: str) -> str:
    """The name of a row among the decisions; no id holds a control character."""
    return _KEY.join((product_id, store_id, segment))


def standing_price(*, current: int, decision: Decision | None) -> int:
    """The price in force: the one approved last, until the current price has moved since."""
    if decision is None or decision.stands is None or decision.since != current:
        return current
    return decision.stands


def judge(*, current: int, recommended: int, decision: Decision | None, threshold: float) -> Judged:
    """What ``decision`` means for a recommended price; prices in minor units."""
    stands = standing_price(current=current, decision=decision)
    about_this = decision is not None and decision.minor == recommended
    state = decision.state if decision is not None and about_this else None
    if state == "approved":
        return Judged("approved", recommended)
    if state == "rejected":
        return Judged("rejected", stands)
    if abs(recommended - stands) <= threshold * stands + _ROUNDING:
        return Judged("within", stands)
    return Judged("proposed" if state == "proposed" else "waiting", stands)


def act(
    action: Action,
    rows: Iterable[RowPrice],
    *,
    by: str,
    entries: Mapping[str, Decision],
    threshold: float,
) -> Outcome:
    """What ``by`` changes by ``action`` on ``rows``; a row that does not allow it is left."""
    changed: dict[str, Decision] = {}
    skipped: dict[str, int] = {}
    for row in rows:
        before = entries.get(row.key)
        judged = judge(
            current=row.current, recommended=row.recommended, decision=before, threshold=threshold
        )
        why = _obstacle(action, row, judged=judged, before=before, by=by)
        if why:
            skipped[why] = skipped.get(why, 0) + 1
        else:
            changed[row.key] = _decided(action, row, before=before, by=by)
    return Outcome(changed, skipped)


def _obstacle(
    action: Action, row: RowPrice, *, judged: Judged, before: Decision | None, by: str
) -> str:
    """Why the action cannot be taken on this row; empty where it can."""
    if row.recommended == judged.stands and judged.status == "within":
        return "no change to decide on"
    if judged.status == "within" and action != "reject":
        return "within the threshold, served without approval"
    if action == "reject":
        return "rejected already" if judged.status == "rejected" else ""
    if judged.status == "approved":
        return "approved already"
    if action == "propose":
        return "proposed already" if judged.status == "proposed" else ""
    if judged.status != "proposed" or before is None:
        return "not proposed yet"
    return "proposed by you; somebody else must approve" if before.by == by else ""


def _decided(action: Action, row: RowPrice, *, before: Decision | None, by: str) -> Decision:
    if action == "approve":
        return Decision("approved", row.recommended, by, row.recommended, row.current)
    stands, since = (before.stands, before.since) if before else (None, None)
    if action == "propose":
        return Decision("proposed", row.recommended, by, stands, since)
    if stands == row.recommended:  # an approval taken back: what stood before it stands again
        stands, since = None, None
    return Decision("rejected", row.recommended, by, stands, since)


def _standing(row: PricedRow, context: Context, minor: int, why: str) -> Quote:
    price = minor / 10.0**row.exponent if context.current_price is None else context.current_price
    if not price > 0:
        raise UnknownProductError(
            f"{why}, and product '{row.product_id}' has no price that stands; give current_price"
        )
    return Quote(
        product_id=row.product_id,
        recommended_price=price,
        confidence=finite_or(row.confidence, 0.0),
        currency=row.currency,
        price_floor=price,
        price_ceiling=price,
        expected_units=None,
        source="held",
        reasons=(f"{why}, so the price that stands is kept",),
    )
