"""The search for prices on a torch device: the same contract and equations as the NumPy reference.

Belongs here: ``choose_rows`` of ``core.price_search`` in torch, and picking a device. The ascent
over substitutes, bounds and the frame are shared, so that there is no second set of rules.
Double precision where the device has it (CPU, CUDA), single on MPS.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from scipy.special import ndtri

from pricing_assets.core.demand import DemandCurves
from pricing_assets.core.errors import InvalidSettingError
from pricing_assets.core.expected_sales import STOCK_NODES
from pricing_assets.core.price_parameters import PriceTableParameters
from pricing_assets.core.price_search import (
    ROUNDING,
    Floats,
    PriceChoice,
    PriceFacts,
    RowChooser,
    Turn,
)

_TINY = 1e-12
_SMALL_CURVATURE = 1e-6


def available_devices() -> tuple[str, ...]:
    """Devices of this machine, fastest first: cuda, mps, cpu."""
    found = [name for name, there in _presence().items() if there]
    return (*found, "cpu")


def pick_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the first of ``available_devices``.

    Raises:
        InvalidSettingError: the machine has no such device.
    """
    devices = available_devices()
    if name == "auto":
        return torch.device(devices[0])
    if name not in devices:
        raise InvalidSettingError(
            f"device '{name}' is not on this machine; it has: {', '.join(devices)}. Use device "
            "'auto' to take the fastest one there is"
        )
    return torch.device(name)


def torch_chooser(device: str = "auto") -> RowChooser:
    """The search on that device, to be given to ``build_price_table`` or ``choose_prices``."""
    return partial(choose_rows, device=pick_device(device))


def choose_rows(
    curves: DemandCurves,
    candidates: Floats,
    *,
    facts: PriceFacts,
    turn: Turn,
    parameters: PriceTableParameters,
    device: torch.device,
) -> PriceChoice:
    """``price_search.choose_rows`` on ``device``; arguments and result are NumPy."""
    with torch.inference_mode():
        rows = _Rows.on(device, curves, candidates, facts=facts, turn=turn)
        value, worse = rows.value(parameters), rows.probability_worse()
        free = torch.as_tensor(facts.changeable, device=device)[:, None]
        base = value[:, :1].abs()
        gain = value - value[:, :1]
        gain = torch.where(gain.abs() <= ROUNDING * base, 0.0, gain)
        safe = (gain > parameters.min_relative_uplift * base) & free
        safe &= worse <= parameters.hold_above_p_worse
        change = (rows.price - rows.price[:, :1]).abs()
        best = _first(torch.where(free, gain, 0.0), change=change, rounding=ROUNDING * base)
        scale = torch.where(base == 0, torch.nan, base)
        found = [
            _first(torch.where(safe, gain, 0.0), change=change, rounding=ROUNDING * base)[:, 0],
            best[:, 0],
            worse.gather(1, best)[:, 0],
            (gain.gather(1, best) / scale)[:, 0],
        ]
        place, best_place, risk, rise = (part.cpu().numpy() for part in found)
    index = np.arange(len(candidates))
    return PriceChoice(
        price=candidates[index, place],
        best_price=candidates[index, best_place],
        best_p_worse=risk.astype(np.float64),
        best_gain=rise.astype(np.float64),
    )


