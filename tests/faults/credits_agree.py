"""I4: credits. Entries sum to balances, and none is negative; checked from outside, on both logs.

Every entry of an account has its number: commands and time make theirs in the decisions log,
verifications in the usage log. Put in order they must follow each other without a gap, each
beginning where the one before it ended, and end where the account's row stands.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import psycopg
from psycopg import IsolationLevel

from application.crediting import counter_id_of, stream_of
from domain import credits
from domain.credit_accounts import CreditAccount
from domain.credit_events import (
    CreditCaptured,
    CreditDrawn,
    CreditEvent,
    CreditGranted,
    CreditHeld,
    CreditReleased,
    postings,
)
from domain.event import Recorded
from domain.verification import KINDS, VerificationsCounted
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo

_CREDITS = KINDS.index("credits")
_DECODER = msgspec.json.Decoder(CreditAccount)


class _Entry(NamedTuple):
    before: int
    after: int
    event: CreditEvent | None


class _Row(NamedTuple):
    limit: int
    used: int
    entry_no: int


def credit_violations(database_url: str) -> list[str]:
    """What is broken, a sentence each."""
    with psycopg.connect(conninfo(database_url)) as connection:
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        streams = _streams(connection)
        uses = _uses(connection)
        counters = {
            row[0]: _Row(*row[1:])
            for row in connection.execute(
                "SELECT counter_id, limit_amount, used, entry_no FROM counters"
            )
        }
        states = {
            row[0]: _DECODER.decode(row[1])
            for row in connection.execute(
                "SELECT stream_id, state FROM states WHERE noun = 'credit'"
            )
        }
        holds = {
            row[0]: tuple(row[1:])
            for row in connection.execute(
                "SELECT hold_id, status, amount, captured FROM credit_holds"
            )
        }
    problems = [
        *(f"uses of {counter}, an unknown account's" for counter in uses.keys() - _known(streams)),
        *_holds(streams, holds),
    ]
    for stream, recorded in streams.items():
        account_id = f"acct_{stream.partition('_')[2]}"
        counter_id = counter_id_of(account_id)
        problems += [
            f"{account_id}: {problem}"
            for problem in _account(
                recorded, uses.get(counter_id, {}), counters.get(counter_id), states.get(stream)
            )
        ]
    return problems


def _known(streams: Mapping[str, Any]) -> set[int]:
    return {counter_id_of(f"acct_{stream.partition('_')[2]}") for stream in streams}


def _account(
    recorded: list[Recorded],
    uses: dict[int, _Entry],
    counter: _Row | None,
    written: CreditAccount | None,
) -> Iterator[str]:
    if counter is None:
        yield "has entries, and no counter"
        return
    entries = dict(uses)
    state = None
    for each in recorded:
        event = each.event
        assert isinstance(event, CreditEvent)
        if event.entry_no in entries:
            yield f"two entries have the number {event.entry_no}"
        entries[event.entry_no] = _Entry(event.before, event.after, event)
        state = credits.evolve(state, event, each.metadata.at)
    if sorted(entries) != list(range(1, counter.entry_no + 1)):
        yield f"{len(entries)} entries, and the row says {counter.entry_no}"
    yield from _chained(entries, counter)
    if state != written:
        yield "the state row is not what the events fold to"
    if state is not None:
        yield from _ledger(entries, state, counter)


def _chained(entries: dict[int, _Entry], counter: _Row) -> Iterator[str]:
    at = 0
    for number in sorted(entries):
        entry = entries[number]
        if entry.before != at:
            yield f"entry {number} begins at {entry.before}, and the last one ended at {at}"
        if entry.after < 0:
            yield f"{entry.after} available after entry {number}"
        at = entry.after
    if at != counter.limit - counter.used:
        yield f"{at} by its entries, {counter.limit - counter.used} by its row"


def _ledger(entries: dict[int, _Entry], state: CreditAccount, counter: _Row) -> Iterator[str]:
    """Double entry: what was issued is somewhere, and nothing is below zero."""
    places: dict[str, int] = defaultdict(int)
    drawn = used = 0
    for number in sorted(entries):
        event = entries[number].event
        if event is None:
            used += entries[number].before - entries[number].after
            continue
        if sum(posting.amount for posting in postings(event)) != 0:
            yield f"entry {number} makes or loses credits"
        for posting in postings(event):
            places[posting.place] += posting.amount
        if isinstance(event, CreditDrawn):
            drawn += event.amount
            if event.used != drawn or drawn > used:
                yield f"entry {number} draws {event.used} of {used} that were used"
        yield from (
            f"{amount} {place} after entry {number}"
            for place, amount in places.items()
            if amount < 0 and place != "issued"
        )
    if used != counter.used:
        yield f"{used} used by its entries, {counter.used} by its row"
    found = (places["available"] - (used - drawn), places["held"], places["upcoming"])
    if found != (counter.limit - counter.used, state.held, state.upcoming):
        yield f"available, held, upcoming: {found} by the ledger, another by the state"
    if sum(places.values()) != 0:
        yield "the places do not sum to zero"
    if any(lot.left < 0 for lot in state.lots):
        yield "a lot is below zero"


def _holds(
    streams: Mapping[str, list[Recorded]], rows: dict[str, tuple[str, int, int]]
) -> Iterator[str]:
    """The rows of holds say what the events say; a hold ends once."""
    found: dict[str, tuple[str, int, int]] = {}
    for recorded in streams.values():
        for each in recorded:
            match each.event:
                case CreditHeld() as event:
                    found[event.hold_id] = ("held", event.amount, 0)
                case CreditCaptured() as event:
                    status, amount, _ = found[event.hold_id]
                    if status != "held":
                        yield f"{event.hold_id} was captured after it was {status}"
                    found[event.hold_id] = ("captured", amount, event.amount)
                case CreditReleased(reason="released" | "expired") as event:
                    status, amount, _ = found[event.hold_id]
                    if status != "held":
                        yield f"{event.hold_id} was {event.reason} after it was {status}"
                    found[event.hold_id] = (event.reason, amount, 0)
    if found != rows:
        differing = {hold_id for hold_id, _ in found.items() ^ rows.items()}
        yield f"{len(differing)} holds differ between events and rows"


def _streams(connection: psycopg.Connection[Any]) -> dict[str, list[Recorded]]:
    mapper = EventMapper()
    found: dict[str, list[Recorded]] = defaultdict(list)
    rows = connection.execute(
        "SELECT notification_id, originator_id, originator_version, topic, state FROM decisions "
        "WHERE topic LIKE 'credit.%' ORDER BY originator_id, originator_version"
    )
    for position, stream, version, topic, state in rows:
        found[stream].append(mapper.decode(position, stream, version, topic, bytes(state)))
    for stream, recorded in found.items():
        first = recorded[0].event
        assert isinstance(first, CreditGranted)
        assert stream_of(first.account_id) == stream
    return dict(found)


def _uses(connection: psycopg.Connection[Any]) -> dict[int, dict[int, _Entry]]:
    """By counter and entry number, what each verification found and left."""
    mapper = EventMapper()
    found: dict[int, dict[int, _Entry]] = defaultdict(dict)
    rows = connection.execute(
        "SELECT notification_id, originator_id, originator_version, topic, state FROM usage "
        "ORDER BY notification_id"
    )
    for position, stream, version, topic, state in rows:
        event = mapper.decode(position, stream, version, topic, bytes(state)).event
        assert isinstance(event, VerificationsCounted)
        refused = set(event.refused)
        standing: dict[int, tuple[int, int]] = {}
        takes = zip(event.takes[::3], event.takes[1::3], event.takes[2::3], strict=True)
        for row, counter, amount in takes:
            index = counter - 1
            if row in refused or not event.kinds or event.kinds[index] != _CREDITS:
                continue
            limit, opening = event.limits[index] or 0, event.opening[index]
            left, number = standing.get(index, (limit - opening, event.entry_no[index]))
            entry = _Entry(left, left - amount, None)
            found[event.counters[index]][number + 1] = entry
            standing[index] = (entry.after, number + 1)
    return dict(found)
