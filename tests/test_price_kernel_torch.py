"""The search on a torch device is the float64 reference, in chunks of any size."""

from __future__ import annotations

import numpy as np
import pytest

from pricing_assets.core import price_kernel_torch
from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.price_kernel import PriceSolution, RiskLimits, solve_reference
from pricing_assets.core.price_kernel_torch import torch_solver
from pricing_assets.core.price_table_torch import available_devices
from tests.test_price_kernel import LIMITS, catalogue, with_worth


@pytest.mark.parametrize("device", available_devices())
@pytest.mark.parametrize("stock", [0.0, 0.5])
@pytest.mark.parametrize("spacing", [1, 10])
def test_every_device_is_the_reference(device: str, stock: float, spacing: int) -> None:
    """Below 0.01 % of prices may differ in double precision; single (MPS) leaves close calls."""
    problem = catalogue(2_000, seed=8, stock=stock, spacing=spacing)
    expected, found = solve_reference(problem, LIMITS), torch_solver(device)(problem, LIMITS)
    same = expected.price == found.price
    assert np.mean(~same) <= (0.01 if device == "mps" else 0.0)
    for name in PriceSolution.__slots__:
        left, right = getattr(found, name)[same], getattr(expected, name)[same]
        loose = 1e-3 if device == "mps" else 1e-9
        np.testing.assert_allclose(left, right, rtol=loose, atol=loose, err_msg=name)


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.0, -1.0)])
def test_other_objectives_and_a_least_gain_agree(slope: float, intercept: float) -> None:
    problem = with_worth(catalogue(800), slope, intercept)
    limits = RiskLimits(hold_above_p_worse=0.3, min_relative_uplift=0.02)
    found = torch_solver("cpu")(problem, limits)
    np.testing.assert_array_equal(found.price, solve_reference(problem, limits).price)


def test_chunks_do_not_matter_nor_does_their_lack(monkeypatch: pytest.MonkeyPatch) -> None:
    problem, solve = catalogue(100), torch_solver("cpu")
    whole = solve(problem, LIMITS)
    monkeypatch.setattr(price_kernel_torch, "CPU_CHUNK_ROWS", 7)
    np.testing.assert_array_equal(solve(problem, LIMITS).price, whole.price)
    assert len(solve(catalogue(0), LIMITS).price) == 0


def test_a_device_that_is_not_there_is_named() -> None:
    missing = next(name for name in ("cuda", "mps") if name not in available_devices())
    with pytest.raises(InvalidSettingError, match=f"'{missing}' is not on this machine"):
        torch_solver(missing)
