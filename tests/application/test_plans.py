"""Plans: what changes in one holds at once for all who are on it; accounts change theirs."""

import asyncio
from datetime import UTC, datetime

import pytest

from application import plans, quotas
from application.deciding import Principal
from application.key_quotas import shared_quota
from application.plans import known_plan
from domain.accounts import PlanAssigned
from domain.errors import (
    EntitlementExceeded,
    NotFound,
    NotPermitted,
    NotSelfService,
    PlanNotOffered,
    Taken,
    UnknownPlan,
)
from domain.plan_rules import ChangePlan, PublishPlan
from domain.plans import Entitlements, renewal_after
from domain.quotas import Quota
from tests.application.house import House, context, opened, owner

pytestmark = pytest.mark.anyio


def team(name: str = "team", keys: int | None = 2, self_service: bool = False) -> PublishPlan:
    return PublishPlan(
        name=name,
        tier="team",
        title="Team",
        entitlements=Entitlements(keys=keys, quota=Quota(50, "day")),
        self_service=self_service,
    )


async def test_a_plan_published_twice_at_once_is_one(house: House, database_url: str) -> None:
    async with opened(database_url) as other:

        async def publish(at: House) -> str:
            try:
                plan, _ = await plans.publish(at.ports, context(), team())
            except Taken as taken:
                return taken.kind
            return plan.name

        outcomes = await asyncio.gather(*(publish(at) for at in (house, other) * 3))
    assert sorted(outcomes) == ["plan name"] * 5 + ["team"]


async def test_a_change_of_a_plan_is_one_event_and_holds_for_all_on_it(house: House) -> None:
    await plans.publish(house.ports, context(), team())
    accounts = [await house.account(plan="team") for _ in range(3)]
    before = house.directory.position
    command = ChangePlan(quota=Quota(70, "day"), keys=1)
    plan, position = await plans.amend(house.ports, context(), "team", command)
    assert (position - before, plan.revision) == (1, 2)
    for account in accounts:
        assert shared_quota(house.ports, account.id) == Quota(70, "day")
        await house.key(account)
        with pytest.raises(EntitlementExceeded):
            await house.key(account)
    position = house.directory.position
    assert await plans.amend(house.ports, context(), "team", command) == (plan, position)


async def test_changes_of_one_plan_from_many_sides_all_hold(house: House) -> None:
    await plans.publish(house.ports, context(), team())
    commands = [ChangePlan(title="A"), ChangePlan(keys=9), ChangePlan(monthly_credits=7_00)]
    await asyncio.gather(
        *(plans.amend(house.ports, context(), "team", command) for command in commands)
    )
    plan = await known_plan(house.ports, "team")
    assert (plan.title, plan.entitlements.keys, plan.entitlements.monthly_credits) == ("A", 9, 700)
    assert plan.revision == 3  # another title changes nothing that is counted by


async def test_a_retired_plan_takes_nobody_and_those_on_it_keep_it(house: House) -> None:
    await plans.publish(house.ports, context(), team(self_service=True))
    on_it, other = await house.account(plan="team"), await house.account()
    await plans.retire(house.ports, context(), "team")
    with pytest.raises(PlanNotOffered):
        await plans.assign(house.ports, context(), other.id, "team")
    with pytest.raises(PlanNotOffered):
        await plans.upgrade(house.ports, context(owner(other)), other.id, "team")
    kept, _ = await plans.assign(house.ports, context(), on_it.id, "team")
    assert kept.account.plan == "team"
    assert (await house.key(on_it)).key.account_id == on_it.id
    assert shared_quota(house.ports, on_it.id) == Quota(50, "day")


async def test_only_staff_makes_changes_retires_and_assigns(house: House) -> None:
    account = await house.account()
    service = Principal(
        kind="service", id="key_1", permissions=frozenset(("accounts.manage", "keys.manage"))
    )
    for who in (owner(account), service):
        ports, asked = house.ports, context(who)
        for attempt in (
            plans.publish(ports, asked, team()),
            plans.amend(ports, asked, "free", ChangePlan(keys=99)),
            plans.retire(ports, asked, "pro"),
            plans.assign(ports, asked, account.id, "pro"),
        ):
            with pytest.raises(NotPermitted):
                await attempt


async def test_an_owner_changes_only_their_own_plan_and_only_to_self_service_ones(
    house: House,
) -> None:
    await plans.publish(house.ports, context(), team(self_service=True))
    account, other = await house.account(), await house.account()
    on, _ = await plans.upgrade(house.ports, context(owner(account)), account.id, "team")
    assert (on.account.plan, on.account.plan_no) == ("team", 2)
    for name, refusal in (("pro", NotSelfService), ("gold", UnknownPlan), ("a\0", UnknownPlan)):
        with pytest.raises(refusal):
            await plans.upgrade(house.ports, context(owner(account)), account.id, name)
    with pytest.raises(NotFound):
        await plans.upgrade(house.ports, context(owner(account)), other.id, "team")
    with pytest.raises(NotFound):
        await plans.cancel_change(house.ports, context(owner(account)), other.id)


async def test_a_smaller_plan_leaves_the_keys_and_gives_no_more(house: House) -> None:
    await plans.publish(house.ports, context(), team(keys=2))
    account = await house.account()
    keys = [await house.key(account) for _ in range(3)]
    on, _ = await plans.assign(house.ports, context(), account.id, "team")
    assert (on.living_keys, on.plan.entitlements.keys) == (3, 2)
    assert all(house.directory.key(each.key.id) for each in keys)
    with pytest.raises(EntitlementExceeded):
        await house.key(account)


async def test_another_plan_ends_the_quota_that_staff_had_set(house: House) -> None:
    account = await house.account()
    await quotas.set_account_quota(house.ports, context(), account.id, Quota(99, "hour"))
    assert shared_quota(house.ports, account.id) == Quota(99, "hour")
    before = house.directory.position
    _, position = await plans.assign(house.ports, context(), account.id, "pro")
    assert shared_quota(house.ports, account.id) == Quota(100_000, "day")
    assert position - before == 2  # in one transaction: the plan, and the end of the quota
    await quotas.set_account_quota(house.ports, context(), account.id, Quota(5, "day"))
    assert shared_quota(house.ports, account.id) == Quota(5, "day")


async def test_a_scheduled_change_waits_and_can_be_taken_back_by_the_owner(house: House) -> None:
    account = await house.account(plan="pro")
    asked = context(owner(account))
    on, _ = await plans.upgrade(house.ports, asked, account.id, "free", "at_renewal")
    due_at = renewal_after(datetime.now(UTC))
    assert (on.account.plan, on.account.next_plan) == ("pro", "free")
    assert on.account.next_plan_at == due_at.timestamp()
    assert await house.lookups.due_plan_changes(due_at, None, 9) == [account.id]
    await plans.cancel_change(house.ports, asked, account.id)
    assert await house.lookups.due_plan_changes(due_at, None, 9) == []
    position = house.directory.position
    assert await plans.cancel_change(house.ports, asked, account.id) == position
    known = house.directory.account(account.id)
    assert known is not None
    assert (known.plan, known.next_plan) == ("pro", None)


async def test_assigned_from_many_sides_at_once_is_one_event(house: House) -> None:
    account = await house.account()
    await asyncio.gather(
        *(plans.assign(house.ports, context(), account.id, "pro") for _ in range(4))
    )
    events = [each.event for each in await house.store.read(account.id)]
    assert [each.plan for each in events if isinstance(each, PlanAssigned)] == ["free", "pro"]
