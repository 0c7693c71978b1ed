r"""The search of ``core.price_kernel`` on a torch device: CUDA, MPS, or the CPU.

Same contract and equations as the NumPy reference, in chunks of ``CHUNK_ROWS`` so that the
device's memory is bounded whatever the catalogue's size. Double precision where the device has it,
single on MPS, where close calls may fall otherwise. Belongs here: the search alone; a machine
without the device is refused by ``price_table_torch.pick_device``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch

from pricing_assets.core.expected_sales import STOCK_NODES
from pricing_assets.core.price_kernel import (
    GRID,
    ROUNDING,
    PriceProblem,
    PriceSolution,
    RiskLimits,
    Solver,
    joined,
    solved_apart,
)
from pricing_assets.core.price_packing import fits
from pricing_assets.core.price_table_torch import box_cox_step, limited_sales, pick_device

CHUNK_ROWS = 1 << 20
"""Products on the device at once: some 2 GiB of working memory in double precision."""
CPU_CHUNK_ROWS = 1 << 13
"""The same on the CPU, where a chunk should stay in the cache."""

_TINY = 1e-12


def torch_solver(device: str = "auto") -> Solver:
    """The search on that device, as ``catalogue_search.CatalogueEngine`` takes it.

    Raises:
        InvalidSettingError: the machine has no such device.
    """
    place = pick_device(device)

    def solve(problem: PriceProblem, limits: RiskLimits) -> PriceSolution:
        if place.type != "mps":
            return solve_on(problem, limits, device=place)
        return solved_apart(
            problem,
            limits,
            where=fits(problem),
            solve=lambda some, risk: solve_on(some, risk, device=place),
        )

    return solve


def solve_on(problem: PriceProblem, limits: RiskLimits, *, device: torch.device) -> PriceSolution:
    """``price_kernel.solve_reference`` on ``device``; NumPy in and out."""
    size = CPU_CHUNK_ROWS if device.type == "cpu" else CHUNK_ROWS
    with torch.inference_mode():
        parts = [
            _solve_chunk(_Problem.on(device, problem.rows(slice(start, start + size))), limits)
            for start in range(0, max(len(problem), 1), size)
        ]
    return joined(parts)


@dataclass(frozen=True, slots=True)
class _Problem:
    """m products on a device, (m, 1) each; prices and worth in minor units."""

    reference: torch.Tensor
    units: torch.Tensor
    level_variance: torch.Tensor
    mean: torch.Tensor
    sd: torch.Tensor
    curvature: torch.Tensor
    slope: torch.Tensor
    intercept: torch.Tensor
    available: torch.Tensor
    base: torch.Tensor
    first: torch.Tensor
    spacing: torch.Tensor
    last: torch.Tensor

    @classmethod
    def on(cls, device: torch.device, problem: PriceProblem) -> _Problem:
        """Move the products there."""
        kind = torch.float32 if device.type == "mps" else torch.float64
        scale, curves = 10.0**problem.exponent, problem.curves
        columns = {
            "reference": curves.reference_price * scale,
            "units": curves.reference_units,
            "level_variance": np.log1p(curves.reference_units_cv**2),
            "mean": curves.elasticity_mean,
            "sd": curves.elasticity_sd,
            "curvature": curves.curvature,
            "slope": problem.worth.slope,
            "intercept": problem.worth.intercept * scale,
            "available": problem.available,
            "base": problem.base,
            "first": problem.first,
            "spacing": problem.spacing,
            "last": problem.count - 1,
        }
        return cls(
            **{
                name: torch.as_tensor(np.asarray(values), device=device).to(kind)[:, None]
                for name, values in columns.items()
            }
        )

    def rows(self, index: torch.Tensor) -> _Problem:
        """Some of the products."""
        return _Problem(**{f.name: getattr(self, f.name)[index] for f in fields(self)})

    def sales(self, price: torch.Tensor) -> torch.Tensor:
        """E min(D, A) at prices (m, k); see ``expected_sales``."""
        step = box_cox_step(price / self.reference, self.curvature)
        spread = (self.sd * step) ** 2
        mean = self.units * torch.exp(self.mean * step + 0.5 * spread)
        return limited_sales(mean, spread + self.level_variance, available=self.available)

    def value(self, price: torch.Tensor) -> torch.Tensor:
        """V at prices (m, k)."""
        return (self.slope * price - self.intercept) * self.sales(price)

    def worse(self, price: torch.Tensor) -> torch.Tensor:
        """P(less than at the least-change price) at one price each, (m, 1)."""
        worth, held = (self.slope * p - self.intercept for p in (price, self.base))
        step, stay = (box_cox_step(p / self.reference, self.curvature) for p in (price, self.base))
        shift = step - stay
        valid = (worth > 0) & (held > 0) & (shift.abs() > _TINY)
        ratio = torch.where(valid, held, 1.0) / torch.where(valid, worth, 1.0)
        odds = (ratio.log() - self.mean * shift) / (shift.abs() * self.sd).clamp_min(_TINY)
        certain = ((worth < held) & (worth <= 0)).to(price.dtype)
        found = torch.where(valid, torch.special.ndtr(odds), certain)
        scarce = torch.isfinite(self.available[:, 0]).nonzero()[:, 0]
        if scarce.numel():
            some = self.rows(scarce)
            found[scarce] = _worse_in_stock(some, price[scarce], worth[scarce], held[scarce])
        return torch.where(price == self.base, 0.0, found)


def _worse_in_stock(
    rows: _Problem, price: torch.Tensor, worth: torch.Tensor, held: torch.Tensor
) -> torch.Tensor:
    """``_Problem.worse`` where sales are min(D, A); see ``expected_sales.probability_worse``."""
    dearer = price > rows.base
    top, bottom = torch.where(dearer, worth, held), torch.where(dearer, held, worth)
    high, low = torch.maximum(price, rows.base), torch.minimum(price, rows.base)
    comparable = (bottom > 0) & (top > 0) & (high > low)
    ratio = torch.where(comparable, bottom, 1.0) / torch.where(comparable, top, 1.0)
    up, down = (box_cox_step(p / rows.reference, rows.curvature) for p in (high, low))
    shift = torch.where(comparable, up - down, 1.0)
    sd = rows.sd.clamp_min(_TINY)
    tail = torch.special.ndtr((ratio.log() / shift - rows.mean) / sd)
    nodes = (torch.arange(STOCK_NODES, device=price.device, dtype=price.dtype) + 0.5) / STOCK_NODES
    least = torch.finfo(price.dtype).tiny
    elasticity = rows.mean + sd * torch.special.ndtri((tail * nodes).clamp_min(least))
    sigma = rows.level_variance.clamp_min(_TINY).sqrt()
    room = (ratio * rows.available / rows.units.clamp_min(_TINY)).clamp_min(_TINY).log()
    inside = torch.special.ndtr((room - elasticity * up) / sigma + sigma / 2)
    in_stock = torch.where(ratio < 1, inside.mean(dim=1, keepdim=True), 1.0)
    certain = ((bottom > 0) & (top <= 0)).to(price.dtype)
    together = torch.where(comparable, tail * in_stock, certain)
    return torch.where(dearer, together, 1 - together)


def _solve_chunk(rows: _Problem, limits: RiskLimits) -> PriceSolution:
    """``price_kernel._solve_chunk``."""
    best = _best_allowed(rows)
    value, units = (f(torch.cat([rows.base, best], dim=1)) for f in (rows.value, rows.sales))
    scale = value[:, :1].abs()
    gain = value[:, 1:] - value[:, :1]
    better = gain > ROUNDING * scale
    best, gain = torch.where(better, best, rows.base), torch.where(better, gain, 0.0)
    scarce = (better & torch.isfinite(rows.available))[:, 0].nonzero()[:, 0]
    best[scarce] = _nearest_as_good(rows.rows(scarce), best[scarce])
    worse = rows.worse(best)
    safe = worse <= limits.hold_above_p_worse
    taken = better & (gain > limits.min_relative_uplift * scale) & safe
    price = torch.where(taken, best, rows.base)
    risky = (better & ~safe)[:, 0].nonzero()[:, 0]
    price[risky] = _safe_step(rows.rows(risky), best[risky], limits=limits)
    found = {
        "price": price.round().to(torch.int64),
        "units": rows.sales(price),
        "base_units": units[:, :1],
        "p_worse": rows.worse(price),
        "best": best.round().to(torch.int64),
        "best_p_worse": worse,
        "best_gain": gain / torch.where(scale == 0, math.nan, scale),
    }
    return PriceSolution(**{name: part[:, 0].cpu().numpy() for name, part in found.items()})


def _best_allowed(rows: _Problem) -> torch.Tensor:
    """(m, 1) the allowed price of the largest V: grid, then bisection between its neighbours."""
    highest = rows.first + rows.spacing * rows.last
    share = torch.linspace(0.0, 1.0, GRID, device=highest.device, dtype=highest.dtype)
    grid = rows.first * ((highest / rows.first).log() * share).exp()
    at = rows.value(grid).argmax(dim=1, keepdim=True)
    below, above = (grid.gather(1, (at + way).clamp(0, GRID - 1)) for way in (-1, 1))
    zero = torch.zeros_like(rows.last)
    low = ((below - rows.first) / rows.spacing).floor().clamp(zero, rows.last)
    high = ((above - rows.first) / rows.spacing).ceil().clamp(zero, rows.last)
    while bool((low < high).any()):
        middle = ((low + high) / 2).floor()
        pair = torch.cat([middle, middle + 1], dim=1)
        value = rows.value(rows.first + rows.spacing * pair)
        rising = value[:, 1:] > value[:, :1]
        open_ = low < high
        low = torch.where(open_ & rising, middle + 1, low)
        high = torch.where(open_ & ~rising, middle, high)
    return rows.first + rows.spacing * low


def _safe_step(rows: _Problem, best: torch.Tensor, *, limits: RiskLimits) -> torch.Tensor:
    """``price_kernel._safe_step``."""
    limit = limits.hold_above_p_worse
    found, _ = _last_step(rows, best, lambda price: rows.worse(price) <= limit)
    value = rows.value(torch.cat([rows.base, found], dim=1))
    least = max(ROUNDING, limits.min_relative_uplift) * value[:, :1].abs()
    allowed = (value[:, 1:] - value[:, :1] > least) & (rows.worse(found) <= limit)
    return torch.where(allowed, found, rows.base)


def _nearest_as_good(rows: _Problem, best: torch.Tensor) -> torch.Tensor:
    """``price_kernel._nearest_as_good``."""
    value = rows.value(torch.cat([rows.base, best], dim=1))
    enough = value[:, 1:] - ROUNDING * value[:, :1].abs()
    return _last_step(rows, best, lambda price: rows.value(price) < enough)[1]


def _last_step(
    rows: _Problem, best: torch.Tensor, holds: Callable[[torch.Tensor], torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """``price_kernel._last_step``."""
    up = torch.where(best > rows.base, 1.0, -1.0).to(best.dtype)
    nearest = (rows.base - rows.first) / rows.spacing
    start = torch.where(up > 0, nearest.floor(), nearest.ceil())
    most = (((best - rows.first) / rows.spacing).round() - start).abs()
    inside, outside = torch.zeros_like(start), most + 1

    def at(step: torch.Tensor) -> torch.Tensor:
        price = rows.first + rows.spacing * (start + up * step)
        return torch.where(step > 0, price, rows.base)

    while bool((outside - inside > 1).any()):
        middle = ((inside + outside) / 2).floor()
        fine = holds(at(middle)) | (middle == inside)
        inside, outside = torch.where(fine, middle, inside), torch.where(fine, outside, middle)
    return at(inside), at(torch.minimum(outside, most))
