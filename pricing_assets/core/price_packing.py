"""A problem of ``core.price_kernel`` as the narrow columns that the fast engines read.

Belongs here: the layout in memory. NumPy only.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.price_kernel import Flags, PriceProblem

Singles = NDArray[np.float32]
Doubles = NDArray[np.float64]

LARGEST_MINOR = 1 << 24
"""Prices in minor units above this are not exact in float32; the reference prices such rows."""
ENDLESS = np.float32(3e38)
"""Stock that never runs out."""


@dataclass(frozen=True, slots=True)
class PackedProblem:
    """A ``PriceProblem`` as contiguous columns of shape (n,); prices in minor units.

    All are float32 but for the intercept, whose rounding in minor units would move close calls.
    """

    reference: Singles
    units: Singles
    units_cv: Singles
    mean: Singles
    sd: Singles
    curvature: Singles
    slope: Singles
    intercept: Doubles
    available: Singles
    first: Singles
    spacing: Singles
    last: Singles
    base: Singles

    def __len__(self) -> int:
        return int(self.base.shape[0])

    @property
    def columns(self) -> tuple[Singles | Doubles, ...]:
        """The columns in the order of the fields."""
        return tuple(getattr(self, field.name) for field in fields(self))


def pack(problem: PriceProblem) -> PackedProblem:
    """The float32 columns of a problem; worth is scaled to a price in minor units."""
    scale = 10.0**problem.exponent
    curves = problem.curves
    columns = {
        "reference": curves.reference_price * scale,
        "units": curves.reference_units,
        "units_cv": curves.reference_units_cv,
        "mean": curves.elasticity_mean,
        "sd": curves.elasticity_sd,
        "curvature": curves.curvature,
        "slope": problem.worth.slope,
        "available": np.minimum(problem.available, ENDLESS),
        "first": problem.first,
        "spacing": problem.spacing,
        "last": problem.count - 1,
        "base": problem.base,
    }
    singles = {n: np.ascontiguousarray(v, np.float32) for n, v in columns.items()}
    intercept = np.ascontiguousarray(problem.worth.intercept * scale, np.float64)
    return PackedProblem(**singles, intercept=intercept)


def fits(problem: PriceProblem) -> Flags:
    """(n,) rows whose prices float32 holds exactly; the reference prices the others."""
    highest = np.maximum(problem.first + problem.spacing * (problem.count - 1), problem.base)
    return np.asarray(highest <= LARGEST_MINOR)
