"""The drivers of a price as one sentence that a person can check.

Belongs here: words for the numbers of ``price_drivers``. Nothing here changes a number.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from pricing_assets.core.price_rules import Rule
from pricing_assets.core.settings import PricingSettings

OWN_DATA = 2 / 3
"""Weight of the own estimate from which the elasticity is called the product's own."""
POOLED = 1 / 3
"""Weight up to which it is called its likes'."""
RIVAL_GAP = 0.02
"""Relative gap to the rival's price from which it is told."""

CONFIDENCE_WORDS = {
    "confidence_elasticity": "how well the elasticity is known",
    "confidence_history": "the length of the history",
    "confidence_safety": "the chance of less",
    "confidence_support": "a price outside those seen",
}
OBJECTIVE_WORDS = {
    "profit": "profit",
    "revenue": "revenue",
    "market_share": "units",
    "weighted": "weighted value",
    "sell_through": "revenue with salvage",
}

Row = Mapping[Hashable, Any]


def driver_sentences(drivers: pd.DataFrame, *, settings: PricingSettings) -> list[str]:
    """One sentence a row of ``price_drivers``' frame, the decision first."""
    return [_sentence(row, settings) for row in drivers.to_dict("records")]


def source_words(weight: float) -> str:
    """Where an elasticity comes from, by the weight of the product's own estimate."""
    if weight >= OWN_DATA:
        return "its own data"
    return "its own data and similar products" if weight > POOLED else "similar products"


def rail_words(row: Row, settings: PricingSettings) -> str:
    """What binds the price and what it costs; empty where nothing does."""
    rail = str(row["binding_rail"])
    if not rail or not np.isfinite(row["rail_cost"]):
        return ""
    noun = OBJECTIVE_WORDS[settings.objective]
    if row["rail_cost"] <= 0:
        return f"{_rail_name(rail, settings)} binds and costs nothing"
    beyond = ", outside the prices seen" if row["rail_extrapolates"] else ""
    return (
        f"{_rail_name(rail, settings)} costs {_amount(row['rail_cost'])} of {noun}: "
        f"{_relief(rail)} the price would be {row['rail_price']:,.2f}{beyond}"
    )


def _sentence(row: Row, settings: PricingSettings) -> str:
    if not np.isfinite(row["recommended_price"]):
        return "No price is set."
    parts = [_decision(row), _demand(row), _expected(row, settings), rail_words(row, settings)]
    parts += [_rival(row), _stock(row), _confidence(row)]
    return "; ".join(part for part in parts if part) + "."


def _decision(row: Row) -> str:
    price, change = row["recommended_price"], row["price_change"]
    if row["decision"] == "hold" or not np.isfinite(change):
        return f"Held at {price:,.2f}"
    verb = "Raised" if change > 0 else "Cut"
    return f"{verb} from {row['current_price']:,.2f} to {price:,.2f} ({change:+.1%})"


def _demand(row: Row) -> str:
    mean = row["own_price_elasticity"]
    if not np.isfinite(mean):
        return "its demand curve is unknown"
    low, high = -row["elasticity_high_90"], -row["elasticity_low_90"]
    return (
        f"units fall {-mean:.1f} % for each 1 % on the price (90 % interval {low:.1f} to "
        f"{high:.1f}, from {source_words(row['own_data_weight'])})"
    )


def _expected(row: Row, settings: PricingSettings) -> str:
    """Margin and what is expected to change over the horizon; empty for a held price."""
    if row["decision"] == "hold" or not np.isfinite(row["units_change"]):
        return ""
    texts = [f"over {settings.horizon_days} days units {_change(row)}"]
    texts.append(f"revenue {row['revenue_change']:+,.0f}")
    if np.isfinite(row["profit_change"]):
        low, high = row["profit_change_low_90"], row["profit_change_high_90"]
        texts.append(f"profit {row['profit_change']:+,.0f} (90 % {low:+,.0f} to {high:+,.0f})")
    if np.isfinite(row["margin_now"]):
        texts.append(f"margin {row['margin_now']:.0%} to {row['margin_after']:.0%}")
    if abs(row["gain_from_substitutes"]) >= 0.5:
        noun = OBJECTIVE_WORDS[settings.objective]
        verb = "gain" if row["gain_from_substitutes"] > 0 else "lose"
        size = _amount(abs(row["gain_from_substitutes"]))
        texts.append(f"similar products {verb} {size} of {noun}")
    return ", ".join(texts)


def _change(row: Row) -> str:
    now = row["units_now"]
    return f"{row['units_change'] / now:+.0%}" if now > 0 else f"{row['units_change']:+.1f}"


def _rail_name(rail: str, settings: PricingSettings) -> str:
    return {
        Rule.MARGIN_FLOOR.code: f"the least margin of {settings.min_margin:.0%}",
        Rule.MAP_FLOOR.code: "the minimum advertised price",
        Rule.ABSOLUTE_CEILING.code: "the absolute ceiling",
        Rule.LARGEST_DECREASE.code: f"the largest decrease of {settings.max_price_change:.0%}",
        Rule.LARGEST_INCREASE.code: f"the largest increase of {settings.max_price_change:.0%}",
        Rule.PRIOR_PRICE.code: "the prior price of its promotion",
        Rule.DAY_DECREASE.code: "the largest decrease in a day",
        Rule.DAY_INCREASE.code: "the largest increase in a day",
        Rule.ONLY_DOWN.code: "its status, under which a price only falls",
        Rule.PRICE_LADDER.code: "its price ladder",
        Rule.SIZE_PARITY.code: "the parity of pack sizes",
        Rule.ZONE_PARITY.code: "the parity of its zone",
        Rule.KVI_INDEX.code: "its index against rivals",
        Rule.KVI_MEAN_INDEX.code: "the mean index of key value items against rivals",
    }.get(rail, "the limit on the chance of less")


def _relief(rail: str) -> str:
    if rail in (Rule.LARGEST_DECREASE.code, Rule.LARGEST_INCREASE.code):
        return "with twice the change allowed"
    return "without it"


def _rival(row: Row) -> str:
    gap = row["rival_gap"]
    if not np.isfinite(gap) or abs(gap) < RIVAL_GAP:
        return ""
    return f"rivals are {abs(gap):.0%} {'dearer' if gap > 0 else 'cheaper'} than this price"


def _stock(row: Row) -> str:
    left = row["available_units"]
    return f"{left:,.0f} units are left and not replenished" if np.isfinite(left) else ""


def _confidence(row: Row) -> str:
    if not np.isfinite(row["confidence"]):
        return ""
    weakest = min(CONFIDENCE_WORDS, key=lambda name: row[name])
    text = f"confidence {row['confidence']:.2f}"
    return f"{text}, limited most by {CONFIDENCE_WORDS[weakest]}" if row[weakest] < 1 else text


def _amount(value: float) -> str:
    """Whole numbers from ten up, two digits below."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
