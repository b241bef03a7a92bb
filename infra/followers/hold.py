"""A hold on one follower: its lock, its log, its checkpoint, on one direct connection.

The advisory lock lets one process at a time follow. It ends with its session, which the
server may notice late, or early while the client still believes in it: so every move of the
checkpoint also compares who holds it, and a holder that was replaced moves nothing.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Literal, NamedTuple

import psycopg

from domain.event import Recorded
from infra.event_mapper import CannotDecode, EventMapper
from infra.postgres.connection import SCHEMA, answering, connect
from infra.postgres.name_keys import name_keys

Log = Literal["decisions", "usage"]

PAGE = 500
POLL_SECONDS = 1.0
STUCK_SECONDS = 20.0
HEARTBEAT_SECONDS = 2.0
RETRY_LOCK_SECONDS = 0.5
MAX_PAGE_BYTES = 4_000_000

# A flush of usage may have megabytes: a page is bounded by what it weighs, too. Lengths are
# known without reading what is stored out of line. The last column is how many rows there were
# before that bound.
_PAGE = """
SELECT notification_id, originator_id, originator_version, topic, state, found FROM (
    SELECT *, count(*) OVER () AS found,
           coalesce(sum(octet_length(state)) OVER (
               ORDER BY notification_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)
           AS weight_before
      FROM (SELECT * FROM {schema}.{log}
             WHERE notification_id > %s AND notification_id <= coalesce(%s, 9223372036854775807)
             ORDER BY notification_id LIMIT %s) AS page
) AS weighed WHERE weight_before < %s ORDER BY notification_id
"""


class Fenced(Exception):
    """Another process holds this follower now: nothing was written."""


class Poison(Exception):
    """An event that this follower can't get past. `position` is in its log."""

    def __init__(self, position: int, problem: str) -> None:
        super().__init__(f"stopped at {position}: {problem}")
        self.position = position
        self.problem = problem


class Step(NamedTuple):
    """What was read: the events that concern the follower, and how far that is in the log.

    `at_end`: there was nothing more. Without events, only the position moved.
    """

    events: list[Recorded]
    position: int
    at_end: bool


class Hold:
    """This process follows; `position` is the checkpoint as it was committed last."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection,
        name: str,
        log: Log,
        mapper: EventMapper,
        position: int,
        holder: str,
    ) -> None:
        self.name = name
        self.log = log
        self.position = position
        self._connection = connection
        self._mapper = mapper
        self._holder = holder
        self._beat_at = 0.0

    async def steps(
        self,
        *,
        after: int | None = None,
        page: int = PAGE,
        gather_seconds: float = 0.0,
        nouns: tuple[str, ...] = (),
    ) -> AsyncIterator[Step]:
        """The log after `after` (the checkpoint, if it is None), step by step, for ever.

        A NOTIFY wakes it, and it polls as well, since one can be lost. After a wake-up it
        waits `gather_seconds`, so that a busy log comes in few large steps. Only events of
        `nouns` are decoded and handed out; of all if it is empty. One that can't be decoded
        raises Poison, once everything before it was handed out.
        """
        position = self.position if after is None else after
        while True:
            step, poison = await self._read(position, page, nouns)
            if step.position > position or step.at_end:
                position = step.position
                yield step
            if poison is not None:
                raise poison
            if step.at_end:
                await self._beat(position)
                await self._wait()
                if gather_seconds:
                    await asyncio.sleep(gather_seconds)

    @contextlib.asynccontextmanager
    async def advancing(self, position: int) -> AsyncIterator[psycopg.AsyncConnection]:
        """A transaction that moves the checkpoint there, with whatever is written inside.

        Raises Fenced, and writes nothing, if the follower is not held any more.
        """
        connection = self._connection
        async with answering(connection, STUCK_SECONDS), connection.transaction():
            moved = await connection.execute(
                "UPDATE followers SET position = %(to)s, seen_at = now(), "
                # What it is stopped by is over when it gets on, and not before.
                "stopped_at = CASE WHEN position < %(to)s THEN NULL ELSE stopped_at END, "
                "problem = CASE WHEN position < %(to)s THEN NULL ELSE problem END "
                "WHERE name = %(name)s AND holder = %(holder)s AND position = %(at)s",
                {
                    "to": position,
                    "name": self.name,
                    "holder": self._holder,
                    "at": self.position,
                },
            )
            if moved.rowcount != 1:
                raise Fenced(self.name)
            yield connection
        self.position = position

    async def advance(self, position: int) -> None:
        """Move the checkpoint alone."""
        if position != self.position:
            async with self.advancing(position):
                pass

    async def commit_lazily(self) -> None:
        """From now on a commit doesn't wait for the disk. A crash of Postgres may then undo the
        last moves of the checkpoint, with the rows that were written with them: good for who
        keeps nothing elsewhere, or can tell by it. It spares the disk that verification waits
        for."""
        async with answering(self._connection, STUCK_SECONDS):
            await self._connection.execute("SET synchronous_commit = off")

    async def stop(self, poison: Poison) -> None:
        """Write down what stops this follower. The next move of the checkpoint clears it."""
        async with answering(self._connection, STUCK_SECONDS):
            await self._connection.execute(
                "UPDATE followers SET stopped_at = %s, problem = %s, seen_at = now() "
                "WHERE name = %s AND holder = %s",
                (poison.position, poison.problem[:2000], self.name, self._holder),
            )

    async def _read(
        self, after: int, page: int, nouns: tuple[str, ...]
    ) -> tuple[Step, Poison | None]:
        async with answering(self._connection, STUCK_SECONDS):
            return await read_page(self._connection, self._mapper, self.log, after, page, nouns)

    async def _beat(self, position: int) -> None:
        """Say now and then that somebody is here, and saw the end of the log."""
        now = asyncio.get_running_loop().time()
        if now - self._beat_at < HEARTBEAT_SECONDS:
            return
        self._beat_at = now
        async with answering(self._connection, STUCK_SECONDS):
            beaten = await self._connection.execute(
                "UPDATE followers SET seen_at = now(), "
                "caught_up_at = CASE WHEN position >= %s THEN now() ELSE caught_up_at END "
                "WHERE name = %s AND holder = %s",
                (position, self.name, self._holder),
            )
        if beaten.rowcount != 1:
            raise Fenced(self.name)

    async def _wait(self) -> None:
        async for _ in self._connection.notifies(timeout=POLL_SECONDS, stop_after=1):
            pass


async def read_page(
    connection: psycopg.AsyncConnection,
    mapper: EventMapper,
    log: Log,
    after: int,
    page: int,
    nouns: tuple[str, ...] = (),
    until: int | None = None,
) -> tuple[Step, Poison | None]:
    """At most `page` events after `after`, and not after `until`; and what can't be decoded
    among them, which ends the step. A step holds about MAX_PAGE_BYTES, and one event at least.
    """
    cursor = await connection.execute(
        _PAGE.format(schema=SCHEMA, log=log).encode(),
        (after, until, page, MAX_PAGE_BYTES),
        binary=True,
    )
    rows = await cursor.fetchall()
    keys = await name_keys(connection, mapper, [(row[3], row[4]) for row in rows])
    events = []
    reached = after
    for position, stream, version, name, state, _ in rows:
        if not nouns or name.partition(".")[0] in nouns:
            try:
                events.append(
                    mapper.decode(position, stream, version, name, state, keys, names_only=True)
                )
            except CannotDecode as error:
                return Step(events, reached, False), Poison(position, str(error))
        reached = position
    found = rows[0][-1] if rows else 0
    return Step(events, reached, found == len(rows) < page), None


@contextlib.asynccontextmanager
async def taken(url: str, name: str, log: Log, mapper: EventMapper) -> AsyncIterator[Hold]:
    """Wait until no other process follows under this name, then follow.

    Leaving gives the lock back. Raises StoreUnavailable, psycopg.OperationalError.
    """
    connection = await connect(url)
    try:
        while not await _locked(connection, name):  # noqa: ASYNC110 - the lock tells nobody
            await asyncio.sleep(RETRY_LOCK_SECONDS)
        holder = secrets.token_hex(8)
        async with answering(connection, STUCK_SECONDS):
            await connection.execute(f"LISTEN {log}".encode())
            await connection.execute(
                "INSERT INTO followers (name, log) VALUES (%s, %s) ON CONFLICT DO NOTHING",
                (name, log),
            )
            cursor = await connection.execute(
                "UPDATE followers SET holder = %s, seen_at = now() WHERE name = %s "
                "RETURNING position",
                (holder, name),
            )
            row = await cursor.fetchone()
        assert row is not None
        yield Hold(connection, name, log, mapper, row[0], holder)
    finally:
        await connection.close()


async def _locked(connection: psycopg.AsyncConnection, name: str) -> bool:
    async with answering(connection, STUCK_SECONDS):
        cursor = await connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended('follower ' || %s, 0))", (name,)
        )
        row = await cursor.fetchone()
    return row is not None and bool(row[0])
