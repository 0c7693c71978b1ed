"""The shape of the code: the arrow, purity of the core, size, and nothing that unpickles."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

REPOSITORY = Path(__file__).resolve().parent.parent
PRODUCT = ("pricing_assets", "resources", "serving")
CORE = REPOSITORY / "pricing_assets" / "core"
MODULE_LINES = 400
FUNCTION_LINES = 40
UNPICKLING_MODULES = {"pickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
UNPICKLING_CALLS = {
    "eval",
    "exec",
    "compile",
    "__import__",
    "torch.load",
    "torch.save",
    "mlflow.pyfunc.load_model",
}
UNPICKLING_NAMES = {"read_pickle", "to_pickle"}
IMPURE_MODULES = {"os", "subprocess", "socket", "shutil", "tempfile", "time", "urllib", "requests"}
IMPURE_CALLS = {"open", "input", "print"}
IMPURE_METHODS = {
    "now",
    "utcnow",
    "today",
    "read_text",
    "read_bytes",
    "write_text",
    "write_bytes",
    "read_csv",
    "read_parquet",
    "to_csv",
    "to_parquet",
    "savefig",
}
LIGHT_CORE = ("settings", "tables", "errors", "demand", "guardrails")


def product_files() -> list[Path]:
    """Every Python file of the product, generated protobuf code left out."""
    found = [path for name in PRODUCT for path in sorted((REPOSITORY / name).rglob("*.py"))]
    return [path for path in found if not path.stem.endswith(("_pb2", "_pb2_grpc"))]


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imported_roots(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, top-level module) of each import, those inside functions among them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.lineno, node.module.split(".")[0]


def calls(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of each call whose target is a plain dotted name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func)


def at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(REPOSITORY)}:{line}: {what}"


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_every_module_has_its_place_in_the_arrow() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(item["layers"] for item in contracts if item["id"] == "arrow")
    placed = {name.strip(" ()") for layer in layers for name in layer.split(":")}
    top = REPOSITORY / "pricing_assets"
    found = {f"pricing_assets.{path.stem}" for path in top.glob("*.py")}
    assert found - {"pricing_assets.__init__"} <= placed


def test_every_folder_of_code_is_a_package() -> None:
    """The import linter sees packages only: a folder without __init__.py would escape it."""
    folders = {path.parent for path in product_files()}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").is_file()]


def test_package_init_holds_a_docstring_only() -> None:
    heavy = [
        at(path, node.lineno, ast.unparse(node)[:60])
        for path in product_files()
        if path.name == "__init__.py"
        for node in tree_of(path).body
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
    ]
    assert not heavy


def test_core_touches_no_file_environment_or_clock() -> None:
    faults = []
    for path in sorted(CORE.rglob("*.py")):
        tree = tree_of(path)
        faults += [at(path, n, name) for n, name in imported_roots(tree) if name in IMPURE_MODULES]
        faults += [
            at(path, n, name)
            for n, name in calls(tree)
            if name in IMPURE_CALLS or ("." in name and name.rsplit(".", 1)[1] in IMPURE_METHODS)
        ]
    assert not faults


def test_nothing_in_the_product_unpickles_or_evaluates() -> None:
    faults = []
    for path in product_files():
        tree = tree_of(path)
        faults += [
            at(path, n, name) for n, name in imported_roots(tree) if name in UNPICKLING_MODULES
        ]
        faults += [
            at(path, n, name)
            for n, name in calls(tree)
            if name in UNPICKLING_CALLS or name.rsplit(".", 1)[-1] in UNPICKLING_NAMES
        ]
    assert not faults


def test_no_pickle_is_let_in_through_numpy() -> None:
    faults = [
        at(path, node.lineno, "allow_pickle")
        for path in product_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.keyword)
        and node.arg == "allow_pickle"
        and not (isinstance(node.value, ast.Constant) and node.value.value is False)
    ]
    assert not faults


def test_modules_and_functions_stay_small() -> None:
    faults = []
    for path in product_files():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines >= MODULE_LINES:
            faults.append(at(path, lines, f"{lines} lines; under {MODULE_LINES} wanted"))
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                faults += too_long(path, node)
    assert not faults


def too_long(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """A fault where the code of a function, docstring left out, is longer than allowed."""
    body = node.body[1:] if ast.get_docstring(node, clean=False) is not None else node.body
    length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
    if length <= FUNCTION_LINES:
        return []
    return [at(path, node.lineno, f"{node.name} has {length} lines; {FUNCTION_LINES} at most")]


def test_no_module_is_a_drawer() -> None:
    """No utils, no helpers, no numbered files."""
    drawers = {"utils", "util", "helpers", "helper", "common", "misc"}
    numbered = re.compile(r"^\d|_\d+$|_v\d+$")
    assert not [
        str(path) for path in product_files() if path.stem in drawers or numbered.search(path.stem)
    ]


def test_core_errors_are_raised_by_name() -> None:
    """No bare Exception leaves the product: each error has a class that says the cure."""
    faults = [
        at(path, node.lineno, ast.unparse(node)[:60])
        for path in product_files()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Raise)
        and node.exc is not None
        and ast.unparse(node.exc).split("(")[0] in {"Exception", "BaseException"}
    ]
    assert not faults


def loaded_by(module: str, unwanted: tuple[str, ...]) -> str:
    """Which of ``unwanted`` a fresh interpreter holds after importing ``module``."""
    program = (
        f"import sys; import {module}; "
        f"print(','.join(name for name in {unwanted!r} if name in sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", LIGHT_CORE)
def test_light_core_loads_no_pandas(name: str) -> None:
    assert loaded_by(f"pricing_assets.core.{name}", ("pandas", "torch", "lightgbm")) == ""


@pytest.mark.parametrize("module", ["serving.quote", "serving.live_quote", "serving.price_cache"])
def test_the_quote_loads_no_framework(module: str) -> None:
    unwanted = ("dagster", "mlflow", "torch", "pandas", "bentoml", "lightgbm")
    assert loaded_by(module, unwanted) == ""


def test_the_service_loads_only_what_it_answers_with() -> None:
    unwanted = ("dagster", "mlflow", "torch", "pandas", "lightgbm", "sklearn", "matplotlib")
    assert loaded_by("serving.service", unwanted) == ""


def test_dependencies_are_pinned_and_locked() -> None:
    """What pyproject.toml pins, the lock holds; torch without a local version."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    text = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    locked = {line.strip().lower() for line in text.splitlines()}
    pins = [re.sub(r"\[.*\]", "", pin).lower() for pin in wanted if "==" in pin]
    assert not [pin for pin in pins if pin not in locked]
    assert not [line for line in locked if line.startswith("torch==") and "+" in line]
