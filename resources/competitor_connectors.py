"""Rivals' prices from outside, as events: a plug-in says where from, this module does the rest.

A connector is any object with a ``name`` and a ``fetch``; a package brings one by an entry point of
the group ``pricing.competitor_connectors``, a function from its settings to the connector. What it
yields is checked row by row, and goes into the stream ``competitor_prices`` with an ``event_id``
made of what was seen, so that asking again is harmless.

Belongs here: the protocol, an example over HTTP (retries, rate limit, schema check), finding
plug-ins, and sending. What becomes of the events is ``streams``.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import entry_points
from typing import Annotated, Any, Protocol

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from pricing_assets.core.errors import InputError, PricingError
from pricing_assets.core.tables import MAX_ID_LENGTH
from resources.streams.event_source import EventProducer

try:
    import httpx
except ImportError as missing:
    raise InputError(
        "asking rivals' prices over HTTP needs the extra 'streaming' "
        "(pip install 'pricing-assets[streaming]')"
    ) from missing

ENTRY_POINTS = "pricing.competitor_connectors"
TABLE = "competitor_prices"
SEND_EVENTS = 500
MAX_BODY_BYTES = 16 * 1024 * 1024
MAX_PAGES = 10_000
_RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

_Id = Annotated[
    str, StringConstraints(min_length=1, max_length=MAX_ID_LENGTH, pattern=r"^[^\x00-\x1f\x7f]+$")
]


class ConnectorError(PricingError):
    """A rival's prices could not be had; what was had before stands."""


class CompetitorPrice(BaseModel):
    """One price of one rival, as a connector must give it."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    product_id: _Id
    store_id: Annotated[str, StringConstraints(max_length=MAX_ID_LENGTH)] = ""
    competitor: _Id
    price: float = Field(gt=0, le=1e12, allow_inf_nan=False, description="Currency units.")
    seen_at: AwareDatetime = Field(strict=False, description="When the rival asked this price.")

    def event(self) -> dict[str, Any]:
        """As an event of the stream; equal observations give equal ids."""
        at = self.seen_at.timestamp()
        key = (self.competitor, self.product_id, self.store_id, repr(at), repr(self.price))
        return {
            "event_id": hashlib.sha256("\x1f".join(key).encode()).hexdigest()[:32],
            "at": at,
            "product_id": self.product_id,
            "store_id": self.store_id,
            "competitor": self.competitor,
            "price": self.price,
        }


class CompetitorConnector(Protocol):
    """Where rivals' prices come from."""

    name: str

    def fetch(self) -> Iterator[Mapping[str, Any]]:
        """Observations with the fields of ``CompetitorPrice``, unchecked, as they come.

        Raises:
            ConnectorError: no more can be had now.
        """


@dataclass(frozen=True, slots=True)
class Collected:
    """What one round of a connector gave.

    Attributes:
        sent: observations that went into the stream.
        refused: observations that do not fit the schema, by the first fault.
    """

    sent: int
    refused: dict[str, int]


def collect(connector: CompetitorConnector, producer: EventProducer) -> Collected:
    """Send what a connector gives into the stream; wrong observations are counted, not sent.

    Raises:
        ConnectorError: the connector gave up; what it gave before has been sent.
        StreamFullError, StreamUnavailableError: as ``EventProducer.send``.
    """
    waiting: list[dict[str, Any]] = []
    refused: dict[str, int] = {}
    sent = 0
    try:
        for observation in connector.fetch():
            try:
                waiting.append(CompetitorPrice.model_validate(observation).event())
            except ValidationError as failure:
                fault = _fault(failure)
                refused[fault] = refused.get(fault, 0) + 1
            if len(waiting) >= SEND_EVENTS:
                producer.send(TABLE, waiting)
                sent, waiting = sent + len(waiting), []
    finally:
        if waiting:
            producer.send(TABLE, waiting)
    return Collected(sent + len(waiting), refused)


def load_connector(name: str, settings: Mapping[str, Any]) -> CompetitorConnector:
    """The connector that a package has named so.

    Raises:
        InputError: no package has.
    """
    found = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in found:
        raise InputError(
            f"no connector '{name}' is installed; found: {', '.join(sorted(found)) or 'none'}. A "
            f"package names one by an entry point of the group '{ENTRY_POINTS}'"
        )
    make: Callable[[Mapping[str, Any]], CompetitorConnector] = found[name].load()
    return make(settings)


class HttpConnectorSettings(BaseModel):
    """Where and how to ask."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[str, StringConstraints(pattern="^https?://")] = Field(
        description="Answers {'prices': [...], 'next': url or null}."
    )
    competitor: _Id = Field(description="Whose prices they are, where a row does not say.")
    headers: dict[str, str] = Field(
        default_factory=dict, repr=False, description="Sent with every request, such as a token."
    )
    requests_per_second: float = Field(2.0, gt=0, le=1000)
    attempts: int = Field(5, ge=1, le=20, description="Tries of one request, the first included.")
    first_wait_seconds: float = Field(0.5, ge=0, le=60, description="Doubles with every try.")
    longest_wait_seconds: float = Field(30.0, ge=0, le=3600)
    timeout_seconds: float = Field(10.0, gt=0, le=300)


class RateLimit:
    """At most so many calls a second, evenly spread; callers wait their turn."""

    def __init__(
        self, per_second: float, *, clock: Callable[[], float], sleep: Callable[[float], None]
    ) -> None:
        self._gap = 1.0 / per_second
        self._clock, self._sleep = clock, sleep
        self._next = clock()

    def wait(self) -> None:
        """Return when it is the caller's turn."""
        now = self._clock()
        turn = max(self._next, now)
        self._next = turn + self._gap
        if turn > now:
            self._sleep(turn - now)


