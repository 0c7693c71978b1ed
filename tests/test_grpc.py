"""gRPC: the same prices, guards and sentences as over HTTP, on a real service with two workers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.json_format import MessageToDict
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pricing_assets.core.errors import (
    GuardRailError,
    InputError,
    NotPublishedError,
    UnknownProductError,
)
from pricing_assets.core.serving_parameters import ServingParameters
from serving.admission import Admission
from serving.grpc_server import SERVICE_NAME, GrpcServer
from serving.protocol import pricing_pb2 as pb
from serving.protocol.pricing_pb2_grpc import PricingServiceStub
from serving.tallies import PUSH_SECONDS
from tests.running_service import Running, free_port, running_service

REPOSITORY = Path(__file__).resolve().parent.parent
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
CONTEXT = {"current_stock": 40.0, "day_of_week": "Friday", "comp_price": 21.5, "is_promo": True}

BODIES: list[dict[str, Any]] = [
    {"product_id": "SKU-1"},
    {"product_id": "SKU-1", **CONTEXT},
    {"product_id": "SKU-2", "current_stock": 0.0},
    {"product_id": "SKU-2", "current_stock": 7.0, "is_promo": False},
    {"product_id": "SKU-3", "day_of_week": "sun"},
    {"product_id": "SKU-4", "objective": "revenue"},
    {"product_id": "SKU-4", "objective": "market_share", "comp_price": 14.0},
    {"product_id": "SKU-5", "segment": "loyal"},
    {"product_id": "NEW-1", "unit_cost": 10.0},
    {"product_id": "NEW-1", "current_price": 12.5, "comp_price": 9.0},
    {"product_id": "NEW-1"},
    {"product_id": "SKU-1", "store_id": "nowhere"},
    {"product_id": ""},
    {"product_id": "a\x00b"},
    {"product_id": "x" * 201},
    {"product_id": "Café"},
    {"product_id": "SKU-1", "comp_price": -1.0},
    {"product_id": "SKU-1", "comp_price": 0.0},
    {"product_id": "SKU-1", "comp_price": 1e300},
    {"product_id": "SKU-1", "current_stock": -1.0},
    {"product_id": "SKU-1", "current_price": 100000.0},
    {"product_id": "SKU-1", "day_of_week": "Someday"},
    {"product_id": "SKU-1", "objective": "fame"},
]
CODES = {200: None, 400: "INVALID_ARGUMENT", 404: "NOT_FOUND", 503: "UNAVAILABLE"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two workers, seen to have no table before they get one."""
    with running_service(tmp_path_factory.mktemp("home"), workers=2) as running:
        with grpc.insecure_channel(running.grpc_address) as channel:
            assert health_of(channel) == NOT_SERVING
            assert health_of(channel, SERVICE_NAME) == NOT_SERVING
            with pytest.raises(grpc.RpcError) as refused:
                PricingServiceStub(channel).GetPrice(pb.PriceRequest(product_id="SKU-1"))
            assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
        version = running.publish(1.05)
        everywhere(running, version)
        yield running


@pytest.fixture(scope="module")
def stub(service: Running) -> Iterator[PricingServiceStub]:
    with grpc.insecure_channel(service.grpc_address) as channel:
        yield PricingServiceStub(channel)


def everywhere(running: Running, version: str) -> None:
    """Wait until both workers answer from ``version``, over HTTP and gRPC."""
    in_a_row = 0
    while in_a_row < 20:
        with grpc.insecure_channel(running.grpc_address, options=[("pin", in_a_row)]) as channel:
            serves = health_of(channel) == SERVING
        running.client.close()
        running.client = type(running.client)(
            base_url=running.base_url, timeout=30, trust_env=False
        )
        same = running.ready_version() == version
        in_a_row = in_a_row + 1 if serves and same else 0


def health_of(channel: grpc.Channel, name: str = "") -> int:
    asked = health_pb2.HealthCheckRequest(service=name)
    return health_pb2_grpc.HealthStub(channel).Check(asked, wait_for_ready=True, timeout=20).status


def as_json(message: Any) -> dict[str, Any]:
    return MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def without(answer: dict[str, Any], *names: str) -> dict[str, Any]:
    """``answer`` without what differs between two calls, and without what is null."""
    return {k: v for k, v in answer.items() if k not in names and v is not None}


