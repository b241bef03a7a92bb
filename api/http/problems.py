"""The one table from exception to RFC 9457 problem document.

Whatever goes wrong below becomes one `HttpProblem` in `_judge`, and every door of the HTTP side
(the Litestar app, the verify lane, the outer door) answers it from here, so a refusal looks the
same wherever it was made. What the rules refuse is in `rule_problems`, what use cases refuse in
`use_problems`. What the table doesn't know is a 500 that says nothing and is logged.
"""

import re
from collections.abc import Mapping

import msgspec
import structlog
from litestar import Request, Response
from litestar.datastructures import State
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    SerializationException,
    ValidationException,
)
from litestar.types import ExceptionHandlersMap, Send

from api.http.codes import CODES
from api.http.problem import HttpProblem as HttpProblem
from api.http.problem import Problem as Problem
from api.http.problem import unexpected
from api.http.rule_problems import rule_problem
from api.http.use_problems import use_problem
from application.errors import ApplicationError
from domain.errors import DomainError

MEDIA_TYPE = "application/problem+json"

_log = structlog.get_logger("tollhouse.http")


def problem_for(exc: Exception, request_id: str) -> tuple[Problem, dict[str, str]]:
    """The answer to `exc`: its document, and the headers that belong to it. Pure.

    Every 401 has `WWW-Authenticate`, every 503 has `Retry-After`.
    """
    found = _judge(exc)
    known = CODES[found.code]
    headers = dict(found.headers)
    if known.status == 401:
        headers.setdefault("www-authenticate", "Bearer")
    elif known.status == 503:
        headers.setdefault("retry-after", "1")
    problem = Problem(
        type=f"/errors/{known.slug}",
        title=known.title,
        status=known.status,
        code=known.code,
        detail=found.detail,
        hint=found.hint,
        param=found.param,
        factors=found.factors,
        request_id=request_id,
    )
    return problem, headers


def answer_for(exc: Exception, request_id: str) -> tuple[Problem, dict[str, str]]:
    """`problem_for`, and a fault of our own is logged with its traceback."""
    problem, headers = problem_for(exc, request_id)
    if problem.code == "INTERNAL_ERROR":
        _log.error("request_failed", request_id=request_id, exc_info=exc)
    return problem, headers


async def respond(send: Send, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
    """Answer with `problem` on a bare ASGI connection."""
    body = msgspec.json.encode(problem)
    raw = [
        (b"content-type", MEDIA_TYPE.encode()),
        (b"content-length", str(len(body)).encode()),
        *((name.encode(), value.encode()) for name, value in (headers or {}).items()),
    ]
    await send({"type": "http.response.start", "status": problem.status, "headers": raw})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def shape_problem(message: str, path: str = "") -> HttpProblem:
    """What msgspec (or Litestar, which quotes it) says about a body or a parameter, as a problem.

    `path` is where the value was expected, without the leading `$.`; the name of a missing or
    unknown field is taken from the message and added to it.
    """
    message, _, at = message.partition(" - at `")
    path = path or at.rstrip("`").rpartition("$")[2].removeprefix(".")
    if named := _FIELD_IN_MESSAGE.search(message):
        path = f"{path}.{named[1]}" if path else named[1]
    unknown = message.startswith("Object contains unknown field")
    code = "UNKNOWN_FIELD" if unknown else "INVALID_REQUEST"
    return HttpProblem(code, f"{message.rstrip('.')}.", param=path or None)


def _judge(exc: Exception) -> HttpProblem:
    match exc:
        case HttpProblem():
            return exc
        case DomainError():
            return rule_problem(exc)
        case ApplicationError():
            return use_problem(exc)
        case HTTPException() if exc.status_code < 500:
            return _judge_litestar(exc)
    return unexpected()


def _judge_litestar(exc: HTTPException) -> HttpProblem:
    # Litestar's own details are not passed on where they repeat the URL with its query.
    match exc:
        case ValidationException(extra=[{"message": str(message), **where}, *_]):
            key = str(where.get("key", ""))
            if message == f"'{key}'":  # Litestar's KeyError for a body that is not there
                return HttpProblem("INVALID_REQUEST", "This needs a body.")
            return shape_problem(message, "" if key == "data" else key)
        case ValidationException():
            named = _QUOTED.search(exc.detail)
            name = named[1] if named else None
            detail = f"{name} is missing." if name else "The request is not valid."
            return HttpProblem("INVALID_REQUEST", detail, param=name)
        case MethodNotAllowedException():
            allow = (exc.headers or {}).get("allow", "")
            return HttpProblem(
                "METHOD_NOT_ALLOWED", "This method is not allowed here.", headers={"allow": allow}
            )
        case _ if isinstance(exc.__cause__, SerializationException):
            return HttpProblem("MALFORMED_JSON", "The body is not valid JSON.")
    code = _BY_STATUS.get(exc.status_code, "INVALID_REQUEST")
    return HttpProblem(code, CODES[code].title + ".", headers=exc.headers)


_BY_STATUS = {
    401: "UNAUTHENTICATED",
    403: "FORBIDDEN",
    404: "NOT_FOUND",
    408: "REQUEST_TIMEOUT",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "TOO_MANY_REQUESTS",
}

_FIELD_IN_MESSAGE = re.compile(r"^Object (?:contains unknown|missing required) field `(.+)`$")
_QUOTED = re.compile(r"'([^']+)' for path")


def _on_error(request: Request[object, object, State], exc: Exception) -> Response[bytes]:
    problem, headers = answer_for(exc, request.scope["state"].get("request_id", ""))
    return Response(
        msgspec.json.encode(problem),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=headers,
    )


EXCEPTION_HANDLERS: ExceptionHandlersMap = {Exception: _on_error}
"""For `Litestar(exception_handlers=...)`: every exception, Litestar's own too, by the table."""
