"""The refusals of whoever asks too often: 429, with the headers that say how it stands."""

import time

from api.http.codes import CODES
from api.http.limit_fields import limit_fields
from api.http.problem import HttpProblem
from application import errors as application

_ATTEMPTS = {
    "otp": "codes to one address from your network",
    "otp_address": "codes to one address",
    "failed_login": "sign-ins that fail from your network",
    "wrong_code": "wrong codes from your network",
    "totp": "wrong codes of an authenticator app",
}


def too_many_attempts(exc: application.TooManyAttempts) -> HttpProblem:
    """More than a throttle allows in its window, which is an hour. As it slides, there may be
    room for one more only after longer than that."""
    limit, window, left = exc.limit, exc.window_seconds, exc.more_in_seconds
    return HttpProblem(
        "TOO_MANY_REQUESTS",
        f"There may be {limit} {_ATTEMPTS.get(exc.what, exc.what)} in an hour. "
        f"Try again in {left} seconds.",
        headers={
            "retry-after": str(left),
            **limit_fields(
                exc.what.replace("_", "-"), limit, window, 0, left, int(time.time()) + left
            ),
        },
    )


def sign_ins_throttled(exc: application.SignInsThrottled) -> HttpProblem:
    """The same whether or not there is such an account, and whatever was presented."""
    if exc.by == "network":
        return too_many_attempts(
            application.TooManyAttempts("failed_login", exc.limit, 3600, exc.retry_after_seconds)
        )
    return HttpProblem(
        "SIGN_IN_LOCKED",
        CODES["SIGN_IN_LOCKED"].example,
        hint="A second factor, a code by mail or a reset of the password still opens it.",
        headers={
            "retry-after": str(exc.retry_after_seconds),
            **limit_fields(
                "sign-in",
                exc.limit,
                3600,
                0,
                exc.retry_after_seconds,
                int(time.time()) + exc.retry_after_seconds,
            ),
        },
    )


def too_many_keys(exc: application.TooManyKeys) -> HttpProblem:
    """More keys than an account is issued in an hour."""
    limit, window, left = exc.limit, exc.window_seconds, exc.more_in_seconds
    return HttpProblem(
        "TOO_MANY_REQUESTS",
        f"An account may be issued {limit} keys in an hour. Try again in {left} seconds.",
        headers={
            "retry-after": str(left),
            **limit_fields("keys", limit, window, 0, left, exc.resets_at),
        },
    )
