"""The outermost ASGI layer: what may come in, and the lean lane of the price endpoints.

Belongs here: who may ask (host, token), what may be asked (paths, JSON only, size), and answers
in one clear sentence. Prices come from the ``desk``; everything else goes on to BentoML's own
application (OpenAPI, metrics). No HTTP server: BentoML's uvicorn calls this.
"""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Callable, Coroutine
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Any
from urllib.parse import parse_qsl

import structlog

from pricing_assets.core.errors import NotPublishedError, PricingError
from pricing_assets.core.serving_parameters import ServingParameters
from serving import tallies
from serving.admission import Admission
from serving.desk import Desk
from serving.pages import Asked, DataRoute, Pages
from serving.patience import within
from serving.replies import (
    Application,
    Receive,
    Refused,
    Reply,
    Scope,
    Send,
    refusal_of,
    reply_to_refused,
    send_reply,
)
from serving.wire import decode_json, encode_json, price_items, price_request

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
OPEN_PATHS = frozenset({"/livez", "/readyz"})
"""Paths that need no token, as probes carry none; the files of the pages are open too."""
BENTOML_PATHS = frozenset({"/docs.json", "/schema.json", "/metrics", "/healthz"})
BATCH_PATH = "/get_prices"
EXPLAIN_PATH = "/explain/"
MAX_SUGGESTIONS = 20
MAX_QUERY = 1000

_log = structlog.get_logger(__name__)


