"""``pricing.v1.PricingService`` over gRPC: the same desk, guards and sentences as over HTTP.

BentoML's services speak HTTP only, so each worker runs a grpc.aio server of its own; they share
the port (SO_REUSEPORT). Belongs here: the server, who may call, and errors as status codes. The
messages are ``protocol/pricing.proto`` and ``messages``.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

import grpc
import structlog
from google.protobuf.struct_pb2 import Struct
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from pricing_assets.core.errors import PricingError
from pricing_assets.core.serving_parameters import ServingParameters
from serving import messages, metrics, tallies
from serving.admission import Admission
from serving.desk import Desk
from serving.patience import within
from serving.protocol import pricing_pb2, pricing_pb2_grpc
from serving.replies import status_of
from serving.wire import price_items, price_request

Reply = TypeVar("Reply")

SERVICE_NAME: str = pricing_pb2.DESCRIPTOR.services_by_name["PricingService"].full_name
HEALTH_SECONDS = 0.25
"""How often health follows the desk."""
STOP_SECONDS = 2.0
"""Time that calls in progress have to end when the service stops."""

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    404: grpc.StatusCode.NOT_FOUND,
    503: grpc.StatusCode.UNAVAILABLE,
}
"""gRPC's word for each HTTP status of an error."""
_BATCHES = frozenset({"GetPrices", "Explain"})
"""Calls that are let in after single quotes: many prices, or files to read."""

_log = structlog.get_logger(__name__)


