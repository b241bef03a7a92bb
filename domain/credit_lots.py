"""Lots of credits, what is held of them, in which order they are spent; and months."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Literal

import msgspec

from domain.calendars import instant, microseconds
from domain.credit_events import Part

Every = Literal["day", "week", "month"]

_DAYS = {"day": 1, "week": 7}


class Lot(msgspec.Struct, frozen=True, gc=False):
    """Credits that were granted together. `ends_at_us` is ETERNITY for one that never expires."""

    no: int
    priority: int
    left: int
    starts_at_us: int
    ends_at_us: int
    source: str
    begun: bool


class Hold(msgspec.Struct, frozen=True):
    """Credits set aside."""

    id: str
    parts: tuple[Part, ...]
    expires_at_us: int

    @property
    def amount(self) -> int:
        """How much is held."""
        return sum(part.amount for part in self.parts)


def draw(lots: Iterable[Lot], amount: int) -> tuple[Part, ...]:
    """From which lots this amount comes: by priority, then end, then number. ValueError where
    they don't hold as much."""
    parts = []
    missing = amount
    for lot in sorted(lots, key=lambda lot: (lot.priority, lot.ends_at_us, lot.no)):
        if not missing:
            break
        if lot.begun and lot.left:
            taken = min(lot.left, missing)
            parts.append(Part(lot.no, taken))
            missing -= taken
    if missing:
        raise ValueError(f"{missing} more was spent than there was")
    return tuple(parts)


def first_of(parts: Iterable[Part], amount: int) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """These parts as two: the first of them up to this amount, and the rest."""
    taken, rest = [], []
    for part in parts:
        here = min(part.amount, amount)
        amount -= here
        if here:
            taken.append(Part(part.lot, here))
        if part.amount > here:
            rest.append(Part(part.lot, part.amount - here))
    return tuple(taken), tuple(rest)


def month_of(us: int) -> int:
    """The calendar month (UTC) of this instant, in months since year 0."""
    moment = instant(us)
    return moment.year * 12 + moment.month - 1


def month_start_us(month: int) -> int:
    """The first instant of this month."""
    moment = datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return microseconds(moment)


def later(at: datetime, every: Every, times: int) -> datetime:
    """This instant so many days, weeks or months on. A day that a month doesn't have is its
    last."""
    if every != "month":
        return at + timedelta(days=_DAYS[every] * times)
    month = at.year * 12 + at.month - 1 + times
    year, number = divmod(month, 12)
    following = datetime(year + number // 11, (number + 1) % 12 + 1, 1, tzinfo=UTC)
    last = (following - timedelta(days=1)).day
    return at.replace(year=year, month=number + 1, day=min(at.day, last))
