"""The stop: which products may not change price now. Works without Redis, and fails closed.

Belongs here: reading and writing ``freeze.json``. What a frozen product is answered with is
``quote``.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pricing_assets.core.errors import IntegrityError
from serving.durable import replace_durably


class Freeze(BaseModel):
    """Products whose price is held; ``everything`` holds them all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    everything: bool = False
    products: frozenset[str] = Field(default_factory=frozenset)
    damaged: bool = Field(False, exclude=True, description="The file could not be read.")

    def holds(self, product_id: str) -> bool:
        """Whether this product's price may not change."""
        return self.everything or product_id in self.products


def read_freeze(path: Path) -> Freeze:
    """The freeze in ``path``; absent holds nothing, unreadable holds everything."""
    try:
        return Freeze.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return Freeze()
    except (OSError, ValidationError):
        return Freeze(everything=True, damaged=True)


def add_to_freeze(path: Path, product_id: str | None) -> Freeze:
    """Hold one product, or everything for None."""
    now = read_freeze(path)
    products = now.products | ({product_id} if product_id is not None else set())
    return _write(path, Freeze(everything=now.everything or product_id is None, products=products))


def take_from_freeze(path: Path, product_id: str | None) -> Freeze:
    """Release one product, or all of them (and the stop itself) for None.

    Raises:
        IntegrityError: the file is damaged and one product is to be released; release all.
    """
    if product_id is None:
        return _write(path, Freeze())
    now = read_freeze(path)
    if now.damaged:
        raise IntegrityError(f"{path} cannot be read, so all is held; unfreeze everything first")
    return _write(path, Freeze(everything=now.everything, products=now.products - {product_id}))


def replace_products(path: Path, *, add: frozenset[str], take: frozenset[str]) -> Freeze:
    """Hold the products ``add`` and release ``take``; a stop of everything stays.

    Raises:
        IntegrityError: the file is damaged, which holds everything; release all first.
    """
    now = read_freeze(path)
    if now.damaged:
        raise IntegrityError(f"{path} cannot be read, so all is held; unfreeze everything first")
    return _write(path, Freeze(everything=now.everything, products=now.products - take | add))


def _write(path: Path, freeze: Freeze) -> Freeze:
    replace_durably(path, freeze.model_dump_json().encode())
    return freeze
