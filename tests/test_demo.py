"""The main job from nothing, on a market small enough for a test."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from pricing_assets.core.errors import InputError
from pricing_assets.demo import demo, main
from pricing_assets.servers import LOOPBACK, free_port, refuse_taken_port
from serving.home import Home
from serving.price_store import PriceStore


def test_it_serves_the_price_that_it_published(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "pricing.yaml"
    config.write_text("forecast: {n_estimators: 10, training_origins: 2, backtest_origins: 1}\n")
    home = tmp_path / "home"
    code = demo(home=str(home), data=None, config=str(config), products=12, days=120)
    said = capfd.readouterr().out
    assert code == 0
    for wanted in (
        "simulating a market of 12 products x 120 days",
        "published_price_table done in",
        "WAPE",
        "own-price elasticity: mean",
        "of the oracle's uplift",
        "90 % interval of gain",
        "MLflow run",
        "make dev",
    ):
        assert wanted in said
    answer = json.loads(said[said.index("     {") : said.index("     }") + 6])
    table = PriceStore(Home.at(home).tables).read_current()
    prices = table.prices.to_pandas().set_index("product_id")
    assert answer["recommended_price"] == prices["recommended_price"][answer["product_id"]]
    assert answer["table_version"] == table.version
    over_grpc = said[said.index("pricing.v1.PricingService/GetPrice") :].splitlines()[1]
    assert over_grpc.strip().startswith(f"{answer['recommended_price']} USD from table, table")
    assert table.version in over_grpc


def test_bad_data_ends_with_2_and_one_clear_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = ["--home", str(tmp_path / "home")]
    assert main([*place, "--data", str(tmp_path / "absent")]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1


def test_a_taken_port_is_refused_and_another_is_found() -> None:
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match="another port"):
            refuse_taken_port(port)
        assert free_port(port) != port


def test_the_environment_is_put_back(tmp_path: Path) -> None:
    before = dict(os.environ)
    main(["--home", str(tmp_path / "home"), "--data", str(tmp_path / "absent")])
    assert dict(os.environ) == before
