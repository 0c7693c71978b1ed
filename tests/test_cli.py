"""The program ``pricing``: what each subcommand writes, prints and ends with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from upath import UPath

from pricing_assets.cli import build_parser, main
from pricing_assets.core.market import MarketParameters, simulate_market
from resources.asset_store import store_value
from serving.home import Home

SUBCOMMANDS = (
    "simulate",
    "run",
    "demo",
    "export",
    "forecast",
    "elasticities",
    "status",
    "explain",
    "publish",
    "rollback",
    "freeze",
    "unfreeze",
    "serve",
    "dev",
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home that holds one run's forecast and elasticities."""
    place = Home.at(tmp_path / "home")
    forecast = pd.DataFrame(
        {
            "date": pd.to_datetime(["2024-01-01", "2024-01-02"]),
            "product_id": "A",
            "store_id": "",
            "q10": 1.0,
            "q50": 2.0,
            "q90": 3.0,
            "mean": 2.0,
        }
    )
    elasticities = pd.DataFrame(
        {
            "product_id": ["A", "A"],
            "store_id": ["S1", "S2"],
            "category": "c",
            "own_price_elasticity": -2.0,
            "sd": 0.2,
            "low_90": -2.3,
            "high_90": -1.7,
            "method": "panel",
        }
    )
    store_value(UPath(place.assets) / "demand_forecast", forecast)
    store_value(UPath(place.assets) / "own_price_elasticity", elasticities)
    return place


def test_every_subcommand_has_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in SUBCOMMANDS:
        with pytest.raises(SystemExit) as ended:
            main([name, "--help"])
        assert ended.value.code == 0
        assert name in capsys.readouterr().out
    listed = build_parser().format_help()
    assert all(name in listed for name in SUBCOMMANDS)


def test_help_loads_nothing_heavy() -> None:
    probe = (
        "import sys; from pricing_assets.cli import build_parser; build_parser().format_help(); "
        "heavy = {'dagster', 'mlflow', 'torch', 'pandas', 'bentoml'}; "
        "print(sorted(heavy & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("file_format", ["parquet", "csv"])
def test_simulate_writes_the_market_that_its_file_names(tmp_path: Path, file_format: str) -> None:
    out = tmp_path / "raw"
    arguments = ["--products", "5", "--days", "60", "--seed", "3", "--format", file_format]
    assert main(["simulate", "--out", str(out), *arguments]) == 0
    parameters = json.loads((out / "market.json").read_text())
    market = simulate_market(MarketParameters(**parameters))
    path = out / f"sales.{file_format}"
    sales = pd.read_csv(path) if file_format == "csv" else pd.read_parquet(path)
    assert sales["units"].tolist() == market.raw_tables()["sales"]["units"].tolist()


def test_simulate_in_another_format_leaves_no_table_twice(tmp_path: Path) -> None:
    small = ["simulate", "--out", str(tmp_path), "--products", "2", "--days", "40"]
    assert main([*small, "--format", "csv"]) == 0
    assert main([*small, "--format", "parquet"]) == 0
    assert not list(tmp_path.glob("*.csv"))


def test_forecast_and_elasticities_have_the_contracts_columns(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "f.csv"
    assert main(["forecast", "--home", str(home.root), "--out", str(out)]) == 0
    frame = pd.read_csv(out)
    assert list(frame.columns) == ["date", "product_id", "q10", "q50", "q90", "mean"]
    assert frame["date"].tolist() == ["2024-01-01", "2024-01-02"]
    out = tmp_path / "e.parquet"
    assert main(["elasticities", "--home", str(home.root), "--out", str(out)]) == 0
    assert list(pd.read_parquet(out).columns) == [
        "product_id",
        "store_id",
        "own_price_elasticity",
        "sd",
        "low_90",
        "high_90",
        "method",
    ]


def test_exports_load_neither_dagster_nor_torch(home: Home, tmp_path: Path) -> None:
    probe = (
        "import sys; from pricing_assets.cli import main; "
        f"main(['forecast', '--home', {str(home.root)!r}, '--out', {str(tmp_path / 'f.csv')!r}]); "
        "print([m for m in ('dagster', 'mlflow', 'torch') if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "--home", "HOME", "--out", "TMP/p.csv"], "published"),
        (["forecast", "--home", "EMPTY", "--out", "TMP/p.csv"], "pricing run"),
        (["forecast", "--home", "HOME", "--out", "TMP/p.xlsx"], "neither .csv nor .parquet"),
        (["forecast", "--home", "HOME", "--out", "TMP/no/p.csv"], "does not exist"),
        (["status", "--home", "EMPTY"], "published"),
        (["rollback", "--home", "EMPTY"], "no earlier table"),
        (["run", "--home", "EMPTY", "--data", "TMP/absent"], "absent"),
        (["simulate", "--out", "TMP/raw", "--products", "0"], "--products 0"),
        (["simulate", "--out", "TMP/raw", "--days", "3"], "--days 3"),
    ],
)
def test_bad_input_ends_with_2_and_one_clear_line(
    home: Home,
    tmp_path: Path,
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {"HOME": str(home.root), "EMPTY": str(tmp_path / "empty")}
    filled = [places.get(word, word.replace("TMP", str(tmp_path))) for word in arguments]
    assert main(filled) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert said in lines[0]


def test_an_unknown_configuration_key_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "pricing.yaml"
    config.write_text("objectiv: revenue\n")
    main(["simulate", "--out", str(tmp_path / "raw"), "--products", "2", "--days", "40"])
    place = ["--home", str(tmp_path / "home"), "--data", str(tmp_path / "raw")]
    assert main(["run", *place, "--config", str(config)]) == 2
    error = capsys.readouterr().err.strip()
    assert "'objective'" in error
    assert len(error.splitlines()) == 1


def test_profit_without_a_cost_says_what_to_do_before_anything_is_trained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    main(["simulate", "--out", str(raw), "--products", "3", "--days", "60", "--format", "csv"])
    (raw / "costs.csv").unlink()
    products = pd.read_csv(raw / "products.csv")
    products.drop(columns="unit_cost", errors="ignore").to_csv(raw / "products.csv", index=False)
    assert main(["run", "--home", str(tmp_path / "home"), "--data", str(raw)]) == 2
    lines = capfd.readouterr().err.strip().splitlines()
    assert "objective: revenue" in lines[-1]
    assert not any("forecast_test" in line for line in lines)


def test_an_unknown_option_ends_with_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "--nope"])
    assert ended.value.code == 2


def test_freeze_and_unfreeze(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--home", str(tmp_path)]
    assert main(["freeze", *place, "--product", "A"]) == 0
    assert main(["freeze", *place]) == 0
    assert main(["unfreeze", *place]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "frozen: A",
        "frozen: everything",
        "frozen: nothing",
    ]
