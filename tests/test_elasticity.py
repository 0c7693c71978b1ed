"""Elasticity estimators against known truth, dense references and the literature's formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import truncnorm

from pricing_assets.core.elasticity.block_poisson import fit_block_poisson
from pricing_assets.core.elasticity.design import price_design, substitutes_mean
from pricing_assets.core.elasticity.estimate import (
    ElasticityEstimates,
    below_zero,
    estimate_elasticities,
)
from pricing_assets.core.elasticity.instruments import endogeneity_control
from pricing_assets.core.elasticity.linearised import expected_above
from pricing_assets.core.elasticity.local_level import filter_innovations
from pricing_assets.core.elasticity.pooling import pool_estimates
from pricing_assets.core.features import build_panel
from pricing_assets.core.market import Market, MarketParameters, simulate_market
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings


@pytest.fixture(scope="module")
def studied() -> tuple[Market, Panel, ElasticityEstimates]:
    market = simulate_market(MarketParameters(products=120, days=540, seed=11, endogeneity=0.25))
    panel = build_panel(market.raw_tables(), PricingSettings())
    return market, panel, estimate_elasticities(panel, settings=PricingSettings())


def test_block_poisson_finds_the_truth_under_block_effects() -> None:
    """Effects correlated with the covariate, zeros and overdispersion; tolerance 4 errors."""
    rng = np.random.default_rng(0)
    block = np.repeat(np.arange(400), 14)
    effect = rng.normal(0, 1, 400)
    x = 0.5 * effect[block] + rng.normal(0, 0.3, len(block))
    mean = np.exp(0.5 + effect[block] - 2.0 * x)
    counts = rng.poisson(mean * rng.gamma(5.0, 1 / 5.0, len(block))).astype(float)
    fit = fit_block_poisson(counts=counts, covariates=x[:, None], block=block)
    assert abs(fit.coefficients[0] + 2.0) < 4 * np.sqrt(fit.covariance[0, 0])
    assert np.sqrt(fit.covariance[0, 0]) < 0.1
    np.testing.assert_allclose(
        np.bincount(block, fit.mean), np.bincount(block, counts), rtol=1e-9, atol=1e-9
    )


def test_filtered_least_squares_equals_dense_gls() -> None:
    """Against the closed form with the full covariance of a diffuse local level."""
    rng = np.random.default_rng(1)
    periods, level, noise = 40, 0.03, 0.2
    x = rng.normal(0, 1, periods)
    outcome = 1.5 * x + np.cumsum(rng.normal(0, np.sqrt(level), periods))
    outcome += rng.normal(0, np.sqrt(noise), periods)
    outcome[7] = np.nan
    seen = ~np.isnan(outcome)
    time = np.arange(periods)
    covariance = level * np.minimum.outer(time, time) + noise * np.eye(periods)
    weight = np.linalg.inv(covariance[np.ix_(seen, seen)])
    design = np.column_stack([np.ones(periods), x])[seen]
    dense = np.linalg.solve(design.T @ weight @ design, design.T @ weight @ outcome[seen])
    moments = filter_innovations(
        outcome=outcome[None],
        variance=np.full((1, periods), noise),
        regressors=x[None, None],
        level_variance=level,
    )
    products = moments.products[0]
    assert products[0, 1] / products[1, 1] == pytest.approx(dense[1], rel=1e-9)


def test_expected_demand_above_the_stock_agrees_with_draws() -> None:
    rng = np.random.default_rng(2)
    mean, dispersion, stock = 6.0, 0.2, 8.0
    draws = rng.poisson(mean * rng.gamma(1 / dispersion, dispersion, 400_000))
    expected = expected_above(stock=np.array([stock]), mean=np.array([mean]), dispersion=dispersion)
    assert expected[0] == pytest.approx(draws[draws >= stock].mean(), rel=0.01)


def test_posterior_below_zero_has_the_moments_of_the_truncated_normal() -> None:
    mean, sd = np.array([-2.0, -0.3, 0.4]), np.array([0.3, 0.5, 0.4])
    found = below_zero(mean, sd)
    reference = truncnorm(-np.inf, -mean / sd, loc=mean, scale=sd)
    np.testing.assert_allclose(found[0], reference.mean(), rtol=1e-6)
    np.testing.assert_allclose(found[1], reference.std(), rtol=1e-6)


def test_pooling_leaves_the_certain_alone_and_gives_the_ignorant_their_category() -> None:
    rng = np.random.default_rng(3)
    category = np.repeat([0, 1], 30)
    truth = np.where(category == 0, -1.5, -3.0) + rng.normal(0, 0.3, 60)
    error = np.full(60, 0.2)
    error[0], error[1] = 0.001, np.nan
    estimate = truth + np.where(np.isnan(error), 0, error) * rng.normal(0, 1, 60)
    estimate[1] = np.nan
    pooled = pool_estimates(
        estimate=estimate,
        standard_error=error,
        product=np.arange(60),
        category=category,
        traits=np.zeros((60, 0)),
        prior_mean=-1.5,
        prior_sd=0.5,
    )
    assert pooled.mean[0] == pytest.approx(estimate[0], abs=0.01)
    assert pooled.mean[1] == pytest.approx(pooled.category_mean[0], abs=0.05)
    assert pooled.sd[1] > 0.2
    rmse = np.sqrt(np.mean((pooled.mean - truth)[2:] ** 2))
    assert rmse < np.sqrt(np.mean((estimate - truth)[2:] ** 2))
    np.testing.assert_allclose(pooled.category_mean, [-1.5, -3.0], atol=0.25)


def test_traits_carry_information_to_products_that_have_none() -> None:
    rng = np.random.default_rng(4)
    trait = rng.normal(0, 1, 200)
    truth = -2.0 + 0.5 * trait
    error = np.full(200, 0.3)
    error[:20] = np.nan
    pooled = pool_estimates(
        estimate=truth + 0.3 * rng.normal(0, 1, 200),
        standard_error=error,
        product=np.arange(200),
        category=np.zeros(200, dtype=np.int64),
        traits=trait[:, None],
        prior_mean=-1.5,
        prior_sd=0.5,
    )
    assert np.corrcoef(pooled.mean[:20], truth[:20])[0, 1] > 0.95


def test_substitutes_mean_leaves_the_own_price_out() -> None:
    values = np.array([[1.0], [2.0], [6.0], [5.0]])
    present = np.array([[True], [True], [True], [True]])
    market = np.array([0, 0, 0, 1])
    expected = [[4.0], [3.5], [1.5], [0.0]]
    np.testing.assert_allclose(substitutes_mean(values, present, market), expected)


def test_a_weak_cost_is_refused_and_a_strong_one_used(
    studied: tuple[Market, Panel, ElasticityEstimates],
) -> None:
    _, panel, _ = studied
    design = price_design(panel)
    usual = PricingSettings().elasticity
    strong = endogeneity_control(panel, design, parameters=usual, cost_is_instrument=True)
    assert strong.kind == "cost_control_function"
    assert strong.first_stage_f > usual.min_first_stage_f
    stricter = usual.model_copy(update={"min_first_stage_f": strong.first_stage_f + 1})
    refused = endogeneity_control(panel, design, parameters=stricter, cost_is_instrument=True)
    assert refused.kind == "regular_price_control"
    derived = endogeneity_control(panel, design, parameters=usual, cost_is_instrument=False)
    assert derived.kind == "regular_price_control"
    assert np.isnan(derived.first_stage_f)
    none = usual.model_copy(update={"endogeneity_control": "none"})
    assert not endogeneity_control(
        panel, design, parameters=none, cost_is_instrument=True
    ).values.any()


def test_estimates_are_near_the_truth_and_their_intervals_cover(
    studied: tuple[Market, Panel, ElasticityEstimates],
) -> None:
    """120 products, 540 days: 90 % intervals cover 82 to 98 %, four binomial errors wide."""
    market, _, estimates = studied
    error = estimates.frame["own_price_elasticity"].to_numpy() - market.own_price_elasticity()
    assert abs(error.mean()) < 0.2
    assert np.sqrt(np.mean(error**2)) < 0.5
    covered = np.mean(np.abs(error) < 1.645 * estimates.frame["sd"])
    assert 0.80 < covered < 0.99
    assert estimates.endogeneity > 0


def test_a_naive_regression_is_far_worse(
    studied: tuple[Market, Panel, ElasticityEstimates],
) -> None:
    market, panel, estimates = studied
    price, units = np.log(panel.price), np.log1p(panel.units)
    known = np.isfinite(price) & np.isfinite(units)
    naive = np.full(panel.shape[0], np.nan)
    for row in range(panel.shape[0]):
        x, y = price[row, known[row]], units[row, known[row]]
        if np.ptp(x) > 1e-6:
            naive[row] = np.cov(x, y)[0, 1] / np.var(x, ddof=1)
    truth = market.own_price_elasticity()
    ours = estimates.frame["own_price_elasticity"].to_numpy()
    assert np.nanmean((ours - truth) ** 2) < 0.2 * np.nanmean((naive - truth) ** 2)


def test_every_elasticity_is_below_zero_and_flags_say_what_is_unknown(
    studied: tuple[Market, Panel, ElasticityEstimates],
) -> None:
    frame = studied[2].frame
    assert (frame["own_price_elasticity"] < 0).all()
    assert (frame["low_90"] < frame["own_price_elasticity"]).all()
    assert (frame["high_90"] > frame["own_price_elasticity"]).all()
    silent = frame["raw_estimate"].isna()
    assert (frame.loc[silent, "flag"] == "no_price_variation").all()


def test_prices_that_never_move_give_the_prior() -> None:
    market = simulate_market(MarketParameters(products=6, days=60, seed=2))
    tables = market.raw_tables()
    tables["sales"] = tables["sales"].assign(price=9.99, regular_price=9.99, promo=0)
    panel = build_panel(tables, PricingSettings())
    frame = estimate_elasticities(panel, settings=PricingSettings()).frame
    np.testing.assert_allclose(frame["own_price_elasticity"], -1.5, atol=0.05)
    assert (frame["sd"] > 0.4).all()
    assert (frame["flag"] == "no_price_variation").all()


def test_one_product_with_one_row_does_no_harm() -> None:
    market = simulate_market(MarketParameters(products=1, days=30, seed=2))
    tables = {"sales": market.raw_tables()["sales"].head(1)}
    panel = build_panel(tables, PricingSettings())
    frame = estimate_elasticities(panel, settings=PricingSettings()).frame
    assert np.isfinite(frame[["own_price_elasticity", "sd"]]).all().all()
