"""Which products bound each other's prices: ladders, pack sizes, zones, the index against rivals.

Pure. Belongs here: reading the relations off the catalogue's columns. What follows from them is
``core.linked_rails``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.currency import currency_exponent
from pricing_assets.core.price_parameters import GuardRailParameters, rungs_of
from pricing_assets.core.price_rules import Rule
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
Codes = NDArray[np.int8]
Flags = NDArray[np.bool_]
Minors = NDArray[np.int64]

ALONE = -1
"""Group number of a row that is in no group."""
PATIENCE = 64
"""Sweeps after which rows that still move (relations that contradict each other in a circle) go
straight to their floor."""

_UP, _DOWN = 1e-12, 4e-12
"""Relative slack of rounding; down is wider than up, so that a price raised to meet a relation
meets it when it is read the other way."""


@dataclass(frozen=True, slots=True)
class PriceRelations:
    """Relations among n rows.

    Attributes:
        left, right: (r,) rows; ratio: (r,) factor; kind: (r,) ``Rule``: each relation says
            price[left] <= ratio * price[right].
        zone: (n,) group whose prices lie within ``zone_share`` of each other, or ``ALONE``.
        zone_share: largest relative difference inside a group.
        cap: (n,) largest price against rivals, minor units; infinite for none.
        index: (n,) group whose mean of price over rival's price is bounded, or ``ALONE``.
        rival: (n,) the rivals' price in minor units; NaN unknown.
        index_limit: largest mean of a group; infinite for none.
    """

    left: Indices
    right: Indices
    ratio: Floats
    kind: Codes
    zone: Indices
    zone_share: float
    cap: Floats
    index: Indices
    rival: Floats
    index_limit: float

    @property
    def any(self) -> bool:
        """Some row is bounded."""
        groups = (self.zone != ALONE).any() or (self.index != ALONE).any()
        return bool(self.left.size or groups or np.isfinite(self.cap).any())


def price_relations(
    frame: pd.DataFrame, *, priceable: Flags, settings: PricingSettings
) -> PriceRelations:
    """The relations that the settings ask for among n rows.

    Args:
        frame: n rows; product_id, store_id, and where known category, brand, pack_size, zone,
            kvi (0/1), reference_rival_price (currency units).
        priceable: (n,) rows that have a price; the others are in no relation.
        settings: gives the rules; those that are off make no relation.
    """
    rails = settings.guardrails
    if not rules_asked(rails):
        return _no_relations(len(frame))
    rows = _rows(frame, priceable)
    pairs = [_ladders(rows, rails.ladders, gap=rails.ladder_min_gap)]
    pairs += [_pack_sizes(rows)] if rails.size_parity else []
    found = pd.concat(pairs, ignore_index=True)
    zone = _groups(rows, ["product_id", "zone"], of=rows["zone"] != "", count=len(frame))
    rival = np.full(len(frame), np.nan)
    rival[rows.index] = rows["reference_rival_price"] * 10.0 ** currency_exponent(settings.currency)
    kvi = (
        (rows["kvi"] > 0)
        & (rows["reference_rival_price"] > 0)
        & np.isfinite(rows["reference_rival_price"])
    )
    index = _groups(rows, ["store_id"], of=kvi, count=len(frame))
    cap = np.full(len(frame), np.inf)
    if rails.kvi_max_index is not None:
        keys = rows.index[kvi]
        cap[keys] = rival[keys] * rails.kvi_max_index
    none = np.full(len(frame), ALONE)
    return PriceRelations(
        left=found["left"].to_numpy(dtype=np.int64),
        right=found["right"].to_numpy(dtype=np.int64),
        ratio=found["ratio"].to_numpy(dtype=np.float64),
        kind=found["kind"].to_numpy(dtype=np.int8),
        zone=none if rails.zone_parity is None else _several(zone),
        zone_share=rails.zone_parity or 0.0,
        cap=cap,
        index=none if rails.kvi_max_mean_index is None else index,
        rival=rival,
        index_limit=np.inf if rails.kvi_max_mean_index is None else rails.kvi_max_mean_index,
    )


def rules_asked(rails: GuardRailParameters) -> bool:
    """Some rule between products is on."""
    limits = (rails.zone_parity, rails.kvi_max_index, rails.kvi_max_mean_index)
    return bool(rails.size_parity or rails.ladders or any(one is not None for one in limits))


def _no_relations(count: int) -> PriceRelations:
    none, alone = np.zeros(0, dtype=np.int64), np.full(count, ALONE)
    return PriceRelations(
        left=none,
        right=none,
        ratio=np.zeros(0),
        kind=np.zeros(0, dtype=np.int8),
        zone=alone,
        zone_share=0.0,
        cap=np.full(count, np.inf),
        index=alone,
        rival=np.full(count, np.nan),
        index_limit=np.inf,
    )


def _rows(frame: pd.DataFrame, priceable: Flags) -> pd.DataFrame:
    """The priceable rows by position, with every column that relations read."""
    texts = {name: _text(frame, name) for name in _TEXTS}
    numbers = {name: _number(frame, name) for name in _NUMBERS}
    return pd.DataFrame(texts | numbers, index=np.arange(len(frame)))[priceable]


_TEXTS = ("product_id", "store_id", "category", "brand", "zone")
_NUMBERS = ("pack_size", "kvi", "reference_rival_price")


def _text(frame: pd.DataFrame, name: str) -> NDArray[np.object_]:
    if name not in frame:
        return np.full(len(frame), "", dtype=object)
    return np.asarray(frame[name].fillna("").astype(str).to_numpy(), dtype=object)


def _number(frame: pd.DataFrame, name: str) -> Floats:
    if name not in frame:
        return np.full(len(frame), np.nan)
    return frame[name].to_numpy(dtype=np.float64, na_value=np.nan)


def _ladders(rows: pd.DataFrame, ladders: list[str], *, gap: float) -> pd.DataFrame:
    """Each rung at most 1 / (1 + gap) times the next one of the same store."""
    steps = [
        pair for one in ladders for pair in zip(rungs_of(one), rungs_of(one)[1:], strict=False)
    ]
    asked = pd.DataFrame(steps, columns=["product_id", "above"], dtype=object)
    keyed = rows[["product_id", "store_id"]].assign(row=rows.index)
    both = asked.merge(keyed, on="product_id").merge(
        keyed.rename(columns={"product_id": "above"}), on=["above", "store_id"]
    )
    return _pairs(both["row_x"], both["row_y"], 1 / (1 + gap), Rule.PRICE_LADDER)


def _pack_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Each pack at most its size over the next smaller size, times that one's price."""
    key = ["brand", "category", "store_id"]
    known = rows[(rows["brand"] != "") & (rows["category"] != "") & (rows["pack_size"] > 0)]
    known = known[np.isfinite(known["pack_size"])]
    known = known[[*key, "pack_size"]].assign(row=known.index)
    known["rank"] = known.groupby(key)["pack_size"].rank("dense").astype(np.int64)
    smaller = known.assign(rank=known["rank"] + 1)
    both = known.merge(smaller, on=[*key, "rank"], suffixes=("", "_smaller"))
    ratio = both["pack_size"] / both["pack_size_smaller"]
    return _pairs(both["row"], both["row_smaller"], ratio, Rule.SIZE_PARITY)


