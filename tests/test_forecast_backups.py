"""The light backups: what they learn, that they take NaN and new codes, and how they are saved.

What every forecaster owes (finite, ordered, saved is loaded) is tests/test_forecast_models.py.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from panels import ELASTICITY, synthetic_panel
from sklearn.svm import SVR

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.forecast import linear_backup
from pricing_assets.core.forecast.design import feature_names
from pricing_assets.core.forecast.linear_backup import (
    LINEAR_BACKUPS,
    TENSORS_FILE,
    ElasticNetRatios,
    FittedLinearBackup,
    LinearBackup,
    SupportVectorRatios,
)
from pricing_assets.core.forecast.linear_inputs import LinearInputs
from pricing_assets.core.forecast.metrics import wape
from pricing_assets.core.forecast.training_rows import TrainingRows
from pricing_assets.core.forecast.windows import actual_plan
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

SETTINGS = PricingSettings(
    horizon_days=14, forecast=ForecastParameters(training_origins=12, max_rows=3_000)
)


@cache
def _panel() -> Panel:
    return synthetic_panel(16, 220, 11)


@cache
def _fitted(name: str) -> FittedLinearBackup:
    return LinearBackup(name, SETTINGS).fit(_panel().until(206))


@pytest.mark.parametrize("name", LINEAR_BACKUPS)
def test_it_forecasts_promotions_near_the_truth(name: str) -> None:
    panel = _panel()
    plan = actual_plan(panel, origin=206, horizon=14)
    forecast = _fitted(name).predict(panel.until(206), plan)
    actual, every = panel.units[:, 206:], np.ones((16, 14), dtype=bool)
    # Poisson noise alone at this level gives a WAPE of 0.20.
    assert wape(actual, forecast.mean, every) < 0.3
    assert forecast.mean.sum() == pytest.approx(actual.sum(), rel=0.1)
    cheaper = replace(plan, price=0.9 * plan.price)
    lift = _fitted(name).predict(panel.until(206), cheaper).mean.sum() / forecast.mean.sum()
    assert lift == pytest.approx(0.9**ELASTICITY, rel=0.2)


@pytest.mark.parametrize("name", LINEAR_BACKUPS)
def test_what_was_never_seen_in_training_is_no_number_apart(name: str) -> None:
    panel = _panel().until(206)
    strange = replace(
        panel,
        series=panel.series.assign(brand="never seen", category="nor this"),
        rival_price=np.full_like(panel.rival_price, np.nan),
    )
    plan = replace(
        actual_plan(_panel(), origin=206, horizon=14), rival_price=np.full((16, 14), np.nan)
    )
    mean = _fitted(name).predict(strange, plan).mean
    assert np.isfinite(mean).all()
    assert mean.sum() == pytest.approx(_panel().units[:, 206:].sum(), rel=0.3)


def _rows(count: int, seed: int) -> tuple[np.ndarray, TrainingRows]:
    rng = np.random.default_rng(seed)
    columns = rng.normal(size=(count, 3))
    base = rng.uniform(5, 50, count)
    mean = base * np.exp(0.4 * columns[:, 0] - 0.3 * columns[:, 1])
    features = np.empty((count, 0), np.float32)
    return columns, TrainingRows(features, base, rng.poisson(mean).astype(float))


def test_elastic_net_finds_the_coefficients_of_a_count() -> None:
    columns, rows = _rows(4000, 3)
    learned = ElasticNetRatios.learn(columns, rows)
    # The penalty of 0.01 takes some hundredths off each; what is not there stays out.
    assert learned.mean == pytest.approx([0.4, -0.3, 0.0, 0.0], abs=0.04)
    assert learned.median == pytest.approx([0.4, -0.3, 0.0, 0.0], abs=0.04)
    assert learned.mean[2] == 0.0


def test_support_vectors_predict_what_scikit_learn_does() -> None:
    columns, rows = _rows(600, 4)
    learned = SupportVectorRatios.learn(columns, rows)
    log_ratio = np.log((rows.target + 0.5) / (rows.base + 0.5))
    reference = SVR(C=1.0, epsilon=0.2, gamma=learned.width[0], tol=1e-2).fit(columns, log_ratio)
    mean, median = learned.ratios(columns, rows.base)
    # The vectors are kept in single precision.
    assert np.log(median) == pytest.approx(reference.predict(columns), abs=1e-4)
    assert (mean * rows.base).sum() == pytest.approx(rows.target.sum(), rel=0.02)


def test_inputs_are_scaled_flagged_and_coded() -> None:
    names = feature_names()
    rng = np.random.default_rng(5)
    features = rng.normal(7, 3, (500, len(names))).astype(np.float32)
    features[:, names.index("weekday")] = np.arange(500) % 7
    for name in ("category", "brand", "store", "week_of_year"):
        features[:, names.index(name)] = 0
    features[:100, names.index("log_rival_gap")] = np.nan
    inputs = LinearInputs.learn(features, names=names)
    columns = inputs.columns(features)
    plain = len(names) - 5
    assert columns.shape == (500, plain + 1 + 7 + 4)
    assert np.isfinite(columns).all() and np.abs(columns).max() <= 4.0
    assert np.abs(columns[:, :plain].mean(axis=0)).max() < 0.05
    assert columns[:, plain].sum() == 100
    assert (columns[:, plain + 1 : plain + 8].sum(axis=1) == 1).all()


@pytest.mark.parametrize("name", LINEAR_BACKUPS)
def test_damaged_files_are_named(name: str) -> None:
    files = _fitted(name).to_files()
    assert sorted(files) == ["forecaster.json", TENSORS_FILE]
    state = ModelBundle(files).json("forecaster.json")
    with pytest.raises(IntegrityError, match="train it again"):
        linear_backup.load(ModelBundle(files), {**state, "features": ["phase_of_moon"]})
    del files[TENSORS_FILE]
    with pytest.raises(IntegrityError, match="which is absent"):
        linear_backup.load(ModelBundle(files), state)
