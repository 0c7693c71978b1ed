"""Networks over all series behind the forecaster's interface: 'lstm' and 'transformer'.

Trained in two phases: first on what came before the last held-out horizons, which then calibrate
the intervals, then a shorter one on everything from those weights. torch is imported when a
network is trained or run, not with this module.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from pricing_assets.core.bundle import ModelBundle, json_bytes
from pricing_assets.core.errors import IntegrityError
from pricing_assets.core.forecast.attributes import CATEGORICAL, AttributeCodes
from pricing_assets.core.forecast.calibration import IntervalCalibration
from pricing_assets.core.forecast.design import feature_names
from pricing_assets.core.forecast.global_model import (
    HOLDOUTS,
    OFFSET,
    HeldOutCells,
    HeldOutFit,
    Points,
    held_out_cells,
)
from pricing_assets.core.forecast.interface import METADATA_FILE, Forecast
from pricing_assets.core.forecast.levels import demand_dispersion
from pricing_assets.core.forecast.torch_checkpoint import (
    CheckpointStore,
    PhaseState,
    Tensors,
    checkpoint_bytes,
    states_of,
    training_fingerprint,
)
from pricing_assets.core.forecast.torch_windows import (
    CHANNELS,
    FeatureScale,
    Inputs,
    NetworkSize,
    build_inputs,
    build_windows,
)
from pricing_assets.core.forecast.training_rows import (
    LEAST_ROWS,
    PlannedDesign,
    RowBuilder,
    build_rows,
    plan_design,
)
from pricing_assets.core.forecast.windows import held_out_origins, horizon_periods
from pricing_assets.core.panel import FuturePlan, Panel
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

TORCH_FORECASTERS = ("lstm", "transformer")
"""Names of the networks."""

WEIGHTS_FILE = "network.safetensors"

_SECOND_EPOCHS = 3
_SECOND_RATE = 0.3


@dataclass(frozen=True, slots=True)
class Network:
    """A trained network and how its inputs are made.

    Attributes:
        name: 'lstm' or 'transformer'.
        size: shapes of its layers.
        weeks: recent weeks that it reads.
        scale: scale of its numeric features.
        weights: tensors by name.
    """

    name: str
    size: NetworkSize
    weeks: int
    scale: FeatureScale
    weights: Tensors

    def points(self, inputs: Inputs, *, base: Floats) -> Points:
        """Point forecasts of the inputs' H periods."""
        from pricing_assets.core.forecast.torch_training import log_ratios

        ratios = log_ratios(self.name, self.size, weights=self.weights, inputs=inputs)
        median = (base + OFFSET) * np.exp(ratios[..., 1]) - OFFSET
        return Points(mean=base * np.exp(ratios[..., 0]), median=np.maximum(median, 0.0), base=base)


@dataclass(frozen=True, slots=True)
class FittedTorch:
    """A trained network; without one (too little history) the forecast is the base.

    Attributes:
        name: 'lstm' or 'transformer'.
        network: None without.
        codes: integer codes of the series attributes.
        intervals: calibration on held-out horizons.
    """

    name: str
    network: Network | None
    codes: AttributeCodes
    intervals: IntervalCalibration

    def points_of(self, planned: PlannedDesign) -> Points:
        """Point forecasts of a plan."""
        base = planned.design.base
        if self.network is None:
            return Points(mean=base, median=base, base=base)
        panel = planned.panel
        inputs = build_inputs(
            panel,
            design=planned.design,
            adjusted=planned.history.adjusted,
            state=planned.history.states[panel.shape[1]],
            codes=self.codes,
            scale=self.network.scale,
            weeks=self.network.weeks,
        )
        return self.network.points(inputs, base=base)

    def predict(self, panel: Panel, plan: FuturePlan) -> Forecast:
        """Forecast the plan at its prices, promotions and calendar."""
        points = self.points_of(plan_design(panel, plan, codes=self.codes))
        return self.intervals.forecast(
            dates=plan.dates, mean=points.mean, centre=points.median, scale=points.mean
        )

    def to_files(self) -> dict[str, bytes]:
        """JSON state, and the weights with the feature scale as safetensors."""
        network = self.network
        state: dict[str, Any] = {
            "forecaster": self.name,
            "codes": {name: list(values) for name, values in self.codes.values.items()},
            "intervals": self.intervals.to_json(),
            "network": None,
        }
        if network is None:
            return {METADATA_FILE: json_bytes(state)}
        state["network"] = {
            "size": asdict(network.size),
            "weeks": network.weeks,
            "features": list(network.scale.names),
        }
        tensors = {
            "scale.mean": network.scale.mean,
            "scale.spread": network.scale.spread,
            **{f"weights.{name}": value for name, value in network.weights.items()},
        }
        weights = save_tensors({name: np.ascontiguousarray(tensors[name]) for name in tensors})
        return {METADATA_FILE: json_bytes(state), WEIGHTS_FILE: weights}


