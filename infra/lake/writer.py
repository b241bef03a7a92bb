"""The jobs that write the lake: `lake_usage` follows usage, `lake_events` the decisions."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import structlog

from infra.followers.hold import HEARTBEAT_SECONDS, STUCK_SECONDS, Hold, Log, Poison
from infra.lake import manifest
from infra.lake.again import PAGE
from infra.lake.batch import Batch, spooled, swept
from infra.lake.compaction import Compaction
from infra.lake.engine import Engine
from infra.lake.mending import Mending
from infra.lake.place import Place
from infra.lake.placing import Placing
from infra.lake.scratch import Scratch
from infra.lake.snapshot import Snapshots
from infra.lake.spool import Spool
from infra.postgres.connection import answering, connect
from projections.lake.statements import Kind

log = structlog.get_logger()

GATHER_SECONDS = 3.0
SPOOL_BYTES = 256 << 20
FULL_POLL_SECONDS = 0.2

Name = Literal["lake_usage", "lake_events"]
_FOLLOWS: dict[Name, tuple[Kind, Log]] = {
    "lake_usage": ("usage", "usage"),
    "lake_events": ("events", "decisions"),
}
Reached = Callable[[], None] | None


class Lake:
    """What the lake jobs of one process share. Nothing is opened before there is work."""

    def __init__(self, place: Place, data_dir: Path, database_url: str, log_id: str) -> None:
        self.place = place
        self.database_url = database_url
        self.spool = data_dir.resolve() / "lake-spool"
        scratch = Scratch(self.spool)
        self.log_id = log_id
        self.engine = Engine(scratch)
        self.snapshots = Snapshots(database_url, log_id, place, self.engine, scratch)


class LakeJob:
    """Implements infra.followers.Job: one log into Parquet files.

    `written` is called when a batch is Parquet in the spool, `planned` when the manifest
    names it, `placed` when it is in place and the manifest doesn't say so yet, `merged` when
    a merged file is in place: where a fault test may end the process. `spool_bytes` is how
    much may wait for a place that is away; then the job waits as well, and its log keeps the
    rest.
    """

    def __init__(
        self,
        name: Name,
        lake: Lake,
        *,
        written: Reached = None,
        planned: Reached = None,
        placed: Reached = None,
        merged: Reached = None,
        gather_seconds: float = GATHER_SECONDS,
        spool_bytes: int = SPOOL_BYTES,
    ) -> None:
        self._name = name
        self._kind, self._log = _FOLLOWS[name]
        self._lake = lake
        self._written = written
        self._planned = planned
        self._placed = placed
        self._merged = merged
        self._gather_seconds = gather_seconds
        self._spool_bytes = spool_bytes
        self._spool = Spool(lake.spool / name)

    @property
    def name(self) -> str:
        """lake_usage or lake_events."""
        return self._name

    @property
    def log(self) -> Log:
        """The log that it follows."""
        return self._log

    async def run(self, hold: Hold) -> None:
        """Write batch after batch; merge small files when there is nothing else to do."""
        lake, spool = self._lake, self._spool
        placing = await self._begin(hold)
        batch = Batch(self._kind, lake.engine, spool.folder)
        compaction = Compaction(
            self._kind, lake.place, lake.engine, spool, placing, lake.snapshots, self._merged
        )
        mending = Mending(self._kind, lake.place, lake.engine, spool, placing, lake.snapshots)
        try:
            page = PAGE[self._kind]
            async for step in hold.steps(page=page, gather_seconds=self._gather_seconds):
                for event in step.events:
                    batch.add(event)
                if batch.full or (step.at_end and batch.rows):
                    await self._cut(hold, batch, placing)
                await self._place(placing)
                if placing.owned:
                    if step.at_end:
                        await compaction.tick(hold)
                    await lake.snapshots.publish()
                    await mending.tick(hold)
                await asyncio.to_thread(lake.engine.close_if_idle)
        except Poison:
            if not placing.owned:
                raise
            # What came before it is good, and must not wait until somebody has mended it.
            await self._cut(hold, batch, placing)
            await self._place(placing)
            await lake.snapshots.publish(soon=True)
            raise
        except asyncio.CancelledError:
            await compaction.abandon()
            raise
        finally:
            await compaction.close()
            batch.close()

    async def _begin(self, hold: Hold) -> Placing:
        lake, spool = self._lake, self._spool
        connection = await connect(lake.database_url)
        try:
            async with answering(connection, STUCK_SECONDS):
                waiting = await manifest.waiting(connection, self._kind)
        finally:
            await connection.close()
        keep = {spooled(spool.folder, file.path) for file in waiting}
        await spool.work(swept, spool.folder, keep)
        await asyncio.to_thread(lake.place.tidy, self._kind)
        lake.snapshots.changed()
        return Placing(hold, lake.place, lake.engine, spool, waiting, self._placed, lake.log_id)

    async def _cut(self, hold: Hold, batch: Batch, placing: Placing) -> None:
        """The batch becomes files of the spool that the manifest names; the checkpoint moves.

        While the spool is full it waits, with the checkpoint standing still.
        """
        if not batch.rows:
            return
        if placing.waiting_bytes > self._spool_bytes:
            log.warning("lake spool full", follower=self.name, bytes=placing.waiting_bytes)
            clock = asyncio.get_running_loop().time
            beat_at = clock()
            while placing.waiting_bytes > self._spool_bytes:
                if clock() >= beat_at:  # we are here, and still hold it
                    beat_at = clock() + HEARTBEAT_SECONDS
                    async with hold.advancing(hold.position):
                        pass
                await asyncio.sleep(FULL_POLL_SECONDS)
                await self._place(placing)
        files = await self._spool.work(batch.write)
        if self._written is not None:
            self._written()
        async with hold.advancing(batch.last_position) as connection:
            await manifest.add(connection, files)
        if self._planned is not None:
            self._planned()
        placing.add(files)
        if not files:  # every row was asked again: the position is all that is new
            self._lake.snapshots.changed()
        batch.clear()

    async def _place(self, placing: Placing) -> None:
        if await placing.place():
            self._lake.snapshots.changed()
