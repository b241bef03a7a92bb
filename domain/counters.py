"""Counters: a rule as counting needs it, and which counter counts by it."""

from hashlib import blake2b
from typing import Literal

import msgspec

from domain.calendars import Calendar, Period, microseconds
from domain.quotas import Quota, RateLimit

Scope = Literal["own", "shared"]
Kind = Literal["quota", "rate", "credits"]

PLAN_BITS = 40
"""Of a rule number: below, what changes with the plan; above, with the owner's own rule."""


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
