"""Logs for tests of the lake, written as the server writes them, and jobs that follow them."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import psycopg

from application.ending import ended
from domain.event import Event, NewEvent
from domain.verification import Code, VerificationsCounted
from infra.event_mapper import EventMapper
from infra.followers import Job, Log, keep, taken
from infra.lake.place import Place, lake_place
from infra.lake.writer import Lake, LakeJob, Name
from infra.postgres.connection import conninfo
from infra.postgres.migrate import log_id_of
from tests.factories import metadata

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
CODES: tuple[Code, ...] = ("VALID", "VALID", "VALID", "NOT_FOUND", "REVOKED", "FORBIDDEN")


def flush(
    rows: int, at: datetime = NOON, seed: int = 0, spread: timedelta = timedelta(seconds=1)
) -> VerificationsCounted:
    """A flush with a bit of everything: unknown keys, refusals, retries, labels."""
    rng = random.Random(seed)
    first_us = int(at.timestamp() * 1_000_000)
    step = int(spread.total_seconds() * 1_000_000) // max(rows, 1)
    keys = [f"key_{rng.randrange(500):026d}" for _ in range(min(rows, 20))]
    accounts = [f"acct_{rng.randrange(50):026d}" for _ in range(min(rows, 10))]
    codes = [rng.choice(CODES) for _ in range(rows)]
    valid = [row for row, code in enumerate(codes) if code == "VALID"]
    refused = sorted(rng.sample(valid, len(valid) // 5))
    return VerificationsCounted(
        instance="test",
        at_us=[first_us + step * row for row in range(rows)],
        judged_at=[(0, 5), (rows // 2, 6)] if rows > 1 else [(0, 5)],
        keys=keys,
        accounts=accounts,
        key=[-1 if code == "NOT_FOUND" else rng.randrange(len(keys)) for code in codes],
        account=[-1 if code == "NOT_FOUND" else rng.randrange(len(accounts)) for code in codes],
        code=[*codes],
        cost=[rng.randrange(1, 4) for _ in range(rows)],
        takes=[],
        counters=[],
        labels={str(row): {"tags": ["a", "b"], "model": "m"} for row in range(0, rows, 7)}
        if seed % 2
        else {},
        refused=refused,
        refused_by=[rng.choice((-1, 1, 2)) for _ in refused],
    )


def append(url: str, log: Log, stream: str, events: Sequence[Event], at: datetime = NOON) -> None:
    """Append these to a stream of a log, and wake who follows it."""
    mapper = EventMapper()
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        row = connection.execute(
            f"SELECT coalesce(max(originator_version), 0) FROM {log} "
            "WHERE originator_id = %s".encode(),
            (stream,),
        ).fetchone()
        assert row is not None
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(f"LOCK TABLE {log} IN EXCLUSIVE MODE".encode())
            statement = f"COPY {log} (originator_id, originator_version, topic, state) FROM STDIN"
            with cursor.copy(statement.encode()) as copy:
                for version, event in enumerate(events, row[0] + 1):
                    new = NewEvent(stream, version, event, None)
                    name, state = mapper.encode(new, metadata("cmd_1", at), None)
                    copy.write_row((stream, version, name, state))
            cursor.execute(f"NOTIFY {log}".encode())


async def following(
    url: str, jobs: Sequence[Job], until: Callable[[], Awaitable[bool]], seconds: float = 60
) -> None:
    """Keep these jobs until it is true. Fails after so many seconds."""
    mapper = EventMapper()

    def take(name: str, log: Log) -> Any:
        return taken(url, name, log, mapper)

    tasks = [asyncio.create_task(keep(job, take)) for job in jobs]
    try:
        async with asyncio.timeout(seconds):
            while not await until():  # noqa: ASYNC110 - the snapshot tells nobody
                await asyncio.sleep(0.05)
    finally:
        await ended(*tasks)


def jobs_of(
    url: str, data_dir: Path, place: Place | None = None, *names: Name, **options: Any
) -> list[LakeJob]:
    """The lake jobs (both, unless named) on this folder."""
    place = place or lake_place(None, data_dir, None, None)
    lake = Lake(place, data_dir, url, log_id_of(url))
    options = {"gather_seconds": 0.1, **options}
    return [LakeJob(name, lake, **options) for name in names or ("lake_usage", "lake_events")]


def shown(data_dir: Path, query: str, path: Path | None = None) -> list[tuple[Any, ...]]:
    """What this query answers on the published snapshot."""
    file = path or data_dir / "lake" / "analytics.duckdb"
    with duckdb.connect(str(file), read_only=True) as snapshot:
        return snapshot.execute(query).fetchall()


def positions(url: str) -> tuple[int, int]:
    """The ends of the usage log and of the decisions log."""
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        row = connection.execute(
            "SELECT (SELECT coalesce(max(notification_id), 0) FROM usage), "
            "(SELECT coalesce(max(notification_id), 0) FROM decisions)"
        ).fetchone()
    assert row is not None
    return row[0], row[1]


def caught_up(url: str, data_dir: Path) -> Callable[[], Awaitable[bool]]:
    """Whether the snapshot shows both logs to their ends, and nothing waits."""
    wanted = positions(url)

    async def true() -> bool:
        try:
            [found] = await asyncio.to_thread(
                shown, data_dir, "SELECT usage_position, events_position FROM snapshot"
            )
        except (duckdb.Error, OSError):
            return False
        return found == wanted

    return true
