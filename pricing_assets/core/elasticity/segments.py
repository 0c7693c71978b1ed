r"""Own-price elasticity by segment: of customers (``sales.segment``) or of stores.

Customers of several segments buy the same product at the same shelf, so that each segment's own
estimate shares the prices and is noisier than the whole's. It is pooled towards the whole:

.. math:: \beta_{ig} = k_g \, \beta_i + u_{ig},

with :math:`\beta_i` the posterior of the whole, :math:`k_g` how much more (or less) the segment
answers to price than all customers do, by weighted least squares over the series (a posterior
mean as regressor makes this unbiased: regression calibration, Carroll et al. 2006), and u pooled
by empirical Bayes around zero, by product and category.

Segments of stores need no estimate of their own: a product's posterior in a segment is that of
its stores there, taken together.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pricing_assets.core.demand import Z90
from pricing_assets.core.elasticity.design import group_index
from pricing_assets.core.elasticity.estimate import below_zero, estimate_elasticities
from pricing_assets.core.elasticity.pooling import pool_estimates
from pricing_assets.core.panel import Panel
from pricing_assets.core.panel_axes import (
    Axes,
    day_column,
    id_column,
    number_column,
    positions,
)
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]
SEGMENT_COLUMNS = (
    "product_id",
    "store_id",
    "segment",
    "category",
    "own_price_elasticity",
    "sd",
    "low_90",
    "high_90",
    "method",
    "raw_estimate",
    "raw_standard_error",
    "relative_sensitivity",
)
MAX_SEGMENTS = 20
DEVIATION_SD = 0.5
"""Prior sd of the mean deviation from the proportional answer."""


@dataclass(frozen=True, slots=True)
class SegmentPosterior:
    """Posterior of S series in one segment.

    Attributes:
        mean, sd: (S,).
        relative_sensitivity: k, the segment's answer to price over that of all customers.
    """

    mean: Floats
    sd: Floats
    relative_sensitivity: float


def segment_elasticities(
    panel: Panel,
    *,
    sales: pd.DataFrame,
    stores: pd.DataFrame | None,
    elasticities: pd.DataFrame,
    settings: PricingSettings,
) -> pd.DataFrame:
    """One row a series (or product) and segment, columns ``SEGMENT_COLUMNS``; none without.

    Args:
        panel: all segments together.
        sales, stores: the checked raw tables; the sales' segments are preferred.
        elasticities: the whole's posteriors, S rows in the panel's order.
        settings: as for the whole.
    """
    segments = segment_names(sales)
    if len(segments) > 1:
        frames = [
            _customer_segment(part, name, elasticities, settings)
            for name, part in _segment_panels(panel, sales, segments)
        ]
        return pd.concat(frames, ignore_index=True)
    if stores is not None and len(segment_names(stores)) > 1:
        return _store_segments(stores, elasticities)
    return pd.DataFrame(columns=list(SEGMENT_COLUMNS))


def segment_names(table: pd.DataFrame) -> list[str]:
    """Names of the table's segments, sorted; empty where there are none or too many."""
    names = sorted({str(name) for name in np.unique(id_column(table, "segment"))} - {""})
    return names if len(names) <= MAX_SEGMENTS else []


def pool_segment(
    *,
    estimate: Floats,
    standard_error: Floats,
    whole_mean: Floats,
    whole_sd: Floats,
    product: NDArray[np.int64],
    category: NDArray[np.int64],
) -> SegmentPosterior:
    """Pool one segment's raw estimates (S,), NaN where there is none, towards the whole's."""
    known = np.isfinite(estimate) & np.isfinite(standard_error)
    ratio = 1.0
    if known.any():
        noise = standard_error[known] ** 2 + whole_sd[known] ** 2
        pull = whole_mean[known] / noise
        ratio = max(float(pull @ estimate[known] / (pull @ whole_mean[known])), 0.05)
    rest = pool_estimates(
        estimate=np.where(known, estimate - ratio * whole_mean, np.nan),
        standard_error=np.where(known, standard_error, np.nan),
        product=product,
        category=category,
        traits=np.zeros((len(estimate), 0)),
        prior_mean=0.0,
        prior_sd=DEVIATION_SD,
    )
    mean, sd = below_zero(ratio * whole_mean + rest.mean, np.hypot(ratio * whole_sd, rest.sd))
    return SegmentPosterior(mean, sd, ratio)


