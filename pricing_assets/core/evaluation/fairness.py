"""Whether some buyers pay more for the same: gaps by store zone and customer segment, proxies.

Belongs here: comparisons of one table's prices between groups, each with the interval that so few
products allow, and the check that no personal data are among the features. Which gap is too wide
is ``GateParameters``; whether a gap is fair is for people to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import t as student

Floats = NDArray[np.float64]

ATTRIBUTES = ("zone", "segment")
MIN_PRODUCTS = 3
"""Products sold in a group and elsewhere from which its gap has an interval."""
MIN_STORES = 4
"""Stores from which an exposure is measured."""

PERSONAL = frozenset(
    {
        *("customer", "person", "patient", "user", "username", "household", "loyalty", "card"),
        *("name", "firstname", "lastname", "surname", "email", "mail", "phone", "ssn"),
        *("address", "postcode", "zip", "zipcode", "latitude", "longitude"),
        *("ip", "cookie", "device", "language"),
        *("age", "birth", "birthday", "birthdate", "dob", "gender", "sex", "marital"),
        *("ethnic", "ethnicity", "race", "religion", "nationality", "disability", "health"),
        "income",
    }
)
"""Words of a column's name that point at a person, or at what must not set a price."""
_OF_PRODUCTS = frozenset({"product_name", "brand_name", "store_name", "product_age", "log_age"})
"""Names with such a word that say something of a product or a store."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True, slots=True)
class Gap:
    """How much more or less one group pays, or earns the seller, for the same products.

    Attributes:
        measure: price, margin or price_change.
        attribute: zone or segment.
        group: its value.
        gap: mean over products; relative for a price, a difference of shares for a margin.
        low_90, high_90: Student's t interval over products; NaN under :data:`MIN_PRODUCTS`.
        products: sold in this group and elsewhere.
    """

    measure: str
    attribute: str
    group: str
    gap: float
    low_90: float
    high_90: float
    products: int

    @property
    def certain(self) -> float:
        """The gap that is beyond noise: the interval's end nearer to zero, 0 where it holds 0."""
        if not np.isfinite(self.low_90):
            return 0.0
        return max(self.low_90, -self.high_90, 0.0)


@dataclass(frozen=True, slots=True)
class Exposure:
    """How far an attribute of stores says by how much their prices change.

    Attributes:
        attribute: zone or segment.
        share: of the variance between stores that the attribute explains, less what chance would
            (epsilon squared, Kelley 1935); 0 where chance explains as much, NaN where unmeasured.
        p_value: of no exposure, by permutation of the attribute over stores.
        stores: compared.
    """

    attribute: str
    share: float
    p_value: float
    stores: int

    @property
    def certain(self) -> float:
        """The share, 0 where chance gives as much in one of twenty tables or more."""
        return self.share if self.p_value < 0.05 else 0.0


def with_groups(price_table: pd.DataFrame, stores: pd.DataFrame) -> pd.DataFrame:
    """The priced rows with the zone and segment of their store; "" unknown.

    A segment that the table prices by itself goes before the store's.
    """
    frame = price_table[price_table["recommended_price"].notna()].copy()
    by_store = stores.drop_duplicates("store_id").set_index("store_id")
    for name in ATTRIBUTES:
        known = by_store[name] if name in by_store else pd.Series(dtype=object)
        of_store = frame["store_id"].map(known).fillna("").astype(str)
        own = frame[name].fillna("").astype(str) if name in frame else of_store
        frame[name] = own.where(own != "", of_store)
    return frame


def group_gaps(frame: pd.DataFrame) -> tuple[Gap, ...]:
    """Price and margin of each group against the other groups, for the same products.

    Args:
        frame: product_id, zone, segment, recommended_price, and unit_cost (NaN unknown).
    """
    price = frame["recommended_price"].to_numpy(dtype=np.float64)
    cost = frame["unit_cost"].to_numpy(dtype=np.float64)
    measures = {"price": np.log(price), "margin": (price - cost) / price}
    found: list[Gap] = []
    for attribute in ATTRIBUTES:
        for measure, values in measures.items():
            rows = frame[["product_id"]].assign(group=frame[attribute], value=values)
            found += _gaps(rows, measure=measure, attribute=attribute)
    return tuple(found)


