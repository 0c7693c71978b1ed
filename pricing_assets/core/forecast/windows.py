"""Which periods are held out: origins spaced by the horizon, the plan and cells of each.

Belongs here: slicing a panel into what was known at an origin and what followed. Scoring is
``core.forecast.walk_forward``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from pricing_assets.core.errors import InputError
from pricing_assets.core.panel import FuturePlan, Panel, carry_forward, last_known

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_LEAST_HISTORY = 4


class TooShortHistoryError(InputError):
    """The panel has too few periods to test a forecast on."""


def horizon_periods(panel: Panel, horizon_days: int) -> int:
    """Periods that cover ``horizon_days``: H = ceil(horizon_days / period_days)."""
    return -(-horizon_days // panel.period_days)


def held_out_origins(periods: int, *, horizon: int, count: int) -> tuple[int, ...]:
    """Origins (periods known) spaced by the horizon, going back from the end, ascending.

    In a history shorter than two horizons the one origin leaves its last third out.

    Raises:
        TooShortHistoryError: fewer than four periods.
    """
    if periods < _LEAST_HISTORY:
        raise TooShortHistoryError(
            f"{periods} periods of sales are too few to test a forecast; at least "
            f"{_LEAST_HISTORY} are needed: give a longer sales history"
        )
    first = max(_LEAST_HISTORY - 1, horizon)
    origins = [periods - horizon * back for back in range(count, 0, -1)]
    usable = tuple(origin for origin in origins if origin >= first)
    return usable or (periods - max(1, periods // 3),)


def usable_cells(panel: Panel) -> Flags:
    """(S, T) cells whose units are demand: on sale, shelf not emptied."""
    return np.asarray(panel.on_sale & ~panel.censored & np.isfinite(panel.units))


def actual_plan(panel: Panel, *, origin: int, horizon: int) -> FuturePlan:
    """The plan as it was carried out from ``origin`` on; rival prices stay at the origin's.

    Own prices, promotions and holidays are decided or known beforehand; a rival's are not.
    """
    span = slice(origin, min(origin + horizon, panel.shape[1]))
    before = panel.until(origin)
    known = last_known(before.price) if origin else np.full(panel.shape[0], np.nan)
    price = carry_forward(np.column_stack([known, panel.price[:, span]]))[:, 1:]
    rival = last_known(before.rival_price) if origin else known
    return FuturePlan(
        dates=panel.dates[span],
        price=price,
        promo=panel.promo[:, span],
        display=panel.display[:, span],
        feature=panel.feature[:, span],
        rival_price=np.repeat(rival[:, None], price.shape[1], axis=1),
        holiday=panel.holiday[span],
    )
