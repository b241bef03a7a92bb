"""Which refusals an operation can give: its own, and those that follow from what it is."""

from collections import defaultdict
from typing import Any

import msgspec

from api.http.answers import JSON
from api.http.code import Code
from api.http.codes import CODES
from api.http.oauth_errors import as_oauth
from api.http.operation import Operation
from api.http.problems import MEDIA_TYPE, Problem

_ANY = (
    "IP_NOT_ALLOWED",
    "HEADERS_TOO_LARGE",
    "URL_TOO_LONG",
    "DUPLICATE_PARAMETER",
    "KEY_IN_URL",
    "INTERNAL_ERROR",
)
_BODY = (
    "INVALID_REQUEST",
    "UNKNOWN_FIELD",
    "DUPLICATE_FIELD",
    "MALFORMED_JSON",
    "JSON_TOO_DEEP",
    "BODY_TOO_LARGE",
    "REQUEST_TIMEOUT",
    "UNSUPPORTED_MEDIA_TYPE",
)
_CALLER = (
    "INVALID_REQUEST",
    "UNAUTHENTICATED",
    "FORBIDDEN",
    "DIRECTORY_STALE",
    "TOO_MANY_REQUESTS",
)
_READ = ("INVALID_POSITION", "FOREIGN_LOG", "POSITION_NOT_REACHED")
_COMMAND = ("VERSION_CONFLICT", "STORE_UNAVAILABLE")
_ONCE = ("INVALID_REQUEST", "IDEMPOTENCY_KEY_REUSED", "IDEMPOTENCY_IN_FLIGHT")

RATE_LIMIT_HEADERS = {
    "RateLimit-Policy": {
        "description": "The limit: so many requests in so many seconds.",
        "schema": {"type": "string", "examples": ['"public";q=60;w=60']},
    },
    "RateLimit": {
        "description": "How many remain, and in how many seconds there are more.",
        "schema": {"type": "string", "examples": ['"public";r=59;t=60']},
    },
    **{
        f"X-RateLimit-{name}": {"description": description, "schema": {"type": "integer"}}
        for name, description in (
            ("Limit", "`q` of RateLimit-Policy, for older clients."),
            ("Remaining", "`r` of RateLimit, for older clients."),
            ("Reset", "When there are more, in Unix seconds, for older clients."),
        )
    },
}
_THROTTLED_HEADERS = {
    "Retry-After": {
        "description": "Seconds to wait.",
        "schema": {"type": "integer", "minimum": 1},
    },
    **RATE_LIMIT_HEADERS,
}


def codes_of(operation: Operation) -> list[Code]:
    """Every code that it can answer, by status."""
    names = {*_ANY, *operation.errors}
    for holds, implied in (
        (operation.body is not None, _BODY),
        (bool(operation.parameters), ("INVALID_REQUEST",)),
        (not operation.open_query, ("INVALID_REQUEST",)),
        (operation.who != "public", _CALLER),
        (operation.own_hand, ("NOT_WHILE_IMPERSONATING",)),
        (operation.reason is not None, ("ACCOUNT_NOT_ACTIVE",)),
        (operation.reads, _READ),
        (operation.commands, _COMMAND),
        (operation.once, _ONCE),
        (operation.limited, ("TOO_MANY_REQUESTS",)),
    ):
        if holds:
            names.update(implied)
    return sorted((CODES[name] for name in names), key=lambda code: (code.status, code.code))


def error_responses(operation: Operation, problem_schema: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI responses of all refusals, with an example of each code."""
    by_status: dict[int, list[Code]] = defaultdict(list)
    for code in codes_of(operation):
        by_status[code.status].append(code)
    return {
        str(status): {
            "description": ", ".join(f"`{code.code}`" for code in codes),
            **({"headers": _THROTTLED_HEADERS} if status == 429 else {}),
            "content": {
                media_type: {
                    "schema": problem_schema,
                    "examples": {code.code: _example(code, operation.oauth) for code in codes},
                }
                for media_type in ((MEDIA_TYPE, JSON) if operation.oauth else (MEDIA_TYPE,))
            },
        }
        for status, codes in by_status.items()
    }


def _example(code: Code, oauth: bool) -> dict[str, Any]:
    problem = Problem(
        type=f"/errors/{code.slug}",
        title=code.title,
        status=code.status,
        code=code.code,
        detail=code.example,
        param=code.param,
        request_id="req_5f0c7d2a91b84e6633aa18f2",
    )
    shown = as_oauth(problem) if oauth else problem
    return {"summary": code.title, "value": msgspec.to_builtins(shown)}