def _gaps(rows: pd.DataFrame, *, measure: str, attribute: str) -> list[Gap]:
    known = rows[(rows["group"] != "") & np.isfinite(rows["value"])]
    table = known.pivot_table(index="product_id", columns="group", values="value", aggfunc="mean")
    if table.shape[1] < 2:
        return []
    found = []
    for group in table.columns:
        others = table.drop(columns=group).mean(axis=1)
        gap = (table[group] - others).dropna().to_numpy(dtype=np.float64)
        if gap.size:
            mean, low, high = np.expm1(_interval(gap)) if measure == "price" else _interval(gap)
            ends = float(mean), float(low), float(high)
            found.append(Gap(measure, attribute, str(group), *ends, products=gap.size))
    return found


def _interval(values: Floats) -> tuple[float, float, float]:
    """Mean and its 90 % interval."""
    mean, count = float(values.mean()), values.size
    if count < MIN_PRODUCTS:
        return mean, float("nan"), float("nan")
    half = float(student.ppf(0.95, count - 1)) * float(values.std(ddof=1)) / np.sqrt(count)
    return mean, mean - half, mean + half


def proxy_exposures(frame: pd.DataFrame, *, seed: int, draws: int = 999) -> tuple[Exposure, ...]:
    """Share of the stores' mean price changes that each attribute explains.

    Args:
        frame: store_id, zone, segment, current_price, recommended_price.
        seed: of the permutations.
        draws: permutations.
    """
    change = pd.Series(np.log(frame["recommended_price"] / frame["current_price"]))
    change = change - change.groupby(frame["product_id"]).transform("mean")
    by_store = frame.assign(change=change).dropna(subset=["change"]).groupby("store_id")
    mean, found = by_store["change"].mean().to_numpy(dtype=np.float64), []
    for attribute in ATTRIBUTES:
        groups = by_store[attribute].first().to_numpy()
        known = groups != ""
        found.append(_exposure(attribute, mean[known], groups[known], seed=seed, draws=draws))
    return tuple(found)


def _exposure(
    attribute: str, values: Floats, groups: NDArray[np.object_], *, seed: int, draws: int
) -> Exposure:
    labels, codes = np.unique(groups.astype(str), return_inverse=True)
    count, kinds = values.size, labels.size
    if count < MIN_STORES or kinds < 2 or kinds >= count:
        return Exposure(attribute, float("nan"), float("nan"), count)
    if float(values.std()) < 1e-9:
        return Exposure(attribute, 0.0, 1.0, count)
    generator = np.random.default_rng(seed)
    found = _between_share(values, codes)
    chance = [_between_share(values, generator.permutation(codes)) for _ in range(draws)]
    beaten = 1 + sum(one >= found - 1e-12 for one in chance)
    corrected = 1 - (1 - found) * (count - 1) / (count - kinds)
    return Exposure(attribute, max(corrected, 0.0), beaten / (draws + 1), count)


def _between_share(values: Floats, codes: NDArray[np.integer[Any]]) -> float:
    """Share of the variance of (n,) values that lies between groups."""
    centred, sizes = values - values.mean(), np.bincount(codes)
    sums = np.bincount(codes, centred)
    return float((sums**2 / np.maximum(sizes, 1)).sum() / (centred**2).sum())


def personal_features(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the names that point at a person, sorted.

    Words are compared whole, so that ``package`` is no ``age``. A check over names finds what is
    called what it is; what a harmless name hides, ``proxy_exposures`` may.
    """
    found = set()
    for name in names:
        words = {word.lower() for word in _WORD.findall(name)}
        joined = "".join(word.lower() for word in _WORD.findall(name))
        if name.lower() not in _OF_PRODUCTS and (words & PERSONAL or joined in PERSONAL):
            found.add(name)
    return tuple(sorted(found))


def fairness_frame(gaps: Iterable[Gap], exposures: Iterable[Exposure]) -> pd.DataFrame:
    """All of it as rows: measure, attribute, group, gap, low_90, high_90, count, certain."""
    rows = [{**asdict(gap), "count": gap.products, "certain": gap.certain} for gap in gaps] + [
        {
            "measure": "exposure",
            "attribute": one.attribute,
            "group": "",
            "gap": one.share,
            "low_90": float("nan"),
            "high_90": float("nan"),
            "count": one.stores,
            "certain": one.certain if np.isfinite(one.share) else float("nan"),
        }
        for one in exposures
    ]
    columns = ["measure", "attribute", "group", "gap", "low_90", "high_90", "count", "certain"]
    return pd.DataFrame(rows, columns=columns)
