"""The gate before promotion: each planted failure closes it, and says why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from panels import synthetic_panel

from pricing_assets.assets.registration import promotion_gates
from pricing_assets.core.evaluation.drift import watched_drift
from pricing_assets.core.evaluation.fairness import fairness_frame, group_gaps, proxy_exposures
from pricing_assets.core.evaluation.skill import (
    error_over_floor,
    leaking_columns,
    poisson_deviation,
    skill,
)
from pricing_assets.core.evaluation.watch import drift_checks, plain, unpriced_share, watch_report
from pricing_assets.core.forecast.held_out_errors import period_residuals, series_errors
from pricing_assets.core.forecast.walk_forward import Backtest, walk_forward
from pricing_assets.core.monitoring_parameters import MonitoringParameters
from pricing_assets.core.panel import Panel
from pricing_assets.core.promotion import gate_report, gate_sentence
from pricing_assets.core.promotion_evidence import GATES, off_policy_gate
from pricing_assets.core.settings import GateParameters, PricingSettings
from resources.settings import SettingsResource

SETTINGS = PricingSettings.model_validate(
    {
        "horizon_days": 28,
        "forecast": {
            "n_estimators": 40,
            "training_origins": 4,
            "backtest_origins": 2,
            "candidates": ["lightgbm"],
            "model": "lightgbm",
        },
    }
)
PANEL = synthetic_panel(24, 300, 4)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def test() -> Backtest:
    return walk_forward(PANEL, settings=SETTINGS)


def evidence(panel: Panel, found: Backtest) -> dict[str, Any]:
    """What the assets before the gate store, of a good candidate."""
    features = watched_drift(panel, parameters=MonitoringParameters())
    report = watch_report(
        drift_checks(features),
        features,
        now=NOW,
        unpriced_share=unpriced_share(panel, window_days=28),
        leaks={name: plain(value) for name, value in leaking_columns(panel).items()},
    )
    return {
        "data_snapshot": {
            "data_until": (NOW - timedelta(days=1)).isoformat(),
            "tables": {"sales": {"share": 0.01}, "costs": {"share": 0.0}},
        },
        "drift_report": report,
        "forecast_backtest": found.metrics.assign(chosen=found.metrics["model"] == "lightgbm"),
        "forecast_errors": series_errors(panel, found.tested),
        "price_facts": pd.DataFrame(columns=["product_id", "store_id", "unit_cost"]),
        "price_table": priced_table(),
        "price_fairness": fairness_of(priced_table(), dearer=1.0),
        "off_policy_evaluation": logged(refused=True, reason="no overlap"),
    }


def priced_table() -> pd.DataFrame:
    """Ten products in each of twelve stores, all inside their rails."""
    rng = np.random.default_rng(1)
    base = 5.0 + np.repeat(np.arange(10), 12)
    return pd.DataFrame(
        {
            "product_id": np.repeat([f"P{i}" for i in range(10)], 12),
            "store_id": np.tile([f"S{j}" for j in range(12)], 10),
            "recommended_price": base,
            "current_price": base * np.exp(rng.normal(0, 0.02, 120)),
            "price_floor": 0.8 * base,
            "price_ceiling": 1.2 * base,
            "unit_cost": 0.6 * base,
        }
    )


def fairness_of(table: pd.DataFrame, *, dearer: float) -> pd.DataFrame:
    """Stores of even number are one segment and pay ``dearer`` times as much."""
    first = table["store_id"].str[1:].astype(int) % 2 == 0
    rows = table.assign(
        zone="",
        segment=np.where(first, "students", "others"),
        recommended_price=table["recommended_price"] * np.where(first, dearer, 1.0),
    )
    return fairness_frame(group_gaps(rows), proxy_exposures(rows, seed=1, draws=199))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as found:
        yield found


def checks(instance: dg.DagsterInstance, given: dict[str, Any], **gate: Any) -> dict[str, Any]:
    settings = SettingsResource(gate=gate) if gate else SettingsResource()
    with dg.build_asset_context(instance=instance, resources={"settings": settings}) as context:
        found = promotion_gates(context, **given)
    return {check["name"]: check for check in found["checks"]}


def failed(found: dict[str, Any]) -> set[str]:
    return {name for name, check in found.items() if not check["passed"]}


def test_a_good_candidate_passes_every_gate_with_its_value_and_reason(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    found = checks(instance, evidence(PANEL, test))
    assert tuple(sorted(found)) == tuple(sorted(GATES))
    assert failed(found) == set()
    unmeasured = {name for name, check in found.items() if check["value"] is None}
    assert unmeasured == {"off_policy_difference_low_90"}
    assert all(check["why"] for check in found.values())


def test_shifted_data_close_the_gate(instance: dg.DagsterInstance, test: Backtest) -> None:
    """The last four weeks in cents instead of units of currency."""
    scale = np.where(np.arange(300) >= 272, 100.0, 1.0)
    shifted = replace(PANEL, price=PANEL.price * scale, regular_price=PANEL.regular_price * scale)
    found = checks(instance, evidence(shifted, test))
    assert failed(found) == {"price_level_shift"}
    assert found["price_level_shift"]["value"] == pytest.approx(100, rel=0.1)
    assert "log_price" in found["price_level_shift"]["why"]
    cases = replace(PANEL, units=PANEL.units * scale)
    assert "units_level_shift" in failed(checks(instance, evidence(cases, test)))


def test_an_alarm_alone_does_not_close_it_for_training_is_the_cure(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    scale = np.where(np.arange(300) >= 272, 1.25, 1.0)
    given = evidence(replace(PANEL, unit_cost=PANEL.unit_cost * scale), test)
    assert "drift_log_unit_cost" in {one["name"] for one in given["drift_report"]["alarms"]}
    assert failed(checks(instance, given)) == set()


def test_a_leaked_target_closes_the_gate(instance: dg.DagsterInstance) -> None:
    """The day's takings came in under the heading of a display: known only afterwards."""
    leaked = replace(PANEL, display=PANEL.units + 0.01)
    found = checks(instance, evidence(leaked, walk_forward(leaked, settings=SETTINGS)))
    assert "leaking_column" in failed(found)
    assert "display" in found["leaking_column"]["why"]


