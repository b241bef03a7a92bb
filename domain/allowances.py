"""Allowances: a quota (the rule) and its counter (what was used in which window).

A window is computed from the clock, the period, the anchor and the time zone; no job ever
resets one (docs/adr). A reset by hand is a window boundary of its own. Instants are integer
microseconds since 1970 UTC: exact, and what the counter table holds. The rules themselves are in
`quotas`, what counting needs of them in `counters`.
"""

from datetime import datetime
from typing import Annotated, assert_never

import msgspec

from domain.calendars import UTC_NAME, Period, instant, microseconds
from domain.counters import Scope, quota_counter
from domain.event import INTERNAL, Event
from domain.quotas import Quota


class AllowanceSet(Event, frozen=True, tag="allowance.set.v1"):
    """An owner may use `limit` per `period`; what was used in the current window stays.

    `rule_no` rises with every change, so that a process which hasn't seen it can't count by
    the old rule.
    """

    allowance_id: str
    owner_id: str
    account_id: str
    scope: Scope
    limit: int
    period: Period
    counter_id: Annotated[int, INTERNAL]
    rule_no: int = 1
    carry_over_max: int = 0
    anchor: datetime | None = None
    time_zone: str = UTC_NAME


class AllowanceLifted(Event, frozen=True, tag="allowance.lifted.v1"):
    """The rule no longer holds: a key's owner may use as much as it likes, an account as much
    as its plan says."""


class AllowanceReset(Event, frozen=True, tag="allowance.reset.v1"):
    """What was used is forgotten: a window begins at this instant. It holds for an owner that
    has no rule of its own, too, and then for the rule of its plan."""

    allowance_id: str
    owner_id: str
    account_id: str
    scope: Scope
    reset_at_us: int


class AllAllowancesReset(Event, frozen=True, tag="allowance.all_reset.v1"):
    """A window of every quota of everybody begins at this instant."""

    reset_at_us: int


ResetEvent = AllAllowancesReset
AllowanceEvent = AllowanceSet | AllowanceLifted | AllowanceReset
EVERYBODY = "allowances"
"""The stream of what holds for all allowances at once."""


class Allowance(msgspec.Struct, frozen=True, gc=False):
    """A rule that an owner has to itself, as it stands; lifted: only `reset_at_us` counts."""

    id: str
    owner_id: str
    account_id: str
    scope: Scope
    limit: int
    period: Period
    counter_id: int
    rule_no: int
    lifted: bool = False
    carry_over_max: int = 0
    anchor_us: int | None = None
    time_zone: str = UTC_NAME
    reset_at_us: int = 0

    @property
    def quota(self) -> Quota | None:
        """The rule alone; None once it is lifted."""
        if self.lifted:
            return None
        anchor = None if self.anchor_us is None else instant(self.anchor_us)
        return Quota(self.limit, self.period, self.carry_over_max, anchor, self.time_zone)


class GlobalReset(msgspec.Struct, frozen=True, gc=False):
    """When everybody's quotas were reset the last time."""

    at_us: int


def evolve(state: Allowance | None, event: AllowanceEvent, at: datetime) -> Allowance:
    """The allowance after this event."""
    replace = msgspec.structs.replace
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
                carry_over_max=event.carry_over_max,
                anchor_us=None if event.anchor is None else microseconds(event.anchor),
                time_zone=event.time_zone,
                reset_at_us=0 if state is None else state.reset_at_us,
            )
        case AllowanceLifted():
            if state is None:
                raise ValueError("allowance.lifted before allowance.set")
            return replace(state, lifted=True, rule_no=state.rule_no + 1)
        case AllowanceReset():
            if state is not None:
                return replace(state, reset_at_us=event.reset_at_us)
            return Allowance(
                id=event.allowance_id,
                owner_id=event.owner_id,
                account_id=event.account_id,
                scope=event.scope,
                limit=0,
                period="lifetime",
                counter_id=quota_counter(event.owner_id, "lifetime"),
                rule_no=0,
                lifted=True,
                reset_at_us=event.reset_at_us,
            )
        case _:
            assert_never(event)


def reset_everybody(
    state: GlobalReset | None, event: AllAllowancesReset, at: datetime
) -> GlobalReset:
    """When everybody's quotas were reset the last time, after this event."""
    return GlobalReset(event.reset_at_us)


def changed(state: Allowance, quota: Quota) -> AllowanceSet | None:
    """The fact that gives this allowance another rule; None if it is the one it has."""
    if state.quota == quota:
        return None
    return AllowanceSet(
        allowance_id=state.id,
        owner_id=state.owner_id,
        account_id=state.account_id,
        scope=state.scope,
        limit=quota.limit,
        period=quota.period,
        counter_id=(
            state.counter_id
            if state.period == quota.period
            else quota_counter(state.owner_id, quota.period)
        ),
        rule_no=state.rule_no + 1,
        carry_over_max=quota.carry_over_max,
        anchor=quota.anchor,
        time_zone=quota.time_zone,
    )
