"""What can go wrong around a command that is not a refusal of the rules.

`api/http/problems.py` maps these, too.
"""

from typing import Literal


class ApplicationError(Exception):
    """The command was not carried out, or not in the way that was asked for."""


class Unauthenticated(ApplicationError):
    """No credential, or one that proves nothing. `reason` is for logs, never for answers."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RefreshRefused(ApplicationError):
    """A refresh token that proves nothing, any more or at all. `reason` is for logs only."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class WrongCredentials(ApplicationError):
    """Sign-in failed. Which part was wrong is not said (ASVS V6.3.8)."""


class WrongCode(ApplicationError):
    """A mailed code is wrong, too old, used, or guessed at too often. Which is not said."""


class MfaRequired(ApplicationError):
    """What was presented is right, and a second factor is needed, too: one of `factors`. `wrong`
    names the field of the one that was presented and isn't right."""

    def __init__(self, factors: tuple[str, ...], wrong: str | None = None) -> None:
        super().__init__(", ".join(factors))
        self.factors = factors
        self.wrong = wrong


class FreshSignInRequired(ApplicationError):
    """The caller signed in too long ago for this, or without the account's second factor."""


class PasskeyNotAccepted(ApplicationError):
    """What the browser answered does not register a passkey. `reason` is for logs."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Overloaded(ApplicationError):
    """A bounded queue is full; nothing was done. Try again after `retry_after_seconds`."""

    def __init__(self, what: str, retry_after_seconds: int) -> None:
        super().__init__(what)
        self.what = what
        self.retry_after_seconds = retry_after_seconds


class TooManyKeys(ApplicationError):
    """The account was issued `limit` keys in this window of so many seconds. There are more at
    `resets_at`, in Unix seconds, which is in `more_in_seconds`."""

    def __init__(
        self, limit: int, window_seconds: int, more_in_seconds: int, resets_at: int
    ) -> None:
        super().__init__(f"{limit} in {window_seconds} seconds")
        self.limit = limit
        self.window_seconds = window_seconds
        self.more_in_seconds = more_in_seconds
        self.resets_at = resets_at


class TooManyAttempts(ApplicationError):
    """So many of `what` (a throttle's name) are allowed within the window, and there were. There
    is one more in `more_in_seconds`."""

    def __init__(self, what: str, limit: int, window_seconds: int, more_in_seconds: int) -> None:
        super().__init__(f"{what}: {limit} in {window_seconds} seconds")
        self.what = what
        self.limit = limit
        self.window_seconds = window_seconds
        self.more_in_seconds = more_in_seconds


ThrottledBy = Literal["network", "locked", "stuffing"]
"""Too many failed sign-ins from this network, with this name, or anywhere at all."""


class SignInsThrottled(ApplicationError):
    """A password isn't judged now, for anybody who gives this name or comes from this network.
    The answer is the same whether or not there is such an account."""

    def __init__(self, by: ThrottledBy, limit: int, retry_after_seconds: int) -> None:
        super().__init__(by)
        self.by: ThrottledBy = by
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class StoreUnavailable(ApplicationError):
    """The event store can't be reached. What was asked for may be retried with its
    Idempotency-Key."""


class DirectoryStale(ApplicationError):
    """This process can't confirm that it has followed the log to its end (DESIGN 8)."""


class VersionConflict(ApplicationError):
    """Somebody else changed the same stream first, several times in a row."""


class PositionNotReached(ApplicationError):
    """The position that the caller must see is not there yet."""

    def __init__(self, wanted: int, reached: int) -> None:
        super().__init__(f"wanted {wanted}, reached {reached}")
        self.wanted = wanted
        self.reached = reached


class ForeignLog(ApplicationError):
    """A position token of another log: of another installation, or from before a restore."""


class IdempotencyKeyReused(ApplicationError):
    """The same Idempotency-Key came with another body."""


class IdempotencyInFlight(ApplicationError):
    """The first request with this Idempotency-Key has not ended yet."""


QueryFault = Literal["invalid", "refused", "too_long", "too_large", "failed"]
"""The SQL is wrong; it wants more than to read; its time; its size; the engine broke on it."""


class QueryNotAnswered(ApplicationError):
    """A query of the lake has no answer. `detail` and `hint` are for who asked."""

    def __init__(
        self, fault: QueryFault, detail: str, hint: str | None = None, param: str | None = "sql"
    ) -> None:
        super().__init__(detail)
        self.fault: QueryFault = fault
        self.detail = detail
        self.hint = hint
        self.param = param


class AnalyticsUnavailable(ApplicationError):
    """There is no lake that can be asked. `detail` says why."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


WebhookFault = Literal["signature", "age", "content"]
"""Nobody we know signed it; it was signed too long ago (or too far ahead); it says nothing that
can be understood, though it was signed well."""


class WebhookRefused(ApplicationError):
    """What came as a payment provider's notice is not taken. Nothing was done. Neither secrets
    nor what was presented are part of it."""

    def __init__(self, fault: WebhookFault, detail: str) -> None:
        super().__init__(detail)
        self.fault: WebhookFault = fault
        self.detail = detail


class StreamUnreadable(Exception):
    """A stream has an event that this version can't decode."""
