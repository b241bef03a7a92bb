"""What use cases refuse, each as a problem; `problems` asks here.

One function for each refusal that says something of its own, chosen by its type; the others are
lines of a table, and are told in the words of the catalogue.
"""

from functools import singledispatch

from api.http import throttled
from api.http.problem import HttpProblem, typical, unexpected
from application import errors as application

_MIN_POSITION = "Tollhouse-Min-Position"
_IDEMPOTENCY_KEY = "Idempotency-Key"

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
"""These say nothing of their own: their reasons, if any, are for logs."""

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


@singledispatch
def use_problem(exc: application.ApplicationError) -> HttpProblem:
    """The answer to this refusal; what is neither in the table nor below is a fault of ours."""
    code = _WITHOUT_WORDS.get(type(exc))
    return unexpected() if code is None else typical(code)


use_problem.register(application.TooManyKeys, throttled.too_many_keys)
use_problem.register(application.TooManyAttempts, throttled.too_many_attempts)
use_problem.register(application.SignInsThrottled, throttled.sign_ins_throttled)


@use_problem.register
def _(exc: application.Overloaded) -> HttpProblem:
    after = {"retry-after": str(exc.retry_after_seconds)}
    return HttpProblem("OVERLOADED", f"Too busy at present: {exc.what}.", headers=after)


@use_problem.register
def _(exc: application.MfaRequired) -> HttpProblem:
    detail = "A second factor is needed."
    if exc.wrong is not None:
        detail = "The second factor is wrong, or was used already."
    return HttpProblem("MFA_REQUIRED", detail, param=exc.wrong, factors=exc.factors)


@use_problem.register
def _(exc: application.PasskeyNotAccepted) -> HttpProblem:
    return typical("PASSKEY_NOT_ACCEPTED", param="credential")


@use_problem.register
def _(exc: application.PositionNotReached) -> HttpProblem:
    detail = f"Position {exc.wanted} is not reached yet."
    return HttpProblem("POSITION_NOT_REACHED", detail, param=_MIN_POSITION)


@use_problem.register
def _(exc: application.ForeignLog) -> HttpProblem:
    return typical("FOREIGN_LOG", param=_MIN_POSITION)


@use_problem.register
def _(exc: application.IdempotencyInFlight) -> HttpProblem:
    return typical("IDEMPOTENCY_IN_FLIGHT", param=_IDEMPOTENCY_KEY, headers={"retry-after": "1"})


@use_problem.register
def _(exc: application.IdempotencyKeyReused) -> HttpProblem:
    return typical("IDEMPOTENCY_KEY_REUSED", param=_IDEMPOTENCY_KEY)


@use_problem.register
def _(exc: application.QueryNotAnswered) -> HttpProblem:
    return HttpProblem(_QUERY_FAULTS[exc.fault], exc.detail, exc.hint, exc.param)


@use_problem.register
def _(exc: application.AnalyticsUnavailable) -> HttpProblem:
    hint = "The lake is written by `tollhouse work`: see that it runs."
    after = {"retry-after": "10"}
    return HttpProblem("ANALYTICS_UNAVAILABLE", exc.detail, hint, headers=after)


@use_problem.register
def _(exc: application.WebhookRefused) -> HttpProblem:
    return HttpProblem(_WEBHOOK_FAULTS[exc.fault], exc.detail)
