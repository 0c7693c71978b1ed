"""The networks: price matters, seeded is repeatable, a killed training goes on where it stood."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
import pytest
from panels import synthetic_panel
from safetensors.numpy import load as load_tensors

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.errors import IntegrityError, InvalidSettingError
from pricing_assets.core.forecast import torch_forecaster
from pricing_assets.core.forecast.attributes import AttributeCodes
from pricing_assets.core.forecast.metrics import wape
from pricing_assets.core.forecast.torch_forecaster import (
    TORCH_FORECASTERS,
    WEIGHTS_FILE,
    FittedTorch,
    TorchForecaster,
)
from pricing_assets.core.forecast.torch_windows import build_windows
from pricing_assets.core.forecast.training import load_forecaster, train_forecaster
from pricing_assets.core.forecast.training_rows import build_rows
from pricing_assets.core.forecast.windows import actual_plan, usable_cells
from pricing_assets.core.forecast_parameters import ForecastParameters
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

SETTINGS = PricingSettings(
    horizon_days=14,
    forecast=ForecastParameters(
        torch_epochs=3,
        torch_hidden=16,
        torch_steps=8000,
        torch_weeks=6,
        torch_device="cpu",
        training_origins=12,
    ),
)


def _with(settings: PricingSettings, **forecast: object) -> PricingSettings:
    return settings.model_copy(update={"forecast": settings.forecast.model_copy(update=forecast)})


@cache
def _panel() -> Panel:
    return synthetic_panel(16, 220, 11, censored_share=0.05)


@cache
def _fitted(name: str) -> FittedTorch:
    return TorchForecaster(name=name, settings=SETTINGS).fit(_panel().until(206))


@dataclass
class Memory:
    """Keeps checkpoints; refuses to go on after so many of them, like a kill."""

    limit: int = 99
    kept: list[bytes] = field(default_factory=list)

    def read(self) -> bytes | None:
        return self.kept[-1] if self.kept else None

    def write(self, content: bytes) -> None:
        self.kept.append(content)
        if len(self.kept) == self.limit:
            raise KeyboardInterrupt


@pytest.mark.parametrize("name", TORCH_FORECASTERS)
def test_same_seed_gives_the_same_bytes_and_another_seed_others(name: str) -> None:
    known = _panel().until(206)
    again = TorchForecaster(name=name, settings=SETTINGS).fit(known)
    assert again.to_files() == _fitted(name).to_files()
    other = SETTINGS.model_copy(update={"seed": 8})
    changed = TorchForecaster(name=name, settings=other).fit(known)
    assert changed.to_files()[WEIGHTS_FILE] != again.to_files()[WEIGHTS_FILE]


@pytest.mark.parametrize("name", TORCH_FORECASTERS)
@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_training_resumed_after_a_kill_gives_the_same_weights(name: str, killed_after: int) -> None:
    known = _panel().until(206)
    store = Memory(limit=killed_after)
    with pytest.raises(KeyboardInterrupt):
        TorchForecaster(name=name, settings=SETTINGS, checkpoints=store).fit(known)
    lines: list[str] = []
    resumed = TorchForecaster(
        name=name, settings=SETTINGS, checkpoints=store, progress=lines.append
    ).fit(known)
    assert resumed.to_files() == _fitted(name).to_files()
    assert len(lines) == 4 - killed_after  # 3 epochs, then 1 on everything


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content[:-40],
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
        lambda content: b"not a checkpoint",
    ],
)
def test_a_damaged_checkpoint_costs_time_and_no_more(spoil: Callable[[bytes], bytes]) -> None:
    known = _panel().until(206)
    store = Memory(limit=2)
    with pytest.raises(KeyboardInterrupt):
        TorchForecaster(name="lstm", settings=SETTINGS, checkpoints=store).fit(known)
    lines: list[str] = []
    damaged = Memory(kept=[spoil(store.kept[-1])])
    fitted = TorchForecaster(
        name="lstm", settings=SETTINGS, checkpoints=damaged, progress=lines.append
    ).fit(known)
    assert len(lines) == 4
    assert lines[0] == "training lstm: phase 1 of 2, epoch 1 of 3"
    assert fitted.to_files() == _fitted("lstm").to_files()


def test_a_checkpoint_of_other_data_is_not_taken() -> None:
    store, lines = Memory(), list[str]()
    TorchForecaster(name="lstm", settings=SETTINGS, checkpoints=store).fit(_panel().until(200))
    TorchForecaster(name="lstm", settings=SETTINGS, checkpoints=store, progress=lines.append).fit(
        _panel().until(206)
    )
    assert len(lines) == 4


@pytest.mark.parametrize("name", TORCH_FORECASTERS)
def test_the_network_beats_the_plain_forecast_and_knows_price(name: str) -> None:
    panel = synthetic_panel(24, 300, 4)
    settings = _with(SETTINGS, torch_epochs=8, torch_hidden=32, torch_steps=24_000)
    known, plan = panel.until(286), actual_plan(panel, origin=286, horizon=14)
    actual, usable = panel.units[:, 286:], usable_cells(panel)[:, 286:]
    fitted = train_forecaster(known, name=name, settings=settings)
    plain = train_forecaster(known, name="ses_weekday", settings=settings).predict(known, plan)
    forecast = fitted.predict(known, plan)
    assert wape(actual, forecast.mean, usable) < 0.9 * wape(actual, plain.mean, usable)
    assert abs(forecast.mean.sum() / actual.sum() - 1) < 0.1
    regular = panel.regular_price[:, 286:]
    cheap = replace(plan, price=0.8 * regular, promo=np.ones_like(regular))
    dear = replace(plan, price=regular, promo=np.zeros_like(regular))
    lift = fitted.predict(known, cheap).mean.sum() / fitted.predict(known, dear).mean.sum()
    assert 1.25 < lift < 1.8  # the truth is 0.8 ** -2 = 1.56


def test_windows_look_at_nothing_behind_their_end() -> None:
    # No censored cell: what stands in for one takes its spread from the whole panel.
    panel = synthetic_panel(16, 220, 11)
    units, price, rival = panel.units.copy(), panel.price.copy(), panel.rival_price.copy()
    units[:, 180:], price[:, 180:], rival[:, 180:] = 999.0, 99.0, 99.0
    changed = replace(panel, units=units, price=price, rival_price=rival)
    codes = AttributeCodes.learn(panel)
    one, two = (
        build_windows(
            build_rows(part, end=180, tests=(), codes=codes, settings=SETTINGS),
            scale=None,
            weeks=6,
            limit=400,
        )[0]
        for part in (panel, changed)
    )
    assert np.array_equal(one.target, two.target, equal_nan=True)
    for part in ("past", "future", "codes", "base"):
        assert np.array_equal(getattr(one.inputs, part), getattr(two.inputs, part)), part


@pytest.mark.parametrize("name", TORCH_FORECASTERS)
def test_reduced_precision_stays_near(name: str) -> None:
    panel = _panel()
    known, plan = panel.until(206), actual_plan(panel, origin=206, horizon=14)
    half = TorchForecaster(name=name, settings=_with(SETTINGS, torch_precision="bfloat16"))
    one, two = half.fit(known).predict(known, plan), _fitted(name).predict(known, plan)
    assert one.mean.sum() == pytest.approx(two.mean.sum(), rel=0.05)


def test_damaged_or_foreign_weights_are_named() -> None:
    files = _fitted("lstm").to_files()
    with pytest.raises(IntegrityError, match="damaged"):
        load_forecaster(ModelBundle({**files, WEIGHTS_FILE: files[WEIGHTS_FILE][:-100]}))
    with pytest.raises(IntegrityError, match="no file"):
        load_forecaster(ModelBundle({"forecaster.json": files["forecaster.json"]}))
    strange = files["forecaster.json"].replace(b'"log_level"', b'"moon_phase"')
    with pytest.raises(IntegrityError, match="moon_phase"):
        load_forecaster(ModelBundle({**files, "forecaster.json": strange}))


def test_weights_are_safetensors_in_single_precision() -> None:
    tensors = load_tensors(_fitted("transformer").to_files()[WEIGHTS_FILE])
    assert {str(value.dtype) for value in tensors.values()} == {"float32"}
    assert all(np.isfinite(value).all() for value in tensors.values())


def test_a_device_that_is_not_there_is_named() -> None:
    import torch

    missing = "mps" if not torch.backends.mps.is_available() else "cuda"
    with pytest.raises(InvalidSettingError, match=missing):
        train_forecaster(
            _panel().until(206), name="lstm", settings=_with(SETTINGS, torch_device=missing)
        )


def test_training_leaves_torch_as_it_was() -> None:
    import torch

    torch.manual_seed(5)
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    TorchForecaster(name="lstm", settings=_with(SETTINGS, torch_epochs=1)).fit(_panel().until(120))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.get_num_threads() == threads
    assert not torch.are_deterministic_algorithms_enabled()


def test_the_register_of_forecasters_loads_no_torch() -> None:
    code = (
        "import sys, pricing_assets.core.forecast.training; "
        "assert 'torch' not in sys.modules, 'torch was loaded'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_names_are_those_of_the_networks() -> None:
    from pricing_assets.core.forecast.torch_networks import NETWORKS

    assert tuple(NETWORKS) == torch_forecaster.TORCH_FORECASTERS
