"""The search for forecast parameters: a kill in the middle, the grid, the verdict, the job."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from panels import synthetic_panel

from pricing_assets.cli import main
from pricing_assets.core.forecast import tuning
from pricing_assets.core.forecast.tuned import TunedForecast, settings_in_use
from pricing_assets.core.forecast.tuning import (
    SPACE,
    TrialResult,
    TuningProblem,
    importances,
    judge,
    search_grid,
    tuning_problem,
    with_parameters,
)
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.settings import PricingSettings
from resources.tuning_store import TuningStoreResource
from serving.home import Home

SETTINGS = PricingSettings(
    horizon_days=14,
    forecast=ForecastParameters(training_origins=6, max_rows=3000, tuning_trials=8),
)
TUNED = TunedForecast(
    {"learning_rate": 0.05, "n_estimators": 200.0}, True, "better", "lightgbm-1", "optuna", 30
)


@cache
def _problem() -> TuningProblem:
    return tuning_problem(synthetic_panel(8, 220, 3), settings=SETTINGS)


def _bowl(best: float) -> Callable[..., float]:
    """A loss with a known best learning rate; the other parameters change little."""

    def loss(self: TuningProblem, parameters: dict[str, float], tested: object) -> float:
        rate = float(np.log(parameters["learning_rate"] / best))
        return 0.3 + 0.05 * rate**2 + 1e-4 * parameters["num_leaves"] / 127

    return loss


@pytest.fixture
def store(tmp_path: Path) -> TuningStoreResource:
    return TuningStoreResource(root=str(tmp_path / "tuning"))


def _search(store: TuningStoreResource, problem: TuningProblem) -> tuple[TrialResult, ...]:
    return store.search(problem, progress=lambda line: None).results


def test_the_search_never_sees_the_periods_that_confirm_it() -> None:
    panel = synthetic_panel(8, 220, 3)
    units = panel.units.copy()
    units[:, 178:] = 999.0  # the three confirming origins are 178, 192 and 206
    changed = tuning_problem(replace(panel, units=units), settings=SETTINGS)
    defaults = _problem().defaults()
    for one, two in zip(_problem().searched, changed.searched, strict=True):
        assert _problem().loss(defaults, one) == changed.loss(defaults, two)
    assert len(_problem().confirming) == 3
    assert changed.fingerprint != _problem().fingerprint


def test_the_loss_is_a_real_forecast_s_and_parameters_matter() -> None:
    problem = _problem()
    first = problem.searched[0]
    plain = problem.loss(problem.defaults(), first)
    lazy = problem.loss({**problem.defaults(), "learning_rate": 0.02, "n_estimators": 60}, first)
    assert 0.1 < plain < 0.5
    assert plain != lazy


def test_the_search_finds_the_best_and_starts_from_the_defaults(
    store: TuningStoreResource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TuningProblem, "loss", _bowl(0.04))
    forecast = SETTINGS.forecast.model_copy(update={"tuning_trials": 16})
    problem = replace(_problem(), settings=SETTINGS.model_copy(update={"forecast": forecast}))
    results = _search(store, problem)
    assert len(results) == 16
    assert results[0].parameters == problem.defaults()
    best = min((r for r in results if not r.pruned), key=lambda r: r.loss)
    assert 0.02 < best.parameters["learning_rate"] < 0.08
    pruned = [result for result in results if result.pruned]
    assert pruned and all(len(result.losses) < 3 for result in pruned)
    assert importances(results)["learning_rate"] > 0.5
    assert sum(importances(results).values()) == pytest.approx(1.0)


@pytest.mark.parametrize("tuner", ["optuna", "grid"])
def test_a_search_that_was_killed_goes_on_to_the_same_result(
    tuner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecast = SETTINGS.forecast.model_copy(update={"tuner": tuner, "tuning_trials": 8})
    problem = replace(_problem(), settings=SETTINGS.model_copy(update={"forecast": forecast}))
    plain = _bowl(0.04)
    monkeypatch.setattr(TuningProblem, "loss", plain)
    undisturbed = _search(TuningStoreResource(root=str(tmp_path / "one")), problem)
    calls: Iterator[int] = iter(range(1000))

    def killed(self: TuningProblem, parameters: dict[str, float], tested: object) -> float:
        if next(calls) == 10:
            raise KeyboardInterrupt
        return plain(self, parameters, tested)

    store = TuningStoreResource(root=str(tmp_path / "two"))
    monkeypatch.setattr(TuningProblem, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        _search(store, problem)
    done = next(calls)
    resumed = _search(store, problem)
    assert resumed == undisturbed
    # What was finished before the kill was not scored again.
    assert next(calls) - done < sum(len(result.losses) for result in undisturbed) - 7


def test_a_process_that_was_killed_leaves_a_study_that_goes_on(tmp_path: Path) -> None:
    program = textwrap.dedent(
        f"""
        import os, sys
        sys.path[:0] = [{str(Path(__file__).parent)!r}, {str(Path(__file__).parents[1])!r}]
        import test_tuning as here
        here.TuningProblem.loss = here._bowl(0.04)
        store = here.TuningStoreResource(root={str(tmp_path)!r})
        seen = []
        def progress(line):
            seen.append(line)
            if len(seen) == 3:
                os.kill(os.getpid(), 9)
        store.search(here._problem(), progress=progress)
        """
    )
    killed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr.decode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TuningProblem, "loss", _bowl(0.04))
        lines: list[str] = []
        store = TuningStoreResource(root=str(tmp_path))
        search = store.search(_problem(), progress=lines.append)
    assert len(search.results) == 8
    assert len(lines) == 5 and lines[0].startswith("trial 4 of 8")


def test_the_grid_takes_over_where_the_study_cannot_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TuningProblem, "loss", _bowl(0.04))
    (tmp_path / "studies.db").write_text("this is no database, and never was one" * 100)
    lines: list[str] = []
    search = TuningStoreResource(root=str(tmp_path)).search(_problem(), progress=lines.append)
    assert search.tuner == "grid" and len(search.results) == 8
    assert "cannot be opened" in lines[0]
    monkeypatch.setitem(sys.modules, "optuna", None)
    elsewhere = TuningStoreResource(root=str(tmp_path / "other"))
    assert elsewhere.search(_problem(), progress=lines.append).tuner == "grid"


def test_the_grid_stops_what_falls_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TuningProblem, "loss", _bowl(0.05))
    recorded: list[TrialResult] = []
    results = search_grid(_problem(), trials=99, record=recorded.append)
    # Every combination, and the defaults are one of them.
    assert len(results) == 36 == len(recorded)
    assert results[0].parameters == _problem().defaults()
    assert {r.parameters["learning_rate"] for r in results if r.pruned} == {0.1, 0.2}


def test_only_a_gain_beyond_noise_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = _problem()
    better = TrialResult({**problem.defaults(), "learning_rate": 0.05}, (0.2,) * 3, pruned=False)
    places = {id(tested): number for number, tested in enumerate(problem.confirming)}

    def losses(tuned: list[float]) -> Callable[..., float]:
        def loss(self: TuningProblem, parameters: dict[str, float], tested: object) -> float:
            return tuned[places[id(tested)]] if parameters["learning_rate"] == 0.05 else 0.3

        return loss

    monkeypatch.setattr(TuningProblem, "loss", losses([0.28, 0.27, 0.29]))
    sure = judge(problem, [better])
    assert sure.accepted and "used" in sure.reason
    monkeypatch.setattr(TuningProblem, "loss", losses([0.2, 0.33, 0.33]))
    lucky = judge(problem, [better])
    assert not lucky.accepted and "not used" in lucky.reason
    same = TrialResult(problem.defaults(), (0.2,) * 3, pruned=False)
    assert not judge(problem, [same]).accepted
    short = replace(problem, confirming=problem.confirming[:1])
    assert "too short" in judge(short, [better]).reason


def test_tuned_parameters_are_used_where_accepted_and_wanted(store: TuningStoreResource) -> None:
    assert store.in_use(SETTINGS).settings == SETTINGS
    store.save(TUNED)
    used = store.in_use(SETTINGS)
    assert used.settings.forecast.n_estimators == 200
    assert used.settings.forecast.learning_rate == 0.05
    assert "lightgbm-1" in used.source
    assert settings_in_use(SETTINGS, replace(TUNED, accepted=False)).settings == SETTINGS
    off = with_flag = SETTINGS.forecast.model_copy(update={"use_tuned": False})
    unwanted = SETTINGS.model_copy(update={"forecast": with_flag})
    assert store.in_use(unwanted).settings.forecast == off


def test_every_searched_parameter_is_a_setting_inside_its_bounds() -> None:
    for name, searched in SPACE.items():
        for value in (searched.low, searched.high, *searched.grid):
            typed = with_parameters(SETTINGS, {name: value}).forecast
            assert getattr(typed, name) == pytest.approx(value)


def test_pricing_tune_searches_logs_and_keeps_the_verdict(
    market_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, config = Home.at(tmp_path / "home"), tmp_path / "pricing.yaml"
    config.write_text(
        "horizon_days: 14\n"
        "forecast: {n_estimators: 10, training_origins: 2, backtest_origins: 2, max_rows: 1000}\n"
    )
    arguments = ["--data", str(market_folder), "--home", str(home.root), "--config", str(config)]
    assert main(["tune", *arguments, "--trials", "2"]) == 0
    said = capsys.readouterr().out
    assert "2 trials of study lightgbm-" in said
    tuned = TuningStoreResource(root=str(home.tuning)).last()
    assert tuned is not None and tuned.trials == 2
    assert set(tuned.parameters) == set(SPACE)
    # The configuration holds beside --trials: its n_estimators are where the search starts.
    with sqlite3.connect(home.tuning / "studies.db") as study:
        started = study.execute(
            "SELECT param_value FROM trial_params WHERE trial_id = 1"
        ).fetchall()
    study.close()
    assert (10.0,) in started and len(started) == len(SPACE)
    artifacts = {path.name for path in home.mlflow_artifacts.rglob("*.png")}
    assert artifacts == {"optimization_history.png", "parameter_importances.png"}
    assert main(["tune", *arguments, "--trials", "0"]) == 2


def test_the_pipeline_does_not_search_and_the_weekly_job_does() -> None:
    from pricing_assets.definitions import build_definitions

    built = build_definitions()
    key = dg.AssetKey("tuned_forecast_parameters")
    searching = built.resolve_job_def("tune_forecast").asset_layer.selected_asset_keys
    assert key in searching and dg.AssetKey("price_table") not in searching
    assert key not in built.resolve_job_def("pricing_pipeline").asset_layer.selected_asset_keys
    assert tuning.MODEL == "lightgbm"
