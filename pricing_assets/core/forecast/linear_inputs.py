"""The design's features as a linear or kernel model takes them: scaled, without NaN, coded.

Belongs here: standardising numbers, filling and flagging what is unknown, indicator columns of
codes and waves of the year. The features themselves are ``design``'s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.forecast.attributes import CATEGORICAL
from pricing_assets.core.forecast.global_model import feature_columns

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

_CODED = ("weekday", *CATEGORICAL)
_YEARLY = "week_of_year"
_YEAR_WEEKS = 52.18
_WAVES = 2
_LARGEST = 4.0
_MOST_LEVELS = 40
_LEAST_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class LinearInputs:
    """How features become D columns of numbers of about unit size.

    Attributes:
        names: features read, in the design's order.
        centre, scale: (N,) of the N plain numbers among them.
        flagged: (M,) positions, among the plain numbers, whose being unknown has a column.
        levels: (L, 2) pairs of position in :data:`_CODED` and code that have a column.
    """

    names: tuple[str, ...]
    centre: Floats
    scale: Floats
    flagged: NDArray[np.int64]
    levels: NDArray[np.int64]

    @classmethod
    def learn(cls, features: Features, *, names: tuple[str, ...]) -> LinearInputs:
        """Scales, flags and levels of the rows (n, F) of a design."""
        plain = features[:, feature_columns(_plain(names))].astype(np.float64)
        known = np.isfinite(plain)
        count = np.maximum(known.sum(axis=0), 1)
        centre = np.where(known, plain, 0.0).sum(axis=0) / count
        spread = np.sqrt((np.where(known, plain - centre, 0.0) ** 2).sum(axis=0) / count)
        share = 1.0 - known.mean(axis=0)
        flagged = np.flatnonzero((share > _LEAST_SHARE) & (share < 1.0 - _LEAST_SHARE))
        return cls(
            names=names,
            centre=centre,
            scale=np.where(spread > 1e-9, spread, 1.0),
            flagged=flagged.astype(np.int64),
            levels=_frequent_levels(features),
        )

    def columns(self, features: Features) -> Floats:
        """(n, D) columns of the rows (n, F) of a design; an unknown number is its mean."""
        plain = features[:, feature_columns(_plain(self.names))].astype(np.float64)
        unknown = ~np.isfinite(plain)
        scaled = np.where(unknown, 0.0, (plain - self.centre) / self.scale)
        coded = features[:, feature_columns(_CODED)]
        parts = [np.clip(scaled, -_LARGEST, _LARGEST), unknown[:, self.flagged]]
        if len(self.levels):
            parts.append(coded[:, self.levels[:, 0]] == self.levels[:, 1])
        if _YEARLY in self.names:
            parts.append(_waves(features[:, feature_columns((_YEARLY,))]))
        return np.concatenate([np.asarray(part, np.float64) for part in parts], axis=1)

    def arrays(self) -> dict[str, NDArray]:
        """The learned arrays by name."""
        return {
            "centre": self.centre,
            "scale": self.scale,
            "flagged": self.flagged,
            "levels": self.levels,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray], *, names: tuple[str, ...]) -> LinearInputs:
        """Rebuild from :meth:`arrays`."""
        own = {name: arrays[name] for name in ("centre", "scale", "flagged", "levels")}
        return cls(names=names, **own)


def _plain(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in _CODED and name != _YEARLY)


def _frequent_levels(features: Features) -> NDArray[np.int64]:
    """Codes frequent enough for a column, the most frequent first; none of a constant."""
    found: list[tuple[int, int]] = []
    for position, column in enumerate(features[:, feature_columns(_CODED)].T):
        codes, counts = np.unique(column[np.isfinite(column)], return_counts=True)
        order = np.argsort(-counts, kind="stable")[:_MOST_LEVELS]
        enough = [code for code in order if counts[code] > _LEAST_SHARE * len(column)]
        if len(codes) > 1:
            found += [(position, int(codes[code])) for code in enough]
    return np.asarray(found, np.int64).reshape(-1, 2)


def _waves(week: Features) -> Floats:
    """Sines and cosines of the time of year, (n, 2 * waves), of weeks (n, 1)."""
    angle = 2 * np.pi * np.asarray(week, np.float64) / _YEAR_WEEKS * np.arange(1, _WAVES + 1)
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)
