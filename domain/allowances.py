"""Allowances: a quota (the rule) and its counter (what was used in which window).

A window is computed from the clock, the period and the anchor; no job ever resets one
(docs/adr). Instants are integer microseconds since 1970 UTC: exact, and what the counter
table holds.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal, NamedTuple, assert_never

import msgspec

from domain.errors import InvalidCommand
from domain.event import INTERNAL, Event

Period = Literal["minute", "hour", "day", "week", "month", "lifetime"]
Scope = Literal["own", "shared"]

MAX_AMOUNT = 2**53 - 1
"""The largest limit and cost: exact in JSON everywhere, far from the counter's overflow."""
ETERNITY = 2**62

_MINUTE = 60_000_000
_FIXED = {"minute": _MINUTE, "hour": 60 * _MINUTE, "day": 1440 * _MINUTE, "week": 10080 * _MINUTE}
_MONDAY = 4 * 1440 * _MINUTE  # 1970-01-05, so that weeks begin on Mondays, as ISO 8601 has it


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """So many in each period."""

    limit: int
    period: Period


class AllowanceSet(Event, frozen=True, tag="allowance.set.v1"):
    """An owner may use `limit` per `period`; what was used in the current window stays.

    `rule_no` rises when the period changes, so that a process which hasn't seen the change
    can't count into a window of the old calendar.
    """

    allowance_id: str
    owner_id: str
    account_id: str
    scope: Scope
    limit: int
    period: Period
    counter_id: Annotated[int, INTERNAL]
    rule_no: int = 1


class AllowanceLifted(Event, frozen=True, tag="allowance.lifted.v1"):
    """The rule no longer holds: its owner may use as much as it likes."""


AllowanceEvent = AllowanceSet | AllowanceLifted


class Allowance(msgspec.Struct, frozen=True, gc=False):
    """A rule as it stands, and which row of the counter table counts for it."""

    id: str
    owner_id: str
    account_id: str
    scope: Scope
    limit: int
    period: Period
    counter_id: int
    rule_no: int
    lifted: bool = False


class Window(NamedTuple):
    """The window around an instant, and the end of the one after it."""

    start: int
    end: int
    next_end: int


def evolve(state: Allowance | None, event: AllowanceEvent, at: datetime) -> Allowance:
    """The allowance after this event."""
    match event:
        case AllowanceSet():
            return Allowance(
                id=event.allowance_id,
                owner_id=event.owner_id,
                account_id=event.account_id,
                scope=event.scope,
                limit=event.limit,
                period=event.period,
                counter_id=event.counter_id,
                rule_no=event.rule_no,
            )
        case AllowanceLifted():
            if state is None:
                raise ValueError("allowance.lifted before allowance.set")
            return msgspec.structs.replace(state, lifted=True)
        case _:
            assert_never(event)


def check(quota: Quota, param: str = "quota") -> Quota:
    """The quota itself, if it can be counted; InvalidCommand naming the field otherwise."""
    if not 0 <= quota.limit <= MAX_AMOUNT:
        raise InvalidCommand(f"{param}.limit", f"between 0 and {MAX_AMOUNT}")
    return quota


def changed(state: Allowance, quota: Quota) -> AllowanceSet | None:
    """The fact that gives this allowance another rule; None if it is the one it has."""
    if (state.limit, state.period, state.lifted) == (quota.limit, quota.period, False):
        return None
    return AllowanceSet(
        allowance_id=state.id,
        owner_id=state.owner_id,
        account_id=state.account_id,
        scope=state.scope,
        limit=quota.limit,
        period=quota.period,
        counter_id=state.counter_id,
        rule_no=state.rule_no + (state.period != quota.period),
    )


def window(period: Period, now: int) -> Window:
    """The window of this period that holds `now`: [start, end), and the next one's end.

    Minutes, hours and days begin where UTC's do, weeks on Monday, months on the first.
    """
    if period == "lifetime":
        return Window(0, ETERNITY, ETERNITY)
    if period == "month":
        moment = datetime.fromtimestamp(now // 1_000_000, UTC)
        months = moment.year * 12 + moment.month - 1
        return Window(_month(months), _month(months + 1), _month(months + 2))
    length = _FIXED[period]
    anchor = _MONDAY if period == "week" else 0
    start = now - (now - anchor) % length
    return Window(start, start + length, start + 2 * length)


def _month(months: int) -> int:
    return int(datetime(months // 12, months % 12 + 1, 1, tzinfo=UTC).timestamp()) * 1_000_000
