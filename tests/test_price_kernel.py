"""The search for whole catalogues: the reference against brute force, the compiled against it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri

from pricing_assets.core import compiled_math, price_kernel
from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.price_kernel import (
    PriceProblem,
    RiskLimits,
    objective_value,
    solve_reference,
)
from pricing_assets.core.price_kernel_cpu import solve_compiled, solve_packed
from pricing_assets.core.price_packing import PackedProblem, pack
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.unit_worth import UnitWorth

LIMITS = RiskLimits(hold_above_p_worse=0.4, min_relative_uplift=0.0)
FREE = RiskLimits(hold_above_p_worse=1.0, min_relative_uplift=0.0)


def catalogue(n: int, *, seed: int = 1, stock: float = 0.25, spacing: int = 10) -> PriceProblem:
    """Random products; float32 inputs, so that both engines are given the same numbers."""
    rng = np.random.default_rng(seed)

    def singles(values: np.ndarray) -> np.ndarray:
        return values.astype(np.float32).astype(np.float64)

    current = np.floor(rng.lognormal(3, 0.8, n) * 100).clip(100, 1e6).astype(np.int64)
    floor, ceiling = np.ceil(current * 0.8).astype(np.int64), (current * 1.2).astype(np.int64)
    first = floor + (spacing - 1 - floor) % spacing
    missed = first > ceiling
    first, step = np.where(missed, floor, first), np.where(missed, 1, spacing)
    curves = DemandCurves(
        reference_price=current / 100,
        reference_units=singles(rng.lognormal(3, 1, n)),
        reference_units_cv=singles(rng.uniform(0, 0.5, n)),
        elasticity_mean=singles(rng.uniform(-4, -1, n)),
        elasticity_sd=singles(rng.uniform(0.05, 0.6, n)),
        curvature=rng.choice([0.0, 0.5, 1.0], n),
    )
    return PriceProblem(
        curves=curves,
        worth=UnitWorth(np.ones(n), singles(current / 100 * rng.uniform(0.3, 0.8, n))),
        available=np.where(rng.random(n) < stock, np.floor(rng.lognormal(3, 1, n)), np.inf),
        base=current,
        first=first,
        spacing=step,
        count=(ceiling - first) // step + 1,
        exponent=2,
    )


def with_worth(problem: PriceProblem, slope: float, intercept: float) -> PriceProblem:
    n = len(problem)
    names = ("curves", "available", "base", "first", "spacing", "count", "exponent")
    worth = UnitWorth(np.full(n, slope), np.full(n, intercept))
    return PriceProblem(**{name: getattr(problem, name) for name in names}, worth=worth)


def test_the_reference_finds_the_best_of_all_allowed_prices() -> None:
    problem = catalogue(400, stock=0.5)
    found = solve_reference(problem, FREE)
    for row in range(len(problem)):
        one = problem.rows(slice(row, row + 1))
        every = one.first + one.spacing * np.arange(one.count[0])
        prices = np.append(every, one.base)[None, :]
        best = objective_value(one, prices)[0].max()
        value = objective_value(one, found.price[row : row + 1, None])[0][0, 0]
        assert value >= best - 1e-9 * abs(best)


@pytest.mark.parametrize("spacing", [1, 10, 100])
@pytest.mark.parametrize("stock", [0.0, 1.0])
def test_the_compiled_search_is_the_reference(spacing: int, stock: float) -> None:
    """Below 0.01 % of prices may differ: none of so few. Their objective agrees to 1e-5."""
    problem = catalogue(6_000 if stock == 0 else 3_000, seed=5, stock=stock, spacing=spacing)
    expected = solve_reference(problem, LIMITS)
    found = solve_packed(pack(problem), LIMITS, threads=2)
    same = expected.price == found.price
    assert np.mean(~same) < 1e-4
    pair = np.stack([expected.price, found.price.astype(np.int64)], axis=1)
    value = objective_value(problem, pair)[0]
    np.testing.assert_allclose(value[:, 0], value[:, 1], rtol=1e-5, atol=1e-6)
    for name in ("units", "base_units", "p_worse", "best_p_worse", "best_gain"):
        np.testing.assert_allclose(
            getattr(found, name)[same],
            getattr(expected, name)[same],
            rtol=1e-5,
            atol=2e-5,
            equal_nan=True,
            err_msg=name,
        )


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.0, -1.0), (1.3, 2.0), (1.0, -5.0)])
def test_other_objectives_agree(slope: float, intercept: float) -> None:
    problem = with_worth(catalogue(2_000), slope, intercept)
    expected, found = solve_reference(problem, LIMITS), solve_packed(pack(problem), LIMITS)
    pair = np.stack([expected.price, found.price.astype(np.int64)], axis=1)
    value = objective_value(problem, pair)[0]
    np.testing.assert_allclose(value[:, 0], value[:, 1], rtol=1e-5, atol=1e-6)
    assert np.mean(expected.price != found.price) < 2e-3


def test_risk_holds_or_shortens_the_step() -> None:
    problem = catalogue(3_000, stock=0.0)
    free, careful = solve_reference(problem, FREE), solve_reference(problem, LIMITS)
    assert (careful.p_worse <= LIMITS.hold_above_p_worse).all()
    risky = free.p_worse > LIMITS.hold_above_p_worse
    assert risky.any()
    step, full = np.abs(careful.price - problem.base), np.abs(free.price - problem.base)
    assert (step[risky] < full[risky]).all()
    assert (step[risky] > 0).any()
    assert (careful.price == free.price)[~risky].all()


def test_a_least_gain_holds() -> None:
    problem = catalogue(500)
    strict = RiskLimits(hold_above_p_worse=1.0, min_relative_uplift=0.05)
    for solve in (solve_reference, lambda p, limits: solve_packed(pack(p), limits)):
        found = solve(problem, strict)
        small = ~(found.best_gain > 0.05)
        assert (found.price[small] == problem.base[small]).all()
        assert (found.price[~small] != problem.base[~small]).any()


def test_nothing_and_one_product() -> None:
    for n in (0, 1):
        problem = catalogue(n)
        assert len(solve_reference(problem, LIMITS).price) == n
        assert len(solve_packed(pack(problem), LIMITS).price) == n


@given(
    current=st.integers(1, 10**7),
    below=st.floats(0, 0.9),
    above=st.floats(0, 2),
    spacing=st.sampled_from([1, 5, 10, 100]),
    cost=st.floats(0, 2),
    mean=st.floats(-10, -0.05),
    sd=st.floats(0, 2),
    curvature=st.sampled_from([-1.0, 0.0, 0.3, 1.0]),
    units=st.floats(0, 1e6),
    available=st.one_of(st.just(np.inf), st.floats(0, 1e6)),
)
@settings(max_examples=60, deadline=None)
def test_a_price_is_allowed_whatever_the_product(
    current, below, above, spacing, cost, mean, sd, curvature, units, available
) -> None:
    """Both engines: on the lattice and inside the bounds, or the price of today."""
    floor, ceiling = max(1, int(current * (1 - below))), int(current * (1 + above))
    count = (ceiling - floor) // spacing + 1
    one = np.ones(1)
    problem = PriceProblem(
        curves=DemandCurves(
            one * current / 100, one * units, one * 0.3, one * mean, one * sd, one * curvature
        ),
        worth=UnitWorth(one, one * cost * current / 100),
        available=one * available,
        base=np.array([current]),
        first=np.array([floor]),
        spacing=np.array([spacing]),
        count=np.array([count]),
        exponent=2,
    )
    for found in (solve_reference(problem, LIMITS), solve_compiled(problem, LIMITS)):
        price = int(found.price[0])
        on_lattice = (price - floor) % spacing == 0
        assert price == current or (floor <= price <= ceiling and on_lattice)
        assert 0 <= found.p_worse[0] <= LIMITS.hold_above_p_worse + 1e-6
        assert np.isfinite(found.units[0])


def test_the_mean_is_all_that_is_maximised_here() -> None:
    with pytest.raises(InvalidSettingError, match="quantile"):
        RiskLimits.of(PriceTableParameters(risk="quantile"))


def test_memory_is_bounded_by_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(price_kernel, "CHUNK_ROWS", 7)
    problem = catalogue(50)
    chunked = solve_reference(problem, LIMITS)
    monkeypatch.setattr(price_kernel, "CHUNK_ROWS", 1000)
    np.testing.assert_array_equal(chunked.price, solve_reference(problem, LIMITS).price)


def test_packing_keeps_float32_columns_as_they_are() -> None:
    packed = pack(catalogue(5))
    assert isinstance(packed, PackedProblem)
    wide = [name for name in PackedProblem.__slots__ if getattr(packed, name).dtype != np.float32]
    assert wide == ["intercept"]


def test_the_arithmetic_is_as_good_as_it_says() -> None:
    x = np.linspace(-30, 30, 401)
    positive = np.exp(x)
    for function, truth, at, error in (
        (compiled_math.exp64, np.exp, x, 1e-14),
        (compiled_math.log64, np.log, positive, 1e-14),
        (compiled_math.exp32, np.exp, x, 1e-6),
        (compiled_math.log32, np.log, positive, 1e-6),
    ):
        kind = np.float32 if error > 1e-10 else np.float64
        found = np.array([function(kind(value)) for value in at])
        np.testing.assert_allclose(
            found, truth(at.astype(kind).astype(float)), rtol=error, atol=error
        )
    shares = np.linspace(1e-9, 0.97, 301)
    found = np.array([compiled_math.quantile(u) for u in shares])
    np.testing.assert_allclose(found, ndtri(shares), rtol=2e-9, atol=2e-9)
    normal = np.array([compiled_math.normal(value) for value in x])
    np.testing.assert_allclose(normal, ndtr(x), rtol=1e-10, atol=1e-14)