@dataclass(frozen=True, slots=True)
class TorchForecaster:
    """An untrained network.

    Attributes:
        name: 'lstm' or 'transformer'.
        checkpoints: where training leaves its state after each epoch, and goes on from.
        progress: called with one line after each epoch.
    """

    name: str
    settings: PricingSettings
    checkpoints: CheckpointStore | None = None
    progress: Callable[[str], None] | None = None

    def fit(self, panel: Panel) -> FittedTorch:
        """Train without the last horizons to calibrate intervals, then go on with everything."""
        return self._fit(panel)[0]

    def fit_with_holdout(self, panel: Panel) -> HeldOutFit:
        """The same fit, and what its first phase predicted of the horizons held out of it."""
        return HeldOutFit(*self._fit(panel))

    def _fit(self, panel: Panel) -> tuple[FittedTorch, HeldOutCells]:
        horizon = horizon_periods(panel, self.settings.horizon_days)
        tests = held_out_origins(panel.shape[1], horizon=horizon, count=HOLDOUTS)
        codes = AttributeCodes.learn(panel)
        log = _TrainingLog.open(self, panel)
        before = build_rows(panel, end=tests[0], tests=tests, codes=codes, settings=self.settings)
        first = self._trained(log, before, network=None)
        held = held_out_cells(before, {origin: _points(before, first, origin) for origin in tests})
        whole = build_rows(panel, end=panel.shape[1], tests=(), codes=codes, settings=self.settings)
        final = self._trained(log, whole, network=first) if first is not None else None
        return FittedTorch(self.name, final, codes, held.intervals()), held

    def _trained(
        self, log: _TrainingLog, builder: RowBuilder, *, network: Network | None
    ) -> Network | None:
        """The phase's network, begun anew or from ``network``; None with too few rows."""
        from pricing_assets.core.forecast.torch_training import Phase, train_phase

        forecast = self.settings.forecast
        windows, scale = build_windows(
            builder,
            scale=None if network is None else network.scale,
            weeks=forecast.torch_weeks,
            limit=forecast.torch_steps // (forecast.torch_weeks + builder.horizon),
        )
        known = windows.target[np.isfinite(windows.target)]
        if known.size < LEAST_ROWS or not known.any():
            return network
        number = 0 if network is None else 1
        epochs = forecast.torch_epochs
        phase = Phase(
            number=number,
            epochs=-(-epochs // _SECOND_EPOCHS) if number else epochs,
            rate=_SECOND_RATE if number else 1.0,
            dispersion=demand_dispersion(builder.panel.until(builder.end)),
            windows=windows,
        )
        size = network.size if network else _size(builder, scale, hidden=forecast.torch_hidden)
        state = train_phase(
            self.name,
            size,
            phase=phase,
            settings=self.settings,
            weights=None if network is None else network.weights,
            state=log.state(number),
            after_epoch=lambda state: log.keep(number, state, of=phase.epochs),
        )
        return Network(self.name, size, forecast.torch_weeks, scale, state.network)


@dataclass(slots=True)
class _TrainingLog:
    """The states so far, kept after each epoch; private to one fit."""

    forecaster: TorchForecaster
    fingerprint: str
    states: list[PhaseState] = field(default_factory=list)

    @classmethod
    def open(cls, forecaster: TorchForecaster, panel: Panel) -> _TrainingLog:
        """A log with the states of the forecaster's checkpoint, where that is of this training."""
        store = forecaster.checkpoints
        if store is None:
            return cls(forecaster, fingerprint="")
        fingerprint = training_fingerprint(
            panel, name=forecaster.name, settings=forecaster.settings
        )
        return cls(forecaster, fingerprint, list(states_of(store.read(), fingerprint=fingerprint)))

    def state(self, number: int) -> PhaseState | None:
        return self.states[number] if number < len(self.states) else None

    def keep(self, number: int, state: PhaseState, *, of: int) -> None:
        forecaster = self.forecaster
        self.states[number:] = [state]
        if forecaster.checkpoints is not None:
            content = checkpoint_bytes(tuple(self.states), fingerprint=self.fingerprint)
            forecaster.checkpoints.write(content)
        if forecaster.progress is not None:
            forecaster.progress(
                f"training {forecaster.name}: phase {number + 1} of 2, epoch {state.epochs} of {of}"
            )


def load(bundle: ModelBundle, state: dict[str, Any]) -> FittedTorch:
    """Rebuild from a bundle; ``state`` is its parsed JSON.

    Raises:
        IntegrityError: the weights are damaged, or were trained on features that this version
            does not build.
    """
    codes = {name: tuple(values) for name, values in state["codes"].items()}
    network = state["network"]
    return FittedTorch(
        name=state["forecaster"],
        network=None if network is None else _load_network(bundle, state),
        codes=AttributeCodes(codes),
        intervals=IntervalCalibration.from_json(state["intervals"]),
    )


def _load_network(bundle: ModelBundle, state: dict[str, Any]) -> Network:
    network = state["network"]
    unknown = sorted(set(network["features"]) - set(feature_names()))
    if unknown:
        raise IntegrityError(
            f"the {state['forecaster']} was trained on features that this version does not build "
            f"({', '.join(unknown)}); train it again"
        )
    if WEIGHTS_FILE not in bundle.files:
        raise IntegrityError(f"the model bundle has no file '{WEIGHTS_FILE}'; train it again")
    try:
        tensors = load_tensors(bundle.files[WEIGHTS_FILE])
        scale = FeatureScale(
            tuple(network["features"]), tensors.pop("scale.mean"), tensors.pop("scale.spread")
        )
    except (SafetensorError, KeyError) as failure:
        raise IntegrityError(
            f"model file '{WEIGHTS_FILE}' is damaged ({failure}); restore it or train again"
        ) from None
    weights = {name.removeprefix("weights."): value for name, value in tensors.items()}
    shape = network["size"]
    size = NetworkSize(**{**shape, "codes": tuple(shape["codes"])})
    return Network(state["forecaster"], size, network["weeks"], scale, weights)


def _size(builder: RowBuilder, scale: FeatureScale, *, hidden: int) -> NetworkSize:
    """Shapes of a network for the builder's panel."""
    cycle = 7 if builder.panel.grain == "day" else 1
    return NetworkSize(
        past=CHANNELS * cycle,
        future=len(scale.names),
        codes=tuple(len(builder.codes.values[name]) + 1 for name in CATEGORICAL),
        hidden=hidden,
    )


def _points(builder: RowBuilder, network: Network | None, origin: int) -> Points:
    """Point forecasts from a held-out origin of the builder."""
    design = builder.design(origin)
    if network is None:
        return Points(mean=design.base, median=design.base, base=design.base)
    inputs = build_inputs(
        builder.panel.until(origin),
        design=design,
        adjusted=builder.history.adjusted[:, :origin],
        state=builder.history.states[origin],
        codes=builder.codes,
        scale=network.scale,
        weeks=network.weeks,
    )
    return network.points(inputs, base=design.base)
