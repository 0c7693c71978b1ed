"""Where a training stands, as bytes: what a killed training goes on from.

Belongs here: the state of each phase, its bytes and their check. Where the bytes are kept is the
caller's; nothing here imports torch.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from pricing_assets.core.panel import PANEL_MATRICES, Panel
from pricing_assets.core.settings import PricingSettings

Tensors = Mapping[str, NDArray[np.generic]]


class CheckpointStore(Protocol):
    """Keeps the newest checkpoint of one training."""

    def read(self) -> bytes | None:
        """The bytes last written; None where there are none."""
        ...

    def write(self, content: bytes) -> None:
        """Replace the bytes, all or nothing."""
        ...


@dataclass(frozen=True, slots=True)
class PhaseState:
    """A phase of training after some epochs.

    Attributes:
        epochs: epochs done.
        network: weights by name.
        optimiser: Adam's state by name.
    """

    epochs: int
    network: Tensors
    optimiser: Tensors


def checkpoint_bytes(states: tuple[PhaseState, ...], *, fingerprint: str) -> bytes:
    """One line of JSON (epochs, fingerprint, SHA-256), then the tensors as safetensors."""
    tensors = {
        f"{number}.{part}.{name}": np.ascontiguousarray(value)
        for number, state in enumerate(states)
        for part, values in (("network", state.network), ("optimiser", state.optimiser))
        for name, value in values.items()
    }
    payload = save(tensors)
    header = {
        "epochs": [state.epochs for state in states],
        "fingerprint": fingerprint,
        "sha256": hashlib.sha256(payload).hexdigest(),
    }
    return json.dumps(header, sort_keys=True).encode() + b"\n" + payload


def states_of(content: bytes | None, *, fingerprint: str) -> tuple[PhaseState, ...]:
    """States in the bytes; none where they are absent, damaged or of another training.

    A training without a usable checkpoint begins anew, so that damage costs time only.
    """
    line, _, payload = (content or b"").partition(b"\n")
    try:
        header = json.loads(line)
        whole = hashlib.sha256(payload).hexdigest() == header["sha256"]
        if not whole or header["fingerprint"] != fingerprint:
            return ()
        return _states(load(payload), header["epochs"])
    except (ValueError, KeyError, TypeError, SafetensorError):
        return ()


def training_fingerprint(panel: Panel, *, name: str, settings: PricingSettings) -> str:
    """SHA-256 of all that a training depends on: the panel, the settings, the forecaster."""
    digest = hashlib.sha256(f"{name}\n{panel.grain}\n".encode())
    digest.update(settings.forecast.model_dump_json().encode())
    digest.update(f"{settings.seed} {settings.horizon_days}".encode())
    digest.update(panel.series.to_json(orient="values", double_precision=15).encode())
    digest.update(np.ascontiguousarray(panel.dates).tobytes())
    for matrix in (*PANEL_MATRICES, "holiday"):
        digest.update(np.ascontiguousarray(getattr(panel, matrix)).tobytes())
    return digest.hexdigest()


def _states(tensors: Tensors, epochs: list[int]) -> tuple[PhaseState, ...]:
    return tuple(
        PhaseState(
            epochs=int(done),
            network=_under(tensors, f"{number}.network."),
            optimiser=_under(tensors, f"{number}.optimiser."),
        )
        for number, done in enumerate(epochs)
    )


def _under(tensors: Tensors, prefix: str) -> Tensors:
    """Tensors whose name begins with the prefix, which is taken off."""
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
