"""The tree of errors a caller can meet; each class says what was wrong and how to cure it.

Only error classes belong here. A message names the value, what was allowed, and the cure.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class PricingError(Exception):
    """Base of every error that this project raises on purpose."""


class InputError(PricingError):
    """The caller's data or settings are wrong; the program ends with exit code 2."""


class MissingFolderError(InputError):
    """A folder of raw tables or a home that is not there."""


class MissingTableError(InputError):
    """A required raw table is absent."""


class UnreadableTableError(InputError):
    """A file cannot be parsed (truncated Parquet, no header, wrong encoding)."""


class EmptyTableError(InputError):
    """A table holds no usable row."""


class MissingColumnError(InputError):
    """A required column is absent; names the nearest heading found."""

    def __init__(self, *, table: str, column: str, found: Iterable[str]) -> None:
        headings = [str(name) for name in found]
        super().__init__(
            f"table '{table}' has no column '{column}'{nearest(column, headings)}; found: "
            f"{', '.join(headings[:20]) or 'nothing'}. Rename it, or map it under 'columns' in "
            f'the configuration, for example columns: {{{table}: {{{column}: "Your heading"}}}}'
        )


class UnknownKeyError(InputError):
    """A configuration key that does not exist; names the nearest one."""

    def __init__(self, *, key: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed)
        super().__init__(
            f"unknown configuration key '{key}'{nearest(key, names)}; allowed: {', '.join(names)}"
        )


class InvalidSettingError(InputError):
    """A configuration value outside its bounds or of the wrong type."""


class QuarantineLimitError(InputError):
    """More rows of a table were set aside than the configured share allows."""


class MissingCostError(InputError):
    """The objective is profit and no product has a unit cost."""


class UnknownProductError(PricingError):
    """A product that is in no table, with nothing to price it by."""


class NotPublishedError(PricingError):
    """No price table has been published in this home yet."""


class IntegrityError(PricingError):
    """Stored bytes do not match their SHA-256, or a file is damaged; the old version stays."""


class PublicationConflictError(PricingError):
    """Another publication won the compare-and-swap of the pointer."""


class NotPromotedError(PricingError):
    """The model did not pass the gates of promotion, so its prices are not published."""


class UnknownQuoteError(PricingError):
    """No served price carries this quote id, in the audit log as it is kept."""


class UnnamedUserError(InputError):
    """An act on prices came without the name of a person, or with one that is not proven."""


class DecisionConflictError(InputError):
    """An act on prices that are not those its sender looked at; look again and repeat it."""


class AuditUnavailableError(PricingError):
    """A price could not be put on record, so it is not served; try again shortly."""


class GuardRailError(PricingError):
    """A price outside its guard rails was about to leave the system."""


class BatchBreakerError(GuardRailError):
    """A whole price table moves in a way that accidents do; says what tripped and by how much."""


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return " (did you mean 'x'?)" for the closest candidate, or an empty string."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    match = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" (did you mean '{by_lower[match[0]]}'?)" if match else ""