class GrpcServer:
    """The gRPC side of one worker."""

    def __init__(
        self, desk: Desk, admission: Admission, *, token: str | None, parameters: ServingParameters
    ) -> None:
        self._desk = desk
        self._admission = admission
        self._token = token
        self._parameters = parameters
        self._health = health.aio.HealthServicer()
        self._server: grpc.aio.Server | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Listen; returns the port.

        Raises:
            RuntimeError: the port is taken.
        """
        self._server = self._made()
        address = _address(self._parameters.host, self._parameters.grpc_port)
        port = int(self._server.add_insecure_port(address))
        await self._report_health()
        await self._server.start()
        self._watcher = asyncio.create_task(self._watch_health())
        return port

    async def stop(self) -> None:
        """Say so to who watches, let calls in progress end, and close."""
        if self._watcher is not None:
            self._watcher.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watcher
        await self._health.enter_graceful_shutdown()
        if self._server is not None:
            await self._server.stop(STOP_SECONDS)

    def _made(self) -> grpc.aio.Server:
        parameters = self._parameters
        options = [
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", parameters.max_body_bytes),
            ("grpc.max_send_message_length", -1),
        ]
        guards = [_TokenGuard(self._token)] if self._token else []
        server = grpc.aio.server(interceptors=guards, options=options)
        pricing_pb2_grpc.add_PricingServiceServicer_to_server(
            _Servicer(self._desk, self._admission, parameters.request_timeout_seconds), server
        )
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    async def _report_health(self) -> None:
        kinds = health_pb2.HealthCheckResponse
        status = kinds.SERVING if self._desk.readiness.ready else kinds.NOT_SERVING
        for name in (health.OVERALL_HEALTH, SERVICE_NAME):
            await self._health.set(name, status)

    async def _watch_health(self) -> None:
        while True:
            await asyncio.sleep(HEALTH_SECONDS)
            await self._report_health()


class _Servicer(pricing_pb2_grpc.PricingServiceServicer):
    """The calls; each answers with what the desk says, or ends with a status and a sentence."""

    def __init__(self, desk: Desk, admission: Admission, timeout_seconds: float) -> None:
        self._desk = desk
        self._admission = admission
        self._timeout = timeout_seconds

    async def GetPrice(
        self, request: pricing_pb2.PriceRequest, context: grpc.aio.ServicerContext
    ) -> pricing_pb2.Price:
        """The price of one product."""

        async def answer() -> pricing_pb2.Price:
            asked = price_request(messages.body_of(request))
            return messages.price(await self._desk.price(asked))

        return await self._answered("GetPrice", answer, context)

    async def GetPrices(
        self, request: pricing_pb2.PricesRequest, context: grpc.aio.ServicerContext
    ) -> pricing_pb2.Prices:
        """The prices of up to 10,000 products; a bad item spoils no other."""

        async def answer() -> pricing_pb2.Prices:
            items = price_items({"items": [messages.body_of(item) for item in request.items]})
            return messages.prices(await self._desk.prices(items))

        return await self._answered("GetPrices", answer, context)

    async def GetDemandCurve(
        self, request: pricing_pb2.PriceRequest, context: grpc.aio.ServicerContext
    ) -> pricing_pb2.DemandCurve:
        """Units, revenue and profit by price."""

        async def answer() -> pricing_pb2.DemandCurve:
            asked = price_request(messages.body_of(request))
            return messages.demand_curve(self._desk.demand_curve(asked))

        return await self._answered("GetDemandCurve", answer, context)

    async def Explain(
        self, request: pricing_pb2.ExplainRequest, context: grpc.aio.ServicerContext
    ) -> Struct:
        """A served price recomputed."""

        async def answer() -> Struct:
            return messages.struct(await self._desk.explain(request.quote_id))

        return await self._answered("Explain", answer, context)

    async def _answered(
        self,
        call: str,
        answer: Callable[[], Coroutine[Any, Any, Reply]],
        context: grpc.aio.ServicerContext,
    ) -> Reply:
        """The reply, within the limits that HTTP has too."""
        batch, started = call in _BATCHES, time.perf_counter()
        if seconds := self._admission.enter(batch=batch):
            context.set_trailing_metadata((("retry-after", str(seconds)),))
            await _refuse(
                context,
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "too many requests; come again later",
            )
        try:
            return await self._tried(call, answer, context)
        finally:
            self._admission.leave(batch=batch)
            tallies.API_LATENCY[f"grpc_{call}"].observe(time.perf_counter() - started)

    async def _tried(
        self,
        call: str,
        answer: Callable[[], Coroutine[Any, Any, Reply]],
        context: grpc.aio.ServicerContext,
    ) -> Reply:
        try:
            return await within(self._timeout, answer())
        except PricingError as failure:
            await _refuse(context, _CODES[status_of(failure)], str(failure))
        except TimeoutError:
            sentence = f"no answer within {self._timeout:g} s; ask for less at once"
            await _refuse(context, grpc.StatusCode.DEADLINE_EXCEEDED, sentence)
        except Exception:  # noqa: BLE001 (the outermost layer: a fault of ours, logged and told)
            _log.exception("fault", call=call)
            sentence = "the service failed on this request; its log says why"
            await _refuse(context, grpc.StatusCode.INTERNAL, sentence)


class _TokenGuard(grpc.aio.ServerInterceptor):
    """Lets in who carries the token; health is open, since probes carry none."""

    def __init__(self, token: str) -> None:
        self._wanted = b"Bearer " + token.encode()
        self._open = f"/{health.SERVICE_NAME}/"

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """The handler of the call, or one that refuses it."""
        handler = await continuation(handler_call_details)
        given = dict(handler_call_details.invocation_metadata or ()).get("authorization", "")
        carried = hmac.compare_digest(given.encode(), self._wanted)
        if carried or handler_call_details.method.startswith(self._open) or handler is None:
            return handler
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(_unauthenticated_stream)
        return grpc.unary_unary_rpc_method_handler(_unauthenticated)


async def _unauthenticated(_request: Any, context: grpc.aio.ServicerContext) -> NoReturn:
    sentence = "give the API token as the metadata 'authorization: Bearer <token>'"
    await _refuse(context, grpc.StatusCode.UNAUTHENTICATED, sentence)


async def _unauthenticated_stream(requests: Any, context: grpc.aio.ServicerContext) -> NoReturn:
    await _unauthenticated(requests, context)


async def _refuse(
    context: grpc.aio.ServicerContext, code: grpc.StatusCode, sentence: str
) -> NoReturn:
    metrics.ERRORS.labels(status=code.name).inc()
    await context.abort(code, sentence)
    raise AssertionError("abort raises")


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
