"""Plots of a search for forecast parameters, as PNG bytes for MLflow and Dagster's page.

Belongs here: drawing. The figures come from ``core.forecast.tuning``.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from pricing_assets.core.forecast.tuning import TrialResult


def history_plot(results: Sequence[TrialResult]) -> bytes:
    """Loss of each trial and the best so far; those stopped early are grey."""
    figure = Figure(figsize=(7, 3), layout="constrained")
    axes = figure.subplots()
    losses = np.asarray([result.loss for result in results])
    pruned = np.asarray([result.pruned for result in results])
    number = np.arange(1, len(results) + 1)
    best = np.minimum.accumulate(np.where(pruned, np.inf, losses))
    axes.scatter(number[pruned], losses[pruned], color="0.7", s=18, label="stopped early")
    axes.scatter(number[~pruned], losses[~pruned], color="#4f7cac", s=18, label="finished")
    axes.plot(number, np.where(np.isfinite(best), best, np.nan), color="#c0504d", label="best")
    axes.set(title="Optimization history", xlabel="trial", ylabel="WAPE")
    axes.legend(frameon=False, fontsize=8)
    return _png(figure)


def importance_plot(shares: Mapping[str, float]) -> bytes:
    """Share of the losses' variance by parameter."""
    figure = Figure(figsize=(7, 2.4), layout="constrained")
    axes = figure.subplots()
    names = sorted(shares, key=lambda name: shares[name])
    axes.barh(names, [shares[name] for name in names], color="#4f7cac")
    axes.set(title="Importance of the parameters", xlabel="share of variance explained")
    return _png(figure)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return buffer.getvalue()
