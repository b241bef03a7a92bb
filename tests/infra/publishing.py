"""Two logs with something in them, a NATS of one's own, and publishers that run meanwhile."""

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import nats
import psycopg

from application.ending import ended
from domain.accounts import PlanAssigned
from domain.event import Event, NewEvent
from domain.verification import VerificationsCounted
from infra.embedded import RunningNats, start_nats
from infra.event_mapper import EventMapper
from infra.followers import Hold, Log, keep, taken
from infra.nats.publisher import STREAMS, PublisherJob
from infra.postgres.connection import conninfo
from tests.factories import an_id, metadata
from tests.faults.published import logged, published

EVENTS, USAGE = STREAMS["decisions"][0], STREAMS["usage"][0]
NAMES: dict[Log, str] = {"decisions": "publish_events", "usage": "publish_usage"}
LOG_IDS: dict[Log, str] = {"decisions": "log1", "usage": "log1u"}


@contextlib.contextmanager
def a_nats() -> Iterator[RunningNats]:
    """A server with an empty store."""
    with tempfile.TemporaryDirectory(prefix="tollhouse-") as folder:
        server = start_nats(Path(folder) / "data", lambda line: None)
        try:
            yield server
        finally:
            server.stop()


def store_of(server: RunningNats) -> Path:
    """The folder that its streams are in."""
    text = Path(server.process.argv[-1]).read_text()
    line = next(line for line in text.splitlines() if "store_dir" in line)
    return Path(json.loads(line.partition(":")[2])) / "jetstream"


class Follower(NamedTuple):
    """A row of `followers`."""

    position: int
    stopped_at: int | None
    problem: str | None


def follower(url: str, name: str) -> Follower:
    """How this follower stands."""
    with psycopg.connect(conninfo(url)) as connection:
        row = connection.execute(
            "SELECT position, stopped_at, problem FROM followers WHERE name = %s", (name,)
        ).fetchone()
    assert row is not None
    return Follower(*row)


def append(url: str, count: int, log: Log = "decisions", rows: int = 3, plan: str = "p") -> None:
    """So many events at the end of this log, as the store writes them."""
    mapper, stream = EventMapper(), an_id("acct" if log == "decisions" else "usage")
    about = metadata()
    with (
        psycopg.connect(conninfo(url)) as connection,
        connection.cursor() as cursor,
        cursor.copy(
            f"COPY {log} (originator_id, originator_version, topic, state) FROM STDIN".encode()
        ) as copy,
    ):
        for version in range(1, count + 1):
            event = (
                a_flush(stream, rows) if log == "usage" else PlanAssigned(plan=f"{plan}{version}")
            )
            new = NewEvent(stream, version, event, None)
            copy.write_row((stream, version, *mapper.encode(new, about, None)))
        # Committed with the rows, on leaving.
    with psycopg.connect(conninfo(url), autocommit=True) as connection:
        connection.execute(f"NOTIFY {log}".encode())


def a_flush(instance: str, rows: int, counted_at_us: int | None = None) -> Event:
    """A usage event of so many rows, counted now."""
    now = time.time_ns() // 1_000 if counted_at_us is None else counted_at_us
    return VerificationsCounted(
        instance=instance,
        at_us=[now + row for row in range(rows)],
        judged_at=[(0, 1)],
        keys=[f"key_{number:026d}" for number in range(8)],
        accounts=[f"acct_{number:026d}" for number in range(8)],
        key=[row % 8 for row in range(rows)],
        account=[row % 8 for row in range(rows)],
        code=["VALID"] * rows,
        cost=[1] * rows,
        takes=[],
        counters=[],
        counted_at_us=now,
    )


def a_job(
    nats_url: str,
    log: Log = "decisions",
    *,
    log_id: str | None = None,
    max_age_seconds: float | None = None,
    look_seconds: float = 0.5,
) -> PublisherJob:
    """The publisher of this log, which looks at its stream often."""
    return PublisherJob(
        NAMES[log], log, log_id or LOG_IDS[log], nats_url, max_age_seconds, look_seconds
    )


@contextlib.asynccontextmanager
async def publishing(url: str, job: PublisherJob) -> AsyncIterator[asyncio.Task[None]]:
    """Keep this publisher running meanwhile, as `work` does."""

    def take(name: str, log: Log) -> contextlib.AbstractAsyncContextManager[Hold]:
        return taken(url, name, log, EventMapper())

    task = asyncio.create_task(keep(job, take))
    try:
        yield task
    finally:
        await ended(task)


async def until(true: Callable[[], Awaitable[object]], seconds: float = 20) -> None:
    """Wait until it is; what it raises on the way counts as not yet."""
    deadline = time.monotonic() + seconds
    while True:
        problem: object = "not true"
        try:
            if await true():
                return
        except AssertionError:
            raise
        except Exception as error:
            problem = error
        assert time.monotonic() < deadline, problem
        await asyncio.sleep(0.05)


async def whole(nats_url: str, url: str, log: Log = "decisions", seconds: float = 20) -> None:
    """Wait until the stream is the log, event for event."""
    stream = STREAMS[log][0]
    have: list[int] = []

    async def same() -> bool:
        nonlocal have
        wanted = logged(url, log)
        if await size(nats_url, stream) < len(wanted):
            return False
        have = await published(nats_url, stream)
        return have == wanted

    try:
        await until(same, seconds)
    except AssertionError as error:
        raise AssertionError(f"{len(have)} published: {have[:10]}…{have[-10:]}") from error


async def size(nats_url: str, stream: str) -> int:
    """How many messages it holds."""
    state = (await api(nats_url, f"STREAM.INFO.{stream}"))["state"]
    return int(state["messages"])


async def api(nats_url: str, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """What JetStream answers to this request."""
    client = await nats.connect(nats_url, max_reconnect_attempts=1, reconnect_time_wait=0.1)
    try:
        answer = await client.request(f"$JS.API.{verb}", json.dumps(body or {}).encode(), timeout=5)
    finally:
        await client.close()
    document: dict[str, Any] = json.loads(answer.data)
    return document


async def put(nats_url: str, subject: str, headers: dict[str, str] | None = None) -> int:
    """Publish as anybody could; answers the sequence."""
    client = await nats.connect(nats_url)
    try:
        return (await client.jetstream().publish(subject, b"{}", headers=headers)).seq
    finally:
        await client.close()


def freeze(server: RunningNats, number: int) -> None:
    """Send this signal to the server."""
    os.kill(server.process.pid, number)
