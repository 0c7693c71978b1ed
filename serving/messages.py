"""The messages of gRPC as the bodies of HTTP, and back: one meaning, two encodings.

Belongs here: conversions only. What a request may hold is ``wire``; nothing is checked here but
that every number that leaves is finite.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.struct_pb2 import Struct

from serving.protocol import pricing_pb2 as pb

Answer = Mapping[str, Any]

_PRICE_NUMBERS = ("recommended_price", "confidence", "price_floor", "price_ceiling")


def body_of(message: pb.PriceRequest) -> dict[str, Any]:
    """The body that says the same over HTTP; a field that is not given is absent."""
    return {field.name: value for field, value in message.ListFields()}


def price(answer: Answer) -> pb.Price:
    """The answer to one request.

    Raises:
        ValueError: a number is not finite.
    """
    _refuse_infinite(answer[name] for name in _PRICE_NUMBERS)
    _refuse_infinite((answer["expected_units"],))
    return pb.Price(**answer)


def prices(answers: Iterable[Answer]) -> pb.Prices:
    """One entry for each item, in order; errors as in ``price``."""
    return pb.Prices(prices=[_price_or_error(answer) for answer in answers])


def demand_curve(answer: Answer) -> pb.DemandCurve:
    """The curve; errors as in ``price``."""
    points = [_point(point) for point in answer["points"]]
    ends = {name: _point(answer[name]) for name in ("current", "recommended") if answer[name]}
    rest = {name: value for name, value in answer.items() if name not in ("points", *ends)}
    return pb.DemandCurve(points=points, **ends, **rest)


def struct(answer: Answer) -> Struct:
    """Any JSON object; errors as in ``price``."""
    message = Struct()
    _refuse_infinite(_numbers(answer))
    message.update(answer)
    return message


def _price_or_error(answer: Answer) -> pb.PriceOrError:
    if "error" in answer:
        return pb.PriceOrError(error=pb.ItemError(**answer))
    return pb.PriceOrError(price=price(answer))


def _point(point: Answer) -> pb.CurvePoint:
    _refuse_infinite(point.values())
    return pb.CurvePoint(**point)


def _numbers(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _numbers(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, float):
        yield value


def _refuse_infinite(numbers: Iterable[float | None]) -> None:
    if not all(number is None or math.isfinite(number) for number in numbers):
        raise ValueError("an answer holds a number that is not finite")
