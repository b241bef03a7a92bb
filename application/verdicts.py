"""Verdicts: what a verification is answered with."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache

import msgspec

from domain import allowances
from domain.accounts import Account
from domain.api_key_rules import Scalar
from domain.api_keys import ApiKey, Environment
from domain.verification import Code


class QuotaState(msgspec.Struct, frozen=True):
    """One quota as it stood after (or, refused, at) a verification."""

    name: str
    scope: allowances.Scope
    limit: int | None
    used: int
    remaining: int | None
    period: allowances.Period
    resets_at: str | None


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The answer to a verification. `quotas` is empty where no counter was asked."""

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
    credits: None = None
    rate_limits: list[None] = []
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
    quotas: list[QuotaState],
    verification_id: str,
    request_id: str,
    position: str,
) -> Verdict:
    """The verdict on a key that is known, with all that its caller may see of it."""
    return Verdict(
        valid=code == "VALID",
        code=code,
        verification_id=verification_id,
        request_id=request_id,
        key_id=key.id,
        name=key.name,
        account_id=key.account_id,
        username=account.username,
        external_id=key.external_id,
        audience=key.audience,
        environment=key.environment,
        plan=account.plan,
        permissions=key.permissions,
        roles=account.roles,
        metadata=key.metadata or {},
        expires_at=None if key.expires_at is None else rfc3339(int(key.expires_at)),
        quotas=quotas,
        position=position,
    )


@lru_cache(maxsize=4096)
def resets_at(period: allowances.Period, window_start: int) -> str | None:
    """When the window that begins there ends; None for a lifetime."""
    if period == "lifetime":
        return None
    return rfc3339(allowances.window(period, window_start).end // 1_000_000)


@lru_cache(maxsize=4096)
def rfc3339(unix_seconds: int) -> str:
    """The instant in RFC 3339, UTC."""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
