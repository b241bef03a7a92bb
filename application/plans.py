"""Plans: published, changed, retired; and which one an account is on, now or from a renewal on.

The shipped ones are published by the first start. An account follows its plan by reference: a
plan that changes is one event, whoever is on it.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from application.allowances import set_quota
from application.deciding import (
    PLAN,
    SYSTEM,
    Change,
    Context,
    Stream,
    change,
    commit,
    fresh,
    load,
    retrying,
)
from application.errors import VersionConflict
from application.known_account import known_account
from application.ports import Ports
from application.rows import PlanChangeOverRow, PlanChangeRow, Row
from application.staff_permits import require, spare_staff
from domain import accounts, plan_rules, plans
from domain.accounts import Account, PlanAssigned
from domain.errors import NotFound, NotPermitted, NotSelfService, Taken, UnknownPlan
from domain.event import Event
from domain.plan_rules import ChangePlan, PublishPlan
from domain.plans import Plan
from domain.staff import Right

When = Literal["now", "at_renewal"]


class OnPlan(msgspec.Struct, frozen=True):
    """An account, the plan that was asked for, and how many keys it has that have not ended."""

    account: Account
    plan: Plan
    living_keys: int


async def publish(ports: Ports, context: Context, command: PublishPlan) -> tuple[Plan, int]:
    """Make a plan; staff only. Raises Taken where there is one of this name, InvalidCommand."""
    _require(context, "plans.publish")
    event = plan_rules.publish(command)
    stream = await load(ports, PLAN, plans.stream(event.name))
    if stream.state is not None:
        raise Taken("plan name")
    now = ports.clock()
    made = change(stream, [event], now, None)
    try:
        return made.state, await commit(ports, context, now, [made], result=made.state)
    except VersionConflict:
        raise Taken("plan name") from None


async def amend(ports: Ports, context: Context, name: str, command: ChangePlan) -> tuple[Plan, int]:
    """Change what a plan permits, at once and for everybody on it; staff only."""
    return await _decide(ports, context, name, lambda plan: plan_rules.change(plan, command))


async def retire(ports: Ports, context: Context, name: str) -> tuple[Plan, int]:
    """Take no new accounts; staff only. Raises PlanInUse for those that the server needs."""
    return await _decide(ports, context, name, plans.retire)


async def assign(
    ports: Ports,
    context: Context,
    account_id: str,
    name: str,
    when: When = "now",
    reason: str | None = None,
) -> tuple[OnPlan, int]:
    """Put an account on a plan, now or at its next renewal; staff only. The plan of staff, which
    has no limits, is given by who manages staff.

    Raises NotPermitted, NotFound for the account, UnknownPlan, PlanNotOffered.
    """
    _require(context, "plan.assign")
    spare_staff(ports, context.principal, account_id)
    if name == plans.INTERNAL:
        require(context.principal, "staff.manage")
    return await _put_on(ports, context, account_id, name, when, reason, by_owner=False)


async def upgrade(
    ports: Ports, context: Context, account_id: str, name: str, when: When = "now"
) -> tuple[OnPlan, int]:
    """Put the own account on a self-service plan. Raises NotSelfService, UnknownPlan,
    PlanNotOffered."""
    if context.principal.account_id != account_id:
        raise NotFound("account", account_id)
    return await _put_on(ports, context, account_id, name, when, None, by_owner=True)


async def cancel_change(
    ports: Ports, context: Context, account_id: str, reason: str | None = None
) -> int:
    """Leave the account on its plan: what was scheduled is off. Staff, and the owner. Answers
    the position; where nothing was scheduled, nothing changes."""
    principal = context.principal
    own = (principal.kind, principal.account_id) == ("account", account_id)
    if not own and not principal.may("plan.assign"):
        raise NotFound("account", account_id)

    async def attempt() -> int:
        stream = await known_account(ports, account_id)
        events = accounts.cancel_plan_change(stream.state)
        if not events:
            return ports.directory.position
        now = ports.clock()
        changes, rows = await plan_change(ports, stream, events, now)
        return await commit(ports, context, now, changes, rows, reason=reason)

    return await retrying(attempt)


async def plan_change(
    ports: Ports, stream: Stream[Account], events: Sequence[Event], now: datetime
) -> tuple[list[Change[Any]], list[Row]]:
    """What follows from these events of an account's plan, in one transaction: what a renewal
    looks for, and with a new plan the end of a quota that staff had set beside the old one."""
    changed = change(stream, events, now, stream.id)
    after = changed.state
    changes: list[Change[Any]] = [changed]
    rows: list[Row] = []
    if after.next_plan is not None and after.next_plan_at is not None:
        due_at = datetime.fromtimestamp(after.next_plan_at, UTC)
        rows.append(PlanChangeRow(after.id, after.next_plan, due_at))
    elif stream.state is not None and stream.state.next_plan is not None:
        rows.append(PlanChangeOverRow(after.id))
    if any(isinstance(event, PlanAssigned) for event in events):
        lifted, counters = await set_quota(ports, after.id, after.id, None, now, "shared")
        changes += lifted
        rows += counters
    return changes, rows


async def known_plan(ports: Ports, name: str) -> Plan:
    """The plan as the log has it now. UnknownPlan."""
    plan = None
    if plan_rules.is_name(name):
        plan = (await load(ports, PLAN, plans.stream(name))).state
    if plan is None:
        raise UnknownPlan(name)
    return plan


async def publish_shipped(ports: Ports, command_id: str) -> list[str]:
    """Publish the shipped plans that have never been published; answers their names."""
    missing = [
        event
        for event in plans.SHIPPED
        if (await load(ports, PLAN, plans.stream(event.name))).state is None
    ]
    if not missing:
        return []
    now = ports.clock()
    changes = [
        change(fresh(PLAN, plans.stream(event.name)), [event], now, None) for event in missing
    ]
    try:
        await commit(ports, Context(principal=SYSTEM, command_id=command_id), now, changes)
    except VersionConflict:
        # Another process starts at the same moment, and was first: what it made is seen soon.
        for _ in range(100):
            if all(ports.directory.plan(event.name) for event in missing):
                break
            await asyncio.sleep(0.05)
        return []
    return [event.name for event in missing]


async def _put_on(
    ports: Ports,
    context: Context,
    account_id: str,
    name: str,
    when: When,
    reason: str | None,
    *,
    by_owner: bool,
) -> tuple[OnPlan, int]:
    async def attempt() -> tuple[OnPlan, int]:
        stream = await known_account(ports, account_id)
        account = stream.state
        plan = await known_plan(ports, name)
        if by_owner and not plan.self_service:
            raise NotSelfService(name)
        if account.plan != name:
            plans.admit(plan)
        now = ports.clock()
        if when == "now":
            events = accounts.assign_plan(account, name)
        else:
            events = accounts.schedule_plan(account, name, plans.renewal_after(now))
        keys = await ports.lookups.living_keys(account_id)
        if not events:
            return OnPlan(account, plan, keys), ports.directory.position
        changes, rows = await plan_change(ports, stream, events, now)
        result = OnPlan(changes[0].state, plan, keys)
        position = await commit(ports, context, now, changes, rows, result=result, reason=reason)
        return result, position

    return await retrying(attempt)


async def _decide(
    ports: Ports,
    context: Context,
    name: str,
    decide: Callable[[Plan], Sequence[Event]],
) -> tuple[Plan, int]:
    _require(context, "plans.publish")
    if not plan_rules.is_name(name):
        raise NotFound("plan", name)

    async def attempt() -> tuple[Plan, int]:
        stream = await load(ports, PLAN, plans.stream(name))
        if stream.state is None:
            raise NotFound("plan", name)
        events = decide(stream.state)
        if not events:
            return stream.state, ports.directory.position
        now = ports.clock()
        changed = change(stream, events, now, None)
        position = await commit(ports, context, now, [changed], result=changed.state)
        return changed.state, position

    return await retrying(attempt)


def _require(context: Context, right: Right) -> None:
    if not context.principal.may(right):
        raise NotPermitted(right)
