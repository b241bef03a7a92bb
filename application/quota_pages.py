"""What an account may use and has used: every rule of it and of its keys, page by page, each with
what is left and when that will be used up."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from application.allowances import AllowanceState, standing
from application.deciding import Principal
from application.ports import Ports
from application.rules import account_rules, key_rules
from domain.accounts import Account
from domain.api_keys import ApiKey, Environment
from domain.calendars import microseconds
from domain.counters import Rule
from domain.errors import NotFound, NotPermitted
from domain.forecasts import Forecast, forecast

KEYS_AT_ONCE = 200


class Place(NamedTuple):
    """Where a page ends: after this many rules of this owner."""

    owner_id: str
    rules: int


class Owned(msgspec.Struct, frozen=True):
    """A rule and whose it is. `since_us`: before that its owner did not exist."""

    rule: Rule
    place: Place
    environment: Environment
    key_name: str | None
    since_us: int


class Standing(msgspec.Struct, frozen=True):
    """A rule as it stands. A rate limit has no forecast."""

    owned: Owned
    state: AllowanceState
    forecast: Forecast | None


def readable(ports: Ports, principal: Principal, account_id: str) -> Account:
    """The account, if the principal may read its quotas: the owner, staff, a service with
    `quotas.read`. Raises NotFound, NotPermitted."""
    if principal.kind == "service" and "quotas.read" not in principal.permissions:
        raise NotPermitted("quotas.read")
    may = principal.may("accounts.read") or principal.kind == "service"
    own = principal.kind == "account" and principal.account_id == account_id
    account = ports.directory.account(account_id) if may or own else None
    if account is None:
        raise NotFound("account", account_id)
    return account


async def page(
    ports: Ports, account: Account, after: Place | None, limit: int
) -> tuple[list[Standing], Place | None]:
    """So many rules: the account's own, then its living keys', oldest first. Also where the next
    page begins, if there is one."""
    found = await _owned(ports, account, after, limit + 1)
    following = found[limit - 1].place if len(found) > limit else None
    return await stand(ports, found[:limit]), following


async def of_key(ports: Ports, key: ApiKey) -> list[Standing]:
    """Every rule that a key draws on: its own, then its account's."""
    account = ports.directory.account(key.account_id)
    shared = [] if account is None else of_account(ports, account, key.environment)
    return await stand(ports, [*_of_key(ports, key), *shared])


async def stand(ports: Ports, owned: Sequence[Owned]) -> list[Standing]:
    """These rules as they stand now."""
    states = await standing(ports, [each.rule for each in owned])
    now_us = microseconds(ports.clock())
    return [
        Standing(each, state, _forecast(each, state, now_us))
        for each, state in zip(owned, states, strict=True)
    ]


def of_account(ports: Ports, account: Account, environment: Environment) -> list[Owned]:
    """The rules that an account's keys of this environment share."""
    since_us = microseconds(account.registered_at)
    rules = account_rules(ports.directory, account, environment)
    return [
        Owned(rule, Place(account.id, number), environment, None, since_us)
        for number, rule in enumerate(rules, 1)
    ]


def _of_key(ports: Ports, key: ApiKey) -> list[Owned]:
    since_us = int(key.issued_at * 1_000_000)
    return [
        Owned(rule, Place(key.id, number), key.environment, key.name, since_us)
        for number, rule in enumerate(key_rules(ports.directory, key), 1)
    ]


async def _owned(ports: Ports, account: Account, after: Place | None, count: int) -> list[Owned]:
    """So many rules at least, if there are, after that place."""
    found: list[Owned] = []
    key_id: str | None = None
    if after is None or after.owner_id == account.id:
        both = (*of_account(ports, account, "live"), *of_account(ports, account, "test"))
        found = [
            msgspec.structs.replace(each, place=Place(account.id, number))
            for number, each in enumerate(both, 1)
        ][0 if after is None else after.rules :]
    else:
        key_id = after.owner_id
        await ports.directory.hold([key_id])
        key = ports.directory.key(key_id)
        if key is not None and key.account_id == account.id and key.revoked_at is None:
            found = _of_key(ports, key)[after.rules :]
    while len(found) < count:
        keys = await ports.lookups.keys_of(account.id, key_id, KEYS_AT_ONCE)
        await ports.directory.hold([each.id for each in keys])
        for each in keys:
            if each.revoked_at is None:
                found += _of_key(ports, each)
        if len(keys) < KEYS_AT_ONCE:
            break
        key_id = keys[-1].id
    return found


def _forecast(owned: Owned, state: AllowanceState, now_us: int) -> Forecast | None:
    if state.kind != "quota" or state.remaining is None:
        return None
    since_us = max(state.window_start_us, owned.since_us)
    return forecast(state.used, state.remaining, since_us, now_us, state.resets_at_us)
