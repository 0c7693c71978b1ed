"""Who acts on prices: a name for every act, proven where the service holds people's tokens.

Belongs here: from a request's headers to a name. Whether the request may come in at all is
``gate``; what the person does is ``table_api``.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pricing_assets.core.errors import InvalidSettingError, UnnamedUserError

TOKEN_HEADER = b"x-pricing-user-token"
_NAME = re.compile(r"^[\w.@+' -]{1,80}$")


@dataclass(frozen=True, slots=True)
class Actors:
    """How people are told apart.

    Attributes:
        header: the header that names who acts.
        digests: name by the SHA-256 of the person's token; empty believes the header.
    """

    header: bytes
    digests: Mapping[bytes, str]

    @classmethod
    def of(cls, header: str, tokens: str | None) -> Actors:
        """From the settings' header and ``PRICING_USER_TOKENS``, ``name=token`` by commas.

        Raises:
            InvalidSettingError: a pair is not one, or a name or token is there twice.
        """
        pairs = [pair.strip().partition("=") for pair in (tokens or "").split(",") if pair.strip()]
        if any(not _NAME.match(name) or len(token) < 16 for name, _, token in pairs):
            raise InvalidSettingError(
                "PRICING_USER_TOKENS must be name=token pairs, comma-separated, each token of 16 "
                "characters or more"
            )
        digests = {_digest(token.encode()): name for name, _, token in pairs}
        if len(digests) < len(pairs) or len(set(digests.values())) < len(pairs):
            raise InvalidSettingError("PRICING_USER_TOKENS holds a name or a token twice")
        return cls(header.encode(), digests)

    def name(self, header: Callable[[bytes], bytes]) -> str:
        """Who sent these headers.

        Raises:
            UnnamedUserError: they name nobody, or somebody whose token they lack.
        """
        if self.digests:
            return self._proven(_digest(header(TOKEN_HEADER)))
        given = header(self.header).decode("utf-8", "replace").strip()
        if not _NAME.match(given):
            raise UnnamedUserError(
                f"say who you are: the header {self.header.decode()} must hold a name"
            )
        return given.casefold()

    def _proven(self, digest: bytes) -> str:
        found = [name for known, name in self.digests.items() if hmac.compare_digest(known, digest)]
        if not found:
            raise UnnamedUserError("give your own token: it is not one of PRICING_USER_TOKENS")
        return found[0].casefold()


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
