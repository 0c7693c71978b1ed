"""The health of the service: right with several workers, and an alarm for each planted trouble."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from serving.health import service_counts
from serving.health_alarms import alarms
from serving.metric_totals import MetricTotals
from tests.running_service import Running, running_service

CALM: dict[str, Any] = {
    "now": "2026-03-02T08:00:00+00:00",
    "versions": {"valid_until": "2026-03-04T08:00:00+00:00", "overridden": []},
    "freeze": {"everything": False, "damaged": False, "count": 0, "products": []},
    "quotes": {"table": 900.0, "rule": 10.0},
    "rung_failures": {"live": 0.0},
    "guard_rail_refusals": {"live": 0.0},
    "errors": {"404": 3.0},
    "redis": {"failures": 0.0, "workers_not_asking": 0.0},
    "table_loads": {"loaded": 2.0},
    "audit": {"records": 910.0, "refusals": 0.0, "failures": 0.0},
    "reports": {"drift": None, "gate": None},
}
TROUBLES = [
    (("versions",), None, "bad", "No price table"),
    (("versions", "valid_until"), "2026-03-02T07:00:00+00:00", "bad", "expired"),
    (("versions", "valid_until"), "2026-03-02T09:00:00+00:00", "warn", "within 6 hours"),
    (("versions", "overridden"), ["40 % of the prices fall"], "warn", "by an override"),
    (("table_loads", "refused"), 1.0, "warn", "damaged and refused"),
    (("freeze", "everything"), True, "bad", "Every price is frozen"),
    (("freeze", "damaged"), True, "bad", "freeze.json"),
    (("audit", "failures"), 2.0, "bad", "audit log"),
    (("guard_rail_refusals", "live"), 1.0, "bad", "guard rails"),
    (("errors", "500"), 4.0, "bad", "failed on 4 requests"),
    (("rung_failures", "live"), 5.0, "warn", "live 5 times"),
    (("redis", "workers_not_asking"), 2.0, "warn", "2 workers"),
    (("quotes", "current"), 400.0, "warn", "from a rule"),
    (("reports", "drift"), {"unreadable": "it holds NaN"}, "warn", "drift.json is damaged"),
    (("reports", "drift"), {"alarms": [{"name": "a_b", "why": "psi"}]}, "warn", "a b: psi"),
    (("reports", "gate"), {"alarms": [{"name": "cover", "why": "low"}]}, "warn", "cover"),
]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running_service(tmp_path_factory.mktemp("home"), workers=2) as running:
        version = running.publish(1.05)
        running.until(lambda: all(running.ready_version() == version for _ in range(5)))
        yield running


def planted(path: tuple[str, ...], value: object) -> dict[str, Any]:
    state = deepcopy(CALM)
    *above, last = path
    place = state
    for name in above:
        place = place[name]
    place[last] = value
    return state


def test_a_calm_service_raises_nothing() -> None:
    assert alarms(CALM) == []


@pytest.mark.parametrize(("path", "value", "level", "said"), TROUBLES)
def test_each_trouble_raises_its_alarm(
    path: tuple[str, ...], value: object, level: str, said: str
) -> None:
    (found,) = alarms(planted(path, value))
    assert found.level == level
    assert said in found.what
    assert found.action


def test_the_worst_comes_first() -> None:
    state = planted(("redis", "workers_not_asking"), 1.0)
    state["freeze"]["everything"] = True
    assert [alarm.level for alarm in alarms(state)] == ["bad", "warn"]


def test_quantiles_are_those_of_the_observations() -> None:
    registry = CollectorRegistry()
    bounds = [round(0.001 * i, 3) for i in range(1, 101)]
    histogram = Histogram("h", "of a test", ["endpoint"], buckets=bounds, registry=registry)
    values = np.random.default_rng(3).gamma(4.0, 0.005, 4000)
    for value in values:
        histogram.labels(endpoint="a").observe(value)
    found = MetricTotals(registry.collect()).histograms("h", "endpoint")["a"]
    for share in (0.5, 0.95, 0.99):
        # A quantile is known to the width of its bucket, a millisecond.
        assert found.quantile(share) == pytest.approx(np.quantile(values, share), abs=1e-3)
    assert found.mean == pytest.approx(values.mean())
    assert found.count == 4000


def test_a_quantile_beyond_the_last_bound_is_that_bound_and_of_nothing_none() -> None:
    registry = CollectorRegistry()
    histogram = Histogram("h", "of a test", ["endpoint"], buckets=[1.0, 2.0], registry=registry)
    histogram.labels(endpoint="a").observe(50.0)
    histogram.labels(endpoint="b")
    found = MetricTotals(registry.collect()).histograms("h", "endpoint")
    assert found["a"].quantile(0.5) == 2.0
    assert found["b"].quantile(0.5) is None
    assert found["b"].mean is None


def test_counts_of_a_service_that_was_never_asked_are_no_zeros_for_unknown() -> None:
    registry = CollectorRegistry()
    Counter("pricing_audit_records", "of a test", registry=registry)
    counts = service_counts(MetricTotals(registry.collect()))
    assert counts["cache"]["hit_ratio"] is None
    assert counts["latency"] == []
    assert counts["audit"]["records"] == 0


def health(service: Running) -> dict[str, Any]:
    """Asked over a new connection, so that any worker may answer."""
    return httpx.get(f"{service.base_url}/health.json", trust_env=False).json()


def test_every_worker_tells_the_sum_over_all(service: Running) -> None:
    before = sum(health(service)["quotes"].values())
    for _ in range(40):
        with httpx.Client(base_url=service.base_url, trust_env=False) as client:
            assert client.post("/get_price", json={"product_id": "SKU-1"}).status_code == 200
    service.until(lambda: sum(health(service)["quotes"].values()) == before + 40)
    told = [health(service) for _ in range(12)]
    assert {sum(one["quotes"].values()) for one in told} == {before + 40}
    latency = {row["endpoint"]: row for row in told[-1]["latency"]}
    assert latency["get_price"]["count"] == before + 40
    assert 0 < latency["get_price"]["p50"] <= latency["get_price"]["p99"]
    assert told[-1]["versions"]["table_version"] == service.ready_version()


def test_reports_of_the_pipeline_are_passed_on(service: Running) -> None:
    assert health(service)["reports"] == {"drift": None, "gate": None}
    folder: Path = service.home.reports
    folder.mkdir(exist_ok=True)
    drift = {"generated_at": "2026-03-01T00:00:00+00:00", "checks": [], "alarms": []}
    (folder / "drift.json").write_text(json.dumps(drift))
    (folder / "gate.json").write_text("{")
    found = health(service)["reports"]
    assert found["drift"] == drift
    assert "unreadable" in found["gate"]


def test_the_chains_are_checked_when_asked_and_a_changed_one_is_found(service: Running) -> None:
    service.price("SKU-2")
    service.until(lambda: health(service)["audit_log"]["heads"] != [])
    assert service.client.get("/audit_check").json()["intact"] is True
    service.until(lambda: service.client.get("/audit_check").json()["quotes"] > 0)
    segment = max(service.home.audit.glob("*.jsonl"), key=lambda path: path.stat().st_size)
    content = segment.read_bytes()
    segment.write_bytes(content.replace(b'"SKU-', b'"SKV-', 1))
    found = service.client.get("/audit_check").json()
    assert found["intact"] is False
    assert any("not those that were sealed" in problem for problem in found["problems"])