class Gate:
    """ASGI application in front of BentoML's."""

    def __init__(
        self,
        inner: Application,
        desk: Desk,
        admission: Admission,
        *,
        token: str | None,
        parameters: ServingParameters,
        pages: Pages | None = None,
    ) -> None:
        self._inner = inner
        self._desk = desk
        self._token = token.encode() if token else None
        self._max_body = parameters.max_body_bytes
        self._timeout = parameters.request_timeout_seconds
        self._admission = admission
        self._pages = pages or Pages()
        self._open = OPEN_PATHS | self._pages.addresses
        self._posts: dict[str, Callable[[bytes], Coroutine[Any, Any, bytes]]] = {
            "/get_price": self._get_price,
            "/get_prices": self._get_prices,
            "/demand_curve": self._demand_curve,
        }
        self._gets = {
            "/livez": self._livez,
            "/readyz": self._readyz,
            "/products": self._products,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer here, or pass on to BentoML."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        try:
            self._check_caller(scope)
            reply = await self._answer(scope, receive)
        except Refused as refusal:
            reply = reply_to_refused(refusal)
        if reply is None:
            await self._inner(scope, receive, send)
        else:
            await send_reply(reply, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Reply | None:
        """The reply of the lane; None for what BentoML answers."""
        path, method = scope["path"], scope["method"]
        if path in self._posts:
            _check_method(method, "POST")
            return await self._timed(path, scope, receive)
        if path in self._pages.addresses:
            _check_method(method, "GET")
            return self._pages.reply(path, partial(_header, scope))
        if path in self._pages.data:
            route = self._pages.data[path]
            _check_method(method, route.method)
            return await self._page_data(route, scope, receive)
        if path in self._gets:
            _check_method(method, "GET")
            return self._gets[path](scope)
        if path.startswith(EXPLAIN_PATH):
            _check_method(method, "GET")
            return await self._explained(path.removeprefix(EXPLAIN_PATH))
        if path in BENTOML_PATHS:
            _check_method(method, "GET")
            tallies.push()
            return None
        raise Refused(404, f"there is nothing at {path[:100]!r}; see /docs.json")

    async def _timed(self, path: str, scope: Scope, receive: Receive) -> Reply:
        """The answer to one request within the limits of this worker."""
        batch = path == BATCH_PATH
        self._enter(batch=batch)
        try:
            body = await self._body(scope, receive)
            return await self._replied(path[1:], self._posts[path](body))
        finally:
            self._admission.leave(batch=batch)

    async def _page_data(self, route: DataRoute, scope: Scope, receive: Receive) -> Reply:
        """The data that a page asks for, within the limits of this worker."""
        self._enter(batch=route.heavy)
        try:
            body = await self._body(scope, receive) if route.method == "POST" else b""
            asked = Asked(_query(scope), body, partial(_header, scope))
            reply = await self._replied(scope["path"][1:], route.answer(asked))
            return replace(reply, content_type=route.content_type)
        finally:
            self._admission.leave(batch=route.heavy)

    async def _explained(self, quote_id: str) -> Reply:
        """The explanation of a quote, which reads files: it comes in like a batch."""
        self._enter(batch=True)
        try:
            return await self._replied("explain", self._explain(quote_id))
        finally:
            self._admission.leave(batch=True)

    def _enter(self, *, batch: bool) -> None:
        seconds = self._admission.enter(batch=batch)
        if seconds:
            raise Refused(429, "too many requests; come again later", retry_after=seconds)

    async def _replied(self, endpoint: str, answer: Coroutine[Any, Any, bytes]) -> Reply:
        started = time.perf_counter()
        try:
            return Reply(200, await within(self._timeout, answer))
        except PricingError as failure:
            raise refusal_of(failure) from None
        except TimeoutError:
            sentence = f"no answer within {self._timeout:g} s; ask for less at once"
            raise Refused(503, sentence, drained=True, retry_after=1) from None
        except Exception:  # noqa: BLE001 (the outermost layer: a fault of ours, logged and told)
            _log.exception("fault", endpoint=endpoint)
            sentence = "the service failed on this request; its log says why"
            raise Refused(500, sentence, drained=True) from None
        finally:
            tallies.API_LATENCY[endpoint].observe(time.perf_counter() - started)

    async def _get_price(self, body: bytes) -> bytes:
        return await self._desk.price_json(decode_json(body))

    async def _get_prices(self, body: bytes) -> bytes:
        return await self._desk.prices_json(price_items(decode_json(body)))

    async def _demand_curve(self, body: bytes) -> bytes:
        return encode_json(self._desk.demand_curve(price_request(decode_json(body))))

    async def _explain(self, quote_id: str) -> bytes:
        return encode_json(await self._desk.explain(quote_id))

    def _livez(self, _: Scope) -> Reply:
        return Reply(200, b'{"alive":true}')

    def _readyz(self, _: Scope) -> Reply:
        readiness = self._desk.readiness
        return Reply(200 if readiness.ready else 503, encode_json(asdict(readiness)))

    def _products(self, scope: Scope) -> Reply:
        try:
            found = self._desk.products(_query(scope).get("q", ""), limit=MAX_SUGGESTIONS)
        except NotPublishedError as failure:
            raise Refused(503, str(failure)) from None
        return Reply(200, encode_json({"products": found}))

    def _check_caller(self, scope: Scope) -> None:
        """Token where one is set; else loopback only, by address and by Host."""
        if scope["path"] in self._open:
            return
        if self._token is not None:
            given = _header(scope, b"authorization")
            if not hmac.compare_digest(given, b"Bearer " + self._token):
                raise Refused(401, "give the API token as 'Authorization: Bearer <token>'")
            return
        if not _is_loopback(scope) or _host_name(_header(scope, b"host")) not in LOCAL_HOSTS:
            raise Refused(403, "without PRICING_API_TOKEN the service answers this machine only")

    async def _body(self, scope: Scope, receive: Receive) -> bytes:
        headers = _headers(scope)
        if not _is_json(headers.get(b"content-type", b"")):
            raise Refused(415, "send application/json; no other content type is taken")
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._max_body:
            raise self._too_large()
        try:
            return await within(self._timeout, self._read(receive))
        except TimeoutError:
            raise Refused(408, f"the body did not come within {self._timeout:g} s") from None

    async def _read(self, receive: Receive) -> bytes:
        parts: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Refused(400, "the request ended before its body")
            part: bytes = message.get("body", b"")
            size += len(part)
            if size > self._max_body:
                raise self._too_large()
            more = message.get("more_body", False)
            if not more and not parts:
                return part
            parts.append(part)
        return b"".join(parts)

    def _too_large(self) -> Refused:
        return Refused(413, f"the body is larger than {self._max_body} bytes")


def _check_method(method: str, allowed: str) -> None:
    if method != allowed and not (method == "HEAD" and allowed == "GET"):
        raise Refused(405, f"use {allowed} here, not {method[:20]}")


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"][:MAX_QUERY].decode("latin-1")))


def _header(scope: Scope, name: bytes) -> bytes:
    """The first header of that name; empty without one."""
    return _headers(scope).get(name, b"")


def _headers(scope: Scope) -> dict[bytes, bytes]:
    """The request's headers; of those given twice, the first."""
    return dict(reversed(scope["headers"]))


@lru_cache(maxsize=256)
def _is_json(content_type: bytes) -> bool:
    return content_type.split(b";")[0].strip().lower() == b"application/json"


def _is_loopback(scope: Scope) -> bool:
    """The caller's address is this machine (a test client and a Unix socket have none)."""
    client = scope.get("client")
    return not client or not client[0] or _names_loopback(client[0])


@lru_cache(maxsize=256)
def _names_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


@lru_cache(maxsize=256)
def _host_name(header: bytes) -> str:
    """The Host header without its port."""
    host = header.decode("latin-1").strip()
    if host.startswith("["):
        return host[1:].split("]", 1)[0].lower()
    return host.rsplit(":", 1)[0].lower() if host.count(":") == 1 else host.lower()
