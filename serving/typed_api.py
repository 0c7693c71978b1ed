"""The bodies of the typed BentoML APIs: the same checks, sentences and bytes as the lean lane.

BentoML reads a body with pydantic and writes an error as it sees fit. Belongs here: what makes
both go through ``wire`` instead. The APIs are ``service``; the lane is ``gate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

import bentoml
from bentoml.exceptions import BadInput
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from pricing_assets.core.errors import PricingError
from serving.replies import (
    Application,
    Message,
    Receive,
    Scope,
    Send,
    refusal_of,
    reply_to_refused,
    send_reply,
)
from serving.wire import (
    DemandCurveAnswer,
    PriceAnswer,
    PriceRequest,
    PricesAnswer,
    PricesRequest,
    decode_json,
    encode_json,
    price_items,
    price_request,
)

_failure: ContextVar[list[PricingError] | None] = ContextVar("failure", default=None)


@contextmanager
def as_bentoml_errors() -> Iterator[None]:
    """Stop BentoML on one of the project's errors, and keep it for ``OneSentence``."""
    try:
        yield
    except PricingError as failure:
        kept = _failure.get()
        if kept is not None:
            kept.append(failure)
        raise BadInput(str(failure)) from failure


class OneSentence:
    """Middleware that answers the project's errors as the lane does."""

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let BentoML answer, unless one of the project's errors was kept."""
        failures: list[PricingError] = []
        token = _failure.set(failures)

        async def say(message: Message) -> None:
            if not failures:
                await send(message)
            elif message["type"] == "http.response.start":
                await send_reply(reply_to_refused(refusal_of(failures[0])), send)

        try:
            await self._app(scope, receive, say)
        finally:
            _failure.reset(token)


class _Answer(bentoml.IODescriptor):
    """An answer that is encoded as the lane encodes it."""

    @classmethod
    async def to_http_response(cls, obj: BaseModel, serde: Any) -> Response:
        body = encode_json(obj.model_dump(exclude_unset=True))
        return Response(body, media_type="application/json")


class PriceBody(bentoml.IODescriptor, PriceRequest):
    """The body of get_price and demand_curve."""

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:
        """Decode and check as the lane does."""
        with as_bentoml_errors():
            checked = price_request(decode_json(await request.body()))
        return cls.model_construct(**dict(checked))


class PricesBody(bentoml.IODescriptor, PricesRequest):
    """The body of get_prices."""

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> Self:
        """Decode and check as the lane does."""
        with as_bentoml_errors():
            items = price_items(decode_json(await request.body()))
        return cls.model_construct(items=items)


class PriceReply(_Answer, PriceAnswer):
    """The answer of get_price."""


class PricesReply(_Answer, PricesAnswer):
    """The answer of get_prices."""


class DemandCurveReply(_Answer, DemandCurveAnswer):
    """The answer of demand_curve."""
