"""The OpenAPI 3.1 document of every route of the JSON API, made from the models and handlers that answer it.

Served at `GET /api/openapi.json`. Bodies and queries are the very pydantic models that
control/api/bodies.py reads requests with; what else a route is comes from its handler (handler_reading.py).
"""

import asyncio
import json
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic.json_schema import models_json_schema

from control import api
from control.api.handler_reading import Reading, reading_of, summary_of
from control.api.idempotency import HEADER, MOST_KEY_LENGTH

routes = web.RouteTableDef()

SCHEMAS = "#/components/schemas/"
_PARAMETER = re.compile(r"\{(\w+)(?::((?:[^{}]|\{[^{}]*\})+))?\}")
_MEDIA_TYPES = {
    "/api/recordings/{id}/files/{file_id}": "*/*",
    "/healthz": "text/plain",
    "/metrics": "text/plain",
    "/api/files/{id}/content": "*/*",
    "/api/files/{id}/thumbnail": "*/*",
    "/api/account/export/{id}/content": "application/zip",
}
_RAW_BODIES = {
    "/api/files/{id}/chunks/{index}": "application/octet-stream",
    "/api/payments/razorpay-return": "application/x-www-form-urlencoded",
    "/api/webhooks/mail": "message/rfc822",
    "/api/webhooks/razorpay": "application/json",
    "/api/webhooks/stripe": "application/json",
    "/api/webhooks/zendesk": "application/json",
}
_STATUSES = {"/api/payments/razorpay-return": 303}
"""What a handler's own code does not say."""

_PROBLEM = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; some problems carry further members, such as `nearest_free_slots`.",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "pattern": "^[a-z0-9_]+$"},
        "request_id": {"type": "string"},
    },
    "required": ["type", "title", "status", "detail", "code", "request_id"],
}
_ABOUT = """The JSON API of one Holdspace practice.

Browsers are known by their session cookie and send the CSRF token that `GET /api/me` answers as `X-CSRF-Token` with
every change, from our own pages only. Apps send a bearer token made by `POST /api/tokens`. Unknown fields are refused.
Moments are RFC 3339, money is in integer minor units with its currency. Lists come in pages: send `next_cursor` back as
`cursor` until it is null.
"""


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    parameters: tuple[tuple[str, str], ...]
    """(name, pattern) of what stands in the path."""

    name: str
    noun: str
    summary: str
    reading: Reading


@routes.get("/api/openapi.json")
async def openapi(_request: web.Request) -> web.Response:
    """This document."""
    return web.Response(body=await asyncio.to_thread(document_json), content_type="application/json")


@cache
def document_json() -> bytes:
    return json.dumps(document(operations()), indent=1).encode()


def operations() -> list[Operation]:
    """Every route of every noun of the API."""
    found = []
    for noun in pkgutil.iter_modules(api.__path__):
        table = getattr(import_module(f"{api.__name__}.{noun.name}"), "routes", ())
        found += [_operation(noun.name, route) for route in table if isinstance(route, web.RouteDef)]
    return sorted(found, key=lambda one: (one.path, one.method))


def _operation(noun: str, route: web.RouteDef) -> Operation:
    parameters = tuple((name, pattern or "[^{}/]+") for name, pattern in _PARAMETER.findall(route.path))
    name = getattr(route.handler, "__name__", "")
    path = _PARAMETER.sub(r"{\1}", route.path)
    return Operation(route.method, path, parameters, name, noun, summary_of(route.handler), reading_of(route.handler))


