"""Keys per hour and account: exact over processes, and only what was really made counts."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from application.api_keys import issue
from application.deciding import OPERATOR, Principal
from application.errors import TooManyKeys
from application.ports import Policy, Ports
from domain.accounts import Account
from domain.api_keys import IssueApiKey
from domain.errors import InvalidCommand
from tests.application.house import House, context, opened, owner

pytestmark = pytest.mark.anyio

LIMIT = 3
NOON = datetime(2026, 1, 31, 12, 59, 30, 250_000, tzinfo=UTC)


def at(house: House, now: datetime) -> Ports:
    return msgspec.structs.replace(house.ports, clock=lambda: now)


async def make(ports: Ports, account: Account, by: Principal, name: str = "a key") -> str:
    """`made`, or why not."""
    try:
        await issue(ports, context(by), IssueApiKey(account_id=account.id, name=name))
    except TooManyKeys as error:
        return f"{error.limit} in {error.window_seconds}, {error.more_in_seconds} left"
    return "made"


async def test_limit_is_exact_over_processes_and_ends_with_the_hour(database_url: str) -> None:
    policy = Policy(keys_per_hour=LIMIT)
    async with opened(database_url, policy) as one, opened(database_url, policy) as other:
        ada, bob = await one.account(plan="pro"), await one.account(plan="pro")
        await other.directory.catch_up(one.directory.position, 5)
        doors = [at(one, NOON), at(other, NOON)]
        said = await asyncio.gather(*(make(doors[n % 2], ada, owner(ada)) for n in range(8)))
        refusal = f"{LIMIT} in 3600, 30 left"
        assert sorted(said) == [refusal] * (8 - LIMIT) + ["made"] * LIMIT
        assert await make(doors[0], bob, owner(bob)) == "made"
        later = NOON + timedelta(seconds=30)
        assert await make(at(other, later), ada, owner(ada)) == "made"
        # A process whose clock is behind gives nobody another hour's keys.
        assert [await make(doors[0], ada, owner(ada)) for _ in range(LIMIT)] == [
            *["made"] * (LIMIT - 1),
            refusal,
        ]


async def test_only_what_was_made_counts(database_url: str) -> None:
    async with opened(database_url, Policy(keys_per_hour=LIMIT)) as house:
        ada, ports = await house.account(plan="pro"), at(house, NOON)
        for _ in range(LIMIT):
            with pytest.raises(InvalidCommand):
                await make(ports, ada, owner(ada), "x" * 1000)
        said = [await make(ports, ada, owner(ada)) for _ in range(LIMIT + 1)]
        assert said[:LIMIT] == ["made"] * LIMIT
        assert said[LIMIT] != "made"


async def test_services_are_limited_and_staff_are_not(database_url: str) -> None:
    async with opened(database_url, Policy(keys_per_hour=1)) as house:
        ada, ports = await house.account(plan="pro"), at(house, NOON)
        service = Principal(kind="service", id="key_s", permissions=frozenset({"keys.issue"}))
        assert [await make(ports, ada, OPERATOR) for _ in range(3)] == ["made"] * 3
        said = [await make(ports, ada, service) for _ in range(2)]
        assert said == ["made", "1 in 3600, 30 left"]
        assert await make(ports, ada, OPERATOR) == "made"
        house_account = await house.account(plan="internal")
        said = [await make(ports, house_account, owner(house_account)) for _ in range(3)]
        assert said == ["made"] * 3