@dataclass(frozen=True, slots=True)
class _Rows:
    """m rows on a device: prices (m, k), column 0 the least-change price; all else (m, 1)."""

    price: torch.Tensor
    margin: torch.Tensor
    step: torch.Tensor
    units: torch.Tensor
    level_variance: torch.Tensor
    mean: torch.Tensor
    sd: torch.Tensor
    available: torch.Tensor
    spill: torch.Tensor

    @classmethod
    def on(
        cls,
        device: torch.device,
        curves: DemandCurves,
        candidates: Floats,
        *,
        facts: PriceFacts,
        turn: Turn,
    ) -> _Rows:
        """Move the rows there, and take what does not depend on the risk."""
        kind = torch.float32 if device.type == "mps" else torch.float64

        def column(values: Floats) -> torch.Tensor:
            return torch.as_tensor(values, dtype=kind, device=device)[:, None]

        price = torch.as_tensor(candidates, dtype=kind, device=device)
        kappa, now = column(facts.substitutes.elasticity), column(turn.price)
        moved = (price / now) ** kappa - (price[:, :1] / now) ** kappa
        return cls(
            price=price,
            margin=column(facts.worth.slope) * price - column(facts.worth.intercept),
            step=box_cox_step(price / column(curves.reference_price), column(curves.curvature)),
            units=column(curves.reference_units) * column(turn.demand_factor),
            level_variance=torch.log1p(column(curves.reference_units_cv) ** 2),
            mean=column(curves.elasticity_mean),
            sd=column(curves.elasticity_sd),
            available=column(facts.available),
            spill=column(turn.others) * moved,
        )

    def value(self, parameters: PriceTableParameters) -> torch.Tensor:
        """Value of every candidate under its risk, what substitutes gain included, (m, k)."""
        if parameters.risk == "quantile":
            return self.spill + self.margin * torch.where(
                self.margin < 0,
                self.sales_quantile(1 - parameters.risk_quantile),
                self.sales_quantile(parameters.risk_quantile),
            )
        mean = self.margin * self.sales() + self.spill
        if parameters.risk == "mean":
            return mean
        return mean - parameters.risk_aversion * self.margin.abs() * self.sales_deviation()

    def sales_quantile(self, probability: float) -> torch.Tensor:
        """Quantile of min(D, A) under the posterior, (m, k); see ``risk``."""
        log_mean = self.units.log() + self.mean * self.step - self.level_variance / 2
        spread = ((self.sd * self.step) ** 2 + self.level_variance).sqrt()
        return (log_mean + float(ndtri(probability)) * spread).exp().minimum(self.available)

    def sales_deviation(self) -> torch.Tensor:
        """Posterior standard deviation of min(D, A), (m, k); see ``risk``."""
        spread = (self.sd * self.step) ** 2
        mean = (self.units * torch.exp(self.mean * self.step + 0.5 * spread)).clamp_min(_TINY)
        variance = spread + self.level_variance
        free = mean * variance.expm1().sqrt()
        capped = torch.isfinite(self.available)
        if not bool(capped.any()):
            return free
        variance = variance.clamp_min(_TINY)
        deviation = variance.sqrt()
        limit = torch.where(capped, self.available, 0.0)
        distance = (limit.clamp_min(_TINY) / mean).log() / deviation
        above = torch.special.ndtr(-distance - deviation / 2)
        first = mean * torch.special.ndtr(distance - deviation / 2) + limit * above
        below = mean**2 * variance.exp() * torch.special.ndtr(distance - 1.5 * deviation)
        limited = (below + limit**2 * above - first**2).clamp_min(0.0).sqrt()
        return torch.where(capped, limited, free)

    def sales(self) -> torch.Tensor:
        """E min(D, A), (m, k); see ``expected_sales``."""
        spread = (self.sd * self.step) ** 2
        mean = self.units * torch.exp(self.mean * self.step + 0.5 * spread)
        return limited_sales(mean, spread + self.level_variance, available=self.available)

    def probability_worse(self) -> torch.Tensor:
        """P(less of the objective than at column 0), (m, k); see ``probability_worse``."""
        sales = self.sales()[:, :1].clamp_min(_TINY)
        base_margin = self.margin[:, :1] - self.spill / sales
        shift = self.step - self.step[:, :1]
        valid = (self.margin > 0) & (base_margin > 0) & (shift.abs() > _TINY)
        ratio = torch.where(valid, base_margin, 1.0) / torch.where(valid, self.margin, 1.0)
        sd = (shift.abs() * self.sd).clamp_min(_TINY)
        tail = torch.special.ndtr((ratio.log() - self.mean * shift) / sd)
        certain = ((self.margin < base_margin) & (self.margin <= 0)).to(tail.dtype)
        worse = torch.where(valid, tail, certain)
        capped = torch.isfinite(self.available[:, 0])
        if not bool(capped.any()):
            return worse
        worse[capped] = self._worse_under_stock(capped, base_margin)
        return worse

    def _worse_under_stock(self, rows: torch.Tensor, base_margin: torch.Tensor) -> torch.Tensor:
        """The same where sales are min(D, A), for the rows chosen."""
        price, base = self.price[rows], self.price[rows, :1]
        margin, stay = self.margin[rows], base_margin[rows]
        dearer = price > base
        top, bottom = torch.where(dearer, margin, stay), torch.where(dearer, stay, margin)
        comparable = (bottom > 0) & (top > 0) & (price != base)
        ratio = torch.where(comparable, bottom, 1.0) / torch.where(comparable, top, 1.0)
        step, base_step = self.step[rows], self.step[rows, :1].expand_as(price)
        high = torch.where(dearer, step, base_step)
        shift = torch.where(comparable, (step - base_step).abs(), 1.0)
        mean, sd = self.mean[rows], self.sd[rows].clamp_min(_TINY)
        tail = torch.special.ndtr((ratio.log() / shift - mean) / sd)
        nodes = (torch.arange(STOCK_NODES, device=price.device, dtype=price.dtype) + 0.5) / (
            STOCK_NODES
        )
        floor = torch.finfo(price.dtype).tiny
        quantile = torch.special.ndtri((tail[..., None] * nodes).clamp_min(floor))
        elasticity = mean[..., None] + sd[..., None] * quantile
        sigma = self.level_variance[rows].clamp_min(_TINY).sqrt()[..., None]
        limit = ratio * self.available[rows] / self.units[rows].clamp_min(_TINY)
        room = limit.clamp_min(_TINY).log()[..., None] - elasticity * high[..., None]
        in_stock = torch.special.ndtr(room / sigma + sigma / 2).mean(dim=-1)
        in_stock = torch.where(ratio < 1, in_stock, 1.0)
        certain = ((bottom > 0) & (top <= 0)).to(tail.dtype)
        dearer_worse = torch.where(comparable, tail * in_stock, certain)
        cheaper_worse = torch.where(price != base, 1 - dearer_worse, 0.0)
        return torch.where(dearer, dearer_worse, cheaper_worse)


