"""Events as the JSON lines that DuckDB reads: a line a flush, a line a decision.

A flush stays in columns on its line; DuckDB makes rows of it, in C++ and in the background.
"""

from datetime import UTC, date, datetime, timedelta
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

from domain.event import Event, Recorded, disclosed, stored_name
from domain.verification import (
    VerificationsCounted,
    credits_spent,
    outcomes,
    verification_id,
)

_ENCODE = msgspec.json.Encoder().encode
_EPOCH = date(1970, 1, 1)
_EPOCH_AT = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_DAY_US = 86_400_000_000


class Line(NamedTuple):
    """A line with its end, how many rows it makes at most, and the UTC days they are of."""

    json: bytes
    rows: int
    days: frozenset[date]


def usage_line(recorded: Recorded) -> Line:
    """A flush as one line. Its rows have their final outcomes; DuckDB drops RETRIED ones."""
    event = recorded.event
    if not isinstance(event, VerificationsCounted):
        raise TypeError(f"{type(event).__name__} is not of the usage log")
    rows = len(event.at_us)
    document: dict[str, Any] = {
        "position": recorded.position,
        "prefix": verification_id(recorded.stream, recorded.version, ""),
        "keys": event.keys,
        "accounts": event.accounts,
        "at_us": event.at_us,
        "key": event.key,
        "account": event.account,
        "outcome": outcomes(event),
        "cost": event.cost,
        "judged_at": _spread(event.judged_at, rows),
    }
    if event.labels:
        labels = [event.labels.get(str(row), {}) for row in range(rows)]
        for name in ("tags", "resource", "model"):
            document[name] = [each.get(name) or None for each in labels]
    if event.operations:
        spent = credits_spent(event)
        document["operation"] = [event.operations.get(str(row)) for row in range(rows)]
        document["credits"] = [spent.get(row) for row in range(rows)]
    return Line(_ENCODE(document) + b"\n", rows, _days(event.at_us))


def event_line(recorded: Recorded) -> Line:
    """A decision as one line, which is one row."""
    name, noun, fact = _named(type(recorded.event))
    metadata = recorded.metadata
    at_us = (metadata.at - _EPOCH_AT) // _MICROSECOND
    document = {
        "position": recorded.position,
        "at_us": at_us,
        "type": name,
        "noun": noun,
        "fact": fact,
        "stream": recorded.stream,
        "version": recorded.version,
        "account_id": recorded.account_id,
        "actor": metadata.actor,
        "request_id": metadata.request_id,
        "data": disclosed(recorded.event),
    }
    return Line(_ENCODE(document) + b"\n", 1, _day(at_us // _DAY_US))


@cache
def _named(event_type: type[Event]) -> tuple[str, str, str]:
    """The stored name, its noun and its fact."""
    name = stored_name(event_type)
    noun, _, fact = name.rpartition(".")[0].partition(".")
    return name, noun, fact


@lru_cache(maxsize=64)
def _day(number: int) -> frozenset[date]:
    return frozenset((_EPOCH + timedelta(days=number),))


def _spread(runs: list[tuple[int, int]], rows: int) -> list[int]:
    """Run-length [first row, position] as one position a row."""
    spread: list[int] = []
    for (first, position), (end, _) in pairwise([*runs, (rows, 0)]):
        spread += [position] * (end - first)
    return spread


def _days(at_us: list[int]) -> frozenset[date]:
    if not at_us:
        return frozenset()
    first, last = min(at_us) // _DAY_US, max(at_us) // _DAY_US
    days = {first, last} if last - first <= 1 else {at // _DAY_US for at in at_us}
    return frozenset(_EPOCH + timedelta(days=day) for day in days)
