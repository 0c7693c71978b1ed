"""Write the configuration tables from ``core.settings``, so that they cannot go stale.

``make docs`` writes docs/configuration.md and the marked table in README.md;
tests/test_documentation.py compares both with what this module would write.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from pricing_assets.core.settings import PricingSettings

REPOSITORY = Path(__file__).resolve().parent.parent
README = REPOSITORY / "README.md"
REFERENCE = REPOSITORY / "docs" / "configuration.md"
BEGIN = "<!-- configuration: written by make docs -->"
END = "<!-- end of configuration -->"
_HEADER = ("| key | default | allowed | meaning |", "|---|---|---|---|")
_BOUNDS = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))


def readme_with_table(text: str) -> str:
    """``text`` with the table between the markers written anew: top-level keys only."""
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    table = "\n".join([*_HEADER, *_rows(PricingSettings, deep=False)])
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def reference_page() -> str:
    """docs/configuration.md: every key, section by section."""
    lines = [
        "# Configuration",
        "",
        "<!-- written by make docs from pricing_assets/core/settings.py; edit there -->",
        "",
        "One YAML file, named by `PRICING_CONFIG` or `--config`. Every key has a default, so an",
        "empty file is a valid one. An unknown key is an error that names the nearest one.",
        "",
        "## Top level",
        "",
        *_HEADER,
        *_rows(PricingSettings, deep=False),
    ]
    for name, section in _sections():
        lines += ["", f"## {name}", "", _docstring(section), "", *_HEADER, *_rows(section)]
    return "\n".join(lines) + "\n"


def _sections() -> Iterator[tuple[str, type[BaseModel]]]:
    for name, field in PricingSettings.model_fields.items():
        if _is_section(field):
            assert isinstance(field.annotation, type)
            yield name, field.annotation


def _is_section(field: FieldInfo) -> bool:
    annotation = field.annotation
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _rows(model: type[BaseModel], *, deep: bool = True) -> list[str]:
    return [
        f"| `{name}` | {_default(field)} | {_allowed(field)} | {field.description or ''} |"
        for name, field in model.model_fields.items()
        if deep or not _is_section(field)
    ]


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    assert value is not PydanticUndefined, "every setting has a default"
    return "none" if value is None else f"`{json.dumps(value, ensure_ascii=False)}`"


def _allowed(field: FieldInfo) -> str:
    choices = _choices(field.annotation)
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    bounds = [
        f"{sign} {getattr(rule, name)}"
        for rule in field.metadata
        for name, sign in _BOUNDS
        if getattr(rule, name, None) is not None
    ]
    patterns = [f"`{rule.pattern}`" for rule in field.metadata if getattr(rule, "pattern", None)]
    return ", ".join([*bounds, *patterns])


def _choices(annotation: Any) -> tuple[str, ...]:
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def _docstring(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


if __name__ == "__main__":
    REFERENCE.write_text(reference_page(), encoding="utf-8")
    README.write_text(readme_with_table(README.read_text(encoding="utf-8")), encoding="utf-8")
