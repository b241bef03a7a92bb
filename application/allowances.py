"""Allowances: made with their owners, changed by them below the plan; and how they stand."""

from collections.abc import Iterable
from datetime import datetime

import msgspec

from application.deciding import ALLOWANCE, Change, change, fresh, load
from application.ports import Ports
from application.rows import CounterRow, MovedUseRow
from domain import allowances, calendars, quotas
from domain.allowances import Allowance, AllowanceLifted, AllowanceSet
from domain.calendars import Calendar, Period, RatePeriod, microseconds
from domain.counters import PLAN_BITS, Kind, Rule, Scope, quota_counter
from domain.quotas import Quota
from domain.verification import Counter, Expected, carried_into


class AllowanceState(msgspec.Struct, frozen=True, kw_only=True):
    """A rule and what was used of it in the window that is now. `limit` is without `carried`;
    instants are microseconds, None for a lifetime."""

    owner_id: str
    account_id: str
    kind: Kind
    name: str
    scope: Scope
    limit: int | None
    carried: int
    used: int
    remaining: int | None
    period: Period | RatePeriod
    window_start_us: int
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
        counter_id=quota_counter(owner_id, quota.period),
        carry_over_max=quota.carry_over_max,
        anchor=quota.anchor,
        time_zone=quota.time_zone,
    )
    made = change(fresh(ALLOWANCE, event.allowance_id), [event], ports.clock(), account_id)
    return made, counter_row(made.state)


def allowance_id(owner_id: str) -> str:
    """The id of an owner's allowance. It follows from the owner's, so that two who give it
    one at once meet at the same stream, and one that was lifted is found again."""
    return f"alw_{owner_id.partition('_')[2]}"


def counter_row(state: Allowance, window_start: int = 0, counts_since: int = 0) -> CounterRow:
    """The counter's rule as this allowance has it; without a limit where it was lifted."""
    return CounterRow(
        state.counter_id,
        state.owner_id,
        state.account_id,
        None if state.lifted else state.limit,
        state.rule_no << PLAN_BITS,
        window_start,
        counts_since,
        0 if state.lifted else state.carry_over_max,
    )


async def set_quota(
    ports: Ports,
    owner_id: str,
    account_id: str,
    quota: Quota | None,
    now: datetime,
    scope: Scope = "own",
) -> tuple[list[Change[Allowance]], list[CounterRow | MovedUseRow]]:
    """What gives this owner this rule (None: no rule of its own any more).

    What was used stays used. Another period counts in a row of its own, and what was used in
    the window that is left counts there, too: neither there nor back is anything won. No row is
    written for an account whose rule is lifted: its plan's holds from then on.
    """
    stream = await load(ports, ALLOWANCE, allowance_id(owner_id))
    state = stream.state
    if state is None:
        if quota is None:
            return [], []
        made, row = new_allowance(ports, owner_id, account_id, scope, quotas.check(quota))
        return [made], [row]
    if quota is None:
        if state.lifted:
            return [], []
        lifted = change(stream, [AllowanceLifted()], now, account_id)
        return [lifted], [] if scope == "shared" else [counter_row(lifted.state)]
    event = allowances.changed(state, quotas.check(quota))
    if event is None:
        return [], []
    changed = change(stream, [event], now, account_id)
    return [changed], _rows_of_change(state, changed.state, microseconds(now))


def _rows_of_change(
    before: Allowance, after: Allowance, now_us: int
) -> list[CounterRow | MovedUseRow]:
    """The rows by which the rule counts on from what was used."""
    if before.lifted:
        # It has no calendar of its own; its row may have counted by the plan's since. What that
        # was counts as far as its window is one of the new calendar's.
        return [counter_row(after)]
    old = calendars.window(calendar_of(before), now_us).start
    new = calendars.window(calendar_of(after), now_us).start
    if after.counter_id == before.counter_id:
        return [counter_row(after, new, old)]
    # The old row learns the number of the new rule: who only knows the old one is refused.
    left = counter_row(msgspec.structs.replace(before, rule_no=after.rule_no))
    # In the order in which counting locks them.
    both = sorted((left, counter_row(after, new, new)), key=lambda each: each.counter_id)
    return [*both, MovedUseRow(after.counter_id, before.counter_id, old)]


def calendar_of(state: Allowance) -> Calendar:
    """The windows that this allowance counts in."""
    return Calendar(state.period, state.anchor_us, state.time_zone, state.reset_at_us)


async def standing(ports: Ports, rules: Iterable[Rule]) -> list[AllowanceState]:
    """These rules as they stand now; a window that has passed counts as empty."""
    rules = list(rules)
    counters = await ports.lookups.counters([rule.counter_id for rule in rules])
    now_us = microseconds(ports.clock())
    return [_state(rule, counters.get(rule.counter_id), now_us) for rule in rules]


def _state(rule: Rule, counter: Counter | None, now_us: int) -> AllowanceState:
    window = calendars.window(rule.calendar, now_us)
    used = carried = 0
    if counter is not None and counter.window_start >= window.start:
        used, carried = counter.used, min(counter.carried, rule.carry_over_max)
    elif counter is not None:
        length = calendars.length(rule.calendar.period)
        known = Expected(0, window, rule.limit, rule.carry_over_max, rule.kind, length)
        carried = carried_into(counter, window.base, known)
    return AllowanceState(
        owner_id=rule.owner_id,
        account_id=rule.account_id,
        kind=rule.kind,
        name=rule.name,
        scope=rule.scope,
        limit=rule.limit,
        carried=carried,
        used=used,
        remaining=None if rule.limit is None else max(rule.limit + carried - used, 0),
        period=rule.calendar.period,
        window_start_us=window.start,
        resets_at_us=None if rule.calendar.period == "lifetime" else window.end,
    )
