"""What happened to accounts and their sign-ins, in plain words."""

from typing import assert_never

from domain.account_events import (
    AccountClosed,
    AccountErased,
    AccountEvent,
    AccountRegistered,
    AccountReinstated,
    AccountRestored,
    AccountSuspended,
    EmailChanged,
    EmailVerified,
    Impersonated,
    NoteWritten,
    PasskeyAdded,
    PasskeyRemoved,
    PasswordSet,
    PlanAssigned,
    PlanChangeCancelled,
    PlanChangeScheduled,
    ProfileChanged,
    RecoveryCodesIssued,
    RecoveryCodeUsed,
    RoleGranted,
    RoleWithdrawn,
    SignedOutEverywhere,
    SignInsRefused,
    TotpEnrolled,
    TotpRemoved,
    UsernameChanged,
)
from domain.sessions import (
    EndReason,
    SessionEnded,
    SessionEvent,
    SessionReuseDetected,
    SessionStarted,
)
from domain.wording import moment, so_many, the_list

_PASSWORD = {
    "changed": "The password was changed by somebody who knew the old one",
    "reset": "The password was reset by proof of the email address",
    "removed": "The password was taken away, and a reset was begun",
}
_AMR = {
    "pwd": "a password",
    "otp": "a one-time code",
    "mfa": "a second factor",
    "hwk": "a passkey",
    "swk": "a passkey",
    "pop": "a passkey",
    "user": "a passkey",
    "recovery": "a recovery code",
}
_ENDED: dict[EndReason, str] = {
    "signed_out": "The session ended: signed out",
    "ended": "The session was ended from the list of sessions, or as the oldest of too many",
    "everywhere": "The session ended: signed out everywhere",
    "password": "The session ended: there is a new password",
    "reuse": "The session was ended: somebody has a copy of its refresh token",
    "revoked": "The session ended: its token was revoked",
    "closed": "The session ended with its account",
}


def account_sentence(event: AccountEvent) -> str:
    """One sentence on what this event changed; nothing personal in it."""
    match event:
        case AccountRegistered():
            return "The account was made."
        case EmailVerified():
            return "The email address was proven to reach its owner."
        case EmailChanged():
            return "The account has another email address."
        case UsernameChanged():
            return "The username was changed."
        case ProfileChanged():
            return f"The profile was changed: {the_list(event.changed)}."
        case NoteWritten():
            return "Staff wrote a note about the account."
        case PlanAssigned():
            return f"The account was put on the plan {event.plan}."
        case PlanChangeScheduled():
            return f"The account will be on the plan {event.plan} from {moment(event.due_at)}."
        case PlanChangeCancelled():
            return "The account stays on its plan: the change that was scheduled is off."
        case RoleGranted():
            return f"The account may act as {event.role}."
        case RoleWithdrawn():
            return f"The account may no longer act as {event.role}."
        case (
            AccountSuspended()
            | AccountReinstated()
            | AccountClosed()
            | AccountRestored()
            | AccountErased()
        ):
            return _living(event)
        case _:
            return _signing_in(event)


def _living(
    event: AccountSuspended | AccountReinstated | AccountClosed | AccountRestored | AccountErased,
) -> str:
    match event:
        case AccountSuspended():
            return "The account was suspended: neither its keys nor its sign-ins work."
        case AccountReinstated():
            return "The account was reinstated: everything works again."
        case AccountClosed():
            then = "then it is erased" if event.erase else "then it stays closed"
            until = moment(event.final_at)
            return f"The account was closed. It can be restored until {until}; {then}."
        case AccountRestored():
            return "The account was restored: it works again."
        case AccountErased():
            return "The person was forgotten: what was personal can't be read any more."
        case _:
            assert_never(event)


_SigningIn = (
    PasswordSet
    | SignInsRefused
    | TotpEnrolled
    | TotpRemoved
    | RecoveryCodesIssued
    | RecoveryCodeUsed
    | PasskeyAdded
    | PasskeyRemoved
    | SignedOutEverywhere
    | Impersonated
)


def _signing_in(event: _SigningIn) -> str:
    match event:
        case PasswordSet():
            return f"{_PASSWORD[event.how]}. Tokens from before ended."
        case SignInsRefused():
            failed = so_many(event.failures, "sign-in")
            until = moment(event.locked_until)
            return f"{failed} failed in a row: the password was locked until {until}."
        case TotpEnrolled():
            return "An authenticator app became a second factor."
        case TotpRemoved():
            return "The authenticator app is no second factor any more."
        case RecoveryCodesIssued():
            return f"{so_many(event.count, 'recovery code')} were made; older ones count no more."
        case RecoveryCodeUsed():
            return f"A recovery code was used; {so_many(event.left, 'code')} left."
        case PasskeyAdded():
            return "A passkey was added."
        case PasskeyRemoved():
            return "A passkey was removed."
        case SignedOutEverywhere():
            return "Signed out everywhere: all sessions and tokens ended."
        case Impersonated():
            return f"Staff began to act as this account, until {moment(event.until)} at the latest."
        case _:
            assert_never(event)


def session_sentence(event: SessionEvent) -> str:
    """One sentence on a sign-in."""
    match event:
        case SessionStarted(impersonator=str()):
            return f"Staff signed in as this account, until {moment(event.expires_at)}."
        case SessionStarted():
            ways = tuple(dict.fromkeys(_AMR.get(each, each) for each in event.amr))
            return f"Signed in with {the_list(ways)}." if ways else "Signed in."
        case SessionReuseDetected():
            return "A refresh token that was spent long ago was presented: somebody has a copy."
        case SessionEnded():
            return f"{_ENDED[event.reason]}."
        case _:
            assert_never(event)
