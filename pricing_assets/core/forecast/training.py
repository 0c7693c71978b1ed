"""Train a forecaster by name, and load one from its bundle.

Belongs here: the register of forecasters. Choosing between them is ``walk_forward``.
"""

from __future__ import annotations

from pricing_assets.core.bundle import ModelBundle
from pricing_assets.core.errors import IntegrityError, InvalidSettingError, nearest
from pricing_assets.core.forecast import (
    classical,
    ensemble,
    lightgbm,
    linear_backup,
    torch_forecaster,
)
from pricing_assets.core.forecast.baselines import BASELINES, Baseline, FittedBaseline
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.interface import METADATA_FILE, FittedForecaster, Forecaster
from pricing_assets.core.panel import Panel
from pricing_assets.core.settings import PricingSettings

FORECASTERS = (
    *BASELINES,
    lightgbm.NAME,
    ensemble.NAME,
    *torch_forecaster.TORCH_FORECASTERS,
    *linear_backup.LINEAR_BACKUPS,
    classical.NAME,
)
"""Names of all forecasters."""


def make_forecaster(name: str, *, settings: PricingSettings) -> Forecaster:
    """The untrained forecaster of that name.

    Raises:
        InvalidSettingError: no forecaster has that name.
    """
    if name in BASELINES:
        return Baseline(name=name, settings=settings)
    if name == lightgbm.NAME:
        return lightgbm.LightGbm(settings=settings)
    if name == ensemble.NAME:
        return _make_ensemble(settings)
    if name == classical.NAME:
        return classical.AutoEts(settings=settings)
    if name in linear_backup.LINEAR_BACKUPS:
        return linear_backup.LinearBackup(name=name, settings=settings)
    if name in torch_forecaster.TORCH_FORECASTERS:
        return torch_forecaster.TorchForecaster(name=name, settings=settings)
    raise InvalidSettingError(
        f"no forecaster is called '{name}'{nearest(name, FORECASTERS)}; "
        f"allowed: {', '.join(FORECASTERS)}"
    )


def _make_ensemble(settings: PricingSettings) -> Forecaster:
    """The ensemble of the members that the settings name.

    Raises:
        InvalidSettingError: no member, an unknown one, or the ensemble itself.
    """
    names = dict.fromkeys(settings.forecast.ensemble_members)
    trained = [name for name in names if name != ensemble.BASE]
    if not trained or ensemble.NAME in names:
        raise InvalidSettingError(
            f"forecast.ensemble_members is {list(names)}: name one or more forecasters other "
            f"than '{ensemble.NAME}', beside '{ensemble.BASE}'"
        )
    return ensemble.Ensemble(
        members=tuple(make_forecaster(name, settings=settings) for name in trained),
        with_base=ensemble.BASE in names,
        settings=settings,
    )


def train_forecaster(panel: Panel, *, name: str, settings: PricingSettings) -> FittedForecaster:
    """Train the forecaster of that name on every period of the panel.

    Raises:
        InvalidSettingError: no forecaster has that name.
        TooShortHistoryError: the panel has fewer than four periods.
    """
    return make_forecaster(name, settings=settings).fit(panel)


def load_forecaster(bundle: ModelBundle) -> FittedForecaster:
    """Rebuild a forecaster from its files; it predicts exactly what it did when saved.

    Raises:
        IntegrityError: a file is missing or damaged, or the forecaster is unknown.
    """
    state = bundle.json(METADATA_FILE)
    name = state.get("forecaster") if isinstance(state, dict) else None
    if name in BASELINES:
        intervals = IntervalCalibration.from_json(state["intervals"])
        return FittedBaseline(name=name, intervals=intervals)
    if name == lightgbm.NAME:
        return lightgbm.load(bundle, state)
    if name == ensemble.NAME:
        return ensemble.load(bundle, state, load_member=load_forecaster)
    if name == classical.NAME:
        return classical.load(bundle, state)
    if name in linear_backup.LINEAR_BACKUPS:
        return linear_backup.load(bundle, state)
    if name in torch_forecaster.TORCH_FORECASTERS:
        return torch_forecaster.load(bundle, state)
    raise IntegrityError(
        f"'{METADATA_FILE}' names the forecaster {name!r}; known: {', '.join(FORECASTERS)}"
    )
