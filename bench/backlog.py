"""Backlogs: logs filled with what a busy installation would have, as fast as COPY goes."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import psycopg

from domain.accounts import AccountRegistered, PlanAssigned
from domain.api_keys import ApiKeyIssued, ApiKeyPaused, ApiKeyRenamed, ApiKeyResumed
from domain.event import Event, Metadata, NewEvent, stored_name
from domain.verification import VerificationsCounted
from infra.event_mapper import EventMapper
from infra.postgres.connection import conninfo

Stored = tuple[str, int, str, bytes]
KEYS = 10_000
ACCOUNTS = 1_000
TEMPLATES = 50


def fill_usage(database_url: str, flushes: int, rows: int) -> None:
    """So many usage events of so many verifications each, over 10,000 keys."""
    templates = [_flush(number, rows) for number in range(TEMPLATES)]
    name = stored_name(VerificationsCounted)
    _copy(
        database_url,
        "usage",
        (
            (f"usage_bench{number % 4}", number // 4 + 1, name, templates[number % TEMPLATES])
            for number in range(flushes)
        ),
    )


def fill_decisions(database_url: str, events: int) -> None:
    """So many decisions: accounts with ten keys each, that are renamed, paused and resumed."""
    _copy(database_url, "decisions", itertools.islice(_decisions(), events))


def _flush(number: int, rows: int) -> bytes:
    picked = [(number * 7919 + row * 101) % KEYS for row in range(rows)]
    at_us = int(datetime.now(UTC).timestamp() * 1_000_000)
    event = VerificationsCounted(
        instance="usage_bench",
        at_us=[at_us + row * 7 for row in range(rows)],
        judged_at=[(0, 5)],
        keys=[f"key_{key:026d}" for key in picked],
        accounts=[f"acct_{key % ACCOUNTS:026d}" for key in picked],
        key=list(range(rows)),
        account=list(range(rows)),
        code=["VALID"] * rows,
        cost=[1] * rows,
        takes=[each for row in range(rows) for each in (row, row + 1, 1)],
        counters=picked,
        counted_at_us=at_us,
        windows=[0] * rows,
        limits=[1_000_000] * rows,
        opening=[17] * rows,
        entry_no=[17] * rows,
    )
    return msgspec.json.encode({"event": event, "metadata": _metadata("verification")})


def _decisions() -> Iterator[Stored]:
    mapper = EventMapper()
    metadata = _metadata("bench")

    def stored(stream: str, version: int, event: Event, account: str) -> Stored:
        name, state = mapper.encode(NewEvent(stream, version, event, account), metadata, None)
        return stream, version, name, state

    for number in itertools.count():
        account = f"acct_{number:026d}"
        yield stored(account, 1, AccountRegistered(account_id=account), account)
        yield stored(account, 2, PlanAssigned(plan="free"), account)
        for each in range(10):
            key = f"key_{number * 10 + each:026d}"
            issued = ApiKeyIssued(
                key_id=key,
                account_id=account,
                name=f"key {each}",
                digest=f"{number * 10 + each:032d}".encode(),
                pepper_id="p1",
                hint="th_live_…abcd",
                permissions=("read", "write"),
            )
            yield stored(key, 1, issued, account)
            yield stored(key, 2, ApiKeyRenamed(name=f"another {each}"), account)
            yield stored(key, 3, ApiKeyPaused(), account)
            yield stored(key, 4, ApiKeyResumed(), account)


def _metadata(actor: str) -> Metadata:
    return Metadata(at=datetime.now(UTC), actor=actor, command_id="bench", request_id="req_bench")


def _copy(database_url: str, log: str, events: Iterator[Stored]) -> None:
    with psycopg.connect(conninfo(database_url)) as connection, connection.cursor() as cursor:
        columns = "originator_id, originator_version, topic, state"
        sql = f"COPY {log} ({columns}) FROM STDIN (FORMAT binary)"
        with cursor.copy(sql.encode()) as copy:
            copy.set_types(["text", "int8", "text", "bytea"])
            for event in events:
                copy.write_row(event)
