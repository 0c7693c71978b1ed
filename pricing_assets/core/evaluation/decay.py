"""Whether a promoted model still is as good as it was when it was tested.

Belongs here: what is kept of a promoted model's forecast, and its error on the sales that came
in since. Where it is kept is ``resources.monitoring``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import norm

from pricing_assets.core.forecast.windows import usable_cells
from pricing_assets.core.panel import FuturePlan, Panel

Floats = NDArray[np.float64]

_KEY = ["product_id", "store_id"]

CONFIDENCE = 0.95
"""One-sided confidence with which the error must exceed what was validated."""


@dataclass(frozen=True, slots=True)
class LiveAccuracy:
    """Error of a forecast on the days after it was made.

    Attributes:
        days: periods of new sales that were compared.
        cells: product-store periods among them that say what demand was.
        wape: live WAPE; NaN without sales.
        noise: its standard error over series and days.
        validated: mean WAPE over the walk-forward origins.
        validated_noise: standard deviation over the origins: how a single window scatters.
        bias: sum of (forecast - sold) over what was sold.
    """

    days: int
    cells: int
    wape: float
    noise: float
    validated: float
    validated_noise: float
    bias: float

    @property
    def ratio(self) -> float:
        """Live WAPE over the validated one; NaN where either is unknown."""
        return self.wape / self.validated if self.validated > 0 else float("nan")

    @property
    def ratio_low(self) -> float:
        """The ratio less its noise, at one-sided confidence of 95 %."""
        if not self.validated > 0:
            return float("nan")
        noise = float(np.hypot(self.noise, self.validated_noise))
        return self.ratio - float(norm.ppf(CONFIDENCE)) * noise / self.validated

    def decayed(self, *, max_ratio: float, min_days: int) -> bool:
        """The ratio is above ``max_ratio`` and above 1 beyond noise, on enough days."""
        enough = self.days >= min_days
        return bool(enough and self.ratio > max_ratio and self.ratio_low > 1.0)


def promoted_forecast(
    forecast: pd.DataFrame,
    plan: FuturePlan,
    *,
    elasticity: pd.DataFrame,
    validated: Floats,
    model_version: str,
) -> pd.DataFrame:
    """What must be kept of a forecast so that it can be judged later at the prices that came.

    Args:
        forecast: date, product_id, store_id, mean; S series after another over the plan's H dates.
        plan: the prices (S, H) that it assumed.
        elasticity: product_id, store_id, own_price_elasticity.
        validated: (k,) WAPE by walk-forward origin.
        model_version: of the promoted model.

    Returns:
        date, product_id, store_id, mean (units), price (currency units), elasticity, and the same
        in every row: validated_wape, validated_noise, model_version.
    """
    known = validated[np.isfinite(validated)]
    kept = forecast[["date", *_KEY, "mean"]].assign(
        price=plan.price.ravel(),
        validated_wape=float(known.mean()) if known.size else float("nan"),
        validated_noise=float(known.std(ddof=1)) if known.size > 1 else 0.0,
        model_version=model_version,
    )
    slopes = elasticity[[*_KEY, "own_price_elasticity"]].drop_duplicates(_KEY)
    return kept.merge(slopes, on=_KEY, how="left").rename(
        columns={"own_price_elasticity": "elasticity"}
    )


def live_accuracy(
    kept: pd.DataFrame, panel: Panel, *, changed_price: float = 0.005
) -> LiveAccuracy:
    r"""Error of a kept forecast on the panel's periods since.

    Where the price came out otherwise than planned, by more than ``changed_price``, the forecast
    is moved along its own demand curve, :math:`q (p / p_0)^{\varepsilon}`, so that a price that
    was changed on purpose does not count as an error.

    Args:
        kept: as :func:`promoted_forecast` gives it.
        panel: sales up to now; the kept dates after its end are left out.
        changed_price: relative change that counts.
    """
    joined = kept.merge(_sold_since(panel, kept["date"].min()), on=["date", *_KEY])
    relative = (joined["paid"] / joined["price"]).to_numpy(dtype=np.float64)
    moved = np.abs(relative - 1) > changed_price
    slope = joined["elasticity"].fillna(0.0).to_numpy(dtype=np.float64)
    expected = joined["mean"].to_numpy() * np.where(moved, relative**slope, 1.0)
    sold = joined["units"].to_numpy(dtype=np.float64)
    wape, noise = _wape_with_noise(expected, sold, joined["product_id"], joined["date"])
    total = float(sold.sum())
    return LiveAccuracy(
        days=int(joined["date"].nunique()),
        cells=len(joined),
        wape=wape,
        noise=noise,
        validated=float(kept["validated_wape"].iloc[0]),
        validated_noise=float(kept["validated_noise"].iloc[0]),
        bias=float((expected - sold).sum() / total) if total > 0 else float("nan"),
    )


def _sold_since(panel: Panel, first: pd.Timestamp) -> pd.DataFrame:
    """Units and price paid of the usable cells from ``first`` on."""
    start = int(np.searchsorted(panel.dates, np.datetime64(first, "D")))
    row, period = np.nonzero(usable_cells(panel)[:, start:])
    period = period + start
    return pd.DataFrame(
        {
            "date": panel.dates[period].astype("datetime64[ns]"),
            "product_id": panel.series["product_id"].to_numpy()[row],
            "store_id": panel.series["store_id"].to_numpy()[row],
            "units": panel.units[row, period],
            "paid": panel.price[row, period],
        }
    )


def _wape_with_noise(
    expected: Floats, sold: Floats, product: pd.Series, date: pd.Series
) -> tuple[float, float]:
    """WAPE and its standard error.

    The larger of the linearised ratio's errors clustered by product and by date, so that neither
    a product nor a day that went wrong counts as many independent ones.
    """
    total = float(sold.sum())
    if total <= 0:
        return float("nan"), float("nan")
    error = np.abs(expected - sold)
    wape = float(error.sum() / total)
    influence = pd.Series(error - wape * sold)
    sums = [influence.groupby(group.to_numpy()).sum().to_numpy() for group in (product, date)]
    return wape, max(
        float(np.sqrt((part**2).sum() * len(part) / max(len(part) - 1, 1))) / total for part in sums
    )
