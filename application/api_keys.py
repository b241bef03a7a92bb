"""API keys: issue, amend, revoke, list. Who may do what is decided here, on the way in."""

from datetime import datetime

import msgspec

from application.allowances import new_allowance, set_quota
from application.deciding import (
    API_KEY,
    Change,
    Context,
    Principal,
    change,
    commit,
    fresh,
    load,
    new_id,
    retrying,
)
from application.key_quotas import permit_key_quota
from application.known_account import known_account, require_active
from application.ports import Ports
from application.rows import EntitlementRow, KeyDigestRow, KeyIssuedRow, Row
from application.staff_permits import spare_staff
from domain import api_keys, calendars, key_format, quotas
from domain.accounts import Account
from domain.allowances import Allowance
from domain.api_keys import AmendApiKey, ApiKey, IssueApiKey
from domain.errors import AccountNotActive, NotFound, NotPermitted, UnknownPlan
from domain.plans import INTERNAL, Plan
from domain.quotas import Quota
from domain.staff import Right

_HOURLY = calendars.Calendar("hour")


class IssuedApiKey(msgspec.Struct, frozen=True):
    """A new key, and its secret: the only time that it is seen."""

    secret: str
    key: ApiKey


def may_manage(
    principal: Principal,
    account_id: str | None,
    permission: str = "keys.manage",
    right: Right = "keys.manage",
) -> bool:
    """Whether the principal may act on keys of this account: staff by `right`, a service by
    `permission`.

    Raises NotPermitted for a service without it, before anything is looked up; and for staff
    who may see keys, but not do this.
    """
    if principal.may(right):
        return True
    if principal.kind == "service":
        if permission not in principal.permissions:
            raise NotPermitted(permission)
        return True
    if principal.kind == "account" and principal.account_id == account_id:
        return True
    if principal.may("keys.read"):
        raise NotPermitted(right)
    return False


def not_of_others_on_staff(ports: Ports, principal: Principal, account_id: str) -> None:
    """Nobody gets or changes a key of a member of staff but themselves and who manages staff. To
    revoke one, which helps where it leaked, is for whoever may. Raises NotPermitted."""
    if principal.account_id != account_id:
        spare_staff(ports, principal, account_id)


async def issue(
    ports: Ports,
    context: Context,
    command: IssueApiKey,
    quota: Quota | None = None,
    prefix: str | None = None,
    secret: str | None = None,
) -> tuple[IssuedApiKey, int]:
    """Issue a key for an account, with a quota of its own if one is given.

    `secret` is for a key that the operator brings (SERVICE_KEY). Raises NotFound for an
    account that the principal may not see, NotPermitted, EntitlementExceeded, TooManyKeys, Taken,
    InvalidCommand. Answers the key with its secret, and the position.
    """
    principal = context.principal
    _permit_issue(ports, principal, command)
    account, plan = await owner_of_new_keys(ports, command.account_id)
    permit_key_quota(ports, principal, account.id, quota)

    if secret is None:
        entropy = ports.entropy(key_format.SECRET_BYTES)
        secret = key_format.compose(prefix or ports.policy.key_prefix, command.environment, entropy)
    now = ports.clock()
    key_id = new_id(ports, "key")
    digest = ports.digests.key(secret)
    events = api_keys.issue(
        command, key_id, digest, ports.digests.pepper_id, key_format.hint(secret), now
    )
    issued = change(fresh(API_KEY, key_id), events, now, account.id)
    changes: list[Change[ApiKey] | Change[Allowance]] = [issued]
    rows: list[Row] = [KeyDigestRow(digest, key_id)]
    if (allowed := plan.entitlements.keys) is not None:
        rows.insert(0, EntitlementRow(account.id, API_KEY.name, "keys", allowed, account.plan))
    rows += _paced(ports, principal, account, now)
    if quota is not None:
        made, counter = new_allowance(ports, key_id, account.id, "own", quotas.check(quota))
        changes.append(made)
        rows.append(counter)
    result = IssuedApiKey(secret, issued.state)
    position = await commit(ports, context, now, changes, rows, result=result)
    return result, position


def _permit_issue(ports: Ports, principal: Principal, command: IssueApiKey) -> None:
    if not may_manage(principal, command.account_id, "keys.issue"):
        raise NotFound("account", command.account_id)
    not_of_others_on_staff(ports, principal, command.account_id)
    if command.kind == "service" and not principal.may("keys.service"):
        raise NotPermitted("keys.service")


