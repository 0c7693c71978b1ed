"""The pages for people: their HTML, scripts and styles, and how their data are asked for.

Belongs here: which files are served, with what headers, and what a page's data route is. What the
routes answer is ``page_routes``; who may ask is ``gate``. The files hold no data and need no
token; the data do.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from serving.replies import Reply

FOLDER = Path(__file__).parent / "playground"
FILES_PREFIX = "/ui/"

TITLES = {
    "/": ("playground", "Playground"),
    "/table": ("table", "Price table"),
    "/impact": ("impact", "Impact"),
    "/health": ("health", "Health"),
}
"""Address of each page: its name and its title."""
CONTENT_TYPES = {
    ".js": b"text/javascript; charset=utf-8",
    ".css": b"text/css; charset=utf-8",
    ".svg": b"image/svg+xml",
    ".txt": b"text/plain; charset=utf-8",
}
"""Files of other kinds are not served."""

Headers = tuple[tuple[bytes, bytes], ...]

_HTML = b"text/html; charset=utf-8"
# Charts colour their elements through the style object, which this policy lets be.
_POLICY = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    b"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# Kept by the browser, and asked for anew each time with the tag: a new release shows at once.
_KEPT = (b"cache-control", b"no-cache")
_PAGE_HEADERS = (
    (b"content-security-policy", _POLICY),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What a page asked for its data.

    Attributes:
        query: the address's query; the last of a name given twice.
        body: of a POST, JSON still to be decoded; empty for a GET.
        header: the value of a header by its name in lower case, empty without one.
    """

    query: Mapping[str, str]
    body: bytes
    header: Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class DataRoute:
    """How one address of page data is answered: JSON, or errors of the project's own.

    Attributes:
        heavy: it reads files, or much, and so comes in as a batch does.
        content_type: of the answer; JSON unless told otherwise.
    """

    method: Literal["GET", "POST"]
    answer: Callable[[Asked], Coroutine[Any, Any, bytes]]
    heavy: bool = False
    content_type: bytes = b"application/json"


@dataclass(frozen=True, slots=True)
class _Content:
    """One file as it is sent."""

    plain: bytes
    zipped: bytes
    tag: bytes
    content_type: bytes


class Pages:
    """The files under their addresses, and the routes of their data."""

    def __init__(self, data: Mapping[str, DataRoute] | None = None) -> None:
        self.data: Mapping[str, DataRoute] = data or {}
        self._files = {
            FILES_PREFIX + path.relative_to(FOLDER).as_posix(): path
            for path in sorted(FOLDER.rglob("*"))
            if path.suffix in CONTENT_TYPES
        }
        self._titles = {
            address: names
            for address, names in TITLES.items()
            if (FOLDER / f"{names[0]}.html").is_file()
        }
        self.addresses = frozenset(self._files) | frozenset(self._titles)
        for address in self.addresses:
            self._content(address)  # packed now, while nobody waits

    def reply(self, address: str, header: Callable[[bytes], bytes]) -> Reply:
        """The file or page at one of ``addresses``."""
        content = self._content(address)
        headers: Headers = (_KEPT, (b"etag", content.tag), (b"vary", b"accept-encoding"))
        if address in self._titles:
            headers += _PAGE_HEADERS
        if content.tag in header(b"if-none-match"):
            return Reply(304, b"", content.content_type, headers)
        if b"gzip" in header(b"accept-encoding"):
            packed = (*headers, (b"content-encoding", b"gzip"))
            return Reply(200, content.zipped, content.content_type, packed)
        return Reply(200, content.plain, content.content_type, headers)

    def _content(self, address: str) -> _Content:
        if address in self._titles:
            name, title = self._titles[address]
            made = (FOLDER / "shell.html", FOLDER / f"{name}.html")
            return _page(name, title, tuple(path.stat().st_mtime_ns for path in made))
        path = self._files[address]
        return _file(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=64)
def _file(path: Path, _modified: int) -> _Content:
    return _content_of(path.read_bytes(), CONTENT_TYPES[path.suffix])


@lru_cache(maxsize=16)
def _page(name: str, title: str, _modified: tuple[int, ...]) -> _Content:
    """The page ``name`` in the frame that all pages share."""
    shell = (FOLDER / "shell.html").read_text(encoding="utf-8")
    main = (FOLDER / f"{name}.html").read_text(encoding="utf-8")
    filled = shell.replace("{{title}}", title).replace("{{name}}", name)
    return _content_of(filled.replace("{{main}}", main).encode(), _HTML)


def _content_of(plain: bytes, content_type: bytes) -> _Content:
    tag = b'"' + hashlib.sha256(plain).hexdigest()[:20].encode() + b'"'
    return _Content(plain, gzip.compress(plain, mtime=0), tag, content_type)
