"""Calendars: in which window of its period an instant lies. Windows are computed, never reset.

Instants are integer microseconds since 1970 UTC.
"""

import calendar
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

Period = Literal["minute", "hour", "day", "week", "month", "lifetime"]
RatePeriod = Literal["second", "minute", "hour", "day"]

UTC_NAME = "UTC"
ETERNITY = 2**62

_SECOND = 1_000_000
_MINUTE = 60 * _SECOND
_DAY = 1440 * _MINUTE
_FIXED = {
    "second": _SECOND,
    "minute": _MINUTE,
    "hour": 60 * _MINUTE,
    "day": _DAY,
    "week": 7 * _DAY,
}
_MONDAY = 4 * _DAY  # 1970-01-05, so that weeks begin on Mondays, as ISO 8601 has it
_LENGTHS = {**_FIXED, "month": 30_436_875 * 86_400, "lifetime": ETERNITY}
_EPOCH = date(1970, 1, 1)
_EPOCH_INSTANT = datetime(1970, 1, 1, tzinfo=UTC)
# Files beside the zones that say what this machine's zone is: another one counts otherwise.
_OWN = frozenset(("localtime", "posixrules"))


class Calendar(msgspec.Struct, frozen=True, gc=False, cache_hash=True):
    """Which windows a rule counts in.

    A window begins at `anchor_us` if one is given, and at `reset_at_us` whatever the period.
    The time zone counts for days, weeks and months.
    """

    period: Period | RatePeriod
    anchor_us: int | None = None
    time_zone: str = UTC_NAME
    reset_at_us: int = 0


class Window(NamedTuple):
    """The window around an instant, and the end of the one after it. `base` is where it began
    but for a reset."""

    start: int
    end: int
    next_end: int
    base: int = -1


def length(period: str) -> int:
    """How long a period is, in the mean."""
    return _LENGTHS[period]


def window(of: Calendar, now: int) -> Window:
    """The window of this calendar that holds `now`: [start, end), and the next one's end."""
    start, end, next_end = _bounds(of, now)
    if start < of.reset_at_us <= now:
        return Window(of.reset_at_us, end, next_end, start)
    return Window(start, end, next_end, start)


def is_zone(name: str) -> bool:
    """Whether the IANA database knows this time zone, and it is the same everywhere."""
    if name in _OWN or name.startswith(("posix/", "right/")):
        return False
    try:
        _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _bounds(of: Calendar, now: int) -> tuple[int, int, int]:
    if of.period == "lifetime":
        return 0, ETERNITY, ETERNITY
    calendar_bound = of.period in ("day", "week") and of.time_zone != UTC_NAME
    if of.period != "month" and not calendar_bound:
        span = _FIXED[of.period]
        anchor = of.anchor_us
        if anchor is None:
            anchor = _MONDAY if of.period == "week" else 0
        start = now - (now - anchor) % span
        return start, start + span, start + 2 * span
    number = _number(of, now)
    # The guess is by the date alone: the hour of the anchor, or a clock that was put forward,
    # may make it one too many or too few.
    while _boundary(of, number) > now:
        number -= 1
    while _boundary(of, number + 1) <= now:
        number += 1
    return _boundary(of, number), _boundary(of, number + 1), _boundary(of, number + 2)


def _number(of: Calendar, now: int) -> int:
    local = datetime.fromtimestamp(now // _SECOND, _zone(of.time_zone))
    if of.period == "month":
        return local.year * 12 + local.month - 1
    days = (local.date() - _EPOCH).days
    return days if of.period == "day" else days // 7


@lru_cache(maxsize=16_384)
def _boundary(of: Calendar, number: int) -> int:
    """Where the window of this number begins: a local time of day, whatever the clocks do."""
    zone = _zone(of.time_zone)
    anchor = None
    if of.anchor_us is not None:
        anchor = datetime.fromtimestamp(of.anchor_us // _SECOND, zone)
    if of.period == "month":
        year, month = divmod(number, 12)
        last = calendar.monthrange(year, month + 1)[1]
        day = date(year, month + 1, 1 if anchor is None else min(anchor.day, last))
    elif of.period == "day":
        day = _EPOCH + timedelta(days=number)
    else:
        first = 4 if anchor is None else ((anchor.date() - _EPOCH).days % 7)
        day = _EPOCH + timedelta(days=7 * number + first)
    hour = (0, 0, 0) if anchor is None else (anchor.hour, anchor.minute, anchor.second)
    local = datetime(day.year, day.month, day.day, *hour, tzinfo=zone)
    return int(local.timestamp()) * _SECOND


@lru_cache(maxsize=512)
def _zone(name: str) -> ZoneInfo:
    if name == UTC_NAME:
        return _UTC
    if not name or len(name) > 60 or name.startswith((".", "/")) or "\0" in name:
        raise ValueError(name)
    return ZoneInfo(name)


_UTC = ZoneInfo(UTC_NAME)


def instant(us: int) -> datetime:
    """These microseconds since 1970 as an instant in UTC."""
    return _EPOCH_INSTANT + timedelta(microseconds=us)


def microseconds(at: datetime) -> int:
    """This instant in microseconds since 1970, exactly."""
    return (at - _EPOCH_INSTANT) // timedelta(microseconds=1)
