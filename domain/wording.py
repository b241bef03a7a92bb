"""Pieces of plain English that sentences about events are made of."""

from collections.abc import Sequence
from datetime import UTC, datetime

from domain.calendars import instant


def moment(at: datetime) -> str:
    """An instant as people read it: `2026-02-03 08:00 UTC`, with seconds where there are some."""
    utc = at.astimezone(UTC)
    return f"{utc:%Y-%m-%d %H:%M:%S} UTC" if utc.second else f"{utc:%Y-%m-%d %H:%M} UTC"


def moment_of_us(us: int) -> str:
    """The same of microseconds since 1970; those beyond the calendar are never."""
    try:
        return moment(instant(us))
    except OverflowError:
        return "the end of time"


def so_many(count: int, thing: str) -> str:
    """`1 key`, `2 keys`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def the_list(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; `none` of nothing."""
    if len(words) < 2:
        return words[0] if words else "none"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def in_credits(hundredths: int) -> str:
    """`12.50 credits`."""
    sign = "-" if hundredths < 0 else ""
    whole, rest = divmod(abs(hundredths), 100)
    return f"{sign}{whole:,}.{rest:02d} credits"
