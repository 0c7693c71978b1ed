"""The ordered failover: each rung is broken in turn, the next answers, and the answer says why."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from panels import synthetic_panel
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pricing_assets.assets.forecast import demand_forecast, demand_model
from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.errors import IntegrityError, InvalidSettingError
from pricing_assets.core.forecast.failover import (
    FAILOVER_FILE,
    Failover,
    Rung,
    load_failover,
    train_failover,
)
from pricing_assets.core.forecast.interface import Forecast
from pricing_assets.core.forecast.sanity import SanityRange
from pricing_assets.core.forecast.training import load_forecaster
from pricing_assets.core.forecast.walk_forward import candidates
from pricing_assets.core.forecast.windows import actual_plan
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings
from resources.checkpoints import CheckpointFile, CheckpointResource
from resources.settings import SettingsResource
from resources.tuning_store import TuningStoreResource

SETTINGS = PricingSettings(
    horizon_days=14,
    forecast=ForecastParameters(
        n_estimators=10,
        training_origins=6,
        torch_epochs=1,
        torch_hidden=8,
        torch_steps=1800,
        torch_weeks=4,
        torch_device="cpu",
    ),
)
ORDER = ("lstm", "lightgbm", "svr", "elastic_net", "ses_weekday")

Break = Callable[[Rung], Rung]


@cache
def _panel() -> Panel:
    return synthetic_panel(12, 180, 3)


def _known() -> tuple[Panel, FuturePlan]:
    return _panel().until(166), actual_plan(_panel(), origin=166, horizon=14)


@cache
def _failover() -> Failover:
    return train_failover(_known()[0], name="lstm", settings=SETTINGS)


def _file(rung: Rung) -> str:
    """The rung's largest file: its weights, or its only one."""
    return max(rung.files, key=lambda name: len(rung.files[name]))


def _rewritten(rung: Rung, files: dict[str, bytes]) -> Rung:
    """The rung as if it had been trained with these files: checksums match."""
    return replace(rung, files=files, manifest=ModelBundle(files).manifest())


