"""The files that others run: Dockerfile, compose, Prometheus and Grafana, checked without them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from serving import metrics

DEPLOY = Path(__file__).resolve().parent.parent / "deploy"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
WORDS = {"sum", "rate", "by", "le", "increase", "histogram_quantile", "time", "or", "and", "up"}


def own_samples() -> dict[str, set[str]]:
    """Names that the service's metrics show in an exposition, with their labels."""
    found: dict[str, set[str]] = {"cache_hit_ratio": set()}
    mine = {id(value) for value in vars(metrics).values()}
    for collector, names in REGISTRY._collector_to_names.items():
        if id(collector) in mine:
            labels = set(getattr(collector, "_labelnames", ()))
            for name in names:
                found[name] = labels | ({"le"} if name.endswith("_bucket") else set())
    return found


def expressions() -> Iterator[tuple[str, str]]:
    """(where, PromQL) of each query in the dashboards and each alert."""
    for path in DASHBOARDS:
        for panel in json.loads(path.read_text())["panels"]:
            yield from ((f"{path.name}: {panel['title']}", t["expr"]) for t in panel["targets"])
    for rule in rules():
        yield f"{ALERTS.name}: {rule['alert']}", rule["expr"]


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize(("where", "query"), list(expressions()))
def test_every_query_asks_for_what_the_service_counts(where: str, query: str) -> None:
    samples = own_samples()
    bare = re.sub(r'"[^"]*"', '""', query)
    assert bare.count("(") == bare.count(")") and bare.count("{") == bare.count("}")
    names = set(re.findall(r"[a-z_][a-z0-9_]*", re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", bare)))
    labels = {label for found in samples.values() for label in found}
    used = names - WORDS - labels
    assert used or "up" in names
    assert used <= set(samples), f"{where} asks for {used - set(samples)}"
    for name, selector in re.findall(r"([a-z_]+)\{([^}]*)\}", bare):
        if name != "up":
            assert set(re.findall(r"([a-z_]+)\s*[=!]", selector)) <= samples[name], where


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_a_dashboard_is_whole(path: Path) -> None:
    board = json.loads(path.read_text())
    assert {"uid", "title", "schemaVersion", "panels", "templating", "time"} <= set(board)
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["type"] in {"timeseries", "stat", "heatmap"}
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        assert panel["description"] and panel["title"] and panel["targets"]
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        assert not cells & taken
        taken |= cells


def test_the_dashboard_shows_every_metric_of_the_contract() -> None:
    asked = " ".join(query for _, query in expressions())
    for name in (
        "pricing_api_latency_seconds",
        "gpu_batch_processing_time",
        "cache_hit_ratio",
        "model_inference_time",
        "price_change_magnitude",
        "revenue_impact",
    ):
        assert name in asked


def test_every_alert_says_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert set(rule["annotations"]) == {"summary", "action"}
        assert re.fullmatch(r"\d+[smh]", rule.get("for", "0s"))


def test_prometheus_reads_the_rules_with_the_token() -> None:
    settings = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    assert settings["rule_files"] == [ALERTS.name]
    (job,) = settings["scrape_configs"]
    assert job["job_name"] == "pricing"
    assert job["authorization"]["credentials_file"] == "/run/pricing_token"


def instructions() -> list[tuple[str, str]]:
    text = (DEPLOY / "service" / "Dockerfile").read_text()
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_the_image_runs_the_service_as_nobody_special() -> None:
    steps = instructions()
    assert {kind for kind, _ in steps} <= {
        *("FROM", "RUN", "COPY", "WORKDIR", "USER", "ENV", "VOLUME", "EXPOSE", "HEALTHCHECK"),
        "CMD",
    }
    copied = [shlex.split(rest) for kind, rest in steps if kind == "COPY"]
    from_bento = {words[0] for words in copied if not words[0].startswith("--from")}
    assert from_bento == {"env/python/requirements.txt", "src"}
    assert ("USER", "pricing") in steps
    command = json.loads(next(rest for kind, rest in steps if kind == "CMD"))
    assert command[:3] == ["python", "-m", "serving"]
    ports = {rest for kind, rest in steps if kind == "EXPOSE"}
    assert ports == {"8080 50051"}
    assert "--port 8080 --grpc-port 50051" in " ".join(command)


def test_compose_keeps_the_service_behind_a_token_and_on_loopback() -> None:
    whole = yaml.safe_load((DEPLOY / "service" / "compose.yaml").read_text())
    services = whole["services"]
    assert {"service", "redis"} <= set(services)
    mine = services["service"]
    assert mine["environment"]["PRICING_API_TOKEN"].startswith("${PRICING_API_TOKEN:?")
    assert mine["environment"]["PRICING_REDIS_URL"] == "redis://redis:6379/0"
    assert "redis" in mine["depends_on"]
    assert "ports" not in services["redis"]
    for service in services.values():
        assert "build" in service or re.search(r":v?\d", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith(".."):
                assert (DEPLOY / "service" / source).resolve().is_dir()
    assert mine["build"]["dockerfile"].endswith("deploy/service/Dockerfile")
