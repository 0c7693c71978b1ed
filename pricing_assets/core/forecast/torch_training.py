r"""Training and running a network: NumPy in, NumPy out.

The mean is fitted by the negative binomial's likelihood with a fixed dispersion, which is
consistent for the mean of any count (Gourieroux, Monfort and Trognon 1984), the median by the
absolute error of :math:`\log\frac{y + c}{b + c}`; weights by AdamW (Loshchilov and Hutter 2019)
under a rate that warms up and falls as a cosine.

On a CPU a training repeats bit by bit for a given seed and number of threads: each epoch draws
its order and its dropout from the seed, phase and epoch alone, so that one resumed after a kill
gives the same weights as one that was not. Importing this imports torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from pricing_assets.core.forecast.global_model import OFFSET
from pricing_assets.core.forecast.torch_checkpoint import PhaseState, Tensors
from pricing_assets.core.forecast.torch_networks import NETWORKS
from pricing_assets.core.forecast.torch_windows import Inputs, NetworkSize, Windows
from pricing_assets.core.price_table_torch import pick_device
from pricing_assets.core.settings import PricingSettings

Floats = NDArray[np.float64]

_BATCH = 128
_RATE = 4e-3
_DECAY = 1e-2
_WARM_UP = 0.1
_LARGEST_GRADIENT = 1.0
_RUN_BATCH = 4096


@dataclass(frozen=True, slots=True)
class Phase:
    """One run over the windows.

    Attributes:
        number: place among the phases, from 0.
        epochs: passes over the windows.
        rate: share of the full learning rate.
        dispersion: negative-binomial dispersion of demand.
        windows: what is learned from.
    """

    number: int
    epochs: int
    rate: float
    dispersion: float
    windows: Windows


def train_phase(
    name: str,
    size: NetworkSize,
    *,
    phase: Phase,
    settings: PricingSettings,
    weights: Tensors | None,
    state: PhaseState | None,
    after_epoch: Callable[[PhaseState], None],
) -> PhaseState:
    """Train to the phase's last epoch.

    Args:
        weights: weights to begin with; drawn from the seed where None.
        state: where this phase stood when it was stopped; None at its beginning.
        after_epoch: told the state after each epoch.
    """
    parameters = settings.forecast
    device = pick_device(parameters.torch_device)
    with _repeatable(device, threads=parameters.threads):
        network = _network(name, size, seed=settings.seed).to(device)
        start = weights if state is None else state.network
        if start is not None:
            _set_weights(network, start)
        optimiser = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=_DECAY)
        if state is not None:
            _set_optimiser(optimiser, network, state.optimiser)
        run: Callable[..., Tensor] = torch.compile(network) if parameters.torch_compile else network
        done = 0 if state is None else state.epochs
        for epoch in range(done, phase.epochs):
            _train_epoch(run, network, optimiser, epoch=epoch, phase=phase, settings=settings)
            state = PhaseState(epoch + 1, _weights(network), _optimiser_state(optimiser, network))
            after_epoch(state)
    return state or PhaseState(0, _weights(network), {})


def log_ratios(name: str, size: NetworkSize, *, weights: Tensors, inputs: Inputs) -> Floats:
    """(n, H, 2) log ratios of mean and median to the base, on the CPU in single precision.

    Always the CPU, so that a saved network says the same on every machine.
    """
    cpu = torch.device("cpu")
    network = _network(name, size, seed=0)
    _set_weights(network, weights)
    network.eval()
    count = len(inputs.codes)
    with torch.inference_mode():
        parts = [
            network(*_inputs(inputs, np.arange(at, min(at + _RUN_BATCH, count)), device=cpu))
            for at in range(0, count, _RUN_BATCH)
        ]
    return np.asarray(torch.cat(parts).numpy(), np.float64)


def _train_epoch(
    run: Callable[..., Tensor],
    network: nn.Module,
    optimiser: torch.optim.Optimizer,
    *,
    epoch: int,
    phase: Phase,
    settings: PricingSettings,
) -> None:
    device = next(network.parameters()).device
    windows = phase.windows
    key = [settings.seed, phase.number, epoch]
    order = np.random.default_rng(key).permutation(len(windows.target))
    batches = np.array_split(order, -(-order.size // _BATCH))
    torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1)[0]))
    network.train()
    half = settings.forecast.torch_precision == "bfloat16"
    for number, rows in enumerate(batches):
        progress = (epoch + number / len(batches)) / phase.epochs
        for group in optimiser.param_groups:
            group["lr"] = phase.rate * learning_rate(progress)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            ratios = run(*_inputs(windows.inputs, rows, device=device))
        loss = _loss(
            ratios.float(),
            base=torch.as_tensor(windows.inputs.base[rows], device=device),
            target=torch.as_tensor(windows.target[rows], device=device),
            dispersion=phase.dispersion,
        )
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), _LARGEST_GRADIENT)
        optimiser.step()


def learning_rate(progress: float) -> float:
    """Rate after that share of a phase's steps, 0 to 1: a warm-up, then a cosine to zero."""
    if progress < _WARM_UP:
        return _RATE * (0.1 + 0.9 * progress / _WARM_UP)
    return _RATE * 0.5 * (1 + math.cos(math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)))


def _loss(ratios: Tensor, *, base: Tensor, target: Tensor, dispersion: float) -> Tensor:
    """Negative log-likelihood of the mean plus absolute error of the median, a known cell."""
    known = torch.isfinite(target)
    units = torch.where(known, target, torch.zeros_like(target))
    mean = base * torch.exp(ratios[..., 0])
    count = (units + 1 / dispersion) * torch.log1p(dispersion * mean) - units * torch.log(mean)
    middle = (torch.log((units + OFFSET) / (base + OFFSET)) - ratios[..., 1]).abs()
    return ((count + middle) * known).sum() / known.sum().clamp(min=1)


def _network(name: str, size: NetworkSize, *, seed: int) -> nn.Module:
    """The network with weights drawn from the seed; the caller's generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return NETWORKS[name](size)


def _inputs(
    inputs: Inputs, rows: NDArray[np.int64], *, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    past, future, codes = (
        torch.as_tensor(values[rows], device=device)
        for values in (inputs.past, inputs.future, inputs.codes)
    )
    return past, future, codes


def _weights(network: nn.Module) -> Tensors:
    return {name: value.cpu().numpy().copy() for name, value in network.state_dict().items()}


def _set_weights(network: nn.Module, weights: Tensors) -> None:
    tensors = {name: torch.tensor(np.asarray(value)) for name, value in weights.items()}
    network.load_state_dict(tensors)


def _optimiser_state(optimiser: torch.optim.Optimizer, network: nn.Module) -> Tensors:
    return {
        f"{part}.{name}": value.cpu().numpy().copy()
        for name, parameter in network.named_parameters()
        for part, value in optimiser.state[parameter].items()
    }


def _set_optimiser(
    optimiser: torch.optim.Optimizer, network: nn.Module, state: Mapping[str, NDArray[np.generic]]
) -> None:
    for name, parameter in network.named_parameters():
        for key, value in state.items():
            part, _, of = key.partition(".")
            if of == name:
                place = "cpu" if part == "step" else parameter.device
                optimiser.state[parameter][part] = torch.tensor(np.asarray(value), device=place)


@contextmanager
def _repeatable(device: torch.device, *, threads: int) -> Iterator[None]:
    """Deterministic algorithms on a CPU and a fixed number of threads; both put back after."""
    before = (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(device.type == "cpu")
        try:
            yield
        finally:
            torch.set_num_threads(before[0])
            torch.use_deterministic_algorithms(before[1])
