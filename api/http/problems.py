"""The one table from exception to RFC 9457 problem document.

Whatever goes wrong below becomes one `HttpProblem` in `_judge`, and every door of the HTTP side
(the Litestar app, the verify lane, the outer door) answers it from here, so a refusal looks the
same wherever it was made. What the table doesn't know is a 500 that says nothing and is logged.
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

from api.http import throttled
from api.http.codes import CODES
from api.http.problem import HttpProblem as HttpProblem
from api.http.problem import Problem as Problem
from application import errors as application
from domain import errors as domain
from domain.credit_amounts import decimal

MEDIA_TYPE = "application/problem+json"
MOST_FAULTS = 50

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
        case domain.DomainError():
            return _judge_domain(exc)
        case application.ApplicationError():
            return _judge_application(exc)
        case HTTPException() if exc.status_code < 500:
            return _judge_litestar(exc)
    return _unexpected()


def _judge_domain(exc: domain.DomainError) -> HttpProblem:
    match exc:
        case domain.InvalidCommand():
            return HttpProblem("INVALID_REQUEST", exc.reason, param=exc.param)
        case domain.NotFound():
            return HttpProblem("NOT_FOUND", f"No such {exc.noun}.")
        case domain.NotPermitted():
            return HttpProblem("FORBIDDEN", f"This needs the right `{exc.right}`.")
        case domain.OnOneself():
            return HttpProblem("ON_ONESELF", CODES["ON_ONESELF"].example)
        case domain.Taken(kind="email"):
            return HttpProblem("EMAIL_TAKEN", "This email address is taken.", param="email")
        case domain.Taken(kind="username"):
            return HttpProblem("USERNAME_TAKEN", "This username is taken.", param="username")
        case domain.Taken():
            return HttpProblem("ALREADY_TAKEN", f"This {exc.kind.replace('_', ' ')} is taken.")
        case domain.AccountNotActive(status="unverified"):
            hint = "Have a code mailed by `POST /v1/auth/otp` with the purpose `verify_email`."
            return HttpProblem(
                "ACCOUNT_NOT_ACTIVE", "The account's address is not proven yet.", hint
            )
        case domain.AccountNotActive():
            return HttpProblem("ACCOUNT_NOT_ACTIVE", f"The account is {exc.status}.")
        case domain.NoSecondFactor():
            return HttpProblem("NO_SECOND_FACTOR", CODES["NO_SECOND_FACTOR"].example)
        case domain.TooManyPasskeys():
            detail = f"An account has at most {exc.limit} passkeys."
            return HttpProblem("TOO_MANY_PASSKEYS", detail)
        case domain.EntitlementExceeded():
            detail = f"The plan {exc.plan} permits {exc.limit} ({exc.entitlement})."
            return HttpProblem("PLAN_LIMIT_REACHED", detail)
        case domain.InvalidQuery():
            detail = f"Column {exc.column}: {exc.reason}."
            return HttpProblem("INVALID_PERMISSION_QUERY", detail, param=exc.param)
        case domain.ImportRefused():
            return _import_refused(exc)
        case domain.KeyRevoked():
            return HttpProblem("KEY_REVOKED", "This key is revoked.")
        case domain.UnknownPlan():
            return HttpProblem("UNKNOWN_PLAN", f"There is no plan `{exc.name}`.", param="plan")
        case domain.UnknownPackage():
            detail = f"There is no package `{exc.name[:40]}`."
            return HttpProblem("UNKNOWN_PACKAGE", detail, param="package")
        case domain.UnknownProvider():
            known = ", ".join(exc.known) or "none"
            detail = f"The payment provider `{exc.name[:40]}` is not set up here."
            if not exc.name:
                detail = "Which payment provider is not said."
            hint = f"Set up are: {known}."
            return HttpProblem("UNKNOWN_PROVIDER", detail, hint, param="provider")
        case domain.UnknownOperation():
            known = ", ".join(exc.known[:20]) or "none"
            return HttpProblem(
                "UNKNOWN_OPERATION",
                f"The plan prices no operation `{exc.name}`.",
                hint=f"It prices: {known}.",
                param="operation",
            )
        case domain.InvalidAmount():
            return HttpProblem("INVALID_AMOUNT", f"{exc.param}: {exc.reason}.", param=exc.param)
        case domain.CreditsExhausted():
            needed, available = decimal(exc.needed), decimal(exc.available)
            detail = f"This takes {needed} credits, and {available} are available."
            return HttpProblem("CREDITS_EXHAUSTED", detail)
        case domain.HoldEnded():
            code = f"HOLD_{exc.status.upper()}"
            return HttpProblem(code, CODES[code].example)
        case domain.PlanNotOffered():
            detail = f"The plan `{exc.name}` takes no new accounts."
            return HttpProblem("PLAN_RETIRED", detail, param="plan")
        case domain.PlanInUse():
            return HttpProblem("PLAN_IN_USE", f"The plan `{exc.name}` can't be retired.")
        case domain.AccountIsStaff():
            detail = "The account has a level of staff: dismiss it first."
            return HttpProblem("ACCOUNT_IS_STAFF", detail)
        case domain.NotClosed():
            detail = "Its grace period is over." if exc.too_late else "The account is not closed."
            return HttpProblem("NOT_CLOSED", detail)
        case domain.NotSelfService():
            detail = f"The plan `{exc.name}` is given by the operator only."
            return HttpProblem("NOT_SELF_SERVICE", detail, param="plan")
    return _unexpected()


def _import_refused(exc: domain.ImportRefused) -> HttpProblem:
    told = [f"items[{each.index}].{each.param}: {each.reason}" for each in exc.faults[:MOST_FAULTS]]
    items = len({each.index for each in exc.faults})
    more = f"; and {len(exc.faults) - MOST_FAULTS} more" if len(exc.faults) > MOST_FAULTS else ""
    return HttpProblem(
        "IMPORT_REFUSED",
        f"{items} of {exc.items} items can't be imported, and none was. {'; '.join(told)}{more}.",
        param=f"items[{exc.faults[0].index}].{exc.faults[0].param}",
    )


def _judge_application(exc: application.ApplicationError) -> HttpProblem:
    match exc:
        case application.Overloaded():
            after = {"retry-after": str(exc.retry_after_seconds)}
            return HttpProblem("OVERLOADED", f"Too busy at present: {exc.what}.", headers=after)
        case application.TooManyKeys():
            return throttled.too_many_keys(exc)
        case application.TooManyAttempts():
            return throttled.too_many_attempts(exc)
        case application.SignInsThrottled():
            return throttled.sign_ins_throttled(exc)
        case application.MfaRequired():
            detail = "A second factor is needed."
            if exc.wrong is not None:
                detail = "The second factor is wrong, or was used already."
            return HttpProblem("MFA_REQUIRED", detail, param=exc.wrong, factors=exc.factors)
        case application.PasskeyNotAccepted():
            detail = CODES["PASSKEY_NOT_ACCEPTED"].example
            return HttpProblem("PASSKEY_NOT_ACCEPTED", detail, param="credential")
        case application.PositionNotReached():
            detail = f"Position {exc.wanted} is not reached yet."
            return HttpProblem("POSITION_NOT_REACHED", detail, param="Tollhouse-Min-Position")
        case application.ForeignLog():
            detail = "This position belongs to another log."
            return HttpProblem("FOREIGN_LOG", detail, param="Tollhouse-Min-Position")
        case application.IdempotencyInFlight():
            detail = CODES["IDEMPOTENCY_IN_FLIGHT"].example
            after = {"retry-after": "1"}
            return HttpProblem(
                "IDEMPOTENCY_IN_FLIGHT", detail, param="Idempotency-Key", headers=after
            )
        case application.IdempotencyKeyReused():
            detail = CODES["IDEMPOTENCY_KEY_REUSED"].example
            return HttpProblem("IDEMPOTENCY_KEY_REUSED", detail, param="Idempotency-Key")
        case application.QueryNotAnswered():
            return HttpProblem(_QUERY_FAULTS[exc.fault], exc.detail, exc.hint, exc.param)
        case application.AnalyticsUnavailable():
            hint = "The lake is written by `tollhouse work`: see that it runs."
            after = {"retry-after": "10"}
            return HttpProblem("ANALYTICS_UNAVAILABLE", exc.detail, hint, headers=after)
        case application.WebhookRefused():
            return HttpProblem(_WEBHOOK_FAULTS[exc.fault], exc.detail)
    # The rest say nothing of their own: their reasons, if any, are for logs.
    if code := _WITHOUT_WORDS.get(type(exc)):
        return HttpProblem(code, CODES[code].example)
    return _unexpected()


_QUERY_FAULTS: dict[application.QueryFault, str] = {
    "invalid": "INVALID_REQUEST",
    "refused": "QUERY_REFUSED",
    "too_long": "QUERY_TOO_LONG",
    "too_large": "QUERY_TOO_LARGE",
    "failed": "QUERY_FAILED",
}

_WEBHOOK_FAULTS: dict[application.WebhookFault, str] = {
    "signature": "WEBHOOK_SIGNATURE_INVALID",
    "age": "WEBHOOK_TOO_OLD",
    "content": "WEBHOOK_INVALID",
}

_WITHOUT_WORDS: dict[type[application.ApplicationError], str] = {
    application.Unauthenticated: "UNAUTHENTICATED",
    application.WrongCredentials: "WRONG_CREDENTIALS",
    application.RefreshRefused: "REFRESH_TOKEN_INVALID",
    application.WrongCode: "INVALID_CODE",
    application.FreshSignInRequired: "FRESH_SIGN_IN_REQUIRED",
    application.StoreUnavailable: "STORE_UNAVAILABLE",
    application.DirectoryStale: "DIRECTORY_STALE",
    application.VersionConflict: "VERSION_CONFLICT",
}


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


def _unexpected() -> HttpProblem:
    return HttpProblem("INTERNAL_ERROR", CODES["INTERNAL_ERROR"].example)


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
