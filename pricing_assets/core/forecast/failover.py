"""Ordered failover: the chosen model, then lighter ones, and the first that answers sanely is used.

A rung is passed over when its files are damaged or cannot be loaded, when it gives a number that
is not finite or below zero, or when its forecast leaves the sane range that was learned at
training (``sanity``). Belongs here: which rungs there are, and asking them in turn. The chosen
model's files keep their own names in the bundle; a fallback's have its name in front.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from lightgbm.basic import LightGBMError

from pricing_assets.core.bundle import ModelBundle, joined_files, json_bytes
from pricing_assets.core.errors import IntegrityError, PricingError
from pricing_assets.core.forecast.baselines import BASELINES
from pricing_assets.core.forecast.ensemble import FittedEnsemble
from pricing_assets.core.forecast.interface import FittedForecaster, Forecast
from pricing_assets.core.forecast.levels import trace_levels
from pricing_assets.core.forecast.sanity import SanityRange
from pricing_assets.core.forecast.torch_checkpoint import CheckpointStore
from pricing_assets.core.forecast.torch_forecaster import TORCH_FORECASTERS, TorchForecaster
from pricing_assets.core.forecast.training import load_forecaster, make_forecaster
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

FAILOVER_FILE = "failover.json"

_FAILURES = (
    PricingError,
    LightGBMError,
    ArithmeticError,
    ImportError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What a damaged or unfit model raises; anything else is a fault of the program."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A rung that was passed over, and why."""

    rung: str
    reason: str


@dataclass(frozen=True, slots=True)
class FailoverAnswer:
    """A forecast, the rung that gave it, and why each one above it did not."""

    forecast: Forecast
    rung: str
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True)
class Rung:
    """A model of the order, not yet loaded.

    Attributes:
        name: the forecaster's.
        files: its files as they are in the bundle, damaged or not.
        manifest: file -> SHA-256 and size at training.
    """

    name: str
    files: Mapping[str, bytes]
    manifest: Mapping[str, Mapping[str, str | int]]

    def load(self) -> FittedForecaster:
        """The forecaster, its bytes checked before they are parsed.

        Raises:
            IntegrityError: a file is missing or damaged.
        """
        bundle = ModelBundle(self.files)
        bundle.verify(self.manifest)
        return load_forecaster(bundle)


@dataclass(frozen=True, slots=True)
class Failover:
    """The rungs in order, the chosen model first, and the range each answer must keep to."""

    rungs: tuple[Rung, ...]
    sanity: SanityRange

    def answer(self, panel: Panel, plan: FuturePlan) -> FailoverAnswer:
        """The forecast of the first rung that loads and answers sanely.

        Raises:
            IntegrityError: no rung does.
        """
        origin = panel.shape[1]
        level = trace_levels(panel, [origin]).states[origin].level
        refusals: list[Refusal] = []
        for rung in self.rungs:
            try:
                with np.errstate(all="ignore"):
                    forecast = rung.load().predict(panel, plan)
                reason = self.sanity.breach(forecast, level)
            except _FAILURES as failure:
                reason = f"{type(failure).__name__}: {failure}"
            if reason is None:
                return FailoverAnswer(forecast, rung.name, tuple(refusals))
            refusals.append(Refusal(rung.name, reason))
        reasons = "; ".join(f"{refusal.rung}: {refusal.reason}" for refusal in refusals)
        raise IntegrityError(f"no forecaster answers ({reasons}); train the model again")

    def to_bundle(self) -> ModelBundle:
        """All rungs' files in one bundle, which ``load_forecaster`` reads as the chosen model."""
        first, *fallbacks = self.rungs
        state = {
            "rungs": [{"name": rung.name, "manifest": rung.manifest} for rung in self.rungs],
            "sanity": asdict(self.sanity),
        }
        parts = joined_files({rung.name: rung.files for rung in fallbacks})
        return ModelBundle({**parts, **first.files, FAILOVER_FILE: json_bytes(state)})


def train_failover(
    panel: Panel,
    *,
    name: str,
    settings: PricingSettings,
    checkpoints: CheckpointStore | None = None,
    progress: Callable[[str], None] | None = None,
) -> Failover:
    """Train the forecaster of that name and the lighter ones that stand after it in the order.

    A member of a trained ensemble is taken from there; a network is trained only where chosen.

    Args:
        checkpoints: kept by a network in training, which goes on from there after a kill.
        progress: called with one line before each fit and after each epoch.
    """
    trained: dict[str, FittedForecaster] = {}
    for rung in _order(name, settings=settings):
        if rung in TORCH_FORECASTERS and rung not in trained and rung != name:
            continue
        if rung not in trained:
            if progress is not None:
                progress(f"training {rung} on every period")
            forecaster = make_forecaster(rung, settings=settings)
            if isinstance(forecaster, TorchForecaster):
                forecaster = replace(forecaster, checkpoints=checkpoints, progress=progress)
            trained[rung] = forecaster.fit(panel)
        fitted = trained[rung]
        if isinstance(fitted, FittedEnsemble):
            trained |= {member.name: member for member in fitted.members}
    kept = [trained[rung] for rung in _order(name, settings=settings) if rung in trained]
    sanity = SanityRange.learn(panel, settings=settings)
    return Failover(rungs=tuple(_rung(fitted) for fitted in kept), sanity=sanity)


def load_failover(bundle: ModelBundle) -> Failover:
    """The rungs of a bundle; none is loaded before it is asked.

    Raises:
        IntegrityError: the bundle does not say what its rungs are.
    """
    state = bundle.json(FAILOVER_FILE)
    try:
        rungs = tuple(
            _stored_rung(bundle, entry, prefix="" if at == 0 else f"{entry['name']}.")
            for at, entry in enumerate(state["rungs"])
        )
        return Failover(rungs=rungs, sanity=SanityRange(**state["sanity"]))
    except (KeyError, TypeError) as failure:
        raise IntegrityError(
            f"'{FAILOVER_FILE}' lacks {failure!r}; train the model again"
        ) from None


def _order(name: str, *, settings: PricingSettings) -> tuple[str, ...]:
    """The chosen model, what stands after it in the order (all where it is not in it), a baseline.

    The last rung needs no file beside its JSON.
    """
    order = list(dict.fromkeys(settings.forecast.failover_order))
    after = order[order.index(name) + 1 :] if name in order else order
    rungs = [name, *after]
    if not any(rung in BASELINES for rung in rungs[1:]):
        rungs.append(next(plain for plain in reversed(BASELINES) if plain != name))
    return tuple(rungs)


def _rung(fitted: FittedForecaster) -> Rung:
    files = fitted.to_files()
    return Rung(name=fitted.name, files=files, manifest=ModelBundle(files).manifest())


def _stored_rung(bundle: ModelBundle, entry: Mapping[str, Any], *, prefix: str) -> Rung:
    manifest = entry["manifest"]
    files = {
        file: bundle.files[prefix + file] for file in manifest if prefix + file in bundle.files
    }
    return Rung(name=entry["name"], files=files, manifest=manifest)
