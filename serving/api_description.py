"""What /docs.json says: BentoML's description, made true of what the gate answers.

Pure. Belongs here: errors, the token, and the addresses that are not BentoML APIs.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from serving.gate import BENTOML_PATHS

Json = dict[str, Any]

OPENAPI = "3.1.0"
"""pydantic writes JSON Schema 2020-12, which 3.0 is not."""

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
    """``spec`` with one shape of error, the token, and every address that is answered."""
    made = deepcopy(spec)
    made["openapi"] = OPENAPI
    made["info"].pop("contact", None)
    posts = {path: item for path, item in made["paths"].items() if "post" in item}
    for item in posts.values():
        answers = item["post"]["responses"]
        kept = next(answer for status, answer in answers.items() if int(status) == 200)
        item["post"]["responses"] = {"200": kept, **_refusals(set(_REFUSALS))}
    made["paths"] = {**posts, **_gets()}
    schemas = made["components"]["schemas"]
    used = _used(made["paths"], schemas)
    made["components"] = {
        "schemas": {**{name: schemas[name] for name in sorted(used)}, "Error": _ERROR},
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    }
    made["security"] = [{}, {"token": []}]
    return _plain(made)


def _refusals(statuses: set[int]) -> Json:
    schema = {"$ref": "#/components/schemas/Error"}
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


def _used(value: Any, schemas: Json) -> set[str]:
    """Names of the schemas that ``value`` refers to, directly or through another."""
    found: set[str] = set()
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name in schemas and name not in found:
                found.add(name)
                waiting.append(schemas[name])
            waiting.extend(part.values())
        elif isinstance(part, list):
            waiting.extend(part)
    return found


def _plain(value: Any) -> Any:
    """``value`` without BentoML's own mark on a schema."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items() if key != "root_input"}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value
