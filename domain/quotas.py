"""Quotas and rate limits: the rules as people say them, and what of it can be counted."""

from datetime import datetime

import msgspec

from domain.calendars import UTC_NAME, Period, RatePeriod, is_zone
from domain.errors import InvalidCommand

MAX_AMOUNT = 2**53 - 1
"""The largest limit and cost: exact in JSON everywhere, far from the counter's overflow."""
MAX_RATE_LIMITS = 10


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