@pytest.mark.parametrize("body", BODIES)
def test_every_answer_is_that_of_http(
    service: Running, stub: PricingServiceStub, body: dict[str, Any]
) -> None:
    over_http = service.ask(**body)
    expected = CODES[over_http.status_code]
    if expected is None:
        answer = as_json(stub.GetPrice(pb.PriceRequest(**body)))
        # The rung may differ: the other worker's cache holds what the first one computed.
        assert without(answer, "quote_id", "source") == without(
            over_http.json(), "quote_id", "source"
        )
        assert len(answer["quote_id"]) == 32
        return
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetPrice(pb.PriceRequest(**body))
    assert refused.value.code().name == expected
    if body["product_id"]:
        assert refused.value.details() == over_http.json()["error"]


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_no_number_but_a_finite_one_comes_in(stub: PricingServiceStub, number: float) -> None:
    for field in ("comp_price", "current_stock", "current_price", "unit_cost"):
        with pytest.raises(grpc.RpcError) as refused:
            stub.GetPrice(pb.PriceRequest(product_id="SKU-1", **{field: number}))
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_batch_is_that_of_http(service: Running, stub: PricingServiceStub) -> None:
    over_http = service.client.post("/get_prices", json={"items": BODIES}).json()["prices"]
    items = [pb.PriceRequest(**body) for body in BODIES]
    entries = stub.GetPrices(pb.PricesRequest(items=items)).prices
    assert len(entries) == len(BODIES)
    for entry, expected in zip(entries, over_http, strict=True):
        kind = entry.WhichOneof("result")
        assert kind == ("error" if "error" in expected else "price")
        answer = as_json(getattr(entry, kind))
        if kind == "price":
            assert without(answer, "quote_id", "source") == without(expected, "quote_id", "source")
        elif answer["product_id"]:
            assert answer == expected


def test_ten_thousand_items_and_no_more(stub: PricingServiceStub) -> None:
    items = [pb.PriceRequest(product_id=f"SKU-{i % 30}") for i in range(10_000)]
    assert len(stub.GetPrices(pb.PricesRequest(items=items)).prices) == 10_000
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetPrices(pb.PricesRequest(items=[*items, items[0]]))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "at most 10000" in refused.value.details()


