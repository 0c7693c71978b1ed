r"""A price re-optimised for one request, from the published demand curve, inside the guard rails.

Pure. Each part of the context can move the price one way only, by construction:

* stock: :math:`p = \max(p_{rest}, \min\{p : S(p) \le stock\})` with S the expected sales over
  ``cover_days``: the set shrinks as stock falls, so less stock never lowers the price;
* rival: with :math:`k = \epsilon_{rival} / -\epsilon` clipped to [0, 0.5], demand is read at the
  effective price :math:`p\,(r/r_0)^{-k}`. Its elasticity part is log-supermodular in (p, r) for a
  curvature >= 0, so the best price never falls in r (Topkis 1978). The published price moves by
  the ratio of the best prices at r and at r0, so that what the table weighed (risk, substitutes)
  still counts;
* promotion and weekday scale demand, and so count through the stock;
* another current price, cost or objective has guard rails and a best price of its own; the
  published price moves by the ratio of the best prices on the request's terms and the table's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.guardrails import PriceBounds
from pricing_assets.core.price_endings import candidate_prices
from pricing_assets.core.price_parameters import Objective
from pricing_assets.core.price_rules import Rule, sentence
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import needs_cost, unit_worth
from serving.context import WEEKDAYS, Context
from serving.live_demand import LiveDemand
from serving.quote import (
    PricedRow,
    Quote,
    allowed_prices,
    bounds_of,
    check_plausible,
    finite_or,
    guarded,
    in_minor,
    nearest_price,
    published_bounds,
    published_quote,
)

Floats = NDArray[np.float64]
Minors = NDArray[np.int64]


def quote(row: PricedRow, context: Context, *, settings: PricingSettings) -> Quote:
    """The price of a known product in ``context``: published without any, else live.

    Args:
        row: the published row; ``row.has_price`` holds.
        context: what the request says of now.
        settings: those that the table was made with.

    Raises:
        InputError: the request's current price is of another unit or currency.
        GuardRailError: never, unless a rule is broken by this module itself.
    """
    check_plausible(row, context)
    meaning = row.meaning(context)
    if meaning.is_empty:
        return published_quote(row)
    if row.curve is None or not row.curve.usable:
        return _without_curve(row, meaning, settings)
    return _LiveQuote.of(row, LiveDemand.of(row.curve, meaning), meaning, settings).answer()


def requote(row: PricedRow, context: Context, *, settings: PricingSettings) -> Quote:
    """The price of a known product under rules that differ from the table's: a what-if.

    Floor, ceiling and best prices are made anew from ``settings``; the published price moves by
    the ratio of the best prices under these rules and the table's. Arguments and errors as in
    ``quote``.
    """
    check_plausible(row, context)
    meaning = row.meaning(context)
    changed = ("guard rails", *meaning.changed_terms)
    if meaning.current_price is None:
        meaning = replace(meaning, current_price=row.current_price)
    if row.curve is None or not row.curve.usable:
        return _without_curve(row, meaning, settings)
    demand = LiveDemand.of(row.curve, meaning)
    return replace(_LiveQuote.of(row, demand, meaning, settings), changed=changed).answer()


def _without_curve(row: PricedRow, context: Context, settings: PricingSettings) -> Quote:
    """The published price, brought inside the bounds of the request's own terms."""
    bounds = bounds_of(row, context, settings=settings)
    minor = nearest_price(allowed_prices(bounds, settings=settings), row.published_minor)
    if bounds.floor[0] <= row.published_minor <= bounds.ceiling[0]:
        minor = row.published_minor
    reason = "this product has no usable demand curve, so the context is not used"
    draft = published_quote(row)
    draft = replace(draft, reasons=(*draft.reasons, reason))
    return guarded(draft, minor=minor, bounds=bounds)


