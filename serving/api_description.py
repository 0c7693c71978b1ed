"""What /docs.json says: BentoML's description, made true of what the gate answers.

Pure. Belongs here: errors, the token, and the addresses that are not BentoML APIs.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.gate import BENTOML_PATHS
from serving.wire import (
    DemandCurveAnswer,
    PriceAnswer,
    PriceRequest,
    PricesAnswer,
    PricesRequest,
)

Json = dict[str, Any]

OPENAPI = "3.1.0"
"""pydantic writes JSON Schema 2020-12, which 3.0 is not."""

_REF = "#/components/schemas/{model}"
_BODIES: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "/get_price": (PriceRequest, PriceAnswer),
    "/get_prices": (PricesRequest, PricesAnswer),
    "/demand_curve": (PriceRequest, DemandCurveAnswer),
}
_REFUSALS = {
    400: "The request is wrong; the sentence says how to mend it.",
    401: "A token is set, and the request does not carry it.",
    403: "No token is set, and the caller is not this machine.",
    404: "There is no price, and nothing is given to make one of.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    429: "Too many requests; Retry-After says when to come again.",
    500: "A fault of the service; its log says more.",
    503: "No price table is loaded, or the answer took too long.",
}
_ERROR = {
    "type": "object",
    "title": "Error",
    "properties": {"error": {"type": "string", "description": "One sentence."}},
    "required": ["error"],
    "additionalProperties": False,
}
_ANSWER_OF_GET = {401, 403, 404, 500, 503}


def described(spec: Json) -> Json:
    """``spec`` with the wire's own schemas, one shape of error, the token, and every address."""
    info = {name: value for name, value in spec["info"].items() if name != "contact"}
    posts = {path: _post(path, spec["paths"][path]["post"]) for path in _BODIES}
    return {
        **spec,
        "openapi": OPENAPI,
        "info": info,
        "paths": {**posts, **_gets()},
        "components": {
            "schemas": {**_schemas(), "Error": _ERROR},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _post(path: str, operation: Json) -> Json:
    """BentoML flattens a schema and loses what may be null; the wire's models say it all."""
    asked, answered = (_content(model) for model in _BODIES[path])
    answer = {"description": "The answer.", "content": answered}
    body = {"required": True, "content": asked}
    responses = {"200": answer, **_refusals(set(_REFUSALS))}
    return {"post": {**operation, "requestBody": body, "responses": responses}}


def _content(model: type[BaseModel]) -> Json:
    return {"application/json": {"schema": {"$ref": _REF.format(model=model.__name__)}}}


def _schemas() -> Json:
    modes: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = []
    for asked, answered in _BODIES.values():
        modes += [(asked, "validation"), (answered, "serialization")]
    _, found = models_json_schema(list(dict.fromkeys(modes)), ref_template=_REF)
    return dict(found["$defs"])


def _refusals(statuses: set[int]) -> Json:
    schema = {"$ref": _REF.format(model="Error")}
    return {
        str(status): {
            "description": sentence,
            "content": {"application/json": {"schema": schema}},
        }
        for status, sentence in _REFUSALS.items()
        if status in statuses
    }


def _gets() -> Json:
    """The addresses that are read."""
    quote_id = {"type": "string", "minLength": 1, "maxLength": 200}
    text = {"type": "string"}
    return {
        "/": _get("The playground, a page that loads nothing from outside.", kind="text/html"),
        "/explain/{quote_id}": _get(
            "A served price, recomputed from the versions that it was made of.",
            parameters=[_parameter("quote_id", "path", quote_id)],
        ),
        "/products": _get(
            "Up to 20 products whose id contains a text, ignoring case.",
            parameters=[_parameter("q", "query", text)],
        ),
        "/livez": _get("The process runs."),
        "/readyz": _get("A table is loaded, and which; 503 before."),
        **{
            path: _get(sentence, kind=kind)
            for path, (sentence, kind) in _OF_BENTOML.items()
            if path in BENTOML_PATHS
        },
    }


_OF_BENTOML = {
    "/metrics": ("Metrics for Prometheus, summed over the workers.", "text/plain"),
    "/docs.json": ("This description.", "application/json"),
    "/schema.json": ("The APIs, for BentoML's clients.", "application/json"),
    "/healthz": ("The process runs.", "text/plain"),
}


def _get(
    sentence: str, *, kind: str = "application/json", parameters: list[Json] | None = None
) -> Json:
    schema: Json = {"type": "object"} if kind == "application/json" else {"type": "string"}
    answer = {"description": sentence, "content": {kind: {"schema": schema}}}
    operation: Json = {
        "description": sentence,
        "responses": {"200": answer, **_refusals(_ANSWER_OF_GET)},
    }
    if parameters:
        operation["parameters"] = parameters
    return {"get": operation}


def _parameter(name: str, place: str, schema: Json) -> Json:
    return {"name": name, "in": place, "required": place == "path", "schema": schema}
