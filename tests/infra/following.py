"""Followers in tests: logs written by SQL, followers run as `work` runs them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from inspect import isawaitable
from typing import Any

import psycopg

from application.ending import ended
from domain.event import Event, Metadata, NewEvent, stored_name
from domain.verification import VerificationsCounted
from infra.event_mapper import EventMapper
from infra.followers import Hold, Job, Log, keep, taken
from infra.followers.read_models import ReadModelJob
from infra.postgres.connection import conninfo
from projections import READ_MODELS
from projections.read_model import ReadModel
from tests.factories import AT, an_id

MAPPER = EventMapper()
MODELS: dict[str, ReadModel] = {model.name: model for model in READ_MODELS}


def connected(url: str) -> psycopg.Connection[Any]:
    """An autocommit connection in our schema."""
    return psycopg.connect(conninfo(url), autocommit=True)


def rows(url: str, query: str, *parameters: object) -> list[Any]:
    """What a query answers."""
    with connected(url) as connection:
        return connection.execute(query.encode(), parameters).fetchall()


def run(url: str, statement: str, *parameters: object) -> None:
    """Run a statement."""
    with connected(url) as connection:
        connection.execute(statement.encode(), parameters)


def written(
    url: str, events: Iterable[tuple[str, int, Event]], account_id: str | None = None
) -> int:
    """Append these (stream, version, event) to the log of their kind; the last position."""
    position = 0
    with connected(url) as connection, connection.transaction():
        for stream, version, event in events:
            metadata = Metadata(at=AT, actor="operator", command_id=an_id("cmd"))
            new = NewEvent(stream, version, event, account_id)
            name, state = MAPPER.encode(new, metadata, b"k" * 32)
            log = "usage" if isinstance(event, VerificationsCounted) else "decisions"
            row = connection.execute(
                f"INSERT INTO {log} VALUES (%s, %s, %s, %s, DEFAULT) "
                "RETURNING notification_id".encode(),
                (stream, version, name, state),
            ).fetchone()
            assert row is not None
            position = row[0]
    return position


def spoiled(url: str, position: int, topic: str, state: bytes) -> tuple[str, bytes]:
    """Put this in the place of a decision's name and bytes; answers what it was."""
    before = rows(url, "SELECT topic, state FROM decisions WHERE notification_id = %s", position)
    run(
        url,
        "UPDATE decisions SET topic = %s, state = %s WHERE notification_id = %s",
        topic,
        state,
        position,
    )
    return before[0][0], before[0][1]


def end_of(url: str, log: Log) -> int:
    """The last position of a log."""
    found = rows(url, f"SELECT coalesce(max(notification_id), 0) FROM {log}")
    return int(found[0][0])


def checkpoint(url: str, name: str) -> int:
    """How far a follower is."""
    return int(rows(url, "SELECT position FROM followers WHERE name = %s", name)[0][0])


def taking(
    url: str, mapper: EventMapper = MAPPER
) -> Callable[[str, Log], AbstractAsyncContextManager[Hold]]:
    """How jobs take hold on this database."""
    return lambda name, log: taken(url, name, log, mapper)


@asynccontextmanager
async def kept(url: str, *jobs: Job, mapper: EventMapper = MAPPER) -> AsyncIterator[None]:
    """These jobs run, as in `work`; all read models' if none is named. Names of people are read
    where the mapper has a vault."""
    chosen = jobs or tuple(ReadModelJob(model) for model in READ_MODELS)
    tasks = [asyncio.create_task(keep(job, taking(url, mapper))) for job in chosen]
    try:
        yield
    finally:
        await ended(*tasks)


async def until(true: Callable[[], Any], seconds: float = 20.0) -> None:
    """Return when it is true, asked at once or by awaiting; fail after so many seconds."""
    deadline = time.monotonic() + seconds
    while not (await answer if isawaitable(answer := true()) else answer):
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.02)


async def caught_up(url: str, names: Sequence[str] = tuple(MODELS), seconds: float = 20.0) -> None:
    """Return when these followers have reached the ends of their logs as they are now."""
    ends = {name: end_of(url, MODELS[name].log) for name in names}
    await until(lambda: all(checkpoint(url, name) >= end for name, end in ends.items()), seconds)


async def followed(url: str, *names: str) -> None:
    """Run the followers of these read models (all, if none is named) to the ends of the logs."""
    chosen = names or tuple(MODELS)
    async with kept(url, *(ReadModelJob(MODELS[name]) for name in chosen)):
        await caught_up(url, chosen)


def usage(
    stream: str, version: int, verdicts: Sequence[tuple[str | None, str, int, int]], **more: Any
) -> tuple[str, int, VerificationsCounted]:
    """A flush of these (key, code, cost, microseconds)."""
    keys = list(dict.fromkeys(key for key, *_ in verdicts if key is not None))
    index = [-1 if key is None else keys.index(key) for key, *_ in verdicts]
    counted = VerificationsCounted(
        instance=stream,
        at_us=[each[3] for each in verdicts],
        judged_at=[(0, 1)],
        keys=keys,
        accounts=["acct_1"],
        key=index,
        account=[min(each, 0) for each in index],
        code=[each[1] for each in verdicts],
        cost=[each[2] for each in verdicts],
        takes=[],
        counters=[],
        **more,
    )
    assert stored_name(type(counted)).startswith("usage.")
    return stream, version, counted
