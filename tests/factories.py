"""Things that tests need, made with sensible values where a test doesn't care."""

import itertools
from datetime import UTC, datetime

from domain import allowances, api_keys
from domain.accounts import Account, AccountRegistered
from domain.allowances import Allowance
from domain.api_keys import ApiKey, ApiKeyIssued
from domain.calendars import Period
from domain.counters import Scope
from domain.event import Metadata
from infra.digests import PepperedDigests
from infra.vault import MasterKeyVault

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
MASTER_KEY = b"m" * 32
DIGESTS = PepperedDigests(b"p" * 32)

_numbers = itertools.count(1)


def an_id(prefix: str) -> str:
    """An id that no other call answers."""
    return f"{prefix}_{next(_numbers):026d}"


def a_vault() -> MasterKeyVault:
    """A vault under the one master key, with nothing open."""
    return MasterKeyVault(MASTER_KEY)


def metadata(command_id: str | None = None, at: datetime = AT) -> Metadata:
    """Around an event; of a command of its own unless one is named."""
    return Metadata(at=at, actor="operator", command_id=command_id or an_id("cmd"))


def registered(account_id: str, email: str | None = "ada@example.org") -> AccountRegistered:
    """An account comes into being."""
    return AccountRegistered(account_id=account_id, email=email)


def an_account(account_id: str | None = None, plan: str = "free") -> Account:
    """An active account."""
    return Account(
        id=account_id or an_id("acct"),
        username=None,
        kind="personal",
        actor_type="user",
        registered_at=AT,
        plan=plan,
    )


def an_issued(account_id: str, secret: str = "", key_id: str | None = None) -> ApiKeyIssued:
    """A key comes into being."""
    key_id = key_id or an_id("key")
    return ApiKeyIssued(
        key_id=key_id,
        account_id=account_id,
        name="a key",
        digest=DIGESTS.key(secret or key_id),
        pepper_id=DIGESTS.pepper_id,
        hint="th_live_…abcd",
    )


def a_key(account_id: str, secret: str = "") -> ApiKey:
    """A live key, found by this secret."""
    return api_keys.evolve(None, an_issued(account_id, secret), AT)


def an_allowance(
    owner_id: str,
    account_id: str,
    limit: int,
    *,
    period: Period = "lifetime",
    scope: Scope = "own",
    counter_id: int | None = None,
    rule_no: int = 1,
) -> Allowance:
    """A rule that counts in a counter of its own."""
    return allowances.evolve(
        None,
        allowances.AllowanceSet(
            allowance_id=an_id("alw"),
            owner_id=owner_id,
            account_id=account_id,
            scope=scope,
            limit=limit,
            period=period,
            counter_id=counter_id or next(_numbers),
            rule_no=rule_no,
        ),
        AT,
    )
