"""What the documentation says of the settings and the commands is what the code has."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
PAGES = ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/methods.md", "docs/scale.md")


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    path = REPOSITORY / "docs" / "generate_configuration.py"
    spec = importlib.util.spec_from_file_location("generate_configuration", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def test_configuration_reference_is_current(generator: ModuleType) -> None:
    assert text_of("docs/configuration.md") == generator.reference_page(), "run: make docs"


def test_readme_configuration_is_current(generator: ModuleType) -> None:
    readme = text_of("README.md")
    assert readme == generator.readme_with_table(readme), "run: make docs"


def test_every_setting_is_described(generator: ModuleType) -> None:
    assert not [line for line in generator.reference_page().splitlines() if line.endswith("|  |")]


@pytest.mark.parametrize("page", PAGES)
def test_targets_that_are_named_exist(page: str) -> None:
    targets = set(re.findall(r"^([a-z]+):", text_of("Makefile"), flags=re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", text_of(page), flags=re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    pattern = r"`((?:docs|tests|core|examples)/[\w/]*\.?\w*|[A-Z]+(?:\.md)?(?=`))`"
    named = [name for name in re.findall(pattern, text_of(page)) if "test_x" not in name]
    roots = (REPOSITORY, REPOSITORY / "pricing_assets")
    files = [name for name in named if "/" in name or name in {"LICENSE", "CONTRIBUTING.md"}]
    assert not [name for name in files if not any((root / name).exists() for root in roots)]


def test_every_raw_table_is_documented() -> None:
    from pricing_assets.core.tables import RAW_TABLES

    readme = text_of("README.md")
    rows = {line.split("|")[1].strip(" `"): line for line in readme.splitlines() if "|" in line}
    for name, schema in RAW_TABLES.items():
        missing = [column.name for column in schema.columns if column.name not in rows[name]]
        assert not missing, f"README.md, table {name}"
