"""The names of the guard rails and what each says to a person.

Belongs here: the ``Rule`` codes, stable in stored reasons, and their sentences. What the rules do
is ``core.guardrails`` (bounds), ``core.price_windows``, ``core.price_endings`` and
``core.linked_rails``. No pandas: the service imports this module.
"""

from __future__ import annotations

from enum import IntEnum

from pricing_assets.core.settings import PricingSettings


class Rule(IntEnum):
    """Every rule that can shape a price; ``code`` is its stable name in reasons."""

    NONE = 0
    COST_FLOOR = 1
    MARGIN_FLOOR = 2
    MAP_FLOOR = 3
    LARGEST_DECREASE = 4
    LARGEST_INCREASE = 5
    ABSOLUTE_CEILING = 6
    FLOOR_ABOVE_CEILING = 7
    CEILING_BELOW_LARGEST_DECREASE = 8
    MINOR_UNIT_TOO_COARSE = 9
    NO_PRICE_WITH_ENDING = 10
    CURRENT_PRICE_OUTSIDE = 11
    INVALID_CURRENT_PRICE = 12
    INVALID_COST = 13
    INVALID_MAP = 14
    NO_PRICE_ON_STEP = 15
    PRIOR_PRICE = 16
    KVI_INDEX = 17
    ONLY_DOWN = 18
    DAY_DECREASE = 19
    DAY_INCREASE = 20
    PUBLISHED_RAIL = 21
    WINDOW_BEYOND_LARGEST_CHANGE = 22
    WINDOWS_CLASH = 23
    FROZEN = 24
    EXPIRED = 25
    SIZE_PARITY = 26
    PRICE_LADDER = 27
    ZONE_PARITY = 28
    KVI_MEAN_INDEX = 29
    SIZE_PARITY_RELAXED = 30
    PRICE_LADDER_RELAXED = 31
    ZONE_PARITY_RELAXED = 32
    KVI_MEAN_INDEX_RELAXED = 33
    KVI_INDEX_RELAXED = 34

    @property
    def code(self) -> str:
        """Stable lower-case name."""
        return self.name.lower()


REFUSALS = (
    Rule.INVALID_CURRENT_PRICE,
    Rule.INVALID_COST,
    Rule.INVALID_MAP,
    Rule.FROZEN,
    Rule.EXPIRED,
)
"""Rules under which a price is not changed at all."""


def sentence(rule: Rule, *, settings: PricingSettings) -> str:
    """One sentence that tells a person what the rule did, for ``reasons``."""
    texts = {**_bound_sentences(settings), **_window_sentences(settings), **_REFUSAL_SENTENCES}
    return {**texts, **_linked_sentences(settings), Rule.NONE: ""}[rule]


def _bound_sentences(settings: PricingSettings) -> dict[Rule, str]:
    margin, change = f"{settings.min_margin:.0%}", f"{settings.max_price_change:.0%}"
    rails = settings.guardrails
    return {
        Rule.COST_FLOOR: "the floor is the unit cost",
        Rule.MARGIN_FLOOR: f"the floor keeps a margin of {margin} of price",
        Rule.MAP_FLOOR: "the floor is the minimum advertised price",
        Rule.LARGEST_DECREASE: f"the floor is the largest decrease of {change}",
        Rule.LARGEST_INCREASE: f"the ceiling is the largest increase of {change}",
        Rule.ABSOLUTE_CEILING: "the ceiling is the absolute ceiling",
        Rule.FLOOR_ABOVE_CEILING: "the floor is above the allowed ceiling, and the floor wins",
        Rule.CEILING_BELOW_LARGEST_DECREASE: (
            f"the absolute ceiling is further than {change} below the current price, and it wins"
        ),
        Rule.MINOR_UNIT_TOO_COARSE: (
            f"no whole minor unit lies within {change} of the current price, so the nearest is used"
        ),
        Rule.NO_PRICE_WITH_ENDING: (
            f"no price with the ending {rails.price_ending} lies between floor "
            "and ceiling, so any price there is allowed"
        ),
        Rule.NO_PRICE_ON_STEP: (
            f"no multiple of {rails.price_step or 0:g} lies between floor and ceiling, so any "
            "price there is allowed"
        ),
        Rule.CURRENT_PRICE_OUTSIDE: "the current price is itself outside the guard rails",
    }


def _window_sentences(settings: PricingSettings) -> dict[Rule, str]:
    rails, change = settings.guardrails, f"{settings.max_price_change:.0%}"
    daily = f"{rails.daily_change(settings.max_price_change):.0%}"
    return {
        Rule.PRIOR_PRICE: (
            "the ceiling is below the prior price, the lowest of the "
            f"{rails.prior_price_days} days before the promotion"
        ),
        Rule.ONLY_DOWN: "the ceiling is the current price: a product of this status only falls",
        Rule.DAY_DECREASE: f"the floor is the largest decrease of {daily} in a day",
        Rule.DAY_INCREASE: f"the ceiling is the largest increase of {daily} in a day",
        Rule.PUBLISHED_RAIL: "a rail of the published table holds for every request",
        Rule.WINDOW_BEYOND_LARGEST_CHANGE: (
            f"a rule of the day, the promotion or the rivals asks for more than {change} against "
            "the current price, and it wins"
        ),
        Rule.WINDOWS_CLASH: (
            "the rules of the day, the promotion and the rivals leave no common price; prior "
            "price wins over the day, the day over index and status"
        ),
    }


def _linked_sentences(settings: PricingSettings) -> dict[Rule, str]:
    rails = settings.guardrails
    held = {
        Rule.SIZE_PARITY: "a larger pack of the brand is never dearer for each unit",
        Rule.PRICE_LADDER: f"its ladder keeps a gap of {rails.ladder_min_gap:.0%}",
        Rule.ZONE_PARITY: f"the stores of a zone lie within {rails.zone_parity or 0:.0%}",
        Rule.KVI_INDEX: (
            f"a key value item stays at {rails.kvi_max_index or 0:.0%} of the rivals' price at most"
        ),
        Rule.KVI_MEAN_INDEX: (
            f"key value items lie at {rails.kvi_max_mean_index or 0:.0%} of the rivals' prices "
            "in the mean at most"
        ),
    }
    relaxed = {
        Rule[f"{rule.name}_RELAXED"]: f"{text}: not possible inside the floors and ceilings, "
        "which win; kept as nearly as they allow"
        for rule, text in held.items()
    }
    return {**held, **relaxed}


_REFUSAL_SENTENCES = {
    Rule.INVALID_CURRENT_PRICE: "there is no valid current price, so no price is set",
    Rule.INVALID_COST: "the unit cost is negative, infinite or absurd, so no price is changed",
    Rule.INVALID_MAP: "the minimum advertised price is invalid, so no price is changed",
    Rule.FROZEN: "the product is frozen, so the current price stands",
    Rule.EXPIRED: "a product of this status is not to be sold, so no price is changed",
}
