"""The metrics added up over the workers, as numbers for a page.

Belongs here: reading counters, gauges and histograms back by name and label. Their names are
``metrics``; for Prometheus itself the exposition is BentoML's.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from prometheus_client import REGISTRY, CollectorRegistry, Metric
from prometheus_client.multiprocess import MultiProcessCollector

Labels = frozenset[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class HistogramTotal:
    """One histogram: ascending (upper bound, cumulated count), the last bound infinite."""

    buckets: tuple[tuple[float, float], ...]
    total: float

    @property
    def count(self) -> float:
        """Observations."""
        return self.buckets[-1][1] if self.buckets else 0.0

    @property
    def mean(self) -> float | None:
        """Mean of the observations; None without any."""
        return self.total / self.count if self.count else None

    def quantile(self, probability: float) -> float | None:
        """The quantile, linear inside its bucket as Prometheus does it; None without observations.

        Beyond the last finite bound it is that bound: no more is known.
        """
        if not self.count:
            return None
        wanted, below, lower = probability * self.count, 0.0, 0.0
        for bound, cumulated in self.buckets:
            if cumulated >= wanted:
                if math.isinf(bound):
                    return lower
                share = (wanted - below) / (cumulated - below) if cumulated > below else 0.0
                return lower + share * (bound - lower)
            below, lower = cumulated, bound
        return lower


class MetricTotals:
    """All metrics at one moment, by sample name and labels."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._samples: dict[str, dict[Labels, float]] = {}
        for metric in found:
            for sample in metric.samples:
                labels = frozenset(sample.labels.items())
                self._samples.setdefault(sample.name, {})[labels] = sample.value

    @classmethod
    def now(cls) -> MetricTotals:
        """The sums over all workers; with one worker, its own. Reads files with several."""
        registry = REGISTRY
        if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
            registry = CollectorRegistry()
            MultiProcessCollector(registry)
        return cls(registry.collect())

    def value(self, name: str, **labels: str) -> float | None:
        """One sample; None where it was never set."""
        return self._samples.get(name, {}).get(frozenset(labels.items()))

    def by(self, name: str, label: str) -> dict[str, float]:
        """The samples of ``name`` by one label, summed over the others."""
        found: dict[str, float] = {}
        for labels, value in self._samples.get(name, {}).items():
            key = dict(labels).get(label, "")
            found[key] = found.get(key, 0.0) + value
        return found

    def histograms(self, name: str, label: str) -> Mapping[str, HistogramTotal]:
        """The histograms of ``name`` by one label."""
        buckets: dict[str, dict[float, float]] = {}
        for labels, value in self._samples.get(f"{name}_bucket", {}).items():
            named = dict(labels)
            counts = buckets.setdefault(named.get(label, ""), {})
            bound = float(named["le"])
            counts[bound] = counts.get(bound, 0.0) + value
        sums = self.by(f"{name}_sum", label)
        return {
            key: HistogramTotal(tuple(sorted(counts.items())), sums.get(key, 0.0))
            for key, counts in buckets.items()
        }
