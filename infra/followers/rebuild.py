"""Rebuilds a read model: beside the live one, compared with it, then in its place.

It is built in a schema of its own from the beginning of the log, while the live one goes on.
Live rows and their checkpoint are one snapshot, so both are compared at exactly the same
position, and nobody waits for that. To switch, the follower's row is locked: the follower
waits for the last few events, and goes on with the new tables.
"""

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from psycopg import IsolationLevel

from domain.event import Recorded
from infra.event_mapper import EventMapper
from infra.followers.hold import Log, Poison, read_page
from infra.postgres.connection import SCHEMA, connect
from infra.postgres.table_copy import copy_properties
from projections.read_model import Difference, ReadModel, Rebuilt, Side

NEXT = "tollhouse_next"
PAGE = 2_000
NEAR = 2_000
EXAMPLES = 3
LOCK_SECONDS = 10

Progress = Callable[[int, int], None]
"""Called with the position that is reached, and the one that is aimed at."""


class RebuildRefused(Exception):
    """The read model was not rebuilt, and the live one is as it was; the message says why."""


class _Live(NamedTuple):
    """Where the live read model stands."""

    position: int
    stopped_at: int | None
    problem: str | None


async def rebuild(
    url: str,
    model: ReadModel,
    *,
    check: bool = False,
    progress: Progress = lambda reached, total: None,
    mapper: EventMapper | None = None,
) -> Rebuilt:
    """Build it anew up to where the live one stands, compare, and switch unless `check`.

    The role of `url` must own the tables and may create a schema. Raises RebuildRefused,
    StoreUnavailable, psycopg.Error.
    """
    async with _alone(url) as connection:
        building = _Building(connection, model, mapper or EventMapper(), progress)
        await building.begin()
        await building.come_near()
        live, differences = await building.compare()
        if check:
            await building.drop()
        else:
            live = await building.switch()
        return Rebuilt(
            name=model.name,
            position=live.position,
            differences=differences,
            switched=not check,
            stopped_at=live.stopped_at,
            problem=live.problem,
        )