def test_a_forecast_better_than_chance_allows_closes_the_gate(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    given = evidence(PANEL, test)
    errors = given["forecast_errors"]
    own = errors["model"] == "lightgbm"
    given["forecast_errors"] = errors.assign(
        error=errors["error"].where(~own, 0.1 * errors["error"])
    )
    assert failed(checks(instance, given)) == {"error_over_floor"}


def test_broken_calibration_closes_the_gate(instance: dg.DagsterInstance) -> None:
    """Intervals drawn in to a fifth of their width around the median."""
    narrow = walk_forward(PANEL, settings=SETTINGS, forecasters=[_Narrow(), *_baselines()])
    given = evidence(PANEL, narrow)
    assert failed(checks(instance, given)) == {"interval_coverage"}


def test_a_model_within_the_noise_of_the_baseline_is_held(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    given = evidence(PANEL, test)
    errors = given["forecast_errors"]
    rival = errors[errors["model"] != "lightgbm"].groupby("model")["error"].sum().idxmin()
    plain_errors = errors[errors["model"] == rival]
    jitter = np.random.default_rng(1).normal(0.999, 0.1, len(plain_errors))
    near = plain_errors.assign(model="lightgbm", error=plain_errors["error"] * jitter)
    given["forecast_errors"] = pd.concat([errors[errors["model"] != "lightgbm"], near])
    found = checks(instance, given)
    assert failed(found) == {"skill_low_90"}
    assert "90 % interval" in found["skill_low_90"]["why"]


def test_an_unfair_segment_closes_the_gate(instance: dg.DagsterInstance, test: Backtest) -> None:
    given = evidence(PANEL, test)
    given["price_fairness"] = fairness_of(priced_table(), dearer=1.5)
    found = checks(instance, given)
    assert failed(found) >= {"price_gap", "margin_gap", "proxy_exposure"}
    assert "segment" in found["price_gap"]["why"]


def test_personal_data_among_the_features_close_the_gate(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    given = evidence(PANEL, test)
    given["price_facts"] = given["price_facts"].assign(customer_age=0)
    found = checks(instance, given)
    assert failed(found) == {"personal_features"}
    assert found["personal_features"]["why"] == "customer_age"


def test_a_price_outside_its_rails_closes_the_gate(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    given = evidence(PANEL, test)
    given["price_table"] = priced_table().assign(price_ceiling=1.0)
    assert failed(checks(instance, given)) == {"guard_rail_violations"}


def test_a_broken_data_contract_closes_the_gate(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    given = evidence(PANEL, test)
    given["data_snapshot"]["tables"]["costs"]["share"] = 0.5
    given["drift_report"]["unpriced_share"] = 0.5
    found = checks(instance, given)
    assert failed(found) == {"quarantined_share", "unpriced_share"}
    assert "costs" in found["quarantined_share"]["why"]


def test_old_data_close_the_gate_only_where_a_limit_is_set(
    instance: dg.DagsterInstance, test: Backtest
) -> None:
    given = evidence(PANEL, test)
    given["data_snapshot"]["data_until"] = (NOW - timedelta(days=400)).isoformat()
    assert failed(checks(instance, given)) == set()
    assert failed(checks(instance, given, max_data_age_days=30)) == {"data_age_days"}


def test_an_old_model_closes_the_gate(instance: dg.DagsterInstance, test: Backtest) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("demand_model"))
    assert failed(checks(instance, evidence(PANEL, test), max_model_age_days=1e-9)) == {
        "model_age_days"
    }


def logged(**values: Any) -> pd.DataFrame:
    row = {
        "estimator": "doubly_robust",
        "value": 110.0,
        "present_value": 100.0,
        "difference_low_90": 2.0,
        "refused": False,
        "reason": "",
    }
    return pd.DataFrame([{**row, **values}])


def test_logged_prices_that_speak_against_the_policy_close_the_gate() -> None:
    parameters = GateParameters()
    assert off_policy_gate(logged(), estimator="doubly_robust", parameters=parameters).passed
    worse = off_policy_gate(
        logged(difference_low_90=-30.0), estimator="doubly_robust", parameters=parameters
    )
    assert worse.value == pytest.approx(-0.3)
    assert not worse.passed
    noise = logged(difference_low_90=-5.0)
    assert off_policy_gate(noise, estimator="doubly_robust", parameters=parameters).passed
    proof = GateParameters(max_off_policy_loss=0)
    assert not off_policy_gate(noise, estimator="doubly_robust", parameters=proof).passed


def test_a_policy_without_overlap_is_not_measured_and_held_only_on_request() -> None:
    refused = logged(refused=True, reason="only 12 effective samples", difference_low_90=np.nan)
    gate = off_policy_gate(refused, estimator="doubly_robust", parameters=GateParameters())
    assert gate.passed and not gate.measured
    assert "only 12 effective samples" in gate.why
    strict = GateParameters(require_off_policy=True)
    assert not off_policy_gate(refused, estimator="doubly_robust", parameters=strict).passed
    assert not off_policy_gate(None, estimator="doubly_robust", parameters=strict).passed


def test_the_report_names_what_held_the_candidate() -> None:
    gate = {
        "name": "price_gap",
        "value": 0.4,
        "threshold": 0.25,
        "bound": "at most",
        "passed": False,
        "why": "zone north",
    }
    report = gate_report({"generated_at": "now", "checks": [gate]}, version="4", alias="challenger")
    assert report["alarms"] == [{"name": "price_gap", "why": gate_sentence(gate)}]
    assert gate_sentence(gate) == "price_gap is 0.4, must be at most 0.25 (zone north)"


def test_skill_is_paired_and_its_interval_covers() -> None:
    """A model with 10 % less error; 90 % intervals of 60 samples hold it in 46 to 60 of them."""
    rng, inside = np.random.default_rng(1), 0
    for draw in range(60):
        hard = rng.gamma(1.0, 10.0, 60)
        own = hard * rng.normal(0.9, 0.2, 60)
        keys = {"product_id": [f"P{i}" for i in range(60)], "store_id": ""}
        rows = [
            pd.DataFrame({**keys, "model": name, "error": error})
            for name, error in (("m", own), ("ses_weekday", hard))
        ]
        found = skill(pd.concat(rows), model="m", baselines=("ses_weekday",), seed=draw)
        inside += found.low_90 <= 0.1 <= found.high_90
    assert 46 <= inside <= 60


def test_the_floor_is_the_mean_absolute_deviation_of_poisson() -> None:
    from scipy import stats

    mean = np.array([0.1, 0.5, 3.0, 40.5])
    k = np.arange(400)
    expected = [(np.abs(k - one) * stats.poisson.pmf(k, one)).sum() for one in mean]
    assert poisson_deviation(mean) == pytest.approx(expected, rel=1e-9)


def test_units_that_are_no_counts_have_no_floor() -> None:
    errors = pd.DataFrame({"model": ["a"], "cells": [100], "sold": [33.3], "error": [1.0]})
    assert np.isnan(error_over_floor(errors, model="a", baseline="a"))


def test_residuals_by_period_are_the_sums_over_series(test: Backtest) -> None:
    frame = period_residuals(PANEL, test.tested)
    errors = series_errors(PANEL, test.tested)
    for name, rows in frame.groupby("model"):
        assert rows["sold"].sum() == pytest.approx(
            errors.loc[errors["model"] == name, "sold"].sum()
        )
        assert len(rows) == 2 * 28


class _Narrow:
    """LightGBM with its quantiles drawn in."""

    name = "lightgbm"

    def fit(self, panel: Panel) -> Any:
        from pricing_assets.core.forecast.training import make_forecaster

        return _NarrowFitted(make_forecaster("lightgbm", settings=SETTINGS).fit(panel))


class _NarrowFitted:
    name = "lightgbm"

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def predict(self, panel: Panel, plan: Any) -> Any:
        found = self._inner.predict(panel, plan)
        ends = {
            name: found.q50 + 0.2 * (getattr(found, name) - found.q50) for name in ("q10", "q90")
        }
        return replace(found, **ends)


def _baselines() -> list[Any]:
    from pricing_assets.core.forecast.baselines import BASELINES
    from pricing_assets.core.forecast.training import make_forecaster

    return [make_forecaster(name, settings=SETTINGS) for name in BASELINES]
