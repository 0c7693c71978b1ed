"""The bodies of requests and answers: strict models, and one clear sentence for each mistake.

Belongs here: JSON in and out. What an answer says is ``quote``; HTTP is ``gate``.
"""

from __future__ import annotations

import json
import math
import unicodedata
from typing import Annotated, Any

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from pricing_assets.core.errors import InputError, nearest
from pricing_assets.core.price_parameters import Objective
from pricing_assets.core.tables import MAX_ID_LENGTH
from serving.context import WEEKDAYS, Context

MAX_ITEMS = 10_000
"""Items of one ``get_prices``."""
MAX_NUMBER = 1e9
"""Prices and stocks above this are refused as wrong input."""
MIN_PRICE = 1e-3
"""Prices below the smallest minor unit of any currency are refused as wrong input."""


def _checked_id(value: str) -> str:
    if value.isascii() and value.isprintable():
        return value
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in value):
        raise ValueError("must hold no control character")
    return value


def _day(value: str) -> str:
    day = value.strip().title()
    full = next((name for name in WEEKDAYS if day in (name, name[:3])), None)
    if full is None:
        raise ValueError(f"must be a day, {WEEKDAYS[0]} to {WEEKDAYS[-1]}")
    return full


def _any_case(name: str) -> str:
    return "".join(f"[{letter.upper()}{letter.lower()}]" for letter in name)


_DAY_PATTERN = "|".join(f"{_any_case(name[:3])}({_any_case(name[3:])})?" for name in WEEKDAYS)
"""The days for the description, which knows no flag for ignoring case."""
Day = Annotated[
    str,
    AfterValidator(_day),
    Field(json_schema_extra={"pattern": rf"^\s*({_DAY_PATTERN})\s*$"}),
]
Identifier = Annotated[
    str, Field(min_length=1, max_length=MAX_ID_LENGTH), AfterValidator(_checked_id)
]
Price = Annotated[float, Field(ge=MIN_PRICE, le=MAX_NUMBER)]


class PriceRequest(BaseModel):
    """One product and what is known of now; all but the product is optional."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    product_id: Identifier = Field(description="Product, as in the raw tables.")
    store_id: Identifier | None = Field(None, description="Store, where prices differ by store.")
    segment: Identifier | None = Field(None, description="Customer segment.")
    current_stock: Annotated[float, Field(ge=0, le=MAX_NUMBER)] | None = Field(
        None, description="Units on hand."
    )
    day_of_week: Day | None = Field(None, description="Monday to Sunday.")
    comp_price: Price | None = Field(None, description="The rival's price, currency units.")
    is_promo: bool | None = Field(None, description="Whether a promotion runs.")
    current_price: Price | None = Field(
        None, description="Price that changes are counted from, currency units."
    )
    unit_cost: Annotated[float, Field(ge=0, le=MAX_NUMBER)] | None = Field(
        None, description="Unit cost, currency units; prices a product that no table knows."
    )
    objective: Objective | None = Field(None, description="What the price maximises.")

    @property
    def context(self) -> Context:
        """The request without its keys."""
        day = self.day_of_week
        return Context(
            current_stock=self.current_stock,
            day_of_week=None if day is None else WEEKDAYS.index(day),
            comp_price=self.comp_price,
            is_promo=self.is_promo,
            current_price=self.current_price,
            unit_cost=self.unit_cost,
            objective=self.objective,
        )


class PriceAnswer(BaseModel):
    """The answer to one request."""

    product_id: str
    recommended_price: float
    confidence: float = Field(description="0 to 1.")
    currency: str
    price_floor: float
    price_ceiling: float
    expected_units: float | None = Field(description="Units over the table's horizon.")
    source: str = Field(
        description="The rung that answered: table, live, cache, rule, current, frozen or held."
    )
    reasons: list[str]
    table_version: str
    model_version: str
    quote_id: str


class ItemError(BaseModel):
    """What was wrong with one item of ``get_prices``."""

    product_id: str | None = None
    error: str


class PricesRequest(BaseModel):
    """Up to 10,000 requests; each is checked by itself."""

    model_config = ConfigDict(extra="forbid")

    items: list[Any] = Field(
        max_length=MAX_ITEMS,
        description="Each item is the body of get_price.",
        json_schema_extra={"items": PriceRequest.model_json_schema()},
    )


class PricesAnswer(BaseModel):
    """One entry for each item, in order."""

    prices: list[PriceAnswer | ItemError]


class CurvePointAnswer(BaseModel):
    """Expectation and 90 % band over the horizon at one price; profit is null without a cost."""

    price: float
    units: float
    units_low_90: float
    units_high_90: float
    revenue: float
    revenue_low_90: float
    revenue_high_90: float
    profit: float | None
    profit_low_90: float | None
    profit_high_90: float | None


class DemandCurveAnswer(BaseModel):
    """The demand curve between the guard rails, and where the product stands on it."""

    product_id: str
    currency: str
    horizon_days: int
    points: list[CurvePointAnswer]
    current: CurvePointAnswer | None
    recommended: CurvePointAnswer
    table_version: str
    model_version: str


def decode_json(body: bytes) -> Any:
    """The JSON value of a request's body.

    Raises:
        InputError: it is not JSON in UTF-8, or it holds NaN, an infinity or a key given twice.
    """
    quick = _decoded_quickly(body)
    if quick is not None:
        return quick
    try:
        text = body.decode("utf-8")
        return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique)
    except InputError:
        raise
    except RecursionError:
        raise InputError("the body is nested too deeply; send one flat JSON object") from None
    except ValueError as failure:
        raise InputError(f"the body is not JSON in UTF-8: {failure}") from None


def _decoded_quickly(body: bytes) -> dict[str, Any] | None:
    """The value of a plain, correct body of a price request; None leaves it to the careful way.

    The fast parser keeps the last of a key given twice. A colon stands after every key, so that
    with no more colons than keys kept, none was given twice, and nothing lies deeper.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if type(value) is not dict:
        return None
    keys = len(value)
    items = value.get("items")
    if type(items) is list:
        keys += sum(len(item) for item in items if type(item) is dict)
    return value if body.count(b":") == keys else None


