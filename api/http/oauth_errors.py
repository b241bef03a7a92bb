"""Refusals as OAuth clients read them: problem documents with RFC 6749's members as well.

`error` and `error_description` are extension members (RFC 9457, 3.2), so both standards hold of one
document (RFC 6749, 5.2; 7009, 2.2.1; 7662, 2.3). Clients of OAuth look into `application/json`
only: who takes that by name, and problem documents not, gets the same document as that.
"""

import re

import msgspec
from litestar import Request, Response
from litestar.datastructures import State
from litestar.types import ExceptionHandlersMap

from api.http.answers import JSON
from api.http.problem import Problem
from api.http.problems import MEDIA_TYPE, answer_for

OAUTH_PATHS = frozenset({"/oauth/introspect", "/oauth/revoke", "/v1/auth/refresh"})
"""What OAuth clients call."""

_BY_CODE = {
    "REFRESH_TOKEN_INVALID": "invalid_grant",
    "ACCOUNT_NOT_ACTIVE": "invalid_grant",
}
_BY_STATUS = {401: "invalid_client", 403: "unauthorized_client", 503: "temporarily_unavailable"}
_NOT_TOLD = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
"""What `error_description` may not have: quotes, backslashes, and whatever isn't ASCII."""


def as_oauth(problem: Problem) -> Problem:
    """The same problem, with what OAuth calls it."""
    error = _BY_CODE.get(problem.code) or _BY_STATUS.get(problem.status)
    if problem.code == "INVALID_REQUEST" and problem.param == "grant_type":
        error = "unsupported_grant_type"
    if error is None:
        error = "server_error" if problem.status >= 500 else "invalid_request"
    described = _NOT_TOLD.sub("'", problem.detail)
    return msgspec.structs.replace(problem, error=error, error_description=described)


def _on_error(request: Request[object, object, State], exc: Exception) -> Response[bytes]:
    problem, headers = answer_for(exc, request.scope["state"].get("request_id", ""))
    return Response(
        msgspec.json.encode(as_oauth(problem)),
        status_code=problem.status,
        media_type=_wanted(request.headers.get("accept", "")),
        headers=headers,
    )


def _wanted(accept: str) -> str:
    named = {each.partition(";")[0].strip().lower() for each in accept.split(",")}
    return JSON if JSON in named and MEDIA_TYPE not in named else MEDIA_TYPE


OAUTH_EXCEPTION_HANDLERS: ExceptionHandlersMap = {Exception: _on_error}
"""For the routes that OAuth clients call, in the place of those of the app."""
