"""A small catalogue for the tests of shards: categories with substitutes, and products alone."""

from __future__ import annotations

import numpy as np
import pyarrow as pa


def catalogue(rows: int, *, seed: int = 5) -> pa.Table:
    """``rows`` products, one in eight without a category, the rest in 40 categories."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "product_id": [f"SKU-{row:06d}" for row in range(rows)],
            "category": ["" if row % 8 == 0 else f"category {row % 40}" for row in range(rows)],
            "current_price": rng.uniform(5, 50, rows).round(2),
            "reference_units": rng.uniform(1, 90, rows),
            "reference_units_cv": rng.uniform(0, 0.3, rows),
            "elasticity_mean": rng.uniform(-3, -1, rows),
            "elasticity_sd": rng.uniform(0.05, 0.3, rows),
            "unit_cost": rng.uniform(1, 4, rows),
            "cross_elasticity": np.full(rows, 0.05),
            "on_hand": np.where(rng.random(rows) < 0.1, rng.uniform(5, 50, rows), np.nan),
        }
    )
