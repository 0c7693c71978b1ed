"""What leaves by HTTP: a reply, or a refusal in one clear sentence.

Belongs here: statuses and headers, the same for the lane and for BentoML's typed APIs. Who is
refused, and why, is ``gate``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from pricing_assets.core.errors import (
    DecisionConflictError,
    InputError,
    PricingError,
    UnknownProductError,
    UnknownQuoteError,
    UnnamedUserError,
)
from serving import metrics
from serving.wire import encode_json

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_NO_SNIFFING = (b"x-content-type-options", b"nosniff")
_NO_STORE = (b"cache-control", b"no-store")


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and a body; JSON unless told otherwise."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Refused(Exception):
    """A request that is answered with a status and a sentence.

    ``drained`` says that its body has been read, so that the connection may stay open.
    """

    def __init__(
        self, status: int, sentence: str, *, drained: bool = False, retry_after: int | None = None
    ) -> None:
        super().__init__(sentence)
        self.status = status
        self.drained = drained
        self.retry_after = retry_after


def status_of(failure: PricingError) -> int:
    """The HTTP status of one of the project's errors; what is nobody's fault may be tried again."""
    if isinstance(failure, UnknownProductError | UnknownQuoteError):
        return 404
    if isinstance(failure, UnnamedUserError):
        return 403
    if isinstance(failure, DecisionConflictError):
        return 409
    return 400 if isinstance(failure, InputError) else 503


def refusal_of(failure: PricingError) -> Refused:
    """The refusal that tells one of the project's errors; the body has been read."""
    return Refused(status_of(failure), str(failure), drained=True)


def reply_to_refused(refusal: Refused) -> Reply:
    """The reply, counted."""
    status = refusal.status
    metrics.ERRORS.labels(status=str(status)).inc()
    headers = [(b"www-authenticate", b"Bearer")] if status == 401 else []
    if refusal.retry_after is not None:
        headers.append((b"retry-after", str(refusal.retry_after).encode()))
    # A refused body may still be on its way: close, so that nobody waits to send it. A caller
    # that is told to come again keeps the connection; a new one would cost more than the answer.
    if not refusal.drained and status != 429:
        headers.append((b"connection", b"close"))
    return Reply(status, encode_json({"error": str(refusal)}), headers=tuple(headers))


async def send_reply(reply: Reply, send: Send) -> None:
    """Send it whole."""
    kind, length = (
        (b"content-type", reply.content_type),
        (b"content-length", b"%d" % len(reply.body)),
    )
    headers = [kind, length, _NO_SNIFFING]
    if reply.headers:
        headers += reply.headers
    if not reply.headers or all(name != b"cache-control" for name, _ in reply.headers):
        headers.append(_NO_STORE)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})
