"""The BentoML service: typed APIs for OpenAPI and clients, over the same desk as the lane.

``bentoml serve serving.service:PricingService``, or ``pricing serve``, which also brings Redis.
Belongs here: the service's declaration and its lifecycle. Answers come from the ``desk``.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# BentoML reads this when it starts to serve; nobody's prices are its maker's business.
os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import bentoml
from bentoml.exceptions import BadInput, NotFound, ServiceUnavailable

from pricing_assets.core.errors import InputError, NotPublishedError, UnknownProductError
from serving.desk import Desk
from serving.gate import Application, Gate
from serving.home import Home, load_settings, read_environment
from serving.metrics import with_hit_ratio
from serving.wire import (
    DemandCurveAnswer,
    PriceAnswer,
    PriceRequest,
    PricesAnswer,
    PricesRequest,
)


class GatedService(bentoml.Service):
    """BentoML's service with the gate in front of its finished application."""

    def to_asgi(self, is_main: bool = True) -> Application:
        """The application that BentoML's workers run."""
        environment, settings = read_environment(), load_settings()
        desk = Desk.of_home(Home.at(), settings=settings, redis_url=environment.redis_url)
        self.inner.desk = desk
        token = environment.api_token
        return Gate(
            super().to_asgi(is_main=is_main),
            desk,
            token=token.get_secret_value() if token else None,
            parameters=settings.serving,
        )


@contextmanager
def _as_bentoml_errors() -> Iterator[None]:
    """The project's errors as the statuses that BentoML knows."""
    try:
        yield
    except UnknownProductError as failure:
        raise NotFound(str(failure)) from failure
    except InputError as failure:
        raise BadInput(str(failure)) from failure
    except NotPublishedError as failure:
        raise ServiceUnavailable(str(failure)) from failure


@bentoml.service(
    name="pricing",
    description="Prices by product, in context, inside guard rails. Bodies are JSON at the top "
    'level; errors are {"error": "one sentence"}.',
    service_class=GatedService,
    workers=1,
    traffic={"timeout": 30, "max_concurrency": 1024},
    logging={"access": {"enabled": False}},
)
class PricingService:
    """Prices by product, in context, inside guard rails."""

    desk: Desk

    @bentoml.on_startup
    async def open_desk(self) -> None:
        """Load the published table and watch for the next."""
        await self.desk.start()

    @bentoml.on_shutdown
    async def close_desk(self) -> None:
        """Stop watching."""
        await self.desk.stop()

    @bentoml.api(route="/get_price")
    async def get_price(self, request: PriceRequest, /) -> PriceAnswer:
        """The price of one product."""
        with _as_bentoml_errors():
            return PriceAnswer(**await self.desk.price(request))

    @bentoml.api(route="/get_prices")
    async def get_prices(self, request: PricesRequest, /) -> PricesAnswer:
        """The prices of up to 10,000 products; a bad item spoils no other."""
        with _as_bentoml_errors():
            answers: list[Any] = await self.desk.prices(request.items)
        return PricesAnswer(prices=answers)

    @bentoml.api(route="/demand_curve")
    async def demand_curve(self, request: PriceRequest, /) -> DemandCurveAnswer:
        """Units, revenue and profit by price, with 90 % bands."""
        with _as_bentoml_errors():
            return DemandCurveAnswer(**self.desk.demand_curve(request))

    async def __metrics__(self, exposition: str) -> str:
        """Called by BentoML with its exposition."""
        return with_hit_ratio(exposition)
