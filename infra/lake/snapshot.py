"""analytics.duckdb: views over the files of the manifest, and small tables beside them.

It is made under another name and published by rename: whoever has an older one open keeps
reading that one, and its files stay for a while after they were replaced.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import time
from collections import deque
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import psycopg
import structlog

from application.errors import StoreUnavailable
from infra.lake.engine import Engine
from infra.lake.place import Place, PlaceUnavailable, sync_folder
from infra.lake.scratch import Scratch
from infra.lake.spool import Spool
from infra.postgres.connection import answering, connect
from projections.lake.statements import KINDS, Kind, create, fill, quoted, views
from projections.lake.tables import DIMENSIONS, SNAPSHOT

log = structlog.get_logger()

EVERY_SECONDS = 2.0
COPY_EVERY_SECONDS = 30.0
BASE = "base.duckdb"
STUCK_SECONDS = 60.0
STALE_SECONDS = 600.0
DIMENSION_SHARE = 0.05
"""At most this share of the time goes into making the dimension tables."""

_LOCK = b"SELECT pg_advisory_lock(hashtextextended('lake snapshot', 0))"

_POSITIONS = b"""
SELECT now(), (SELECT coalesce(max(notification_id), 0) FROM decisions),
       least(u.position, (SELECT min(first_position) - 1 FROM lake_files
                           WHERE kind = 'usage' AND placed_at IS NULL AND level = 0)),
       least(e.position, (SELECT min(first_position) - 1 FROM lake_files
                           WHERE kind = 'events' AND placed_at IS NULL AND level = 0)),
       (SELECT coalesce(max(notification_id), 0) FROM usage)
  FROM followers u, followers e WHERE u.name = 'lake_usage' AND e.name = 'lake_events'
"""
# Whoever counts holds this lock from before it looks at the clock until it has committed.
_COUNTING = b"""
SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                WHERE d.datname = current_database() AND l.relation = 'usage'::regclass
                  AND l.mode = 'ExclusiveLock' AND l.granted)
