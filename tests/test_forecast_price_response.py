"""The log-linear response behind the forecast's level, against a known one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from panels import ELASTICITY, synthetic_panel

from pricing_assets.core.forecast.levels import trace_levels
from pricing_assets.core.forecast.price_response import fit_price_response


@pytest.mark.parametrize("weekly", [False, True])
def test_the_response_to_a_promotion_is_recovered(weekly: bool) -> None:
    panel = synthetic_panel(30, 120 if weekly else 400, 4, weekly=weekly)
    coefficients = fit_price_response(panel).coefficients
    # Price falls by 20 % in promotions and hardly else, so only the sum of both is identified.
    lift = coefficients[:, 0] * np.log(0.8) + coefficients[:, 1]
    # The weekday's and season's rest and the prior take a little off the truth.
    assert lift.mean() == pytest.approx(ELASTICITY * np.log(0.8), abs=0.06)
    assert lift.std() < 0.1


def test_the_effect_is_of_the_planned_price() -> None:
    panel = synthetic_panel(10, 300, 4)
    response = fit_price_response(panel)
    effect = response.log_effect(panel)
    promoted = np.where(panel.promo > 0, effect, np.nan)
    assert np.nanmean(promoted) > 0.3 > abs(np.where(panel.promo > 0, 0, effect).mean())


def test_a_promotion_does_not_raise_the_level() -> None:
    panel = synthetic_panel(12, 300, 6, noise=False)
    price, promo, units = panel.price.copy(), panel.promo.copy(), panel.units.copy()
    regular = panel.regular_price[:, -28:]
    units[:, -28:] *= (0.8 * regular / price[:, -28:]) ** ELASTICITY
    price[:, -28:], promo[:, -28:] = 0.8 * regular, 1.0
    on_hand = np.full_like(units, 1e9)
    promoted = replace(
        panel,
        price=price,
        promo=promo,
        units=units,
        on_hand=on_hand,
        censored=np.zeros_like(panel.censored),
    )
    response = fit_price_response(promoted)
    before = trace_levels(promoted, [272], response=response).states[272].level
    after = trace_levels(promoted, [300], response=response).states[300].level
    plain = trace_levels(promoted, [300]).states[300].level
    # The true promotion factor is 0.8 ** -2 = 1.56.
    assert np.median(plain / before) > 1.2
    assert np.median(after / before) == pytest.approx(1.0, abs=0.12)


def test_without_a_price_or_a_sale_the_effect_is_finite() -> None:
    panel = synthetic_panel(4, 60, 1)
    price, on_sale = panel.price.copy(), panel.on_sale.copy()
    price[0], on_sale[0] = np.nan, False
    panel = replace(
        panel, price=price, on_sale=on_sale, units=np.where(on_sale, panel.units, np.nan)
    )
    response = fit_price_response(panel)
    assert np.isfinite(response.coefficients).all()
    assert np.isfinite(response.log_effect(panel)).all()
    assert (response.coefficients[:, 0] <= 0).all()