def truncated(rung: Rung) -> Rung:
    """Half of a file is lost."""
    name = _file(rung)
    return replace(rung, files={**rung.files, name: rung.files[name][: len(rung.files[name]) // 2]})


def absent(rung: Rung) -> Rung:
    """A file is lost."""
    name = _file(rung)
    return replace(rung, files={key: rung.files[key] for key in rung.files if key != name})


def flipped(rung: Rung) -> Rung:
    """One bit of a file is changed."""
    name = _file(rung)
    content = bytearray(rung.files[name])
    content[len(content) // 2] ^= 1
    return replace(rung, files={**rung.files, name: bytes(content)})


def not_a_number(rung: Rung) -> Rung:
    """Training diverged: the weights are NaN."""
    return _with_numbers(rung, lambda value: np.full_like(value, np.nan), "nan")


def absurd(rung: Rung) -> Rung:
    """The model asks for far too much of everything."""
    return _with_numbers(rung, lambda value: np.abs(value) * 30 + 30, "30")


def _with_numbers(rung: Rung, change: Callable[[np.ndarray], np.ndarray], leaf: str) -> Rung:
    files = dict(rung.files)
    for name, content in rung.files.items():
        if name.endswith(".safetensors"):
            tensors = {
                key: change(value) if _learned(key) else value
                for key, value in load_tensors(content).items()
            }
            files[name] = save_tensors(tensors)
        elif name.endswith(".lgb.txt"):
            files[name] = _with_leaves(content, leaf)
    return _rewritten(rung, files)


def _learned(key: str) -> bool:
    """Tensors that scale what the model says."""
    return key.startswith("ratios.") or key == "weights.ends.ratio.bias"


def _with_leaves(content: bytes, leaf: str) -> bytes:
    lines = content.decode().split("\n")
    for at, line in enumerate(lines):
        if line.startswith("leaf_value="):
            lines[at] = "leaf_value=" + " ".join([leaf] * len(line.split()))
    # LightGBM checks the trees' sizes in bytes where they are given.
    return "\n".join(line for line in lines if not line.startswith("tree_sizes=")).encode()


@pytest.mark.parametrize("spoil", [truncated, absent, flipped])
@pytest.mark.parametrize("broken", range(1, 5))
def test_damaged_files_hand_over_to_the_next_rung(spoil: Break, broken: int) -> None:
    whole = _failover()
    assert tuple(rung.name for rung in whole.rungs) == ORDER
    rungs = (*map(spoil, whole.rungs[:broken]), *whole.rungs[broken:])
    answer = replace(whole, rungs=rungs).answer(*_known())
    assert answer.rung == ORDER[broken]
    assert [refusal.rung for refusal in answer.refusals] == list(ORDER[:broken])
    words = "IntegrityError" if spoil is absent else "does not match its SHA-256"
    assert all(words in refusal.reason for refusal in answer.refusals)
    alone = load_forecaster(ModelBundle(whole.rungs[broken].files)).predict(*_known())
    assert np.array_equal(answer.forecast.mean, alone.mean)


@pytest.mark.parametrize("rung", ["lstm", "lightgbm", "svr", "elastic_net"])
@pytest.mark.parametrize(("spoil", "words"), [(not_a_number, "not finite"), (absurd, "sane is")])
def test_nonsense_from_whole_files_hands_over(rung: str, spoil: Break, words: str) -> None:
    whole = _failover()
    at = ORDER.index(rung)
    rungs = (spoil(whole.rungs[at]), *whole.rungs[at + 1 :])
    answer = replace(whole, rungs=rungs).answer(*_known())
    assert answer.rung == ORDER[at + 1]
    (refusal,) = answer.refusals
    assert refusal.rung == rung
    assert words in refusal.reason


def test_the_chosen_model_answers_when_nothing_is_broken() -> None:
    answer = _failover().answer(*_known())
    assert answer.rung == "lstm" and answer.refusals == ()


def test_with_every_rung_broken_the_error_names_them_all() -> None:
    whole = _failover()
    with pytest.raises(IntegrityError, match="no forecaster answers") as caught:
        replace(whole, rungs=tuple(map(flipped, whole.rungs))).answer(*_known())
    assert all(f"{name}: " in str(caught.value) for name in ORDER)


def test_the_bundle_holds_all_rungs_and_reads_as_the_chosen_model() -> None:
    bundle = _failover().to_bundle()
    assert load_forecaster(bundle).name == "lstm"
    assert load_failover(bundle) == _failover()
    del (files := dict(bundle.files))["network.safetensors"]
    answer = load_failover(ModelBundle(files)).answer(*_known())
    assert answer.rung == "lightgbm"
    assert "network.safetensors" in answer.refusals[0].reason


def test_a_bundle_without_its_order_is_refused() -> None:
    files = dict(_failover().to_bundle().files)
    with pytest.raises(IntegrityError, match="rungs"):
        load_failover(ModelBundle({**files, FAILOVER_FILE: b"{}"}))
    del files[FAILOVER_FILE]
    with pytest.raises(IntegrityError, match=FAILOVER_FILE):
        load_failover(ModelBundle(files))


@pytest.mark.parametrize(
    ("name", "rungs"),
    [
        ("svr", ["svr", "elastic_net", "ses_weekday"]),
        ("ensemble", ["ensemble", "lightgbm", "svr", "elastic_net", "ses_weekday"]),
        ("ses_weekday", ["ses_weekday", "seasonal_naive"]),
        ("seasonal_naive", ["seasonal_naive", "lightgbm", "svr", "elastic_net", "ses_weekday"]),
    ],
)
def test_lighter_models_stand_behind_the_chosen_one(name: str, rungs: list[str]) -> None:
    trained = train_failover(_known()[0], name=name, settings=SETTINGS)
    assert [rung.name for rung in trained.rungs] == rungs
    assert load_failover(trained.to_bundle()) == trained
    assert trained.answer(*_known()).rung == name


def test_a_member_of_the_ensemble_is_not_trained_again() -> None:
    lines: list[str] = []
    train_failover(_known()[0], name="ensemble", settings=SETTINGS, progress=lines.append)
    assert [line for line in lines if "lightgbm" in line] == []
    assert lines[0] == "training ensemble on every period"


def test_the_order_is_a_setting() -> None:
    forecast = SETTINGS.forecast.model_copy(update={"failover_order": ["elastic_net"]})
    settings = SETTINGS.model_copy(update={"forecast": forecast})
    trained = train_failover(_known()[0], name="lightgbm", settings=settings)
    assert [rung.name for rung in trained.rungs] == ["lightgbm", "elastic_net", "ses_weekday"]
    unknown = forecast.model_copy(update={"failover_order": ["lightgmb"]})
    with pytest.raises(InvalidSettingError, match="did you mean 'lightgbm'"):
        train_failover(
            _known()[0],
            name="ses_weekday",
            settings=SETTINGS.model_copy(update={"forecast": unknown}),
        )


def test_the_asset_answers_by_the_next_rung_and_says_why() -> None:
    panel = _known()[0]
    files = dict(_failover().to_bundle().files)
    files["network.safetensors"] = files["network.safetensors"][:50]
    context = dg.build_asset_context()
    frame = demand_forecast(
        context,
        settings=SettingsResource.of(SETTINGS),
        sales_panel=panel,
        demand_model=ModelBundle(files),
        planned_prices=pd.DataFrame(columns=["date", "product_id", "price"]),
        calendar=pd.DataFrame(columns=["date", "holiday"]),
    )
    assert len(frame) == 12 * 14
    metadata = context.get_output_metadata("result")
    assert metadata["answered_by"] == "lightgbm"
    (refusal,) = metadata["passed_over"].value
    assert refusal["rung"] == "lstm" and "SHA-256" in refusal["reason"]


def test_the_asset_trains_fallbacks_and_leaves_no_checkpoint(tmp_path: Path) -> None:
    context = dg.build_asset_context()
    bundle = demand_model(
        context,
        settings=SettingsResource.of(SETTINGS),
        checkpoints=CheckpointResource(root=str(tmp_path / "checkpoints")),
        tuning_store=TuningStoreResource(root=str(tmp_path / "tuning")),
        sales_panel=_known()[0],
        forecast_backtest=pd.DataFrame({"model": ["svr", "lstm"], "chosen": [False, True]}),
    )
    assert [rung.name for rung in load_failover(bundle).rungs] == list(ORDER)
    assert context.get_output_metadata("result")["failover_order"] == ", ".join(ORDER)
    assert list((tmp_path / "checkpoints").iterdir()) == []


def test_a_checkpoint_file_is_replaced_whole_and_removed_once_done(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "deep" / "one.checkpoint")
    assert file.read() is None
    file.write(b"first")
    file.write(b"second")
    assert file.read() == b"second"
    file.clear()
    file.clear()
    assert file.read() is None


def test_the_sane_range_holds_what_came_true_and_not_much_more() -> None:
    panel, plan = _known()
    sanity = SanityRange.learn(panel, settings=SETTINGS)
    level = panel.units[:, -56:].mean(axis=1)
    mean = np.repeat(level[:, None], 14, axis=1)

    def breach(values: np.ndarray) -> str | None:
        return sanity.breach(Forecast(plan.dates, values, values, values, values), level)

    assert breach(mean) is None
    assert breach(3 * mean) is None  # a season or a promotion of everything
    assert "all series together" in str(breach(15 * mean))
    assert "all series together" in str(breach(mean / 15))
    one = mean.copy()
    one[0] *= 60 * level.max() / level[0]
    spike = SanityRange(sanity.total_low, np.inf, sanity.series_low, sanity.series_high)
    values = Forecast(plan.dates, one, one, one, one)
    assert "1 of 12 series" in str(spike.breach(values, level))
    assert "not finite" in str(breach(np.where(mean > mean.min(), mean, np.inf)))
    assert "below zero" in str(breach(mean - mean.max()))


def test_candidates_of_the_walk_forward_test_are_a_setting() -> None:
    def named(**forecast: object) -> tuple[str, ...]:
        chosen = SETTINGS.forecast.model_copy(update=forecast)
        return candidates(SETTINGS.model_copy(update={"forecast": chosen}))

    plain = ("seasonal_naive", "ses_weekday")
    assert named(candidates=["ensemble"]) == (*plain, "ensemble")
    assert named(candidates=["lstm", "ses_weekday"]) == (*plain, "lstm")
    assert named(candidates=["ensemble", "lightgbm"]) == (*plain, "ensemble")
    assert named(candidates=["ensemble"], model="transformer") == (
        *plain,
        "ensemble",
        "transformer",
    )
    assert named(candidates=["ensemble"], model="lightgbm") == (*plain, "ensemble")
