"""The Bento: made without a network, whole, and able to serve on its own."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import httpx
import pytest
import yaml

from serving.home import Home
from serving.price_store import PriceStore
from tests.published_tables import curve_table, price_table, stamps
from tests.running_service import free_port, wait_until_alive

REPOSITORY = Path(__file__).resolve().parent.parent
REQUIREMENTS = REPOSITORY / "deploy" / "service" / "requirements.txt"
# A proxy that nothing listens on: whoever asks the network fails at once.
NO_NETWORK = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def bento(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bentoml")
    environment = {**os.environ, **NO_NETWORK, "BENTOML_HOME": str(folder)}
    command = [sys.executable, "-m", "bentoml", "build", "--output", "tag"]
    built = subprocess.run(
        command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    name, version = built.stdout.strip().splitlines()[-1].removeprefix("__tag__:").split(":")
    return folder / "bentos" / name / version


def pins(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines()
    return dict(line.split("==", 1) for line in lines if line[:1].isalnum() and "==" in line)


def writer() -> ModuleType:
    path = REPOSITORY / "deploy" / "service" / "write_requirements.py"
    spec = importlib.util.spec_from_file_location("write_requirements", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_holds_the_service_and_nothing_else(bento: Path) -> None:
    source = bento / "src"
    found = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    pages = {"shell.html", "playground.html", "playground.js", "vendor/uPlot.esm.js"}
    assert {"serving/service.py", *(f"serving/playground/{name}" for name in pages)} <= found
    assert "pricing_assets/core/demand.py" in found
    strange = {name for name in found if not name.startswith(("serving/", "pricing_assets/"))}
    assert strange == {"LICENSE", "bentofile.yaml"}
    assert not {name for name in found if name.startswith("pricing_assets/assets")}
    described = yaml.safe_load((bento / "apis" / "openapi.yaml").read_text())
    assert "/explain/{quote_id}" in described["paths"]
    assert json.loads((bento / "apis" / "schema.json").read_text())["name"] == "pricing"


def test_it_asks_for_the_locked_packages(bento: Path) -> None:
    asked, locked = pins(bento / "env" / "python" / "requirements.txt"), pins(REQUIREMENTS)
    assert asked == locked
    assert pins(REPOSITORY / "requirements.lock").items() >= locked.items()
    assert not {"dagster", "mlflow", "torch", "pandas", "lightgbm"} & set(locked)


def test_the_requirements_are_those_of_the_lock() -> None:
    lock = (REPOSITORY / "requirements.lock").read_text()
    assert REQUIREMENTS.read_text() == writer().requirements(lock), "run: make bento"


_LOADED = """
import importlib.metadata, json, os, sys, sysconfig
import serving.__main__, serving.service
root = sysconfig.get_paths()["purelib"]
owners = {}
for found in importlib.metadata.distributions(path=[root]):
    name = found.metadata["Name"]
    for line in (found.read_text("RECORD") or "").splitlines():
        owners[line.split(",")[0]] = name
files = (getattr(module, "__file__", None) or "" for module in list(sys.modules.values()))
names = (os.path.relpath(path, root) for path in files if path.startswith(root))
print(json.dumps(sorted({owners[name] for name in names if name in owners})))
"""
_NOT_ASKED_FOR = {
    "cffi",
    "charset-normalizer",  # an HTTP client uses it where it is installed
    "colorama",  # so does click
    "cryptography",  # and redis
    "greenlet",  # SQLAlchemy uses it where it is installed
    "grpcio-tools",  # and grpc, where it is installed
    "pricing-assets",  # the finder of an editable installation
    "setuptools",  # a .pth file of the environment loads it
}


def test_all_that_it_loads_is_asked_for(bento: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _LOADED],
        cwd=bento / "src",
        capture_output=True,
        text=True,
        check=True,
    )
    normal = {name.lower().replace("_", "-").replace(".", "-") for name in json.loads(done.stdout)}
    assert normal - _NOT_ASKED_FOR <= set(pins(REQUIREMENTS))


def test_it_serves_from_its_own_folder(bento: Path, tmp_path: Path) -> None:
    home, curves = Home.at(tmp_path / "home"), curve_table(4)
    store = PriceStore(home.tables)
    now = datetime.now(UTC)
    prices = price_table(curves)
    store.publish(prices=prices, curves=curves, stamps=stamps(now=now), now=now)
    port = free_port()
    command = [sys.executable, "-m", "serving", "--home", str(home.root)]
    command += ["--port", str(port), "--grpc-port", str(free_port())]
    environment = {**os.environ, **NO_NETWORK, "PYTHONPATH": str(bento / "src")}
    with (
        subprocess.Popen(command, cwd=bento / "src", env=environment) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client,
    ):
        try:
            wait_until_alive(client, process)
            answer = client.post("/get_price", json={"product_id": "SKU-1"})
        finally:
            process.terminate()
    assert answer.json()["recommended_price"] == prices["recommended_price"][1].as_py()
