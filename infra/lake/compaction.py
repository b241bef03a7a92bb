"""Compaction: many small files of a day become one, so that there are few for ever.

It happens in the job that writes these files, so there is one writer; the merging itself
runs in a thread while the job goes on.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from itertools import groupby

import structlog

from infra.followers.hold import Hold
from infra.lake import manifest
from infra.lake.batch import finished, spooled
from infra.lake.engine import Engine
from infra.lake.manifest import File, path_of
from infra.lake.place import Place, PlaceUnavailable
from infra.lake.placing import Placing
from infra.lake.snapshot import Snapshots
from infra.lake.spool import Spool
from projections.lake.statements import Kind, merge

log = structlog.get_logger()

FAN_IN = 16
SMALL_BYTES = 4 << 20
SMALL_ROWS = 80_000
"""A file from here on stays as it is. So one merge is 1.3 million rows at most, some seconds,
and batches that come meanwhile are still shown in time."""
REMOVE_AFTER_SECONDS = 300.0
LOOK_SECONDS = 15.0
PAUSE_SECONDS = 300.0
"""After a merge that failed: something is wrong with a file, and nothing is lost meanwhile."""


def choose(files: Sequence[File], today: date) -> list[File]:
    """The files to merge next, of one day and in the order of the log; none if all is well.

    `files` are the small ones, sorted by day and position. On the current day 16 of one
    level make one of the next, so a row is written again once for each sixteenfold. A day
    that has ended becomes as few files as it can.
    """
    for day, of_day in groupby(files, key=lambda file: file.date):
        found = list(of_day)
        if day < today:
            if len(run := _bounded(found)) > 1:
                return run
            continue
        for level in sorted({file.level for file in found}):
            run = _bounded([file for file in found if file.level == level][:FAN_IN])
            if len(run) == FAN_IN:
                return run
    return []


def _bounded(files: Sequence[File]) -> list[File]:
    run: list[File] = []
    rows = size = 0
    for file in files:
        rows, size = rows + file.rows, size + file.bytes
        if run and (rows > FAN_IN * SMALL_ROWS or size > FAN_IN * SMALL_BYTES):
            break
        run.append(file)
    return run


class Compaction:
    """Merges the files of one job, one run of them at a time."""

    def __init__(
        self,
        kind: Kind,
        place: Place,
        engine: Engine,
        spool: Spool,
        placing: Placing,
        snapshots: Snapshots,
        merged: Callable[[], None] | None,
    ) -> None:
        self._kind: Kind = kind
        self._place = place
        self._engine = engine
        self._spool = spool
        self._placing = placing
        self._snapshots = snapshots
        self._merged = merged
        self._merging: asyncio.Task[tuple[list[File], File]] | None = None
        self._look_at = 0.0

    async def tick(self, hold: Hold) -> None:
        """Go on with what there is to do. Never long: merging is in the background."""
        now = asyncio.get_running_loop().time()
        if self._merging is not None:
            if self._merging.done():
                await self._finish(hold, self._merging)
                self._merging = None
        elif now >= self._look_at and self._placing.ready:
            self._look_at = now + LOOK_SECONDS
            await self._remove(hold)
            async with hold.advancing(hold.position) as connection:
                files = await manifest.small(connection, self._kind, SMALL_ROWS, SMALL_BYTES)
            if run := choose(files, datetime.now(UTC).date()):
                self._merging = asyncio.create_task(self._spool.work(self._merge, run))

    async def close(self) -> None:
        """Wait until no thread works any more."""
        if self._merging is not None:
            await asyncio.wait([self._merging])
            if not self._merging.cancelled():
                self._merging.exception()

    async def abandon(self) -> None:
        """The process ends: wait for the thread as long as a spool does."""
        if self._merging is not None:
            self._merging.cancel()

    def _merge(self, run: list[File]) -> tuple[list[File], File]:
        folder = self._spool.folder / "merging"
        folder.mkdir(exist_ok=True)
        fetched = []
        try:
            for file in run:
                fetched.append(self._place.fetch(file.path, folder))
            first = min(file.first_position for file in run)
            last = max(file.last_position for file in run)
            level = max(file.level for file in run) + 1
            path = path_of(self._kind, run[0].date, first, last, level)
            target = spooled(self._spool.folder, path)
            part = target.with_suffix(".part")
            statement = merge(self._kind, [str(each) for each in fetched], str(part))
            [(rows,)] = self._engine.run(statement)
            if rows != sum(file.rows for file in run):
                raise RuntimeError(f"{path} would have {rows} rows: a source is not as written")
            return run, finished(part, target, self._kind, run[0].date, rows, path, level)
        finally:
            for source in fetched:
                if source.parent == folder:
                    source.unlink(missing_ok=True)

    async def _finish(self, hold: Hold, merging: asyncio.Task[tuple[list[File], File]]) -> None:
        try:
            run, file = merging.result()
        except Exception as error:
            self._look_at = asyncio.get_running_loop().time() + PAUSE_SECONDS
            log.warning("lake files not merged", follower=hold.name, problem=str(error))
            return
        async with hold.advancing(hold.position) as connection:
            await manifest.add(connection, [file])
        if await self._placing.put(file):
            if self._merged is not None:
                self._merged()
            async with hold.advancing(hold.position) as connection:
                await manifest.placed(connection, [file])
                await manifest.replaced(connection, run)
            self._snapshots.changed()
            self._look_at = 0.0
        spooled(self._spool.folder, file.path).unlink(missing_ok=True)

    async def _remove(self, hold: Hold) -> None:
        """Remove files that no snapshot has shown for a while."""
        before = self._snapshots.settled(REMOVE_AFTER_SECONDS)
        if before is None:
            return
        async with hold.advancing(hold.position) as connection:
            paths = await manifest.removable(connection, self._kind, before)
        gone = []
        try:
            for path in paths:
                await asyncio.to_thread(self._place.remove, path)
                gone.append(path)
        except PlaceUnavailable as error:
            log.warning("lake files not removed", follower=hold.name, problem=str(error))
        if gone:
            async with hold.advancing(hold.position) as connection:
                await manifest.forget(connection, gone)
