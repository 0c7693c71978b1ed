"""What the recurrent and attention forecasters read: recent weeks, and known inputs ahead.

Belongs here: windows of a panel as NumPy arrays, on the design, levels and base of
``training_rows``; nothing here imports torch. NaN (unknown) becomes the mean, as networks need.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.attributes import CATEGORICAL, AttributeCodes
from pricing_assets.core.forecast.baselines import level_forecast
from pricing_assets.core.forecast.design import Design
from pricing_assets.core.forecast.global_model import OFFSET, feature_columns
from pricing_assets.core.forecast.levels import LevelState
from pricing_assets.core.forecast.training_rows import RowBuilder, learned_features
from pricing_assets.core.panel import Panel

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]

CHANNELS = 10
"""Values of one past period, see :func:`past_periods`."""

_RATIO_BOUND = 3.0
_PRICE_SPREAD = 0.2
_STANDARD_BOUND = 5.0


@dataclass(frozen=True, slots=True)
class NetworkSize:
    """Shapes of a network; saved with it.

    Attributes:
        past: values of a past week.
        future: numeric features of a period ahead.
        codes: known values of each series attribute, the unknown one included.
        hidden: width of the layers.
    """

    past: int
    future: int
    codes: tuple[int, ...]
    hidden: int


@dataclass(frozen=True, slots=True)
class Inputs:
    """Inputs of n series-origins.

    Attributes:
        past: (n, P, C) recent weeks, oldest first; a week's periods side by side.
        future: (n, H, F) numeric features of the design, standardised.
        codes: (n, 3) series attributes, 0 unknown.
        base: (n, H) forecast that the network's ratios apply to, units a period.
    """

    past: Singles
    future: Singles
    codes: NDArray[np.int64]
    base: Singles


@dataclass(frozen=True, slots=True)
class Windows:
    """Inputs of n series-origins and what came: target (n, H) units, NaN unknown."""

    inputs: Inputs
    target: Singles


@dataclass(frozen=True, slots=True)
class FeatureScale:
    """Mean and spread of the numeric features, learned once.

    Attributes:
        names: numeric features of the design that are given.
        mean, spread: (F,).
    """

    names: tuple[str, ...]
    mean: Singles
    spread: Singles

    @classmethod
    def learn(cls, features: Singles, *, names: tuple[str, ...]) -> FeatureScale:
        """Scale of (n, H, F) raw features; one never known or constant keeps spread 1."""
        flat = features.reshape(-1, features.shape[2]).astype(np.float64)
        known = np.isfinite(flat)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, flat, 0.0).sum(axis=0) / count
        square = np.where(known, (flat - mean) ** 2, 0.0).sum(axis=0) / count
        spread = np.where(square > 1e-8, np.sqrt(square), 1.0)
        return cls(names, mean.astype(np.float32), spread.astype(np.float32))

    def apply(self, features: Singles) -> Singles:
        """Standardised, bounded features; the mean (0) where unknown."""
        scaled = np.clip((features - self.mean) / self.spread, -_STANDARD_BOUND, _STANDARD_BOUND)
        return np.nan_to_num(scaled, nan=0.0).astype(np.float32)


def numeric_features(panel: Panel) -> tuple[str, ...]:
    """Features that are standardised: all that are learned from but the series attributes."""
    return tuple(name for name in learned_features(panel) if name not in CATEGORICAL)


def chosen_features(design: Design, names: tuple[str, ...]) -> Singles:
    """(S, H, F) raw columns of those names."""
    return design.features[:, :, feature_columns(names)]


def build_inputs(
    panel: Panel,
    *,
    design: Design,
    adjusted: Floats,
    state: LevelState,
    codes: AttributeCodes,
    scale: FeatureScale,
    weeks: int,
) -> Inputs:
    """Inputs of all S series as of the panel's end.

    Args:
        adjusted: (S, T) de-censored demand without the effect of price and promotion.
        weeks: recent weeks that the network reads.
    """
    return Inputs(
        past=past_periods(panel, adjusted=adjusted, state=state, weeks=weeks),
        future=scale.apply(chosen_features(design, scale.names)),
        codes=(np.nan_to_num(codes.encode(panel), nan=-1.0) + 1).astype(np.int64),
        base=design.base.astype(np.float32),
    )


def build_windows(
    builder: RowBuilder, *, scale: FeatureScale | None, weeks: int, limit: int
) -> tuple[Windows, FeatureScale]:
    """About ``limit`` windows of the builder's origins, thinned at random, and their scale.

    Args:
        scale: a scale learned before; learned from these windows where None.
    """
    rng = np.random.default_rng(builder.settings.seed)
    share = max(1, limit // len(builder.origins))
    picked = [_picked(builder, origin, limit=share, rng=rng) for origin in builder.origins]
    designs = [builder.design(origin) for origin in builder.origins]
    if scale is None:
        names = numeric_features(builder.panel)
        raw = [
            chosen_features(design, names)[rows].reshape(-1, 1, len(names))
            for design, rows in zip(designs, picked, strict=True)
        ]
        scale = FeatureScale.learn(np.concatenate(raw), names=names)
    parts = [
        _origin_windows(builder, origin, design=design, rows=rows, scale=scale, weeks=weeks)
        for origin, design, rows in zip(builder.origins, designs, picked, strict=True)
    ]
    return _joined(parts), scale


def past_periods(panel: Panel, *, adjusted: Floats, state: LevelState, weeks: int) -> Singles:
    """(S, P, cycle x C) of the last ``weeks`` weeks, zeros before the panel's beginning.

    The channels of a period: known demand, its log ratio to the level, log price and rival gap
    against their recent means, promotion, display, feature, censored, on sale, holiday.
    """
    cycle = 7 if panel.grain == "day" else 1
    width = min(weeks * cycle, panel.shape[1])
    cut = slice(panel.shape[1] - width, None)
    demand = adjusted[:, cut]
    known = np.isfinite(demand)
    level = level_forecast(state, panel, panel.dates[cut]) + OFFSET
    ratio = np.log((np.where(known, demand, 0.0) + OFFSET) / level)
    price = _safe_log(panel.price[:, cut])
    channels = [
        known,
        np.where(known, np.clip(ratio, -_RATIO_BOUND, _RATIO_BOUND), 0.0),
        _around_mean(price),
        _around_mean(_safe_log(panel.rival_price[:, cut]) - price),
        panel.promo[:, cut],
        panel.display[:, cut],
        panel.feature[:, cut],
        panel.censored[:, cut],
        panel.on_sale[:, cut],
        np.broadcast_to(panel.holiday[cut], demand.shape),
    ]
    past = np.zeros((panel.shape[0], weeks * cycle, CHANNELS), np.float32)
    if width:
        past[:, -width:] = np.nan_to_num(np.stack(channels, axis=2))
    return past.reshape(panel.shape[0], weeks, cycle * CHANNELS)


def _picked(
    builder: RowBuilder, origin: int, *, limit: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Series with a known target after the origin, at most ``limit`` at random, ascending."""
    target = builder.history.demand[:, origin : min(origin + builder.horizon, builder.end)]
    rows = np.flatnonzero(np.isfinite(target).any(axis=1))
    return rows if rows.size <= limit else np.sort(rng.choice(rows, size=limit, replace=False))