def _segment_panels(
    panel: Panel, sales: pd.DataFrame, segments: list[str]
) -> Iterator[tuple[str, Panel]]:
    """The panel with the units of each segment, and its own price where it paid another."""
    axes = _axes(panel)
    series, period = axes.series_of(sales), axes.period_of(day_column(sales))
    units = np.nan_to_num(number_column(sales, "units"))
    price = np.nan_to_num(number_column(sales, "price"))
    named = id_column(sales, "segment")
    inside = (series >= 0) & (period >= 0) & (period < axes.periods) & (price > 0)
    for name in segments:
        here = inside & (named == name)
        cell = series[here] * axes.periods + period[here]
        size = panel.shape[0] * panel.shape[1]
        sold = np.bincount(cell, units[here], size).reshape(panel.shape)
        paid = np.bincount(cell, units[here] * price[here], size).reshape(panel.shape)
        own = np.where(sold > 0, paid / np.maximum(sold, 1e-12), panel.price)
        yield name, replace(panel, units=np.where(panel.on_sale, sold, np.nan), price=own)


def _axes(panel: Panel) -> Axes:
    product_ids = id_column(panel.series, "product_id")
    store_ids = id_column(panel.series, "store_id")
    products, stores = pd.Index(np.unique(product_ids)), pd.Index(np.unique(store_ids))
    keys = positions(products, product_ids) * len(stores) + positions(stores, store_ids)
    return Axes(products, stores, keys, panel.dates[0], panel.period_days, panel.shape[1])


def _customer_segment(
    part: Panel, name: str, whole: pd.DataFrame, settings: PricingSettings
) -> pd.DataFrame:
    raw = estimate_elasticities(part, settings=settings).frame
    found = pool_segment(
        estimate=raw["raw_estimate"].to_numpy(),
        standard_error=raw["raw_standard_error"].to_numpy(),
        whole_mean=whole["own_price_elasticity"].to_numpy(),
        whole_sd=whole["sd"].to_numpy(),
        product=group_index(part.series, "product_id"),
        category=group_index(part.series, "category"),
    )
    return whole[["product_id", "store_id", "category"]].assign(
        segment=name,
        own_price_elasticity=found.mean,
        sd=found.sd,
        low_90=found.mean - Z90 * found.sd,
        high_90=np.minimum(found.mean + Z90 * found.sd, 0.0),
        method=raw["method"] + "+segment",
        raw_estimate=raw["raw_estimate"],
        raw_standard_error=raw["raw_standard_error"],
        relative_sensitivity=found.relative_sensitivity,
    )[list(SEGMENT_COLUMNS)]


def _store_segments(stores: pd.DataFrame, whole: pd.DataFrame) -> pd.DataFrame:
    """Product by segment of stores: means weighted by precision, errors taken as shared."""
    names = pd.Series(id_column(stores, "segment"), index=id_column(stores, "store_id"))
    names = names[~names.index.duplicated()]
    segment = whole["store_id"].map(names).fillna("")
    rows = whole.assign(segment=segment, weight=whole["sd"] ** -2.0)
    rows = rows.assign(
        pull=rows["weight"] * rows["own_price_elasticity"], error=rows["weight"] * rows["sd"]
    )
    keys = ["product_id", "category", "segment"]
    sums = rows.loc[segment != ""].groupby(keys, sort=True)[["weight", "pull", "error"]].sum()
    mean, sd = sums["pull"] / sums["weight"], sums["error"] / sums["weight"]
    all_stores = (rows.groupby("product_id")["pull"].sum()) / rows.groupby("product_id")[
        "weight"
    ].sum()
    product = sums.index.get_level_values("product_id")
    frame = pd.DataFrame(
        {
            "own_price_elasticity": mean,
            "sd": sd,
            "low_90": mean - Z90 * sd,
            "high_90": np.minimum(mean + Z90 * sd, 0.0),
            "relative_sensitivity": mean.to_numpy() / all_stores.reindex(product).to_numpy(),
        }
    ).reset_index()
    return frame.assign(
        store_id="", method="stores_of_segment", raw_estimate=np.nan, raw_standard_error=np.nan
    )[list(SEGMENT_COLUMNS)]
