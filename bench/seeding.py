"""Accounts and keys by the thousand: the domain's decisions, appended in large batches."""

import os
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from application.allowances import new_allowance
from application.deciding import (
    ACCOUNT,
    API_KEY,
    SYSTEM,
    Change,
    Context,
    change,
    commit,
    fresh,
    new_id,
)
from application.ports import Ports
from application.rows import ClaimRow, KeyDigestRow, Row
from domain import accounts, api_keys, claims, key_format
from domain.accounts import Profile
from domain.api_keys import IssueApiKey
from domain.counters import quota_counter
from domain.quotas import Quota

PLAN = "enterprise"
ACCOUNTS_IN_ONE_APPEND = 10


class SeededKey(NamedTuple):
    """A key with its own quota; `shared_counter_id` is of its account, should its plan have one."""

    secret: str
    key_id: str
    account_id: str
    counter_id: int
    shared_counter_id: int


class Seeded(NamedTuple):
    """What was made, and the position of the log that holds all of it."""

    keys: list[SeededKey]
    position: int


async def seed(ports: Ports, owners: int, keys_each: int, quota: Quota, plan: str = PLAN) -> Seeded:
    """So many accounts on this plan, each with so many keys of this quota."""
    made: list[SeededKey] = []
    position = 0
    for start in range(0, owners, ACCOUNTS_IN_ONE_APPEND):
        now = ports.clock()
        changes: list[Change[Any]] = []
        rows: list[Row] = []
        for _ in range(min(ACCOUNTS_IN_ONE_APPEND, owners - start)):
            made += _account(ports, now, keys_each, quota, plan, changes, rows)
        context = Context(principal=SYSTEM, command_id=f"bench-{os.urandom(8).hex()}")
        position = await commit(ports, context, now, changes, rows)
    return Seeded(made, position)


def _account(
    ports: Ports,
    now: datetime,
    keys: int,
    quota: Quota,
    plan: str,
    changes: list[Change[Any]],
    rows: list[Row],
) -> Sequence[SeededKey]:
    account_id = new_id(ports, "acct")
    address = f"{account_id}@bench.example"
    events = accounts.register(account_id, address, None, Profile(), plan)
    digest = ports.digests.claims(claims.EMAIL, address)[0]
    rows += [
        ports.vault.new_data_key(account_id),
        ClaimRow(claims.EMAIL, digest, account_id),
    ]
    changes.append(change(fresh(ACCOUNT, account_id), events, now, account_id))
    return [_key(ports, now, account_id, number, quota, changes, rows) for number in range(keys)]


def _key(
    ports: Ports,
    now: datetime,
    account_id: str,
    number: int,
    quota: Quota,
    changes: list[Change[Any]],
    rows: list[Row],
) -> SeededKey:
    key_id = new_id(ports, "key")
    secret = key_format.compose("th", "live", ports.entropy(key_format.SECRET_BYTES))
    digest = ports.digests.key(secret)
    command = IssueApiKey(account_id=account_id, name=f"bench {number}", permissions=("read",))
    events = api_keys.issue(
        command, key_id, digest, ports.digests.pepper_id, key_format.hint(secret), now
    )
    own, counter = new_allowance(ports, key_id, account_id, "own", quota)
    rows += [KeyDigestRow(digest, key_id), counter]
    changes += [change(fresh(API_KEY, key_id), events, now, account_id), own]
    shared = quota_counter(account_id, "day")
    return SeededKey(secret, key_id, account_id, counter.counter_id, shared)