"""
_COUNTED_AT = b"""
SELECT timestamptz 'epoch' + interval '1 microsecond'
       * (convert_from(state, 'UTF8')::jsonb #>> '{event,counted_at_us}')::bigint
  FROM usage WHERE notification_id <= %s ORDER BY notification_id DESC LIMIT 1
"""
_FILES = b"""
SELECT kind, path FROM lake_files WHERE placed_at IS NOT NULL AND replaced_at IS NULL
 ORDER BY kind, date, first_position
"""
# The columns of projections.lake.tables, in their order, out of the states.
_STATES = {
    "accounts": """s ->> 'id', s ->> 'username', s ->> 'kind', s ->> 'plan', s ->> 'status',
        s ->> 'registered_at'""",
    "keys": """s ->> 'id', s ->> 'account_id', s ->> 'name', s ->> 'environment', s ->> 'kind',
        to_timestamp((s ->> 'issued_at')::float8) AT TIME ZONE 'UTC' || '+00',
        to_timestamp((s ->> 'revoked_at')::float8) AT TIME ZONE 'UTC' || '+00'""",
    "plans": """s ->> 'name', s ->> 'tier', s ->> 'title', s ->> 'self_service',
        s #>> '{entitlements,keys}', s #>> '{entitlements,quota,limit}',
        s #>> '{entitlements,quota,period}',
        coalesce(s #>> '{entitlements,monthly_credits}', '0')""",
}
_NOUNS = {"accounts": "account", "keys": "api_key", "plans": "plan"}


class _Shown(NamedTuple):
    """What a snapshot shows. `at` and `complete_until` are of the database's clock."""

    at: datetime
    decisions: int
    usage_position: int
    events_position: int
    complete_until: datetime | None
    files: dict[Kind, list[str]]


class Snapshots:
    """Publishes the snapshot for all lake jobs of this process."""

    def __init__(
        self, database_url: str, log_id: str, place: Place, engine: Engine, scratch: Scratch
    ) -> None:
        self._database_url = database_url
        self._log_id = log_id
        self._place = place
        self._engine = engine
        self._scratch = scratch
        self._spool = Spool(scratch.folder / "snapshot")
        self._publishing = asyncio.Lock()
        self._changed = True
        self._next_at = 0.0
        self._copied_at = -COPY_EVERY_SECONDS
        self._to_copy = False
        self._base_of = -1
        self._base_stale = False
        self._base_again_at = 0.0
        self._published: deque[tuple[float, datetime]] = deque()
        self._settled: datetime | None = None
        self._failing = False
        self._doubted: set[Kind] = set()

    def changed(self) -> None:
        """The manifest is another."""
        self._changed = True

    def doubted(self, kind: Kind) -> bool:
        """Whether a snapshot failed, since this was asked last, as it would for a lost file."""
        doubted = kind in self._doubted
        self._doubted.discard(kind)
        return doubted

    def settled(self, seconds: float) -> datetime | None:
        """Since then at the latest (by the database's clock) no snapshot was published that
        is older than this, and that was so long ago. None before there was one."""
        while self._published and self._published[0][0] <= time.monotonic() - seconds:
            self._settled = self._published.popleft()[1]
        return self._settled

    async def publish(self, *, soon: bool = False) -> None:
        """Publish if there is something new, and not too often (unless `soon`). Trouble is
        logged once, and it is tried again: the snapshot that is there stays good."""
        if not soon and (self._publishing.locked() or time.monotonic() < self._next_at):
            return
        async with self._publishing:
            now = time.monotonic()
            stale = self._base_stale and now >= self._base_again_at
            copying = self._to_copy and now >= self._copied_at + COPY_EVERY_SECONDS
            if not (self._changed or stale or copying):
                return
            try:
                if self._changed or stale:
                    self._changed = False
                    await self._publish()
                if copying:
                    self._copied_at, self._to_copy = now, False
                    await asyncio.to_thread(self._place.copy_snapshot)
            except Exception as error:
                self._changed = True
                if not isinstance(error, psycopg.Error | StoreUnavailable):
                    self._doubted |= KINDS.keys()
                if not isinstance(error, OUTAGES) or not self._failing:
                    log.warning("snapshot not published", problem=str(error).strip())
                self._failing = True
                self._next_at = time.monotonic() + 5 * EVERY_SECONDS
            else:
                self._failing = False
                self._next_at = time.monotonic() + EVERY_SECONDS

    async def _publish(self) -> None:
        await asyncio.to_thread(self._scratch.make)
        self._spool.folder.mkdir(exist_ok=True)
        connection = await connect(self._database_url)
        try:
            # One at a time, wherever it runs: the manifest of an older one can't come later.
            async with answering(connection, STUCK_SECONDS):
                await connection.execute(_LOCK)
                quiet_at = await _quiet_at(connection)
                await connection.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
                async with connection.transaction():
                    shown = await self._shown(connection, quiet_at)
                    tables = await self._dimensions(connection, shown.decisions)
            began = time.monotonic()
            if tables:
                await self._spool.work(self._make_base, tables)
                self._base_of, self._base_stale = shown.decisions, False
                took = time.monotonic() - began
                self._base_again_at = time.monotonic() + took / DIMENSION_SHARE
            part = await self._spool.work(self._make, shown)
            try:
                async with answering(connection, STUCK_SECONDS):
                    await connection.execute("SELECT 1")  # the lock is still ours
                await asyncio.to_thread(_renamed, part, self._place.snapshot)
            finally:
                part.unlink(missing_ok=True)
        finally:
            await connection.close()
        self._published.append((time.monotonic(), shown.at))
        self._to_copy = True

    async def _shown(
        self, connection: psycopg.AsyncConnection, quiet_at: datetime | None
    ) -> _Shown:
        cursor = await connection.execute(_POSITIONS)
        row = await cursor.fetchone()
        assert row is not None
        files: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
        async for kind, path in await connection.execute(_FILES):
            files[kind].append(self._place.address(path))
        at, decisions, usage, events, end = row
        # Where more has been counted since, the last that is here says how far it is complete.
        until = quiet_at if usage >= end else None
        if until is None:
            counted = await (await connection.execute(_COUNTED_AT, (usage,))).fetchone()
            until = counted[0] if counted else None
        return _Shown(at, decisions, usage, events, until, files)

    async def _dimensions(
        self, connection: psycopg.AsyncConnection, decisions: int
    ) -> dict[str, Path]:
        """The dimension tables as CSV files in the spool; nothing if ours are good enough."""
        there = (self._spool.folder / BASE).exists()
        if there and decisions == self._base_of:
            return {}
        if there and time.monotonic() < self._base_again_at:
            self._base_stale = True
            return {}
        tables = {}
        for name, columns in _STATES.items():
            tables[name] = self._spool.folder / f"{name}.csv"
            statement = (
                f"COPY (SELECT {columns} FROM (SELECT convert_from(state, 'UTF8')::jsonb AS s "  # noqa: S608
                f"FROM states WHERE noun = '{_NOUNS[name]}') AS states) TO STDOUT (FORMAT csv)"
            )
            with tables[name].open("wb") as file:
                async with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
                    async for chunk in copy:
                        file.write(chunk)
        return tables

    def _make_base(self, tables: dict[str, Path]) -> None:
        """The file that every snapshot begins as: the dimension tables."""
        base = self._spool.folder / BASE
        part = self._spool.folder / "base.part"
        part.unlink(missing_ok=True)
        statements = [line for table in (*DIMENSIONS, SNAPSHOT) for line in create(table)]
        statements += [fill(table, str(tables[table.name])) for table in DIMENSIONS]
        self._written(part, statements)
        part.replace(base)
        for file in tables.values():
            file.unlink(missing_ok=True)

    def _make(self, shown: _Shown) -> Path:
        final = self._place.snapshot
        final.parent.mkdir(parents=True, exist_ok=True)
        _sweep(final.parent)
        part = final.with_name(f".analytics-{secrets.token_hex(6)}.part")
        try:
            shutil.copyfile(self._spool.folder / BASE, part)
            until = "NULL" if shown.complete_until is None else quoted(str(shown.complete_until))
            row = (
                f"now(), {shown.usage_position}, {shown.events_position}, "
                f"{quoted(self._log_id)}, {until}"
            )
            insert = f"INSERT INTO {SNAPSHOT.name} VALUES ({row})"  # noqa: S608
            opening = self._place.opening() if any(shown.files.values()) else []
            self._written(part, [insert, *views(shown.files)], opening)
        except BaseException:
            part.unlink(missing_ok=True)
            part.with_name(f"{part.name}.wal").unlink(missing_ok=True)
            raise
        return part

    def _written(self, file: Path, statements: list[str], opening: list[str] = []) -> None:  # noqa: B006
        """Run statements in this database file, and leave all of it in the file."""
        name = f"snapshot_{secrets.token_hex(4)}"
        with self._engine.cursor() as cursor:
            for statement in opening:
                cursor.execute(statement)
            cursor.execute(f"ATTACH {quoted(str(file))} AS {name}")
            try:
                cursor.execute(f"USE {name}")
                for statement in statements:
                    cursor.execute(statement)
                cursor.execute(f"CHECKPOINT {name}")
            finally:
                cursor.execute("USE memory")
                cursor.execute(f"DETACH {name}")


async def _quiet_at(connection: psycopg.AsyncConnection) -> datetime | None:
    """An instant at which nobody was counting: what was counted before it can be read from now
    on. None where somebody is."""
    now = await (await connection.execute(b"SELECT clock_timestamp()")).fetchone()
    counting = await (await connection.execute(_COUNTING)).fetchone()
    assert now is not None
    assert counting is not None
    return None if counting[0] else now[0]


def _renamed(part: Path, final: Path) -> None:
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(final)
    sync_folder(final.parent)


def _sweep(folder: Path) -> None:
    """Remove what a crash left behind."""
    for file in folder.glob(".analytics-*"):
        with contextlib.suppress(OSError):
            if file.stat().st_mtime < time.time() - STALE_SECONDS:
                file.unlink()


OUTAGES = (StoreUnavailable, PlaceUnavailable, psycopg.Error, OSError)
"""What is said once, and not again before it has ended."""