def price_request(value: Any) -> PriceRequest:
    """The request in a decoded body.

    Raises:
        InputError: what is wrong, in one sentence.
    """
    if not isinstance(value, dict):
        raise InputError('the body must be a JSON object such as {"product_id": "SKU12345"}')
    try:
        return PriceRequest.model_validate(value)
    except ValidationError as failure:
        raise InputError(error_sentence(failure, PriceRequest)) from None


def price_items(value: Any) -> list[Any]:
    """The items in a decoded body, each still unchecked.

    Raises:
        InputError: there is no list of items, or it is too long.
    """
    if not isinstance(value, dict) or set(value) != {"items"}:
        raise InputError('the body must be {"items": [...]} and nothing else')
    items = value["items"]
    if not isinstance(items, list):
        raise InputError("items must be a list of requests")
    if len(items) > MAX_ITEMS:
        raise InputError(f"items holds {len(items)} requests; at most {MAX_ITEMS} are taken")
    return items


def encode_json(value: Any) -> bytes:
    """JSON bytes; a NaN or an infinity cannot pass.

    Raises:
        ValueError: a number is not finite.
    """
    return orjson.dumps(_finite(value))


def error_sentence(failure: ValidationError, model: type[BaseModel]) -> str:
    """The first mistake as one sentence that names the field, the value and the cure."""
    error = failure.errors(include_url=False)[0]
    field = str(error["loc"][0]) if error["loc"] else "body"
    if error["type"] == "extra_forbidden":
        return f"unknown field '{_short(field)}'{nearest(field[:100], model.model_fields)}"
    if error["type"] == "missing":
        return f"the field '{field}' is required"
    message = error["msg"].removeprefix("Value error, ")
    message = message.removeprefix("Input ").removeprefix("String ").removeprefix("Value ")
    return f"{field} is {_short(error['input'])}: it {message}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else repr(value)
    printable = "".join(letter if letter.isprintable() else "?" for letter in text[:60])
    return printable + ("..." if len(text) > 60 else "")


def _no_constant(name: str) -> Any:
    raise InputError(f"the body holds {name}; numbers must be finite")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InputError("the body gives a field twice; keep one")
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("an answer holds a number that is not finite")
    if isinstance(value, dict):
        for part in value.values():
            _finite(part)
    elif isinstance(value, list):
        for part in value:
            _finite(part)
    return value
