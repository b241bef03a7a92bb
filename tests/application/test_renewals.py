"""Renewals: each scheduled change happens once, when it is due, whoever carries it out."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import psycopg
import pytest

from application import plans, quotas
from application.allowances import allowance_id
from application.key_quotas import shared_quota
from application.plans import known_plan
from application.ports import Ports
from application.renewals import renew_due, renewing
from domain.accounts import Account, PlanAssigned, PlanChangeCancelled
from domain.plan_rules import PublishPlan
from domain.plans import Entitlements, renewal_after
from domain.quotas import Quota
from infra.postgres.connection import conninfo
from tests.application.house import House, context, opened

pytestmark = pytest.mark.anyio

DUE = renewal_after(datetime.now(UTC))


def at(house: House, now: datetime) -> Ports:
    """This house when it is that time."""
    return msgspec.structs.replace(house.ports, clock=lambda: now)


async def leaving(house: House, count: int = 1) -> list[Account]:
    """So many accounts on pro that change to free at their renewal."""
    found = [await house.account(plan="pro") for _ in range(count)]
    for account in found:
        await plans.assign(house.ports, context(), account.id, "free", "at_renewal")
    return found


def scheduled(house: House) -> int:
    with psycopg.connect(conninfo(house.url)) as connection:
        row = connection.execute("SELECT count(*) FROM plan_changes").fetchone()
    assert row is not None
    return int(row[0])


async def assigned(house: House, account: Account) -> list[str]:
    events = [each.event for each in await house.store.read(account.id)]
    return [each.plan for each in events if isinstance(each, PlanAssigned)]


async def test_a_change_happens_when_it_is_due_and_once(house: House) -> None:
    (account,) = await leaving(house)
    assert await renew_due(at(house, DUE - timedelta(microseconds=1))) == 0
    assert await renew_due(at(house, DUE)) == 1
    assert await renew_due(at(house, DUE + timedelta(days=99))) == 0
    assert await assigned(house, account) == ["pro", "free"]
    assert scheduled(house) == 0
    assert shared_quota(house.ports, account.id) == Quota(10, "day")


async def test_a_renewal_ends_the_quota_that_staff_had_set(house: House) -> None:
    (account,) = await leaving(house)
    await quotas.set_account_quota(house.ports, context(), account.id, Quota(7, "hour"))
    await renew_due(at(house, DUE))
    assert shared_quota(house.ports, account.id) == Quota(10, "day")


async def test_two_processes_at_once_do_each_change_once(house: House, database_url: str) -> None:
    accounts = await leaving(house, 6)
    async with opened(database_url) as other:
        done = await asyncio.gather(
            *(renew_due(at(each, DUE)) for each in (house, other) for _ in range(2))
        )
    assert sum(done) == 6
    for account in accounts:
        assert await assigned(house, account) == ["pro", "free"]
    assert scheduled(house) == 0


async def test_what_was_replaced_or_done_at_once_is_not_done_again(house: House) -> None:
    replaced, cut_short = await leaving(house, 2)
    await plans.assign(house.ports, context(), replaced.id, "enterprise", "at_renewal")
    await plans.assign(house.ports, context(), cut_short.id, "enterprise")
    assert scheduled(house) == 1
    assert await renew_due(at(house, DUE)) == 1
    assert await assigned(house, replaced) == ["pro", "enterprise"]
    assert await assigned(house, cut_short) == ["pro", "enterprise"]


async def test_a_plan_retired_in_the_meantime_takes_nobody(house: House) -> None:
    command = PublishPlan(name="team", tier="team", title="Team", entitlements=Entitlements())
    await plans.publish(house.ports, context(), command)
    account = await house.account(plan="pro")
    await plans.assign(house.ports, context(), account.id, "team", "at_renewal")
    await plans.retire(house.ports, context(), "team")
    assert (await known_plan(house.ports, "team")).retired
    await renew_due(at(house, DUE))
    assert await assigned(house, account) == ["pro"]
    events = [each.event for each in await house.store.read(account.id)]
    assert isinstance(events[-1], PlanChangeCancelled)
    assert scheduled(house) == 0


async def test_an_account_that_cant_be_read_does_not_stop_the_others(house: House) -> None:
    broken, sound = await leaving(house, 2)
    with psycopg.connect(conninfo(house.url)) as connection:
        connection.execute(
            "UPDATE decisions SET topic = 'account.unheard_of.v9' "
            "WHERE originator_id = %s AND originator_version = 2",
            (broken.id,),
        )
    assert await renew_due(at(house, DUE)) == 1
    assert await assigned(house, sound) == ["pro", "free"]
    assert scheduled(house) == 1


async def test_a_quota_that_cant_be_read_does_not_stop_the_others(house: House) -> None:
    broken, sound = await leaving(house, 2)
    await quotas.set_account_quota(house.ports, context(), broken.id, Quota(7, "hour"))
    with psycopg.connect(conninfo(house.url)) as connection:
        connection.execute(
            "UPDATE decisions SET topic = 'allowance.unheard_of.v9' WHERE originator_id = %s",
            (allowance_id(broken.id),),
        )
    assert await renew_due(at(house, DUE)) == 1
    assert await assigned(house, sound) == ["pro", "free"]
    assert scheduled(house) == 1


async def test_the_loop_outlives_a_database_that_is_away(house: House) -> None:
    (account,) = await leaving(house)
    away = asyncio.Event()
    tried = asyncio.Event()

    def clock() -> datetime:
        if not away.is_set():
            tried.set()
            raise psycopg.OperationalError("the server closed the connection")
        return DUE

    ports = msgspec.structs.replace(house.ports, clock=clock)
    async with renewing(ports, pause_seconds=0.01):
        async with asyncio.timeout(10):
            await tried.wait()
            away.set()
            while (known := house.directory.account(account.id)) is None or known.plan != "free":
                await house.directory.catch_up(house.directory.position + 1, 1.0)
    assert await assigned(house, account) == ["pro", "free"]