class _Building:
    """One read model in the making. `position` is how far it is."""

    def __init__(
        self,
        connection: psycopg.AsyncConnection,
        model: ReadModel,
        mapper: EventMapper,
        progress: Progress,
    ) -> None:
        self._connection = connection
        self._model = model
        self._mapper = mapper
        self._progress = progress
        self._position = 0

    async def begin(self) -> None:
        """Make empty tables, in the place of what a crashed rebuild left."""
        async with self._connection.transaction():
            await self._run(f"DROP SCHEMA IF EXISTS {NEXT} CASCADE")
            await self._run(f"CREATE SCHEMA {NEXT}")
            for table in self._model.tables:
                await self._run(
                    f"CREATE TABLE {NEXT}.{table} (LIKE {SCHEMA}.{table} INCLUDING ALL)"
                )
                await copy_properties(self._connection, SCHEMA, NEXT, table)

    async def drop(self) -> None:
        """Leave nothing of it."""
        await self._run(f"DROP SCHEMA {NEXT} CASCADE")

    async def come_near(self) -> None:
        """Apply the log until the live one is a moment away."""
        while True:
            live = await self._live()
            self._progress(self._position, live.position)
            if live.position - self._position <= NEAR:
                return
            await self._apply_up_to(live.position)

    async def compare(self) -> tuple[_Live, list[Difference]]:
        """Apply up to where the live one stands in one snapshot; what differs in it."""
        await self._connection.set_isolation_level(IsolationLevel.REPEATABLE_READ)
        try:
            async with self._connection.transaction():
                live = await self._live()
                await self._apply_up_to(live.position)
                found = [await self._differences(table) for table in self._model.tables]
        finally:
            await self._connection.set_isolation_level(None)
        return live, [each for of_table in found for each in of_table]

    async def switch(self) -> _Live:
        """Put it in the place of the live one, at exactly the same position."""
        await self.come_near()
        try:
            async with self._connection.transaction():
                await self._run(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                await self._run("SET LOCAL synchronous_commit TO on")
                live = await self._live("FOR UPDATE")
                await self._apply_up_to(live.position)
                for table in self._model.tables:
                    await self._run(f"DROP TABLE {SCHEMA}.{table}")
                    await self._run(f"ALTER TABLE {NEXT}.{table} SET SCHEMA {SCHEMA}")
                await self.drop()
        except psycopg.errors.LockNotAvailable as error:
            raise RebuildRefused(
                f"Somebody has been reading {self._model.name} for more than {LOCK_SECONDS} s, "
                "so the tables could not be switched. Try again."
            ) from error
        except psycopg.errors.DependentObjectsStillExist as error:
            raise RebuildRefused(
                f"Something was made on top of the tables of {self._model.name}, and would go "
                f"with them: {error.diag.message_detail or error}"
            ) from error
        return live

    async def _apply_up_to(self, end: int) -> None:
        """Apply everything up to there. Past `end` there may be more: it is not looked at."""
        if self._position > end:
            raise RebuildRefused(
                f"{self._model.name} went back to {end} while it was rebuilt. Try again."
            )
        model = self._model
        while self._position < end:
            step, poison = await read_page(
                self._connection, self._mapper, model.log, self._position, PAGE, model.nouns, end
            )
            await self._apply(step.events)
            self._position = end if step.at_end else step.position
            self._progress(self._position, end)
            if poison is not None:
                raise self._stopped(poison)

    async def _apply(self, events: Sequence[Recorded]) -> None:
        if not events:
            return
        try:
            async with self._connection.transaction():
                await self._model.apply(self._connection, events)
        except (psycopg.OperationalError, psycopg.InterfaceError):
            raise
        except Exception:
            await self._one_by_one(events)

    async def _one_by_one(self, events: Sequence[Recorded]) -> None:
        """The batch failed: find out at which event."""
        for event in events:
            try:
                async with self._connection.transaction():
                    await self._model.apply(self._connection, [event])
            except (psycopg.OperationalError, psycopg.InterfaceError):
                raise
            except Exception as error:
                problem = f"can't be applied: {type(error).__name__}: {error}"
                raise self._stopped(Poison(event.position, problem)) from error

    def _stopped(self, poison: Poison) -> RebuildRefused:
        log: Log = self._model.log
        return RebuildRefused(
            f"The rebuild of {self._model.name} stopped at {poison.position} of the {log} log: "
            f"{poison.problem}. See `tollhouse events show {poison.position} --log {log}`."
        )

    async def _live(self, lock: str = "") -> _Live:
        row = await self._row(
            f"SELECT position, stopped_at, problem FROM {SCHEMA}.followers "  # noqa: S608
            f"WHERE name = '{self._model.name}' {lock}"
        )
        if row is None:
            raise RebuildRefused(f"There is no follower called {self._model.name}.")
        return _Live(*row)

    async def _differences(self, table: str) -> list[Difference]:
        live, made = f"{SCHEMA}.{table}", f"{NEXT}.{table}"
        sides: tuple[tuple[Side, str, str], ...] = (
            ("live only", live, made),
            ("rebuilt only", made, live),
        )
        found = []
        for side, one, other in sides:
            row = await self._row(
                f"WITH d AS MATERIALIZED (SELECT * FROM {one} EXCEPT SELECT * FROM {other}) "  # noqa: S608
                "SELECT (SELECT count(*) FROM d), "
                f"ARRAY(SELECT to_jsonb(d)::text FROM d ORDER BY d LIMIT {EXAMPLES})"
            )
            assert row is not None
            if row[0]:
                found.append(Difference(table=table, side=side, rows=row[0], examples=row[1]))
        return found

    async def _run(self, statement: str) -> None:
        await self._connection.execute(statement.encode())

    async def _row(self, query: str) -> Any:
        cursor = await self._connection.execute(query.encode())
        return await cursor.fetchone()


@contextlib.asynccontextmanager
async def _alone(url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection that sees the tables in the making only, and of which there is one."""
    connection = await connect(url)
    try:
        cursor = await connection.execute(
            "SELECT pg_try_advisory_lock(hashtextextended('tollhouse rebuild', 0))"
        )
        row = await cursor.fetchone()
        if row is None or not row[0]:
            raise RebuildRefused("Another rebuild is running. Wait until it has ended.")
        await connection.execute(f"SET search_path TO {NEXT}".encode())
        # What a crash takes is made anew; the switch is on disk when it says so.
        await connection.execute("SET synchronous_commit TO off")
        yield connection
    finally:
        # The server notices late that a connection has ended: the next rebuild needn't wait for it.
        with contextlib.suppress(psycopg.Error):
            await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.close()