def _origin_windows(
    builder: RowBuilder,
    origin: int,
    *,
    design: Design,
    rows: NDArray[np.int64],
    scale: FeatureScale,
    weeks: int,
) -> Windows:
    inputs = build_inputs(
        builder.panel.until(origin),
        adjusted=builder.history.adjusted[:, :origin],
        state=builder.history.states[origin],
        design=design,
        codes=builder.codes,
        scale=scale,
        weeks=weeks,
    )
    width = min(builder.horizon, builder.end - origin)
    target = np.full((rows.size, builder.horizon), np.nan, np.float32)
    target[:, :width] = builder.history.demand[rows, origin : origin + width]
    return Windows(
        inputs=Inputs(
            past=inputs.past[rows],
            future=_padded(inputs.future[rows], width=builder.horizon, fill=0.0),
            codes=inputs.codes[rows],
            base=_padded(inputs.base[rows], width=builder.horizon, fill=1.0),
        ),
        target=target,
    )


def _padded(values: Singles, *, width: int, fill: float) -> Singles:
    """Axis 1 widened to ``width`` with ``fill``."""
    missing = width - values.shape[1]
    if missing <= 0:
        return values
    pads = [(0, 0), (0, missing), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, pads, constant_values=fill)


def _joined(parts: list[Windows]) -> Windows:
    inputs = {
        field.name: np.concatenate([getattr(part.inputs, field.name) for part in parts])
        for field in fields(Inputs)
    }
    return Windows(Inputs(**inputs), np.concatenate([part.target for part in parts]))


def _around_mean(values: Floats) -> Floats:
    """Each row less its mean over known periods, over a usual spread of log prices."""
    known = np.isfinite(values)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, values, 0.0).sum(axis=1, keepdims=True) / count
    scaled = np.clip((values - mean) / _PRICE_SPREAD, -_STANDARD_BOUND, _STANDARD_BOUND)
    return np.asarray(np.where(known, scaled, 0.0))


def _safe_log(values: Floats) -> Floats:
    return np.asarray(np.log(np.where(values > 0, values, np.nan)))