def _paced(ports: Ports, principal: Principal, account: Account, now: datetime) -> list[Row]:
    """The guard of how many keys the account is issued in an hour; staff are not slowed down."""
    most = ports.policy.keys_per_hour
    if most == 0 or principal.may("keys.manage") or account.plan == INTERNAL:
        return []
    at = calendars.microseconds(now)
    window = calendars.window(_HOURLY, at)
    return [KeyIssuedRow(account.id, most, window.start, window.end, at)]


async def owner_of_new_keys(ports: Ports, account_id: str) -> tuple[Account, Plan]:
    """The account, which may get keys at present, and its plan as it is now.

    Raises NotFound, AccountNotActive, UnknownPlan.
    """
    account = (await known_account(ports, account_id)).state
    require_active(account)
    if ports.policy.require_verified_email and not account.email_verified:
        raise AccountNotActive(account.id, "unverified")
    plan = ports.directory.plan(account.plan)
    if plan is None:
        raise UnknownPlan(account.plan)
    return account, plan


async def amend(
    ports: Ports,
    context: Context,
    key_id: str,
    command: AmendApiKey,
    quota: Quota | msgspec.UnsetType | None = msgspec.UNSET,
) -> tuple[ApiKey, int]:
    """Change what is given of a key; answers it and the position.

    Raises NotFound, KeyRevoked, InvalidCommand. What is as asked for already makes no event.
    """

    async def attempt() -> tuple[ApiKey, int]:
        stream = await load(ports, API_KEY, key_id)
        key = visible(context.principal, key_id, stream.state)
        not_of_others_on_staff(ports, context.principal, key.account_id)
        if key.kind == "service" and not context.principal.may("keys.service"):
            raise NotPermitted("keys.service")  # else it could give itself more permissions
        now = ports.clock()
        changes: list[Change[ApiKey] | Change[Allowance]] = []
        rows: list[Row] = []
        if events := api_keys.amend(key, command, now):
            amended = change(stream, events, now, key.account_id)
            changes.append(amended)
            key = amended.state
        if not isinstance(quota, msgspec.UnsetType):
            permit_key_quota(ports, context.principal, key.account_id, quota)
            more, counters = await set_quota(ports, key_id, key.account_id, quota, now)
            changes += more
            rows += counters
        if not changes:
            return key, ports.directory.position
        return key, await commit(ports, context, now, changes, rows, result=key)

    return await retrying(attempt)


async def revoke(ports: Ports, context: Context, key_id: str, reason: str | None = None) -> int:
    """End a key for good; answers the position. A second time changes nothing."""

    async def attempt() -> int:
        stream = await load(ports, API_KEY, key_id)
        key = visible(context.principal, key_id, stream.state)
        if key.kind == "service" and context.principal.kind == "service":
            raise NotPermitted("staff")  # services are not each other's judges
        events = api_keys.revoke(key)
        if not events:
            return ports.directory.position
        now = ports.clock()
        changes = [change(stream, events, now, key.account_id)]
        return await commit(ports, context, now, changes, reason=reason)

    return await retrying(attempt)


async def get(ports: Ports, principal: Principal, key_id: str) -> ApiKey:
    """The key as it stands in the log. NotFound where it is somebody else's."""
    key = (await load(ports, API_KEY, key_id)).state
    return visible(principal, key_id, key, right="keys.read")


async def list_keys(
    ports: Ports, principal: Principal, account_id: str, after: str | None, limit: int
) -> list[ApiKey]:
    """A page of an account's keys, oldest first. NotFound where it is somebody else's."""
    readable = may_manage(principal, account_id, right="keys.read")
    if not readable or ports.directory.account(account_id) is None:
        raise NotFound("account", account_id)
    return await ports.lookups.keys_of(account_id, after, limit)


def visible(
    principal: Principal,
    key_id: str,
    key: ApiKey | None,
    permission: str = "keys.manage",
    right: Right = "keys.manage",
) -> ApiKey:
    """The key, if the principal may know of it. A foreign one is not found (SECURITY 20)."""
    account_id = None if key is None else key.account_id
    if not may_manage(principal, account_id, permission, right) or key is None:
        raise NotFound("key", key_id)
    return key
