"""How a command ends: 0, 2 with one clear line on bad input, 1 with one line on another failure.

Belongs here: errors that are raised on purpose become exit codes. Others keep their traceback.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from pricing_assets.core.errors import (
    InputError,
    NotPublishedError,
    PricingError,
    UnknownProductError,
    UnknownQuoteError,
)

BAD_INPUT = (InputError, NotPublishedError, UnknownProductError, UnknownQuoteError)
"""Errors that the caller can cure by giving something else."""


def exit_code(command: Callable[[], int]) -> int:
    """Run ``command`` and return its code; an error is one line on stderr and 2 or 1."""
    try:
        return command()
    except BAD_INPUT as failure:
        return _tell(failure, code=2)
    except PricingError as failure:
        return _tell(failure, code=1)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped\n")
        return 130


def _tell(failure: Exception, *, code: int) -> int:
    sys.stderr.write(f"error: {' '.join(str(failure).split())}\n")
    return code
