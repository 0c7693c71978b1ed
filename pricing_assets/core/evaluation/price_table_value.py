"""A price table valued from the panel's own logged prices.

Belongs here: joining the table with the panel's series. The estimators are
``core.evaluation.off_policy``.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pricing_assets.core.evaluation.logged_prices import log_of_panel
from pricing_assets.core.evaluation.off_policy import (
    OffPolicyEvaluation,
    evaluate_policy,
    price_policies,
)
from pricing_assets.core.panel import Panel, last_known
from pricing_assets.core.settings import PricingSettings
from pricing_assets.core.unit_worth import unit_worth

KEY = ["product_id", "store_id"]


def price_table_value(
    panel: Panel, *, price_table: pd.DataFrame, settings: PricingSettings
) -> OffPolicyEvaluation:
    """The objective a period of the recommended prices against the present ones.

    A series that the table lacks, or whose price or cost is unknown, counts nothing.

    Args:
        panel: S series; its last ``off_policy.history_days`` are the log.
        price_table: product_id, store_id, recommended_price.
        settings: the objective with its weights, ``off_policy`` and the seed.
    """
    keys = panel.series[KEY].astype(str)
    table = price_table[[*KEY, "recommended_price"]].astype(dict.fromkeys(KEY, str))
    joined = keys.merge(table, on=KEY, how="left", validate="one_to_one")
    present = panel.current_price()
    worth = unit_worth(
        unit_cost=panel.current_cost(),
        current_price=present,
        settings=settings,
        rival_price=last_known(panel.rival_price),
    )
    new, now = price_policies(
        present_price=present,
        new_price=joined["recommended_price"].to_numpy(dtype=np.float64),
        worth=worth,
    )
    derived = settings.ingestion.cost_is_derived_from_price
    log = log_of_panel(
        panel,
        history_days=settings.off_policy.history_days,
        block_days=settings.off_policy.block_days,
        min_first_stage_f=np.inf if derived else settings.elasticity.min_first_stage_f,
    )
    rng = np.random.default_rng(settings.seed)
    return evaluate_policy(log, new=new, present=now, parameters=settings.off_policy, rng=rng)
