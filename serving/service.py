"""The BentoML service: typed APIs for OpenAPI and clients, over the same desk as the lane.

``bentoml serve serving.service:PricingService``, or ``pricing serve``, which also brings Redis.
Belongs here: the service's declaration and its lifecycle. Answers come from the ``desk``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, cast

# BentoML reads this when it starts to serve; nobody's prices are its maker's business.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
import yaml

from serving.admission import Admission
from serving.api_description import described
from serving.dead_workers import forget_dead_workers
from serving.desk import Desk
from serving.gate import Gate
from serving.grpc_server import GrpcServer
from serving.home import Home, load_settings, read_environment
from serving.logs import configure_logs
from serving.metrics import with_hit_ratio
from serving.page_routes import page_routes
from serving.pages import Pages
from serving.replies import Application
from serving.tracing import bentoml_tracing, traced
from serving.typed_api import (
    DemandCurveReply,
    OneSentence,
    PriceBody,
    PriceReply,
    PricesBody,
    PricesReply,
    as_bentoml_errors,
)


@dataclass(frozen=True)
class _Description:
    """BentoML's description of the APIs, mended."""

    content: dict[str, Any]

    def asdict(self) -> dict[str, Any]:
        """As BentoML asks for it."""
        return self.content


# `bentoml build` writes the description with yaml.dump, which would name this class.
yaml.add_representer(
    _Description, lambda dumper, description: dumper.represent_dict(description.content)
)


class GatedService(bentoml.Service):
    """BentoML's service with the gate in front of its finished application, and gRPC beside it."""

    @property
    def openapi_spec(self) -> _Description:
        """What /docs.json says."""
        return _Description(described(super().openapi_spec.asdict()))

    def inject_config(self) -> None:
        """Take workers and tracing from the settings of this home."""
        parameters = load_settings().serving
        self.config.update(workers=parameters.workers, **bentoml_tracing(parameters))
        super().inject_config()

    def to_asgi(self, is_main: bool = True) -> Application:
        """The application that BentoML's workers run."""
        environment, settings = read_environment(), load_settings()
        parameters = settings.serving
        configure_logs(parameters.log_format)
        token = environment.api_token.get_secret_value() if environment.api_token else None
        home = Home.at()
        desk = Desk.of_home(home, settings=settings, redis_url=environment.redis_url)
        admission = Admission.of_worker(parameters)
        self.inner.desk = desk
        self.inner.grpc_server = GrpcServer(desk, admission, token=token, parameters=parameters)
        inner = super().to_asgi(is_main=is_main)
        pages = Pages(page_routes(desk, home))
        gate = Gate(inner, desk, admission, token=token, parameters=parameters, pages=pages)
        return traced(gate) if parameters.tracing_endpoint else gate


@bentoml.service(
    name="pricing",
    description="Prices by product, in context, inside guard rails. Bodies are JSON at the top "
    'level; errors are {"error": "one sentence"}.',
    service_class=GatedService,
    traffic={"timeout": 30, "max_concurrency": 1024},
    logging={"access": {"enabled": False}},
)
class PricingService:
    """Prices by product, in context, inside guard rails."""

    desk: Desk
    grpc_server: GrpcServer

    @bentoml.on_startup
    async def open(self) -> None:
        """Load the published table, watch for the next, and answer over gRPC too."""
        forget_dead_workers()
        await self.desk.start()
        await self.grpc_server.start()

    @bentoml.on_shutdown
    async def close(self) -> None:
        """Stop answering over gRPC, then stop watching."""
        await self.grpc_server.stop()
        await self.desk.stop()

    @bentoml.api(route="/get_price")
    async def get_price(self, request: PriceBody, /) -> PriceReply:
        """The price of one product."""
        with as_bentoml_errors():
            return PriceReply(**await self.desk.price(request))

    @bentoml.api(route="/get_prices")
    async def get_prices(self, request: PricesBody, /) -> PricesReply:
        """The prices of up to 10,000 products; a bad item spoils no other."""
        with as_bentoml_errors():
            answers: list[Any] = await self.desk.prices(request.items)
        return PricesReply(prices=answers)

    @bentoml.api(route="/demand_curve")
    async def demand_curve(self, request: PriceBody, /) -> DemandCurveReply:
        """Units, revenue and profit by price, with 90 % bands."""
        with as_bentoml_errors():
            return DemandCurveReply(**self.desk.demand_curve(request))

    async def __metrics__(self, exposition: str) -> str:
        """Called by BentoML with its exposition."""
        return with_hit_ratio(exposition)


cast(GatedService, PricingService).add_asgi_middleware(OneSentence)
