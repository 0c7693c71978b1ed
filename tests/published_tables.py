"""Small published tables for the serving tests; every value is made from a seed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from serving.published_table import Stamps

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
WEEKDAYS = [0.8, 0.8, 0.9, 1.0, 1.2, 1.3, 1.0]


def stamps(*, model_version: str = "1", currency: str = "USD", now: datetime = NOW) -> Stamps:
    return Stamps(
        model_version=model_version,
        data_version="0123456789abcdef",
        mlflow_run_id="mlflow-1",
        dagster_run_id="dagster-1",
        currency=currency,
        valid_from=now,
        valid_until=now + timedelta(hours=48),
        rules_version="1",
    )


def curve_table(count: int, *, seed: int = 7) -> pa.Table:
    rng = np.random.default_rng(seed)
    price = np.round(rng.uniform(5, 40, count), 2)
    return pa.table(
        {
            "product_id": [f"SKU-{i}" for i in range(count)],
            "store_id": [""] * count,
            "category": ["snacks"] * count,
            "reference_price": price,
            "reference_units": rng.uniform(20, 400, count),
            "reference_units_cv": np.full(count, 0.2),
            "elasticity_mean": rng.uniform(-3.5, -1.1, count),
            "elasticity_sd": rng.uniform(0.1, 0.5, count),
            "curvature": rng.choice([0.0, 1.0], count),
            "rival_elasticity": rng.uniform(0.0, 1.2, count),
            "cross_elasticity": rng.uniform(0.0, 0.1, count),
            "reference_rival_price": np.round(price * rng.uniform(0.9, 1.1, count), 2),
            "promo_lift": rng.uniform(1.0, 2.0, count),
            "weekday_index": [WEEKDAYS] * count,
            "unit_cost": np.round(price * rng.uniform(0.4, 0.7, count), 2),
            "map_price": np.full(count, np.nan),
            "support_low": price * 0.8,
            "support_high": price * 1.2,
            "observations": np.full(count, 200),
        }
    )


def price_table(curves: pa.Table, *, factor: float = 1.05, currency: str = "USD") -> pa.Table:
    current = curves["reference_price"].to_numpy()
    count = len(current)
    cost = curves["unit_cost"].to_numpy()
    floor = np.ceil(np.maximum(current * 0.8, cost / 0.85) * 100) / 100
    ceiling = np.maximum(np.floor(current * 1.2 * 100) / 100, floor)
    price = np.clip(np.round(current * factor, 2), floor, ceiling)
    units = curves["reference_units"].to_numpy()
    return pa.table(
        {
            "product_id": curves["product_id"],
            "store_id": curves["store_id"],
            "segment": [""] * count,
            "currency": [currency] * count,
            "current_price": current,
            "recommended_price": price,
            "price_floor": floor,
            "price_ceiling": ceiling,
            "decision": ["change"] * count,
            "reasons": ["higher margin outweighs the lost units"] * count,
            "expected_units": units,
            "expected_revenue": units * price,
            "expected_profit": units * (price - cost),
            "expected_profit_at_current": units * (current - cost),
            "profit_uplift_low_90": np.full(count, -1.0),
            "profit_uplift_high_90": np.full(count, 5.0),
            "p_worse": np.full(count, 0.1),
            "own_price_elasticity": curves["elasticity_mean"],
            "own_price_elasticity_sd": curves["elasticity_sd"],
            "confidence": np.full(count, 0.8),
            "objective": ["profit"] * count,
            "horizon_days": np.full(count, 28),
        }
    )
