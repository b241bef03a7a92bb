"""The OpenAPI 3.1 document, from what the routes carry: one source for it and for the code.

Litestar's own generator is not used: it can't know the error codes, the position headers and
the examples, and the verify lane is no route of its.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from api.http import verify_lane
from api.http.openapi_errors import RATE_LIMIT_HEADERS, error_responses
from api.http.operation import Operation, Parameter, Who
from api.http.problems import Problem
from api.http.verify_operation import VERIFY

_BEARER: dict[str, list[str]] = {"bearer": []}
_KEY: dict[str, list[str]] = {"key": []}
_CLIENT: dict[str, list[str]] = {"client": []}
_COOKIE: dict[str, list[str]] = {"cookie": []}
_SECURITY: dict[Who, list[dict[str, list[str]]]] = {
    "public": [],
    "user": [_BEARER, _COOKIE],
    "actor": [_BEARER, _KEY, _COOKIE],
    "key": [_BEARER, _KEY],
    "staff": [_BEARER, _KEY, _COOKIE],
    "service": [_BEARER, _KEY, _CLIENT],
}
_SCHEMES = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token from sign-in, or an API key.",
    },
    "key": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "An API key."},
    "cookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "__Host-tollhouse_access",
        "description": "A session in cookies; what changes something needs `X-CSRF-Token` as well.",
    },
    "client": {
        "type": "http",
        "scheme": "basic",
        "description": "A service key: its id as the client id, the key as the secret.",
    },
}
_POSITION = {"type": "string", "pattern": "^[^:]+:[0-9]+$"}
_MIN_POSITION = Parameter(
    "Tollhouse-Min-Position",
    "Answer only once everything up to this `Tollhouse-Position` is seen.",
    _POSITION,
    "log5f0c7d2a91b8:1042",
    "header",
)
_IDEMPOTENCY_KEY = Parameter(
    "Idempotency-Key",
    "Repeats of this request get the first answer again, for 7 days.",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "7b0f6f1e-5c1c-4b0e-9a53-1df6ad0a3c55",
    "header",
)


def document(app: Litestar, version: str) -> bytes:
    """Every route of `app` that carries an operation, and the verify lane, as OpenAPI JSON."""
    found = [*_operations(app), ("post", verify_lane.PATH, VERIFY)]
    shapes = {each for _, _, operation in found for each in (operation.answer, operation.body)}
    shapes |= {also.answer for _, _, operation in found for also in operation.also}
    shapes |= {operation.body_ending for _, _, operation in found}
    refs, schemas = _schemas(each for each in shapes if each is not None)
    paths: dict[str, dict[str, Any]] = {}
    for method, path, operation in sorted(found, key=lambda each: each[1]):
        paths.setdefault(path, {})[method] = _operation(operation, refs)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Tollhouse",
                "version": version,
                "summary": "Accounts, API keys and exact quotas.",
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "paths": paths,
            "components": {"schemas": schemas, "securitySchemes": _SCHEMES},
        }
    )


def _operations(app: Litestar) -> Iterator[tuple[str, str, Operation]]:
    for route in app.routes:
        for handler in getattr(route, "route_handlers", ()):
            if not isinstance(handler, HTTPRouteHandler):
                continue
            operation = handler.opt.get("operation")
            if isinstance(operation, Operation):
                path = route.path_format
                for method in handler.http_methods:
                    yield str(method).lower(), path, operation


def _schemas(shapes: Iterable[type[msgspec.Struct]]) -> tuple[dict[type, Any], dict[str, Any]]:
    types: list[type] = [*sorted(shapes, key=lambda each: each.__name__), Problem]
    refs, components = msgspec.json.schema_components(
        types, ref_template="#/components/schemas/{name}"
    )
    return dict(zip(types, refs, strict=True)), components


def _operation(operation: Operation, refs: dict[type, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": operation.description,
        "security": _SECURITY[operation.who],
        "x-access": _access(operation),
        "parameters": [_parameter(each) for each in _parameters(operation)],
        "responses": {
            str(operation.status): _success(operation, refs),
            **error_responses(operation, refs[Problem]),
        },
    }
    if operation.also_503:
        described["responses"]["503"] = _success(operation, refs)
    for also in operation.also:
        shown = msgspec.structs.replace(
            operation,
            status=also.status,
            summary=also.description,
            answer=also.answer,
            example=also.example,
        )
        described["responses"][str(also.status)] = _success(shown, refs)
    if operation.body is not None:
        schema = refs[operation.body]
        if operation.body_ending is not None:
            schema = {"anyOf": [schema, refs[operation.body_ending], {"type": "null"}]}
        media: dict[str, Any] = {"schema": schema, "example": operation.body_example}
        content = {"application/json": media}
        if operation.form:
            content["application/x-www-form-urlencoded"] = media
        described["requestBody"] = {"required": not operation.body_optional, "content": content}
    return described


def _access(operation: Operation) -> dict[str, Any]:
    """Who may, as `api.http.access` holds to it: tests make a matrix of it."""
    declared = {
        "who": operation.who,
        "right": operation.right,
        "permission": operation.permission,
        "own_hand": operation.own_hand or None,
        "reason": operation.reason,
    }
    return {name: value for name, value in declared.items() if value is not None}


def _parameters(operation: Operation) -> Iterator[Parameter]:
    yield from operation.parameters
    if operation.reads:
        yield _MIN_POSITION
    if operation.once:
        yield _IDEMPOTENCY_KEY


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
        "example": parameter.example,
    }


def _success(operation: Operation, refs: dict[type, Any]) -> dict[str, Any]:
    headers: dict[str, Any] = {"Request-Id": {"schema": {"type": "string"}}}
    if operation.commands:
        headers["Tollhouse-Position"] = {"schema": _POSITION}
    if operation.once:
        description = "`true` where this is the first answer again."
        headers["Idempotent-Replayed"] = {"schema": {"const": "true"}, "description": description}
    if operation.status == 201:
        headers["Location"] = {"schema": {"type": "string"}}
    if operation.limited:
        headers |= RATE_LIMIT_HEADERS
    response: dict[str, Any] = {"description": operation.summary, "headers": headers}
    if operation.answer is not None:
        media = {"schema": refs[operation.answer], "example": operation.example}
        response["content"] = {
            each: media if each == "application/json" else {"schema": {"type": "string"}}
            for each in operation.media_types
        }
    return response