def document(found: Iterable[Operation]) -> dict[str, Any]:
    found = list(found)
    models = {one for operation in found for one in (operation.reading.body, operation.reading.query) if one}
    ordered = sorted(models, key=lambda one: (one.__name__, one.__module__))
    names, definitions = models_json_schema([(one, "validation") for one in ordered], ref_template=SCHEMAS + "{model}")
    schemas = definitions.get("$defs", {})
    references: Mapping[type, str] = {model: schema["$ref"] for (model, _), schema in names.items()}
    paths: dict[str, dict[str, Any]] = {}
    for one in found:
        paths.setdefault(one.path, {})[one.method.lower()] = _described(one, references, schemas)
    queries = {references[model].removeprefix(SCHEMAS) for one in found if (model := one.reading.query)}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Holdspace", "version": version("holdspace"), "description": _ABOUT},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM, **{name: one for name, one in schemas.items() if name not in queries}},
            "responses": {
                "Problem": {
                    "description": "Refused; nothing was changed.",
                    "content": {"application/problem+json": {"schema": {"$ref": SCHEMAS + "Problem"}}},
                }
            },
            "securitySchemes": {
                "session": {"type": "apiKey", "in": "cookie", "name": "holdspace"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
    }


def _described(one: Operation, references: Mapping[type, str], schemas: dict[str, dict[str, Any]]) -> dict[str, Any]:
    reading = one.reading
    summary, _, rest = one.summary.partition("\n")
    who = f"For: {', '.join(sorted(reading.roles))}." if reading.roles else ""
    operation: dict[str, Any] = {
        "operationId": f"{one.noun}.{one.name}",
        "tags": [one.noun],
        "summary": summary,
        "description": " ".join(text for text in (rest.strip(), who) if text),
        "parameters": [*_path_parameters(one), *_query_parameters(reading, references, schemas), *_key(reading)],
        "responses": _responses(one),
        "security": [{"session": []}, {"bearer": []}] if reading.signed_in else [],
    }
    if reading.body is not None:
        needed = any(field.is_required() for field in reading.body.model_fields.values())
        content = {"application/json": {"schema": {"$ref": references[reading.body]}}}
        operation["requestBody"] = {"required": needed, "content": content}
    elif one.path in _RAW_BODIES:
        operation["requestBody"] = {"required": True, "content": {_RAW_BODIES[one.path]: {"schema": {}}}}
    return operation


def _path_parameters(one: Operation) -> Iterator[dict[str, Any]]:
    for name, pattern in one.parameters:
        schema = {"type": "string", "pattern": f"^({pattern})$"}
        yield {"name": name, "in": "path", "required": True, "schema": schema}


def _query_parameters(
    reading: Reading, references: Mapping[type, str], schemas: dict[str, dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    if reading.query is not None:
        schema = schemas[references[reading.query].removeprefix(SCHEMAS)]
        for name, member in schema.get("properties", {}).items():
            required = name in schema.get("required", ())
            yield {"name": name, "in": "query", "required": required, "schema": _without_null(member)}
    for name in reading.days:
        yield {"name": name, "in": "query", "required": True, "schema": {"type": "string", "format": "date"}}
    for name in reading.texts:
        yield {"name": name, "in": "query", "required": False, "schema": {"type": "string"}}


def _without_null(member: dict[str, Any]) -> dict[str, Any]:
    """An address has no null: what is not said is left out."""
    choices = [one for one in member.get("anyOf", ()) if one != {"type": "null"}]
    if len(choices) != 1:
        return member
    return {**{name: one for name, one in member.items() if name not in ("anyOf", "default")}, **choices[0]}


def _key(reading: Reading) -> Iterator[dict[str, Any]]:
    if reading.key is not None:
        schema = {"type": "string", "minLength": 1, "maxLength": MOST_KEY_LENGTH, "pattern": "^[ -~]+$"}
        described = "A repeat under the same key within 24 hours gets the first answer; another body is 422."
        required = reading.key == "required"
        yield {"name": HEADER, "in": "header", "required": required, "schema": schema, "description": described}


def _responses(one: Operation) -> dict[str, Any]:
    if one.path == "/api/live":
        return {"101": {"description": "A WebSocket."}, "4XX": {"$ref": "#/components/responses/Problem"}}
    media_type = _MEDIA_TYPES.get(one.path, one.reading.media_type)
    found: dict[str, Any] = {}
    for status in sorted(one.reading.statuses or {_STATUSES.get(one.path, 200)}):
        found[str(status)] = {"description": "Done."}
        if status not in {204, 303}:
            schema = {"type": "object"} if media_type == "application/json" else {}
            found[str(status)]["content"] = {media_type: {"schema": schema}}
    return {**found, "4XX": {"$ref": "#/components/responses/Problem"}}
