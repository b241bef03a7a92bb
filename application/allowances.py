"""Allowances: made with their owners, changed by them below the plan; and how they stand."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from application.deciding import ALLOWANCE, Change, change, fresh, load
from application.ports import Ports
from application.rows import CounterRow
from domain import allowances
from domain.allowances import Allowance, AllowanceLifted, AllowanceSet, Period, Quota, Scope


class AllowanceState(msgspec.Struct, frozen=True):
    """A rule and what was used of it in the window that is now."""

    id: str
    owner_id: str
    scope: Scope
    limit: int
    used: int
    remaining: int
    period: Period
    resets_at_us: int | None


def new_allowance(
    ports: Ports, owner_id: str, account_id: str, scope: Scope, quota: Quota
) -> tuple[Change[Allowance], CounterRow]:
    """A first allowance for an owner, and the row that counts for it."""
    event = AllowanceSet(
        allowance_id=allowance_id(owner_id),
        owner_id=owner_id,
        account_id=account_id,
        scope=scope,
        limit=quota.limit,
        period=quota.period,
        counter_id=int.from_bytes(ports.entropy(8), "big") >> 1,
    )
    made = change(fresh(ALLOWANCE, event.allowance_id), [event], ports.clock(), account_id)
    return made, counter_row(event)


def allowance_id(owner_id: str) -> str:
    """The id of an owner's allowance. It follows from the owner's, so that two who give it
    one at once meet at the same stream, and one that was lifted is found again."""
    return f"alw_{owner_id.partition('_')[2]}"


def counter_row(event: AllowanceSet, window_start: int = 0, counts_since: int = 0) -> CounterRow:
    """The counter's rule as this event has it."""
    return CounterRow(
        event.counter_id,
        event.owner_id,
        event.account_id,
        event.limit,
        event.rule_no,
        window_start,
        counts_since,
    )


async def set_quota(
    ports: Ports, owner_id: str, account_id: str, quota: Quota | None, now: datetime
) -> tuple[list[Change[Allowance]], list[CounterRow]]:
    """What gives this owner's own allowance this rule (None: no rule any more).

    What was used stays used. Under another period it counts in that period's window.
    """
    stream = await load(ports, ALLOWANCE, allowance_id(owner_id))
    if stream.state is None:
        if quota is None:
            return [], []
        rule = allowances.check(quota)
        made, row = new_allowance(ports, owner_id, account_id, "own", rule)
        return [made], [row]
    if quota is None:
        if stream.state.lifted:
            return [], []
        lifted = change(stream, [AllowanceLifted()], now, account_id)
        unlimited = CounterRow(
            stream.state.counter_id, owner_id, account_id, None, stream.state.rule_no, 0
        )
        return [lifted], [unlimited]
    event = allowances.changed(stream.state, allowances.check(quota))
    if event is None:
        return [], []
    now_us = int(now.timestamp() * 1_000_000)
    old = allowances.window(stream.state.period, now_us).start
    new = allowances.window(event.period, now_us).start
    return [change(stream, [event], now, account_id)], [counter_row(event, new, old)]


async def standing(ports: Ports, rules: Iterable[Allowance]) -> list[AllowanceState]:
    """These allowances as they stand now; a window that has passed counts as empty."""
    rules = list(rules)
    counters = await ports.lookups.counters([rule.counter_id for rule in rules])
    now_us = int(ports.clock().timestamp() * 1_000_000)
    states = []
    for rule in rules:
        window = allowances.window(rule.period, now_us)
        counter = counters.get(rule.counter_id)
        current = counter is not None and counter.window_start >= window.start
        used = counter.used if counter is not None and current else 0
        states.append(
            AllowanceState(
                id=rule.id,
                owner_id=rule.owner_id,
                scope=rule.scope,
                limit=rule.limit,
                used=used,
                remaining=max(rule.limit - used, 0),
                period=rule.period,
                resets_at_us=None if rule.period == "lifetime" else window.end,
            )
        )
    return states