def test_the_demand_curve_is_that_of_http(service: Running, stub: PricingServiceStub) -> None:
    body = {"product_id": "SKU-3", "is_promo": True}
    over_http = service.client.post("/demand_curve", json=body).json()
    assert as_json(stub.GetDemandCurve(pb.PriceRequest(**body))) == over_http
    with pytest.raises(grpc.RpcError) as refused:
        stub.GetDemandCurve(pb.PriceRequest(product_id="NOBODY"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_an_explanation_is_that_of_http(service: Running, stub: PricingServiceStub) -> None:
    served = stub.GetPrice(pb.PriceRequest(product_id="SKU-6", current_stock=30.0))
    address = f"/explain/{served.quote_id}"
    service.until(lambda: service.client.get(address).status_code == 200)
    over_http = service.client.get(address).json()
    assert over_http["reproduced"] is True
    assert MessageToDict(stub.Explain(pb.ExplainRequest(quote_id=served.quote_id))) == over_http
    with pytest.raises(grpc.RpcError) as refused:
        stub.Explain(pb.ExplainRequest(quote_id="0" * 32))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    unknown = service.client.get("/explain/" + "0" * 32)
    assert unknown.status_code == 404
    assert refused.value.details() == unknown.json()["error"]


@pytest.mark.parametrize("quote_id", ["%00", "..%2f..%2fetc", "é", "x" * 60_000, "%ff", ""])
def test_an_odd_quote_id_is_4xx(service: Running, quote_id: str) -> None:
    assert 400 <= service.client.get(f"/explain/{quote_id}").status_code < 500


def test_health_and_reflection_are_standard(service: Running) -> None:
    with grpc.insecure_channel(service.grpc_address) as channel:
        assert health_of(channel) == SERVING
        assert health_of(channel, SERVICE_NAME) == SERVING
        ask = reflection_pb2.ServerReflectionRequest(list_services="")
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel)
        answer = next(reflected.ServerReflectionInfo(iter([ask])))
        names = {listed.name for listed in answer.list_services_response.service}
        assert {"pricing.v1.PricingService", "grpc.health.v1.Health"} <= names
        ask = reflection_pb2.ServerReflectionRequest(file_containing_symbol=SERVICE_NAME)
        answer = next(reflected.ServerReflectionInfo(iter([ask])))
        assert answer.file_descriptor_response.file_descriptor_proto


def test_two_workers_are_counted_together(service: Running) -> None:
    """Each new connection may meet the other worker; no count is lost, whoever is asked."""

    def asked() -> float:
        return service.metric('pricing_quotes_total{source="table"}')

    time.sleep(2 * PUSH_SECONDS)
    before = asked()
    for _ in range(40):
        with type(service.client)(base_url=service.base_url, trust_env=False) as client:
            body = {"product_id": "SKU-1"}
            assert client.post("/get_price", json=body).status_code == 200
    service.until(lambda: asked() == before + 40)


def test_a_new_version_reaches_both_workers(service: Running, stub: PricingServiceStub) -> None:
    version = service.publish(1.08, model_version="2")
    everywhere(service, version)
    seen = {stub.GetPrice(pb.PriceRequest(product_id="SKU-1")).table_version for _ in range(20)}
    assert seen == {version}


class EchoDesk:
    """A desk that answers, or raises what it is told to."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.expected_units = 1.0
        self.readiness = type("Readiness", (), {"ready": True})()

    async def price(self, request: Any) -> dict[str, Any]:
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        return {
            "product_id": request.product_id,
            "recommended_price": 1.0,
            "confidence": 0.5,
            "currency": "USD",
            "price_floor": 1.0,
            "price_ceiling": 1.0,
            "expected_units": self.expected_units,
            "source": "table",
            "reasons": [],
            "table_version": "1",
            "model_version": "1",
            "quote_id": "1",
        }


@asynccontextmanager
async def serving(
    desk: EchoDesk, *, token: str | None = None, **parameters: object
) -> AsyncIterator[grpc.aio.Channel]:
    given = ServingParameters(**{"grpc_port": free_port(), **parameters})
    admission = Admission.of_worker(given)
    server = GrpcServer(desk, admission, token=token, parameters=given)  # type: ignore[arg-type]
    port = await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
    finally:
        await server.stop()


async def status_of(channel: grpc.aio.Channel, request: pb.PriceRequest, **call: Any) -> str:
    try:
        await PricingServiceStub(channel).GetPrice(request, **call)
    except grpc.RpcError as failure:
        return failure.code().name
    return "OK"


SKU = pb.PriceRequest(product_id="SKU-1")


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (UnknownProductError("none"), "NOT_FOUND"),
        (InputError("wrong"), "INVALID_ARGUMENT"),
        (NotPublishedError("nothing"), "UNAVAILABLE"),
        (GuardRailError("outside"), "UNAVAILABLE"),
        (ZeroDivisionError("a fault"), "INTERNAL"),
    ],
)
async def test_each_error_has_its_status(failure: Exception, code: str) -> None:
    desk = EchoDesk()
    desk.failure = failure
    async with serving(desk) as channel:
        assert await status_of(channel, SKU) == code
        desk.failure = None
        assert await status_of(channel, SKU) == "OK"


async def test_no_number_but_a_finite_one_goes_out() -> None:
    desk = EchoDesk()
    desk.expected_units = float("nan")
    async with serving(desk) as channel:
        assert await status_of(channel, SKU) == "INTERNAL"


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer wrong", "secret", "Bearer sécret"])
async def test_only_the_token_opens_and_health_is_open(given: str | None) -> None:
    async with serving(EchoDesk(), token="secret") as channel:
        wrong = () if given is None else (("authorization", given.encode("utf-8", "replace")),)
        if given is not None and given.isascii():
            wrong = (("authorization", given),)
        if given is None or given.isascii():
            assert await status_of(channel, SKU, metadata=wrong) == "UNAUTHENTICATED"
        right = (("authorization", "Bearer secret"),)
        assert await status_of(channel, SKU, metadata=right) == "OK"
        check = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        assert (await health_pb2_grpc.HealthStub(channel).Check(check)).status == SERVING
        reflected = reflection_pb2_grpc.ServerReflectionStub(channel)
        listing = reflection_pb2.ServerReflectionRequest(list_services="")
        with pytest.raises(grpc.RpcError) as refused:
            async for _ in reflected.ServerReflectionInfo(iter([listing])):
                pass
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
async def test_a_large_message_is_refused_compressed_or_not(compression: grpc.Compression) -> None:
    async with serving(EchoDesk(), max_body_bytes=4096) as channel:
        large = pb.PriceRequest(product_id="x" * 2_000_000)
        assert await status_of(channel, large, compression=compression) == "RESOURCE_EXHAUSTED"
        assert await status_of(channel, SKU) == "OK"


async def test_more_than_a_worker_takes_is_refused_at_once() -> None:
    desk = EchoDesk()
    desk.may_answer.clear()
    async with serving(desk, max_requests=2) as channel:
        asked = [asyncio.create_task(status_of(channel, SKU)) for _ in range(2)]
        await asyncio.sleep(0.2)
        assert await status_of(channel, SKU) == "RESOURCE_EXHAUSTED"
        desk.may_answer.set()
        assert await asyncio.gather(*asked) == ["OK", "OK"]
        assert await status_of(channel, SKU) == "OK"


async def test_an_answer_that_does_not_come_is_not_waited_for() -> None:
    desk = EchoDesk()
    desk.may_answer.clear()
    async with serving(desk, request_timeout_seconds=0.05) as channel:
        assert await status_of(channel, SKU) == "DEADLINE_EXCEEDED"


async def test_health_follows_the_desk() -> None:
    desk = EchoDesk()
    desk.readiness.ready = False
    async with serving(desk) as channel:
        check = health_pb2.HealthCheckRequest(service=SERVICE_NAME)
        watch = health_pb2_grpc.HealthStub(channel).Watch(check)
        assert (await watch.read()).status == NOT_SERVING
        desk.readiness.ready = True
        assert (await watch.read()).status == SERVING


def test_the_generated_modules_are_those_of_the_protocol(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs: grpcio-tools")
    proto = "serving/protocol/pricing.proto"
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I.", *outputs, proto]
    subprocess.run(command, cwd=REPOSITORY, check=True)
    made = sorted(path.name for path in (tmp_path / "serving/protocol").iterdir())
    assert made == ["pricing_pb2.py", "pricing_pb2.pyi", "pricing_pb2_grpc.py"]
    for name in made:
        fresh = (tmp_path / "serving/protocol" / name).read_text()
        assert (REPOSITORY / "serving/protocol" / name).read_text() == fresh, "run: make protocol"
