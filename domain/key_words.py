"""What happened to API keys and to what they may use, in plain words."""

from typing import assert_never

from domain.allowances import (
    AllAllowancesReset,
    AllowanceEvent,
    AllowanceLifted,
    AllowanceReset,
    AllowanceSet,
    ResetEvent,
)
from domain.api_key_events import (
    ApiKeyEvent,
    ApiKeyExpirySet,
    ApiKeyImported,
    ApiKeyIpAllowSet,
    ApiKeyIssued,
    ApiKeyLabelled,
    ApiKeyLimitsSet,
    ApiKeyPaused,
    ApiKeyPermissionsSet,
    ApiKeyRehashed,
    ApiKeyRenamed,
    ApiKeyResumed,
    ApiKeyRevoked,
    ApiKeyRolesSet,
    ApiKeyRotated,
)
from domain.calendars import Period, RatePeriod
from domain.quotas import RateLimit
from domain.wording import moment, moment_of_us, the_list

_Life = ApiKeyPaused | ApiKeyResumed | ApiKeyRotated | ApiKeyRehashed | ApiKeyRevoked


def per(limit: int, period: Period | RatePeriod) -> str:
    """`100 a day`, `100 in all`."""
    if period == "lifetime":
        return f"{limit:,} in all"
    return f"{limit:,} {'an' if period == 'hour' else 'a'} {period}"


def key_sentence(event: ApiKeyEvent) -> str:
    """One sentence on what this event changed."""
    match event:
        case ApiKeyImported():
            return f"The key “{event.name}” ({event.hint}), made elsewhere, was taken over."
        case ApiKeyIssued():
            of_kind = "service " if event.kind == "service" else ""
            return f"The {event.environment} {of_kind}key “{event.name}” ({event.hint}) was made."
        case ApiKeyRenamed():
            return f"The key is called “{event.name}” from now on."
        case ApiKeyPermissionsSet(permissions=()):
            return "The key has no permissions any more."
        case ApiKeyPermissionsSet():
            return f"The key has these permissions: {the_list(event.permissions)}."
        case ApiKeyRolesSet(roles=()):
            return "The key has no roles any more."
        case ApiKeyRolesSet():
            return f"The key has these roles: {the_list(event.roles)}."
        case ApiKeyIpAllowSet(ip_allow=()):
            return "The key works from everywhere."
        case ApiKeyIpAllowSet():
            return f"The key works from {the_list(event.ip_allow)} only."
        case ApiKeyLimitsSet(rate_limits=()):
            return "The key has no rate limits any more."
        case ApiKeyLimitsSet():
            limits = the_list(tuple(map(_rate, event.rate_limits)))
            return f"The key has these rate limits: {limits}."
        case ApiKeyExpirySet():
            if event.expires_at is None:
                return "The key doesn't expire any more."
            return f"The key expires at {moment(event.expires_at)}."
        case ApiKeyLabelled():
            return "The key has other labels."
        case _:
            return _life(event)


def _life(event: _Life) -> str:
    match event:
        case ApiKeyPaused():
            return "The key was paused: it is refused until it is resumed."
        case ApiKeyResumed():
            return "The key was resumed: it works again."
        case ApiKeyRotated():
            until = event.previous_until
            before = "ended at once" if until is None else f"works until {moment(until)}"
            return f"The key has another secret ({event.hint}); the one before {before}."
        case ApiKeyRehashed():
            return "The key was used here for the first time: its secret is digested our way now."
        case ApiKeyRevoked():
            return "The key was revoked: it is refused for good."
        case _:
            assert_never(event)


def _rate(limit: RateLimit) -> str:
    return f"{limit.name} ({per(limit.limit, limit.period)})"


def allowance_sentence(event: AllowanceEvent | ResetEvent) -> str:
    """One sentence on what may be used."""
    match event:
        case AllowanceSet():
            whose = "key" if event.scope == "own" else "account"
            carried = f", carrying over up to {event.carry_over_max:,}" * bool(event.carry_over_max)
            return f"The {whose} may be used {per(event.limit, event.period)}{carried}."
        case AllowanceLifted():
            return "The quota that was set no longer holds: the plan's does."
        case AllowanceReset():
            at = moment_of_us(event.reset_at_us)
            return f"What was used was forgotten: a window began anew at {at}."
        case AllAllowancesReset():
            at = moment_of_us(event.reset_at_us)
            return f"What everybody used was forgotten: windows began anew at {at}."
        case _:
            assert_never(event)
