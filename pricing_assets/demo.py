"""The main job from nothing, told as it goes: simulate, run the graph, serve, ask for a price.

Belongs here: the order and the words. Every step is a command of its own as well
(``pricing simulate``, ``run``, ``serve``).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pricing_assets.core.errors import NotPublishedError, PricingError
from pricing_assets.exit_codes import exit_code
from pricing_assets.pipeline_run import FinishedRun, run_job
from pricing_assets.run_summary import largest_changes, learned_lines
from pricing_assets.servers import LOOPBACK, free_port, service
from serving.home import Home, read_environment
from serving.price_store import PriceStore

PRODUCTS, DAYS, SEED = 240, 730, 7
_START_SECONDS = 90.0


class ServiceNotReadyError(PricingError):
    """The service did not come up; its log says why."""


def demo(
    *,
    home: str,
    data: str | None,
    config: str | None = None,
    products: int = PRODUCTS,
    days: int = DAYS,
) -> int:
    """Do the main job and say what came of it; return 0.

    Args:
        home: folder of all state.
        data: raw tables; None simulates a market of ``products`` x ``days``.
        config: YAML settings; None takes ``PRICING_CONFIG``.
        products: products of the simulated market.
        days: days of its history.

    Raises:
        PricingError: the data is wrong, a check blocked the run, or the service did not start.
    """
    began, place = time.monotonic(), Home.at(home)
    source = data or read_environment().data or _simulated(place, products=products, days=days)
    _say("", f"2/4  running the asset graph on {source}")
    finished = run_job("pricing_pipeline", home=place, data=source, config=config, descriptor=1)
    _say("", "3/4  what was learned", *_indented(learned_lines(place)))
    _say("", "     the ten largest price changes", *_indented(largest_changes(place)))
    _say("", "4/4  asking the price service")
    _ask_service(place)
    _say("", *_closing(place, finished, source=source), "")
    _say(f"done in {time.monotonic() - began:.0f} s")
    return 0


def _simulated(place: Home, *, products: int, days: int) -> str:
    from pricing_assets.simulation import write_simulated_market

    folder = place.root / "data"
    _say(f"1/4  simulating a market of {products} products x {days} days")
    parameters = {"products": products, "days": days, "seed": SEED}
    _say("     " + write_simulated_market(folder, parameters=parameters, file_format="parquet"))
    return str(folder)


def _ask_service(place: Home) -> None:
    """Start the service, ask for the price with the largest change, print it, stop the service."""
    port, grpc_port = free_port(8080), free_port(50051)
    log = place.logs / "demo-service.log"
    with service(place, host=LOOPBACK, port=port, grpc_port=grpc_port, log=log) as process:
        _wait_until_ready(port, process, log=log)
        product = _product_to_ask(place)
        body = json.dumps({"product_id": product})
        _say(f"     POST http://{LOOPBACK}:{port}/get_price {body}")
        status, answer = _ask(port, "POST", "/get_price", body)
        if status != 200:
            raise ServiceNotReadyError(f"the service answered {status}: {answer}; its log is {log}")
        text = json.dumps(json.loads(answer), indent=2, ensure_ascii=False)
        _say(*_indented(text.splitlines()))
        _say("", *_indented(_asked_over_grpc(grpc_port, product)))


def _asked_over_grpc(port: int, product_id: str) -> list[str]:
    """The same price over gRPC, as lines."""
    import grpc

    from serving.protocol.pricing_pb2 import PriceRequest
    from serving.protocol.pricing_pb2_grpc import PricingServiceStub

    with grpc.insecure_channel(f"{LOOPBACK}:{port}") as channel:
        price = PricingServiceStub(channel).GetPrice(PriceRequest(product_id=product_id))
    return [
        f'gRPC {LOOPBACK}:{port} pricing.v1.PricingService/GetPrice {{product_id: "{product_id}"}}',
        f"{price.recommended_price} {price.currency} from {price.source}, "
        f"table {price.table_version}, quote {price.quote_id}",
    ]


def _product_to_ask(place: Home) -> str:
    prices = PriceStore(place.tables).read_current().prices.to_pandas()
    relative = (prices["recommended_price"] / prices["current_price"] - 1).abs()
    if not relative.notna().any():
        raise NotPublishedError("the published table holds no price; see the quarantine")
    return str(prices.loc[relative.idxmax(), "product_id"])


def _wait_until_ready(port: int, process: subprocess.Popen[bytes], *, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if _ask(port, "GET", "/readyz")[0] == 200:
                return
        time.sleep(0.3)
    raise ServiceNotReadyError(f"the price service did not become ready; its log is {log}")


def _ask(port: int, method: str, path: str, body: str | None = None) -> tuple[int, str]:
    """Status and body of one request to the service on loopback."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=30)
    try:
        connection.request(method, path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def _closing(place: Home, finished: FinishedRun, *, source: str) -> list[str]:
    report = place.reports / f"{finished.run_id}.html"
    start = f"PRICING_HOME={place.root} PRICING_DATA={source}"
    return [
        f"published price table  {finished.table_version}",
        f"evaluation report      {report.as_uri()}",
        f"Dagster run            {finished.run_id}",
        f"MLflow run             {finished.mlflow_run_id}",
        "",
        "to open (each until Ctrl-C):",
        f"  {start} make dev",
        f"      Dagster  http://{LOOPBACK}:3000/runs/{finished.run_id}",
        f"      MLflow   http://{LOOPBACK}:5000",
        f"  {start} make serve",
        f"      prices   http://{LOOPBACK}:8080, gRPC {LOOPBACK}:50051",
        f"  pricing export --home {place.root} --out prices.csv",
    ]


def _indented(lines: Sequence[str]) -> list[str]:
    return [f"     {line}" for line in lines]


def _say(*lines: str) -> None:
    print("\n".join(lines), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """``python -m pricing_assets.demo``: the same as ``pricing demo``."""
    parser = argparse.ArgumentParser(prog="python -m pricing_assets.demo", description=__doc__)
    parser.add_argument("--data", metavar="DIR", help="your own raw tables")
    parser.add_argument("--config", metavar="FILE", help="YAML settings")
    parser.add_argument("--home", default=".demo", metavar="DIR", help="state (default .demo)")
    options = parser.parse_args(arguments)
    return exit_code(lambda: demo(home=options.home, data=options.data, config=options.config))


if __name__ == "__main__":
    sys.exit(main())
