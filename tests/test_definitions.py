"""The definitions: they load, every asset is documented, every published table is checked."""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import dagster as dg
import pytest

from pricing_assets import definitions
from pricing_assets.definitions import STAGES, build_definitions

ROOT = Path(__file__).resolve().parent.parent
GROUPS = [
    "raw_tables",
    "streams",
    "features",
    "demand_forecast",
    "elasticity",
    "price_table",
    "price_shards",
    "monitoring",
    "evaluation",
    "registration",
    "publication",
]
BODY_LINES = 25


@pytest.fixture(scope="module")
def built() -> dg.Definitions:
    return build_definitions()


@pytest.fixture(scope="module")
def graph(built: dg.Definitions) -> dg.AssetGraph:
    return built.resolve_asset_graph()


def test_every_asset_says_what_it_is(graph: dg.AssetGraph) -> None:
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        assert node.description, key
        assert node.kinds, key
        assert all(owner.startswith("team:") for owner in node.owners), key
        assert node.owners, key
        assert node.code_version, key
        assert node.group_name in GROUPS, key


def test_groups_follow_the_flow(graph: dg.AssetGraph) -> None:
    place = {name: number for number, name in enumerate(GROUPS)}
    for key in graph.get_all_asset_keys():
        node = graph.get(key)
        for parent in node.parent_keys:
            assert place[graph.get(parent).group_name] <= place[node.group_name], (parent, key)
    assert {graph.get(key).group_name for key in graph.get_all_asset_keys()} == set(GROUPS)


def test_every_group_ends_in_a_blocking_check(built: dg.Definitions, graph: dg.AssetGraph) -> None:
    holders = [*(built.asset_checks or ()), *(built.assets or ())]
    specs = [spec for holder in holders for spec in getattr(holder, "check_specs", ())]
    blocked = {graph.get(spec.asset_key).group_name for spec in specs if spec.blocking}
    assert blocked == set(GROUPS)
    tables = ("price_table", "published_price_table", "demand_curves", "own_price_elasticity")
    for table in tables:
        assert any(spec.blocking and spec.asset_key == dg.AssetKey(table) for spec in specs), table


def test_the_functions_of_the_stages_are_thin() -> None:
    for module in STAGES:
        for node in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                assert lines <= BODY_LINES, f"{module.__name__}.{node.name}: {lines} lines"


def test_the_environment_is_read_when_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "pricing.yaml"
    config.write_text("currency: EUR\norchestration: {executor: multiprocess}\n")
    monkeypatch.setenv("PRICING_HOME", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("PRICING_CONFIG", str(config))
    built = build_definitions()
    resources = built.resources or {}
    assert resources["settings"].settings().currency == "EUR"
    assert resources["io_manager"].base == str(tmp_path / "elsewhere" / "assets")
    assert built.executor.name == "multiprocess"
    assert definitions.defs.executor.name == "in_process"


def test_resources_can_be_replaced() -> None:
    memory = dg.InMemoryIOManager()
    built = build_definitions(resource_overrides={"io_manager": memory})
    assert (built.resources or {})["io_manager"] is memory


def test_dagster_accepts_the_definitions_from_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    ran = subprocess.run(
        [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        cwd=ROOT,
        env={
            **os.environ,
            "DAGSTER_HOME": str(tmp_path),
            "DAGSTER_DISABLE_TELEMETRY": "true",
            "PRICING_HOME": str(tmp_path / "home"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "All code locations passed validation" in ran.stdout + ran.stderr


def test_loading_the_definitions_loads_no_mlflow() -> None:
    probe = textwrap.dedent(
        """
        import sys
        import pricing_assets.definitions
        print(sorted({"mlflow", "torch", "bentoml"} & set(sys.modules)))
        """
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"
