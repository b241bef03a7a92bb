"""Verdicts: what a verification is answered with."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from domain import calendars
from domain.accounts import Account
from domain.api_key_rules import Scalar
from domain.api_keys import ApiKey, Environment
from domain.calendars import Calendar
from domain.counters import Rule, Scope
from domain.credit_amounts import decimal
from domain.verification import Code


class QuotaState(msgspec.Struct, frozen=True, gc=False):
    """One quota as it stood after (or, refused, at) a verification; its limit is with what was
    carried over."""

    name: str
    scope: Scope
    limit: int | None
    used: int
    remaining: int | None
    period: calendars.Period | calendars.RatePeriod
    resets_at: str | None


class RateLimitState(msgspec.Struct, frozen=True, gc=False):
    """One rate limit as it stood then. `exceeded`: it is the one that refused."""

    name: str
    limit: int | None
    remaining: int | None
    resets_at: str | None
    exceeded: bool


class CreditsState(msgspec.Struct, frozen=True, gc=False):
    """What may still be spent, as a decimal with two places."""

    remaining: str


State = QuotaState | RateLimitState | CreditsState
"""What a counter had left after a verification: for the verdict."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a verification. `quotas` and `rate_limits` are empty where no counter was
    asked, `credits` is null where no credits were."""

    valid: bool
    code: Code
    verification_id: str
    request_id: str
    key_id: str | None = None
    name: str | None = None
    account_id: str | None = None
    username: str | None = None
    external_id: str | None = None
    audience: str | None = None
    environment: Environment | None = None
    plan: str | None = None
    permissions: Sequence[str] = ()
    roles: Sequence[str] = ()
    metadata: dict[str, Scalar] | None = None
    expires_at: str | None = None
    quotas: list[QuotaState] = []
    credits: CreditsState | None = None
    rate_limits: list[RateLimitState] = []
    position: str


def denial_of_the_unknown(
    code: Code, verification_id: str, request_id: str, position: str
) -> Verdict:
    """The verdict on a key that isn't known, or whose account isn't."""
    return Verdict(
        valid=False,
        code=code,
        verification_id=verification_id,
        request_id=request_id,
        position=position,
    )


def verdict_on(
    key: ApiKey,
    account: Account,
    code: Code,
    left: Sequence[State],
    verification_id: str,
    request_id: str,
    position: str,
) -> Verdict:
    """The verdict on a key that is known, with all that its caller may see of it."""
    quotas: list[QuotaState] = []
    rate_limits: list[RateLimitState] = []
    credits: CreditsState | None = None
    for state in left:
        if isinstance(state, QuotaState):
            quotas.append(state)
        elif isinstance(state, RateLimitState):
            rate_limits.append(state)
        else:
            credits = state
    return Verdict(
        valid=code == "VALID",
        code=code,
        verification_id=verification_id,
        request_id=request_id,
        key_id=key.id,
        name=key.name,
        account_id=key.account_id,
        username=account.username,
        external_id=account.external_id if key.external_id is None else key.external_id,
        audience=key.audience,
        environment=key.environment,
        plan=account.plan,
        permissions=key.permissions,
        roles=key.roles,
        metadata=key.metadata or {},
        expires_at=None if key.expires_at is None else rfc3339(int(key.expires_at)),
        quotas=quotas,
        credits=credits,
        rate_limits=rate_limits,
        position=position,
    )


def state_of(
    rule: Rule, limit: int | None, used: int, window_start: int, refused: bool = False
) -> State:
    """What this counter had left when so much was used of it; `refused`: it is why."""
    remaining = None if limit is None else max(limit - used, 0)
    if rule.kind == "credits":
        return CreditsState(decimal(remaining or 0))
    calendar = rule.calendar
    resets = resets_at(calendar, window_start)
    if rule.kind == "quota":
        return QuotaState(rule.name, rule.scope, limit, used, remaining, calendar.period, resets)
    return RateLimitState(rule.name, limit, remaining, resets, refused)


@lru_cache(maxsize=4096)
def resets_at(calendar: Calendar, window_start: int) -> str | None:
    """When the window that begins there ends; None for a lifetime."""
    if calendar.period == "lifetime":
        return None
    return rfc3339(calendars.window(calendar, window_start).end // 1_000_000)


@lru_cache(maxsize=4096)
def rfc3339(unix_seconds: int) -> str:
    """The instant in RFC 3339, UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
