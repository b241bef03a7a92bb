"""Quotas set and reset: an account's by staff, a key's by its owner below the account's own.

A reset is an event that says from when on is counted anew. No counter is touched by it, be it
one owner's or everybody's.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from application import api_keys
from application.allowances import allowance_id, set_quota
from application.deciding import (
    ACCOUNT,
    ALLOWANCE,
    API_KEY,
    RESET,
    Change,
    Context,
    change,
    commit,
    load,
    retrying,
)
from application.key_quotas import permit_key_quota
from application.known_account import known_account
from application.ports import Ports
from application.staff_permits import spare_staff
from domain.allowances import EVERYBODY, AllAllowancesReset, AllowanceReset
from domain.api_keys import ApiKey
from domain.calendars import microseconds
from domain.errors import InvalidCommand, KeyRevoked, NotPermitted
from domain.ids import is_id
from domain.quotas import Quota
from domain.staff import Right

MAX_RESETS = 200


class WasReset(msgspec.Struct, frozen=True):
    """How many owners' quotas were reset (None: everybody's), and from when on they count."""

    owners: int | None
    at_us: int


async def set_account_quota(
    ports: Ports, context: Context, account_id: str, quota: Quota | None, reason: str | None = None
) -> int:
    """Give an account a quota beside its plan's, until it gets another plan; None: its plan's
    again. Staff only. Answers the position. Raises NotFound, InvalidCommand."""
    _require(context, "limits.set")
    spare_staff(ports, context.principal, account_id)

    async def attempt() -> int:
        await known_account(ports, account_id)
        now = ports.clock()
        changes, rows = await set_quota(ports, account_id, account_id, quota, now, "shared")
        if not changes:
            return ports.directory.position
        return await commit(ports, context, now, changes, rows, reason=reason)

    return await retrying(attempt)


async def set_key_quota(
    ports: Ports, context: Context, key_id: str, quota: Quota | None, reason: str | None = None
) -> int:
    """Give a key a quota of its own, or none. Answers the position.

    Raises NotFound, KeyRevoked, InvalidCommand, EntitlementExceeded for an owner who asks for
    more than the account has in the same period.
    """

    async def attempt() -> int:
        key = (await load(ports, API_KEY, key_id)).state
        key = api_keys.visible(context.principal, key_id, key)
        if key.kind == "service" and not context.principal.may("keys.service"):
            raise NotPermitted("keys.service")
        if key.revoked_at is not None:
            raise KeyRevoked(key_id)
        permit_key_quota(ports, context.principal, key.account_id, quota)
        now = ports.clock()
        changes, rows = await set_quota(ports, key_id, key.account_id, quota, now)
        if not changes:
            return ports.directory.position
        return await commit(ports, context, now, changes, rows, reason=reason)

    return await retrying(attempt)


async def reset(
    ports: Ports, context: Context, owner_ids: Sequence[str], reason: str | None = None
) -> tuple[WasReset, int]:
    """Begin a window now for these accounts (what their keys share) and keys (their own), all or
    none. Staff only. Raises InvalidCommand for an id that is of neither."""
    _require(context, "limits.reset")
    owners = list(dict.fromkeys(owner_ids))
    if not 1 <= len(owners) <= MAX_RESETS:
        raise InvalidCommand("ids", f"1 to {MAX_RESETS}")

    async def attempt() -> tuple[WasReset, int]:
        now = ports.clock()
        changes = [
            await _reset_one(ports, owner, f"ids[{number}]", now)
            for number, owner in enumerate(owners)
        ]
        result = WasReset(len(owners), microseconds(now))
        return result, await commit(ports, context, now, changes, result=result, reason=reason)

    return await retrying(attempt)


async def reset_everybody(ports: Ports, context: Context) -> tuple[WasReset, int]:
    """Begin a window of every quota now. Staff only.

    It keeps no reason: people's words are sealed with the key of the account that they are about,
    and this is about none.
    """
    _require(context, "limits.reset_all")

    async def attempt() -> tuple[WasReset, int]:
        now = ports.clock()
        result = WasReset(None, microseconds(now))
        stream = await load(ports, RESET, EVERYBODY)
        changes = [change(stream, [AllAllowancesReset(reset_at_us=result.at_us)], now, None)]
        return result, await commit(ports, context, now, changes, result=result)

    return await retrying(attempt)


async def _reset_one(ports: Ports, owner_id: str, param: str, now: datetime) -> Change[Any]:
    account_id = owner_id
    if is_id("key", owner_id):
        key: ApiKey | None = (await load(ports, API_KEY, owner_id)).state
        known = key is not None
        account_id = "" if key is None else key.account_id
    else:
        known = is_id("acct", owner_id) and (
            (await load(ports, ACCOUNT, owner_id)).state is not None
        )
    if not known:
        raise InvalidCommand(param, "no such account or key")
    stream = await load(ports, ALLOWANCE, allowance_id(owner_id))
    event = AllowanceReset(
        allowance_id=stream.id,
        owner_id=owner_id,
        account_id=account_id,
        scope="shared" if owner_id == account_id else "own",
        reset_at_us=microseconds(now),
    )
    return change(stream, [event], now, account_id)


def _require(context: Context, right: Right) -> None:
    if not context.principal.may(right):
        raise NotPermitted(right)
