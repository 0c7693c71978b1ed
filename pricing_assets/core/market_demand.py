r"""True demand of the simulated market: how units respond to all prices of a category.

Half of the categories have a constant own-price elasticity,

.. math:: g_i = (p_i/b_i)^{-\eta_i}\, \bar S_i^{\,\delta_i}\, (r_i/b_i)^{\rho_i},

with :math:`\bar S_i` the weighted *arithmetic* mean of the substitutes' relative prices. The other
half choose by a mixed logit over two kinds of shopper with an outside good and the rival's copy of
each product, so that the elasticity grows with price and substitution follows shares
(Berry, Levinsohn and Pakes 1995). No estimator of this project has either form as a whole.

Belongs here: the response alone. Drawing a market is ``core.market``; its past is
``core.market_history``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
SHOPPER_SHARES = np.array([0.55, 0.45])
SHOPPER_SENSITIVITY = np.array([0.65, 1.45])


@dataclass(frozen=True, slots=True)
class DemandStructure:
    """Fixed structure of n rows (product x store), sorted so that a block is contiguous.

    Attributes:
        block: (n,) index of the row's block (category within a store).
        is_logit: (n,) the row's category chooses by mixed logit.
        base_price: (n,) price b at which relative prices are one.
        sensitivity: (n,) eta of the constant form; steepness at b of the logit form.
        substitution: (n,) delta of the constant form.
        rival_pull: (n,) rho of the constant form; log attraction of the rival's copy in logit.
        attraction: (n,) log attraction at b of the logit form; log weight in the mean of the
            constant form.
        segment_share, segment_factor: (g,) share of demand and multiplier of the sensitivity.
    """

    block: NDArray[np.int64]
    is_logit: NDArray[np.bool_]
    base_price: Floats
    sensitivity: Floats
    substitution: Floats
    rival_pull: Floats
    attraction: Floats
    segment_share: Floats
    segment_factor: Floats

    def response(self, *, price: Floats, rival: Floats, drift: Floats) -> Floats:
        """Demand multiplier of each row, (..., n), one on average near the base prices.

        ``price`` and ``rival`` are (..., n) in currency units; ``drift`` (n,) multiplies the
        sensitivity.
        """
        segments = self.segment_response(price=price, rival=rival, drift=drift)
        return np.asarray(np.tensordot(self.segment_share, segments, axes=1))

    def segment_response(self, *, price: Floats, rival: Floats, drift: Floats) -> Floats:
        """The same for each customer segment, (g, ..., n)."""
        relative, rival_relative = price / self.base_price, rival / self.base_price
        return np.stack(
            [
                np.where(
                    self.is_logit,
                    self._logit(relative, rival_relative, self.sensitivity * drift * factor),
                    self._constant(relative, rival_relative, self.sensitivity * drift * factor),
                )
                for factor in self.segment_factor
            ]
        )

    def _constant(self, relative: Floats, rival: Floats, sensitivity: Floats) -> Floats:
        weight = np.exp(self.attraction)
        total = self._block_sum(weight * relative) - weight * relative
        others = self._block_sum(np.broadcast_to(weight, relative.shape)) - weight
        mean = np.where(others > 0, total / np.where(others > 0, others, 1.0), 1.0)
        mean = np.maximum(mean, 1e-9)
        return np.asarray(relative**-sensitivity * mean**self.substitution * rival**self.rival_pull)

    def _logit(self, relative: Floats, rival: Floats, sensitivity: Floats) -> Floats:
        share = np.zeros(relative.shape)
        for weight, steepness in zip(SHOPPER_SHARES, SHOPPER_SENSITIVITY, strict=True):
            own = np.exp(self.attraction - sensitivity * steepness * (relative - 1.0))
            copy = np.exp(
                self.attraction + self.rival_pull - sensitivity * steepness * (rival - 1.0)
            )
            share = share + weight * own / (1.0 + self._block_sum(own + copy))
        base = np.exp(self.attraction)
        at_base = base / (1.0 + self._block_sum(base * (1.0 + np.exp(self.rival_pull))))
        return np.asarray(share / at_base)

    def _block_sum(self, values: Floats) -> Floats:
        starts = np.flatnonzero(np.r_[True, self.block[1:] != self.block[:-1]])
        sums = np.add.reduceat(values, starts, axis=-1)
        return np.asarray(sums[..., self.block - self.block[0]])