def _presence() -> dict[str, bool]:
    return {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}


def _first(gain: torch.Tensor, *, change: torch.Tensor, rounding: torch.Tensor) -> torch.Tensor:
    """(m, 1) place of the largest gain (m, k); of equal ones that which changes least."""
    near = gain >= gain.amax(dim=1, keepdim=True) - rounding
    return torch.where(near, change, torch.inf).argmin(dim=1, keepdim=True)


def limited_sales(
    mean: torch.Tensor, variance: torch.Tensor, *, available: torch.Tensor
) -> torch.Tensor:
    """E min(D, A), (m, k), from mean demand and the variance of its log without Poisson noise."""
    capped = torch.isfinite(available)
    if not bool(capped.any()):
        return mean
    demand = mean.clamp_min(_TINY)
    deviation = (variance + torch.log1p(1 / demand)).clamp_min(_TINY).sqrt()
    limit = torch.where(capped, available, 0.0)
    distance = torch.log(limit.clamp_min(_TINY) / demand) / deviation
    below = demand * torch.special.ndtr(distance - deviation / 2)
    limited = below + limit * torch.special.ndtr(-distance - deviation / 2)
    return torch.where(capped, limited, mean)


def box_cox_step(ratio: torch.Tensor, curvature: torch.Tensor) -> torch.Tensor:
    """``demand.box_cox_step`` of a price over its reference price; shapes broadcast."""
    log_ratio = ratio.log()
    small = curvature.abs() < _SMALL_CURVATURE
    safe = torch.where(small, 1.0, curvature)
    return torch.where(small, log_ratio, torch.expm1(safe * log_ratio) / safe)
