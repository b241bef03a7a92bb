"""What a verification found at each of its counters: from the batch that counted it."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import msgspec

from application.allowances import allowance_id
from application.deciding import ALLOWANCE, PLAN
from application.rules import rules_of
from application.time_travel import folded
from domain import calendars, plans
from domain.accounts import Account
from domain.allowances import EVERYBODY, AllAllowancesReset, Allowance
from domain.api_keys import ApiKey
from domain.calendars import Period, RatePeriod, instant
from domain.counters import Kind, Rule, Scope
from domain.event import Recorded
from domain.key_words import per
from domain.plans import Plan
from domain.verification import VerificationsCounted, kind_of
from domain.wording import in_credits


class LimitThen(msgspec.Struct, frozen=True, kw_only=True):
    """One limit as the verification found it; of credits amounts are hundredths, and `limit` is
    what had been available in all. `asked` is what it wanted, `taken` what it got: that, or
    nothing. `streams` are where the rule comes from."""

    kind: Kind
    name: str
    scope: Scope | None
    period: Period | RatePeriod | None
    limit: int | None
    used_before: int
    asked: int
    taken: int
    refused: bool
    began_at: datetime | None
    resets_at: datetime | None
    words: str
    streams: tuple[str, ...] = ()


class Past:
    """What rules are made of, as it was. Implements application.rules.Sources."""

    def __init__(self, events: Sequence[Recorded]) -> None:
        self._events = events

    def plan(self, name: str) -> Plan | None:
        """The plan of this name."""
        return folded(PLAN, self._events, plans.stream(name))

    def allowances(self, owner_id: str) -> Sequence[Allowance]:
        """The owner's own rule, if it ever had one."""
        found = folded(ALLOWANCE, self._events, allowance_id(owner_id))
        return [] if found is None else [found]

    @property
    def reset_at_us(self) -> int:
        """When everybody's quotas were reset the last time."""
        return max(
            (
                each.event.reset_at_us
                for each in self._events
                if each.stream == EVERYBODY and isinstance(each.event, AllAllowancesReset)
            ),
            default=0,
        )


class _Take(NamedTuple):
    counter: int
    asked: int
    before: int


def limits_then(
    batch: VerificationsCounted, row: int, key: ApiKey, account: Account, past: Past
) -> list[LimitThen]:
    """The limits that this row of the batch was asked for, in the order of the question."""
    plan = past.plan(account.plan)
    known: dict[int, Rule] = {}
    if plan is not None:
        rules = rules_of(past, key, account, plan)
        known = {rule.counter_id: rule for rule in rules.counted}
        if rules.credits is not None:
            known[rules.credits.counter_id] = rules.credits
    refused_by = dict(zip(batch.refused, batch.refused_by, strict=True)).get(row, 0)
    return [
        _limit(batch, take, rule, refused_by, () if rule is None else _streams(rule, account, past))
        for take, rule in (
            (each, known.get(batch.counters[each.counter])) for each in _takes(batch, row)
        )
    ]


def _takes(batch: VerificationsCounted, row: int) -> Iterator[_Take]:
    """What this row wanted of each counter, and how much had been used before it."""
    refused = set(batch.refused)
    used = list(batch.opening)
    flat = batch.takes
    for at in range(0, len(flat), 3):
        counter, amount = flat[at + 1] - 1, flat[at + 2]
        if flat[at] == row:
            yield _Take(counter, amount, used[counter])
        elif flat[at] not in refused:
            used[counter] += amount


def _limit(
    batch: VerificationsCounted,
    take: _Take,
    rule: Rule | None,
    refused_by: int,
    streams: tuple[str, ...],
) -> LimitThen:
    kind = kind_of(batch, take.counter)
    limit, window = batch.limits[take.counter], batch.windows[take.counter]
    refused = refused_by == take.counter + 1
    began = resets = None
    if rule is not None and kind != "credits" and rule.calendar.period != "lifetime":
        began = instant(window)
        resets = instant(calendars.window(rule.calendar, window).end)
    return LimitThen(
        kind=kind,
        name=kind if rule is None else rule.name,
        scope=None if rule is None else rule.scope,
        period=None if rule is None or kind == "credits" else rule.calendar.period,
        limit=limit,
        used_before=take.before,
        asked=take.asked,
        taken=0 if refused_by else take.asked,
        refused=refused,
        began_at=began,
        resets_at=resets,
        words=_words(kind, rule, limit, take, refused),
        streams=streams,
    )


def _streams(rule: Rule, account: Account, past: Past) -> tuple[str, ...]:
    """Where this rule is written down: with the key, apart for its owner, or in the plan."""
    if rule.kind == "rate" and rule.scope == "own":
        return (rule.owner_id,)
    set_apart = any(each.quota is not None for each in past.allowances(rule.owner_id))
    if rule.kind == "quota" and set_apart:
        return (allowance_id(rule.owner_id),)
    return (plans.stream(account.plan),)


def _words(kind: Kind, rule: Rule | None, limit: int | None, take: _Take, refused: bool) -> str:
    if kind == "credits":
        left = max((limit or 0) - take.before, 0)
        found = f"The account had {in_credits(left)}, and this costs {in_credits(take.asked)}"
        return f"{found}: not enough." if refused else f"{found}."
    whose = "The limit" if rule is None else _whose(rule)
    if limit is None:
        return f"{whose} is without end; {take.before:,} were used before."
    period = None if rule is None else rule.calendar.period
    allowed = f"{limit:,}" if period is None else per(limit, period)
    found = f"{whose} is {allowed}; {take.before:,} were used before, and this takes {take.asked:,}"
    return f"{found}: more than there was." if refused else f"{found}."


def _whose(rule: Rule) -> str:
    owner = "The key's" if rule.scope == "own" else "The account's"
    return f"{owner} quota" if rule.kind == "quota" else f"{owner} rate limit “{rule.name}”"