@dataclass(frozen=True, slots=True)
class _LiveQuote:
    """The working of one live quote.

    Attributes:
        bounds: guard rails of one product.
        prices: (k,) allowed prices, ascending, minor units; the base price is among them.
        hold: the allowed price that changes least, minor units.
        major: (k,) ``prices`` in currency units.
        own_logs: (k,) log of the expected units at ``prices``, without the rival.
        logs: (k,) the same with the rival.
        changed: what of the request makes the published price another problem's answer.
    """

    row: PricedRow
    demand: LiveDemand
    context: Context
    settings: PricingSettings
    bounds: PriceBounds
    prices: Minors
    hold: int
    major: Floats
    own_logs: Floats
    logs: Floats
    changed: tuple[str, ...]

    @classmethod
    def of(
        cls, row: PricedRow, demand: LiveDemand, context: Context, settings: PricingSettings
    ) -> _LiveQuote:
        bounds = bounds_of(row, context, settings=settings)
        found = candidate_prices(
            bounds, ending=settings.guardrails.price_ending, k=settings.price_table.candidates
        )
        prices, published = found.prices[0], row.published_minor
        if bounds.floor[0] <= published <= bounds.ceiling[0]:
            prices = np.append(prices, published)
        prices = np.unique(prices)
        major = prices / 10.0**bounds.exponent
        own = demand.log_units(major, rival=False)
        return cls(
            row=row,
            demand=demand,
            context=context,
            settings=settings,
            bounds=bounds,
            prices=prices,
            hold=int(found.prices[0, 0]),
            major=major,
            own_logs=own,
            logs=own + demand.rival_shift(major),
            changed=context.changed_terms,
        )

    def answer(self) -> Quote:
        """The base price, moved by the rival, raised by the stock, guarded."""
        base = self._base()
        moved = self._moved_by_rival(base)
        minor = max(moved, self._least_for_stock())
        draft = Quote(
            product_id=self.row.product_id,
            recommended_price=0.0,
            confidence=self._confidence(minor),
            currency=self.row.currency,
            price_floor=0.0,
            price_ceiling=0.0,
            expected_units=self._units_at(minor),
            source="live",
            reasons=self._reasons(base=base, moved=moved, minor=minor),
        )
        return guarded(draft, minor=minor, bounds=self.bounds)

    def _major(self, minor: Minors | list[int]) -> Floats:
        return np.asarray(minor) / 10.0**self.bounds.exponent

    def _units_at(self, minor: int) -> float:
        """Expected units over the horizon at one of ``prices``."""
        at = int(np.searchsorted(self.prices, minor))
        return float(self.demand.units_of(self.logs[at : at + 1])[0])

    @property
    def _objective(self) -> Objective:
        return self.context.objective or self.row.objective

    @property
    def _cost(self) -> float:
        given = self.context.unit_cost
        return self.demand.curve.unit_cost if given is None else given

    def _base(self) -> int:
        """The published price, moved to the request's own terms where they differ.

        A price that the table holds stays held: at the request's current price.
        """
        published, context = self.row.published_minor, self.context
        if not context.changed_terms:
            return published
        held = published == in_minor(self.row.current_price, self.row.exponent)
        before = self._best_published(held=held)
        after = self._best(self._log_worth(self.major, self._objective, self._cost), self.own_logs)
        return self._moved(self.hold if held else published, before=before, after=after)

    def _best_published(self, *, held: bool) -> int | None:
        """The best price on the table's terms, among its prices or, for a held one, these."""
        objective, cost = self.row.objective, self.demand.curve.unit_cost
        if held:
            return self._best(self._log_worth(self.major, objective, cost), self.own_logs)
        known = self._published_prices()
        major = self._major(known)
        logs = self.demand.log_units(major, rival=False)
        return self._best(self._log_worth(major, objective, cost), logs, known)

    def _moved_by_rival(self, base: int) -> int:
        if self.demand.rival_scale == 1.0:
            return base
        worth = self._log_worth(self.major, self._objective, self._cost)
        before, after = self._best(worth, self.own_logs), self._best(worth, self.logs)
        return self._moved(base, before=before, after=after)

    def _moved(self, start: int, *, before: int | None, after: int | None) -> int:
        """The allowed price nearest to ``start`` moved by the ratio of two best prices."""
        ratio = 1.0 if before is None or after is None else after / before
        return nearest_price(self.prices, start * ratio)

    def _best(
        self, log_worth: Floats | None, logs: Floats, minor: Minors | None = None
    ) -> int | None:
        """The best of ``minor`` or else of ``prices``; None where no worth is known."""
        if log_worth is None:
            return None
        return int((self.prices if minor is None else minor)[np.argmax(log_worth + logs)])

    def _log_worth(self, prices: Floats, objective: Objective, cost: float) -> Floats | None:
        """(k,) log of the worth of a unit; None where profit is weighed and no cost is known."""
        settings = self.settings
        if objective != settings.objective:
            settings = settings.model_copy(update={"objective": objective})
        if needs_cost(settings) and not np.isfinite(cost):
            return None
        worth = unit_worth(
            unit_cost=np.asarray(cost),
            current_price=np.asarray(self.row.current_price),
            settings=settings,
            rival_price=np.asarray(self.demand.curve.reference_rival_price),
        )
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(np.maximum(worth.at(prices), 0.0)))

    def _published_prices(self) -> Minors:
        """Allowed prices under the published guard rails, the published one among them."""
        prices = allowed_prices(
            published_bounds(self.row, settings=self.settings), settings=self.settings
        )
        return np.union1d(prices, [self.row.published_minor])

    def _least_for_stock(self) -> int:
        """Lowest allowed price at which the stock lasts; the highest where it lasts at none."""
        stock = self.context.current_stock
        if stock is None:
            return 0
        lasts = self.demand.units_of(self.logs) * self._cover <= stock
        return int(self.prices[np.argmax(lasts)] if lasts.any() else self.prices[-1])

    @property
    def _cover(self) -> float:
        """The sales over the days that the stock must last, as a share of the horizon's."""
        share = self.settings.serving.cover_days / self.row.horizon_days
        return self.demand.weekday * share

    def _confidence(self, minor: int) -> float:
        """The table's confidence, halved where the price leaves the prices ever seen."""
        inside = self.demand.curve.inside
        left = inside(self.row.recommended_price) and not inside(float(self._major([minor])[0]))
        return finite_or(self.row.confidence, 0.0) * (0.5 if left else 1.0)

    def _reasons(self, *, base: int, moved: int, minor: int) -> tuple[str, ...]:
        terms = self.changed
        found = [
            f"priced anew for the request's {' and '.join(terms)}" if terms else "",
            self._rival_reason(base, moved),
            *self._pace_reasons(),
            self._stock_reason(moved, minor),
            *self._rule_reasons(minor),
        ]
        return tuple(reason for reason in found if reason)

    def _rival_reason(self, base: int, moved: int) -> str:
        rival = self.context.comp_price
        if rival is None:
            return ""
        if self.demand.rival_weight == 0:
            return "the data show no effect of the rival's price"
        gap = rival / self.demand.curve.reference_rival_price - 1
        return f"the rival's price is {gap:+.0%} against the data: {self._move(base, moved)}"

    def _pace_reasons(self) -> list[str]:
        day, found = self.context.day_of_week, []
        if day is not None:
            found.append(f"{WEEKDAYS[day]} sells {self.demand.weekday:.2f} times an average day")
        if self.context.is_promo:
            found.append(f"a promotion sells {self.demand.promo:.2f} times as much")
        return found

    def _stock_reason(self, moved: int, minor: int) -> str:
        stock, days = self.context.current_stock, self.settings.serving.cover_days
        if stock is None:
            return ""
        if minor > moved:
            move = self._move(moved, minor)
            return f"the stock of {stock:g} must last {days:g} days: {move}"
        lasts = self._units_at(minor) * self._cover <= stock
        return f"the stock of {stock:g} {'lasts' if lasts else 'does not last'} {days:g} days"

    def _rule_reasons(self, minor: int) -> list[str]:
        """The guard rails that hold this price."""
        rules = [Rule(int(self.bounds.conflict[0])), Rule(int(self.bounds.refusal[0]))]
        if minor == self.bounds.floor[0]:
            rules.append(Rule(int(self.bounds.floor_rule[0])))
        if minor == self.bounds.ceiling[0]:
            rules.append(Rule(int(self.bounds.ceiling_rule[0])))
        # Nearly always none applies, and a sentence writes all of them.
        return [sentence(rule, settings=self.settings) for rule in rules if rule is not Rule.NONE]

    def _move(self, before: int, after: int) -> str:
        old, new = self._major([before, after])
        places = self.bounds.exponent
        if before == after:
            return f"the price stays at {new:.{places}f}"
        return f"the price goes from {old:.{places}f} to {new:.{places}f}"
