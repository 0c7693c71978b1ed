"""What a search found, as it is stored beside the models and taken into the settings.

Belongs here: the record and its use. Finding it is ``tuning``; where it lies is the caller's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pricing_assets.core.bundle import json_bytes
from pricing_assets.core.forecast.tuning import Verdict, with_parameters
from pricing_assets.core.settings import PricingSettings


@dataclass(frozen=True, slots=True)
class TunedForecast:
    """The last search of a home.

    Attributes:
        parameters: best values by name of ``ForecastParameters``.
        accepted: they beat the defaults by more than noise where the search had not looked.
        reason: the figures in one sentence.
        study: name of the study, with the fingerprint of its data.
        tuner: ``optuna`` or ``grid``.
        trials: how many were scored.
    """

    parameters: dict[str, float]
    accepted: bool
    reason: str
    study: str
    tuner: str
    trials: int

    @classmethod
    def of(cls, verdict: Verdict, *, study: str, tuner: str, trials: int) -> TunedForecast:
        """The record of a verdict."""
        return cls(verdict.parameters, verdict.accepted, verdict.reason, study, tuner, trials)

    def to_json(self) -> bytes:
        """Canonical JSON."""
        return json_bytes({name: getattr(self, name) for name in self.__slots__})

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TunedForecast:
        """The record in parsed JSON of :meth:`to_json`."""
        return cls(**{name: value[name] for name in cls.__slots__})


@dataclass(frozen=True, slots=True)
class SettingsInUse:
    """Settings that a model is trained with, and where its parameters come from."""

    settings: PricingSettings
    source: str


def settings_in_use(settings: PricingSettings, tuned: TunedForecast | None) -> SettingsInUse:
    """The settings with accepted tuned parameters in place, where they are wanted."""
    if not settings.forecast.use_tuned:
        return SettingsInUse(settings, "the configuration (forecast.use_tuned is false)")
    if tuned is None:
        return SettingsInUse(settings, "the configuration (never tuned)")
    if not tuned.accepted:
        return SettingsInUse(settings, f"the configuration (study {tuned.study}: {tuned.reason})")
    values = ", ".join(f"{name} {value:.4g}" for name, value in sorted(tuned.parameters.items()))
    return SettingsInUse(
        with_parameters(settings, tuned.parameters), f"study {tuned.study}: {values}"
    )