def _pairs(left: pd.Series, right: pd.Series, ratio: float | pd.Series, kind: Rule) -> pd.DataFrame:
    columns = {"left": left, "right": right, "ratio": ratio, "kind": int(kind)}
    return pd.DataFrame(columns, columns=list(columns)).reset_index(drop=True)


def _groups(rows: pd.DataFrame, key: list[str], *, of: pd.Series, count: int) -> Indices:
    """(n,) number of each row's group; ``ALONE`` for rows that are not ``of`` the relation."""
    numbers = np.full(count, ALONE)
    members = rows[of]
    numbers[members.index] = members.groupby(key, sort=False).ngroup()
    return numbers


def _several(group: Indices) -> Indices:
    """``group`` without groups of one."""
    inside = group != ALONE
    size = np.bincount(group[inside], minlength=1)
    return np.where(inside & (size[np.maximum(group, 0)] > 1), group, ALONE)


def highest_allowed(relations: PriceRelations, price: Minors) -> Minors:
    """(n,) the highest price that pairs and groups allow each row at the others' prices."""
    limit = np.full(len(price), np.iinfo(np.int64).max)
    np.minimum.at(limit, relations.left, at_most(relations.ratio * price[relations.right]))
    lowest, _ = extremes(relations.zone, price)
    of_zone = at_most((1 + relations.zone_share) * lowest)
    return np.where(relations.zone != ALONE, np.minimum(limit, of_zone), limit)


def extremes(
    group: Indices, price: Minors, *, like: Indices | None = None
) -> tuple[Minors, Minors]:
    """(n,) lowest and highest price of each row's group; of ``like``'s group where given."""
    asked = group if like is None else like
    count = int(max(asked.max(initial=ALONE), ALONE)) + 2
    lowest, highest = np.full(count, np.iinfo(np.int64).max >> 8), np.zeros(count, dtype=np.int64)
    rows = np.flatnonzero(group != ALONE)
    np.minimum.at(lowest, group[rows], price[rows])
    np.maximum.at(highest, group[rows], price[rows])
    return lowest[asked], highest[asked]


def at_most(minor: NDArray[np.floating]) -> Minors:
    """Largest whole minor unit not above ``minor``."""
    return np.asarray(np.floor(minor * (1 + _DOWN)).astype(np.int64))


def at_least(minor: NDArray[np.floating]) -> Minors:
    """Smallest whole minor unit not below ``minor``."""
    return np.asarray(np.ceil(minor * (1 - _UP)).astype(np.int64))
