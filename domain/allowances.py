"""Allowances: a quota (the rule) and its counter (what was used in which window).

A window is computed from the clock, the period, the anchor and the time zone; no job ever
resets one (docs/adr). A reset by hand is a window boundary of its own. Instants are integer
microseconds since 1970 UTC: exact, and what the counter table holds.
"""

from datetime import datetime
from hashlib import blake2b
from typing import Annotated, Literal, assert_never

import msgspec

from domain.calendars import ETERNITY as ETERNITY
from domain.calendars import UTC_NAME, is_zone
from domain.calendars import Calendar as Calendar
from domain.calendars import Period as Period
from domain.calendars import RatePeriod as RatePeriod
from domain.calendars import Window as Window
from domain.calendars import instant as instant
from domain.calendars import microseconds as microseconds
from domain.errors import InvalidCommand
from domain.event import INTERNAL, Event

Scope = Literal["own", "shared"]
Kind = Literal["quota", "rate", "credits"]

MAX_AMOUNT = 2**53 - 1
"""The largest limit and cost: exact in JSON everywhere, far from the counter's overflow."""
MAX_RATE_LIMITS = 10

PLAN_BITS = 40
"""Of a rule number: below, what changes with the plan; above, with the owner's own rule."""


class Quota(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """So many in each period.

    `carry_over_max`: so much of what was left may be used in later windows. `anchor` is an
    instant at which a window begins; without one they begin where the time zone's minutes,
    hours, days, weeks (Monday) and months do.
    """

    limit: int
    period: Period
    carry_over_max: int = 0
    anchor: datetime | None = None
    time_zone: str = UTC_NAME


class RateLimit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Speed, not volume: so many in each short window; a verification takes `cost` of it."""

    name: str
    limit: int
    period: RatePeriod
    cost: int = 1


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


class Rule(msgspec.Struct, frozen=True, gc=False):
    """A rule as counting needs it: which counter, how much, in which windows.

    `limit` None counts without refusing. `cost` is what each verification takes; None: what
    it asks for. `rule_no` rises with every change, wherever that came from.
    """

    counter_id: int
    owner_id: str
    account_id: str
    kind: Kind
    name: str
    scope: Scope
    limit: int | None
    calendar: Calendar
    rule_no: int
    carry_over_max: int = 0
    cost: int | None = None


def counter_of(owner_id: str, name: str) -> int:
    """The counter that counts this for that owner. It follows from the two, so that everybody
    finds it and whoever needs it first can make it."""
    digest = blake2b(f"{owner_id}/{name}".encode(), digest_size=8, person=b"tollhouse-count")
    return int.from_bytes(digest.digest(), "big") >> 1


def quota_counter(owner_id: str, period: Period, environment: str = "live") -> int:
    """The counter of an owner's quota of this period. Each period has one of its own: who goes
    to another and comes back finds what was used."""
    name = "quota" if environment == "live" else f"quota:{environment}"
    return counter_of(owner_id, f"{name}:{period}")


def rule_of(
    quota: Quota,
    *,
    owner_id: str,
    account_id: str,
    scope: Scope,
    counter_id: int,
    set_no: int,
    plan_no: int = 0,
    reset_at_us: int = 0,
) -> Rule:
    """A quota as counting needs it. `set_no` counts the changes of the owner's own rule,
    `plan_no` those of its plan: whatever changes last has the higher number."""
    anchor = None if quota.anchor is None else microseconds(quota.anchor)
    return Rule(
        counter_id=counter_id,
        owner_id=owner_id,
        account_id=account_id,
        kind="quota",
        name=quota.period,
        scope=scope,
        limit=quota.limit,
        calendar=Calendar(quota.period, anchor, quota.time_zone, reset_at_us),
        rule_no=(set_no << PLAN_BITS) + plan_no,
        carry_over_max=quota.carry_over_max,
    )


def rate_rule(
    limit: RateLimit, *, owner_id: str, account_id: str, scope: Scope, rule_no: int
) -> Rule:
    """A rate limit as counting needs it."""
    return Rule(
        counter_id=counter_of(owner_id, f"rate:{limit.name}"),
        owner_id=owner_id,
        account_id=account_id,
        kind="rate",
        name=limit.name,
        scope=scope,
        limit=limit.limit,
        calendar=Calendar(limit.period),
        rule_no=rule_no,
        cost=limit.cost,
    )


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


def check(quota: Quota, param: str = "quota") -> Quota:
    """The quota itself, if it can be counted; InvalidCommand naming the field otherwise."""
    if not 0 <= quota.limit <= MAX_AMOUNT:
        raise InvalidCommand(f"{param}.limit", f"between 0 and {MAX_AMOUNT}")
    if not 0 <= quota.carry_over_max <= MAX_AMOUNT:
        raise InvalidCommand(f"{param}.carry_over_max", f"between 0 and {MAX_AMOUNT}")
    if quota.carry_over_max and quota.period == "lifetime":
        raise InvalidCommand(f"{param}.carry_over_max", "a lifetime has nothing to carry over to")
    if not is_zone(quota.time_zone):
        raise InvalidCommand(
            f"{param}.time_zone", "a name of the IANA time zone database, as in Europe/Berlin"
        )
    if quota.anchor is not None:
        if quota.anchor.tzinfo is None:
            raise InvalidCommand(f"{param}.anchor", "needs a time zone, as in 2030-01-31T00:00:00Z")
        if not 1970 <= quota.anchor.year <= 2200:
            raise InvalidCommand(f"{param}.anchor", "between the years 1970 and 2200")
    return quota


def check_rate_limits(
    limits: tuple[RateLimit, ...], param: str = "rate_limits"
) -> tuple[RateLimit, ...]:
    """The rate limits themselves, if they can be counted; InvalidCommand naming the field."""
    if len(limits) > MAX_RATE_LIMITS:
        raise InvalidCommand(param, f"at most {MAX_RATE_LIMITS}")
    names = set()
    for number, each in enumerate(limits):
        here = f"{param}[{number}]"
        if not 1 <= len(each.name) <= 50 or not each.name.isprintable():
            raise InvalidCommand(f"{here}.name", "1 to 50 printable characters")
        if each.name in names:
            raise InvalidCommand(f"{here}.name", "each name once")
        names.add(each.name)
        if not 0 <= each.limit <= MAX_AMOUNT:
            raise InvalidCommand(f"{here}.limit", f"between 0 and {MAX_AMOUNT}")
        if not 1 <= each.cost <= MAX_AMOUNT:
            raise InvalidCommand(f"{here}.cost", f"between 1 and {MAX_AMOUNT}")
        if 0 < each.limit < each.cost:
            raise InvalidCommand(f"{here}.cost", "no more than the limit, or nothing ever fits")
    return limits


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
