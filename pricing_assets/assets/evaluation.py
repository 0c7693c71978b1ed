"""Evaluation: what the run is worth, in numbers and as a page that needs no server.

Belongs here: the asset of the group ``evaluation`` and its check. Measures are
``core.evaluation``.
"""

from dataclasses import asdict
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd

from pricing_assets.core.evaluation.truth import compare_with_truth
from pricing_assets.core.market import MarketParameters, simulate_market
from pricing_assets.core.settings import PricingSettings
from resources.settings import SettingsResource


@dg.asset(
    group_name="evaluation",
    owners=["team:data-science", "team:pricing"],
    kinds={"json"},
    code_version="1",
)
def evaluation_report(
    settings: SettingsResource,
    price_table: pd.DataFrame,
    data_snapshot: dict[str, Any],
) -> dict[str, Any]:
    """Accuracy, prices and risks; on simulated data the share of the oracle's uplift."""
    truth = _truth(data_snapshot["market"], price_table, settings.settings())
    return {"truth": truth}


def _truth(
    market: dict[str, Any] | None, price_table: pd.DataFrame, settings: PricingSettings
) -> dict[str, Any] | None:
    """The comparison with the simulated market's truth; None where the data is not simulated."""
    if market is None:
        return None
    simulated = simulate_market(MarketParameters(**market))
    values = asdict(compare_with_truth(simulated, price_table=price_table, settings=settings))
    return {name: value if np.isfinite(value) else None for name, value in values.items()}