class HttpConnector:
    """Rivals' prices from a paged JSON address; a ``CompetitorConnector``.

    A refusal that may pass (429, 5xx, a broken connection) is tried again after a wait that doubles
    and is drawn at random up to its bound ("full jitter", Brooker 2015), or after what
    ``Retry-After`` says. Redirects and pages of another host are not followed: a token would go
    with them.

    Args:
        settings: where and how.
        transport: httpx's, for tests.
        clock: seconds that only grow.
        sleep: waits so many seconds.
        rng: draws the waits.
    """

    def __init__(
        self,
        settings: HttpConnectorSettings,
        *,
        transport: httpx.BaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
    ) -> None:
        self.name = settings.competitor
        self._settings = settings
        self._transport = transport
        self._sleep = sleep
        self._rng = rng or random.Random()  # noqa: S311 (spreads waits, keeps no secret)
        self._limit = RateLimit(settings.requests_per_second, clock=clock, sleep=sleep)

    def fetch(self) -> Iterator[Mapping[str, Any]]:
        """Every page's rows, in order."""
        home = httpx.URL(self._settings.url)
        with httpx.Client(
            headers=self._settings.headers,
            timeout=self._settings.timeout_seconds,
            transport=self._transport,
            follow_redirects=False,
        ) as client:
            url: httpx.URL | None = home
            for _ in range(MAX_PAGES):
                if url is None:
                    return
                page = self._page(client, url)
                for row in page.prices:
                    yield {"competitor": self.name, **row}
                url = None if page.next is None else _same_host(home, home.join(page.next))
        raise ConnectorError(f"{self.name} gave more than {MAX_PAGES} pages; is 'next' a circle?")

    def _page(self, client: httpx.Client, url: httpx.URL) -> _Page:
        content = self._content(client, url)
        try:
            return _Page.model_validate_json(content)
        except ValidationError as failure:
            raise ConnectorError(
                f"{self.name} answered {_shown(url)} with something else than prices: "
                f"{_fault(failure)}"
            ) from None

    def _content(self, client: httpx.Client, url: httpx.URL) -> bytes:
        """The body of one answer, after as many tries as it takes and is allowed."""
        reason, wait = "", 0.0
        for attempt in range(self._settings.attempts):
            if attempt:
                self._sleep(wait)
            self._limit.wait()
            wait = self._backoff(attempt)
            try:
                with client.stream("GET", url) as response:
                    if response.status_code == httpx.codes.OK:
                        return _body(response, self.name)
                    reason = f"status {response.status_code}"
                    if response.status_code not in _RETRIED:
                        break
                    wait = self._told(response, wait)
            except httpx.TransportError as failure:
                reason = type(failure).__name__
        raise ConnectorError(f"{self.name} does not give {_shown(url)}: {reason}; try again later")

    def _backoff(self, attempt: int) -> float:
        bound = self._settings.first_wait_seconds * 2.0**attempt
        return self._rng.uniform(0.0, min(bound, self._settings.longest_wait_seconds))

    def _told(self, response: httpx.Response, otherwise: float) -> float:
        """Seconds that ``Retry-After`` asks for, within our bound."""
        text = response.headers.get("retry-after", "")
        if text.isdigit():
            return min(float(text), self._settings.longest_wait_seconds)
        try:
            asked = parsedate_to_datetime(text) - datetime.now(UTC)
        except (ValueError, TypeError):
            return otherwise
        return min(max(asked.total_seconds(), 0.0), self._settings.longest_wait_seconds)


class _Page(BaseModel):
    """What the address answers."""

    prices: list[dict[str, Any]]
    next: str | None = None


def _body(response: httpx.Response, name: str) -> bytes:
    """The body, in bounded memory."""
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise ConnectorError(f"{name} answered with more than {MAX_BODY_BYTES} bytes a page")
        parts.append(part)
    return b"".join(parts)


def _same_host(home: httpx.URL, url: httpx.URL) -> httpx.URL:
    if (url.scheme, url.host, url.port) != (home.scheme, home.host, home.port):
        raise ConnectorError(f"the next page is at another host ({url.host}); it is not followed")
    return url


def _shown(url: httpx.URL) -> str:
    """The address without its query, which may hold a key."""
    return str(url.copy_with(query=None, username="", password=""))


def _fault(failure: ValidationError) -> str:
    """The first fault: where, and what kind."""
    error: Mapping[str, Any] = failure.errors(include_url=False, include_input=False)[0]
    place: Sequence[Any] = error["loc"]
    return f"{'.'.join(str(part) for part in place) or 'value'}: {error['type']}"
