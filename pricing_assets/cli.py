"""The program ``pricing``: parse, delegate, print, and end with 0, 2 (bad input) or 1.

Belongs here: subcommands and their options. Heavy packages are imported inside a command, so that
``pricing --help`` answers at once.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pricing_assets.exit_codes import exit_code

if TYPE_CHECKING:
    from serving.home import Home

Command = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return the exit code."""
    options = build_parser().parse_args(arguments)
    return exit_code(lambda: int(options.command(options)))


def build_parser() -> argparse.ArgumentParser:
    """The parser of every subcommand."""
    parser = argparse.ArgumentParser(
        prog="pricing",
        description="Dynamic pricing on causal demand, from raw sales to a guarded, served price.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_data_commands(commands)
    _add_export_commands(commands)
    _add_operation_commands(commands)
    _add_evidence_commands(commands)
    _add_server_commands(commands)
    return parser


def _add_data_commands(commands: argparse._SubParsersAction) -> None:
    simulate = _command(commands, "simulate", _simulate, "Write a simulated market's raw tables.")
    simulate.add_argument("--out", required=True, metavar="DIR", help="folder to write")
    simulate.add_argument("--products", type=int, default=240, metavar="N", help="default 240")
    simulate.add_argument("--days", type=int, default=730, metavar="N", help="default 730")
    simulate.add_argument("--seed", type=int, default=7, metavar="N", help="default 7")
    simulate.add_argument("--stores", type=int, default=1, metavar="N", help="default 1")
    simulate.add_argument("--segments", type=int, default=1, metavar="N", help="default 1")
    simulate.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    run = _command(commands, "run", _run, "Run the whole graph, from raw tables to published.")
    run.add_argument("--data", metavar="DIR", help="raw tables (default: PRICING_DATA)")
    _add_home(run)
    run.add_argument("--config", metavar="FILE", help="YAML settings (default: PRICING_CONFIG)")
    run.add_argument(
        "--again", action="store_true", help="make everything anew, though no input has changed"
    )
    tune = _command(
        commands,
        "tune",
        _tune,
        "Search for forecast parameters that beat the defaults; a stopped search goes on.",
    )
    tune.add_argument("--data", metavar="DIR", help="raw tables (default: PRICING_DATA)")
    _add_home(tune)
    tune.add_argument("--config", metavar="FILE", help="YAML settings (default: PRICING_CONFIG)")
    tune.add_argument(
        "--trials", type=int, metavar="N", help="trials in all (default: forecast.tuning_trials)"
    )
    demo = _command(
        commands, "demo", _demo, "The main job from nothing: simulate, run, serve, ask."
    )
    demo.add_argument("--data", metavar="DIR", help="your own raw tables in place of simulated")
    demo.add_argument("--home", default=".demo", metavar="DIR", help="state (default .demo)")
    demo.add_argument("--config", metavar="FILE", help="YAML settings (default: PRICING_CONFIG)")


def _add_export_commands(commands: argparse._SubParsersAction) -> None:
    for name, run, text in (
        ("export", _export, "Write the published price table."),
        ("forecast", _forecast, "Write the demand forecast of the next horizon."),
        ("elasticities", _elasticities, "Write own-price elasticities with their intervals."),
    ):
        command = _command(commands, name, run, text)
        _add_home(command)
        command.add_argument("--out", required=True, metavar="FILE", help=".csv or .parquet")


def _add_operation_commands(commands: argparse._SubParsersAction) -> None:
    publish = _command(
        commands,
        "publish",
        _publish,
        "Prices again from the demand curves as they are, under the settings as they are now.",
    )
    _add_home(publish)
    publish.add_argument("--config", metavar="FILE", help="YAML settings (default: PRICING_CONFIG)")
    publish.add_argument(
        "--dry-run", action="store_true", help="say what would change, and publish nothing"
    )
    rollback = _command(
        commands, "rollback", _rollback, "Publish an earlier table again, under a new version."
    )
    _add_home(rollback)
    rollback.add_argument("--to", metavar="VERSION", help="default: the version before")
    for name, run, text in (
        ("freeze", _freeze, "Hold prices where they are until unfrozen."),
        ("unfreeze", _unfreeze, "Let prices move again."),
    ):
        command = _command(commands, name, run, text)
        _add_home(command)
        command.add_argument("--product", metavar="ID", help="one product (default: all)")


def _add_evidence_commands(commands: argparse._SubParsersAction) -> None:
    status = _command(commands, "status", _status, "Say what is published, since when, from what.")
    _add_home(status)
    explain = _command(
        commands,
        "explain",
        _explain,
        "Recompute a served price exactly and say what drove it, or what drives a published one.",
    )
    _add_home(explain)
    explained = explain.add_mutually_exclusive_group(required=True)
    explained.add_argument("quote_id", nargs="?", metavar="QUOTE_ID", help="a served quote")
    explained.add_argument("--product", metavar="ID", help="a product's published price")
    explain.add_argument("--json", action="store_true", help="a quote as JSON, for programs")
    lineage = _command(
        commands,
        "lineage",
        _lineage,
        "From raw rows to features, models, tables and served quotes; every option narrows it.",
    )
    _add_home(lineage)
    lineage.add_argument("--data-version", metavar="VERSION", help="one data version")
    lineage.add_argument("--model-version", metavar="VERSION", help="one model version")
    lineage.add_argument("--table-version", metavar="VERSION", help="one price table")
    lineage.add_argument(
        "--part", metavar="TABLE[/MONTH]", help="data that hold these raw rows, as sales/2024-07"
    )
    lineage.add_argument(
        "--quotes", type=int, default=0, metavar="N", help="name the last N quotes of each table"
    )
    lineage.add_argument("--json", action="store_true", help="as JSON, for programs")
    audit = _command(commands, "audit", _audit, "Check the log of served prices.")
    audit.add_argument("action", choices=("verify",), help="verify: is the chain of hashes whole")
    _add_home(audit)


def _add_server_commands(commands: argparse._SubParsersAction) -> None:
    serve = _command(commands, "serve", _serve, "Start the price service.")
    _add_home(serve)
    serve.add_argument("--host", metavar="ADDRESS", help="default: 127.0.0.1")
    serve.add_argument("--port", type=int, metavar="N", help="default: 8080")
    stream = _command(commands, "stream", _stream, "Consume the streams of events until stopped.")
    _add_home(stream)
    stream.add_argument("--config", metavar="FILE", help="YAML settings (default: PRICING_CONFIG)")
    stream.add_argument(
        "--consumer", metavar="NAME", help="name in the group, kept over restarts (default: host)"
    )
    stream.add_argument("--until-empty", action="store_true", help="end when nothing waits")
    dev = _command(commands, "dev", _dev, "Start Dagster's and MLflow's pages, loopback only.")
    _add_home(dev)
    dev.add_argument("--data", metavar="DIR", help="raw tables (default: PRICING_DATA)")
    dev.add_argument("--dagster-port", type=int, default=3000, metavar="N", help="default 3000")
    dev.add_argument("--mlflow-port", type=int, default=5000, metavar="N", help="default 5000")


def _command(
    commands: argparse._SubParsersAction, name: str, run: Command, text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    parser.set_defaults(command=run)
    return parser


def _add_home(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--home", metavar="DIR", help="state of this project (default: PRICING_HOME, .pricing)"
    )


def _simulate(options: argparse.Namespace) -> int:
    from pricing_assets.simulation import write_simulated_market

    size = write_simulated_market(
        Path(options.out),
        parameters={
            name: getattr(options, name)
            for name in ("products", "days", "seed", "stores", "segments")
        },
        file_format=options.format,
    )
    print(size)
    return 0


def _run(options: argparse.Namespace) -> int:
    from pricing_assets.pipeline_run import run_job
    from pricing_assets.run_summary import summary_lines

    home = _home(options)
    finished = run_job(
        "pricing_pipeline",
        home=home,
        data=options.data,
        config=options.config,
        reuse=not options.again,
    )
    print("\n".join(summary_lines(home, finished)))
    return 0


def _tune(options: argparse.Namespace) -> int:
    from pricing_assets.tuning_run import tune_lines

    lines = tune_lines(
        _home(options), data=options.data, config=options.config, trials=options.trials
    )
    print("\n".join(lines))
    return 0


def _demo(options: argparse.Namespace) -> int:
    from pricing_assets.demo import demo

    return demo(home=options.home, data=options.data, config=options.config)


def _export(options: argparse.Namespace) -> int:
    from pricing_assets.exports import export_prices

    return _written(export_prices(_home(options), Path(options.out)), options.out)


def _forecast(options: argparse.Namespace) -> int:
    from pricing_assets.exports import export_forecast

    return _written(export_forecast(_home(options), Path(options.out)), options.out)


def _elasticities(options: argparse.Namespace) -> int:
    from pricing_assets.exports import export_elasticities

    return _written(export_elasticities(_home(options), Path(options.out)), options.out)


def _status(options: argparse.Namespace) -> int:
    from pricing_assets.operations import status_lines

    print("\n".join(status_lines(_home(options))))
    return 0


def _explain(options: argparse.Namespace) -> int:
    from pricing_assets.price_explanation import (
        explanation_lines,
        quote_explanation,
        quote_lines,
    )

    if options.product is not None:
        print("\n".join(explanation_lines(_home(options), product_id=options.product)))
        return 0
    found = quote_explanation(_home(options), quote_id=options.quote_id)
    print(json.dumps(found, indent=2) if options.json else "\n".join(quote_lines(found)))
    return 0


def _lineage(options: argparse.Namespace) -> int:
    from pricing_assets.lineage_walk import Walk, lineage, lineage_lines

    walk = Walk(
        data_version=options.data_version,
        model_version=options.model_version,
        table_version=options.table_version,
        part=options.part,
        quotes=options.quotes,
    )
    home = _home(options)
    if options.json:
        print(json.dumps(lineage(home, walk), indent=2))
    else:
        print("\n".join(lineage_lines(home, walk)))
    return 0


def _audit(options: argparse.Namespace) -> int:
    from pricing_assets.price_explanation import audit_lines

    lines, intact = audit_lines(_home(options))
    print("\n".join(lines))
    return 0 if intact else 1


def _publish(options: argparse.Namespace) -> int:
    if options.dry_run:
        from pricing_assets.price_dry_run import dry_run_lines

        print("\n".join(dry_run_lines(_home(options), config=options.config)))
        return 0
    from pricing_assets.pipeline_run import run_job

    finished = run_job("price_update", home=_home(options), config=options.config)
    print(f"published {finished.table_version}")
    return 0


def _rollback(options: argparse.Namespace) -> int:
    from pricing_assets.operations import rollback_line

    print(rollback_line(_home(options), to=options.to))
    return 0


def _freeze(options: argparse.Namespace) -> int:
    from pricing_assets.operations import freeze_line

    print(freeze_line(_home(options), product_id=options.product))
    return 0


def _unfreeze(options: argparse.Namespace) -> int:
    from pricing_assets.operations import unfreeze_line

    print(unfreeze_line(_home(options), product_id=options.product))
    return 0


def _serve(options: argparse.Namespace) -> int:
    from pricing_assets.servers import serve

    return serve(_home(options), host=options.host, port=options.port)


def _stream(options: argparse.Namespace) -> int:
    from pricing_assets.stream_run import stream

    done = stream(
        _home(options),
        config=options.config,
        consumer=options.consumer,
        until_empty=options.until_empty,
    )
    print(f"{done.accepted} events landed, {done.dead} dead letters")
    return 0


def _dev(options: argparse.Namespace) -> int:
    from pricing_assets.servers import dev

    return dev(
        _home(options),
        data=options.data,
        dagster_port=options.dagster_port,
        mlflow_port=options.mlflow_port,
    )


def _home(options: argparse.Namespace) -> Home:
    from serving.home import Home

    return Home.at(options.home)


def _written(rows: int, path: str) -> int:
    print(f"{rows} rows written to {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
